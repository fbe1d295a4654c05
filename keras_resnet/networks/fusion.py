"""Which layers a TFLite file folds into the convolution before them, or fuses with it, as one operation."""

from keras_resnet.networks.graph import Activate, Convolution, Dense, Merge, Node, Norm

FUSED_ACTIVATIONS = ("relu", "relu6")


def is_folded(node: Node, before: Node) -> bool:
    """Whether a batch normalisation becomes part of the kernel of the convolution before it."""
    return isinstance(node, Norm) and node.kind == "batch" and isinstance(before, Convolution)


def is_fused(node: Node, before: Node) -> bool:
    """Whether an activation is part of the operation before it."""
    fuses = isinstance(before, Convolution | Merge | Norm | Dense)
    return isinstance(node, Activate) and node.function in FUSED_ACTIVATIONS and fuses
