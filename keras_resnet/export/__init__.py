"""From a run, or any Keras classifier, to files for other runtimes, each proved against the Keras model before it is put in place.

`targets` lists what there is, `saved_model`, `tflite` and `onnx` write, `check` compares, `record` keeps the evidence.
"""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras

from keras_resnet.atomic import occupied, put_in_place, scratch, write_json
from keras_resnet.console import quiet
from keras_resnet.data import Dataset, of_run
from keras_resnet.errors import InputError
from keras_resnet.export.calibration import calibration_images
from keras_resnet.export.check import Check, Reference
from keras_resnet.export.debug import Debugger
from keras_resnet.export.interface import Source, check_classifies
from keras_resnet.export.onnx import write_onnx
from keras_resnet.export.report import Record
from keras_resnet.export.rescaling import scaled_by_convolution
from keras_resnet.export.saved_model import write_saved_model
from keras_resnet.export.targets import TARGETS, Target, select
from keras_resnet.export.tflite import write_tflite
from keras_resnet.files.model_file import ModelFile
from keras_resnet.files.predictions import accuracy, best
from keras_resnet.networks.loading import load
from keras_resnet.recipes.quantization_aware import ranges
from keras_resnet.runs.history import plot_quantization
from keras_resnet.runs.run import Run

__all__ = [
    "TARGETS",
    "Check",
    "ModelFile",
    "Target",
    "accuracy",
    "best",
    "debug_quantization",
    "export",
    "onnx",
    "saved_model",
    "select",
    "tflite",
]

GOOD_ENOUGH = 0.005  # of accuracy


def write_keras(source: Source, path: Path, target: Target) -> None:
    """A Keras file."""
    source.model.save(path)


Writer = Callable[[Source, Path, Target], None]
WRITERS: dict[str, Writer] = {
    "saved_model": write_saved_model,
    "tflite": write_tflite,
    "onnx": write_onnx,
    "keras": write_keras,
}


def export(
    source: Run | str | Path | keras.Model,
    format: str = "all",
    quantize: str | None = None,
    *,
    targets: list[Target] | None = None,
    data: Dataset | None = None,
    out: str | Path | None = None,
    min_agreement: float | None = None,
    max_difference: float | None = None,
    on_check: Callable[[Check], None] = lambda check: None,
    on_images: Callable[[Target, int], None] = lambda target, count: None,
    **fields: Any,
) -> list[Check]:
    """Write files, run each over the test images in its own runtime, and compare it with the Keras model.

    Args:
        source: a finished run, its folder, or a Keras model of one image in and (batch, classes) out.
        format: "saved_model", "tflite", "onnx", "keras", or "all" for every row of `TARGETS`.
        quantize: for "tflite": "float16", "dynamic", "int8", "int16".
        targets: several targets, in place of `format`, `quantize` and `fields`.
        data: the images to calibrate with and check on. None: those that the run was trained on.
        out: the folder to write to. None: the run's `export/`.
        min_agreement: lowest share of equal top-1 answers to accept, in place of each target's own.
        max_difference: largest absolute difference of any output to accept, in place of each target's own.
        on_check: called with each `Check` as it is made.
        on_images: called with a target and how many more images it has been run on.
        fields: others of `Target`: pixels, output, batch, layout, opset.

    Returns: one `Check` a target, also in `report.json` and `REPORT.md`; `manifest.json` has what each file is, and its digest.
    A file outside its tolerance is not put in place, and its check says by how much (`passed`, `problem`). One that was there
    before stays. InputError if the backend is not TensorFlow, or if there are no images.
    """
    targets = select(format, quantize, **fields) if targets is None else targets
    start, data, folder = opened(source, data, out)
    reference = Reference.of(start, data)
    checks = []
    tolerances = {"min_agreement": min_agreement, "max_difference": max_difference}
    with occupied(folder, "exporting"), scratch(folder) as temporary:
        record = Record(folder, temporary, start)
        for target in targets:
            made = temporary / target.file
            with quiet():
                WRITERS[target.format](start, made, target)
            check = reference.compare(target, made, tolerances, lambda count, target=target: on_images(target, count))  # type: ignore[misc]
            record.enter(check, target, made)
            checks.append(check)
            on_check(check)
    return checks


def debug_quantization(
    source: Run | str | Path | keras.Model,
    *,
    data: Dataset | None = None,
    out: str | Path | None = None,
    most: int = 5,
    on_check: Callable[[Check], None] = lambda check: None,
) -> dict[str, Any]:
    """Where the int8 file of a network loses, and what remedies give back.

    Args:
        source: a run or a model, as for `export`.
        data: the images, as for `export`.
        out: the folder, as for `export`.
        most: the largest number of layers to keep in float.
        on_check: called with the `Check` of each int8 file that is tried.

    Returns: {"layers": a row for each layer, the worst first (`signal_to_noise` in decibels), "files": a row for each remedy
    (`float_layers`, `equalize`, `bytes`, `accuracy`, `top1_agreement`), "keras_accuracy", "advice"}. It is also in
    `quantization.json`, and the curve of accuracy and size in `quantization.png`. No int8 file is put in place.
    """
    start, data, folder = opened(source, data, out)
    reference = Reference.of(start, data)
    with occupied(folder, "exporting"), scratch(folder) as temporary:
        with quiet(), scaled_by_convolution(start.model):
            errors = Debugger(start, Target("tflite", "int8")).errors()
        counts = range(min(most, len(errors)) + 1)
        tried = [Target("tflite", "int8", float_layers=count) for count in counts] + [Target("tflite", "int8", equalize=True)]
        rows = []
        for target in tried:
            with quiet():
                write_tflite(start, temporary / target.file, target)
            check = reference.compare(target, temporary / target.file, {})
            on_check(check)
            facts = {name: getattr(check, name) for name in ("bytes", "accuracy", "top1_agreement")}
            rows.append({"float_layers": target.float_layers, "equalize": target.equalize, **facts})
        found = {
            "keras_accuracy": check.keras_accuracy,
            "layers": [asdict(error) for error in errors],
            "files": rows,
            "advice": advice(rows, check.keras_accuracy),
        }
        write_json(temporary / "quantization.json", found)
        plot_quantization(rows, check.keras_accuracy, temporary / "quantization.png")
        for name in ("quantization.json", "quantization.png"):
            put_in_place(temporary / name, folder / name)
    return found


def advice(rows: list[dict[str, Any]], keras_accuracy: float) -> str:
    """What to do, from the rows of `debug_quantization`: the smallest file that is good enough."""
    good = [row for row in rows if row["accuracy"] >= keras_accuracy - GOOD_ENOUGH]
    if not good:
        return "no remedy is within half a point of the network in float: fine-tune it, or export int16 or float16"
    row = min(good, key=lambda row: (row["bytes"], row["equalize"]))
    count = row["float_layers"]
    if row["equalize"]:
        return "equalise: equalize=True (--equalize)"
    if count:
        return f"keep the worst {count} in float: float_layers={count} (--float-layers {count})"
    return "plain int8 is within half a point of the network in float"


def opened(source: Run | str | Path | keras.Model, data: Dataset | None, out: str | Path | None) -> tuple[Source, Dataset, Path]:
    """What an export starts from, the images that it is checked on, and the folder that it goes to."""
    if keras.backend.backend() != "tensorflow":
        raise InputError(
            f"export needs Keras on TensorFlow, and KERAS_BACKEND is {keras.backend.backend()!r}; run folders serve both"
        )
    if isinstance(source, keras.Model):
        if data is None or out is None:
            raise InputError("a Keras model is exported with data=, the images to check on, and out=, the folder to write to")
        model, name, out = source, source.name, Path(out)
    else:
        run = source if isinstance(source, Run) else Run.open(source)
        data = of_run(run, data)
        model = load(run.model_path, compile=False, safe_mode=True)
        name, out = run.path.resolve().name, run.export_path if out is None else Path(out)
    check_classifies(model)
    if ranges(model):
        raise InputError(f"{model.name!r} simulates integers: call keras_resnet.quantization.release on it before it is exported")
    if not isinstance(model.outputs, list) or isinstance(model, keras.Sequential):  # one tensor in, one out
        model = keras.Model(model.inputs, keras.tree.flatten(model.outputs)[0], name=model.name)
    if tuple(model.input_shape[1:]) != data.image_shape and None not in model.input_shape[1:]:
        raise InputError(f"the model takes images of {tuple(model.input_shape[1:])}, and these are {data.image_shape}")
    if model.output_shape[-1] != len(data.class_names):
        raise InputError(f"the model has {model.output_shape[-1]} classes, and the images have {len(data.class_names)}")
    calibration = calibration_images(data)
    return Source(model=model, name=name, class_names=list(data.class_names), calibration=calibration), data, out


def saved_model(source: Run | str | Path | keras.Model, **options: Any) -> Check:
    """`export` of a TensorFlow SavedModel, `saved_model/1/`, as TensorFlow Serving takes it."""
    return export(source, "saved_model", **options)[0]


def tflite(source: Run | str | Path | keras.Model, quantize: str | None = None, **options: Any) -> Check:
    """`export` of a TFLite file, `model_*.tflite`; `quantize` is None, "float16", "dynamic", "int8" or "int16"."""
    return export(source, "tflite", quantize, **options)[0]


def onnx(source: Run | str | Path | keras.Model, **options: Any) -> Check:
    """`export` of an ONNX file, `model.onnx`."""
    return export(source, "onnx", **options)[0]
