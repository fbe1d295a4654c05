"""The results of an experiment: a row for each training, a table of the networks beside the paper's errors, and the verdicts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_resnet.console import markdown_table
from keras_resnet.reproductions.claims import Verdict, decide
from keras_resnet.reproductions.named import Reproduction
from keras_resnet.reproductions.scales import Scale

METRICS = ("training_error", "test_error")


@dataclass(frozen=True)
class Results:
    """The trainings of an experiment so far."""

    reproduction: Reproduction
    scale: str
    rows: list[dict[str, Any]]
    """For each training `network`, `seed`, `training_error` and `test_error` (0 to 1), `diverged`, and the numbers of images."""

    def errors(self, metric: str) -> dict[str, list[float]]:
        """One error of each network, by seed."""
        found: dict[str, list[float]] = {}
        for row in self.rows:
            found.setdefault(row["network"], []).append(row[metric])
        return found

    @property
    def table(self) -> list[dict[str, Any]]:
        """A row for each network: mean and standard deviation over the seeds in percent, and the paper's test error."""
        networks = self.reproduction.networks(self.scale)
        return [
            {
                "network": name,
                "parameters": self.parameters.get(name),
                "seeds": len(self.errors("test_error").get(name, [])),
                **{metric.replace("_", " ") + " %": spread(self.errors(metric).get(name, [])) for metric in METRICS},
                "paper's test error %": self.reproduction.published.get(name),
            }
            for name in networks
        ]

    @property
    def parameters(self) -> dict[str, int | None]:
        """Trainable parameters of each network for the images of the experiment."""
        return {row["network"]: row.get("parameters") for row in self.rows}

    @property
    def verdicts(self) -> list[Verdict]:
        """The verdict on each claim."""
        depths = self.reproduction.layers[self.scale]
        return [decide(claim, depths, self.errors(claim.metric)) for claim in self.reproduction.claims]

    @property
    def images(self) -> dict[str, int]:
        """The numbers of training and test images."""
        return {split: self.rows[0][split] for split in ("training_images", "test_images")} if self.rows else {}

    def markdown(self, name: str, scale: Scale, machine: str) -> str:
        """The results as a page in Markdown."""
        left_out = [f"Different here: {self.reproduction.left_out}."] if self.reproduction.left_out else []
        return "\n".join(
            [
                f"# {self.reproduction.question}",
                "",
                f"{self.reproduction.source}. Scale {self.scale}: {scale.words(self.images)}, on {machine}.",
                "Each claim is tested at the 5 % level, without a correction for the number of claims.",
                "Errors are those of the last epoch, without augmentation, as mean ± standard deviation over the seeds. A diverged",
                "training gets the error of guessing. The paper's errors are from its own schedule and images.",
                *left_out,
                "",
                grid(self.table),
                "",
                grid([verdict_row(verdict) for verdict in self.verdicts]),
                "",
                f"`keras-resnet study {name} --scale {self.scale}`",
                "",
            ]
        )


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation of errors (0 to 1), in percent."""
    if not values:
        return "-"
    mean = f"{100 * np.mean(values):.2f}"
    return f"{mean} ± {100 * np.std(values, ddof=1):.2f}" if len(values) > 1 else mean


def verdict_row(verdict: Verdict) -> dict[str, Any]:
    """A verdict as a row of a table."""
    points = "-" if verdict.points is None else f"{verdict.points:+.2f}"
    p = "-" if verdict.p is None else f"{verdict.p:.3f}"
    return {"claim": verdict.claim, "verdict": verdict.verdict, "contrast, points": points, "p": p}


def grid(rows: Sequence[dict[str, Any]]) -> str:
    """Rows with the same keys as a table in Markdown."""
    return markdown_table(rows[0], (map(written, row.values()) for row in rows))


def written(value: Any) -> str:
    """A value in a cell."""
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:.2f}" if isinstance(value, float) else str(value)
