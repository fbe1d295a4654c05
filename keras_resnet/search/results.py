"""The results of a search: a row for each trial, the Pareto front, the winner; written as CSV and for TensorBoard."""

import csv
import dataclasses
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any, TypedDict

from keras_tuner.engine.trial import TrialStatus

from keras_resnet.atomic import as_json, put_in_place, replace_text, scratch
from keras_resnet.confidence import are_told_apart, as_text
from keras_resnet.errors import InputError
from keras_resnet.fields import completed, to_json
from keras_resnet.json_files import read_json
from keras_resnet.networks.spec import ResNetSpec
from keras_resnet.recipes.recipe import Recipe
from keras_resnet.runs.run import Run, is_run
from keras_resnet.search.budget import COSTS, LATENCY, Budget
from keras_resnet.search.engine import PRUNED
from keras_resnet.search.study import SCORE, Study

STATE, TRIALS = "state", "trials"  # folders of a search
TABLE, FINALS_TABLE, PAGE, PLAN, IMAGES = "results.csv", "finals.csv", "results.html", "study.json", "images.npz"
OWN = (TABLE, FINALS_TABLE, PAGE, PLAN, IMAGES, "latency.json", STATE, TRIALS)  # files of a search before its first trial
FIXED = ("input_shape", "classes")  # of a spec: the images decide
BEFORE, BEHIND = ("trial", "status", SCORE), ("parameters", "multiply_adds", "tflite_int8", LATENCY, "seconds")
UNITS = {LATENCY: f"{LATENCY}, ms"}  # names of columns for a person
COLUMNS = (*BEFORE, *COSTS, LATENCY, "epochs", "seconds", "seed", "reason")  # beside hyperparameters and fields of the spec

Row = dict[str, Any]


class Plan(TypedDict, total=False):
    """`study.json`, as far as it is read here."""

    recipe: dict[str, Any]
    budget: dict[str, Any]
    teacher: list[str]


@dataclass(frozen=True)
class Final:
    """A full training of a trial's network with one seed; it has a run, or a reason why there is none."""

    trial: str
    seed: int
    run: Run | None
    reason: str = ""

    @property
    def row(self) -> Row:
        metrics = self.run.metrics if self.run else {}
        return {
            "trial": self.trial,
            "seed": self.seed,
            SCORE: metrics.get("validation", {}).get("accuracy"),
            "validation_images": metrics.get("images", {}).get("validation"),
            "test_accuracy": metrics.get("test", {}).get("accuracy"),
            "epochs": metrics.get("epochs"),
            "seconds": metrics.get("train_seconds"),
            "reason": self.reason,
        }


class Results:
    """The results of a study in the folder `out`; `rows` has one for each trial, in the order in which they began."""

    def __init__(self, study: Study, out: Path, digest: str = "", teachers: Sequence[str] = ()) -> None:
        self.study, self.out, self.digest, self.teachers = study, out, digest, list(teachers)
        self.rows: list[Row] = []
        self.refused: dict[str, int] = {}  # draws beyond each limit of the budget, or illegal
        self.last_refusal = ""
        self.hyperparameters: list[str] = []
        self.finals: list[Final] = []  # the full trainings of the finalists
        self.as_fast_as: ResNetSpec | None = None  # the network whose latency is the budget

    def check_same(self, hyperparameters: Any) -> None:
        """Write the plan of the search. InputError if the folder has the results of another one, or a name is that of a column."""
        if names := [entry.name for entry in hyperparameters.space if entry.name in COLUMNS]:
            raise InputError(f"a hyperparameter cannot be called {names[0]!r}: results have a column of that name")
        fields = {
            "space": hyperparameters.get_config()["space"],
            "data": [self.study.data_name, self.study.image_size],
            "digest of images": self.digest,
            "recipe": json.loads(to_json(self.study.trained_by({}))),
            "budget": dataclasses.asdict(self.study.budget),
            "engine": self.study.engine,
            "teacher": self.teachers,
            "patience": self.study.patience,
            "pruner": self.study.pruner,
            "seed": self.study.seed,
        }
        plan = json.loads(json.dumps(fields))
        if not any(self.out.glob("*/trial_*")):  # nothing was begun under another plan
            others = [path.name for path in self.out.iterdir() if path.name not in OWN and not path.name.startswith(f".{PLAN}")]
            if others:
                raise InputError(f"{str(self.out)!r} has other things in it, such as {others[0]!r}; choose another folder")
            (self.out / STATE / "oracle.json").unlink(missing_ok=True)  # it knows the space before
            replace_text(self.out / PLAN, as_json(plan))
            return
        try:
            old_plan = read_json(self.out / PLAN, Plan)
        except FileNotFoundError:
            raise InputError(f"{str(self.out / PLAN)!r} is missing") from None
        for part, kind in (("recipe", Recipe), ("budget", Budget)):  # an earlier version may have written it
            old_plan[part] = completed(old_plan.get(part, {}), kind)
        old_plan.setdefault("teacher", [])
        if names := [name for name in plan if name in old_plan and plan[name] != old_plan[name]]:
            raise InputError(f"{str(self.out)!r} has the results of a study with another {names[0]}; choose another folder")

    def gather(
        self,
        oracle: Any,
        spec_of: Callable[[dict[str, Any]], ResNetSpec | None],
        costs: Callable[[ResNetSpec], dict[str, float]],
        trials: Path,
    ) -> None:
        """Make the rows anew from the engine and the runs. Where the space is wrong there is no network."""
        self.rows, self.hyperparameters = [], []
        self.refused, self.last_refusal = dict(oracle.refused), oracle.last_refusal
        for trial_id in oracle.start_order:
            trial = oracle.trials[trial_id]
            values = trial.hyperparameters.values
            self.hyperparameters += [name for name in values if name not in self.hyperparameters]
            spec = spec_of(values)
            run = Run(trials / trial_id)
            metrics = run.metrics if trial.status == TrialStatus.COMPLETED and is_run(run.path) else {}
            if metrics and run.spec != spec:
                raise InputError(f"{str(run.path)!r} is another network than the space gives now: choose another folder")
            fields = dataclasses.asdict(spec) if spec else {}
            self.rows.append(
                {
                    "trial": trial_id,
                    "status": trial.status.lower(),
                    SCORE: None if trial.score is None else float(trial.score),
                    **values,
                    **(costs(spec) if spec else dict.fromkeys(COSTS)),
                    "epochs": trial.best_step if trial.status == PRUNED else metrics.get("epochs"),
                    "seconds": metrics.get("train_seconds"),
                    "seed": self.study.seed,
                    "reason": " ".join((trial.message or "").split()),
                    **{f"spec.{name}": value for name, value in fields.items() if name not in FIXED},
                }
            )

    def write(self) -> None:
        """`results.csv`; none while there is no trial."""
        if self.rows:
            write_new(self.out / TABLE, as_csv(self.rows))
        else:
            (self.out / TABLE).unlink(missing_ok=True)

    def write_finals(self, finals: list[Final]) -> None:
        """`finals.csv`."""
        self.finals = finals
        write_new(self.out / FINALS_TABLE, as_csv(self.final_rows))

    def write_tensorboard(self, folder: Path) -> None:
        """The trials for TensorBoard's HParams, in place of what is in `folder`."""
        import tensorflow as tf
        from tensorboard.plugins.hparams import api

        with scratch(folder) as temporary:
            for row in self.scored:
                values = {name: row[name] for name in self.hyperparameters if name in row}
                with tf.summary.create_file_writer(str(temporary / "new" / row["trial"])).as_default():
                    api.hparams(values, trial_id=row["trial"])
                    for name in (SCORE, *(name for name in self.behind if row.get(name) is not None)):
                        tf.summary.scalar(name, row[name], step=row["epochs"] or 0)
            if self.scored:
                put_in_place(temporary / "new", folder)

    @property
    def images(self) -> dict[str, int]:
        """The images of each split, as the first trial with a run counted them; empty while there is none."""
        runs = (Run(self.out / TRIALS / row["trial"]) for row in self.scored)
        return next((run.metrics["images"] for run in runs if is_run(run.path)), {})

    @property
    def scored(self) -> list[Row]:
        """The trials with a score."""
        return [row for row in self.rows if row[SCORE] is not None and row["status"] == "completed"]

    @property
    def pruned(self) -> list[Row]:
        """The trials that the engine stopped."""
        return [row for row in self.rows if row["status"] == PRUNED.lower()]

    @property
    def best(self) -> list[Row]:
        """The trials with a score, the best first; of two equal ones, that of fewer multiply-adds."""
        return sorted(self.scored, key=lambda row: (-row[SCORE], row["multiply_adds"]))

    @property
    def front(self) -> list[Row]:
        """The trials that no other one beats in one objective without losing in another, the cheapest first."""
        names = [SCORE, *(name for name in self.study.objectives if name != SCORE)]
        return sorted(pareto(self.scored, names), key=lambda row: [row[name] for name in names[1:]] or [-row[SCORE]])

    @property
    def behind(self) -> list[str]:
        """The columns behind the hyperparameters: those of every search, and the costs that this one limits or minimises."""
        limited = [name for name in COSTS if getattr(self.study.budget, name) is not None]
        others = [name for name in self.study.objectives if name != SCORE]
        return list(dict.fromkeys((*BEHIND[:-1], *limited, *others, BEHIND[-1])))

    @property
    def table(self) -> list[Row]:
        """Rows for a person: hyperparameters, costs and score, and why a trial has no score."""
        columns = [*BEFORE, *self.hyperparameters, *(name for name in self.behind if any(name in row for row in self.rows))]
        if any(row["reason"] for row in self.rows):
            columns.append("reason")
        return [{UNITS.get(name, name): row.get(name) for name in columns} for row in self.rows]

    @property
    def refusals(self) -> str:
        """How many draws were refused, which share that is, and why."""
        if not self.refused:
            return "none"
        number = sum(self.refused.values())
        counts = ", ".join(f"{count:,} {name}" for name, count in self.refused.items())
        last = f"; the last: {self.last_refusal}" if self.last_refusal else ""
        return f"{number:,} ({counts}), {100 * number / (number + len(self.rows)):.0f} % of all draws{last}"

    @property
    def chosen(self) -> Row:
        """The row of the winner."""
        return next(row for row in self.rows if row["trial"] == self.winner())

    @property
    def final_rows(self) -> list[Row]:
        return [final.row for final in self.finals]

    @property
    def averages(self) -> dict[str, float]:
        """The mean validation accuracy of every finalist whose trainings all have a score."""
        failed = {final.trial for final in self.finals if not final.run}
        scores: dict[str, list[float]] = {}
        for row in self.final_rows:
            if row["trial"] not in failed:
                scores.setdefault(row["trial"], []).append(row[SCORE])
        return {trial: mean(values) for trial, values in scores.items()}

    def winner(self) -> str:
        """The trial whose final trainings are best on average. InputError if each finalist had a failure."""
        if not self.averages:
            reason = self.finals[-1].reason if self.finals else "none was trained"
            raise InputError(f"no finalist could be trained in full; the last error: {reason}")
        return max(self.averages, key=self.averages.__getitem__)

    @property
    def verdict(self) -> str:
        """A sentence: the winner, its score with the interval, and the finalists that are not significantly worse."""
        winner = self.winner()
        images = next(row["validation_images"] for row in self.final_rows if row["trial"] == winner)
        rivals = [
            trial
            for trial, average in self.averages.items()
            if trial != winner and not are_told_apart(average, self.averages[winner], images)
        ]
        verdict = f"the winner is trial {winner}: {SCORE} {as_text(self.averages[winner], images)}"
        if not rivals:
            return verdict
        return f"{verdict}; not significantly better than trial{'s' * (len(rivals) > 1)} {', '.join(rivals)}"


def write_new(path: Path, text: str) -> None:
    """Write a file, unless it has that text: its time says when something changed."""
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        replace_text(path, text)


def as_csv(rows: Sequence[Row]) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(dict.fromkeys(name for row in rows for name in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def pareto(rows: Sequence[Row], names: Sequence[str]) -> list[Row]:
    """The rows for which no other one is as good in all of `names` and better in one. Accuracy is to be high, costs low."""
    signs = [-1 if name == SCORE else 1 for name in names]
    points = [[sign * row[name] for sign, name in zip(signs, names, strict=True)] for row in rows]

    def is_beaten(point: list[float]) -> bool:
        return any(other != point and all(mine <= its for mine, its in zip(other, point, strict=True)) for other in points)

    return [row for row, point in zip(rows, points, strict=True) if not is_beaten(point)]
