"""Weights of a file into a model: all of them or, where something does not fit, none."""

import inspect
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_resnet.errors import InputError
from keras_resnet.fields import names, unknown_field
from keras_resnet.networks import graph, layers
from keras_resnet.networks.resnet import outputs
from keras_resnet.networks.spec import ResNetSpec
from keras_resnet.networks.variants import resolve
from keras_resnet.weights.arrays import Arrays
from keras_resnet.weights.names import find
from keras_resnet.weights.own import variables
from keras_resnet.weights.reading import CLASSIFIER, OF_THE_LIBRARY, Weights, read

HEAD = ("pool", "logits", "predictions")
SAME = ("strides", "padding", "dilation_rate", "groups", "epsilon", "activation", "pool_size", "scale", "offset", "mode")
LEAVE_IT = "classifier=False leaves the classifier of the model as it is"


def build(
    spec: str | ResNetSpec | None = None, *, weights: str | Path | None = None, classifier: bool = True, **settings: Any
) -> keras.Model:
    """The network of `spec` with fresh weights, or with those of a file.

    Args:
        spec: the network. None, with `weights`: that of the file.
        weights: a file of weights, of this package or of another library, or a name: "tiny-imagenet", which comes with this
            package, "imagenet", or "owner/name" of the Hugging Face Hub, see `keras_resnet.weights.read`. `normalize` and
            `norm_epsilon` are then those of the library, and of a named network the classes are those of the file, unless they are
            given. "imagenet" means keras.applications' weights: "resnet50" then has its stride on the first 1x1, as they have.
            InputError, in one line, where the file does not fit the network.
        classifier: False leaves the classifier at its fresh weights, for another number of classes than the file has.
        settings: those below.

    """
    of_build = {*inspect.signature(layers.build).parameters, "classifier_activation"}
    check_settings(settings)
    if weights is None:
        if spec is None:
            raise InputError("nothing to build: give a network (spec), or weights, whose network is then built")
        return layers.build(spec, **settings)
    changes = {name: value for name, value in settings.items() if name not in of_build}
    whole = classifier and settings.get("include_top", True) and settings.get("features") is None
    path, _, spec = find(weights, spec, classifier=whole)
    asked = None
    if spec is not None or changes:
        asked = resolve(read(path).spec if spec is None else spec, **changes)
    found = read(path, spec=asked)  # refuses what the file contradicts
    network = replace(asked or found.spec, **{name: getattr(found.spec, name) for name in OF_THE_LIBRARY if name not in changes})
    if isinstance(spec, str) and classifier and "classes" not in changes:
        network = replace(network, classes=found.spec.classes)
    options = {name: value for name, value in settings.items() if name in of_build}
    return build_from(found, network, path=weights, classifier=classifier, **options)


build.__doc__ = f"{inspect.cleandoc(build.__doc__ or '')}\n\n{inspect.cleandoc(layers.build.__doc__ or '')}"


def check_settings(settings: dict[str, Any]) -> None:
    """InputError for a word that `build` does not take."""
    own = [name for function in (build, layers.build) for name in inspect.signature(function).parameters]
    for name in settings:
        if name not in own and name not in names(ResNetSpec):
            raise unknown_field(name, ResNetSpec, called="argument of kr.build", also=sorted({*own} - {"settings", "fields"}))


def build_from(found: Weights, network: ResNetSpec, *, path: str | Path, classifier: bool = True, **options: Any) -> keras.Model:
    """A network, or a part of it (`options` of `networks.layers.build`), with weights that were read for it."""
    model = layers.build(network, **options)
    part = network_of(model, options.get("input_tensor"))
    # Every array was compared with the whole network when it was read: a part of the network needs some of them only.
    needed = {name for name, _ in variables(part)}
    place(part, {name: array for name, array in found.arrays.items() if name in needed}, classifier=classifier, path=path)
    return model


def network_of(model: keras.Model, tensor: keras.KerasTensor | None) -> keras.Model:
    """The layers of a model that come after its `input_tensor`."""
    return model if tensor is None else keras.Model(tensor, model.outputs)


def load(
    model: keras.Model,
    path: str | Path,
    *,
    layout: str | None = None,
    spec: str | ResNetSpec | None = None,
    prefix: str | None = None,
    classifier: bool = True,
) -> Weights:
    """Give a model of this package the weights of a file: every array of the file goes into the model, and none of the model stays.

    Args:
        model: what `build` gave; its layers have the names from there.
        path: a file or the name of weights, see `read`, whose other arguments are the same.
        classifier: False leaves the classifier of the model as it is, for another number of classes or a model without one.

    Returns: what was read. InputError, in one line, where the model is another network than that of the file: it is then unchanged.
    """
    found = read(path, layout=layout, spec=spec, prefix=prefix)
    try:
        check_layers(model, found.spec, classifier=classifier)
    except InputError as error:
        raise InputError(f"{str(path)!r} does not fit the model: {error}") from None
    place(model, found.arrays, classifier=classifier, path=path)
    return found


def check_layers(model: keras.Model, spec: ResNetSpec, *, classifier: bool) -> None:
    """InputError that names the first layer of the model which computes something else than that of the network."""
    _, end = outputs(replace(spec, input_shape=tuple(model.input_shape[1:]), normalize=spec.normalization))
    nodes = {node.name: node for node in graph.in_order([end])}  # type: ignore[list-item]
    expected = {name: node for name, node in nodes.items() if not isinstance(node, graph.Dropout | graph.Input)}
    computes = (layer for layer in model.operations if not isinstance(layer, keras.layers.Dropout | keras.layers.InputLayer))
    present = {layer.name: layer for layer in computes}
    for name in (*expected, *present):
        if name in expected and name in present:
            check_layer(present[name], layers.layer(expected[name]))
        elif not (name in HEAD and (name == "predictions" or not classifier)):
            has, has_not = ("the file's network", "the model") if name in expected else ("the model", "the file's network")
            raise InputError(f"{has} has a layer {name!r}, and {has_not} does not")


def check_layer(here: Any, there: Any) -> None:
    """InputError where two layers of a name differ in what they compute, beside their weights."""
    mine, other = here.get_config(), there.get_config()
    for setting in SAME:
        if not same(mine.get(setting), other.get(setting)):
            raise InputError(
                f"the layer {here.name!r} has {setting}={mine.get(setting)} in the model and {other.get(setting)} in the file's "
                "network; if the arrays do not show it, say which network it is (spec)"
            )


def same(one: Any, other: Any) -> bool:
    """Whether two settings of a layer are equal, numbers up to rounding."""
    if one is None or other is None or isinstance(one, str | dict):
        return one == other
    return np.shape(one) == np.shape(other) and np.allclose(one, other, rtol=1e-6, atol=0)


def place(model: keras.Model, arrays: Arrays, *, classifier: bool, path: str | Path) -> None:
    """Set the weights of a model, once each has its array and each array its weight. InputError otherwise."""
    targets = dict(variables(model))
    if not classifier:
        targets = {name: weight for name, weight in targets.items() if not name.startswith(CLASSIFIER)}
        arrays = {name: array for name, array in arrays.items() if not name.startswith(CLASSIFIER)}
    for name, weight in targets.items():
        hint = f"; {LEAVE_IT}" if name.startswith(CLASSIFIER) else ""
        if name not in arrays:
            raise InputError(f"{str(path)!r} has no array for {name!r} of the model{hint}")
        if tuple(weight.shape) != arrays[name].shape:
            shapes = f"{arrays[name].shape} in the file and {tuple(weight.shape)} in the model"
            raise InputError(f"{str(path)!r} does not fit the model: {name!r} is {shapes}{hint}")
    if left := [name for name in arrays if name not in targets]:
        hint = f"; {LEAVE_IT}" if left[0].startswith(CLASSIFIER) else ""
        raise InputError(f"{str(path)!r} has an array {left[0]!r} that the model does not have{hint}")
    for name, weight in targets.items():
        weight.assign(arrays[name])
