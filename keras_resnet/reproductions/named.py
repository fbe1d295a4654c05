"""The experiments by name: networks, claims, and the published errors."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from keras_resnet.fields import look_up
from keras_resnet.networks.spec import Order, ResNetSpec
from keras_resnet.networks.variants import cifar
from keras_resnet.reproductions.claims import Claim, called, exceeds, falls, rises


@dataclass(frozen=True)
class Reproduction:
    """An experiment: kinds of networks for CIFAR, each at several numbers of layers, and the claims about them."""

    question: str
    source: str
    kinds: Mapping[str, Mapping[str, Any]]
    """The fields in which each kind differs from the network of arXiv:1512.03385 section 4.2."""
    layers: Mapping[str, tuple[int, ...]]
    """Numbers of layers, from few to many, by scale."""
    claims: tuple[Claim, ...]
    published: Mapping[str, float] = field(default_factory=dict)
    """Published test error on CIFAR-10 in percent by network. Networks that failed to train in the paper are left out."""
    left_out: str = ""
    """How this differs from the paper's experiment, in one sentence."""

    def networks(self, scale: str) -> dict[str, ResNetSpec]:
        """The networks by name, such as plain-56."""
        depths = self.layers[scale]
        return {called(kind, depth): network(depth, fields) for depth in depths for kind, fields in self.kinds.items()}


def network(layers: int, fields: Mapping[str, Any]) -> ResNetSpec:
    """The CIFAR network with 6n + 2 layers and these fields."""
    units, rest = divmod(layers - 2, 6)
    if rest:
        raise ValueError(f"{layers} layers: must be 6n + 2")
    return cifar(units, dict(fields))


def find(name: str) -> Reproduction:
    """The experiment of that name. InputError if there is none."""
    return look_up(name, REPRODUCTIONS, "experiment")


def best(kind: str, *others: str) -> tuple[Claim, ...]:
    """The claims that one kind has a lower test error than each of the others."""
    return tuple(Claim(f"{other} has a larger test error than {kind}", "test_error", exceeds(other, kind)) for other in others)


PLAIN = {"shortcut": "none"}
ONE_DEPTH = {"smoke": (8,), "small": (32,), "paper": (110,)}
GATED = {"shortcut": "padding", "shortcut_gate": "exclusive", "gate_bias": -6.0}
REPRODUCTIONS = {
    "degradation": Reproduction(
        "Do deeper plain networks get worse on their own training images, and residual ones not?",
        "arXiv:1512.03385 section 4.2",
        kinds={"plain": PLAIN, "residual": {}},
        layers={"smoke": (8, 14), "small": (20, 32, 44, 56), "paper": (20, 32, 44, 56)},
        claims=(
            Claim("the training error of plain networks rises with depth", "training_error", rises("plain")),
            Claim("the test error of plain networks rises with depth", "test_error", rises("plain")),
            Claim("the training error of residual networks falls with depth", "training_error", falls("residual")),
            Claim("the test error of residual networks falls with depth", "test_error", falls("residual")),
            Claim("the deepest plain network has a larger training error", "training_error", exceeds("plain", "residual")),
            Claim("the deepest plain network has a larger test error", "test_error", exceeds("plain", "residual")),
        ),
        published={"residual-20": 8.75, "residual-32": 7.51, "residual-44": 7.17, "residual-56": 6.97},
        left_out="the paper gives the errors of plain networks in a figure only; its 110 and 1202 layers are missing",
    ),
    "shortcuts": Reproduction(
        "Is any other shortcut better than the identity?",
        "arXiv:1603.05027 Table 1",
        kinds={
            "identity": {},
            "constant-0.5": {"shortcut_scale": 0.5, "branch_scale": 0.5},
            "exclusive-gate": GATED,
            "shortcut-gate": {**GATED, "shortcut_gate": "shortcut_only", "gate_bias": 0.0},
            "shortcut-gate-6": {**GATED, "shortcut_gate": "shortcut_only"},
            "convolution": {"shortcut": "projection_everywhere"},
            "dropout": {"shortcut_dropout": 0.5},
            "none": PLAIN,
        },
        layers=ONE_DEPTH,
        claims=best(
            "identity", "constant-0.5", "exclusive-gate", "shortcut-gate", "shortcut-gate-6", "convolution", "dropout", "none"
        ),
        published={
            "identity-110": 6.61,
            "constant-0.5-110": 12.35,
            "exclusive-gate-110": 8.70,
            "shortcut-gate-110": 12.86,
            "shortcut-gate-6-110": 6.91,
            "convolution-110": 12.22,
        },
        left_out="gates with other biases are left out; the paper tries several and reports the best",
    ),
    "orders": Reproduction(
        "Which order of normalisation, activation and addition is best?",
        "arXiv:1603.05027 Table 2",
        kinds={name: {"activation_order": name} for name in get_args(Order)},
        layers={**ONE_DEPTH, "paper": (110, 164)},
        claims=best("original", "norm_after_addition", "relu_before_addition")
        + best("full_preactivation", "original", "relu_preactivation"),
        published={
            "original-110": 6.61,
            "norm_after_addition-110": 8.17,
            "relu_before_addition-110": 7.84,
            "relu_preactivation-110": 6.71,
            "full_preactivation-110": 6.37,
        },
        left_out="the paper's networks of 164 layers have bottleneck units, these have pairs of 3x3 convolutions",
    ),
    "options": Reproduction(
        "Zero-padding (A), projections where the shape changes (B), or projections everywhere (C)?",
        "arXiv:1512.03385 Table 3",
        kinds={"A": {}, "B": {"shortcut": "projection"}, "C": {"shortcut": "projection_everywhere"}},
        layers=ONE_DEPTH,
        claims=(
            Claim("A has a larger test error than B", "test_error", exceeds("A", "B")),
            Claim("B has a larger test error than C", "test_error", exceeds("B", "C")),
        ),
        left_out="the paper compares them on ImageNet with 34 layers: 25.03, 24.52 and 24.19 % top-1 error",
    ),
    "normalisation": Reproduction(
        "Does a residual network without normalisation train if its branches start at zero?",
        "arXiv:1901.09321, arXiv:2002.10444",
        kinds={
            "batch": {},
            "none": {"norm": None},
            "fixup": {"norm": None, "zero_init": True, "fixup": True, "branch_gain": 1.0},
            "skip-init": {"norm": None, "branch_gain": 0.0},
            "plain": PLAIN,
            "plain-none": {**PLAIN, "norm": None},
        },
        layers=ONE_DEPTH,
        claims=(
            Claim(
                "without normalisation the training error of residual networks is larger",
                "training_error",
                exceeds("none", "batch"),
            ),
            Claim("without normalisation, Fixup lowers it", "training_error", exceeds("none", "fixup")),
            Claim("without normalisation, SkipInit lowers it", "training_error", exceeds("none", "skip-init")),
            Claim(
                "without normalisation the training error of plain networks is larger",
                "training_error",
                exceeds("plain-none", "plain"),
            ),
        ),
        left_out="factors and biases are one for each channel; in Fixup and SkipInit they are one for a layer",
    ),
    "stochastic-depth": Reproduction(
        "Does dropping units at random in training lower the test error?",
        "arXiv:1603.09382",
        kinds={"constant": {}, "stochastic": {"stochastic_depth": 0.5}},
        layers=ONE_DEPTH,
        claims=best("stochastic", "constant"),
        published={"constant-110": 6.41, "stochastic-110": 5.23},
        left_out="the paper trains for 500 epochs",
    ),
}
