"""Whole small networks against NumPy, written from the equations of the papers; two dimensions, 64-bit."""

from itertools import product
from math import erf, log2

import keras
import numpy as np
import pytest

import keras_resnet as kr

ORDERS = ["original", "norm_after_addition", "relu_before_addition", "relu_preactivation", "full_preactivation"]
SHORTCUTS = ["projection", "projection_everywhere", "avg_projection", "subsampling", "padding", "none"]

ACTIVATIONS = {
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.2 * x),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "selu": lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(np.minimum(x, 0))),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "gelu": lambda x: x * (1 + np.vectorize(erf)(x / np.sqrt(2))) / 2,
    "hard_silu": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "tanh": np.tanh,
}


def convolve(x, kernel, stride=1, dilation=1, pad=None):
    """y[p, q] = sum over i, j of x[stride p + dilation i - pad, stride q + dilation j - pad] kernel[i, j]."""
    size = kernel.shape[0]
    pad = dilation * (size // 2) if pad is None else pad
    height, width = ((length + 2 * pad - dilation * (size - 1) - 1) // stride + 1 for length in x.shape[1:3])
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    return sum(
        x[:, i * dilation : i * dilation + stride * height : stride, j * dilation : j * dilation + stride * width : stride][
            :, :height, :width
        ]
        @ kernel[i, j]
        for i in range(size)
        for j in range(size)
    )


def blurred(x, stride, spec):
    """Every `stride`-th pixel of x convolved with (1, 2, 1) / 4 along both axes, outside zeros or x mirrored (arXiv:1904.11486)."""
    line = np.array([1, 2, 1]) / 4
    x = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect" if spec.antialias == "mirror" else "constant")
    return convolve(x, np.outer(line, line)[..., None, None] * np.eye(x.shape[-1]), stride, pad=0)


def average_pool(x):
    """The mean of each 2x2 window; one that reaches over the edge averages what there is."""
    x = np.pad(x, ((0, 0), (0, x.shape[1] % 2), (0, x.shape[2] % 2), (0, 0)), constant_values=np.nan)
    return np.nanmean([x[:, i::2, j::2] for i in range(2) for j in range(2)], axis=0)


def max_pool(x, stride, outside=-np.inf):
    """The largest of each 3x3 window, every `stride`-th pixel; outside the image nothing counts, or zeros do."""
    height, width = ((length - 1) // stride + 1 for length in x.shape[1:3])
    x = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=outside)
    return np.max(
        [
            x[:, i : i + stride * height : stride, j : j + stride * width : stride][:, :height, :width]
            for i, j in product(range(3), repeat=2)
        ],
        axis=0,
    )


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


class Oracle:
    """The forward pass of a spec with the weights of a Keras model, found by name."""

    def __init__(self, spec, model):
        self.spec = spec
        self.weights = {layer.name: [np.float64(weight) for weight in layer.get_weights()] for layer in model.layers}
        self.act = ACTIVATIONS[spec.activation]

    def conv(self, x, name, stride=1, dilation=1, groups=1):
        kernel, *bias = self.weights[name]
        pairs = zip(np.split(x, groups, axis=-1), np.split(kernel, groups, axis=-1), strict=True)
        return np.concatenate([convolve(*pair, stride, dilation) for pair in pairs], axis=-1) + sum(bias)

    def norm(self, x, name):
        if self.spec.norm is None:
            return x
        if self.spec.norm == "group":
            gamma, beta = self.weights[name]
            parts = x.reshape(*x.shape[:3], self.spec.norm_groups, -1)
            mean, variance = (statistic(parts, axis=(1, 2, 4), keepdims=True) for statistic in (np.mean, np.var))
            return gamma * ((parts - mean) / np.sqrt(variance + self.spec.norm_epsilon)).reshape(x.shape) + beta
        gamma, beta, mean, variance = self.weights[name]
        return gamma * (x - mean) / np.sqrt(variance + self.spec.norm_epsilon) + beta

    def __call__(self, image):
        x = self.stem((image - np.array(self.spec.normalization[0])) / np.array(self.spec.normalization[1]))
        reached, dilation = {"3x3": 1}.get(self.spec.stem, 2) * (2 if self.spec.stem_pool else 1), 1
        for stage, depth in enumerate(self.spec.depths, start=1):
            for block in range(1, depth + 1):
                before, stride = dilation, self.stride(stage, block)
                if reached == self.spec.output_stride:
                    stride, dilation = 1, dilation * stride
                reached *= stride
                x = self.unit(x, f"stage{stage}_block{block}", stride, (before, dilation))
        if self.spec.activation_order == "full_preactivation":
            x = self.act(self.norm(x, "head_norm"))
        if self.spec.activation_order == "relu_preactivation":
            x = self.act(x)
        kernel, bias = self.weights["logits"]
        return x.mean((1, 2)) @ kernel + bias

    def stride(self, stage, block):
        """Of a unit: 2 in the first one of every stage but the first, or in the last one of every stage but the last."""
        count, at_end = len(self.spec.depths), self.spec.stride_in == "last"
        strides = self.spec.stage_strides or [2 if stage != (count if at_end else 1) else 1 for stage in range(1, count + 1)]
        return strides[stage - 1] if block == (self.spec.depths[stage - 1] if at_end else 1) else 1

    def stem(self, x):
        spec = self.spec
        if spec.stem in ("deep", "tiered"):
            for number, stride in ((1, 2), (2, 1)):
                x = self.act(self.norm(self.conv(x, f"stem_conv{number}", stride), f"stem_norm{number}"))
        x = self.conv(x, "stem_conv", 2 if spec.stem == "7x7" else 1)
        x = self.act(self.norm(x, "stem_norm")) if spec.stem_norm else x
        if spec.stem_pool == "convolution":
            x = self.act(self.norm(self.conv(x, "stem_pool_conv", 1 if spec.antialias else 2), "stem_pool_norm"))
            return blurred(x, 2, spec) if spec.antialias else x
        if spec.stem_pool:
            outside = 0 if spec.stem_pool == "zero_padded_max" else -np.inf
            return blurred(max_pool(x, 1, outside), 2, spec) if spec.antialias else max_pool(x, 2, outside)
        return x

    def unit(self, x, name, stride, dilations):
        """Figure 4 of arXiv:1603.05027. In pre-activation the first unit gets an activated input."""
        order = self.spec.activation_order
        active = x
        if name != "stage1_block1" or not self.spec.stem_norm:
            if order == "full_preactivation":
                active = self.act(self.norm(x, f"{name}_norm1"))
            elif order == "relu_preactivation":
                active = self.act(x)
        branch = self.attention(self.branch(active, name, stride, dilations), name) * self.spec.branch_scale
        branch = branch if self.spec.branch_gain is None else branch * self.weights[f"{name}_gain"][0][0, 0, :, 0]
        if self.spec.shortcut == "none":
            total = branch
        else:
            projects = x.shape[-1] != branch.shape[-1] or (self.spec.first_projection and name.endswith("_block1"))
            if projects or self.spec.shortcut == "projection_everywhere":
                passed = self.shortcut(active, branch.shape[-1], name, stride)
            elif self.spec.shortcut == "subsampling":
                passed = blurred(x, stride, self.spec) if self.blurs_shortcut(stride) else x[:, ::stride, ::stride]
            else:
                passed = self.shortcut(active, branch.shape[-1], name, stride) if stride > 1 else x
            passed = passed * self.spec.shortcut_scale
            if self.spec.shortcut_gate:
                blurs = self.blurs_shortcut(stride)
                gate = self.conv(blurred(x, stride, self.spec), f"{name}_gate") if blurs else self.conv(x, f"{name}_gate", stride)
                gate = sigmoid(gate)
                passed = passed * (1 - gate)
                branch = branch * gate if self.spec.shortcut_gate == "exclusive" else branch
            total = passed + branch
        if order == "original":
            return self.act(total)
        return self.act(self.norm(total, f"{name}_out_norm")) if order == "norm_after_addition" else total

    def branch(self, x, name, stride, dilations):
        spec, order = self.spec, self.spec.activation_order
        strides = {"single": [stride], "basic": [stride, 1], "bottleneck": [1, stride, 1]}[spec.block]
        if spec.stride_on == "1x1":
            strides = [stride, 1, 1]
        rates = {"single": dilations[:1], "basic": dilations, "bottleneck": (1, dilations[0], 1)}[spec.block]
        waiting = 1  # stride of a blur that waits for the next activation
        for number, (step, rate) in enumerate(zip(strides, rates, strict=True), start=1):
            last = number == len(strides)
            if number > 1:
                if order == "full_preactivation":
                    x = self.act(self.norm(x, f"{name}_norm{number}"))
                elif order == "relu_preactivation":
                    x = self.act(x)
                x, waiting = blurred(x, waiting, spec) if waiting > 1 else x, 1
            if spec.antialias and step > 1:
                step, waiting = 1, step
            groups = spec.groups if spec.block == "bottleneck" and number == 2 else 1
            x = self.conv(x, f"{name}_conv{number}", step, rate, groups)
            if order == "relu_preactivation" or (order == "original" and last):
                x = self.norm(x, f"{name}_norm{number}")
            elif order == "relu_before_addition" or (order in ("original", "norm_after_addition") and not last):
                x = self.act(self.norm(x, f"{name}_norm{number}"))
        return blurred(x, waiting, spec) if waiting > 1 else x

    def attention(self, x, name):
        """x times one weight for each channel: sigmoid(W2 relu(W1 mean(x) + b1) + b2), or a convolution of mean(x)."""
        mean = x.mean((1, 2))
        if self.spec.squeeze:
            (reduce, bias1), (expand, bias2) = self.weights[f"{name}_squeeze_reduce"], self.weights[f"{name}_squeeze_expand"]
            divisor = self.spec.squeeze_divisor
            assert len(bias1) == max(1, divisor * ((x.shape[-1] // self.spec.squeeze + divisor // 2) // divisor) or divisor)
            weight = sigmoid(np.maximum(mean @ reduce[0, 0] + bias1, 0) @ expand[0, 0] + bias2)
        elif self.spec.channel_attention:
            kernel = self.weights[f"{name}_attention_conv"][0][:, 0, 0]
            assert len(kernel) == max(3, 2 * (int((log2(x.shape[-1]) + 1) / 2) // 2) + 1)
            weight = sigmoid(np.stack([np.convolve(row, kernel[::-1], "same") for row in mean]))
        else:
            return x
        return x * weight[:, None, None]

    def blurs_shortcut(self, stride):
        return self.spec.antialias and self.spec.antialias_shortcut and stride > 1

    def shortcut(self, x, channels, name, stride):
        kind = self.spec.shortcut
        if kind == "avg_projection" and stride == 2:
            x, stride = average_pool(x), 1
        elif self.blurs_shortcut(stride):
            x, stride = blurred(x, stride, self.spec), 1
        if kind == "padding":
            return np.pad(x[:, ::stride, ::stride], ((0, 0), (0, 0), (0, 0), (0, channels - x.shape[-1])))
        x = self.conv(x, f"{name}_shortcut_conv", stride)
        normed = self.spec.activation_order in ("original", "relu_before_addition", "relu_preactivation")
        return self.norm(x, f"{name}_shortcut_norm") if normed else x


def randomize(model, seed=0):
    """Random weights everywhere, BatchNormalization statistics too; nothing is left at 0 or 1."""
    generator = np.random.default_rng(seed)
    for layer in model.layers:
        weights = layer.get_weights()
        if isinstance(layer, keras.layers.BatchNormalization | keras.layers.GroupNormalization):
            draw = {"gamma": (0.5, 1.5), "beta": (-0.5, 0.5), "moving_mean": (-0.5, 0.5), "moving_variance": (0.5, 1.5)}
            layer.set_weights([generator.uniform(*draw[weight.name], weight.shape) for weight in layer.weights])
        elif weights and not isinstance(layer, keras.layers.Dropout):
            fan_out = lambda weight: np.prod(weight.shape) / weight.shape[-2] if weight.ndim > 1 else 1  # noqa: E731
            layer.set_weights([generator.normal(0, np.sqrt(1 / fan_out(weight)), weight.shape) for weight in weights])


def assert_equal_to_the_oracle(**fields):
    small = {"depths": (1, 2), "widths": (4, 8), "input_shape": (19, 22, 3), "classes": 5}
    spec = kr.ResNetSpec(**{**small, **fields})
    model = kr.build(spec)
    randomize(model)
    image = np.random.default_rng(1).uniform(0, 255, (3, *spec.input_shape))
    expected = Oracle(spec, model)(image)
    assert expected.std() > 0.01 * np.abs(expected).mean() > 0  # the network is alive
    np.testing.assert_allclose(model(image.astype("float32"), training=False), expected, atol=3e-5 * np.abs(expected).max())


def thinned(*choices):
    """Every combination, a quarter of them quick."""
    for places in product(*(range(len(each)) for each in choices)):
        values = [each[place] for each, place in zip(choices, places, strict=True)]
        yield pytest.param(*values, marks=[pytest.mark.slow] * (sum(places) % 4 != 0))


@pytest.mark.parametrize(("block", "order", "shortcut"), thinned(["single", "basic", "bottleneck"], ORDERS, SHORTCUTS))
def test_every_order_with_every_shortcut(block, order, shortcut):
    assert_equal_to_the_oracle(block=block, activation_order=order, shortcut=shortcut, stem_width=4 if shortcut == "padding" else 6)


@pytest.mark.parametrize("pool", ["max", "convolution", None])
@pytest.mark.parametrize("stem", ["7x7", "deep", "tiered", "3x3"])
def test_every_stem(stem, pool):
    assert_equal_to_the_oracle(stem=stem, stem_pool=pool, stem_width=8)
    assert_equal_to_the_oracle(stem=stem, stem_pool=pool, stem_width=8, antialias=True, activation="silu")


PARTS = [
    {"block": "bottleneck", "groups": 4, "group_width": 32},
    {"block": "bottleneck", "group_width": 96, "stride_on": "1x1"},
    {"block": "basic", "squeeze": 2},
    {"block": "bottleneck", "groups": 2, "squeeze": 16},
    {"block": "bottleneck", "channel_attention": True},
    {"widths": (4, 64), "channel_attention": True},
    {"shortcut_gate": "exclusive"},
    {"shortcut_gate": "shortcut_only", "shortcut": "padding", "stem_width": 4},
    {"shortcut_gate": "exclusive", "antialias": True},
    {"shortcut_scale": 0.5, "branch_scale": 0.5},
    {"block": "bottleneck", "branch_gain": 0.5, "squeeze": 2},
    {"block": "bottleneck", "antialias": True},
    {"block": "single", "antialias": True, "shortcut": "padding", "stem_width": 4},
    {"block": "bottleneck", "antialias": True, "stride_on": "1x1", "shortcut": "avg_projection"},
    {"antialias": "mirror", "squeeze": 2},
    {"block": "bottleneck", "antialias": "mirror", "antialias_shortcut": False, "shortcut_gate": "exclusive"},
    {"depths": (2, 2, 2), "widths": (4, 8, 8), "output_stride": 4},
    {"depths": (2, 2, 2), "widths": (4, 8, 8), "output_stride": 8, "block": "bottleneck"},
    {"norm": "group", "norm_groups": 2, "norm_epsilon": 1e-3},
    {"depths": (2, 2), "stride_in": "last", "conv_bias": True, "block": "bottleneck", "shortcut": "subsampling"},
    {"depths": (2, 1), "stride_in": "last", "antialias": True, "shortcut": "subsampling"},
    {"depths": (2, 2, 1), "widths": (4, 8, 8), "stride_in": "last", "output_stride": 8},
    {"depths": (2, 1), "stage_strides": (2, 3), "first_projection": True, "stem_width": 4},
    {"widths": (4, 40), "squeeze": 2, "squeeze_divisor": 8, "shortcut": "avg_projection", "first_projection": True},
]


@pytest.mark.parametrize(("fields", "order"), thinned(PARTS, ORDERS), ids=str)
def test_every_part_in_every_order(fields, order):
    assert_equal_to_the_oracle(**fields, activation_order=order)


@pytest.mark.parametrize("order", [order for order in ORDERS if order != "norm_after_addition"])
def test_without_normalisation(order):
    assert_equal_to_the_oracle(norm=None, activation_order=order, block="bottleneck")


@pytest.mark.parametrize("order", [pytest.param("relu_preactivation", marks=pytest.mark.slow), "full_preactivation"])
@pytest.mark.parametrize("pool", ["max", "zero_padded_max", pytest.param(None, marks=pytest.mark.slow)])
def test_a_stem_without_normalisation(pool, order):
    """The pool then has negative numbers, and the first unit an input that is not activated."""
    fields = {"stem_norm": False, "stem_pool": pool, "activation_order": order, "conv_bias": True, "stem_width": 4}
    assert_equal_to_the_oracle(**fields)
    assert_equal_to_the_oracle(**fields, stem="deep", antialias=True)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation(activation):
    """The stem pools what may be negative, too."""
    assert_equal_to_the_oracle(activation=activation)
