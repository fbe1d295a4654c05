"""Whole small networks against NumPy, written from the equations of arXiv:1512.03385 and arXiv:1603.05027."""

import keras
import numpy as np
import pytest

import keras_resnet as kr


def convolve(x, kernel, stride=1):
    """y[p, q] = sum over i, j of x[stride p + i - pad, stride q + j - pad] kernel[i, j], with pad = size // 2."""
    size, pad = kernel.shape[0], kernel.shape[0] // 2
    height, width = ((length + 2 * pad - size) // stride + 1 for length in x.shape[1:3])
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    taps = ((i, j) for i in range(size) for j in range(size))
    return sum(
        x[:, i : i + stride * height : stride, j : j + stride * width : stride][:, :height, :width] @ kernel[i, j] for i, j in taps
    )


def convolve_groups(x, kernel, stride, groups):
    """Each group of output channels sees its own group of input channels."""
    inputs, kernels = np.split(x, groups, axis=-1), np.split(kernel, groups, axis=-1)
    return np.concatenate([convolve(*pair, stride) for pair in zip(inputs, kernels, strict=True)], axis=-1)


def average_pool(x):
    """The mean of each 2x2 window; one that reaches over the edge averages what there is."""
    x = np.pad(x, ((0, 0), (0, x.shape[1] % 2), (0, x.shape[2] % 2), (0, 0)), constant_values=np.nan)
    return np.nanmean([x[:, i::2, j::2] for i in range(2) for j in range(2)], axis=0)


def normalize(x, gamma, beta, mean, variance, epsilon=1e-5):
    return gamma * (x - mean) / np.sqrt(variance + epsilon) + beta


def relu(x):
    return np.maximum(x, 0)


def max_pool(x):
    """The largest of each 3x3 window, every second pixel; outside the image nothing counts."""
    height, width = ((length + 1) // 2 for length in x.shape[1:3])
    x = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
    return np.max(
        [x[:, i : i + 2 * height : 2, j : j + 2 * width : 2][:, :height, :width] for i in range(3) for j in range(3)], axis=0
    )


class Oracle:
    """The forward pass of a spec with the weights of a Keras model, found by name."""

    def __init__(self, spec, model):
        self.spec = spec
        self.weights = {layer.name: [np.float64(weight) for weight in layer.get_weights()] for layer in model.layers}

    def conv(self, x, name, stride=1):
        grouped = self.spec.block == "bottleneck" and name.startswith("stage") and name.endswith("_conv2")
        return convolve_groups(x, *self.weights[name], stride, self.spec.groups if grouped else 1)

    def norm(self, x, name):
        return normalize(x, *self.weights[name])

    def __call__(self, image):
        spec = self.spec
        mean, std = spec.normalization
        x = (image - np.array(mean)) / np.array(std)
        if spec.stem == "deep":
            for number in (1, 2):
                x = relu(self.norm(self.conv(x, f"stem_conv{number}", 3 - number), f"stem_norm{number}"))
        x = self.conv(x, "stem_conv", 2 if spec.stem == "7x7" else 1)
        x = relu(self.norm(x, "stem_norm"))
        x = max_pool(x) if spec.stem_pool else x
        for stage, depth in enumerate(spec.depths, start=1):
            for block in range(1, depth + 1):
                unit = self.preactivated if spec.activation_order == "full_preactivation" else self.original
                x = unit(x, f"stage{stage}_block{block}", 2 if stage > 1 and block == 1 else 1)
        if spec.activation_order == "full_preactivation":
            x = relu(self.norm(x, "head_norm"))
        kernel, bias = self.weights["logits"]
        return x.mean((1, 2)) @ kernel + bias

    def strides(self, stride):
        return [stride, 1] if self.spec.block == "basic" else [1, stride, 1]

    def original(self, x, name, stride):
        """relu(F(x) + shortcut(x)); F: convolution, normalisation, ReLU, ..., normalisation."""
        branch = x
        for number, step in enumerate(self.strides(stride), start=1):
            branch = relu(branch) if number > 1 else branch
            branch = self.norm(self.conv(branch, f"{name}_conv{number}", step), f"{name}_norm{number}")
        branch = self.squeeze(branch, name)
        return relu(branch + self.shortcut(x, branch.shape[-1], name, stride))

    def preactivated(self, x, name, stride):
        """F(x) + shortcut; F: normalisation, ReLU, convolution, ... The first unit gets an activated input."""
        first = name == "stage1_block1"
        active = x if first else relu(self.norm(x, f"{name}_norm1"))
        branch = active
        for number, step in enumerate(self.strides(stride), start=1):
            branch = relu(self.norm(branch, f"{name}_norm{number}")) if number > 1 else branch
            branch = self.conv(branch, f"{name}_conv{number}", step)
        branch = self.squeeze(branch, name)
        changes = stride > 1 or x.shape[-1] != branch.shape[-1]
        return branch + self.shortcut(active if changes else x, branch.shape[-1], name, stride)

    def squeeze(self, x, name):
        """x times sigmoid(W2 relu(W1 mean(x) + b1) + b2), one weight for each channel."""
        if not self.spec.squeeze:
            return x
        (reduce, bias1), (expand, bias2) = self.weights[f"{name}_squeeze_reduce"], self.weights[f"{name}_squeeze_expand"]
        weight = relu(x.mean((1, 2), keepdims=True) @ reduce[0, 0] + bias1) @ expand[0, 0] + bias2
        return x / (1 + np.exp(-weight))

    def shortcut(self, x, channels, name, stride):
        if self.spec.shortcut == "none":
            return 0
        if stride == 1 and x.shape[-1] == channels:
            return x
        if self.spec.shortcut == "padding":
            return np.pad(x[:, ::stride, ::stride], ((0, 0), (0, 0), (0, 0), (0, channels - x.shape[-1])))
        if self.spec.shortcut == "avg_projection" and stride == 2:
            x, stride = average_pool(x), 1
        x = self.conv(x, f"{name}_shortcut_conv", stride)
        return self.norm(x, f"{name}_shortcut_norm") if f"{name}_shortcut_norm" in self.weights else x


def randomize(model, seed=0):
    """Random weights everywhere, BatchNormalization statistics too; nothing is left at 0 or 1."""
    generator = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            channels = layer.gamma.shape
            positive = [generator.uniform(0.5, 1.5, channels) for _ in range(2)]
            layer.set_weights([positive[0], generator.normal(0, 0.3, channels), generator.normal(0, 0.3, channels), positive[1]])
        elif layer.get_weights():
            fan_out = lambda weight: np.prod(weight.shape) / weight.shape[-2] if weight.ndim > 1 else 1  # noqa: E731
            layer.set_weights([generator.normal(0, np.sqrt(1 / fan_out(weight)), weight.shape) for weight in layer.get_weights()])


def assert_equal_to_the_oracle(**fields):
    spec = kr.ResNetSpec(depths=(2, 2), widths=(4, 8), input_shape=(19, 22, 3), classes=5, **fields)
    model = kr.build(spec)
    randomize(model)
    image = np.random.default_rng(1).uniform(0, 255, (3, 19, 22, 3))
    expected = Oracle(spec, model)(image)
    assert expected.std() > 0.01  # the network is alive
    np.testing.assert_allclose(model.predict_on_batch(image.astype("float32")), expected, atol=2e-5 * np.abs(expected).max())


@pytest.mark.parametrize("stem", ["7x7", "deep", "3x3"])
@pytest.mark.parametrize("shortcut", ["projection", "avg_projection", "padding", "none"])
@pytest.mark.parametrize("order", ["original", "full_preactivation"])
@pytest.mark.parametrize("block", ["basic", "bottleneck"])
def test_forward_pass_equals_the_equations(block, order, shortcut, stem):
    styles = {"block": block, "activation_order": order, "shortcut": shortcut}
    assert_equal_to_the_oracle(**styles, stem=stem, stem_pool=stem != "3x3", stem_width=4 if shortcut == "padding" else 6)


@pytest.mark.parametrize("order", ["original", "full_preactivation"])
@pytest.mark.parametrize(
    "fields",
    [
        {"block": "bottleneck", "groups": 4, "group_width": 32},
        {"block": "bottleneck", "group_width": 96},
        {"block": "basic", "squeeze": 2},
        {"block": "bottleneck", "groups": 2, "squeeze": 16},
    ],
)
def test_groups_and_squeeze_equal_the_equations(fields, order):
    assert_equal_to_the_oracle(**fields, activation_order=order)
