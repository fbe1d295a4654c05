"""The Optuna studies of a search in its storage: that of its trials, and that of its final trainings."""

import hashlib
import json
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import optuna
from keras_tuner import HyperParameters
from keras_tuner.engine.trial import TrialStatus
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
TABLES = "optuna.tables"  # a file there: some process has opened the storage
FINALS = "finals"
FACTOR = 3  # of Hyperband, as in KerasTuner
UNDECIDED = 4  # the part of the epochs, a fourth, in which no trial is worse than the median: learning rates warm up


class OptunaStudies:
    """The storage of a search whose state is in `folder`, and the engines on it."""

    def __init__(self, text: str | None, folder: Path, lease: float, tell: Callable[[str], None]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.lease, self.tell = folder.absolute(), lease, tell
        self.storage = Storage(text or f"sqlite:///{self.folder / FILE}")
        tables = self.folder / TABLES
        with waiting_for(self.folder):
            if not tables.exists():  # or two processes would make the same ones
                self.storage.open()
                tables.touch()
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
        mark, out, has_begun = self.folder / MARK, str(self.folder.parent), any(self.folder.glob("trial_*"))
        known = read_json(mark, dict[str, str]) if mark.exists() else {}
        name = known["study"] if known else self.folder.parent.name
        if known and known["plan"] != digest_of(plan):
            if has_begun:
                raise InputError(f"{out!r} has the results of a study with other objectives; choose another folder")
            if name in optuna.get_all_study_names(self.opened):  # nothing was begun, but draws were refused by the plan before
                optuna.delete_study(study_name=name, storage=self.opened)
        study = optuna.create_study(storage=self.opened, study_name=name, directions=directions, load_if_exists=True)
        has_trials = bool(study.get_trials(deepcopy=False))
        if has_trials and not known:
            raise InputError(
                f"the storage {self.storage} has a study {name!r} of another folder; call the folder (--out) otherwise"
            )
        if has_begun and not has_trials:
            raise InputError(f"the storage {self.storage} has no trials of {out!r}, which has some: give the storage of before")
        replace_text(mark, as_json({"study": name, "plan": digest_of(plan)}))
        return study

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
