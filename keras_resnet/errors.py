"""Errors that end a command with one line. `InputError` says what was received, what is allowed, and the nearest name."""

from collections.abc import Iterable
from difflib import get_close_matches

LONGEST_LIST = 40  # of a longer one, only the nearest names are shown
NEAR = 0.5  # similarity of a name to the received one, from which it is suggested
LONGEST_VALUE = 120  # characters of a value in a message


class InputError(ValueError):
    """The caller's mistake. The command line prints its one line and exits with code 2."""


class Occupied(InputError):
    """Another process is at work in a folder."""


class SpaceError(InputError):
    """The function of a search space is wrong for some values: it raises, or returns something else than a network."""


class Diverged(RuntimeError):
    """The loss became NaN or infinite; the message says where in the training, and where the last good weights are."""


class WorkerLost(RuntimeError):
    """One of several machines that train together is gone; all of them must be started again, and go on by `resume`."""


EXTRAS = {  # the extra of this package that brings a package, by the name that is imported
    "ai_edge_litert": "export",
    "ai_edge_quantizer": "export",
    "cryptography": "search",
    "grpc": "search",
    "huggingface_hub": "hub",
    "importlib_resources": "data",
    "jax": "jax",
    "jinja2": "report",
    "keras_tuner": "search",
    "onnx": "export",
    "onnxruntime": "export",
    "optuna": "search",
    "psycopg": "postgresql",
    "pymysql": "mysql",
    "scipy": "search",
    "sklearn": "data",
    "sqlalchemy": "search",
    "tensorboard": "watch",
    "tensorflow": "tensorflow",
    "tensorflow_datasets": "data",
    "tf2onnx": "export",
    "torch": "torch",
}


def not_installed(module: str | None) -> str:
    """What to install where a module is missing, as the end of a sentence.

    >>> not_installed("onnxruntime")
    "this needs onnxruntime, which is not installed: pip install 'keras-residual[export]'"
    """
    package = str(module).partition(".")[0]
    extra = EXTRAS.get(package)
    command = f"pip install 'keras-residual[{extra}]'" if extra else f"pip install {package}"
    return f"this needs {package}, which is not installed: {command}"


def shown(value: object) -> str:
    """A value for a message, on one line, of a long one the beginning.

    >>> shown("resnet50d")
    "'resnet50d'"
    """
    try:
        text = repr(value).replace("\n", " ")
    except ValueError:  # Python does not write whole numbers of more than 4300 digits
        return f"{type(value).__name__} with a number too long to write"
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE // 2]}... ({len(text):,} characters)"


def unknown(kind: str, received: object, allowed: Iterable[str]) -> InputError:
    """The error for a name that is not in a table, with the nearest name and those that are allowed.

    >>> print(unknown("network", "resnet50_d", ["resnet50", "resnet50d"]))
    no network named 'resnet50_d'; did you mean 'resnet50d'? (allowed: resnet50, resnet50d)
    """
    allowed = list(allowed)
    near = (received if isinstance(received, str) else shown(received))[:LONGEST_VALUE]
    nearest = get_close_matches(near, allowed, n=1, cutoff=NEAR)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
    if len(allowed) > LONGEST_LIST:
        close = get_close_matches(near, allowed, n=5, cutoff=0)
        allowed = [*close, f"and {len(allowed) - len(close)} more"]
    return InputError(f"no {kind} named {shown(received)}{hint} (allowed: {', '.join(allowed)})")
