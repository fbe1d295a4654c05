"""Where Optuna stores a study: a SQLite file, a PostgreSQL or MySQL database, or a journal in a shared folder.

`--storage` comes in here. A password in it is in no message.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_tb

import optuna
from optuna.exceptions import OptunaError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from keras_resnet.errors import InputError, WorkerLost, shown, unknown

JOURNAL = "journal"
DRIVERS = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql"}  # that the extras install
WAIT = 60  # seconds for a SQLite file that another process writes
OFTEN = 1800  # seconds after which a connection is made anew: servers and firewalls close idle ones
BROKEN = (
    OptunaError,
    SQLAlchemyError,
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    AssertionError,
)  # of a damaged one


class Storage:
    """A storage as `--storage` says: "sqlite:///FILE", "postgresql://...", "mysql://..." or "journal:FILE"."""

    def __init__(self, text: str) -> None:
        self.place: URL | Path = url_of(text) if "://" in text else path_of(text)

    def __str__(self) -> str:
        """For messages: no password, which may also be among the options of a URL."""
        url = self.place
        if isinstance(url, Path):
            return f"{JOURNAL}:{url}"
        return URL.create(
            url.get_backend_name(), url.username, host=url.host, port=url.port, database=url.database
        ).render_as_string()

    def open(self) -> BaseStorage:
        """InputError if it cannot be opened; ModuleNotFoundError names a driver that is not installed."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            if isinstance(self.place, Path):
                if not self.place.parent.is_dir():
                    raise InputError(f"no folder at {str(self.place.parent)!r} for the journal of the search")
                return JournalStorage(JournalFileBackend(str(self.place)))
            is_file = self.place.get_backend_name() == "sqlite"
            options = {"connect_args": {"timeout": WAIT}} if is_file else {"pool_pre_ping": True, "pool_recycle": OFTEN}
            self.place.get_dialect().import_dbapi()
            return RDBStorage(self.place.render_as_string(hide_password=False), engine_kwargs=options)
        except (InputError, ModuleNotFoundError):
            raise
        except BROKEN as error:
            raise InputError(f"the storage {self} cannot be opened: {reason_of(error)}") from None

    @contextmanager
    def failures_in_a_line(self) -> Iterator[None]:
        """WorkerLost for what goes wrong with it later: the same command goes on."""
        try:
            yield
        except BROKEN as error:
            if not isinstance(error, (OptunaError, SQLAlchemyError)) and not is_of_storage(error):
                raise
            raise WorkerLost(f"the storage {self} failed: {reason_of(error)}; the same command resumes the search") from None


def url_of(text: str) -> URL:
    """The URL of a database, with the driver that the extras install."""
    try:
        url = make_url(text)
        kind = url.get_backend_name()
        if kind != "sqlite" and "@" in f"{url.host}{url.database}":  # the rest of a password
            raise ValueError
    except (ArgumentError, ValueError):
        expected = "expected such as postgresql://user@host/database, with @ in a password as %40"
        raise InputError(f"the storage is no URL: {expected}") from None
    if kind not in DRIVERS:
        raise unknown("kind of storage", kind, (*DRIVERS, JOURNAL))
    return url.set(drivername=DRIVERS[kind])


def path_of(text: str) -> Path:
    """The file of a journal."""
    if not text.startswith(f"{JOURNAL}:"):
        kind = text.partition(":")[0]  # a password may be in the rest
        name = "the storage" if "@" in kind else f"storage {shown(kind)}"
        raise InputError(f"{name}: expected journal:FILE, sqlite:///FILE, postgresql://... or mysql://...")
    return Path(text.removeprefix(f"{JOURNAL}:")).absolute()  # its lock needs it so


def is_of_storage(error: BaseException) -> bool:
    """Whether an error comes from Optuna's storage, which raises many kinds for a damaged journal."""
    modules = [frame.f_globals.get("__name__", "") for frame, _ in walk_tb(error.__traceback__)]
    return any(module.startswith("optuna.storages.") for module in modules)


def reason_of(error: BaseException) -> str:
    """The first line of the innermost error, without the statement of SQL."""
    while cause := getattr(error, "orig", None) or error.__cause__:
        error = cause
    lines = str(error).splitlines()
    return " ".join((lines[0] if lines else type(error).__name__).split())
