"""From a spec to a plain functional `keras.Model`: stem, stages, head. The units inside are in `blocks.py`."""

import math
from typing import Any

import keras
from keras import KerasTensor, layers

from keras_resnet.blocks import Shortcut, convolution, max_pool, norm_relu, ranked, residual_unit
from keras_resnet.spec import ResNetSpec, name_of, resolve


def build(spec: str | ResNetSpec, *, name: str | None = None, **fields: Any) -> keras.Model:
    """The network of `spec` with fresh weights.

    Args:
        spec: a name in `SPECS`, or a `ResNetSpec`.
        name: name of the model; if None the name in `SPECS`, or "custom" for a network that is not there.
        fields: fields of the spec to change, such as `classes` and `input_shape`.

    Returns: a functional model from raw pixels (batch, *input_shape), 0..255, channels last, to float32 logits (batch, classes).
    It holds built-in Keras layers only, named `stem_conv`, `stage1_block1_conv1`, ..., `pool`, `logits`, counted from 1.

    >>> build("resnet50", classes=10).count_params()
    23581642
    """
    spec = resolve(spec, **fields)
    image = keras.Input(spec.input_shape, name="image")
    x = stem(normalize(image, spec), spec)
    for stage in range(1, len(spec.depths) + 1):
        x = stack(x, spec, stage)
    return keras.Model(image, head(x, spec), name=name or name_of(spec))


def normalize(x: KerasTensor, spec: ResNetSpec) -> KerasTensor:
    """(x - mean) / standard deviation, per channel."""
    if spec.normalization is None:
        return x
    scale = [1 / deviation for deviation in spec.normalization[1]]
    offset = [-mean * factor for mean, factor in zip(spec.normalization[0], scale, strict=True)]
    return layers.Rescaling(scale, offset, name="normalize")(x)


def stem(x: KerasTensor, spec: ResNetSpec) -> KerasTensor:
    """First convolutions, BatchNormalization, ReLU, max-pooling: in pre-activation networks too (arXiv:1603.05027, appendix)."""
    if spec.stem == "deep":
        for number, stride in ((1, 2), (2, 1)):
            x = convolution(x, spec.stem_width // 2, 3, stride, name=f"stem_conv{number}")
            x = norm_relu(x, spec, "stem", number)
    size, stride = {"7x7": (7, 2), "deep": (3, 1), "3x3": (3, 1)}[spec.stem]
    x = convolution(x, spec.stem_width, size, stride, name="stem_conv")
    x = norm_relu(x, spec, "stem")
    return max_pool(x, name="stem_pool") if spec.stem_pool else x


def stack(x: KerasTensor, spec: ResNetSpec, stage: int) -> KerasTensor:
    """The units of one stage, counted from 1. The first one of every stage after the first halves the space."""
    width = spec.widths[stage - 1]
    for block in range(1, spec.depths[stage - 1] + 1):
        stride = 2 if stage > 1 and block == 1 else 1
        x = residual_unit(
            x,
            width,
            spec,
            stride=stride,
            shortcut=_shortcut(spec, stride > 1 or x.shape[-1] != width * spec.expansion),
            name=f"stage{stage}_block{block}",
            preactivate=(stage, block) != (1, 1),
        )
    return x


def head(x: KerasTensor, spec: ResNetSpec) -> KerasTensor:
    """Global average pooling and the classifier, in float32 whatever the precision of the rest."""
    if spec.activation_order == "full_preactivation":
        x = norm_relu(x, spec, "head")
    x = ranked("GlobalAveragePooling", x)(name="pool")(x)
    small = keras.initializers.RandomNormal(stddev=0.01)  # arXiv:1706.02677 section 5.1
    x = layers.Dense(spec.classes, kernel_initializer=small, dtype="float32", name="logits")(x)
    if spec.classifier_activation:
        x = layers.Activation(spec.classifier_activation, dtype="float32", name="predictions")(x)
    return x


def stages(model: keras.Model) -> list[dict[str, Any]]:
    """Rows for the stem, each stage, the head and the whole of a model of `build`: units, output, trainable parameters."""
    rows: dict[str, dict[str, Any]] = {}
    for layer in model.layers:
        part = layer.name.partition("_")[0] if layer.name.startswith(("stem", "stage")) else "head"
        row = rows.setdefault("input" if layer.name in ("image", "normalize") else part, {"units": 0, "output": "", "trainable": 0})
        row["units"] += layer.name.endswith("_conv1")
        row["output"] = "x".join(map(str, layer.output.shape[1:]))
        row["trainable"] += sum(math.prod(weight.shape) for weight in layer.trainable_weights)
    table = [{"part": part, **row} for part, row in rows.items()]
    total = {key: sum(row[key] for row in table) for key in ("units", "trainable")}
    return [*table, {"part": "total", "units": total["units"], "output": table[-1]["output"], "trainable": total["trainable"]}]


def _shortcut(spec: ResNetSpec, changes_shape: bool) -> Shortcut:
    if spec.shortcut == "none" or changes_shape:
        return spec.shortcut
    return "identity"
