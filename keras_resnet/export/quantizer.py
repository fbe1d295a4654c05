"""Quantised TFLite files: a float32 file in which the AI Edge Quantizer replaces numbers by smaller ones.

int8, int16 and int4 files compute with integers. Their ranges are the smallest and the largest value of each tensor over the
calibration images: a moving average, the quantizer's default, cuts off what few images reach.
"""

import re
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from keras_resnet.export.dead_channels import with_room_for_biases
from keras_resnet.export.operations import tflite_graph
from keras_resnet.files.targets import BITS, Target

FEW_BITS = ("CONV_2D", "FULLY_CONNECTED")  # operations that LiteRT has for weights of 4 bits; others keep 8
ALL, INPUT, OUTPUT = "*", "INPUT", "OUTPUT"
EVERYWHERE, ROUNDING = ".*", "min_max_uniform_quantize"


class Rule(NamedTuple):
    """How operations are quantised. Of several rules for one operation the last counts."""

    scope: str  # regular expression for the names of their outputs, with ";" behind each
    operation: str
    config: Any = None
    algorithm: str = "no_quantize"


class FloatFile:
    """A float32 file, and examples of its inputs, by their names, that ranges are found with. `has_bytes`: these are whole numbers
    from 0 to 255, and stay as they are in files of 8 bits."""

    def __init__(self, content: bytes, examples: Callable[[], Iterable[dict[str, np.ndarray]]], *, has_bytes: bool = False) -> None:
        self.content, self.examples, self.has_bytes = content, examples, has_bytes
        self.with_room: dict[int, bytes] = {}

    def quantized(self, target: Target, *, float_tensors: Iterable[str] = (), only: str | None = None) -> bytes:
        """The file with the numbers of `target`. The operations of `float_tensors` stay in float; with `only`, all but that of one
        tensor do."""
        from ai_edge_quantizer.quantizer import Quantizer

        # Copies: the quantizer sets that of a sigmoid to what its integers always mean.
        ranges = {name: dict(limits) for name, limits in self.ranges.items()} if target.is_integer else None
        quantizer = Quantizer(self.prepared(BITS[str(target.quantize)][1]) if ranges else self.content)
        for rule in rules(target, float_tensors, only):
            quantizer.update_quantization_recipe(*rule)
        return bytes(quantizer.quantize(ranges, enable_progress_report=False).quantized_model)

    def prepared(self, bits: int) -> bytes:
        """The float32 file for activations of so many bits, see `dead_channels`."""
        if bits not in self.with_room:
            self.with_room[bits] = with_room_for_biases(self.content, self.ranges, 2**bits)
        return self.with_room[bits]

    @cached_property
    def ranges(self) -> dict[str, Any]:
        """The "min" and "max" of every tensor, by its name."""
        from ai_edge_quantizer.calibrator import Calibrator
        from ai_edge_quantizer.recipe_manager import RecipeManager
        from ai_edge_quantizer.utils.qsv_utils import min_max_update

        manager = RecipeManager()
        for rule in rules(Target("tflite", "int8", pixels="int8")):
            manager.add_quantization_config(*rule)
        calibrator = Calibrator(self.content, num_threads=1, qsv_update_func=min_max_update)
        calibrator.calibrate({key: list(self.examples()) for key in calibrator.get_signature_list()}, manager)
        ranges = calibrator.get_model_qsvs()
        for name in tflite_graph(self.content).inputs if self.has_bytes else ():
            limits = ranges[name]
            ranges[name] = limits | {"min": np.full_like(limits["min"], 0), "max": np.full_like(limits["max"], 255)}
        return ranges


def rules(target: Target, float_tensors: Iterable[str] = (), only: str | None = None) -> list[Rule]:
    """What to do with which operations, see `FloatFile.quantized`."""
    where = EVERYWHERE if only is None else scope_of(only)
    boundary = of_boundary(target) if target.is_integer and only is None else []
    return [*of_operations(target, where), *boundary, *(Rule(scope_of(tensor), ALL) for tensor in float_tensors)]


def of_operations(target: Target, where: str) -> list[Rule]:
    """The numbers of `target` for all operations in a scope that can have them."""
    if target.quantize == "float16":
        return [Rule(where, ALL, config(weights=numbers(16, dtype="FLOAT"), explicit_dequantize=True), "float_casting")]
    if target.quantize == "dynamic":
        return [Rule(where, ALL, integers(), ROUNDING)]
    bits, activation_bits = BITS[str(target.quantize)]
    activations = numbers(activation_bits, symmetric=activation_bits > 8)
    small = FEW_BITS if bits < 8 else ()
    return [Rule(where, ALL, integers(activations), ROUNDING)] + [
        Rule(where, operation, integers(activations, bits), ROUNDING) for operation in small
    ]


def of_boundary(target: Target) -> list[Rule]:
    """The type of pixels of an integer file, and of its outputs; those of the best classes are floats."""
    unsigned = integers(numbers(8, symmetric=False, dtype="UINT")), ROUNDING
    rules = {
        "float32": [Rule(EVERYWHERE, INPUT), Rule(EVERYWHERE, OUTPUT)],
        "uint8": [Rule(EVERYWHERE, INPUT, *unsigned), Rule(EVERYWHERE, OUTPUT, *unsigned)],
    }.get(str(target.pixels), [])
    return [*rules, Rule(EVERYWHERE, OUTPUT)] if target.best else rules


def integers(activations: Any = None, bits: int = 8) -> Any:
    """Weights of so many bits with a scale for each channel. Without `activations`, LiteRT finds their ranges for every image."""
    return config(activations=activations, weights=numbers(bits, granularity="CHANNELWISE"), compute_precision="INTEGER")


def config(weights: Any, activations: Any = None, **fields: Any) -> Any:
    from ai_edge_quantizer.qtyping import OpQuantizationConfig

    return OpQuantizationConfig(weight_tensor_config=weights, activation_tensor_config=activations, **fields)


def numbers(bits: int, **fields: Any) -> Any:
    from ai_edge_quantizer.qtyping import TensorQuantizationConfig

    return TensorQuantizationConfig(num_bits=bits, **fields)


def scope_of(tensor: str) -> str:
    """The scope of the operation that puts out one tensor."""
    return f"^{re.escape(tensor)};$"
