import math
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO

import keras
import numpy as np
import pytest

import keras_resnet as kr
from keras_resnet import InputError
from keras_resnet.networks.cost import cost_of, saved
from keras_resnet.networks.graph import in_order
from keras_resnet.networks.resnet import outputs
from keras_resnet.networks.variants import VARIANTS


def counted(model):
    """Trainable and other parameters, output and multiply-adds of each layer, from the Keras layers alone."""
    rows = {}
    for layer in model.operations:
        output = layer.output.shape[1:]
        work = 0
        if isinstance(layer, keras.layers.Dense):
            work = math.prod(layer.kernel.shape)
        elif hasattr(layer, "kernel"):  # every output pixel takes the whole kernel; its shape has the groups in it
            work = math.prod(layer.kernel.shape) * math.prod(output[:-1])
        kinds = (getattr(layer, kind, []) for kind in ("trainable_weights", "weights"))
        trainable, every = (sum(math.prod(weight.shape) for weight in weights) for weights in kinds)
        rows[layer.name] = trainable, every - trainable, tuple(output), work
    return rows


def assert_cost_equals(spec, model):
    cost = cost_of(spec)
    assert {row.name: (row.trainable, row.non_trainable, row.output, row.multiply_adds) for row in cost.layers} == counted(model)
    assert cost.trainable == sum(math.prod(weight.shape) for weight in model.trainable_weights)
    assert cost.trainable + cost.non_trainable == model.count_params()
    return cost


@pytest.mark.parametrize("name", VARIANTS)
def test_every_row_costs_what_is_published(name):
    row, cost = VARIANTS[name], cost_of(name)
    if row.parameters.endswith("M"):
        decimals = len(row.parameters.partition(".")[2]) - 1
        assert f"{cost.trainable / 1e6:.{decimals}f}M" == row.parameters
    elif row.parameters:
        assert f"{cost.trainable:,}" == row.parameters
    if row.multiply_adds:
        published = float(row.multiply_adds[:-1]) * {"M": 1e6, "G": 1e9}[row.multiply_adds[-1]]
        assert cost.multiply_adds == pytest.approx(published, rel=0.01)


def shortened(spec):
    """Two units in the first stage, the first one and a follower, and one in the others: of both kinds, with and without stride."""
    return replace(spec, depths=(min(spec.depths[0], 2), *(1 for _ in spec.depths[1:])))


def of_new_values(specs):
    """Those with a value of a field that none before them has, but for depths and widths. Sizes of images count as equal if they
    leave the same remainder when divided by 32, the total stride."""
    met = {"depths", "widths", "input_shape"}
    for spec in specs:
        remainders = tuple(size and size % 32 for size in spec.input_shape)
        values = {(name, value) for name, value in vars(spec).items() if name not in met} | {len(spec.widths), remainders}
        if values - met:
            yield spec
        met |= values


SHORTENED = {shortened(row.spec): name for name, row in reversed(VARIANTS.items())}  # resnet101 becomes what resnet50 becomes
FEW = set(of_new_values(SHORTENED))


@pytest.mark.parametrize(
    "spec", [pytest.param(spec, marks=[pytest.mark.slow] * (spec not in FEW), id=name) for spec, name in SHORTENED.items()]
)
def test_every_row_costs_what_is_built(spec, quick_weights):
    assert_cost_equals(spec, kr.build(spec))
    keras.backend.clear_session(free_memory=False)


def test_a_deep_network_costs_what_is_built(quick_weights):
    assert_cost_equals("resnet56", kr.build("resnet56"))


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANTS)
def test_every_row_costs_what_is_built_at_full_depth(name, quick_weights):
    assert_cost_equals(name, kr.build(name))
    keras.backend.clear_session(free_memory=False)


def test_most_rows_are_compared_with_a_publication():
    assert sum(bool(row.parameters) for row in VARIANTS.values()) >= 95
    assert sum(bool(row.multiply_adds) for row in VARIANTS.values()) >= 80


@pytest.mark.parametrize(
    ("name", "multiply_adds"),
    [("resnet8", 12.50e6), ("resnet20", 40.81e6), ("resnet32", 69.12e6), ("resnet44", 97.44e6), ("resnet56", 125.75e6)],
)
def test_cifar_networks_with_projections_cost_what_others_count(name, multiply_adds):
    """MLPerf Tiny's network, and those of pytorch-cifar-models, which have option B."""
    assert cost_of(name, shortcut="projection").multiply_adds == pytest.approx(multiply_adds, rel=2e-4)


@pytest.mark.parametrize(
    ("name", "activations"),
    [("resnet18", 2.48), ("resnet50", 11.11), ("resnet101d", 17.04), ("resnext50_32x4d", 14.40), ("wide_resnet50_2", 14.40)],
)
def test_outputs_of_convolutions_are_as_many_as_timm_counts(name, activations):
    rows = [row for row in cost_of(name).layers if row.multiply_adds]
    assert sum(math.prod(row.output) for row in rows) == pytest.approx(activations * 1e6, rel=0.002)


@pytest.mark.parametrize(
    ("shape", "fields"),
    [
        ((40, 2), {"block": "bottleneck", "groups": 2, "channel_attention": True, "shortcut_gate": "exclusive"}),
        ((9, 11, 1), {"norm": None, "squeeze": 4, "stem": "tiered", "antialias": "mirror", "classifier_activation": "softmax"}),
        ((8, 6, 10, 2), {"norm": "group", "norm_groups": 2, "shortcut": "projection_everywhere", "stem_pool": "convolution"}),
        ((23, 17, 3), {"output_stride": 4, "block": "single", "activation": "gelu", "normalize": None}),
    ],
)
def test_other_ranks_and_parts_cost_what_is_built(shape, fields):
    spec = kr.ResNetSpec(depths=(1, 2, 1), widths=(8, 16, 16), stem_width=16, input_shape=shape, classes=3, **fields)
    assert_cost_equals(spec, kr.build(spec))


def test_cost_of_maps_and_of_a_headless_network():
    maps = cost_of("resnet50", features=(2, 3))
    assert maps.multiply_adds == sum(row["multiply_adds"] for row in cost_of("resnet50").parts[:4])
    assert {row.part.partition("_")[0] for row in maps.layers} == {"input", "stem", "stage1", "stage2"}
    assert cost_of("resnet50").trainable - cost_of("resnet50", include_top=False, pooling="avg").trainable == 2049 * 1000


def test_cost_needs_sizes():
    with pytest.raises(InputError, match=r"input_shape=\(None, None, 3\): the cost depends on the size"):
        cost_of("resnet18", input_shape=(None, None, 3))


def pixels_that_matter(model):
    """How many pixels change the middle number of the last map when they are raised, each in an image of its own."""
    for layer in model.layers:  # every number positive: nothing cancels, no ReLU is closed
        layer.set_weights([np.abs(weight) + 0.1 for weight in layer.get_weights()])
    length = model.input_shape[1]
    images = np.ones((length + 1, length, 1))
    images[np.arange(length), np.arange(length)] = 100
    maps = model.predict_on_batch(images)
    middle = maps[:, maps.shape[1] // 2].sum(-1)
    touched = np.flatnonzero(middle[:-1] > middle[-1])
    return touched.max() - touched.min() + 1


@pytest.mark.parametrize(
    ("fields", "pixels"),
    [
        ({}, None),
        ({"stem": "deep", "stem_pool": "convolution"}, None),
        ({"block": "bottleneck", "antialias": "mirror"}, None),
        ({"output_stride": 4, "depths": (1, 2, 1)}, None),
        ({"block": "single", "stem": "3x3", "stem_pool": None}, 1 + 2 + 2 + 2 + 4),
    ],
)
def test_receptive_field_is_what_changes_the_map(fields, pixels):
    settings = {"depths": (1, 1, 1), "widths": (4, 4, 4), "stem_width": 4, "normalize": None, "input_shape": (257, 1), **fields}
    settings["norm"] = None
    field = cost_of("resnet18", **settings, include_top=False).receptive_field
    assert field == pixels_that_matter(kr.build("resnet18", **settings, include_top=False))
    assert field == (pixels or field)


def test_published_receptive_fields():
    """Araujo, Norris and Sim, Computing Receptive Fields of Convolutional Neural Networks, Distill 2019, for V1."""
    assert [cost_of(f"resnet{depth}v1").receptive_field for depth in (50, 101, 152)] == [483, 1027, 1507]


TINY = {"block": "single", "depths": (2,), "widths": (4,), "stem_width": 4, "input_shape": (8, 8, 4), "classes": 2}
TINY["normalize"] = None


def test_memory_of_a_network_small_enough_to_count():
    """Two units of one convolution on 8 x 8 x 4: every tensor is 256 numbers of 4 bytes, but for image, averages and logits."""
    cost = cost_of("resnet20", **TINY)
    # Kept for training: image; conv and relu of the stem; conv and relu of two units; averages.
    assert cost.training_memory == 4 * (7 * 256 + 4)
    # At most three at a time: the input of a unit, the output of a layer and what it is made from.
    assert cost.inference_memory == 4 * 3 * 256
    deep = cost_of("resnet110")
    assert deep.remat_memory < deep.training_memory / 2.5


def kept_for_training(**fields):
    """Names of the tensors that the backward pass reads."""
    _, out = outputs(kr.ResNetSpec(depths=(1,), widths=(4,), stem_width=4, normalize=None, **fields))
    return {node.name.removeprefix("stage1_block1_") for node in saved(in_order([out]))}


def test_what_each_kind_of_layer_keeps_for_training():
    convolutions = {"stem_conv", "conv1", "conv2"}  # read by the normalisation after them
    pooled = {"stem_conv_pad", "stem_relu", "stem_pool_pad", "stem_pool"}
    attention = {"norm2", "squeeze_pool", "squeeze_reduce", "squeeze_expand"}
    assert kept_for_training(branch_dropout=0.1, squeeze=2, stochastic_depth=0.5) == (
        convolutions | pooled | attention | {"relu1", "dropout", "out", "pool"}
    )
    smooth = kept_for_training(activation="silu", block="single", stem="3x3", stem_pool=None)
    assert smooth == {"image", "stem_conv", "stem_norm", "stem_silu", "conv1", "add", "pool"}


def test_memory_with_units_recomputed():
    """Kept: image, stem's convolution and ReLU, output of the first unit, averages. Inside the second unit: convolution, ReLU."""
    assert cost_of("resnet20", **TINY).remat_memory == 4 * (6 * 256 + 4)


def test_maps_that_are_put_out_stay_alive():
    assert cost_of("resnet20", features=(2,), **TINY).inference_memory == 4 * 3 * 256
    assert cost_of("resnet20", features=(1, 2), **TINY).inference_memory == 4 * 4 * 256


def test_receptive_field_leaves_attention_out():
    assert cost_of("resnet20", channel_attention=True).receptive_field == cost_of("resnet20").receptive_field


def test_memory_of_training_has_parameters_gradients_and_momentum():
    cost = cost_of("resnet50")
    assert cost.training_bytes(8) == 8 * cost.training_memory + 4 * (3 * cost.trainable + cost.non_trainable)
    assert cost.training_bytes(8) - cost.training_bytes(8, remat=True) == 8 * (cost.training_memory - cost.remat_memory)


@pytest.mark.parametrize(
    ("fields", "quantize"),
    [
        ({}, "int8"),
        pytest.param({"activation_order": "full_preactivation", "squeeze": 4}, "int8", marks=pytest.mark.slow),
        pytest.param(
            {"channel_attention": True, "shortcut": "avg_projection", "activation": "silu"}, "int8", marks=pytest.mark.slow
        ),
        ({"input_shape": (64, 2), "norm": None, "block": "bottleneck", "shortcut": "projection"}, "int8"),
        pytest.param({}, None, marks=pytest.mark.slow),
        pytest.param({"activation_order": "full_preactivation", "squeeze": 4}, None, marks=pytest.mark.slow),
        pytest.param({"channel_attention": True, "shortcut": "avg_projection", "activation": "silu"}, None, marks=pytest.mark.slow),
        pytest.param({"input_shape": (64, 2), "norm": None, "block": "bottleneck"}, None, marks=pytest.mark.slow),
    ],
)
def test_tflite_sizes_are_within_five_per_cent(fields, quantize, tmp_path):
    from keras_resnet.export import WRITERS, Target
    from keras_resnet.export.supported import Source

    model = kr.build("resnet8", **fields)
    generator = np.random.default_rng(0)
    for weight in model.weights:  # as after training: equal numbers would be stored once, zeros not at all
        if len(weight.shape) == 1:
            weight.assign(generator.uniform(0.5, 1.5, weight.shape))
    images = generator.uniform(0, 255, (2, *model.input_shape[1:]))
    names = [f"class {number}" for number in range(model.output_shape[-1])]
    source = Source(model=model, name="resnet8", class_names=names, calibration=images)
    with redirect_stdout(StringIO()):
        WRITERS["tflite"](source, tmp_path / "model.tflite", Target("tflite", quantize))
    estimate = getattr(cost_of("resnet8", **fields), f"tflite_{quantize or 'float32'}")
    assert estimate == pytest.approx((tmp_path / "model.tflite").stat().st_size, rel=0.05)


def test_only_batch_normalisation_is_folded_in_a_file():
    batch, group = kr.cost_of("resnet8"), kr.cost_of("resnet8", norm="group", norm_groups=4)
    assert batch.trainable == group.trainable
    assert batch.tflite_float32 < group.tflite_float32
