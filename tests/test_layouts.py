"""Weights of other libraries give their logits: by PyTorch's operations, straight from a state dict, and by keras.applications."""

import hashlib
import json
import re
from dataclasses import replace

import h5py
import keras
import numpy as np
import pytest
import safetensors.numpy

import keras_resnet as kr
from keras_resnet import InputError, Run
from keras_resnet.fields import to_json
from keras_resnet.training.first_weights import FirstWeights

GENERATOR = np.random.default_rng(0)
KEYS = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
FILTER = np.outer((1, 2, 1), (1, 2, 1)).astype("float32") / 16
MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
IMAGES = GENERATOR.integers(0, 256, (2, 45, 64, 3)).astype("float32")  # an odd height: paddings and ceilings show


class State(dict):
    """A state dict of random numbers, statistics among them, with the names of torchvision and timm."""

    def __init__(
        self,
        block="basic",
        depths=(1, 2),
        widths=(8, 16),
        classes=5,
        groups=1,
        inner=1,
        deep=(),
        avg=False,
        blur=False,
        **attention,
    ):
        self.fixed = {"groups": groups, "blur": blur}
        expansion = 4 if block == "bottleneck" else 1
        for number, (before, width) in enumerate(zip((3, *deep), deep, strict=False)):
            self.convolution(f"conv1.{3 * number}", width, before, 3)
            self.norm(f"conv1.{3 * number + 1}" if number < len(deep) - 1 else "bn1", width)
        if not deep:
            self.convolution("conv1", widths[0], 3, 7)
            self.norm("bn1", widths[0])
        before = deep[-1] if deep else widths[0]
        for stage, (depth, width) in enumerate(zip(depths, widths, strict=True), start=1):
            for number in range(depth):
                unit = f"layer{stage}.{number}"
                if block == "basic":
                    sizes = [(width, before, 3), (width, width, 3)]
                else:
                    sizes = [(inner * width, before, 1), (inner * width, inner * width // groups, 3), (4 * width, inner * width, 1)]
                for layer, size in enumerate(sizes, start=1):
                    self.convolution(f"{unit}.conv{layer}", *size)
                    self.norm(f"{unit}.bn{layer}", size[0])
                self.attention(unit, expansion * width, **attention)
                if before != expansion * width or (number == 0 and stage > 1):
                    self.convolution(f"{unit}.downsample.{int(avg)}", expansion * width, before, 1)
                    self.norm(f"{unit}.downsample.{1 + avg}", expansion * width)
                before = expansion * width
        self["fc.weight"], self["fc.bias"] = self.random(classes, before) / 4, self.random(classes)

    def random(self, *shape):
        return GENERATOR.normal(size=shape).astype("float32")

    def convolution(self, name, *shape):
        self[f"{name}.weight"] = self.random(*shape, *shape[-1:]) * np.float32(np.sqrt(2 / np.prod(shape[1:]) / shape[-1]))

    def norm(self, name, width):
        values = {"weight": 1 + self.random(width) / 4, "bias": self.random(width) / 4, "running_mean": self.random(width) / 4}
        values["running_var"] = np.exp(self.random(width) / 2)
        self.update({f"{name}.{key}": value for key, value in values.items()})
        self[f"{name}.num_batches_tracked"] = np.array(7)

    def attention(self, unit, width, squeeze=None, efficient=None, least=1):
        if squeeze:
            reduced = max(width // squeeze, least)
            for name, shape in {"fc1": (reduced, width), "fc2": (width, reduced)}.items():
                self.convolution(f"{unit}.se.{name}", *shape, 1)
                self[f"{unit}.se.{name}.bias"] = self.random(shape[0])
        if efficient:
            self[f"{unit}.se.conv.weight"] = self.random(1, 1, efficient)

    def save(self, path, **changes):
        arrays = {name: array for name, array in {**self, **changes}.items() if array is not None}
        path.write_bytes(safetensors.numpy.save({name: np.ascontiguousarray(array) for name, array in arrays.items()}))
        return path


def logits_of(state, images, stride_on="3x3", normalized=False):
    """What PyTorch's operations make of a state dict, with the strides and paddings of torchvision and timm."""
    torch = pytest.importorskip("torch")
    from torch.nn import functional

    blurs = state.fixed["blur"]
    state_of = {name: torch.from_numpy(np.array(array)) for name, array in state.items()}

    def convolved(x, name, stride=1, groups=1):
        kernel = state_of[f"{name}.weight"]
        return functional.conv2d(
            x, kernel, state_of.get(f"{name}.bias"), stride=stride, padding=kernel.shape[-1] // 2, groups=groups
        )

    def norm(x, name):
        keys = ("running_mean", "running_var", "weight", "bias")
        return functional.batch_norm(x, *(state_of[f"{name}.{key}"] for key in keys), eps=1e-5)

    def blurred(x):
        x = functional.pad(x, (1, 1, 1, 1), mode="reflect")
        return functional.conv2d(x, torch.tensor(FILTER).expand(x.shape[1], 1, 3, 3), stride=2, groups=x.shape[1])

    def branch(x, unit, stride):
        count = max(number for number in (1, 2, 3) if f"{unit}.conv{number}.weight" in state)
        strided = 2 if count == 3 and stride_on == "3x3" else 1
        for number in range(1, count + 1):
            groups = state.fixed["groups"] if count == 3 and number == 2 else 1
            step = stride if number == strided else 1
            x = norm(convolved(x, f"{unit}.conv{number}", 1 if blurs else step, groups), f"{unit}.bn{number}")
            x = functional.relu(x) if number < count else x
            x = blurred(x) if blurs and step > 1 else x
        return weighed(x, unit)

    def weighed(x, unit):
        mean = x.mean((2, 3), keepdim=True)
        if f"{unit}.se.fc1.weight" in state:
            return x * torch.sigmoid(convolved(functional.relu(convolved(mean, f"{unit}.se.fc1")), f"{unit}.se.fc2"))
        if f"{unit}.se.conv.weight" in state:
            kernel = state_of[f"{unit}.se.conv.weight"]
            line = functional.conv1d(mean.view(len(x), 1, -1), kernel, padding=kernel.shape[-1] // 2)
            return x * torch.sigmoid(line).view(len(x), -1, 1, 1)
        return x

    def around(x, unit, stride):
        if f"{unit}.downsample.2.weight" in state:
            x = functional.avg_pool2d(x, 2, stride, ceil_mode=True, count_include_pad=False) if stride > 1 else x
            return norm(convolved(x, f"{unit}.downsample.1"), f"{unit}.downsample.2")
        if f"{unit}.downsample.0.weight" in state:
            return norm(convolved(x, f"{unit}.downsample.0", stride), f"{unit}.downsample.1")
        return x

    x = torch.from_numpy(images if normalized else ((images / 255 - MEAN) / DEVIATION).astype("float32")).permute(0, 3, 1, 2)
    if "conv1.weight" in state:
        x = convolved(x, "conv1", 2)
    else:
        x = functional.relu(norm(convolved(x, "conv1.0", 2), "conv1.1"))
        x = convolved(functional.relu(norm(convolved(x, "conv1.3"), "conv1.4")), "conv1.6")
    x = functional.max_pool2d(functional.relu(norm(x, "bn1")), 3, 1 if blurs else 2, 1)
    x = blurred(x) if blurs else x
    for unit in dict.fromkeys(name.partition(".conv")[0] for name in state if name.startswith("layer") and ".conv1." in name):
        stride = 2 if unit.endswith(".0") and not unit.startswith("layer1") else 1
        x = functional.relu(branch(x, unit, stride) + around(x, unit, stride))
    return functional.linear(x.mean((2, 3)), state_of["fc.weight"], state_of["fc.bias"]).numpy()


def assert_same_logits(model, expected):
    given = np.asarray(model(IMAGES, training=False))
    assert np.std(expected, axis=0).max() > 1e-3  # the images are told apart
    np.testing.assert_allclose(given, expected, atol=1e-4 * np.abs(expected).max(), rtol=0)


BOTTLENECK = {"block": "bottleneck"}
NETWORKS = {
    "basic": {},
    "grouped, wide, squeezed": {**BOTTLENECK, "groups": 4, "inner": 2, "squeeze": 16},
    "squeezed to a multiple of 8": {"depths": (1, 2), "widths": (8, 32), "squeeze": 4, "least": 8},
    "blur": {**BOTTLENECK, "blur": True},
    "d": {**BOTTLENECK, "deep": (4, 4, 8), "avg": True},
    "s": {"depths": (1, 1), "deep": (8, 8, 16)},
    "t, efficient attention": {"depths": (1, 1), "deep": (6, 8, 16), "avg": True, "widths": (16, 32), "efficient": 3},
}


@pytest.mark.parametrize("name", NETWORKS)
def test_pytorch(name, tmp_path):
    state = State(**NETWORKS[name])
    filters = {f"{layer}.filt": np.tile(FILTER, (8, 1, 1, 1)) for layer in ("maxpool.1", "layer2.0.aa") if state.fixed["blur"]}
    path = state.save(tmp_path / "w.safetensors", **filters)
    spec, arrays, class_names = kr.weights.read(path)
    assert (spec.classes, class_names, len(arrays)) == (5, None, sum("num_batches" not in name for name in state))
    assert_same_logits(kr.build(spec, input_shape=IMAGES.shape[1:], weights=path), logits_of(state, IMAGES))


def as_transformers(state):
    """The same arrays by the names of Hugging Face."""

    def name_of(name):
        if name.startswith("fc."):
            return name.replace("fc.", "classifier.1.")
        name = re.sub(r"layer(\d)\.(\d)\.", lambda m: f"encoder.stages.{int(m[1]) - 1}.layers.{m[2]}.", name)
        name = re.sub(r"downsample\.(\d)", lambda m: f"shortcut.{('convolution', 'normalization')[int(m[1])]}", name)
        inside = "layer.{}." if "encoder" in name else "embedder.embedder."
        name = re.sub(r"conv(\d)\.", lambda m: f"{inside.format(int(m[1]) - 1)}convolution.", name)
        return "resnet." + re.sub(r"bn(\d)\.", lambda m: f"{inside.format(int(m[1]) - 1)}normalization.", name)

    return {name_of(name): array for name, array in state.items()}


@pytest.mark.parametrize("block", [pytest.param("basic", marks=pytest.mark.slow), "bottleneck"])
def test_transformers(block, tmp_path):
    state = State(block, depths=(1, 2))
    path, arrays = tmp_path / "w.safetensors", as_transformers(state)
    assert "resnet.encoder.stages.1.layers.0.shortcut.normalization.running_mean" in arrays
    path.write_bytes(safetensors.numpy.save(arrays))
    spec = kr.weights.read(path).spec
    assert_same_logits(kr.build(spec, input_shape=IMAGES.shape[1:], weights=path), logits_of(state, IMAGES))
    missing = "resnet.encoder.stages.1.layers.1.layer.1.convolution.weight"
    path.write_bytes(safetensors.numpy.save({name: array for name, array in arrays.items() if name != missing}))
    assert_refused(f"has no array {missing!r}", path)
    trunk = {name.removeprefix("resnet."): array for name, array in arrays.items() if "classifier" not in name}
    path.write_bytes(safetensors.numpy.save(trunk))
    assert kr.weights.read(path).layout == "transformers"


def assert_refused(message, path, model=None, **options):
    """In one line; a model stays as it is, bit for bit."""
    before = [np.array(weight) for weight in model.weights] if model else []
    with pytest.raises(InputError, match=message) as caught:
        kr.weights.load(model, path, **options) if model else kr.weights.read(path, **options)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    for weight, array in zip(model.weights if model else (), before, strict=True):
        np.testing.assert_array_equal(weight, array)


@pytest.fixture(scope="module")
def state():
    return State(block="bottleneck", depths=(1, 2))


@pytest.fixture
def file(state, tmp_path):
    return state.save(tmp_path / "w.safetensors")


@pytest.fixture(scope="module")
def fresh(state, tmp_path_factory):
    """A model for the weights of `state`."""
    path = state.save(tmp_path_factory.mktemp("weights") / "w.safetensors")
    return kr.build(kr.weights.read(path).spec, input_shape=IMAGES.shape[1:])


@pytest.mark.parametrize(
    "name",
    ["conv1.weight", "bn1.running_var", "layer1.0.conv3.weight", "layer2.0.downsample.0.weight", "layer2.1.bn2.bias", "fc.bias"],
)
def test_one_wrong_array_is_named(name, state, fresh, tmp_path):
    named = re.escape(repr(name))
    assert_refused(f"has no array {named}", state.save(tmp_path / "a.safetensors", **{name: None}), fresh)
    wider = np.concatenate([state[name], state[name][:1]])
    assert_refused(f"its array {named} is ", state.save(tmp_path / "b.safetensors", **{name: wider}), fresh)
    broken = np.full_like(state[name], np.nan)
    assert_refused(f"damaged: its array {named}", state.save(tmp_path / "c.safetensors", **{name: broken}), fresh)


def test_one_array_too_many_is_named(state, fresh, tmp_path):
    for extra in (
        "layer1.0.conv4.weight",
        "layer1.0.conv9.weight",
        "layer2.0.conv1.bias_mask",
        "head.weight",
        "layer1.0.se.fc1.bias",
    ):
        path = state.save(tmp_path / "w.safetensors", **{extra: np.ones((2, 2), "float32")})
        assert_refused(re.escape(repr(extra)), path, fresh)
    path = state.save(tmp_path / "w.safetensors", **{"fc.1.weight": state["fc.weight"]})
    assert_refused("has two arrays for 'logits/kernel': 'fc.*weight' and 'fc.*weight'", path, fresh)


def test_loading_sets_every_weight(state, fresh, file):
    model = kr.build(kr.weights.read(file).spec, input_shape=IMAGES.shape[1:])
    found = kr.weights.load(model, file)
    assert found.layout == "pytorch"
    assert_same_logits(model, logits_of(state, IMAGES))
    assert all(not np.array_equal(one, other) for one, other in zip(model.weights, fresh.weights, strict=True))


def test_another_number_of_classes(state, file):
    spec = kr.weights.read(file).spec
    model = kr.build(spec, classes=7)
    assert_refused("'logits/kernel' is .* 5.* in the file and .* 7.* classifier=False", file, model)
    before = np.array(model.get_layer("logits").kernel)
    kr.weights.load(model, file, classifier=False)
    np.testing.assert_array_equal(model.get_layer("logits").kernel, before)
    np.testing.assert_array_equal(model.get_layer("stem_norm").beta, state["bn1.bias"])
    with pytest.raises(InputError, match="classifier=False"):
        kr.build(spec, classes=7, weights=file)
    assert kr.build(spec, classes=7, weights=file, classifier=False).output_shape == (None, 7)


def test_a_trunk_without_its_classifier(state, file, tmp_path):
    spec = kr.weights.read(file).spec
    headless = state.save(tmp_path / "trunk.safetensors", **{"fc.weight": None, "fc.bias": None})
    assert kr.weights.read(headless).spec == replace(spec, classes=1000)
    assert_refused("no array for 'logits/kernel'.*classifier=False", headless, kr.build(spec))
    maps = kr.build(spec, weights=file, features=(2,))
    np.testing.assert_array_equal(maps.get_layer("stage1_block1_norm3").gamma, state["layer1.0.bn3.weight"])
    pooled = kr.build(spec, weights=headless, include_top=False, pooling="avg")
    np.testing.assert_array_equal(pooled.get_layer("stage2_block2_norm3").gamma, state["layer2.1.bn3.weight"])


@pytest.mark.parametrize("prefix", ["model.", "module.", "state_dict.", "state_dict.module.", "backbone."])
def test_prefixes(prefix, state, tmp_path):
    path = tmp_path / "w.safetensors"
    prefixed = {prefix + name: array for name, array in state.items()}
    path.write_bytes(safetensors.numpy.save({**prefixed, "optimizer.state.0.momentum_buffer": state["bn1.bias"]}))
    assert len(kr.weights.read(path).arrays) == sum("num_batches" not in name for name in state)
    path.write_bytes(safetensors.numpy.save({**prefixed, "optimal.weight": state["bn1.bias"]}))
    assert_refused("has an array 'optimal.weight'", path)


def test_one_of_several_networks_is_chosen(state, tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(safetensors.numpy.save({f"{name}.{key}": array for name in ("model", "ema") for key, array in state.items()}))
    assert_refused("several networks: .*'(model|ema).', '(ema|model).'", path)
    np.testing.assert_array_equal(kr.weights.read(path, prefix="ema.").arrays["stem_norm/beta"], state["bn1.bias"])


def test_biases_of_convolutions(state, tmp_path):
    """They go into the means."""
    biases = {f"{name.removesuffix('weight')}bias": state.random(len(array)) for name, array in state.items() if array.ndim == 4}
    biased = State.__new__(State)
    biased.update({**state, **biases})
    biased.fixed = state.fixed
    path = biased.save(tmp_path / "w.safetensors")
    assert_same_logits(kr.build(kr.weights.read(path).spec, input_shape=IMAGES.shape[1:], weights=path), logits_of(biased, IMAGES))
    assert_refused("has no array 'layer1.0.conv2.bias'", biased.save(path, **{"layer1.0.conv2.bias": None}))
    assert_refused("has an array 'layer1.0.conv2.bias' of", biased.save(path, **{"layer1.0.conv2.bias": np.ones(3, "float32")}))


def test_numbers_that_are_none_of_a_network(state, tmp_path):
    path = tmp_path / "w.safetensors"
    for name in ("layer1.999.conv1.weight", "layer99.0.conv1.weight", "layer2.3.conv1.weight", "layer0.0.conv1.weight"):
        assert_refused("has a unit .* and not those before it", state.save(path, **{name: state["layer1.0.conv1.weight"]}))
    assert_refused("has an array 'layer123456.0", state.save(path, **{"layer123456.0.conv1.weight": state["conv1.weight"]}))
    assert_refused("has whole numbers in its array 'fc.weight'", state.save(path, **{"fc.weight": np.ones((5, 64), "int8")}))


def test_a_network_that_computes_something_else_is_refused(state, fresh, file):
    """Its arrays have the same names and shapes."""
    spec = fresh_spec = kr.weights.read(file).spec
    for change, reason in {
        "stride_on": ("1x1", "'stage2_block1_(conv1|pad)'"),
        "norm_epsilon": (1e-3, "epsilon=0.001 in the model and 1e-05"),
        "normalize": ("half", "'normalize' has scale"),
        "antialias": (True, "has a layer '.*blur|pad'"),
        "activation_order": ("relu_before_addition", "has a layer"),
    }.items():
        value, message = reason
        assert_refused(message, file, kr.build(replace(fresh_spec, **{change: value}), input_shape=IMAGES.shape[1:]))
    model = kr.build(replace(spec, stride_on="1x1"), input_shape=IMAGES.shape[1:])
    kr.weights.load(model, file, spec=replace(spec, stride_on="1x1"))
    assert_same_logits(model, logits_of(state, IMAGES, stride_on="1x1"))
    assert kr.weights.read(file, spec=replace(spec, antialias=True)).spec.antialias


def test_a_named_network(state, tmp_path):
    narrow = State(depths=(2, 2, 2, 2), widths=(8, 8, 16, 16), classes=3).save(tmp_path / "w.safetensors")
    with pytest.raises(InputError, match=r"does not fit resnet18: its array 'conv1.weight' is \(8, 3, 7, 7\), not \(64, 3, 7, 7\)"):
        kr.build("resnet18", weights=narrow)
    with pytest.raises(InputError, match=r"build it with 3 channels, then kr.transfer.adapt_channels\(model, 1\) changes them"):
        kr.build("resnet18", widths=(8, 8, 16, 16), stem_width=8, weights=narrow, input_shape=(64, 64, 1))
    model = kr.build("resnet18", widths=(8, 8, 16, 16), stem_width=8, weights=narrow)
    assert model.output_shape == (None, 3)
    with pytest.raises(InputError, match="no network named 'resnet19'"):
        kr.build("resnet19", weights=narrow)
    with pytest.raises(InputError, match="no weights at"):
        kr.build("resnet18", weights=tmp_path / "none.pth")


def test_another_blur_is_refused(state, tmp_path):
    path = state.save(tmp_path / "w.safetensors", **{"layer2.0.aa.filt": np.ones((8, 1, 5, 5), "float32") / 25})
    assert_refused("another blur than .* in its array 'layer2.0.aa.filt'", path)


def test_what_cannot_be_described_is_refused(tmp_path):
    one = np.ones((1, 1, 1, 1), "float32")
    for name, reason in {
        "stages.0.blocks.0.norm1.v": "timm's ResNetV2 with EvoNorm",
        "stages.0.blocks.0.norm1.tau": "timm's ResNetV2 with filter response normalisation",
        "patch_embed.proj.weight": "the arrays of no known ResNet, such as patch_embed.proj.weight",
    }.items():
        (tmp_path / "w.safetensors").write_bytes(safetensors.numpy.save({name: one}))
        assert_refused(reason, tmp_path / "w.safetensors")
    with pytest.raises(InputError, match="no layout of weights named 'torch'; did you mean 'pytorch'"):
        kr.weights.read(tmp_path / "w.safetensors", layout="torch")
    uneven = State(depths=(1, 2), widths=(16, 32), squeeze=4)
    for part, shape in {"fc1.weight": (7, 16, 1, 1), "fc1.bias": (7,), "fc2.weight": (16, 7, 1, 1)}.items():
        uneven[f"layer1.0.se.{part}"] = np.ones(shape, "float32")
    assert_refused(
        "squeezes 16 channels to 7 in 'stage1_block1_squeeze_reduce', and others by 4", uneven.save(tmp_path / "w.safetensors")
    )
    plain = {f"layer2.0.downsample.{name}": None for name in ("0.weight", *(f"1.{key}" for key in KEYS))}
    assert_refused("no convolutions in its shortcuts", State().save(tmp_path / "w.safetensors", **plain))


def narrow_resnet(randomized, depths=(2, 1), second=False):
    """A ResNet of keras.applications (V1 or V2) with few channels, and without a softmax."""
    from keras.src.applications import resnet

    stacked = resnet.stack_residual_blocks_v2 if second else resnet.stack_residual_blocks_v1

    def stack(x):
        for stage, depth in enumerate(depths):
            keeps_size = stage == (len(depths) - 1 if second else 0)
            x = stacked(x, 4 * 2**stage, depth, stride1=1 if keeps_size else 2, name=f"conv{stage + 2}")
        return x

    shape = {"input_shape": IMAGES.shape[1:], "classes": 5, "weights": None, "classifier_activation": None}
    return randomized(resnet.ResNet(stack, second, True, "narrow", **shape))


def save_legacy(model, path):
    from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

    with h5py.File(path, "w") as file:
        save_weights_to_hdf5_group(file, model)


@pytest.fixture(scope="module")
def applied(randomized):
    return narrow_resnet(randomized)


@pytest.fixture(scope="module")
def applied_v2(randomized):
    return narrow_resnet(randomized, (2, 2), second=True)


LATER = [pytest.param(kind, marks=pytest.mark.slow) for kind in ("whole.h5", "keras")]


@pytest.mark.parametrize("kind", ["h5", "weights.h5", *LATER])
def test_keras_applications(kind, applied, tmp_path):
    path = tmp_path / f"w.{kind}"
    save = {"h5": save_legacy, "weights.h5": lambda model, path: model.save_weights(path)}
    save.get(kind, lambda model, path: model.save(path))(applied, path)
    spec = kr.weights.read(path).spec
    assert (spec.depths, spec.widths, spec.stride_on, spec.stem_width, spec.classes) == ((2, 1), (4, 8), "1x1", 64, 5)
    expected = applied(keras.applications.resnet.preprocess_input(IMAGES.copy()), training=False)
    assert_same_logits(kr.build(spec, input_shape=IMAGES.shape[1:], weights=path), np.asarray(expected))
    with pytest.raises(InputError, match=r"is of a network with stride_on='1x1' .*and not stride_on='3x3'"):
        kr.build(replace(spec, stride_on="3x3"), weights=path)


@pytest.mark.parametrize("kind", ["h5", "weights.h5"])
def test_keras_applications_v2(kind, applied_v2, tmp_path):
    path = tmp_path / f"w.{kind}"
    save_legacy(applied_v2, path) if kind == "h5" else applied_v2.save_weights(path)
    spec = kr.weights.read(path).spec
    assert (spec.depths, spec.widths, spec.strides, spec.normalize, spec.classes) == ((2, 2), (4, 8), (2, 1), "half", 5)
    expected = applied_v2(keras.applications.resnet_v2.preprocess_input(IMAGES.copy()), training=False)
    assert_same_logits(kr.build(spec, input_shape=IMAGES.shape[1:], weights=path), np.asarray(expected))
    with pytest.raises(InputError, match=r"is of a network with stem_norm=False .*and not stem_norm=True"):
        kr.build(replace(spec, stem_norm=True), weights=path)


class ResNetBackbone(keras.Model):
    """A model whose file has the names of KerasHub's."""


def as_keras_hub(spec, folder, randomized, **config):
    """The numbered layers of KerasHub's classifier, as Keras orders them, with its settings beside; and the logits of `IMAGES`."""
    from keras_resnet.networks import layers

    model = randomized(layers.build(spec))
    backbone = ResNetBackbone(model.input, model.get_layer("pool").input)
    x = keras.Input(model.input_shape[1:])
    logits = keras.layers.Dense(spec.classes)(keras.layers.GlobalAveragePooling2D()(backbone(x)))
    classifier = keras.Model(x, logits)
    classifier.layers[-1].set_weights(model.get_layer("logits").get_weights())
    classifier.save_weights(folder / "task.weights.h5")
    backbone.save_weights(folder / "model.weights.h5")
    strides = {"stackwise_num_strides": spec.strides, **config}
    (folder / "config.json").write_text(json.dumps({"class_name": "ResNetBackbone", "config": strides}))
    return np.asarray(model(IMAGES, training=False))


V2 = {"activation_order": "full_preactivation", "stem_norm": False}
DEEP = {"stem": "deep", "shortcut": "avg_projection"}


@pytest.mark.parametrize(
    ("block", "fields"),
    [
        pytest.param("basic_block", {}, marks=pytest.mark.slow),
        ("bottleneck_block", {"stage_strides": (2, 1)}),
        pytest.param("basic_block", V2, marks=pytest.mark.slow),
        ("bottleneck_block", V2),
        ("basic_block_vd", {**DEEP, "first_projection": True}),
        pytest.param("bottleneck_block_vd", DEEP, marks=pytest.mark.slow),
    ],
)
def test_keras_hub(block, fields, randomized, tmp_path):
    small = {"depths": (2, 1), "widths": (8, 16), "stem_width": 8, "classes": 5, "input_shape": IMAGES.shape[1:]}
    spec = kr.ResNetSpec(block=block.split("_")[0], **small, **fields)
    expected = as_keras_hub(spec, tmp_path, randomized, block_type=block)
    found = kr.weights.read(tmp_path / "task.weights.h5").spec
    assert replace(found, input_shape=spec.input_shape) == spec
    assert_same_logits(kr.build(spec, weights=tmp_path / "task.weights.h5"), expected)
    backbone = kr.weights.read(tmp_path / "model.weights.h5")
    assert backbone.spec.depths == (2, 1)
    converter = {"config": {"image_converter": {"config": {"scale": [0.1, 0.2, 0.5], "offset": [-1.0, -2.0, -3.0]}}}}
    (tmp_path / "preprocessor.json").write_text(json.dumps(converter))
    assert kr.weights.read(tmp_path / "task.weights.h5").spec.normalize == ((10.0, 10.0, 6.0), (10.0, 5.0, 2.0))
    (tmp_path / "preprocessor.json").write_text(json.dumps(converter).replace("0.1", "0"))
    assert_refused("settings .* that are none of KerasHub's", tmp_path / "task.weights.h5")
    (tmp_path / "preprocessor.json").unlink()
    (tmp_path / "config.json").unlink()
    assert kr.weights.read(tmp_path / "task.weights.h5").spec.shortcut == spec.shortcut
    assert_refused("if it is KerasHub's, say so", tmp_path / "model.weights.h5")
    assert set(kr.weights.read(tmp_path / "model.weights.h5", layout="keras_hub").arrays) == set(backbone.arrays)


def timm_v2_name(layer):
    """What timm's ResNetV2 calls a layer of ours."""
    found = re.fullmatch(r"stage(\d)_block(\d)_(conv\d|norm\d|shortcut_conv)", layer)
    if not found:
        places = {"head_norm": "norm", "logits": "head.fc", "stem_conv": "stem.conv"}
        return places.get(layer, layer.replace("stem_", "stem."))
    stage, block, part = found.groups()
    return f"stages.{int(stage) - 1}.blocks.{int(block) - 1}.{part.replace('shortcut_', 'downsample.')}"


@pytest.mark.parametrize(
    ("fields", "bit"),
    [
        ({}, False),
        pytest.param({"block": "bottleneck", "stem": "tiered", "shortcut": "avg_projection"}, False, marks=pytest.mark.slow),
        ({"block": "bottleneck", "norm": "group", "stem": "deep", "shortcut": "avg_projection"}, False),
        ({"block": "bottleneck", "norm": "group", "stem_pool": "zero_padded_max"}, True),
    ],
    ids=str,
)
def test_timm_v2(fields, bit, randomized, tmp_path):
    """The names; `benchmarks/weights.py` compares the logits with timm's."""
    spec = kr.ResNetSpec(depths=(2, 1), widths=(32, 64), stem_width=64, classes=5, normalize="half", **V2, **fields)
    model = randomized(kr.build(spec, input_shape=IMAGES.shape[1:]))
    kinds = {"kernel": "weight", "gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
    arrays = {}
    for layer in model.layers:
        for weight in layer.weights:
            array = np.array(weight)
            name = f"{timm_v2_name(layer.name)}.{kinds.get(weight.name, weight.name)}"
            name = name.replace("stem.conv.", "stem.conv3.") if spec.stem in ("deep", "tiered") else name
            arrays[name] = np.ascontiguousarray(
                array.T[..., None, None] if name == "head.fc.weight" else array.transpose(3, 2, 0, 1) if array.ndim == 4 else array
            )
            if bit and array.ndim == 4:
                weight.assign((array - array.mean((0, 1, 2))) / array.std((0, 1, 2)))
    path = tmp_path / "w.safetensors"
    path.write_bytes(safetensors.numpy.save(arrays))
    assert kr.weights.read(path).spec == spec
    assert_same_logits(kr.build(spec, input_shape=IMAGES.shape[1:], weights=path), np.asarray(model(IMAGES, training=False)))
    (tmp_path / "config.json").write_text(
        json.dumps({"pretrained_cfg": {"mean": [0.4] * 3, "std": [0.2] * 3, "input_size": [3, 96, 96]}})
    )
    assert kr.weights.read(path).spec.normalize == ((102.0,) * 3, (51.0,) * 3)
    for missing in ("stages.0.blocks.1.conv2.weight", "norm.weight", "stages.1.blocks.0.downsample.conv.weight"):
        path.write_bytes(safetensors.numpy.save({name: array for name, array in arrays.items() if name != missing}))
        assert_refused(f"has no array '{missing}'", path)


def bit_name(name):
    """What BiT calls an array of ours."""
    layer, kind = name.split("/")
    places = {"stem_conv": "root_block/standardized_conv2d", "head_norm": "group_norm", "logits": "head/conv2d"}
    if found := re.fullmatch(r"stage(\d)_block(\d)_(conv|norm|shortcut_conv)(\d?)", layer):
        stage, block, part, number = found.groups()
        letter = "a/proj" if part == "shortcut_conv" else "abc"[int(number) - 1]
        places[layer] = f"block{stage}/unit0{block}/{letter}/{'group_norm' if part == 'norm' else 'standardized_conv2d'}"
    return f"resnet/{places[layer]}/{kind}"


def test_bit(randomized, tmp_path):
    fields = {**V2, "block": "bottleneck", "norm": "group", "normalize": "half", "stem_pool": "zero_padded_max", "stem_width": 32}
    spec = kr.ResNetSpec(depths=(2, 1), widths=(32, 32), classes=5, **fields)
    model = randomized(kr.build(spec, input_shape=IMAGES.shape[1:]))
    arrays = {}
    for layer in model.layers:
        for weight in layer.weights:
            array = np.array(weight)
            arrays[bit_name(f"{layer.name}/{weight.name}")] = (
                array[None, None] if layer.name == "logits" and array.ndim > 1 else array
            )
            if array.ndim == 4:
                weight.assign((array - array.mean((0, 1, 2))) / array.std((0, 1, 2)))
    path = tmp_path / "w.npz"
    np.savez(path, **arrays)
    assert kr.weights.read(path).spec == spec
    assert_same_logits(kr.build(spec, input_shape=IMAGES.shape[1:], weights=path), np.asarray(model(IMAGES, training=False)))
    missing = "resnet/block1/unit02/b/standardized_conv2d/kernel"
    np.savez(path, **{name: array for name, array in arrays.items() if name != missing})
    assert_refused(f"has no array '{missing}'", path)


def test_a_wrong_array_of_keras_applications_is_named(applied, applied_v2, tmp_path):
    path = tmp_path / "w.h5"
    save_legacy(applied, path)
    with h5py.File(path, "a") as file:
        del file["conv2_block2_2_bn"]["conv2_block2_2_bn"]["gamma"]
    assert_refused("has no array 'conv2_block2_2_bn/gamma'", path)
    save_legacy(applied_v2, path)
    with h5py.File(path, "a") as file:
        del file["conv2_block2_3_conv"]["conv2_block2_3_conv"]["bias"]
    assert_refused("has no array 'conv2_block2_3_conv/bias'", path)
    keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)]).save_weights(tmp_path / "other.weights.h5")
    assert_refused("has 1 convolutions and 0 normalisations", tmp_path / "other.weights.h5")


@pytest.mark.slow
@pytest.mark.parametrize("layers", ["50", "101", "152", "50V2", "101V2", "152V2"])
def test_whole_networks_of_keras_applications(layers, randomized, tmp_path):
    of_library = getattr(keras.applications, f"ResNet{layers}")(weights=None, classifier_activation=None)
    module = keras.applications.resnet_v2 if layers.endswith("V2") else keras.applications.resnet
    name = f"resnet{layers.lower()}_keras" if layers.endswith("V2") else f"resnet{layers}v1"
    for kind in ("h5", "weights.h5"):
        path = tmp_path / f"w.{kind}"
        save_legacy(randomized(of_library), path) if kind == "h5" else of_library.save_weights(path)
        model = kr.build(name, input_shape=(224, 224, 3), weights=path)
        images = GENERATOR.integers(0, 256, (1, 224, 224, 3)).astype("float32")
        expected = np.asarray(of_library(module.preprocess_input(images.copy()), training=False))
        given = np.asarray(model(images, training=False))
        np.testing.assert_allclose(given, expected, atol=1e-4 * np.abs(expected).max(), rtol=0)


def test_weights_of_this_package(fresh, file, tmp_path):
    arrays = {f"{layer.name}/{weight.name}": np.array(weight, "float16") for layer in fresh.layers for weight in layer.weights}
    path = tmp_path / "run" / "model.safetensors"
    path.parent.mkdir()
    path.write_bytes(safetensors.numpy.save(arrays))
    assert_refused("no spec.json beside it", path)
    (path.parent / "spec.json").write_text(to_json(kr.weights.read(file).spec))
    (path.parent / "labels.txt").write_text("a\nb\nc\nd\ne\n")
    spec, _, class_names = kr.weights.read(path)
    assert (spec, class_names) == (kr.weights.read(file).spec, ["a", "b", "c", "d", "e"])
    model = kr.build(spec, weights=path)
    for name, array in arrays.items():
        layer, weight = name.split("/")
        np.testing.assert_array_equal(getattr(model.get_layer(layer), weight), array.astype("float32"))
    first = FirstWeights.of(path.parent)
    assert (first.path, first.spec, first.class_names) == (path, spec, class_names)
    for again in (kr.load(path.parent), kr.build(weights=path.parent)):
        np.testing.assert_array_equal(again.get_layer("logits").kernel, model.get_layer("logits").kernel)


@pytest.mark.parametrize(
    "fields",
    [
        {"stem": "deep", "stem_pool": None, "shortcut": "avg_projection"},
        {"stem": "7x7", "stem_pool": None, "normalize": None, "norm": "group", "norm_groups": 2},
        {"block": "single", "norm": None, "activation": "silu", "normalize": ((1.0,) * 3, (2.0,) * 3), "shortcut_scale": 0.5},
        {"block": "bottleneck", "groups": 2, "antialias": True, "activation_order": "full_preactivation", "squeeze": 4},
    ],
    ids=str,
)
def test_a_network_of_this_package_comes_back_whole(fields, tmp_path):
    """None is a value too: a stem without its pool came back with one, and its weights fitted."""
    spec = kr.ResNetSpec(depths=(1, 1), widths=(4, 8), stem_width=4, input_shape=(16, 16, 3), classes=3, **fields)
    model = kr.build(spec)
    arrays = {f"{layer.name}/{weight.name}": np.array(weight) for layer in model.layers for weight in layer.weights}
    safetensors.numpy.save_file(arrays, tmp_path / "model.safetensors")
    (tmp_path / "spec.json").write_text(to_json(spec))
    assert kr.weights.read(tmp_path / "model.safetensors").spec == spec
    images = GENERATOR.integers(0, 256, (2, 16, 16, 3)).astype("float32")
    again = kr.build(weights=tmp_path / "model.safetensors")
    np.testing.assert_array_equal(again(images, training=False), model(images, training=False))


def test_settings_beside_the_file(state, tmp_path):
    path, config = state.save(tmp_path / "model.safetensors"), tmp_path / "config.json"

    def beside(**content):
        config.write_text(json.dumps(content))
        return kr.weights.read(path)

    cut = {"mean": [0.5] * 3, "std": [0.5] * 3, "input_size": [3, 256, 256]}
    assert beside(architecture="resnet26", pretrained_cfg=cut).spec.normalize == ((127.5,) * 3, (127.5,) * 3)
    assert beside(pretrained_cfg={**cut, "mean": list(MEAN), "std": list(DEVIATION)}).spec.normalize == "imagenet"
    assert beside(pretrained_cfg=cut).spec.input_shape == (256, 256, 3)
    assert beside(id2label={str(number): "abcde"[number] for number in range(5)}).class_names == list("abcde")
    assert beside(id2label={"0": "cat", "1": "dog"}).class_names is None
    with pytest.raises(InputError, match="timm's resnetaa50d, which averages 2x2 pixels before subsampling"):
        beside(architecture="resnetaa50d")
    blurred = beside(architecture="resnetblur50").spec
    assert (blurred.antialias, blurred.antialias_shortcut) == ("mirror", False)
    with pytest.raises(InputError, match=r"is of a network with antialias=False .*and not antialias='mirror'"):
        beside(architecture="resnet50")
        kr.build(blurred, weights=path)
    path.write_bytes(safetensors.numpy.save(as_transformers(state)))
    assert beside(downsample_in_bottleneck=True, hidden_act="silu").spec.stride_on == "1x1"
    assert beside(downsample_in_bottleneck=True, hidden_act="silu").spec.activation == "silu"
    with pytest.raises(InputError, match=r"is of a network with activation='silu' .*and not activation='relu'"):
        kr.build(replace(beside(hidden_act="silu").spec, activation="relu"), weights=path)
    with pytest.raises(InputError, match="no activation named 'quick_gelu'"):
        beside(hidden_act="quick_gelu")
    depths = beside().spec.depths
    assert beside(downsample_in_first_stage=True, depths=list(depths)).spec.strides == (2,) * len(depths)


@pytest.fixture
def converted(state, call, tmp_path):
    """A run of weights of `state`, and what the command said."""
    path = state.save(tmp_path / "w.safetensors")
    (tmp_path / "names").write_text("bright_above\ndark_above\na b\nb\na b\n")
    said = call("convert", path, "--out", tmp_path / "run", "--labels", tmp_path / "names", "--set", "input_shape=45,64,3")
    return Run.open(tmp_path / "run"), said


def test_convert(state, converted, call, tmp_path):
    run, (code, said, errors) = converted
    assert (code, errors) == (0, "")
    assert "bottleneck" in said
    assert run.class_names == ["bright_above", "dark_above", "a b (2)", "b", "a b (4)"]
    assert run.metrics["source"]["sha256"] == hashlib.sha256((tmp_path / "w.safetensors").read_bytes()).hexdigest()
    assert_same_logits(kr.load(run.path), logits_of(state, IMAGES))
    assert call("evaluate", run.path)[2].startswith(f"keras-resnet: {str(run.path)!r} has no images")
    again = call("convert", tmp_path / "w.safetensors", "--out", tmp_path / "run")
    assert again[0] == 2
    assert "exists" in again[2]
    wrong = call("convert", tmp_path / "names", "--out", tmp_path / "other")
    assert (wrong[0], wrong[2].count("\n"), (tmp_path / "other").exists()) == (2, 1, False)
    assert call("convert", tmp_path / "w.safetensors", "--out", tmp_path / "run", "--overwrite")[0] == 0
    assert Run.open(run.path).class_names == list("01234")


@pytest.mark.slow
def test_what_was_converted_is_trained_and_exported(photos, call, tmp_path):
    path = State(block="bottleneck", classes=2).save(tmp_path / "w.safetensors")
    (tmp_path / "names").write_text("bright_above\ndark_above\n")
    run = tmp_path / "run"
    assert call("convert", path, "--out", run, "--labels", tmp_path / "names", "--set", "input_shape=24,24,3")[0] == 0
    assert call("train", "--init", run, "--data", photos, "--epochs", 1, "--out", tmp_path / "tuned")[0] == 0
    assert Run.open(tmp_path / "tuned").was_trained
    assert call("predict", run, photos / "bright_above" / "00.jpg")[0] == 0
    code, said, _ = call("evaluate", run, "--data", photos, "--json")
    assert (code, json.loads(said)[0]["classes"][0]["images"]) == (0, 20)
    code, said, _ = call("export", run, "--data", photos, "--format", "onnx", "--accept-undecided", "--json")
    assert (code, json.loads(said)[0]["file"]) == (0, "model.onnx")


def test_fields_that_the_file_does_not_show(state, applied, tmp_path):
    path, run = state.save(tmp_path / "w.safetensors"), tmp_path / "run"
    kr.weights.convert(path, run, stride_on="1x1", input_shape=IMAGES.shape[1:])
    assert_same_logits(kr.load(run), logits_of(state, IMAGES, stride_on="1x1"))
    applied.save_weights(tmp_path / "w.weights.h5")
    for fields, message in {
        ("stride_on", "3x3"): "is of a network with stride_on='1x1'",
        ("classes", 7): "classes=7 cannot be set: .* has 5",
        ("widths", (4, 4)): "its array .* is ",
        ("normalise", 1): "no ResNetSpec field named 'normalise'",
    }.items():
        with pytest.raises(InputError, match=message):
            kr.weights.convert(tmp_path / "w.weights.h5", tmp_path / "other", **dict([fields]))
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(("word", "nearest"), [("weigths", "weights"), ("classifer", "classifier"), ("widhts", "widths")])
def test_a_misspelt_argument(word, nearest):
    with pytest.raises(InputError, match=f"^no argument of kr.build named '{word}'; did you mean '{nearest}'"):
        kr.build("resnet8", **{word: 1})
