"""Exports a run, or any Keras classifier, to files for other runtimes. Each file is checked before it is put in place.

`supported` says which networks can be exported; `saved_model`, `tflite` and `onnx` write files,
`quantizer` replaces the numbers of TFLite files by smaller ones, `calibration` picks the images that their ranges are found with,
`dead_channels` keeps the biases of channels without weights.
`comparison_images` picks those to compare on, `check` compares a file with the Keras model, `verdict` decides what that says about
the file, `report` writes down the results. `elsewhere` does it all on other backends.
"""

import errno
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import keras

from keras_resnet.atomic import occupied, put_in_place, scratch, write_json
from keras_resnet.console import quiet
from keras_resnet.export.check import Check, Reference
from keras_resnet.export.elsewhere import in_tensorflow
from keras_resnet.export.onnx import write_onnx
from keras_resnet.export.quantization_debug import layer_noise
from keras_resnet.export.replaceable import CURVE, LAYERS, check_folder, check_records
from keras_resnet.export.report import Report
from keras_resnet.export.saved_model import write_saved_model
from keras_resnet.export.supported import Source, open_source
from keras_resnet.export.tflite import float_file, write_tflite
from keras_resnet.files.model_file import ModelFile
from keras_resnet.files.predictions import accuracy, best
from keras_resnet.files.targets import TARGETS, Target, select
from keras_resnet.networks.settings import fixed_settings
from keras_resnet.runs.history import plot_quantization
from keras_resnet.runs.run import Run, check_outside

__all__ = [
    "TARGETS",
    "Artefact",
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

Artefact = ModelFile  # its first name
FULL = "No space left on device"
LEAST = 2**20  # bytes that a conversion needs, beside the weights
GOOD_ENOUGH = 0.005  # of accuracy
WRITERS: dict[str, Callable[[Source, Path, Target], None]] = {
    "saved_model": write_saved_model,
    "tflite": write_tflite,
    "onnx": write_onnx,
    "keras": lambda source, path, target: source.model.save(path),
}


@in_tensorflow
@fixed_settings()
def export(
    source: Run | str | Path | keras.Model,
    format: str = "all",
    quantize: str | None = None,
    *,
    targets: list[Target] | None = None,
    data: Any = None,
    out: str | Path | None = None,
    min_agreement: float | None = None,
    max_difference: float | None = None,
    accept_undecided: bool = False,
    scores: str | None = None,
    on_check: Callable[[Check], None] = lambda check: None,
    on_images: Callable[[Target, int], None] = lambda target, count: None,
    **fields: Any,
) -> list[Check]:
    """Write files, run each in its own runtime, and compare it with the Keras model.

    The comparison uses the test images, and others too if they are fewer than 1,000, see `comparison_images`. Accuracies are those
    of the test images.

    Args:
        source: a finished run, its folder, or a Keras model of one image in and (batch, classes) out.
        format: "saved_model", "tflite", "onnx", "keras", or "all" for every row of `TARGETS`.
        quantize: for "tflite": "float16", "dynamic", "int8", "int16", "int4".
        targets: several targets, in place of `format`, `quantize` and `fields`.
        data: the images to calibrate with and check on: what `keras_resnet.data.load` gives or takes. None: those that the run was
            trained on.
        out: the folder to write to. None: the run's `export/`.
        min_agreement: lowest top-1 agreement to accept, in place of each target's own, see `files.targets.Tolerance`.
        max_difference: largest absolute difference of any output to accept, in place of each target's own.
        accept_undecided: write undecided files too (too few images to decide).
        scores: what a Keras model returns, "logits" or "probabilities". None: taken from its layers, or from its outputs.
        on_check: called with each `Check`.
        on_images: called with a target and the number of images that its file has run on since the last call.
        fields: other fields of `Target`: pixels, output, batch, layout, opset, equalize, float_layers.

    Returns: one `Check` for each target, also in `report.json` and `REPORT.md`; `manifest.json` has inputs, outputs and digest of
    each file. A file that has not passed is not written, and its check says why (`verdict`, `problem`); an older file stays.
    On JAX and PyTorch a process of TensorFlow does it, see `elsewhere`. InputError if there are no images, if the model does not
    classify such images, if the folder has files of another model or other weights, or if what is in the way there is not listed
    in the manifest of an export.
    """
    targets = select(format, quantize, **fields) if targets is None else targets
    network, data, folder = open_source(source, data, out, scores)
    if out is not None:
        check_outside(out, data.origin["source"])
    check_folder(folder, network, [target.file for target in targets], is_own=out is None)
    reference, checks = Reference.of(network, data), []
    chosen = {"min_agreement": min_agreement, "max_difference": max_difference}
    with occupied(folder, "exporting"), scratch(folder) as temporary:
        report = Report(folder, temporary, network)
        for target in targets:
            path = temporary / target.file
            write(WRITERS[target.format], network, path, target)
            check = reference.compare(target, path, chosen, partial(on_images, target), accept_undecided)
            report.add(check, target, path)
            checks.append(check)
            on_check(check)
    return checks


def write(writer: Callable[[Source, Path, Target], None], source: Source, path: Path, target: Target) -> None:
    """Let `writer` write a file without a word. OSError, without what its libraries print, if the disk is full."""
    full = None
    with quiet():
        try:
            writer(source, path, target)
        except Exception as error:
            if not is_full(error, source, path):
                raise
            full = error
    if full:
        raise OSError(errno.ENOSPC, FULL, target.file) from full


def is_full(error: Exception, source: Source, path: Path) -> bool:
    """Whether a file could not be written because a disk is full: TensorFlow does not always say so."""
    needed = LEAST + 2 * sum(weight.nbytes for weight in source.model.get_weights())
    places = path.parent, tempfile.gettempdir()
    return FULL in str(error) or any(shutil.disk_usage(place).free < needed for place in places)


@in_tensorflow
@fixed_settings()
def debug_quantization(
    source: Run | str | Path | keras.Model,
    *,
    data: Any = None,
    out: str | Path | None = None,
    most: int = 5,
    on_check: Callable[[Check], None] = lambda check: None,
) -> dict[str, Any]:
    """Which layers of an int8 file lose accuracy, and how much the remedies recover.

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
    network, data, folder = open_source(source, data, out)
    check_folder(folder, network, (), is_own=out is None)
    check_records(folder, (LAYERS, CURVE))
    reference = Reference.of(network, data)
    with occupied(folder, "exporting"), scratch(folder) as temporary:
        with quiet():
            plain = Target("tflite", "int8")
            layers = layer_noise(float_file(network, plain), network, plain)
        remedies: list[dict[str, Any]] = [{"float_layers": count} for count in range(min(most, len(layers)) + 1)]
        rows = []
        for target in [Target("tflite", "int8", **remedy) for remedy in [*remedies, {"equalize": True}]]:
            write(write_tflite, network, temporary / target.file, target)
            check = reference.compare(target, temporary / target.file, {})
            on_check(check)
            facts = {name: getattr(check, name) for name in ("bytes", "accuracy", "top1_agreement")}
            rows.append({"float_layers": target.float_layers, "equalize": target.equalize, **facts})
        findings = {
            "keras_accuracy": check.keras_accuracy,
            "layers": [asdict(layer) for layer in layers],
            "files": rows,
            "advice": advice(rows, check.keras_accuracy),
        }
        write_json(temporary / LAYERS, findings)
        plot_quantization(rows, check.keras_accuracy, temporary / CURVE)
        for name in (LAYERS, CURVE):
            put_in_place(temporary / name, folder / name)
    return findings


def advice(rows: list[dict[str, Any]], keras_accuracy: float) -> str:
    """What to do, from the rows of `debug_quantization`: the smallest file that is good enough."""
    good = [row for row in rows if row["accuracy"] >= keras_accuracy - GOOD_ENOUGH]
    if not good:
        return "no remedy is within half a point of the float network: fine-tune it, or export int16 or float16"
    row = min(good, key=lambda row: (row["bytes"], row["equalize"]))
    if row["equalize"]:
        return "use cross-layer equalisation: equalize=True (--equalize)"
    if count := row["float_layers"]:
        return f"keep the worst {count} layers in float: float_layers={count} (--float-layers {count})"
    return "plain int8 is within half a point of the float network"


def saved_model(source: Run | str | Path | keras.Model, **options: Any) -> Check:
    """`export` of a TensorFlow SavedModel, `saved_model/1/`, as TensorFlow Serving takes it."""
    return export(source, "saved_model", **options)[0]


def tflite(source: Run | str | Path | keras.Model, quantize: str | None = None, **options: Any) -> Check:
    """`export` of a TFLite file, `model_*.tflite`; `quantize` is None, "float16", "dynamic", "int8", "int16" or "int4"."""
    return export(source, "tflite", quantize, **options)[0]


def onnx(source: Run | str | Path | keras.Model, **options: Any) -> Check:
    """`export` of an ONNX file, `model.onnx`."""
    return export(source, "onnx", **options)[0]
