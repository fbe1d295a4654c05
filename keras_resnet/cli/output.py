"""What commands print: the metrics of a training, and the checks of exported files."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import typer

from keras_resnet.confidence import interval_text
from keras_resnet.console import show_json, show_table
from keras_resnet.outside import printable
from keras_resnet.runs.run import Run

SHOWN = 20  # classes in a table
MISTAKES = 5  # in a table


def show_run(run: Run, checks: list[Any], as_json: bool, **more: Any) -> None:
    """What a training reached, and its exports; as JSON with `more` beside it."""
    if as_json:
        show_json({"run": str(run.path), **run.metrics, "exports": [asdict(check) for check in checks], **more})
        return
    print()
    show_table([{"split": split, **accuracy_row(**run.metrics[split])} for split in ("validation", "test")])
    show_classes(run.metrics["test"])
    show_mistakes(run.metrics["test"].get("mistakes", []))
    print(f"\nsaved weights: {saved_weights(run.metrics)}")
    print(f"{run.metrics['images_per_second']:,} images per second in training, {run.metrics['train_seconds']:g} s in total")
    place = printable(run.path)
    print(f"run: {place}")
    if sample := run.metrics.get("sample"):
        print(f"try it on a test image ({sample['class']}): keras-resnet predict {place} {place}/{sample['file']}")
    show_checks(checks)


def show_trained(run: Run, targets: list[Any], as_json: bool, data: Any = None, **more: Any) -> None:
    """Export a run that was just trained, check the files on `data` or its own images, and show it all."""
    checks: list[Any] = []
    if targets:
        from keras_resnet.export import export

        checks = export(run, targets=targets, data=data, on_check=progress)
    show_run(run, checks, as_json, **more)
    fail_unless_accepted(checks)


def verbosity(as_json: bool) -> int:
    """What `fit` prints: nothing, a progress line, or lines for a stream that is no terminal."""
    return 0 if as_json else 1 if sys.stdout.isatty() else 2


def accuracy_row(*, images: int, accuracy: float, **others: Any) -> dict[str, Any]:
    """An accuracy with its interval, balanced accuracy and loss where they are known, for a table."""
    row = {"images": images, "accuracy": accuracy, "95 % interval": interval_text(accuracy, images)}
    names = {"balanced_accuracy": "balanced", "loss": "loss"}
    return row | {column: others[name] for name, column in names.items() if name in others}


def show_evaluation(found: dict[str, Any]) -> None:
    """The tables of an evaluation: of all images, of each class, and the confusion matrix."""
    row = accuracy_row(images=found["images"], accuracy=found["accuracy"], balanced_accuracy=found["balanced_accuracy"])
    show_table([{"model": found["model"], "split": found["split"], **row}])
    classes = [class_row(row) for row in found["classes"]]
    print()
    if len(classes) > SHOWN:
        classes = sorted(classes, key=lambda row: 2 if row["recall"] is None else row["recall"])[:SHOWN]
        print(f"the {SHOWN} classes with the lowest recall; --json and --out FOLDER show all {len(found['classes'])}")
    show_table(classes)
    if len(found["classes"]) <= SHOWN:
        names = [row["class"] for row in classes]
        show_confusion(names, found["confusion_matrix"])
    show_mistakes(found["mistakes"])


def show_confusion(names: list[str], matrix: list[list[int]]) -> None:
    """A confusion matrix, whose classes are in the order of `names`."""
    print("\nconfusion matrix: true class (row), predicted class (column)")
    show_table([{"": name, **dict(zip(names, counts, strict=True))} for name, counts in zip(names, matrix, strict=True)])


def class_row(row: dict[str, Any]) -> dict[str, Any]:
    """A class of an evaluation, for a table."""
    recall, images = row["recall"], row["images"]
    return {
        "class": row["class"],
        "images": images,
        "precision": row["precision"],
        "recall": recall,
        "95 % interval of recall": interval_text(recall, images) if images else "-",
    }


def show_classes(test: dict[str, Any]) -> None:
    """Each class on the test images, or of many classes the one with the lowest recall."""
    recalls = {name: recall for name, recall in test.get("recall", {}).items() if recall is not None}
    if not recalls:
        return
    print()
    if len(recalls) <= SHOWN and "precision" in test:
        columns = {"images": "images_by_class", "precision": "precision", "recall": "recall"}
        show_table([class_row({"class": name, **{column: test[key][name] for column, key in columns.items()}}) for name in recalls])
        if len(test["recall"]) <= SHOWN and "confusion_matrix" in test:
            show_confusion(list(test["recall"]), test["confusion_matrix"])
    else:
        name = min(recalls, key=recalls.__getitem__)
        print(f"lowest recall on the test images: {recalls[name]:.4f} (class {name}); `keras-resnet evaluate` shows all classes")


def show_mistakes(rows: list[dict[str, Any]]) -> None:
    """The most confident mistakes, if there are any."""
    if rows:
        print("\nthe most confident mistakes")
        show_table(rows[:MISTAKES])


def saved_weights(metrics: dict[str, Any]) -> str:
    """Which weights a run keeps, in words."""
    if metrics["kept_epoch"]:
        probe = metrics.get("linear_probe")
        alone = f"; the fitted classifier alone: validation accuracy {probe['validation']['accuracy']:.4f}" if probe else ""
        return f"epoch {metrics['kept_epoch']} of {metrics['epochs']}{alone}"
    return (
        f"before fine-tuning, with the fitted classifier: {metrics['epochs']} epochs made it less accurate on the validation images"
    )


@contextmanager
def bars(images: int) -> Iterator[Callable[[Any, int], None]]:
    """A bar on standard error, where that is a terminal, that fills while a file is run on so many images."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    if not sys.stderr.isatty():
        yield lambda target, count: None
        return
    columns = TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn()
    # It is drawn when images are done and not by a thread, which would write while native libraries are silenced.
    how: dict[str, Any] = {"auto_refresh": False, "redirect_stdout": False, "transient": True}
    bar = Progress(*columns, console=Console(stderr=True), **how)
    task = bar.add_task("", total=images, visible=False)

    def on_images(target: Any, count: int) -> None:
        if target.file != bar.tasks[task].description:
            bar.reset(task, description=target.file, visible=True)
        bar.update(task, advance=count, refresh=True)

    with bar:
        yield on_images


def progress(check: Any) -> None:
    """One line on standard error for each exported file as it is done."""
    print(f"{'FAILED' if check.verdict == 'failed' else check.verdict} {check.file}", file=sys.stderr)


def show_checks(checks: list[Any]) -> None:
    """The table of an export."""
    if checks:
        print()
    columns = ("file", "bytes", "max_difference", "top1_agreement", "accuracy", "keras_accuracy", "verdict")
    show_table([{column: getattr(check, column) for column in columns} for check in checks])


def fail_unless_accepted(checks: list[Any]) -> None:
    """Exit with 1 if an exported file was not accepted; print why, and what to do."""
    refused = [check for check in checks if not check.accepted]
    for check in refused:
        print(f"keras-resnet: {check.file} is not written: {printable(check.problem)}", file=sys.stderr)
    if refused:
        raise typer.Exit(1)


def show_quantization(found: dict[str, Any], as_json: bool) -> None:
    """Which layers lose accuracy in int8, and what the remedies give."""
    if as_json:
        show_json(found)
        return
    shown = ("layer", "operation", "signal_to_noise")
    show_table([{column: row[column] for column in shown} for row in found["layers"]])
    print()
    show_table(found["files"])
    print(f"\naccuracy in float: {found['keras_accuracy']:.4f}; {found['advice']}")
