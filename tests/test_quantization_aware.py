"""A network that trains with the rounding of its int8 file: what it computes, how it learns, and that a plain one comes out."""

import csv
import dataclasses
import shutil
from types import SimpleNamespace

import keras
import numpy as np
import pytest

import keras_resnet as kr
from keras_resnet import InputError
from keras_resnet.export import Target, export
from keras_resnet.files.model_file import ModelFile
from keras_resnet.recipes.named import fine_tuning
from keras_resnet.recipes.quantization_aware import (
    MOMENTUM,
    Mode,
    Range,
    ranges,
    release,
    round_kernels,
    rounded,
    simulate_integers,
)
from keras_resnet.training import checkpoint_files
from keras_resnet.training.callbacks import BestAndLast
from keras_resnet.training.distribute import Distribution
from keras_resnet.training.first_weights import FirstWeights, take_weights

AWARE = dataclasses.replace(fine_tuning(kr.RECIPES["digits"], quantization_aware=True), epochs=2)


def small(activation="relu"):
    """A network of every kind of layer that rounds, with weights and statistics that are not those of the start."""
    image = keras.Input((6, 6, 2))
    x = keras.layers.Rescaling(1 / 64, -2)(image)
    x = keras.layers.ZeroPadding2D()(x)
    x = keras.layers.Conv2D(4, 3, use_bias=False, name="conv")(x)
    x = keras.layers.BatchNormalization(name="norm")(x)
    start = keras.layers.Activation(activation)(x)
    x = keras.layers.Conv2D(4, 3, padding="same", name="biased")(start)
    x = keras.layers.BatchNormalization(name="biased_norm")(x)
    x = keras.layers.Add(name="sum")([start, x])
    x = keras.layers.BatchNormalization(name="alone")(x)
    x = keras.layers.Activation("relu", name="relu")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    model = keras.Model(image, keras.layers.Dense(3, name="logits")(x))
    generator = np.random.default_rng(1)
    model.set_weights(
        [generator.uniform(0.3, 1.2, weight.shape) * generator.choice((-1, 1), weight.shape) for weight in model.get_weights()]
    )
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.moving_variance.assign(np.abs(layer.moving_variance.numpy()))
    return model


def pixels(count=64, shape=(6, 6, 2)):
    return np.random.default_rng(0).integers(0, 256, (count, *shape)).astype("float32")


def on_grid(values, low, high):
    """NumPy: 256 values from `low` to `high`, moved so that zero is one of them."""
    low, high = min(low, 0), max(high, 0)
    step = (high - low) / 255
    zero = np.round(-low / step)
    return (np.clip(np.round(values / step) + zero, 0, 255) - zero) * step


def in_steps(kernel):
    """NumPy: each filter in 127 steps to either side."""
    step = np.abs(kernel).max(tuple(range(kernel.ndim - 1))) / 127
    return np.round(kernel / step) * step


def mapped(values):
    """NumPy: on a grid over all there is."""
    return on_grid(values, values.min(), values.max())


def convolved(images, kernel, bias):
    windows = np.lib.stride_tricks.sliding_window_view(images, kernel.shape[:2], (1, 2))
    return np.einsum("nhwcij,ijcf->nhwf", windows, kernel) + bias


def folded(model, norm):
    """Factor and offset of a normalisation."""
    gamma, beta, mean, variance = (weight.astype("float64") for weight in model.get_layer(norm).get_weights())
    factor = gamma / np.sqrt(variance + model.get_layer(norm).epsilon)
    return factor, beta - mean * factor


def test_computes_what_numpy_does():
    model, images = small(), pixels()
    weights = {layer.name: [weight.astype("float64") for weight in layer.get_weights()] for layer in model.layers}
    x = mapped(images.astype("float64") / 64 - 2)
    x = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    factor, offset = folded(model, "norm")
    start = mapped(np.maximum(convolved(x, in_steps(weights["conv"][0] * factor), offset), 0))
    factor, offset = folded(model, "biased_norm")
    x = np.pad(start, ((0, 0), (1, 1), (1, 1), (0, 0)))
    x = mapped(convolved(x, in_steps(weights["biased"][0] * factor), weights["biased"][1] * factor + offset))
    x = mapped(start + x)
    factor, offset = folded(model, "alone")
    x = mapped(np.maximum(mapped(x * mapped(factor)) + mapped(offset), 0))
    x = mapped(x.mean((1, 2)))
    expected = mapped(x @ in_steps(weights["logits"][0]) + weights["logits"][1])
    plain = model(images).numpy()
    simulate_integers(model)
    trained = model(images, training=True).numpy()  # the first batch sets the ranges
    step = (expected.max() - expected.min()) / 255
    np.testing.assert_allclose(trained, expected, atol=1.01 * step)  # a float32 may round to the other side
    assert (np.abs(trained - expected) < step / 100).mean() > 0.95
    np.testing.assert_array_equal(model(images).numpy(), trained)
    assert np.abs(plain - trained).max() > 3 * step


def beside_its_file(spec, data, folder, bits=8):
    """A network with statistics of `data`, its file with weights of so many bits, images, and what both of them give for those."""
    keras.utils.set_random_seed(0)
    model = kr.build(spec, input_shape=data.image_shape, classes=10)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.5
    for _ in range(10):  # statistics
        model(data.sample(256, "train").astype("float32"), training=True)
    images = data.sample(200, "test").astype("float32")
    target = Target("tflite", f"int{bits}", pixels="float32")
    [check] = export(model, targets=[target], data=data, out=folder, min_agreement=0, max_difference=1e9)
    plain, of_file = model(images).numpy(), ModelFile(folder / check.file)(images)
    simulate_integers(model, bits)
    model(data.sample(300).astype("float32"), training=True)  # the images that the ranges of the file come from
    return model, folder / check.file, images, plain, of_file


@pytest.mark.slow
@pytest.mark.parametrize(("network", "least"), [("resnet8", 0.9), ("resnet20", 0.8)])
def test_loses_what_its_file_does(network, least, digits, tmp_path):
    """Errors are as large, and what rounding of kernels moves, the mean of each class, moves alike.

    Single errors differ, as the ranges of the calibration images are almost those of the file, and not quite.
    """
    model, _, images, plain, of_file = beside_its_file(network, digits, tmp_path)
    error, error_of_file = model(images).numpy() - plain, of_file - plain
    assert np.abs(error).mean() == pytest.approx(np.abs(error_of_file).mean(), rel=0.2)
    assert np.corrcoef(error.mean(0), error_of_file.mean(0))[0, 1] > least


@pytest.mark.parametrize("bits", [8, 4])
def test_gives_the_numbers_of_its_file_in_the_ranges_of_its_file(bits, tiny, digits, tmp_path):
    """All but those that a float32 rounds to the other side."""
    from ai_edge_litert.interpreter import Interpreter

    model, file, images, plain, of_file = beside_its_file(tiny, digits, tmp_path, bits)
    grids = [
        (np.array([-128, 127]) - details["quantization_parameters"]["zero_points"]) * details["quantization_parameters"]["scales"]
        for details in Interpreter(str(file)).get_tensor_details()
        if len(details["quantization_parameters"]["scales"]) == 1 and details["dtype"] == np.int8
    ]
    for limits in ranges(model):
        low, high = limits.numpy()
        limits.assign(min(grids, key=lambda grid: np.abs(grid - (min(low, 0), max(high, 0))).max()))
    steps = np.abs(model(images).numpy() - of_file) / (np.ptp(ranges(model)[-1].numpy()) / 255)
    assert steps.max() < 1.01
    assert (steps < 0.01).mean() > 0.75
    assert np.abs(plain - of_file).mean() > 1.5 * np.abs(model(images).numpy() - of_file).mean()


def test_ranges_are_moving_averages():
    model = small()
    simulate_integers(model)
    first, second = pixels(), pixels()[:, ::-1] * 0.5
    model(first, training=True)
    begun = [limits.numpy() for limits in ranges(model)]
    np.testing.assert_allclose(begun[0], [first.min() / 64 - 2, first.max() / 64 - 2], rtol=1e-6)
    model(second)
    np.testing.assert_array_equal([limits.numpy() for limits in ranges(model)], begun)  # it learns in training only
    model(second, training=True)
    now = np.array([second.min() / 64 - 2, second.max() / 64 - 2])
    np.testing.assert_allclose(ranges(model)[0].numpy(), MOMENTUM * begun[0] + (1 - MOMENTUM) * now, rtol=1e-6)


def test_validation_has_the_ranges_that_were_learned():
    import tensorflow as tf

    model, plain = small(), small()
    for one in (model, plain):
        simulate_integers(one)
        one.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    model(pixels(), training=True)
    batches = tf.data.Dataset.from_tensors((pixels(), np.zeros(64, "int32")))
    data = SimpleNamespace(splits={"validation": pixels()}, validation=batches)
    callback = BestAndLast(model, plain, data, Distribution())
    callback.set_model(model)
    callback.on_epoch_end(0, {})
    for mine, learned in zip(ranges(plain), ranges(model), strict=True):
        assert np.ptp(learned.numpy()) > 0
        np.testing.assert_array_equal(mine.numpy(), learned.numpy())


def test_every_map_has_one_range():
    """Rescaling; ReLU of the first; the second normalisation; the sum; two of the one alone; pooling; logits."""
    model = small()
    simulate_integers(model)
    assert len(ranges(model)) == 8
    widened = small("sigmoid")  # which nothing is fused with: before and behind it
    simulate_integers(widened)
    assert len(ranges(widened)) == 9


def counted(layers, outputs=None, shape=(6, 6, 2)):
    image = keras.Input(shape)
    x = image
    for layer in layers:
        x = layer(x)
    model = keras.Model(image, x)
    simulate_integers(model)
    return len(ranges(model))


def test_what_a_file_does_at_once_has_one_range():
    """As many as TFLite has tensors with a scale of their own."""
    layers = keras.layers
    for relu in (layers.ReLU(), layers.ReLU(6.0), layers.Activation("relu"), layers.Activation("relu6")):
        assert counted([layers.Conv2D(2, 3), layers.BatchNormalization(), relu]) == 1
    assert counted([layers.Conv2D(2, 3), layers.ReLU(negative_slope=0.1)]) == 2
    assert counted([layers.Conv2D(2, 3, activation="relu"), layers.MaxPooling2D(), layers.Dropout(0.1), layers.Flatten()]) == 1
    assert counted([layers.Conv2D(2, 3, activation="sigmoid")]) == 2
    assert counted([layers.Dense(3), layers.Activation("relu")], shape=(5,)) == 1
    assert counted([layers.Dense(3), layers.Softmax()], shape=(5,)) == 1
    assert counted([layers.Dense(3), layers.Activation("softmax")], shape=(5,)) == 1
    assert counted([layers.Conv2D(2, 3, activation="relu"), layers.BatchNormalization()]) == 3  # nothing to fold into
    shared = layers.Conv2D(2, 3, padding="same")
    assert counted([shared, shared, layers.BatchNormalization()]) == 3
    shared = layers.Activation("relu")
    assert counted([layers.Conv2D(2, 3), shared, layers.Conv2D(2, 3), shared]) == 3


def test_only_what_is_in_the_model_is_folded():
    model = small()
    inner = keras.Model(model.input, model.get_layer("conv").output)
    images = pixels()
    plain = inner(images).numpy()
    simulate_integers(inner)
    assert np.abs(inner(images, training=True).numpy() - plain).max() < 0.05 * np.abs(plain).max()
    release(inner)
    simulate_integers(model)  # though its convolution feeds another model too
    assert len(ranges(model)) == 8


def test_layers_of_other_kinds_keep_what_they_do():
    class Doubled(keras.layers.Conv2D):
        def call(self, inputs):
            return 2 * super().call(inputs)

    image = keras.Input((6, 6, 2))
    for layer in (Doubled(3, 3), keras.layers.SeparableConv2D(3, 3)):
        model = keras.Model(image, layer(image))
        plain = model(pixels()).numpy()
        simulate_integers(model)
        assert np.abs(model(pixels(), training=True).numpy() - plain).max() < 0.02 * np.abs(plain).max()


def test_compiling_again_goes_on():
    """With and without integers, in any order, and before anything was learned."""
    model, images = small(), pixels()
    plain = model.predict(images, verbose=0)
    aware, usual = kr.Recipe(epochs=1, quantization_aware=True), kr.Recipe(epochs=1)
    aware.compile(model, 2)
    assert np.abs(model.predict(images, verbose=0) - plain).max() < 0.1 * np.abs(plain).max()  # kernels are rounded, maps not yet
    aware.compile(model, 2)
    assert len(ranges(model)) == 8
    usual.compile(model, 2)
    assert not ranges(model)
    np.testing.assert_array_equal(model.predict(images, verbose=0), plain)
    aware.compile(model, 2)
    release(model, keep_kernels=True)
    np.testing.assert_array_equal(model.predict(images, verbose=0), plain)


def test_gradients_pass_straight_through():
    """As if nothing were rounded; and not where a map is cut off at the ends of its range."""
    import tensorflow as tf

    generator = np.random.default_rng(0)
    kernel = tf.Variable(generator.normal(size=(3, 3, 2, 4)).astype("float32"))
    weights = generator.normal(size=(3, 3, 2, 4)).astype("float32")
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(rounded(kernel) * weights)
    np.testing.assert_array_equal(tape.gradient(loss, kernel), weights)
    limits = Range(Mode())
    limits.limits.assign([-1, 1.55])  # a hundredth is a step, and zero one of them
    values = tf.Variable(np.array([-1.2, -0.996, 0.004, 0.5, 1.6], "float32"))
    with tf.GradientTape() as tape:
        outputs = limits(values)
    np.testing.assert_allclose(outputs, [-1, -1, 0, 0.5, 1.55], atol=1e-6)
    np.testing.assert_array_equal(tape.gradient(outputs, values), [0, 1, 1, 1, 0])


def test_gradients_reach_what_is_folded():
    import tensorflow as tf

    model = small()
    simulate_integers(model)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(pixels(), training=True) ** 2)
    for variable, gradient in zip(model.trainable_variables, tape.gradient(loss, model.trainable_variables), strict=True):
        assert gradient is not None, variable.path
        assert np.abs(gradient).max() > 0, variable.path


def test_release_gives_the_plain_network_back():
    model, images = small(), pixels()
    plain = model.predict(images, verbose=0)
    simulate_integers(model)
    model(images, training=True)
    assert np.abs(model.predict(images, verbose=0) - plain).max() > 0.01
    release(model, keep_kernels=True)
    np.testing.assert_array_equal(model.predict(images, verbose=0), plain)
    assert not ranges(model)


@pytest.mark.parametrize("bits", [4, 8])
def test_release_keeps_what_was_learned(bits):
    """The plain network answers as the trained one, but for the rounding of activations, and rounding again changes nothing."""
    model, images = small(), pixels()
    plain = model.predict(images, verbose=0)
    simulate_integers(model, bits)
    model(images, training=True)
    trained = model.predict(images, verbose=0)
    release(model)
    released, weights = model.predict(images, verbose=0), model.get_weights()
    if bits == 4:
        assert np.abs(released - trained).max() < 0.3 * np.abs(plain - trained).max()
    simulate_integers(model, bits)
    release(model)
    for mine, before in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_allclose(mine, before, rtol=1e-5)
    kernels = [layer.kernel.numpy() for layer in model.layers if hasattr(layer, "kernel")]
    assert all(len(np.unique(kernel[..., 0])) <= 2**bits - 1 for kernel in kernels)


def test_a_model_of_ones_own_learns_and_saves_plainly(elsewhere, tmp_path):
    model = small()
    statistics = [layer.get_weights()[2:] for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    before = model.get_weights()
    recipe = kr.Recipe(epochs=3, learning_rate=0.01, quantization_aware=True)
    recipe.compile(model, steps_per_epoch=2)
    model.run_eagerly = True
    labels = (pixels().mean((1, 2, 3)) > 127).astype(int)
    history = model.fit(pixels(), labels, batch_size=32, epochs=3, callbacks=recipe.callbacks(), verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    assert any(np.abs(mine - theirs).max() > 0 for mine, theirs in zip(model.get_weights(), before, strict=True))
    after = [layer.get_weights()[2:] for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    np.testing.assert_array_equal(np.concatenate(statistics, axis=None), np.concatenate(after, axis=None))
    release(model)
    expected = model.predict(pixels(), verbose=0)
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "images.npy", pixels())
    elsewhere(
        "import numpy as np; model = keras.saving.load_model('model.keras'); "
        "np.save('answers.npy', model.predict(np.load('images.npy'), verbose=0))"
    )
    np.testing.assert_allclose(np.load(tmp_path / "answers.npy"), expected, atol=1e-5)


@pytest.fixture(scope="module")
def aware(small_run, digits, tmp_path_factory):
    """A training without interruption, and beside it what was on the disk before the checkpoint of step 49."""
    folder, write = tmp_path_factory.mktemp("aware"), checkpoint_files.write

    def copy_and_write(training, checkpoint):
        if checkpoint.step == 49:
            shutil.copytree(training, folder / "before-49")
        write(training, checkpoint)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint_files, "write", copy_and_write)
        return kr.fit(small_run.spec, AWARE, digits, folder / "run", init=small_run, checkpoint_every=7, verbose=0)


def history_of(run):
    return list(csv.DictReader((run.path / "history.csv").read_text().splitlines()))


def test_begins_where_the_run_ended_and_leaves_a_plain_one(small_run, aware, digits):
    assert aware.metrics["init"]
    assert aware.metrics["test"]["accuracy"] >= small_run.metrics["test"]["accuracy"] - 0.05
    mine, theirs = (kr.load(folder.model_path, compile=False) for folder in (aware, small_run))
    assert [layer.name for layer in mine.layers] == [layer.name for layer in theirs.layers]
    for layer in mine.layers:
        if isinstance(layer, keras.layers.BatchNormalization):  # as they were
            np.testing.assert_array_equal(layer.get_weights()[2:], theirs.get_layer(layer.name).get_weights()[2:])
    weights = mine.get_weights()
    round_kernels(mine, 8)  # they are rounded already
    for before, after in zip(weights, mine.get_weights(), strict=True):
        np.testing.assert_allclose(after, before, rtol=1e-5)
    mine.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    for split in ("validation", "test"):  # the metrics are those of the plain network, the history is that of the integers
        metrics = mine.evaluate(digits.batches(split), verbose=0, return_dict=True)
        assert {name: aware.metrics[split][name] for name in metrics} == pytest.approx(metrics, rel=1e-5)
    best = history_of(aware)[aware.metrics["kept_epoch"] - 1]
    assert float(best["val_accuracy"]) > small_run.metrics["validation"]["accuracy"] - 0.05
    assert float(best["val_loss"]) != pytest.approx(aware.metrics["validation"]["loss"], rel=1e-5)


def test_goes_on_bit_for_bit(small_run, aware, digits, tmp_path):
    settings = {"init": small_run, "checkpoint_every": 7, "verbose": 0, "resume": True}
    shutil.copytree(aware.path.with_name("before-49"), checkpoint_files.folder_of(tmp_path / "run"))
    again = kr.fit(small_run.spec, AWARE, digits, tmp_path / "run", **settings)
    last = [kr.build(small_run.spec), kr.build(small_run.spec)]
    for model, folder in zip(last, (again, aware), strict=True):
        model.load_weights(folder.path / "last.weights.h5")
    for mine, theirs in zip(*(model.get_weights() for model in last), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    mine, theirs = (history_of(folder) for folder in (again, aware))
    assert [row["val_loss"] for row in mine] == [row["val_loss"] for row in theirs]
    assert kr.fit(small_run.spec, AWARE, digits, tmp_path / "run", **settings).path == again.path
    with pytest.raises(InputError, match="has another first weights: init="):
        kr.fit(small_run.spec, AWARE, digits, tmp_path / "run", **{**settings, "init": aware})


@pytest.mark.parametrize("activation", [None, "softmax"])
@pytest.mark.parametrize("names", [["a", "b", "c"], list("abcdefghij")])
def test_transfer_to_other_classes(small_run, names, activation):
    model = kr.build(small_run.spec, classes=len(names), classifier_activation=activation)
    fresh = model.get_layer("logits").get_weights()
    assert take_weights(model, FirstWeights.of(small_run), names) == "logits"
    trained = kr.load(small_run.model_path)
    for layer in model.layers:
        if layer.weights and layer.name != "logits":
            for mine, theirs in zip(layer.get_weights(), trained.get_layer(layer.name).get_weights(), strict=True):
                np.testing.assert_array_equal(mine, theirs)
    np.testing.assert_array_equal(model.get_layer("logits").get_weights()[0], fresh[0])


def test_the_classifier_goes_on_where_the_classes_are_the_same(small_run):
    model = kr.build(small_run.spec)
    assert not take_weights(model, FirstWeights.of(small_run), small_run.class_names)
    for mine, trained in zip(model.get_weights(), kr.load(small_run.model_path).get_weights(), strict=True):
        np.testing.assert_array_equal(mine, trained)


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("resnet20", r"layer 'stage1_block2_conv1' is missing there"),
        (
            dataclasses.replace(kr.SPECS["resnet8"], depths=(1,), widths=(16,), stem_width=8),
            r"layer 'stem_conv' has shapes \[\(3, 3, 1, 16\)\] there and \[\(3, 3, 1, 8\)\]",
        ),
    ],
)
def test_a_run_of_another_network_is_refused(small_run, digits, tmp_path, spec, reason):
    with pytest.raises(InputError, match=rf"does not fit this network: {reason}"):
        kr.fit(spec, AWARE, digits, tmp_path / "run", init=small_run)
    assert not (tmp_path / "run").exists()


def test_a_run_of_more_layers_is_refused(small_run):
    first = FirstWeights.of(small_run)
    first.arrays["stage1_block2_conv1/kernel"] = np.zeros((3, 3, 4, 4))
    with pytest.raises(InputError, match="does not fit this network: layer 'stage1_block2_conv1' is missing here"):
        take_weights(kr.build(small_run.spec), first, small_run.class_names)


def test_fine_tuning_computes_as_integers_need_it():
    """Whatever the run was trained with."""
    recipe = kr.Recipe(learning_rate=0.2, precision="bfloat16", remat=True, progressive=(0.5, 1), mixup=0.1)
    further = fine_tuning(recipe, quantization_aware=True)
    assert (further.precision, further.remat, further.progressive, further.mixup) == ("float32", False, (), 0.1)
    assert further.learning_rate == pytest.approx(0.002)
    assert fine_tuning(recipe).precision == "bfloat16"


def test_refusals(digits, tmp_path):
    with pytest.raises(InputError, match="needs a trained network"):
        kr.fit("resnet8", AWARE, digits, tmp_path / "run")
    with pytest.raises(
        InputError,
        match=r"quantization_aware=true needs precision='float32' and remat=false: received precision='bfloat16', remat=false",
    ):
        kr.Recipe(quantization_aware=True, precision="bfloat16")
    with pytest.raises(InputError, match="remat=true"):
        kr.Recipe(quantization_aware=True, remat=True)
    with pytest.raises(InputError, match="weight_bits=5: expected 4 or 8"):
        kr.Recipe(quantization_aware=True, weight_bits=5)
    with pytest.raises(InputError, match=r"weight_bits=4 goes with quantization_aware=true \(--quantization-aware\)"):
        kr.Recipe(weight_bits=4)
    model = small()
    simulate_integers(model)
    with pytest.raises(InputError, match="is in quantisation-aware training already"):
        simulate_integers(model)
    with pytest.raises(InputError, match=r"is in quantisation-aware training: call keras_resnet.quantization.release\(model\)"):
        kr.export.tflite(model, data=digits, out=tmp_path)
    with pytest.raises(InputError, match="does not support remat=True: build the model without it"):
        simulate_integers(kr.build("resnet8", remat=True))

    class Own(keras.Model):
        pass

    with pytest.raises(InputError, match="takes functional and sequential models"):
        simulate_integers(Own())
    lower = kr.build("resnet8", input_shape=(8, 8, 1), dtype="mixed_bfloat16")
    with pytest.raises(InputError, match="needs a float32 model, but this one computes in bfloat16"):
        simulate_integers(lower)


@pytest.mark.parametrize(
    "fields", [{"activation_order": "full_preactivation"}, {"squeeze": 4}, {"stem": "deep", "activation": "silu"}]
)
def test_other_networks(fields):
    """Whatever is in them: integers move the outputs a little, and not much."""
    model = kr.build("resnet20", depths=(1, 1, 1), classes=10, input_shape=(16, 16, 3), **fields)
    images = pixels(16, (16, 16, 3))
    model(images, training=True)  # statistics
    plain = model(images).numpy()
    simulate_integers(model)
    integer = model(images, training=True).numpy()
    assert 0 < np.abs(integer - plain).mean() < 0.1 * np.abs(plain).max()
