"""From a run to files for other runtimes, each proved against the Keras model before it is put in place.

`targets` writes a file, `runtimes` opens one in its own runtime, `check` compares the two.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from keras_resnet.atomic import put_in_place, scratch
from keras_resnet.console import quiet
from keras_resnet.data import Dataset, of_run
from keras_resnet.errors import InputError
from keras_resnet.export.check import Check, accuracy, compare, outputs_of, probabilities, record
from keras_resnet.export.runtimes import keras_model, open_artefact
from keras_resnet.export.targets import CALIBRATION_IMAGES, TARGETS, Target, select
from keras_resnet.runs import Run

__all__ = [
    "TARGETS",
    "Check",
    "Target",
    "accuracy",
    "export",
    "onnx",
    "open_artefact",
    "probabilities",
    "saved_model",
    "select",
    "tflite",
]


def export(
    run: Run | str | Path,
    targets: list[Target] | None = None,
    *,
    data: Dataset | None = None,
    min_agreement: float | None = None,
    on_check: Callable[[Check], None] = lambda check: None,
) -> list[Check]:
    """Write each target from `run`, run it over the test images in its own runtime and compare it with the Keras model.

    Args:
        run: a finished run, or its folder.
        targets: rows of `TARGETS`, see `select`; all of them if None.
        data: the images to calibrate with and check on; those that the run was trained on if None.
        min_agreement: lowest share of equal top-1 answers to accept, instead of each target's own.
        on_check: called with each `Check` as it is made.

    Returns: one `Check` a target, also in `export/report.json`. A file outside its tolerance is not put in place, and its
    check says by how much (`passed`, `problem`). One that was there before stays.
    """
    if keras.backend.backend() != "tensorflow":
        raise InputError(
            f"export needs Keras on TensorFlow, and KERAS_BACKEND is {keras.backend.backend()!r}; run folders serve both"
        )
    run = run if isinstance(run, Run) else Run.open(run)
    data = of_run(run, data)
    model = keras_model(run.model_path)
    reference = outputs_of(model.predict_on_batch, data)
    calibration = data.sample(CALIBRATION_IMAGES)
    checks = []
    with scratch(run.export_path) as folder:
        for target in TARGETS.values() if targets is None else targets:
            with quiet():
                target.write(model, folder / target.file, calibration)
                check = compare(target, folder / target.file, reference, data, min_agreement)
            if check.passed:
                put_in_place(folder / target.file, run.export_path / target.file)
            record(check, run.export_path, folder)
            checks.append(check)
            on_check(check)
    return checks


def saved_model(run: Run | str | Path, **options: Any) -> Check:
    """`export` of a TensorFlow SavedModel to `export/saved_model/`."""
    return export(run, select("saved_model"), **options)[0]


def tflite(run: Run | str | Path, quantize: str | None = None, **options: Any) -> Check:
    """`export` of a TFLite file to `export/model_*.tflite`; `quantize` is None, "float16", "dynamic" or "int8".

    It takes raw pixels: float32 0..255, or uint8 for "int8".
    """
    return export(run, select("tflite", quantize), **options)[0]


def onnx(run: Run | str | Path, **options: Any) -> Check:
    """`export` of an ONNX file to `export/model.onnx`."""
    return export(run, select("onnx"), **options)[0]
