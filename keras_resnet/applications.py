"""keras.applications' ResNets, built by this package: a script changes one import line.

    from keras_resnet.applications.resnet50 import ResNet50, preprocess_input, decode_predictions

Arguments, names of layers, what enters and what leaves a network are those of keras.applications: it takes the output of
`preprocess_input`, and not raw pixels as `keras_resnet.build` does. The submodules `resnet`, `resnet50` and `resnet_v2` are in this
file. ResNet18 and ResNet34 take what `resnet.preprocess_input` gives; keras.applications does not have them.

The outputs are the same with fewer layers and weights: convolutions have no bias where a normalisation subtracts it again, so that
`get_weights()` is shorter, and V2 has no layers that pad before a convolution of stride 1, so that its layers have other numbers.
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, Protocol

import keras
import numpy as np
from keras import KerasTensor

from keras_resnet.errors import InputError, shown
from keras_resnet.fields import names
from keras_resnet.json_files import read_json
from keras_resnet.networks import graph
from keras_resnet.networks.layers import model_of
from keras_resnet.networks.resnet import outputs
from keras_resnet.networks.spec import ResNetSpec
from keras_resnet.networks.variants import SPECS
from keras_resnet.weights.arrays import Arrays
from keras_resnet.weights.download import cache, download
from keras_resnet.weights.keras_applications import MEANS, layer_name
from keras_resnet.weights.loading import network_of, place
from keras_resnet.weights.names import IMAGENET, find
from keras_resnet.weights.reading import CLASSIFIER, FREE, Weights, read

CLASS_INDEX = "https://storage.googleapis.com/download.tensorflow.org/data/imagenet_class_index.json"
CLASS_INDEX_MD5 = "c2c37ea517e94d9795004a39431a14cb"
SETTINGS: dict[str, Any] = {"norm_momentum": 0.99, "norm_epsilon": 1.001e-5}  # of normalisation, as keras.applications has them
HALF = 127.5  # V2 takes pixels / 127.5 - 1
OF_THE_FILE = (*FREE, "stride_on", "norm_momentum")  # fields that a file of weights decides, or that change no output


class Constructor(Protocol):
    """A function with the arguments of keras.applications."""

    def __call__(
        self,
        include_top: bool = True,
        weights: str | Path | None = IMAGENET,
        input_tensor: KerasTensor | None = None,
        input_shape: tuple[int | None, ...] | None = None,
        pooling: str | None = None,
        classes: int = 1000,
        classifier_activation: str | Callable[..., Any] | None = "softmax",
        name: str = ...,
    ) -> keras.Model: ...


class Top(NamedTuple):
    """What follows the last map."""

    include: bool
    pooling: str | None
    classes: int
    activation: Any


def constructor(title: str, network: str, *, second: bool = False) -> Constructor:
    """The function of that title for a network of `VARIANTS`; `second` for V2, which takes pixels from -1 to 1."""
    usual = title.lower()

    def construct(
        include_top: bool = True,
        weights: str | Path | None = IMAGENET,
        input_tensor: KerasTensor | None = None,
        input_shape: tuple[int | None, ...] | None = None,
        pooling: str | None = None,
        classes: int = 1000,
        classifier_activation: str | Callable[..., Any] | None = "softmax",
        name: str = usual,
    ) -> keras.Model:
        refuse_channels_first(input_shape)
        top = Top(include_top, pooling, classes, classifier_activation)
        shape = shape_of(input_tensor, input_shape, include_top)
        spec, arrays = replace(SPECS[network], **SETTINGS), None
        if weights == IMAGENET:
            check_imagenet(top, shape)
        if weights is not None:
            spec, arrays = pretrained(usual, spec, weights, top)
        spec, arrays = preprocessed(replace(spec, input_shape=shape), arrays, second)
        model = assemble(spec, top, input_tensor, name)
        if weights is not None:
            fill(model, arrays, weights, input_tensor)
        return model

    construct.__name__ = construct.__qualname__ = title
    construct.__doc__ = DOCUMENTATION.format(title=title, module="resnet_v2" if second else "resnet", pixels=PIXELS[second])
    return construct


PIXELS = ("BGR minus the means of ImageNet", "RGB from -1 to 1")
DOCUMENTATION = """{title} as keras.applications has it.

    Args:
        include_top: False leaves out the classifier.
        weights: "imagenet", whose file is downloaded the first time; None for random ones; a file, also of another library, or
            another name, see `keras_resnet.weights.read`; a `.weights.h5` file that this network has saved.
        input_tensor: the input of the network, such as `keras.Input` or the output of a layer. None makes one.
        input_shape: (height, width, channels). None is (224, 224, 3), and without the classifier any size.
        pooling: without the classifier, "avg" or "max" returns the mean or the maximum of the last map over space.
        classes: outputs of the classifier.
        classifier_activation: of the classifier: any name or function that Keras takes. None returns logits.
        name: of the model.

    Returns: a model from the output of `keras_resnet.applications.{module}.preprocess_input` ({pixels}) to probabilities
    (batch, classes), a map, or a pooled map. InputError, in one line, for weights that do not fit.
    """


def refuse_channels_first(shape: tuple[int | None, ...] | None) -> None:
    """InputError where Keras is set to channels first."""
    if keras.config.image_data_format() == "channels_first":
        raise InputError(
            "these networks are channels last, as TensorFlow on a CPU and TFLite are: call "
            "keras.config.set_image_data_format('channels_last'), and move the channels of images: np.moveaxis(images, 1, -1)"
        )
    if shape is not None and len(shape) != 3:
        raise InputError(f"input_shape={shown(shape)}: expected (height, width, channels)")


def check_activation(activation: Any) -> None:
    """InputError for an activation that trained weights have no meaning with."""
    if keras.activations.get(activation) not in (keras.activations.softmax, keras.activations.linear):
        raise InputError(f"classifier_activation={shown(activation)}: with trained weights it is 'softmax' or None")


def check_imagenet(top: Top, shape: tuple[int | None, ...]) -> None:
    """InputError, before a file is downloaded, for what the weights of ImageNet are not for."""
    if top.include and top.classes != 1000:
        raise InputError(
            f"classes={shown(top.classes)}: weights='imagenet' is for 1000 classes. Pass include_top=False and add a classifier, "
            "or call keras_resnet.transfer.replace_head on the whole network"
        )
    if shape[-1] != 3:
        raise InputError(
            f"the images have {shape[-1]} channels: weights='imagenet' is for 3. Build the network for 3 channels, and call "
            "keras_resnet.transfer.adapt_channels"
        )


def shape_of(tensor: KerasTensor | None, shape: tuple[int | None, ...] | None, include_top: bool) -> tuple[int | None, ...]:
    """The shape of an image."""
    if tensor is None:
        return tuple(shape or ((224, 224, 3) if include_top else (None, None, 3)))
    if not isinstance(tensor, KerasTensor) or len(tensor.shape) != 4 or tensor.shape[-1] is None:
        raise InputError(
            f"input_tensor={shown(tensor)}: expected a Keras tensor (batch, height, width, channels), as of keras.Input"
        )
    return tuple(tensor.shape[1:])


def pretrained(network: str, spec: ResNetSpec, weights: str | Path, top: Top) -> tuple[ResNetSpec, Arrays | None]:
    """Spec and arrays of a file; no arrays for what Keras itself has to load. InputError if they are of another network."""
    if top.include:
        check_activation(top.activation)
    path, _, _ = find(weights, network, classifier=top.include)
    try:
        found: Weights = read(path)
    except InputError:
        if not str(path).endswith(".weights.h5"):
            raise
        return spec, None
    for field in names(ResNetSpec):
        here, there = getattr(spec, field), getattr(found.spec, field)
        if here != there and field not in OF_THE_FILE:
            raise InputError(f"{str(weights)!r} is of a network with {field}={there!r}, and {network} has {field}={here!r}")
    return replace(found.spec, norm_momentum=spec.norm_momentum), found.arrays


def preprocessed(spec: ResNetSpec, arrays: Arrays | None, second: bool) -> tuple[ResNetSpec, Arrays | None]:
    """Spec and arrays for what `preprocess_input` gives, in place of raw RGB pixels."""
    if arrays is None or spec.normalization is None:
        return replace(spec, normalize=None), arrays
    means, deviations = (np.broadcast_to(np.array(values), 3) for values in spec.normalization)
    means, deviations = ((means - HALF) / HALF, deviations / HALF) if second else ((means - MEANS)[::-1], deviations[::-1])
    if not second:
        first = next(name for name in ("stem_conv1/kernel", "stem_conv/kernel") if name in arrays)
        arrays = {**arrays, first: np.ascontiguousarray(arrays[first][..., ::-1, :])}
    if np.allclose(means, 0, atol=1e-6) and np.allclose(deviations, 1):
        return replace(spec, normalize=None), arrays
    return replace(spec, normalize=(tuple(map(float, means)), tuple(map(float, deviations)))), arrays


def assemble(spec: ResNetSpec, top: Top, tensor: KerasTensor | None, name: str) -> keras.Model:
    """The network with the names of keras.applications, in the precision that Keras is set to."""
    pooling: Any = "avg" if top.include else top.pooling
    _, end = outputs(spec, include_top=False, pooling=pooling)
    second = spec.activation_order != "original"
    [end] = graph.renamed([end], lambda name: layer_name(name, second, pooling))  # type: ignore[list-item]
    model = model_of(spec, end, input_tensor=tensor, name=name, dtype=keras.config.dtype_policy().name)
    if not top.include:
        return model
    classifier = keras.layers.Dense(top.classes, activation=top.activation, dtype="float32", name="predictions")
    return keras.Model(model.inputs if len(model.inputs) > 1 else model.input, classifier(model.output), name=name)


def fill(model: keras.Model, arrays: Arrays | None, weights: str | Path, tensor: KerasTensor | None) -> None:
    """Give a model, from `tensor` on, the weights of a file; all of them, or it stays as it was."""
    if arrays is None:
        try:
            model.load_weights(weights)
        except ValueError as error:
            raise InputError(f"{str(weights)!r} does not fit {model.name}: {str(error).splitlines()[0]}") from None
        return
    second = any(layer.name == "post_bn" for layer in model.layers)
    theirs: Arrays = {}
    present = {layer.name for layer in model.layers}
    for name, array in arrays.items():
        layer, variable = name.split("/")
        new = "predictions" if name.startswith(CLASSIFIER) else layer_name(layer, second, None)
        if new in present:
            theirs[f"{new}/{variable}"] = array
    place(network_of(model, tensor), theirs, classifier=True, path=weights)


def decode_predictions(preds: Any, top: int = 5) -> list[list[tuple[str, str, float]]]:
    """The most probable classes of ImageNet: for each image (WordNet id, name, probability), the best first.

    Args:
        preds: probabilities (batch, 1000).
        top: how many.

    The names are downloaded the first time. InputError for another number of classes.
    """
    preds = np.asarray(preds)
    if preds.ndim != 2 or preds.shape[1] != 1000:
        raise InputError(f"decode_predictions takes (batch, 1000), the classes of ImageNet; received {preds.shape}")
    about = {"licence": "Apache 2.0"}
    path = download(CLASS_INDEX, cache() / "imagenet_class_index.json", md5=CLASS_INDEX_MD5, about=about)
    index = read_json(path, dict[str, Any])
    best = [row.argsort()[-top:][::-1] for row in preds]
    return [[(*index[str(number)], row[number]) for number in numbers] for row, numbers in zip(preds, best, strict=True)]


ResNet18 = constructor("ResNet18", "resnet18")
ResNet34 = constructor("ResNet34", "resnet34")
ResNet50 = constructor("ResNet50", "resnet50v1")
ResNet101 = constructor("ResNet101", "resnet101v1")
ResNet152 = constructor("ResNet152", "resnet152v1")
ResNet50V2 = constructor("ResNet50V2", "resnet50v2_keras", second=True)
ResNet101V2 = constructor("ResNet101V2", "resnet101v2_keras", second=True)
ResNet152V2 = constructor("ResNet152V2", "resnet152v2_keras", second=True)
preprocess_input = keras.applications.resnet.preprocess_input
"""Of V1: RGB pixels become BGR minus the means of ImageNet. V2 has its own in `resnet_v2`."""


def submodule(name: str, **content: Any) -> None:
    """A module that scripts import, without a file of its own."""
    module = ModuleType(f"{__name__}.{name}", f"As keras.applications.{name}.")
    vars(module).update(content, decode_predictions=decode_predictions)
    sys.modules[module.__name__] = globals()[name] = module


V1 = {"ResNet50": ResNet50, "ResNet101": ResNet101, "ResNet152": ResNet152}
submodule("resnet", ResNet18=ResNet18, ResNet34=ResNet34, **V1, preprocess_input=preprocess_input)
submodule("resnet50", ResNet50=ResNet50, preprocess_input=preprocess_input)
V2 = {"ResNet50V2": ResNet50V2, "ResNet101V2": ResNet101V2, "ResNet152V2": ResNet152V2}
submodule("resnet_v2", **V2, preprocess_input=keras.applications.resnet_v2.preprocess_input)
submodule("imagenet_utils", preprocess_input=keras.applications.imagenet_utils.preprocess_input)
