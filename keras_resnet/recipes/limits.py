"""Which values a recipe may have."""

from typing import Any

from keras_resnet.errors import InputError, shown
from keras_resnet.fields import check_limits

AT_LEAST_1 = ("epochs", "batch_size", "accumulate", "repeats", "steps_per_execution")
NOT_NEGATIVE = ("learning_rate", "weight_decay", "crop", "mixup", "cutmix", "magnitude", "randaugment_layers")
NOT_NEGATIVE_OR_NONE = ("label_weight", "distill_weight")
BELOW_1 = ("momentum", "warmup", "label_smoothing", "ema")
SHARES = ("warmup_start", "erase")
MOST = {
    **dict.fromkeys(("epochs", "batch_size", "accumulate", "steps_per_execution", "learning_rate_batch"), 10**6),
    **dict.fromkeys(("repeats", "randaugment_layers"), 100),
    **dict.fromkeys(("temperature", "label_weight", "distill_weight"), 1000),
}
ABOVE_0_OR_NONE = ("clip_norm", "resized_crop", "learning_rate_batch", "temperature")


def check(recipe: Any) -> None:
    """InputError for the first field of a `Recipe` whose value is not allowed, or does not go with another one."""
    _check_fields(recipe)
    _check_together(recipe)


def _check_fields(recipe: Any) -> None:
    for names, legal, must in (
        (AT_LEAST_1, lambda value: value >= 1, "be at least 1"),
        (NOT_NEGATIVE, lambda value: value >= 0, "not be negative"),
        (NOT_NEGATIVE_OR_NONE, lambda value: value is None or value >= 0, "not be negative"),
        (BELOW_1, lambda value: 0 <= value < 1, "be at least 0 and below 1"),
        (SHARES, lambda value: 0 <= value <= 1, "be at least 0 and at most 1"),
        (ABOVE_0_OR_NONE, lambda value: value is None or value > 0, "be above 0"),
    ):
        for name in names:
            if not legal(getattr(recipe, name)):
                raise InputError(f"{name}={getattr(recipe, name)}: must {must}")
    check_limits(recipe, {name: (0, most) for name, most in MOST.items()})
    if recipe.resized_crop is not None and recipe.resized_crop > 1:
        raise InputError(f"resized_crop={recipe.resized_crop}: must be at most 1")
    if not 0 < recipe.layer_decay <= 1:
        raise InputError(f"layer_decay={recipe.layer_decay}: must be above 0 and at most 1")
    if recipe.magnitude > 10:
        raise InputError(f"magnitude={recipe.magnitude}: must be at most 10")
    rising = list(recipe.progressive) == sorted(set(recipe.progressive))
    if recipe.progressive and not (rising and recipe.progressive[0] > 0 and recipe.progressive[-1] == 1):
        raise InputError(f"progressive={shown(recipe.progressive)}: must be shares above 0 in rising order, the last of them 1")
    if any(not 0 < share < 1 for share in recipe.milestones) or list(recipe.milestones) != sorted(set(recipe.milestones)):
        raise InputError(f"milestones={shown(recipe.milestones)}: must be shares between 0 and 1 in rising order")


def _check_together(recipe: Any) -> None:
    if recipe.schedule == "step" and recipe.milestones and recipe.milestones[0] <= recipe.warmup:
        raise InputError(f"milestones={shown(recipe.milestones)} must come after warmup={recipe.warmup}")
    if recipe.quantization_aware and (recipe.remat or recipe.precision != "float32"):
        raise InputError(
            f"quantization_aware=true needs precision='float32' and remat=false: received precision={recipe.precision!r}, "
            f"remat={str(recipe.remat).lower()}"
        )
    if recipe.weight_bits not in (4, 8):
        raise InputError(f"weight_bits={recipe.weight_bits}: expected 4 or 8")
    if recipe.weight_bits != 8 and not recipe.quantization_aware:
        raise InputError(f"weight_bits={recipe.weight_bits} goes with quantization_aware=true (--quantization-aware)")
    if recipe.resized_crop and recipe.crop:
        cuts = f"resized_crop={recipe.resized_crop} and crop={recipe.crop}"
        raise InputError(f"{cuts} both crop the images: set one of them to none or 0")
    if recipe.label_weight == 0 == recipe.distill_weight:
        raise InputError("label_weight=0 and distill_weight=0 leave nothing to learn: set one of them above 0, or to none")
