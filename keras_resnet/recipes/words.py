"""A recipe as one line of words."""

from keras_resnet.recipes.recipe import Recipe

OPTIMIZERS = {"sgd": "SGD", "adamw": "AdamW", "lamb": "LAMB"}
DISTILLED = {
    "logits": "class probabilities at temperature {:g}",
    "decoupled": "the probability of the target class, and apart from it those of the others, at temperature {:g}",
    "features": "attention maps of the stages",
}
ENDINGS = {"cosine": "a cosine to zero", "linear": "a line to zero", "step": "a tenth at each milestone", "constant": "no change"}


def in_words(recipe: Recipe) -> str:
    """How a recipe trains: batches, learning rate, and what is done to images and labels.

    >>> in_words(Recipe(epochs=5, crop=0, flip=False))
    '5 epochs in batches of 128; SGD, learning rate up to 0.1 over 20 % of the steps, then a cosine to zero; images as they are'
    """
    batches = f"{recipe.epochs} epoch{'s' * (recipe.epochs > 1)} in batches of {recipe.batch_size}"
    return "; ".join([batches, schedule(recipe), ", ".join(on_images(recipe)) or "images as they are", *on_training(recipe)])


def schedule(recipe: Recipe) -> str:
    """The optimiser and its learning rate."""
    rise = f" over {recipe.warmup:.0%} of the steps".replace("%", " %") if recipe.warmup else ""
    rate = f"learning rate up to {recipe.peak_learning_rate:.3g}" if rise else f"learning rate {recipe.peak_learning_rate:.3g}"
    return f"{OPTIMIZERS[recipe.optimizer]}, {rate}{rise}, then {ENDINGS[recipe.schedule]}"


def on_images(recipe: Recipe) -> list[str]:
    """Augmentation of training images and labels."""
    done = {
        f"images shifted by up to {recipe.crop} pixel{'s' * (recipe.crop > 1)}": recipe.crop,
        f"random crops of at least {recipe.resized_crop or 1:.0%} of the image".replace("%", " %"): recipe.resized_crop,
        "mirrored": recipe.flip,
        recipe.augment: recipe.augment != "none",
        "random erasing": recipe.erase,
        "MixUp": recipe.mixup,
        "CutMix": recipe.cutmix,
        f"labels smoothed by {recipe.label_smoothing:g}": recipe.label_smoothing,
    }
    return [words for words, is_done in done.items() if is_done]


def of_teachers(recipe: Recipe) -> str:
    """What is learned from teachers, with the weights of both losses.

    >>> of_teachers(Recipe())
    'class probabilities at temperature 4 with weight 0.9, labels with weight 0.1'
    """
    of_labels, of_its = recipe.distill_weights
    what = DISTILLED[recipe.distill].format(recipe.temperature)
    return f"{what} with weight {of_its:g}, labels with weight {of_labels:g}"


def on_training(recipe: Recipe) -> list[str]:
    """What is special about the computation."""
    weights = "" if isinstance(recipe.class_weight, str) else ", ".join(f"{name}={one:g}" for name, one in recipe.class_weight)
    special = {
        f"layer-wise decay of the learning rate {recipe.layer_decay:g}": recipe.layer_decay != 1,
        f"weights averaged by {recipe.ema:g}": recipe.ema,
        f"computed in {recipe.precision}": recipe.precision != "float32",
        "classes weighted so that each counts as much": recipe.class_weight == "balanced",
        f"classes weighted by {weights}": weights,
        "the classifier is fitted first": recipe.linear_probe,
        f"quantisation-aware, weights of {recipe.weight_bits} bits": recipe.quantization_aware,
    }
    return [words for words, applies in special.items() if applies]
