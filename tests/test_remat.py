"""`build(..., remat=True)`: the same training in less memory. That every combination of fields trains alike: test_combinations."""

import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_resnet as kr

SMALL = {"depths": (2, 2), "widths": (8, 16), "stem_width": 8, "input_shape": (8, 8, 1), "classes": 3}
IMAGES = np.random.default_rng(0).uniform(0, 255, (6, 8, 8, 1)).astype("float32")
LABELS = np.arange(6) % 3


def trained(steps=3, *, freeze=None, jit_compile=False, eager=False, **fields):
    keras.utils.set_random_seed(4)
    model = kr.build("resnet20", **SMALL | fields)
    if freeze:
        model.get_layer(freeze).trainable = False
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.05), loss, jit_compile=jit_compile, run_eagerly=eager)
    shape = (6, *model.input_shape[1:])
    images = np.resize(IMAGES, shape)
    losses = [model.train_on_batch(images, LABELS) for _ in range(steps)]
    return model, losses


@pytest.mark.parametrize(
    "fields",
    [
        {},
        pytest.param({"stochastic_depth": 0.5, "branch_dropout": 0.3}, marks=pytest.mark.slow),  # see test_backends
        pytest.param({"activation_order": "full_preactivation", "squeeze": 4}, marks=pytest.mark.slow),
        # A frozen normalisation takes and keeps its moving statistics.
        pytest.param({"freeze": "stage1_block2_norm1"}, marks=pytest.mark.slow),
        pytest.param({"freeze": "stage2_block2_conv1"}, marks=pytest.mark.slow),
        pytest.param({"input_shape": (8, 8, 8, 1), "shortcut": "projection"}, marks=pytest.mark.slow),
        pytest.param({"input_shape": (8, 1), "channel_attention": True}, marks=pytest.mark.slow),
        # Two units that differ in nothing but the channels that come in:
        {"block": "single", "depths": (1, 1), "widths": (16, 16), "output_stride": 1, "shortcut": "projection_everywhere"},
    ],
    ids=str,
)
def test_trains_as_the_plain_model_does(fields):
    plain, expected = trained(eager=True, **fields)
    recomputed, losses = trained(remat=True, **fields)
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
    for one, other in zip(recomputed.variables, plain.variables, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4, err_msg=one.path)


def test_layers_of_a_unit_run_again_for_the_backward_pass():
    calls = {}
    for remat in (False, True):
        model = kr.build("resnet20", **SMALL, remat=remat)
        for name in ("stem_conv", "stage2_block1_conv1"):
            layer = model.get_layer(name)
            layer.call = counted(layer.call, calls, (remat, name))
        model.compile("sgd", "mse", run_eagerly=True)
        model.train_on_batch(IMAGES, np.eye(3)[LABELS])
    assert calls == {
        (False, "stem_conv"): 1,
        (False, "stage2_block1_conv1"): 1,
        (True, "stem_conv"): 1,
        (True, "stage2_block1_conv1"): 2,
    }


def counted(function, calls, key):
    def call(*values, **settings):
        calls[key] = calls.get(key, 0) + 1
        return function(*values, **settings)

    return call


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read from /proc")
def test_takes_less_memory(forked, tmp_path):
    script = """
import os, re, sys
from pathlib import Path
os.environ.pop("TF_NUM_INTEROP_THREADS", None)  # one thread keeps more
import keras, numpy as np, keras_resnet as kr

def peak():  # getrusage would begin with the peak of the parent
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

model = kr.build("resnet20", depths=(27,), widths=(16,), remat=sys.argv[1] == "True")
model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
images = np.zeros((128, 32, 32, 3), "float32")
before = peak()
model.train_on_batch(images, np.zeros(128))
print(peak() - before)
"""
    peaks = {}
    for remat in (False, True):
        output = tmp_path / f"{remat}.txt"
        with output.open("wb") as file, forked([sys.executable, "-c", script, str(remat)], stdout=file, stderr=file) as process:
            assert process.wait() == 0, output.read_text()[-2000:]
        peaks[remat] = int(output.read_text().split()[-1])
    assert peaks[True] < 0.6 * peaks[False], peaks


def test_cost_tells_what_is_saved():
    cost = kr.cost_of("resnet110")
    assert cost.remat_memory < 0.3 * cost.training_memory
    assert cost.training_bytes(64, remat=True) < cost.training_bytes(64)


@pytest.mark.parametrize("features", [(4, 2), (2, 4), (1, 3)])
def test_features_train_alike(features):
    fields = {"features": features, "include_top": False, "activation_order": "full_preactivation", "depths": (1, 1, 1)}
    fields["widths"] = (16, 16, 16)
    keras.utils.set_random_seed(1)
    plain = kr.build("resnet20", **SMALL | fields)
    recomputed = kr.build("resnet20", remat=True, **SMALL | fields)
    recomputed.set_weights(plain.get_weights())
    for training in (False, True):
        expected, maps = plain(IMAGES, training=training), recomputed(IMAGES, training=training)
        assert list(maps) == list(expected) == [f"C{level}" for level in features]
        for level in maps:
            np.testing.assert_allclose(maps[level], expected[level], rtol=1e-5, atol=1e-5)


def test_inputs_may_come_in_every_form_that_a_functional_model_takes():
    model = kr.build("resnet20", **SMALL, remat=True)
    expected = model(IMAGES, training=True)
    more = {"image": IMAGES, "other": LABELS}
    for inputs in ([IMAGES], {"image": IMAGES}, more, IMAGES[..., 0], IMAGES[..., None], IMAGES.astype("float64")):
        np.testing.assert_allclose(model(inputs, training=True), expected, rtol=1e-5, atol=1e-5)


def test_file_is_that_of_a_plain_model(tmp_path):
    model, _ = trained(remat=True, steps=1, eager=True)
    assert [layer.name for layer in model.layers] == [layer.name for layer in kr.build("resnet20", **SMALL).layers]
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(loaded.predict_on_batch(IMAGES), model.predict_on_batch(IMAGES))
    loaded.train_on_batch(IMAGES, LABELS)


@pytest.mark.slow
def test_losses_of_layers_count():
    losses = []
    for remat in (False, True):
        keras.utils.set_random_seed(4)
        model = kr.build("resnet20", **SMALL, remat=remat)
        model.get_layer("stage2_block1_out").activity_regularizer = keras.regularizers.L2(1.0)
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        losses.append([model.train_on_batch(IMAGES, LABELS) for _ in range(2)])
    assert losses[0][0] > 5  # without the regulariser about 1
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)


@pytest.mark.slow
def test_several_devices(forked, tmp_path):
    """Equal units must not share a function here: gradients of one replica would be lost."""
    script = """
import warnings
warnings.simplefilter("error", UserWarning)
import tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
import keras, numpy as np, keras_resnet as kr
images = np.random.default_rng(0).uniform(0, 255, (16, 8, 8, 1)).astype("float32")
batches = tf.data.Dataset.from_tensor_slices((images, np.arange(16) % 3)).batch(8)
losses = []
for remat in (False, True):
    keras.utils.set_random_seed(0)
    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        model = kr.build("resnet20", depths=(3,), widths=(8,), stem_width=8, input_shape=(8, 8, 1), classes=3, remat=remat)
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    losses.append(model.fit(batches, epochs=2, shuffle=False, verbose=0).history["loss"])
np.testing.assert_allclose(losses[1], losses[0], rtol=1e-3)
"""
    output = tmp_path / "output.txt"
    with output.open("wb") as file, forked([sys.executable, "-c", script], stdout=file, stderr=file) as process:
        assert process.wait() == 0, output.read_text()[-2000:]


@pytest.mark.slow
def test_mixed_precision():
    _, expected = trained(eager=True, dtype="mixed_bfloat16")
    _, losses = trained(remat=True, dtype="mixed_bfloat16")
    np.testing.assert_allclose(losses, expected, rtol=2e-2)


@pytest.mark.slow
def test_compiled_with_xla():
    _, expected = trained(depths=(1, 1), stochastic_depth=0.5, jit_compile=True)
    _, losses = trained(depths=(1, 1), stochastic_depth=0.5, jit_compile=True, remat=True)
    np.testing.assert_allclose(losses, expected, rtol=1e-3)
