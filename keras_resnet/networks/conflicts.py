"""Fields of a spec that exclude each other: a table of pairs, each with its error message, which `ResNetSpec` checks.

Specs have no type here, because `spec.py` imports this module.
"""

from collections.abc import Callable
from itertools import accumulate, pairwise, takewhile
from operator import mul
from typing import Any, NamedTuple

from keras_resnet.errors import InputError, shown

NOT_NEGATIVE = ("relu", "relu6")  # activations without values and gradients below zero


class Conflict(NamedTuple):
    """Two fields that must not meet."""

    first: str
    second: str
    disagree: Callable[[Any], bool]
    reason: str

    def check(self, spec: Any) -> None:
        """InputError that names both fields, if they disagree in `spec`."""
        if self.disagree(spec):
            values = [f"{name}={shown(getattr(spec, name))}" for name in (self.first, self.second)]
            raise InputError(f"{values[0]} and {values[1]} disagree: {self.reason}")


def _output_strides(spec: Any) -> list[int]:
    return list(accumulate((spec.stem_stride, *spec.strides), mul))


def _blurs_one_pixel(spec: Any) -> bool:
    """Whether a map that is blurred has one pixel along an axis."""
    reached = list(takewhile(lambda stride: stride != spec.output_stride, _output_strides(spec)))
    strides = spec.strides[: len(reached)]  # what follows is dilated
    pool = 2 if spec.stem_pool else 1
    for side in filter(None, spec.input_shape[:-1]):
        length = -(-side * pool // spec.stem_stride)
        for stride in (pool, *strides):
            if length == 1 and stride > 1:
                return True
            length = -(-length // stride)
    return False


def _normalized_widths(spec: Any) -> set[int]:
    inner = map(spec.inner_width, spec.widths) if spec.block == "bottleneck" else ()
    return {*spec.channels[1:], *inner}


NO_SHRINKING = "padding cannot shrink channels; use shortcut='projection'"
GROUPS_DIVIDE = "norm_groups must divide the channels of every normalisation"

CONFLICTS = (
    Conflict("depths", "widths", lambda s: len(s.depths) != len(s.widths), "they must have one entry for each stage"),
    Conflict(
        "stage_strides",
        "depths",
        lambda s: s.stage_strides is not None and len(s.depths) != len(s.stage_strides),
        "they must have one entry for each stage",
    ),
    Conflict("groups", "block", lambda s: s.block != "bottleneck" and s.groups != 1, "only block='bottleneck' has groups"),
    Conflict(
        "group_width", "block", lambda s: s.block != "bottleneck" and s.group_width != 64, "only block='bottleneck' has groups"
    ),
    Conflict("stride_on", "block", lambda s: s.block != "bottleneck" and s.stride_on == "1x1", "only block='bottleneck' has a 1x1"),
    Conflict(
        "group_width",
        "widths",
        lambda s: any(s.inner_width(width) < 1 for width in s.widths),
        "group_width leaves no filters where widths is smallest",
    ),
    Conflict("stem_width", "stem", lambda s: min(s.stem_widths) < 1, "the first convolutions of such a stem would have no filters"),
    Conflict(
        "shortcut",
        "widths",
        lambda s: s.shortcut == "padding" and any(after < before for before, after in pairwise(s.channels[1:])),
        NO_SHRINKING,
    ),
    Conflict("shortcut", "stem_width", lambda s: s.shortcut == "padding" and s.channels[1] < s.stem_width, NO_SHRINKING),
    Conflict(
        "first_projection",
        "shortcut",
        lambda s: s.first_projection and s.shortcut in ("padding", "none"),
        "such a shortcut has no projection",
    ),
    Conflict(
        "stem_norm",
        "activation_order",
        lambda s: not s.stem_norm and not s.activation_order.endswith("preactivation"),
        "only a unit that begins with an activation follows a stem without one",
    ),
    Conflict(
        "stem_norm",
        "stem_pool",
        lambda s: not s.stem_norm and s.stem_pool == "convolution",
        "no activation would stand between two convolutions",
    ),
    Conflict("shortcut_gate", "shortcut", lambda s: s.shortcut == "none" and s.shortcut_gate is not None, "no shortcut to gate"),
    Conflict("shortcut_scale", "shortcut", lambda s: s.shortcut == "none" and s.shortcut_scale != 1, "no shortcut to scale"),
    Conflict("shortcut_dropout", "shortcut", lambda s: s.shortcut == "none" and s.shortcut_dropout > 0, "no shortcut to drop"),
    Conflict(
        "stochastic_depth",
        "shortcut",
        lambda s: s.shortcut == "none" and s.stochastic_depth > 0,
        "without a shortcut nothing is left where the branch is dropped",
    ),
    Conflict(
        "zero_init",
        "shortcut",
        lambda s: s.shortcut == "none" and s.zero_init,
        "without a shortcut the whole network would be zero",
    ),
    Conflict(
        "zero_init",
        "activation_order",
        lambda s: s.activation_order == "relu_before_addition" and s.zero_init and s.activation in NOT_NEGATIVE,
        "a branch that ends in such an activation stays at zero, as the gradient does",
    ),
    Conflict("fixup", "norm", lambda s: s.fixup and s.norm is not None, "it is for networks without normalisation"),
    Conflict("fixup", "zero_init", lambda s: s.fixup and not s.zero_init, "set zero_init too: the branches of Fixup begin at zero"),
    Conflict(
        "branch_gain",
        "zero_init",
        lambda s: s.branch_gain == 0 and s.zero_init,
        "a branch with both at zero has no gradient, and stays at zero",
    ),
    Conflict(
        "branch_gain",
        "shortcut",
        lambda s: s.branch_gain == 0 and s.shortcut == "none",
        "without a shortcut the whole network would be zero",
    ),
    Conflict(
        "branch_gain",
        "input_shape",
        lambda s: s.branch_gain is not None and len(s.input_shape) == 4,
        "Keras has no depthwise convolution in three dimensions",
    ),
    Conflict("channel_attention", "squeeze", lambda s: s.channel_attention and s.squeeze is not None, "choose one of them"),
    Conflict(
        "branch_dropout", "block", lambda s: s.block == "single" and s.branch_dropout > 0, "it stands between two convolutions"
    ),
    Conflict(
        "activation_order",
        "norm",
        lambda s: s.activation_order == "norm_after_addition" and s.norm is None,
        "no normalisation to put after the addition",
    ),
    Conflict(
        "norm_groups",
        "widths",
        lambda s: s.norm == "group" and any(width % s.norm_groups for width in _normalized_widths(s)),
        GROUPS_DIVIDE,
    ),
    Conflict(
        "norm_groups",
        "stem_width",
        lambda s: s.norm == "group" and any(width % s.norm_groups for width in s.stem_widths),
        GROUPS_DIVIDE,
    ),
    Conflict(
        "classes",
        "classifier_activation",
        lambda s: s.classes == 1 and s.classifier_activation == "softmax",
        "a softmax over one number is always 1; use 'sigmoid'",
    ),
    Conflict(
        "shortcut_scale",
        "branch_scale",
        lambda s: s.shortcut_scale == 0 and s.branch_scale == 0,
        "their sum would be zero everywhere",
    ),
    Conflict(
        "antialias",
        "input_shape",
        lambda s: s.antialias == "mirror" and _blurs_one_pixel(s),
        "a map of one pixel along an axis would be blurred, and has nothing to mirror",
    ),
    Conflict(
        "output_stride",
        "depths",
        lambda s: s.output_stride is not None and s.output_stride > _output_strides(s)[-1],
        "there are not enough stages to subsample so much",
    ),
    Conflict(
        "output_stride",
        "stem",
        lambda s: s.output_stride is not None and s.output_stride not in _output_strides(s),
        "the stages multiply the stride of stem and stem_pool by theirs, 2 if not given",
    ),
)
