"""Whether a model file is the network of a spec, by the names and sizes of its layers. No framework is loaded."""

from pathlib import Path

from keras_resnet.errors import InputError
from keras_resnet.networks.cost import weights_of_layers
from keras_resnet.networks.graph import Node, in_order
from keras_resnet.networks.resnet import outputs
from keras_resnet.networks.spec import ResNetSpec


def check_network(path: Path, layers: dict[str, int], image_shape: tuple[int | None, ...], spec: ResNetSpec) -> None:
    """InputError if the file at `path` is not the network of `spec`, by the weights in its `layers` and the shape of its images."""
    _, out = outputs(spec)
    assert isinstance(out, Node)
    expected = weights_of_layers(in_order([out]))
    problem = f"takes images of {image_shape}, not {spec.input_shape}" if image_shape != spec.input_shape else ""
    for name in [*expected, *layers]:
        here, there = expected.get(name, 0), layers.get(name, 0)
        if here != there:
            problem = problem or f"has {there:,} weights in layer {name!r}, not {here:,}"
    if problem:
        raise InputError(f"{str(path)!r} is not the network of spec.json: it {problem}")
