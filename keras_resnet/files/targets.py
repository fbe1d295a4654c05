"""The kinds of files that can be exported: formats, options, and how much a file may differ from the Keras model."""

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from keras_resnet.errors import InputError, unknown

FORMATS = ("saved_model", "tflite", "onnx", "keras")
REAL = ("float32", "uint8")
PIXELS = {  # the types of pixels that a file can take, by its format and quantisation; the first is the default
    ("saved_model", None): ("uint8",),
    ("keras", None): ("float32",),
    ("onnx", None): REAL,
    ("tflite", None): REAL,
    ("tflite", "float16"): REAL,
    ("tflite", "dynamic"): REAL,
    ("tflite", "int8"): ("uint8", "int8", "float32"),
    ("tflite", "int16"): ("float32", "int16"),
    ("tflite", "int4"): ("uint8", "int8", "float32"),
}
BITS = {"int8": (8, 8), "int16": (8, 16), "int4": (4, 8)}  # of weights and activations, of files that compute with integers
MAX_DIFFERENCE = 1e-4
BELOW = 0.08  # the required agreement, a class may be, and the end of the interval: 36 images that all agree leave so much open
LAYOUTS = ("NHWC", "NCHW")
OUTPUTS = ("logits", "softmax", "top1", "top3", "top5")
OPSET, OPSETS = 15, range(13, 19)  # tf2onnx writes no others that runtimes read


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """How much a file may differ from the Keras model. None: no limit."""

    max_difference: float | None = None
    """Largest difference of any output, relative to `scale_of` those of the Keras model."""
    min_agreement: float | None = None
    """Lowest top-1 agreement."""
    max_moved: float | None = None
    """Largest share of the probability that may go to other classes, on average over images."""

    @property
    def lowest_agreement(self) -> float:
        """The agreement that no class may be below, nor the lower end of the interval of all."""
        return max(0.0, round((1 if self.min_agreement is None else self.min_agreement) - BELOW, 6))

    def chosen(self, scale: float, min_agreement: float | None = None, max_difference: float | None = None) -> "Tolerance":
        """With an absolute `max_difference`, from the `scale_of` outputs of the Keras model; arguments replace its own limits. A
        `min_agreement` that allows a share of other classes allows the same share of the probability to move."""
        if max_difference is None and self.max_difference is not None:
            max_difference = self.max_difference * scale
        if min_agreement is None:
            return replace(self, max_difference=max_difference)
        moved = None if self.max_moved is None else max(self.max_moved, 1 - min_agreement)
        return Tolerance(max_difference=max_difference, min_agreement=min_agreement, max_moved=moved)


TOLERANCES = {  # by quantisation
    # Each output is compared as a number, so any number of images decides; answers differ only where two classes are as good.
    None: Tolerance(max_difference=MAX_DIFFERENCE),
    # Weights are rounded by 2^-12 at most; seen: 1e-3 of the largest output on digits, 2e-3 on CIFAR-10.
    "float16": Tolerance(max_difference=0.01),
    # Good files of networks on the digits move 0.002 to 0.004 of the probability; a coin on two classes, or a softmax too many, 0.3
    # and more.
    "dynamic": Tolerance(min_agreement=0.98, max_moved=0.05),
    "int8": Tolerance(min_agreement=0.98, max_moved=0.05),
    "int16": Tolerance(min_agreement=0.99, max_moved=0.05),
    "int4": Tolerance(min_agreement=0.95, max_moved=0.05),
}


def scale_of(scores: np.ndarray, are_logits: bool) -> float:
    """What differences of scores are relative to: the largest score, or 1 where logits are smaller, since these are sums of larger
    numbers. Probabilities are not: of 1,000 classes all may be below 0.01."""
    largest = float(np.max(np.abs(scores)))
    return max(1.0, largest) if are_logits else largest


@dataclass(frozen=True)
class Target:
    """One kind of exported file. InputError for a combination that does not exist."""

    format: str
    """saved_model, tflite, onnx or keras."""
    quantize: str | None = None
    """TFLite: float16, dynamic (int8 weights), int8 (all integers), int16 (int8 weights, int16 activations), or int4 (weights of 4
    bits, int8 activations)."""
    pixels: str | None = None
    """The type that the file takes raw pixels as, see `PIXELS`. None: float32, or uint8 for int8 and SavedModel."""
    output: str = "logits"
    """logits (the outputs of the network), softmax, or the best classes of that: top1, top3, top5, ..."""
    batch: int | None = None
    """Images at once; None: any number."""
    layout: str = "NHWC"
    """ONNX: of the pixels, NHWC or NCHW."""
    opset: int = OPSET
    """ONNX: version of the operations."""
    equalize: bool = False
    """int8 and int4: make the ranges of channels alike first, see `equalize.equalized`."""
    float_layers: int = 0
    """int8 and int4: how many of the layers that lose most stay in float."""

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise unknown("export format", self.format, (*FORMATS, "all"))
        quantizations = [quantize for _, quantize in PIXELS if quantize]
        if self.quantize is not None and self.quantize not in quantizations:
            raise unknown("quantization", self.quantize, quantizations)
        if (self.format, self.quantize) not in PIXELS:
            raise InputError(f"quantize={self.quantize!r} goes with format 'tflite', not with {self.format!r}")
        allowed = PIXELS[self.format, self.quantize]
        if self.pixels is None:
            object.__setattr__(self, "pixels", allowed[0])
        if self.pixels not in allowed:
            raise unknown(f"type of pixels for {self.name}", self.pixels, allowed)
        if self.output not in OUTPUTS and not (self.output.startswith("top") and self.output[3:].isdecimal() and self.best):
            raise unknown("output", self.output, OUTPUTS)
        if self.layout not in LAYOUTS:
            raise unknown("layout", self.layout, LAYOUTS)
        for field in ("layout", "opset"):
            if getattr(self, field) != getattr(type(self), field) and self.format != "onnx":
                raise InputError(f"{field}={getattr(self, field)!r} goes with format 'onnx', not with {self.format!r}")
        for field in ("equalize", "float_layers"):
            if getattr(self, field) and self.quantize not in ("int8", "int4"):
                raise InputError(
                    f"{field}={getattr(self, field)!r} goes with quantize='int8' or 'int4', not with {self.quantize!r}"
                )
        if self.float_layers < 0:
            raise InputError(f"float_layers={self.float_layers}: must not be negative")
        if self.format == "keras" and (self.output, self.batch) != ("logits", None):
            raise InputError("format 'keras' is the unchanged network: output and batch cannot be set")
        if self.opset not in OPSETS:
            raise InputError(f"opset={self.opset}: expected {OPSETS[0]} to {OPSETS[-1]}")
        if self.batch is not None and self.batch < 1:
            raise InputError(f"batch={self.batch}: expected 1 or more, or None for any number")

    @property
    def is_integer(self) -> bool:
        """Whether the file computes with integers."""
        return self.quantize in BITS

    @property
    def relevant_fields(self) -> dict[str, Any]:
        others = {"onnx": ("quantize", "equalize", "float_layers"), "tflite": ("layout", "opset")}
        irrelevant = others.get(self.format, (*others["onnx"], *others["tflite"]))
        return {name: value for name, value in asdict(self).items() if name not in irrelevant}

    @property
    def best(self) -> int:
        """How many classes the file gives the scores of; 0 for all."""
        return int(self.output[3:]) if self.output.startswith("top") else 0

    @property
    def name(self) -> str:
        return f"{self.format} {self.quantize or ''}".strip()

    @property
    def file(self) -> str:
        """Its name in an `export/` folder, with all that differs from the defaults."""
        parts = (
            (self.quantize or "float32", self.format == "tflite"),
            (self.pixels, self.pixels != PIXELS[self.format, self.quantize][0]),
            (self.output, self.output != "logits"),
            (f"batch{self.batch}", self.batch is not None),
            (self.layout.lower(), self.layout != "NHWC"),
            ("equalized", self.equalize),
            (f"{self.float_layers}float", self.float_layers > 0),
            (f"opset{self.opset}", self.opset != OPSET),
        )
        is_folder = self.format == "saved_model"
        name = "_".join(["saved_model" if is_folder else "model", *(str(part) for part, is_named in parts if is_named)])
        return name if is_folder else f"{name}.{self.format}"

    @property
    def tolerance(self) -> Tolerance:
        """How much the file may differ from the Keras model."""
        return TOLERANCES[self.quantize]


TARGETS = {
    target.file: target
    for target in (
        Target("saved_model"),
        *(Target("tflite", quantize) for quantize in (None, "float16", "dynamic", "int8")),
        Target("onnx"),
    )
}
"""What "all" exports."""


def select(format: str = "all", quantize: str | None = None, **fields: Any) -> list[Target]:
    """The target of a format, with that quantisation and those other fields of `Target`; "all" for every row of `TARGETS`."""
    changes = {name: value for name, value in {"quantize": quantize, **fields}.items() if value is not None}
    if format != "all":
        return [Target(format, **changes)]
    for name, value in changes.items():
        which = "format 'tflite'" if name == "quantize" else "one format"
        raise InputError(f"{name}={value!r} goes with {which}, not with 'all'")
    return list(TARGETS.values())
