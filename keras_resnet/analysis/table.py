"""The analyses of `keras-resnet analyze`. Keras is not imported, so that the command lists them at once."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple


class Analysis(NamedTuple):
    """One row of the table. `measure` and `plot` are names in `keras_resnet.analysis`."""

    measure: str
    plot: str
    shows: str
    source: str
    form: str = "profile"
    """Which of `of_run.FORMS` calls them."""
    images: int = 256
    """The default number of images."""
    split: str = "test"
    untrained: Mapping[str, Any] | None = None
    """Options for the network with random weights, which is then analysed too; None to leave it out."""
    options: Mapping[str, Any] = MappingProxyType({})


ANALYSES = {
    "signals": Analysis(
        "signals",
        "plot_signals",
        "mean and variance of the output of each unit, with random weights and trained",
        "arXiv:2101.08692",
        images=64,
        split="train",
        untrained={"training": True},
        options={"training": False},
    ),
    "responses": Analysis(
        "responses",
        "plot_responses",
        "standard deviation of the response of each convolution larger than 1x1",
        "arXiv:1512.03385 Figure 7",
    ),
    "gradients": Analysis(
        "gradients",
        "plot_gradients",
        "gradient norm of each unit in a training step, with random weights and trained",
        "arXiv:1512.03385 section 4.1",
        images=128,
        split="train",
        untrained={},
    ),
    "correlation": Analysis(
        "gradient_correlation",
        "plot_gradient_correlation",
        "correlation between the gradients of two images, by unit, with random weights and trained",
        "arXiv:1702.08591",
        images=64,
        split="train",
        untrained={"training": True},
    ),
    "lesions": Analysis(
        "lesions",
        "plot_lesions",
        "accuracy without each unit",
        "arXiv:1605.06431 Figure 3",
    ),
    "swaps": Analysis(
        "swaps",
        "plot_swaps",
        "accuracy with two units exchanged",
        "arXiv:1605.06431 section 4.3",
    ),
    "paths": Analysis(
        "path_lengths",
        "plot_path_lengths",
        "share of the gradient that flows through paths of each length",
        "arXiv:1605.06431 Figure 6",
        images=32,
    ),
    "landscape": Analysis(
        "landscape",
        "plot_landscape",
        "loss and accuracy along a random direction of the weights",
        "arXiv:1712.09913",
        split="train",
    ),
    "landscape2d": Analysis(
        "landscape",
        "plot_landscape",
        "loss on a plane of two random directions of the weights",
        "arXiv:1712.09913",
        images=128,
        split="train",
        options={"dimensions": 2, "points": 17},
    ),
    "similarity": Analysis(
        "similarity",
        "plot_similarity",
        "centred kernel alignment between the units of one network or of two (--other)",
        "arXiv:1905.00414",
        form="similarity",
    ),
    "gradcam": Analysis(
        "grad_cam",
        "plot_heatmaps",
        "regions that raise the score of the predicted class",
        "arXiv:1610.02391",
        form="heatmaps",
        images=10,
    ),
    "gradcam++": Analysis(
        "grad_cam_plus_plus",
        "plot_heatmaps",
        "regions that raise the score of the predicted class, better for several objects of a class",
        "arXiv:1710.11063",
        form="heatmaps",
        images=10,
    ),
    "occlusion": Analysis(
        "occlusion",
        "plot_heatmaps",
        "fall of the score of the predicted class when a part of the image is hidden",
        "arXiv:1311.2901",
        form="heatmaps",
        images=10,
    ),
    "features": Analysis(
        "features",
        "plot_features",
        "the strongest feature maps of each stage, for one image",
        "arXiv:1311.2901",
        form="features",
        images=1,
    ),
    "filters": Analysis(
        "filters",
        "plot_filters",
        "the filters of the first convolution",
        "arXiv:1311.2901",
        form="filters",
        images=1,
    ),
    "embedding": Analysis(
        "embedding",
        "plot_embedding",
        "the images along the first two principal components of the pooled features",
        "doi:10.1080/14786440109462720",
        form="embedding",
        images=500,
    ),
    "tsne": Analysis(
        "embedding",
        "plot_embedding",
        "the images in a plane that keeps neighbours together (t-SNE of the pooled features)",
        "https://jmlr.org/papers/v9/vandermaaten08a.html",
        form="embedding",
        images=500,
        options={"method": "tsne"},
    ),
}
