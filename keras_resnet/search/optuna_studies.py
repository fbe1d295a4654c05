"""The Optuna studies of a search in its storage: that of its trials, and that of its final trainings."""

import hashlib
import json
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import optuna
from keras_tuner import HyperParameters
from keras_tuner.engine.trial import TrialStatus
from optuna.exceptions import DuplicatedStudyError
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.storages import RDBStorage
from optuna.study import StudyDirection

from keras_resnet.atomic import as_json, replace_text, waiting_for
from keras_resnet.errors import InputError
from keras_resnet.json_files import read_json
from keras_resnet.search.engine import Verdict
from keras_resnet.search.optuna_engine import OptunaEngine, OptunaList
from keras_resnet.search.optuna_storage import Storage
from keras_resnet.search.study import SCORE, Study

FILE, MARK = "optuna.sqlite3", "optuna.json"  # in the folder of the state: the storage by default, and what ties it to the search
FINALS = "finals"
FOLDER = "folder"  # attribute of a study, and in the mark: a text that no other folder has
MOMENT = 5.0  # seconds
FACTOR = 3  # of Hyperband, as in KerasTuner
UNDECIDED = 4  # the part of the epochs, a fourth, in which no trial is worse than the median: learning rates warm up


class OptunaStudies:
    """The storage of a search whose state is in `folder`, and the engines on it."""

    def __init__(self, text: str | None, folder: Path, lease: float, tell: Callable[[str], None]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.lease, self.tell = folder.absolute(), lease, tell
        self.storage = Storage(text or f"sqlite:///{self.folder / FILE}")
        self.mark, self.is_shared = self.folder / MARK, bool(text)  # with other folders
        with waiting_for(self.folder):  # or two processes would make the same tables
            self.opened = self.storage.open()
        self.engines: list[OptunaEngine] = []

    def trials(self, study: Study, space: HyperParameters, plan: str, judge: Callable[[dict[str, Any]], Verdict]) -> OptunaEngine:
        """The engine of a study. `plan` is what must not change."""
        goals = (SCORE, *(name for name in study.objectives if name != SCORE))
        directions = [StudyDirection.MAXIMIZE, *[StudyDirection.MINIMIZE] * (len(goals) - 1)]
        records = self.join(json.dumps([plan, goals]), directions)
        records.pruner = pruner_of(study)
        engine = OptunaEngine(records, self.opened, space, self.folder, self.lease)
        engine.goals, engine.seed, engine.limit = goals, study.seed, study.most_trials or 0
        engine.prunes = bool(study.pruner) and len(goals) == 1
        if study.pruner and not engine.prunes:
            self.tell("trials are not pruned: Optuna prunes by one objective only")
        engine.judge, engine.tell = judge, self.tell
        self.engines.append(engine)
        return engine

    def finals(self, rows: list[dict[str, Any]], space: HyperParameters, plan: str) -> OptunaList:
        """An engine for the values in `rows`. What failed in an earlier search of the same plan is tried again."""
        name = f"{self.engines[0].study.study_name} {FINALS} {digest_of(plan)[:8]}"
        for attempt in count(1):
            records = optuna.create_study(
                storage=self.opened, study_name=f"{name} {attempt}", direction="maximize", load_if_exists=True
            )
            engine = OptunaList(records, self.opened, space, self.folder / FINALS / f"{digest_of(plan)[:8]}-{attempt}", self.lease)
            has_failed = any(trial.status == TrialStatus.FAILED for trial in engine.trials.values())
            if not has_failed or len(engine.end_order) < len(rows):
                break
        engine.rows, engine.limit, engine.tell = rows, len(rows), self.tell
        self.engines.append(engine)
        return engine

    def join(self, plan: str, directions: list[StudyDirection]) -> optuna.Study:
        """The study of the trials, made if there is none. A file in the folder says which one it is.

        InputError for the study of another folder, or with another plan, that has trials.
        """
        out, has_begun = str(self.folder.parent), any(self.folder.glob("trial_*"))
        known = self.known()
        name = known.get("study", self.folder.parent.name)
        study = self.open_study(name, directions)
        if known and known["plan"] != digest_of(plan):
            if has_begun:
                raise InputError(f"{out!r} has the results of a study with other objectives; choose another folder")
            optuna.delete_study(study_name=name, storage=self.opened)  # draws were refused by the plan before
            study = self.open_study(name, directions)
        if has_begun and not study.get_trials(deepcopy=False):
            raise InputError(f"the storage {self.storage} has no trials of {out!r}, which has some: give the storage of before")
        replace_text(self.mark, as_json({"study": name, "plan": digest_of(plan), FOLDER: study.user_attrs.get(FOLDER, "")}))
        return study

    def open_study(self, name: str, directions: list[StudyDirection]) -> optuna.Study:
        """The study of that name, made if there is none. InputError for that of another folder."""
        try:
            study = optuna.create_study(storage=self.opened, study_name=name, directions=directions)
            study.set_user_attr(FOLDER, uuid4().hex)
        except DuplicatedStudyError:
            study = optuna.load_study(study_name=name, storage=self.opened)
            if not self.is_shared or self.is_own(study):
                return study
            message = f"the storage {self.storage} has a study {name!r} of another folder; call the folder (--out) otherwise"
            raise InputError(message) from None
        return study

    def is_own(self, study: optuna.Study) -> bool:
        """Whether a process of this folder has made a study. One on another machine may be about to say so in the mark."""
        end = time.monotonic() + MOMENT
        while not self.mark.exists() and time.monotonic() < end:
            time.sleep(0.1)
        return self.mark.exists() and study.user_attrs.get(FOLDER, "") == self.known().get(FOLDER, "")

    def known(self) -> dict[str, str]:
        """What the folder says of its study; nothing before the study was made."""
        return read_json(self.mark, dict[str, str]) if self.mark.exists() else {}

    def close(self) -> None:
        try:
            for engine in self.engines:
                engine.close()
        finally:
            if isinstance(self.opened, RDBStorage):
                self.opened.engine.dispose()


def digest_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def pruner_of(study: Study) -> BasePruner:
    """What decides which trials of a study are stopped."""
    epochs = study.trained_by({}).epochs
    if study.pruner == "hyperband":
        return HyperbandPruner(1, epochs, FACTOR)
    return MedianPruner(n_warmup_steps=epochs // UNDECIDED) if study.pruner == "median" else NopPruner()
