"""Distillation: its losses against NumPy and Keras's own, and trainings with a teacher."""

import csv
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from scipy.special import log_softmax, softmax

import keras_resnet as kr
from keras_resnet.errors import InputError
from keras_resnet.fields import to_json
from keras_resnet.networks.layers import build
from keras_resnet.recipes import distillation
from keras_resnet.recipes.distillation import (
    AttentionDistance,
    DecoupledDivergence,
    Divergence,
    ends_of_stages,
    mean_of,
    softened,
)
from keras_resnet.recipes.recipe import Recipe
from keras_resnet.training.fit import fit
from keras_resnet.training.resume import check_same
from keras_resnet.training.teachers import Teacher, at_size_of

SHORT = replace(kr.RECIPES["digits"], epochs=1)
RANDOM = np.random.default_rng(0)
LOGITS = RANDOM.normal(size=(2, 6, 5)).astype("float32") * 3  # of a teacher and a network, 6 images, 5 classes
LABELS = RANDOM.integers(0, 5, 6)


def outputs_of(loss, teacher, student, temperature=4.0):
    logarithms = [softened(keras.ops.convert_to_tensor(logits), temperature, True) for logits in (teacher, student)]
    return float(loss((logarithms[0], keras.ops.one_hot(LABELS, 5)), logarithms[1]))


def test_logits_as_keras():
    """Keras's own, where it is given probabilities: by its default it compares logits."""
    theirs = keras.distillation.LogitsDistillation(temperature=4.0, loss=keras.losses.KLDivergence())
    expected = float(theirs.compute_loss(*map(keras.ops.convert_to_tensor, LOGITS)))
    assert outputs_of(Divergence(4.0), *LOGITS) == pytest.approx(expected, rel=1e-5)


def test_decoupled_as_its_formula():
    """Equations 3 to 7 of arXiv:2203.08679 in NumPy, image by image."""
    losses = []
    for teacher, student, label in zip(*LOGITS.astype("float64") / 4, LABELS, strict=True):
        p, q = softmax(teacher), softmax(student)
        b, c = (np.array([each[label], 1 - each[label]]) for each in (p, q))
        others = np.arange(5) != label
        p_, q_ = p[others] / p[others].sum(), q[others] / q[others].sum()
        losses.append(np.sum(b * np.log(b / c)) + 8 * np.sum(p_ * np.log(p_ / q_)))
    assert outputs_of(DecoupledDivergence(4.0), *LOGITS) == pytest.approx(16 * np.mean(losses), rel=1e-4)


def test_attention_as_its_formula():
    """Equation 2 of arXiv:1612.03928, the mean of positions and images."""
    teacher, student = RANDOM.normal(size=(3, 4, 4, 6)), RANDOM.normal(size=(3, 4, 4, 2))
    maps = [np.square(each).mean(-1).reshape(3, 16) for each in (teacher, student)]
    maps = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in maps]
    expected = 1000 * np.square(maps[0] - maps[1]).mean()
    tensors = [keras.ops.convert_to_tensor(each.astype("float32")) for each in (teacher, student)]
    assert float(AttentionDistance()(*tensors)) == pytest.approx(expected, rel=1e-4)


def test_probabilities_of_several_teachers_are_averaged():
    logarithms = [keras.ops.convert_to_tensor(log_softmax(each, -1)) for each in LOGITS]
    np.testing.assert_allclose(np.exp(mean_of(logarithms)), softmax(LOGITS, -1).mean(0), rtol=1e-4)


def scrambled(data, seed=0):
    """The same images with labels that say nothing."""
    generator = np.random.default_rng(seed)
    splits = {name: (split.take(np.arange(len(split))), generator.permutation(split.labels)) for name, split in data.splits.items()}
    return kr.data.from_arrays(splits, class_names=list(data.class_names))


def accuracy(model, split):
    return float(np.mean(np.argmax(model.predict(split.take(np.arange(len(split))), verbose=0), -1) == split.labels))


@pytest.mark.parametrize("kind", ["logits", pytest.param("decoupled", marks=pytest.mark.slow)])
def test_a_network_learns_what_its_teacher_knows(kind, small_run, digits, tmp_path):
    """All labels are wrong, and count nothing."""
    recipe = replace(kr.RECIPES["digits"], epochs=6, distill=kind, label_weight=0.0)
    run = fit(small_run.spec, recipe, scrambled(digits), tmp_path / "run", teacher=small_run, verbose=0)
    assert accuracy(run.load(), digits.splits["test"]) > 0.6
    assert run.metrics["test"]["accuracy"] < 0.25  # of the wrong labels
    assert run.metrics["teachers"] == [{"name": str(small_run.path), "kind": "weights", "digest": Teacher.of(small_run).digest}]


def test_maps_come_nearer_to_those_of_the_teacher(small_run, tiny, few):
    """And the two stages of a teacher are compared with the last of the network."""
    deep = build(replace(tiny, depths=(1, 1), widths=(6, 8), input_shape=(8, 8, 1)))
    model = build(replace(tiny, input_shape=(8, 8, 1)))
    recipe = replace(SHORT, distill="features", label_weight=0.0, learning_rate=0.02, warmup=0.0)
    recipe.compile(model, 40, teachers=[small_run.load(), deep])
    images, labels = few.splits["train"].take(np.arange(32)), few.splits["train"].labels[:32]
    losses = [model.train_on_batch(images, labels)[0] for _ in range(40)]
    assert losses[-1] < 0.7 * losses[0]


def test_stages_are_paired_from_the_last_one(tiny):
    images, labels = RANDOM.uniform(0, 255, (8, 8, 8, 1)).astype("float32"), np.arange(8)
    student, deep = (
        build(replace(tiny, input_shape=(8, 8, 1), depths=depths, widths=(6, 8)[-len(depths) :])) for depths in ((1,), (1, 1))
    )
    replace(SHORT, distill="features", label_weight=0.0).compile(student, 1, teachers=[deep])
    found = float(student.compute_loss(images, labels, student(images, training=True), training=True))
    of_teacher, own = (
        keras.Model(model.inputs, ends_of_stages(model)[-1])(images, training=model is student) for model in (deep, student)
    )
    assert found == pytest.approx(float(AttentionDistance()(of_teacher, own)), rel=1e-3)


@pytest.mark.parametrize("kind", ["logits", pytest.param("features", marks=pytest.mark.slow)])
def test_a_network_that_has_learned_is_plain_again(kind, small_run, few):
    """Validation is without teachers, compiling again forgets them, and the weights of the teacher stay."""
    teacher, model = small_run.load(), build(small_run.spec)
    before, images, labels = teacher.get_weights(), few.splits["train"].take(np.arange(32)), few.splits["train"].labels[:32]
    start = model.get_weights()

    def losses(**options):
        model.set_weights(start)
        SHORT.compile(model, 3, **options)
        return [model.evaluate(images, labels, verbose=0)[0], *(model.train_on_batch(images, labels)[0] for _ in range(3))]

    plain = losses()
    model.set_weights(start)
    replace(SHORT, distill=kind).compile(model, 3, teachers=[teacher])
    assert model.evaluate(images, labels, verbose=0)[0] == pytest.approx(plain[0], rel=1e-5)
    assert model.train_on_batch(images, labels)[0] != pytest.approx(plain[1], rel=1e-3)
    assert losses() == plain
    assert "compute_loss" not in vars(model)
    for mine, was in zip(teacher.get_weights(), before, strict=True):
        np.testing.assert_array_equal(mine, was)


def test_classes_in_another_order(small_run, few):
    names = list(few.class_names)
    other = kr.data.from_arrays(
        {name: (split.take(np.arange(len(split))), split.labels) for name, split in few.splits.items()},
        class_names=names[1:] + names[:1],
    )
    images = few.splits["test"].take(np.arange(4))
    answers = small_run.load().predict(images, verbose=0)
    permuted = Teacher.of(small_run).model(other, SHORT).predict(images, verbose=0)
    np.testing.assert_allclose(permuted, np.roll(answers, -1, axis=1), rtol=1e-4, atol=1e-4)


def decided(model):
    """With larger logits: those of a new network are so small that its loss says nothing."""
    head = model.get_layer("logits")
    head.set_weights([20 * weight for weight in head.get_weights()])
    return model


def test_a_teacher_sees_images_in_its_own_size(tiny):
    """Here of 16 pixels, and of probabilities in place of logits."""
    student = build(replace(tiny, input_shape=(8, 8, 1), classes=4))
    inner = decided(build(replace(tiny, input_shape=(16, 16, 1), classes=4)))
    image = keras.Input((16, 16, 1))
    teacher = keras.Model(image, keras.layers.Softmax()(inner(image)))
    images = RANDOM.uniform(0, 255, (8, 8, 8, 1)).astype("float32")
    SHORT.compile(student, 1, teachers=[teacher])
    labels = np.arange(8) % 4
    outputs = student(images, training=True)
    found = float(student.compute_loss(images, labels, outputs, training=True))
    t, s = inner.predict(keras.ops.image.resize(images, (16, 16)), verbose=0), np.array(outputs)
    soft = softmax(t / 4, -1)
    divergence = 16 * np.mean(np.sum(soft * (np.log(soft) - log_softmax(s / 4, -1)), -1))
    crossed = -np.mean(log_softmax(s, -1)[np.arange(8), labels])
    assert found == pytest.approx(0.1 * crossed + 0.9 * divergence, rel=1e-3)
    column = float(student.compute_loss(images, labels[:, None], outputs, training=True))
    assert column == pytest.approx(found, rel=1e-5)
    without = float(student.compute_loss(images, labels, outputs, sample_weight=np.zeros(8, "float32"), training=True))
    assert without == 0  # images that count nothing are not learned from either
    weights = np.linspace(0, 2, 8, dtype="float32")
    weighed = float(student.compute_loss(images, labels, outputs, sample_weight=weights, training=True))
    each = 1.6 * np.sum(soft * (np.log(soft) - log_softmax(s / 4, -1)), -1) * 9 - 0.1 * log_softmax(s, -1)[np.arange(8), labels]
    assert weighed == pytest.approx(np.mean(weights * each), rel=1e-3)


def test_the_target_of_mixed_images_is_the_larger_share(tiny):
    student, teacher = (decided(build(replace(tiny, input_shape=(8, 8, 1), classes=4))) for _ in range(2))
    images = RANDOM.uniform(0, 255, (8, 8, 8, 1)).astype("float32")
    shares = np.array([np.roll([0.0, 0.3, 0.7, 0.0], shift) for shift in range(8)], "float32")
    replace(SHORT, distill="decoupled", label_weight=0.0, mixup=0.2).compile(student, 1, teachers=[teacher])
    outputs = student(images, training=True)
    found = float(student.compute_loss(images, shares, outputs, training=True))
    logarithms = [softened(each, 4.0, from_logits=True) for each in (teacher(images, training=False), outputs)]
    target = keras.ops.one_hot(shares.argmax(-1), 4)
    assert found == pytest.approx(float(DecoupledDivergence(4.0)((logarithms[0], target), logarithms[1])), rel=1e-4)


def test_a_teacher_of_smaller_images_sees_their_means(tiny):
    teacher = build(replace(tiny, input_shape=(8, 8, 1), classes=4))
    stripes = np.zeros((1, 32, 32, 1), "float32")
    stripes[:, :, ::4] = 255
    found = np.array(distillation.at_size_of(teacher, stripes))
    assert found.shape == (1, 8, 8, 1)
    assert found[:, 2:-2, 2:-2] == pytest.approx(255 / 4, abs=5)


def test_a_teacher_of_signals_has_their_length(tiny):
    """Signals are not resized for it."""
    spec = replace(tiny, input_shape=(64, 1), classes=4)
    assert at_size_of((32, 1), spec).input_shape == (32, 1)
    assert at_size_of((8, 8, 1), replace(spec, input_shape=(16, 16, 1))).input_shape == (16, 16, 1)


def test_a_file_that_does_not_name_its_classes(small_run, few, tmp_path):
    """Its classifier is taken too, and its outputs are in the order of the images' classes."""
    for name in ("spec.json", "last.weights.h5"):
        shutil.copy(small_run.path / name, tmp_path)
    expected = build(small_run.spec)
    expected.load_weights(tmp_path / "last.weights.h5")
    images = few.splits["test"].take(np.arange(4))
    found = Teacher.of(tmp_path / "last.weights.h5").model(few, SHORT).predict(images, verbose=0)
    np.testing.assert_allclose(found, expected.predict(images, verbose=0), rtol=1e-4, atol=1e-4)


def test_names_of_other_alphabets(small_run, few, tmp_path):
    """TensorFlow has only ASCII in the names of a graph."""
    folder = tmp_path / "Lehrerin é 大"
    shutil.copytree(small_run.path, folder)
    name = Teacher.of(folder).model(few, SHORT).name
    assert re.fullmatch("teacher_[A-Za-z0-9_]+", name)


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"precision": "bfloat16", "mixup": 0.2}, marks=pytest.mark.slow),
        pytest.param({"distill": "features", "precision": "float16", "optimizer": "lamb"}, marks=pytest.mark.slow),
        pytest.param(
            {"distill": "decoupled", "label_smoothing": 0.1, "cutmix": 1.0, "accumulate": 2, "ema": 0.9}, marks=pytest.mark.slow
        ),
        pytest.param({"remat": True, "class_weight": "balanced", "steps_per_execution": 3}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_whatever_the_recipe(fields, small_run, few, tmp_path):
    run = fit(
        small_run.spec, replace(SHORT, epochs=2, **fields), few, tmp_path / "run", teacher=[small_run, small_run.load()], verbose=0
    )
    assert len(run.metrics["teachers"]) == 2
    assert np.isfinite(run.metrics["test"]["loss"])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["logits", "features"])
def test_quantisation_aware(kind, small_run, few, tmp_path):
    """A network that has its own float network as teacher stays as accurate, though the labels are wrong."""
    recipe = replace(kr.recipes.fine_tuning(small_run.recipe, quantization_aware=True), epochs=1, distill=kind, label_weight=0.0)
    run = fit(None, recipe, scrambled(few), tmp_path / "run", init=small_run, teacher=small_run, verbose=0)
    assert accuracy(run.load(), few.splits["test"]) >= accuracy(small_run.load(), few.splits["test"]) - 0.07
    with (run.path / "history.csv").open(newline="") as file:
        assert min(float(row["loss"]) for row in csv.DictReader(file)) > 0  # the loss of the teacher: labels count nothing


@pytest.mark.usefixtures("eagerly")
def test_what_it_costs_is_told_and_another_teacher_does_not_go_on(small_run, few, tmp_path, capsys):
    arguments = small_run.spec, SHORT, few, tmp_path / "run"
    run = fit(*arguments, teacher=small_run)
    lines = capsys.readouterr().out.splitlines()
    accuracy = small_run.metrics["validation"]["accuracy"]
    [told] = [line for line in lines if line.startswith("teacher: ")]
    assert told.startswith(f"teacher: {small_run.path}, ")
    assert told.endswith(f"multiply-adds an image, which adds about 33 % to a step; its validation accuracy was {accuracy:.4f}")
    assert "distillation: class probabilities at temperature 4 with weight 0.9, labels with weight 0.1" in lines
    assert fit(*arguments, teacher=small_run, resume=True, verbose=0) == run
    with pytest.raises(InputError, match=r"had one teacher, and none is given now; it can only be resumed unchanged"):
        fit(*arguments, resume=True, verbose=0)
    with pytest.raises(InputError, match=r"had another teacher, or other weights of it; it can"):
        fit(*arguments, teacher=build(small_run.spec), resume=True, verbose=0)
    with pytest.raises(InputError, match=r"had one teacher, and 2 teachers are given now"):
        fit(*arguments, teacher=[small_run, small_run], resume=True, verbose=0)


def test_trainings_of_earlier_versions_had_no_teacher():
    plan = {"teachers": {"teachers": []}}
    check_same({}, plan, "the run")
    with pytest.raises(InputError, match="the run had no teacher, and one teacher is given now"):
        check_same({}, {"teachers": {"teachers": ["5b81"]}}, "the run")
    with pytest.raises(KeyError):
        check_same({}, plan | {"seed": {"seed": 0}}, "a damaged one")


def test_what_does_not_fit_is_refused(small_run, tiny, few, tmp_path):
    def refused(match, teacher=small_run, spec=small_run.spec, data=few, **fields):
        with pytest.raises(InputError, match=match):
            fit(spec, replace(SHORT, **fields), data, tmp_path / "run", teacher=teacher, verbose=0)
        assert not any(path.name == "run" for path in tmp_path.iterdir())

    splits = {name: (split.take(np.arange(len(split))), split.labels) for name, split in few.splits.items()}
    others = kr.data.from_arrays(splits, class_names=list("abcdefghij"))
    coloured = {name: (np.repeat(images, 3, -1), labels) for name, (images, labels) in splits.items()}
    refused(
        "has the classes 0, 1, 2, 3, ... (10), and the images have a, b, c, d, ... (10)".replace("(", r"\(").replace(")", r"\)"),
        data=others,
    )
    refused(
        r"takes images of \(8, 8, 1\), and these are of \(8, 8, 3\)",
        data=kr.data.from_arrays(coloured, class_names=list(few.class_names)),
    )
    refused("loss='binary' decides each class by itself", loss="binary")
    binary = shutil.copytree(small_run.path, tmp_path / "binary")
    (binary / "recipe.json").write_text(to_json(replace(small_run.recipe, loss="binary")))
    refused("was trained with loss='binary', which decides each class by itself", teacher=binary)
    refused("distill='features' needs remat=false", distill="features", remat=True)
    refused("needs images of one size, without progressive resizing", distill="features", progressive=(0.5, 1.0))
    refused("no residual units are found", teacher=plain_classifier(10), distill="features")
    refused(r"returns \(3,\), and not \(10,\)", teacher=plain_classifier(3))
    refused(r"takes images of \(None, None, 3\), and the network of \(8, 8, 1\)", teacher=plain_classifier(10, channels=3))
    refused("takes images of", teacher=build(replace(tiny, input_shape=(8, 8, 3), classes=10)), distill="features")
    signals = {name: (images.reshape(len(images), 64, 1).astype("float32"), labels) for name, (images, labels) in splits.items()}
    refused(
        r"features' compares maps of \(32,\) of the teacher '.+' with maps of \(64,\): only those of pictures are resized",
        spec=replace(tiny, input_shape=(64, 1), depths=(1,), widths=(4,)),
        data=kr.data.from_arrays(signals, class_names=list(few.class_names)),
        teacher=build(replace(tiny, input_shape=(64, 1), depths=(1, 1), widths=(4, 8), classes=10)),
        distill="features",
    )
    refused(r"takes images of \(64, 1\), and the network", teacher=build(replace(tiny, input_shape=(64, 1), classes=10)))
    refused("do not add up to 1: it needs a softmax", teacher=plain_classifier(10, activation="sigmoid"))
    refused("has no weights yet", teacher=keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(10)]))
    refused("teacher=5: expected a run", teacher=5)
    refused("no run folder|no file of weights|nothing at", teacher=tmp_path / "absent")
    with pytest.raises(InputError, match="is the network itself: load it a second time"):
        SHORT.compile(itself := build(replace(tiny, input_shape=(8, 8, 1))), 1, teachers=[itself])
    with pytest.raises(InputError, match="leave nothing to learn"):
        Recipe(label_weight=0, distill_weight=0)
    with pytest.raises(InputError, match=r"temperature=0\.0: must be above 0"):
        Recipe(temperature=0)


def plain_classifier(classes, channels=1, activation=None):
    image = keras.Input((None, None, channels))
    pooled = keras.layers.GlobalAveragePooling2D()(image)
    return keras.Model(image, keras.layers.Dense(classes, activation)(pooled), name="plain")


def test_a_network_of_probabilities_learns_as_that_of_logits(tiny):
    image = keras.Input((8, 8, 1))
    inner = decided(build(replace(tiny, input_shape=(8, 8, 1), classes=10)))
    student = keras.Model(image, keras.layers.Softmax()(inner(image)))
    images, losses = RANDOM.uniform(0, 255, (8, 8, 8, 1)).astype("float32"), []
    teacher = plain_classifier(10)
    for model, from_logits in ((inner, True), (student, False)):
        SHORT.compile(model, 1, teachers=[teacher], from_logits=from_logits)
        losses.append(float(model.compute_loss(images, np.arange(8), model(images), training=True)))
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


def test_models_that_cannot_be_taught(tiny):
    class Subclass(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = plain_classifier(10)

        def call(self, images):
            return self.inner(images)

    with pytest.raises(InputError, match="does not say which images it takes: a teacher needs a functional or Sequential model"):
        SHORT.compile(Subclass(), 1, teachers=[plain_classifier(10)])
    signals = build(replace(tiny, input_shape=(32, 1), classes=10))
    with pytest.raises(InputError, match=r"takes images of \(64, 1\), and the network of \(32, 1\): only pictures are resized"):
        SHORT.compile(signals, 1, teachers=[build(replace(tiny, input_shape=(64, 1), classes=10))])


def test_the_page_has_the_measured_numbers():
    folder = Path(__file__).parents[1]
    [found] = [
        row
        for name, row in json.loads((folder / "benchmarks" / "distillation.json").read_text()).items()
        if name.startswith("photos")
    ]
    page = (folder / "docs" / "how-to" / "distillation.md").read_text()
    for kind in ("teacher", "alone", "logits", "decoupled"):
        cells = []
        for file in ("float32", "int8"):
            row = found["summary"][f"{kind} {file}"]
            low, high = (100 * bound for bound in row["interval"])
            cells.append(f"{100 * row['mean']:.1f} % ({low:.1f} to {high:.1f})")
        gains = found["summary"][f"{kind} int8"]["gains_in_points"]
        told = " ".join(f"{gain:+.1f}" for gain in gains) if kind in ("logits", "decoupled") else ""
        assert f"| {' | '.join(cells)} | {told} |" in page, kind
