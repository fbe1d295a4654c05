"""What makes depth possible: sums that carry signals and gradients, and graphs of a thousand layers at the default limits."""

import inspect
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest

import keras_resnet as kr

STAGE = {"depths": (1, 5), "widths": (8, 16), "stem_width": 8, "input_shape": (8, 8, 3), "activation_order": "full_preactivation"}
IMAGES = np.random.default_rng(0).uniform(0, 255, (4, 8, 8, 3)).astype("float32")


def stage(block):
    """Input of the identity units of stage 2, the branches, and the output."""
    model = kr.build("resnet20", block=block, **STAGE)
    sums = [model.get_layer(f"stage2_block{number}_add") for number in range(1, 6)]
    entering, branches = sums[0].output, [layer.input[1] for layer in sums[1:]]
    return keras.Model(model.input, [entering, *branches, sums[-1].output]), keras.Model(entering, [*branches, sums[-1].output])


@pytest.mark.parametrize("block", ["basic", "bottleneck", "single"])
@pytest.mark.parametrize("training", [False, True])
def test_output_of_a_stage_is_its_input_and_the_sum_of_the_branches(block, training):
    """arXiv:1603.05027 eq. 4: x_L = x_l + sum of F(x_i)."""
    entering, *branches, leaving = map(np.asarray, stage(block)[0](IMAGES, training=training))
    assert len(branches) == 4
    assert all(np.abs(branch).max() > 0.1 for branch in branches)
    np.testing.assert_allclose(leaving - np.sum(branches, axis=0), entering, atol=1e-4)


def test_gradient_reaches_the_input_of_a_stage_undiminished():
    """arXiv:1603.05027 eq. 5: the gradient at x_l is the one at x_L, and what comes through the branches."""
    import tensorflow as tf

    whole, from_input = stage("basic")
    x = tf.constant(whole(IMAGES)[0])
    weights = tf.constant(np.random.default_rng(1).normal(size=x.shape).astype("float32"))  # the gradient at x_L
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        *branches, leaving = from_input(x)
        loss, through_branches = tf.reduce_sum(weights * leaving), tf.reduce_sum(weights * tf.add_n(branches))
    at_input, from_branches = tape.gradient(loss, x), tape.gradient(through_branches, x)
    assert np.abs(from_branches).max() > 0.1
    np.testing.assert_allclose(at_input, weights + from_branches, atol=1e-4)


@pytest.mark.slow
def test_a_chain_of_more_layers_than_the_recursion_limit_allows(tmp_path):
    """127 layers one behind another, and room for 110 calls: a thousand layers at the default limit, in small."""
    chain = {"shortcut": "none", "widths": (4,), "stem_width": 4, "input_shape": (8, 8, 1)}
    kr.build("resnet20", depths=(1,), **chain).save(tmp_path / "short.keras")
    kr.load(tmp_path / "short.keras")  # imports what else would be imported, many calls deep, at the low limit
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(limit := len(inspect.stack(0)) + 110)
    try:
        model = kr.build("resnet20", depths=(20,), **chain)
        model.save(tmp_path / "model.keras")
        with pytest.raises(RecursionError):  # where Keras alone can do it, `deep_recursion` has had its day
            keras.saving.load_model(tmp_path / "model.keras")
        loaded = kr.load(tmp_path / "model.keras", compile=False)
        assert sys.getrecursionlimit() == limit
    finally:
        sys.setrecursionlimit(before)
    assert [layer.name for layer in loaded.layers] == [layer.name for layer in model.layers]
    for one, other in zip(loaded.weights, model.weights, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet1202", "resnet1001v2"])
def test_a_thousand_layers_at_the_default_recursion_limit(name, tmp_path):
    script = f"""
import sys, keras_resnet as kr, numpy as np
assert sys.getrecursionlimit() == 1000
m = kr.build({name!r}, input_shape=(32,32,3), classes=10); m.save('m.keras')
loaded = kr.load('m.keras', compile=False)
assert sys.getrecursionlimit() == 1000
assert [layer.name for layer in loaded.layers] == [layer.name for layer in m.layers]
for one, other in zip(loaded.weights, m.weights):
    np.testing.assert_array_equal(one, other)
print(loaded.count_params())
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True, capture_output=True, text=True)
    cost = kr.cost_of(name)
    assert int(done.stdout.split()[-1]) == cost.trainable + cost.non_trainable


def test_the_recursion_limit_comes_back_after_an_error(tmp_path):
    before = sys.getrecursionlimit()
    with zipfile.ZipFile(tmp_path / "other.keras", "w") as archive:
        archive.writestr("labels.txt", "none")
    with pytest.raises(kr.InputError, match=r"other.keras' cannot be opened, it may be damaged: ."):
        kr.load(tmp_path / "other.keras")
    assert sys.getrecursionlimit() == before
