"""The layout of this package: safetensors with the names of the model, such as `stem_conv/kernel`, and `spec.json` beside it."""

from pathlib import Path
from typing import Any

from keras_resnet.errors import InputError
from keras_resnet.fields import names
from keras_resnet.networks.spec import ResNetSpec
from keras_resnet.weights.layout import KERAS, Layout, json_beside


def network_beside(path: Path) -> dict[str, Any]:
    """The fields of `spec.json`. InputError if it is none."""
    found = json_beside(path.parent, "spec.json")
    if set(found) - set(names(ResNetSpec)):
        raise InputError("is beside a spec.json that is none of this version")
    return found


OWN = Layout(
    "keras_resnet",
    mark=r"(stem_conv|stage1_block1_conv\d)/kernel",
    rows=(),
    first={},
    variables=KERAS,
    has_prefix=False,
    beside=network_beside,
)
