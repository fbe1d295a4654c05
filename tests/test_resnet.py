import math

import keras
import numpy as np
import pytest

import keras_resnet as kr


def test_layer_names_are_part_of_the_interface():
    names = [layer.name for layer in kr.build("resnet50", depths=(1, 1), widths=(8, 16)).layers]
    assert sorted(names) == sorted(
        [
            "image",
            "normalize",
            "stem_conv",
            "stem_conv_pad",
            "stem_norm",
            "stem_relu",
            "stem_pool",
            "stem_pool_pad",
            "pool",
            "logits",
        ]
        + [f"stage{stage}_block1_{kind}{number}" for stage in (1, 2) for kind in ("conv", "norm") for number in (1, 2, 3)]
        + [f"stage{stage}_block1_relu{number}" for stage in (1, 2) for number in (1, 2)]
        + [f"stage{stage}_block1_{name}" for stage in (1, 2) for name in ("shortcut_conv", "shortcut_norm", "add", "out")]
        + ["stage2_block1_conv2_pad"]
    )
    names = [
        layer.name for layer in kr.build("resnet8", activation_order="full_preactivation", depths=(1, 1), widths=(16, 32)).layers
    ]
    assert sorted(names) == sorted(
        ["image", "normalize", "stem_conv", "stem_norm", "stem_relu", "head_norm", "head_relu", "pool", "logits"]
        + ["stage1_block1_conv1", "stage1_block1_norm2", "stage1_block1_relu2", "stage1_block1_conv2", "stage1_block1_add"]
        + [f"stage2_block1_{kind}{number}" for kind in ("conv", "norm", "relu") for number in (1, 2)]
        + [f"stage2_block1_{name}" for name in ("conv1_pad", "shortcut_pool", "shortcut_pad", "add")]
    )


def test_building_twice_gives_the_same_names():
    first, second = kr.build("resnet20"), kr.build("resnet20")
    assert [layer.name for layer in first.layers] == [layer.name for layer in second.layers]


@pytest.mark.parametrize("shape", [(40, 2), (9, 11, 1), (32, 32, 5), (8, 6, 10, 2)])
@pytest.mark.parametrize("name", ["resnet18", "resnet20", "resnet50v2"])
def test_rank_and_channels_come_from_the_input(name, shape):
    model = kr.build(name, input_shape=shape, depths=(1, 1, 1), widths=(16, 32, 64), classes=4, stem_width=16)
    assert model(np.zeros((2, *shape))).shape == (2, 4)


def test_pixels_are_normalised_inside():
    model = kr.build("resnet8", input_shape=(8, 8, 3))
    inside = keras.Model(model.input, model.get_layer("normalize").output)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3)).astype("float32")
    expected = (pixels - np.array([125.3, 123.0, 113.9])) / np.array([63.0, 62.1, 66.7])
    np.testing.assert_allclose(inside(pixels), expected, atol=1e-5)
    assert "normalize" not in [layer.name for layer in kr.build("resnet8", normalize=None).layers]


def test_head_is_float32_under_mixed_precision():
    model = kr.build("resnet8", input_shape=(8, 8, 1), classifier_activation="softmax", dtype="mixed_bfloat16")
    assert model.get_layer("stem_conv").compute_dtype == "bfloat16"
    output = model(np.zeros((1, 8, 8, 1)))
    assert keras.backend.standardize_dtype(output.dtype) == "float32"
    assert float(keras.ops.sum(output)) == pytest.approx(1)


def test_weights_start_he_normal_with_fan_out():
    kernel = kr.build("resnet18").get_layer("stage4_block1_conv1").get_weights()[0]  # 256 channels in, 512 out
    assert kernel.std() == pytest.approx(math.sqrt(2 / (9 * 512)), rel=0.01)
    assert np.abs(kernel).max() > 3 * kernel.std()  # not truncated at two standard deviations


def test_global_data_format_plays_no_part():
    keras.config.set_image_data_format("channels_first")
    try:
        model = kr.build("resnet20", input_shape=(16, 12, 1))
    finally:
        keras.config.set_image_data_format("channels_last")
    assert model.get_layer("stage3_block1_out").output.shape == (None, 4, 3, 64)


def test_saved_models_open_without_this_package(elsewhere, tmp_path):
    image = np.random.default_rng(0).uniform(0, 255, (2, 16, 16, 3)).astype("float32")
    np.save(tmp_path / "image.npy", image)
    small = {"depths": (1, 1), "widths": (16, 32), "stem_width": 16, "input_shape": (16, 16, 3), "classes": 3}
    models = {name: kr.build(name, **small) for name in ("resnet8", "resnet18v2")}
    for name, model in models.items():
        model.save(tmp_path / f"{name}.keras")
    script = """
import numpy as np
for name in sys.argv[1:]:
    model = keras.saving.load_model(f"{name}.keras", safe_mode=True)
    assert all(type(layer).__module__.startswith("keras.") for layer in model.layers)
    np.save(f"{name}.npy", model.predict_on_batch(np.load("image.npy")))
"""
    elsewhere(script, *models)
    for name, model in models.items():
        np.testing.assert_array_equal(np.load(tmp_path / f"{name}.npy"), model.predict_on_batch(image))
