import dataclasses
import json

import keras
import numpy as np
import pytest

import keras_resnet as kr
from keras_resnet import RECIPES, Diverged, InputError, Recipe, ResNetSpec
from keras_resnet.fields import from_json, names, to_json
from keras_resnet.recipes import PROTOCOLS, for_images, hyperrule, resolve
from keras_resnet.recipes.automatic import FEWEST_STEPS
from keras_resnet.recipes.words import in_words


def test_rows_have_evidence_and_survive_json():
    for row in PROTOCOLS.values():
        assert row.source
        assert not row.differs.endswith(".")
        assert "%" in row.evidence or row.evidence == "not run here"
        assert from_json(Recipe, to_json(row.recipe)) == row.recipe


def test_no_field_is_in_both_network_and_recipe():
    """So that `--set field=value` is never ambiguous."""
    assert not set(names(Recipe)) & set(names(ResNetSpec))


@pytest.mark.parametrize("count", [6, 36, 192, 1000, 2500, 45_000])
@pytest.mark.parametrize("side", [8, 64, 224])
def test_the_recipe_follows_from_number_and_size_of_the_images(count, side):
    recipe = for_images(count, (side, side, 3), source="some/folder", class_names=["cat", "dog"])
    steps_per_epoch = -(-count // recipe.batch_size)
    assert recipe.epochs * steps_per_epoch >= (FEWEST_STEPS if count >= 12 else 200)
    assert steps_per_epoch >= min(8, count // 8)
    assert recipe.crop == side / 8
    assert recipe.flip
    usual = RECIPES["cifar-30"]
    is_gentle = recipe.ema > 0 and recipe.learning_rate <= usual.learning_rate / 2  # else the loss of small sets rises
    assert is_gentle == (count < 2000)
    assert recipe.learning_rate_batch == usual.learning_rate_batch
    quarter = dataclasses.replace(recipe, batch_size=recipe.batch_size * 4)
    assert quarter.peak_learning_rate == pytest.approx(4 * recipe.peak_learning_rate)


def test_the_recipe_follows_from_the_kind_of_the_images():
    assert for_images(45_000, (32, 32, 3), class_names=["cat", "dog"]) == RECIPES["cifar-30"]
    assert for_images(1149, (8, 8, 1), source="digits") == RECIPES["digits"]
    assert not for_images(5000, (28, 28, 1), source="mnist", class_names=list("0123456789")).flip
    assert not for_images(5000, (28, 28, 1), class_names=["a", "b"]).flip
    signal = for_images(500, (4096, 2), class_names=["calm", "loud"])
    assert (signal.crop, signal.flip) == (0, False)


def test_a_recipe_in_words():
    words = in_words(Recipe(batch_size=16, learning_rate=0.4, learning_rate_batch=128, crop=8))
    assert words == (
        "30 epochs in batches of 16; SGD, learning rate up to 0.05 over 20 % of the steps, then a cosine to zero; "
        "images shifted by up to 8 pixels, mirrored"
    )
    assert in_words(Recipe(class_weight={"cat": 5, "dog": 1})).endswith("; classes weighted by cat=5, dog=1")
    assert in_words(Recipe(class_weight="balanced")).endswith("; classes weighted so that each counts as much")
    for name, recipe in RECIPES.items():
        assert in_words(recipe), name


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"epochs": 0}, "epochs=0: must be at least 1"),
        ({"progressive": (1.0, 0.5)}, "must be shares above 0 in rising order, the last of them 1"),
        ({"progressive": (0.5, 0.75)}, "must be shares above 0 in rising order, the last of them 1"),
        ({"learning_rate": -1}, "learning_rate=-1.0: must not be negative"),
        ({"clip_norm": 0}, "clip_norm=0.0: must be above 0"),
        ({"warmup": 1}, "warmup=1.0: must be at least 0 and below 1"),
        ({"learning_rate": "NaN"}, "learning_rate='NaN': expected a number"),
        ({"milestones": (0.7, 0.5)}, "in rising order"),
        ({"schedule": "step", "warmup": 0.5}, "must come after warmup=0.5"),
        ({"schedule": "cosin"}, "no schedule named 'cosin'; did you mean 'cosine'"),
        ({"crop_edges": "zeros"}, "no crop_edges named 'zeros'; did you mean 'zero'"),
        ({"decay": "kernel"}, "no decay named 'kernel'; did you mean 'kernels'"),
        ({"epoch": 3}, "no Recipe field named 'epoch'; did you mean 'epochs'"),
    ],
)
def test_an_illegal_field_is_refused(fields, message):
    with pytest.raises(InputError, match=message):
        resolve("cifar-30", **fields)
    with pytest.raises(InputError, match="no recipe named 'cifar30'; did you mean 'cifar-30'"):
        resolve("cifar30")


def rates(**fields):
    schedule = Recipe(**fields).make_schedule(100)
    return [float(schedule(step)) for step in range(101)]


def test_cosine_rises_to_the_peak_and_falls_to_zero():
    values = rates(schedule="cosine", learning_rate=0.4, warmup=0.2)
    assert values[0] == pytest.approx(0.004)
    assert values[20] == max(values) == pytest.approx(0.4)
    assert values[60] == pytest.approx(0.2)  # halfway down
    assert values[100] == pytest.approx(0, abs=1e-8)
    assert rates(schedule="cosine", learning_rate=0.4, warmup=0)[0] == pytest.approx(0.4)


def test_step_divides_by_ten_at_each_milestone():
    fields = {"warmup": 0.1, "warmup_shape": "constant", "warmup_start": 0.1, "milestones": (0.5, 0.75)}
    values = rates(schedule="step", learning_rate=1, **fields)
    assert [values[step] for step in (0, 9, 10, 49, 50, 74, 75, 99)] == pytest.approx([0.1, 0.1, 1, 1, 0.1, 0.1, 0.01, 0.01])
    assert rates(schedule="constant", learning_rate=1, warmup=0) == pytest.approx([1] * 101)
    assert rates(schedule="step", learning_rate=1, warmup=0, milestones=(0.5,))[:50] == pytest.approx([1] * 50)


def test_a_line_up_and_a_line_down():
    values = rates(schedule="linear", learning_rate=1, warmup=0.4, warmup_start=0.1)
    assert [values[step] for step in (0, 20, 40, 70, 100)] == pytest.approx([0.1, 0.55, 1, 0.5, 0], abs=1e-6)
    values = rates(schedule="step", learning_rate=1, warmup=0.1, warmup_start=0, milestones=(0.5,))
    assert [values[step] for step in (0, 5, 10, 49, 50)] == pytest.approx([0, 0.5, 1, 1, 0.1])


def test_learning_rate_grows_with_the_batch():
    recipe = resolve("goyal-2017")
    assert recipe.learning_rate == 0.1
    assert recipe.peak_learning_rate == pytest.approx(3.2)  # arXiv:1706.02677
    assert resolve("goyal-2017", batch_size=512, accumulate=16).peak_learning_rate == pytest.approx(3.2)
    assert max(float(recipe.make_schedule(900)(step)) for step in range(0, 900, 10)) == pytest.approx(3.2)


@pytest.mark.parametrize(
    ("images", "steps", "warmup", "drops", "mixup"),
    [
        (100, 500, 100, (200, 300, 400), 0),
        (5000, 500, 100, (200, 300, 400), 0),
        (50_000, 10_000, 500, (3000, 6000, 9000), 0.1),
        (1_281_167, 20_000, 500, (6000, 12_000, 18_000), 0.1),
    ],
)
def test_hyperrule(images, steps, warmup, drops, mixup):
    recipe = hyperrule(images)
    assert recipe.epochs * images / min(512, images) == pytest.approx(steps, rel=0.07)  # whole epochs
    assert recipe.warmup * steps == pytest.approx(warmup)
    assert [share * steps for share in recipe.milestones] == pytest.approx(drops)
    assert recipe.mixup == mixup
    assert recipe.peak_learning_rate == pytest.approx(3e-3)


@pytest.mark.parametrize("from_logits", [True, False])
def test_losses(from_logits):
    """Against the formulas, in NumPy."""
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(6, 4))
    labels = np.eye(4)[[0, 1, 2, 3, 0, 1]] * 0.7 + np.eye(4)[[1, 2, 3, 0, 2, 0]] * 0.3
    softmax = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    smoothed = 0.9 * labels + 0.1 / 4
    outputs = logits if from_logits else softmax
    found = Recipe(label_smoothing=0.1).make_loss(from_logits=from_logits)(labels, outputs)
    assert float(found) == pytest.approx(-(smoothed * np.log(softmax)).sum(1).mean(), rel=1e-5)
    share = 1 / (1 + np.exp(-logits)) if from_logits else softmax
    present = 0.9 * (labels > 0) + 0.1 / 4
    expected = -(present * np.log(share) + (1 - present) * np.log(1 - share)).mean()
    assert float(Recipe(label_smoothing=0.1, loss="binary").make_loss(from_logits=from_logits)(labels, outputs)) == pytest.approx(
        expected, rel=1e-5
    )
    integers = labels.argmax(1)
    found = Recipe().make_loss(from_logits=from_logits)(integers, outputs)
    assert float(found) == pytest.approx(-np.log(softmax[range(6), integers]).mean(), rel=1e-5)


# What the sources print, in their own terms. A schedule is {first step or epoch of a rate: rate}, in steps for CIFAR.
HE = {
    "images": 45_000,
    "batch": 128,
    "steps": 64_000,
    "rates": {0: 0.1, 32_000: 0.01, 48_000: 0.001},
    "momentum": (0.9, "plain"),
    "decay": (1e-4, "all"),  # Caffe's, which has no exceptions unless a layer is given one
    "crop": "4 zeros on each side",
}
FACEBOOK = {"images": 1_281_167, "momentum": (0.9, "nesterov"), "decay": (1e-4, "kernels"), "crop": "8 % to 100 % of the area"}
STRIKES_BACK = FACEBOOK | {"batch": 2048, "momentum": None, "loss": "binary", "cutmix": 1.0, "clip": 1.0, "warmup_epochs": 5}
PAPERS = {
    "he-2015": HE,
    "he-2015-warmup": HE | {"rates": {0: 0.01, 400: 0.1, 32_000: 0.01, 48_000: 0.001}},
    "he-2016": HE | {"images": 50_000, "rates": {0: 0.01, 400: 0.1, 32_000: 0.01, 48_000: 0.001}},
    "goyal-2017": FACEBOOK
    | {"batch": 8192, "epochs": 90, "warmup_epochs": 5, "rates": {0: 0.1, 5: 3.2, 30: 0.32, 60: 0.032, 80: 0.0032}},
    "bag-of-tricks": FACEBOOK | {"batch": 1024, "epochs": 200, "warmup_epochs": 5, "peak": 0.4, "smoothing": 0.1, "mixup": 0.2},
    "strikes-back-a1": STRIKES_BACK
    | {"epochs": 600, "peak": 5e-3, "decay": (0.01, "kernels"), "smoothing": 0.1, "mixup": 0.2, "randaugment": 7, "repeats": 3},
    "strikes-back-a2": STRIKES_BACK
    | {"epochs": 300, "peak": 5e-3, "decay": (0.02, "kernels"), "mixup": 0.1, "randaugment": 7, "repeats": 3},
    "strikes-back-a3": STRIKES_BACK | {"epochs": 100, "peak": 8e-3, "decay": (0.02, "kernels"), "mixup": 0.1, "randaugment": 6},
    "resnet-rs": FACEBOOK
    | {"batch": 4096, "epochs": 350, "warmup_epochs": 5, "peak": 1.6, "decay": (4e-5, "kernels")}
    | {"smoothing": 0.1, "randaugment": 10, "average": 0.9999},
    "bit-hyperrule": {"batch": 512, "steps": 500, "momentum": (0.9, "plain"), "decay": (0, "kernels"), "images": 10_000}
    | {"rates": {0: 0, 100: 3e-3, 200: 3e-4, 300: 3e-5, 400: 3e-6}, "crop": "4 pixels"},
}
CROPS = {
    "4 zeros on each side": {"crop": 4, "crop_edges": "zero", "resized_crop": None},
    "8 % to 100 % of the area": {"crop": 0, "resized_crop": 0.08},
    "4 pixels": {"crop": 4},  # the row says that it differs
}


@pytest.mark.parametrize("name", PAPERS)
def test_rows_are_what_the_papers_print(name):
    recipe, row, paper = RECIPES[name], PROTOCOLS[name], PAPERS[name]
    assert (row.images, recipe.batch_size) == (paper["images"], paper["batch"])
    steps = round(recipe.epochs * row.images / recipe.batch_size)
    if "epochs" in paper:
        assert recipe.epochs == paper["epochs"]
    else:
        assert steps == pytest.approx(paper["steps"], abs=row.images / recipe.batch_size)  # in whole epochs
    optimizer = recipe.make_optimizer(1000)
    assert optimizer.global_clipnorm == paper.get("clip")
    if paper["momentum"]:
        amount, kind = paper["momentum"]
        assert (optimizer.momentum, optimizer.nesterov) == (amount, kind == "nesterov")
    else:
        assert type(optimizer).__module__ == "keras_resnet.recipes.lamb"
    assert (recipe.weight_decay, recipe.decay) == paper["decay"]
    assert CROPS[paper["crop"]].items() <= dataclasses.asdict(recipe).items()
    assert recipe.flip
    strength = recipe.magnitude if recipe.augment == "randaugment" else None
    found = (recipe.loss, recipe.label_smoothing, recipe.mixup, recipe.cutmix, recipe.repeats, recipe.ema, strength)
    names = {"loss": "softmax", "smoothing": 0, "mixup": 0, "cutmix": 0, "repeats": 1, "average": 0, "randaugment": None}
    assert found == tuple(paper.get(name, default) for name, default in names.items())
    assert row.differs.count(".") < 8
    assert row.differs


@pytest.mark.parametrize("name", PAPERS)
def test_learning_rates_are_those_of_the_papers(name):
    """In the middle of each part of a step schedule, and at the start and the peak of the others."""
    recipe, paper = RECIPES[name], PAPERS[name]
    total = paper.get("steps") or 1000 * paper["epochs"]
    schedule, each = recipe.make_schedule(total), total // (paper.get("epochs") or total)
    warmup = paper.get("warmup_epochs", 0) * each
    if "peak" in paper:
        assert recipe.schedule == "cosine"
        expected = {0: 0, warmup: paper["peak"], (total + warmup) // 2: paper["peak"] / 2, total: 0}
    else:
        ends = [*(start * each for start in paper["rates"]), total]
        expected = {(ends[i] + ends[i + 1]) // 2: rate for i, rate in enumerate(paper["rates"].values())}
        rising = name in ("goyal-2017", "bit-hyperrule")  # a line, where the others stay
        expected |= {ends[1] // 2: sum(list(paper["rates"].values())[:2]) / 2} if rising else {}
    for step, rate in expected.items():
        assert float(schedule(step)) == pytest.approx(rate, rel=1e-4, abs=1e-8), step


def test_runs_of_before_open():
    """Their recipes lack fields that are new."""
    values = json.loads(to_json(RECIPES["digits"]))
    for name in ("nesterov", "decay", "crop_edges"):
        del values[name]
    assert from_json(Recipe, json.dumps(values)) == RECIPES["digits"]


def test_steps_that_only_accumulate_are_steps_of_the_schedule():
    model = dense_model()
    recipe = Recipe(epochs=4, accumulate=5, schedule="linear", warmup=0, learning_rate=1, ema=0.9)
    recipe.compile(model, steps_per_epoch=10)
    model.fit(keras.ops.ones((20, 3)), keras.ops.zeros(20), batch_size=2, epochs=2, verbose=0)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.5)
    assert model.optimizer.gradient_accumulation_steps == 5
    assert model.optimizer.ema_momentum**5 == pytest.approx(0.9)


def test_what_the_optimizer_is_told():
    sgd = Recipe(ema=0.95).make_optimizer(10)
    assert sgd.nesterov is True
    assert not Recipe(nesterov=False).make_optimizer(10).nesterov
    assert sgd.momentum == 0.9
    assert (sgd.use_ema, sgd.ema_momentum) == (True, 0.95)
    assert not Recipe(momentum=0).make_optimizer(10).nesterov
    assert not Recipe().make_optimizer(10).use_ema


@pytest.mark.parametrize(("jit", "expected"), [("on", True), ("off", False), ("default", False)])
def test_jit(jit, expected):
    model = dense_model()
    Recipe(jit=jit).compile(model, 1)
    assert model.jit_compile is expected  # Keras compiles on accelerators only


def test_normalisation_of_models_within_models():
    inner = keras.Sequential([keras.Input((4,)), keras.layers.BatchNormalization()])
    model = keras.Sequential([keras.Input((4,)), inner, keras.layers.BatchNormalization(), keras.layers.Dense(2)])
    Recipe(sync_norm=True).compile(model, 1)
    assert inner.layers[0].synchronized
    assert model.layers[1].synchronized


@pytest.mark.usefixtures("eagerly")
def test_models_that_are_not_built_yet():
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.norm, self.dense = keras.layers.BatchNormalization(), keras.layers.Dense(2)

        def call(self, inputs, training=None):
            return self.dense(self.norm(inputs, training=training))

    layers = [keras.layers.Dense(3), keras.layers.BatchNormalization(), keras.layers.Dense(2)]
    images, labels = np.random.default_rng(0).normal(size=(20, 4)), np.arange(20) % 2
    for model in (Own(), keras.Sequential(layers)):
        Recipe(epochs=1).compile(model, 5)
        model.fit(images, labels, batch_size=4, verbose=0)
        assert model.optimizer.iterations == 5


def test_a_cosine_opens_without_this_package(elsewhere, tmp_path):
    model = dense_model()
    Recipe(epochs=2).compile(model, steps_per_epoch=5)
    model.save(tmp_path / "model.keras")
    elsewhere("assert float(keras.saving.load_model('model.keras').optimizer.learning_rate) > 0")


def test_a_compiled_model_is_saved_and_loaded(tmp_path):
    for fields in ({"schedule": "linear"}, {"loss": "binary", "label_smoothing": 0.1, "optimizer": "lamb"}):
        model = dense_model()
        Recipe(epochs=2, **fields).compile(model, steps_per_epoch=5)
        model.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras")
        rates = [[float(each.optimizer.learning_rate)] for each in (model, loaded)]
        assert rates[0] == rates[1]
        assert type(loaded.loss) is type(model.loss)


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize(("decay", "expected"), [("kernels", {"kernel"}), ("all", {"kernel", "bias", "gamma", "beta"})])
@pytest.mark.parametrize("name", ["sgd", "adamw", "lamb"])
def test_weights_that_decay(name, decay, expected):
    layers = [keras.Input((4, 4, 2)), keras.layers.Conv2D(3, 1), keras.layers.BatchNormalization()]
    model = keras.Sequential(layers)
    recipe = Recipe(optimizer=name, schedule="constant", warmup=0, weight_decay=0.1, decay=decay)
    model.compile(recipe.make_optimizer(10), loss=lambda y, prediction: 0.0 * keras.ops.sum(prediction))
    model.set_weights([weight + 1 for weight in model.get_weights()])
    before = {weight.path: weight.numpy() for weight in model.trainable_weights}
    model.train_on_batch(keras.ops.ones((2, 4, 4, 2)), keras.ops.ones((2,)))
    shrunk = {weight.name for weight in model.trainable_weights if (abs(weight.numpy()) < abs(before[weight.path])).all()}
    assert shrunk == expected


def test_decay_of_sgd_shrinks_as_the_penalty_of_the_papers_does():
    """Without other gradients, an L2 penalty w under momentum m shrinks a weight by lr w / (1 - m) a step in the long run."""
    recipe = Recipe(learning_rate=0.01, momentum=0.9, weight_decay=0.02, schedule="constant", warmup=0)
    weight = keras.Variable([1.0], name="kernel")
    sgd = recipe.make_optimizer(200)
    sgd.build([weight])
    penalised, velocity = 1.0, 0.0
    for _ in range(200):
        sgd.apply([keras.ops.zeros(1)], [weight])
        velocity = recipe.momentum * velocity + recipe.weight_decay * penalised
        penalised -= recipe.learning_rate * velocity
    assert float(weight[0]) == pytest.approx(penalised, rel=0.05)
    assert penalised < 0.75


def dense_model():
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)])


def test_a_recipe_compiles_any_model():
    recipe = dataclasses.replace(RECIPES["digits"], epochs=2, schedule="step", warmup=0, milestones=(0.5,), learning_rate=0.1)
    model = dense_model()
    recipe.compile(model, steps_per_epoch=5)
    history = model.fit(
        keras.ops.ones((10, 3)), keras.ops.zeros(10), batch_size=2, epochs=recipe.epochs, callbacks=recipe.callbacks(), verbose=0
    )
    assert history.history["accuracy"][-1] == 1
    assert model.optimizer.iterations == 10
    assert float(model.optimizer.learning_rate) == pytest.approx(0.01)
    with pytest.raises(Diverged, match="the loss became nan at step 1 of epoch 1"):
        model.fit(keras.ops.ones((2, 3)) * float("nan"), keras.ops.zeros(2), callbacks=recipe.callbacks(), verbose=0)


@pytest.mark.parametrize("name", ["sgd", "adamw", "lamb"])
def test_gradients_are_clipped_together(name):
    """A step on a gradient of norm 5 is that on a tenth of it, norm 0.5; and what AdamW and LAMB remember is that tenth."""

    def after(gradients, **fields):
        recipe = Recipe(optimizer=name, weight_decay=0, momentum=0, schedule="constant", warmup=0, learning_rate=1, **fields)
        weights = [keras.Variable([1.0]), keras.Variable([2.0])]
        optimizer = recipe.make_optimizer(1)
        optimizer.apply([keras.ops.array([value]) for value in gradients], weights)
        return [float(value[0]) for value in weights], [np.asarray(value) for value in optimizer.variables]

    (clipped, state), (tenth, expected) = after((3.0, 4.0), clip_norm=0.5), after((0.3, 0.4))
    assert clipped == pytest.approx(tenth, rel=1e-5)
    for one, other in zip(state, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)
    if name == "sgd":
        assert clipped == pytest.approx([0.7, 1.6])
    else:  # a step of theirs hardly depends on the norm, what they remember does
        moments = sorted(float(np.ravel(value)[0]) for value in state[1:])
        assert moments == pytest.approx([0.09e-3, 0.16e-3, 0.03, 0.04], rel=1e-4)


@pytest.mark.parametrize(
    ("given", "held"),
    [
        (None, "none"),
        ("balanced", "balanced"),
        ({"cat": 5, 1: 2}, (("cat", 5.0), ("1", 2.0))),
        ('{"cat": 5}', (("cat", 5.0),)),
        ("cat=5,dog=0.5", (("cat", 5.0), ("dog", 0.5))),
        ([1, 2.5], (("0", 1.0), ("1", 2.5))),
    ],
)
def test_class_weights_are_read_from_what_people_write(given, held):
    recipe = kr.Recipe(class_weight=given)
    assert recipe.class_weight == held
    assert from_json(kr.Recipe, to_json(recipe)) == recipe


@pytest.mark.parametrize(
    "fields", [{"label_smoothing": 0.1}, {"mixup": 0.2}, {"cutmix": 1}, {"loss": "binary"}, {"class_weight": "balanced"}], ids=str
)
def test_another_loss_than_that_of_validation_has_an_axis_of_its_own(fields):
    assert kr.Recipe().is_cross_entropy
    assert not kr.Recipe(**fields).is_cross_entropy


def test_class_weights_as_numbers():
    labels, names = np.repeat([0, 1], [30, 10]), ["cat", "dog"]
    assert kr.Recipe().class_weights(labels, names) is None
    balanced = kr.Recipe(class_weight="balanced").class_weights(labels, names)
    assert balanced == pytest.approx([40 / (2 * 30), 40 / (2 * 10)])
    assert kr.Recipe(class_weight={"dog": 3}).class_weights(labels, names) == [1, 3]
    assert kr.Recipe(class_weight={1: 3}).class_weights(labels, names) == [1, 3]
    for wrong in ("balance", {"cat": -1}, {"cat": "many"}, {}, 5, {"cat": 0}):
        with pytest.raises(InputError, match="expected none, balanced, or weights of at least 0 by class such as"):
            kr.Recipe(class_weight=wrong)
    with pytest.raises(InputError, match=r"for class_weight named 'dgo'; did you mean 'dog'?"):
        kr.Recipe(class_weight={"dgo": 2}).class_weights(labels, names)
    with pytest.raises(InputError, match="names class 'dog' twice: as 'dog' and as '1'"):
        kr.Recipe(class_weight={"dog": 2, 1: 2}).class_weights(labels, names)
    with pytest.raises(InputError, match=r"pass class_weights=recipe\.class_weights"):
        kr.Recipe(class_weight="balanced").compile(keras.Sequential([keras.layers.Dense(2)]), 5)


@pytest.mark.parametrize("fields", [{}, {"label_smoothing": 0.1}, {"mixup": 0.2}, {"loss": "binary"}])
def test_the_loss_of_an_example_is_multiplied_by_the_weight_of_its_class(fields):
    """By the weights of both classes in their shares, where it is a mixture."""
    recipe, weights = kr.Recipe(**fields), [1.0, 2.0, 10.0]
    outputs = np.random.default_rng(0).normal(size=(3, 3)).astype("float32")
    labels = np.array([0, 2, 1])
    factors = [1.0, 10.0, 2.0]
    if recipe.one_hot:
        labels = np.eye(3, dtype="float32")[labels]
    if recipe.mixes:
        labels = np.array([[0.5, 0.5, 0], [0, 0, 1], [0.25, 0, 0.75]], "float32")
        factors = [1.5, 10.0, 7.75]
    plain, weighted = recipe.make_loss(), recipe.make_loss(class_weights=weights)
    expected = np.mean([factor * plain(labels[i : i + 1], outputs[i : i + 1]) for i, factor in enumerate(factors)])
    assert float(weighted(labels, outputs)) == pytest.approx(expected, rel=1e-5)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(weighted))
    assert float(again(labels, outputs)) == pytest.approx(expected, rel=1e-5)
