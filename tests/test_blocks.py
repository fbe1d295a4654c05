import keras
import numpy as np
import pytest

import keras_resnet as kr
from keras_resnet import InputError

ORDERS = ["original", "relu_preactivation", "full_preactivation"]
BLOCKS = [("basic", 1), ("bottleneck", 4)]


def outputs(block, x):
    """The numbers that a block of a functional graph gives for `x`."""
    image = keras.Input(x.shape[1:])
    return np.asarray(keras.Model(image, block(image))(x, training=False))


FROM_ZERO = [{"zero_init": True}, {"norm": None, "zero_init": True, "branch_gain": 1.0}, {"norm": None, "branch_gain": 0.0}]


@pytest.mark.parametrize("fields", FROM_ZERO, ids=str)
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("kind", "expansion"), BLOCKS)
def test_a_block_that_begins_at_zero_is_the_identity_and_learns(kind, expansion, order, fields):
    """All its kernels get a gradient: it does not stay at zero for ever."""
    shape = (2, 6, 6, 8 * expansion)
    generator = np.random.default_rng(0)
    x = generator.normal(size=shape).astype("float32")
    image = keras.Input(shape[1:])
    model = keras.Model(image, kr.identity_block(image, 8, block=kind, activation_order=order, **fields))
    np.testing.assert_array_equal(model(x, training=False), np.maximum(x, 0) if order == "original" else x)
    before = [weight.copy() for weight in model.get_weights()]
    model.compile("sgd", "mse", run_eagerly=True)
    for _ in range(2):
        model.train_on_batch(x, generator.normal(size=shape))
    kernels = [(old, new) for old, new in zip(before, model.get_weights(), strict=True) if old.ndim == 4]
    assert all(np.any(old != new) for old, new in kernels)


def test_fixup_divides_the_first_kernels_of_every_branch_and_starts_the_classifier_at_zero():
    """arXiv:1901.09321: by units ** (1 / 2) with two convolutions in a branch, by units ** (1 / 4) with three."""
    for block, power in (("basic", 1 / 2), ("bottleneck", 1 / 4)):
        fields = {"depths": (2, 2), "widths": (32, 64), "block": block, "norm": None, "zero_init": True, "branch_gain": 1.0}
        spec = kr.ResNetSpec(input_shape=(8, 8, 3), **fields)
        here, there = kr.build(spec, fixup=True), kr.build(spec)
        spreads = [float(np.std(each.get_layer("stage2_block1_conv1").get_weights()[0])) for each in (here, there)]
        np.testing.assert_allclose(spreads[0] * 4**power, spreads[1], rtol=0.05)
        last = "stage2_block1_conv3" if block == "bottleneck" else "stage2_block1_conv2"
        assert not any(np.any(here.get_layer(name).get_weights()[0]) for name in (last, "logits"))
        same = [float(np.std(each.get_layer("stage2_block1_shortcut_conv").get_weights()[0])) for each in (here, there)]
        np.testing.assert_allclose(same[0], same[1], rtol=0.1)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("kind", "expansion"), BLOCKS)
@pytest.mark.parametrize(("stride", "side"), [(1, 7), (2, 4), (3, 3)])
def test_projection_block_changes_the_shape(kind, expansion, order, stride, side):
    x = np.ones((2, 7, 7, 3), "float32")
    y = outputs(lambda image: kr.projection_block(image, 8, stride=stride, block=kind, activation_order=order), x)
    assert y.shape == (2, side, side, 8 * expansion)


def test_blocks_stand_in_anyones_model():
    image = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(16, 3, padding="same")(image)
    x = kr.identity_block(x, 16, name="first")
    x = kr.projection_block(x, 8, block="bottleneck", name="second")
    model = keras.Model(image, keras.layers.GlobalAveragePooling2D()(x))
    assert model.output_shape == (None, 32)
    assert {"first_conv1", "first_add", "first_out", "second_conv3", "second_shortcut_conv"} <= {
        layer.name for layer in model.layers
    }


def test_identity_block_refuses_a_change_of_channels():
    with pytest.raises(InputError, match="returns 64 channels, but its input has 16; use projection_block"):
        kr.identity_block(keras.Input((8, 8, 16)), 16, block="bottleneck")
    with pytest.raises(InputError, match="no field of such a unit named 'blok'; did you mean 'block'"):
        kr.identity_block(keras.Input((8, 8, 16)), 16, blok="basic")


def test_blocks_refuse_what_has_no_space_or_channels():
    with pytest.raises(InputError, match=r"a block takes .* received \(None, 8\)"):
        kr.identity_block(keras.Input((8,)), 8)
    with pytest.raises(InputError, match=r"channels known; received \(None, 8, 8, None\)"):
        kr.projection_block(keras.Input((8, 8, None)), 8)
    with pytest.raises(InputError, match="stride=0: expected one whole number"):
        kr.projection_block(keras.Input((8, 8, 16)), 8, stride=0)
    with pytest.raises(InputError, match=r"stride=\(2, 1\): expected one whole number"):
        kr.projection_block(keras.Input((8, 8, 16)), 8, stride=(2, 1))
    with pytest.raises(InputError, match=r"width=8\.0: expected a whole number"):
        kr.projection_block(keras.Input((8, 8, 16)), 8.0)
    with pytest.raises(InputError, match="no field of such a unit named 'shortcut'"):
        kr.identity_block(keras.Input((8, 8, 16)), 16, shortcut="padding")
    with pytest.raises(InputError, match=r"norm_groups=32 and widths=\(24,\) disagree"):
        kr.identity_block(keras.Input((8, 8, 24)), 24, norm="group")


def test_projection_block_takes_every_shortcut():
    image = keras.Input((8, 8, 4))
    model = keras.Model(image, kr.projection_block(image, 8, shortcut="padding", stochastic_depth=0.25, name="unit"))
    assert {"unit_shortcut_pool", "unit_shortcut_pad"} <= {layer.name for layer in model.layers}
    assert model.get_layer("unit_drop_path").rate == 0.25
    model = keras.Model(image, kr.projection_block(image, 8, shortcut="avg_projection", name="unit"))
    assert model.get_layer("unit_shortcut_conv").input.shape == (None, 4, 4, 4)


def test_dropouts_stand_where_they_should():
    fields = {"shortcut_dropout": 0.1, "branch_dropout": 0.2, "head_dropout": 0.3, "stochastic_depth": 0.5}
    model = kr.build("resnet8", activation_order="full_preactivation", **fields)
    after = {
        layer.name: (layer.rate, layer.input._keras_history.operation.name)
        for layer in model.layers
        if isinstance(layer, keras.layers.Dropout) and ("stage3" in layer.name or layer.name == "dropout")
    }
    assert after == {
        "stage3_block1_shortcut_dropout": (0.1, "stage3_block1_shortcut_pad"),
        "stage3_block1_dropout": (0.2, "stage3_block1_relu2"),
        "stage3_block1_drop_path": (0.5, "stage3_block1_conv2"),
        "dropout": (0.3, "pool"),
    }
    adding = model.get_layer("stage3_block1_add").input
    assert [tensor._keras_history.operation.name for tensor in adding] == [
        "stage3_block1_shortcut_dropout",
        "stage3_block1_drop_path",
    ]


def test_settings_of_the_layers_are_those_of_the_spec():
    model = kr.build("resnet8", norm_momentum=0.8, norm_epsilon=1e-3, shortcut_gate="exclusive", gate_bias=-3)
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert len(norms) == 7
    assert {(layer.momentum, layer.epsilon) for layer in norms} == {(0.8, 1e-3)}
    gates = [model.get_layer(f"stage{stage}_block1_gate").get_weights()[1] for stage in (1, 2, 3)]
    assert all((gate == -3).all() for gate in gates)


def test_a_strided_convolution_pads_both_sides():
    """A bright pixel in the corner of an even image meets the middle tap with padding (1, 1), the first one with Keras's "same"."""
    from keras_resnet.networks.blocks import convolution
    from keras_resnet.networks.graph import Input
    from keras_resnet.networks.layers import realize

    start = Input(inputs=(), name=None, given=(4, 4, 1))
    end = convolution(start, kr.ResNetSpec(), filters=1, size=3, stride=2, name="conv")
    image = keras.Input((4, 4, 1))
    model = keras.Model(image, realize({start: image}, [end])[end])
    model.set_weights([np.arange(9.0).reshape(3, 3, 1, 1)])
    x = np.zeros((1, 4, 4, 1), "float32")
    x[0, 0, 0] = 1
    np.testing.assert_array_equal(model.predict_on_batch(x)[0, :, :, 0], [[4, 0], [0, 0]])
