"""Every pair of field values meets in a network that is built, trained for a step, saved and loaded: a covering array."""

import random
import re
import warnings
from dataclasses import fields as fields_of
from dataclasses import replace
from functools import cache
from itertools import combinations
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_resnet as kr
from keras_resnet import InputError, ResNetSpec, export
from keras_resnet.export import check
from keras_resnet.networks.loading import weights_of_layers
from keras_resnet.networks.match import check_network

VALUES = {
    "depths": [(1, 2), (2, 1, 1)],
    "widths": [(8, 16), (8, 8), (8, 16, 16)],
    "block": ["basic", "bottleneck", "single"],
    "stride_on": ["3x3", "1x1"],
    "stride_in": ["first", "last"],
    "stage_strides": [None, (2, 1), (1, 2, 2)],
    "activation_order": ["original", "norm_after_addition", "relu_before_addition", "relu_preactivation", "full_preactivation"],
    "activation": ["relu", "leaky_relu", "silu", "tanh"],
    "groups": [1, 2],
    "group_width": [64, 32],
    "squeeze": [None, 4],
    "squeeze_divisor": [1, 8],
    "channel_attention": [False, True],
    "shortcut": ["projection", "projection_everywhere", "avg_projection", "subsampling", "padding", "none"],
    "first_projection": [False, True],
    "shortcut_gate": [None, "exclusive", "shortcut_only"],
    "gate_bias": [-6.0, 0.0],
    "shortcut_scale": [1.0, 0.5],
    "branch_scale": [1.0, 0.5],
    "branch_gain": [None, 0.0, 0.5],
    "shortcut_dropout": [0.0, 0.5],
    "branch_dropout": [0.0, 0.3],
    "head_dropout": [0.0, 0.25],
    "stochastic_depth": [0.0, 0.5],
    "antialias": [False, True, "mirror"],
    "antialias_shortcut": [True, False],
    "output_stride": [None, 1, 2, 4, 8],
    "stem": ["7x7", "deep", "tiered", "3x3"],
    "stem_width": [8, 16],
    "stem_pool": ["max", "zero_padded_max", "convolution", None],
    "stem_norm": [True, False],
    "norm": ["batch", "group", None],
    "conv_bias": [False, True],
    "norm_groups": [2, 4],
    "norm_momentum": [0.9, 0.5],
    "norm_epsilon": [1e-5, 1e-3],
    "zero_init": [False, True],
    "fixup": [False, True],
    "normalize": ["imagenet", ((100.0, 120.0), (50.0, 60.0)), None],
    "input_shape": [(19, 2), (9, 12, 1), (8, 8, 2), (5, 6, 7, 2), (None, None, 3)],
    "classes": [3, 2],
    "classifier_activation": [None, "softmax", "sigmoid"],
}
ACTIVATIONS = ["relu", "relu6", "leaky_relu", "elu", "selu", "silu", "gelu", "hard_silu", "mish", "tanh"]
INSIDE = (  # what a unit is made of, and so what is recomputed
    *("block", "groups", "activation_order", "norm", "squeeze", "channel_attention", "shortcut", "shortcut_gate", "antialias"),
    *("first_projection", "stride_in", "shortcut_dropout", "branch_dropout", "stochastic_depth", "output_stride"),
)
DEFAULT = {name: values[0] for name, values in VALUES.items()}
DISAGREE = re.compile(r"^(\w+)=.* and (\w+)=.* disagree: ")


def disagreement(chosen):
    """The two fields that the spec says disagree, or None for a legal spec; any other message is an error."""
    try:
        ResNetSpec(**chosen)
    except InputError as error:
        first, second = DISAGREE.match(str(error)).groups()
        return VALUES.keys() & {first} and VALUES.keys() & {second} and (first, second)
    return None


def completed(pinned, values_of, generator):
    """A legal spec with the `pinned` fields and random others, mended by the names in the messages; None if none was found."""
    chosen = {name: generator.choice(values) for name, values in values_of.items()} | pinned
    for _ in range(60):
        if (fields := disagreement(chosen)) is None:
            return chosen
        free = [name for name in fields if name not in pinned] or [name for name in values_of if name not in pinned]
        name = generator.choice(free)
        chosen[name] = generator.choice(values_of[name])
    return None


def pairs(chosen):
    return set(combinations(chosen.items(), 2))


@mock.patch("keras_resnet.networks.spec.coerce_all")  # the values have their types, and checking those takes longest
def covering_array(values_of, coerce_all):
    """Legal specs in which every two values that can meet do, and the pairs for which none was found."""
    generator = random.Random(0)
    waiting = {
        ((one, value), (other, another))
        for one, other in combinations(values_of, 2)
        for value in values_of[one]
        for another in values_of[other]
    }
    rows, impossible = [], set()
    for wanted in sorted(waiting, key=repr):
        if wanted not in waiting:
            continue
        legal = [row for row in (completed(dict(wanted), values_of, generator) for _ in range(10)) if row]
        if not legal:
            waiting.discard(wanted)
            impossible.add(wanted)
            continue
        rows.append(max(legal, key=lambda row: len(pairs(row) & waiting)))
        waiting -= pairs(rows[-1])
    return rows, impossible


def rows_with(parts_of, candidates):
    """A few of those rows that have everything that all of them have."""
    waiting, few = set().union(*map(parts_of, candidates)), []
    while waiting:
        few.append(max(candidates, key=lambda row: len(parts_of(row) & waiting)))
        waiting -= parts_of(few[-1])
    return few


def most(row):
    """Every value, and each order of the layers in each block."""
    return set(row.items()) | {(len(row["input_shape"]), row["block"]), (row["activation_order"], row["block"])}


def inside(row):
    """What units are made of, each order of the layers in each block."""
    values = {(name, row[name]) for name in INSIDE} | {("rank", len(row["input_shape"]))}
    return values | {(row["activation_order"], row["block"])}


ROWS, FEW, FLAT, RECOMPUTED = 64, 16, 53, 15  # how many; only the process that runs these tests searches for them, for 2 seconds


@cache
def rows():
    """Those in which every pair meets, and the pairs that cannot meet."""
    return covering_array(VALUES)


@cache
def chosen():
    """The rows in which every value is come first."""
    few = rows_with(most, rows()[0])
    return [*few, *(row for row in rows()[0] if row not in few)]


@cache
def flat():
    """Of one and two dimensions: TFLite has few operations for three."""
    return [row for row in chosen() if len(row["input_shape"]) < 4]


@cache
def of_units():
    """Compared in float64, which AveragePooling3D does not know on TensorFlow: so no 3-D networks there."""
    return rows_with(inside, [row for row in rows()[0] if len(row["input_shape"]) < 4])


def test_every_field_takes_part():
    assert set(VALUES) == {field.name for field in fields_of(ResNetSpec)}
    assert set(INSIDE) < set(VALUES)


def test_every_row_takes_part():
    assert set().union(*map(most, chosen()[:FEW])) == set().union(*map(most, rows()[0]))
    assert (len(chosen()), len(flat()), len(of_units())) == (ROWS, FLAT, RECOMPUTED)


def test_only_pairs_that_disagree_are_missing():
    """A pair that no legal spec has disagrees itself, or makes others disagree that have no way out."""
    for pair in rows()[1]:
        fields = disagreement(DEFAULT | dict(pair))
        assert fields is not None, f"{pair} is legal but was not tried"
        assert set(fields) & set(dict(pair)), f"{pair} is refused because of {fields}"


@pytest.mark.parametrize("number", [pytest.param(number, marks=[pytest.mark.slow] * (number >= FEW)) for number in range(ROWS)])
def test_builds_trains_saves_and_loads(number, tmp_path):
    assert_builds_trains_saves_and_loads(ResNetSpec(**chosen()[number]), tmp_path)


@pytest.mark.slow
def test_builds_trains_saves_and_loads_with_every_activation(tmp_path):
    for row in covering_array(VALUES | {"activation": ACTIVATIONS})[0]:
        assert_builds_trains_saves_and_loads(ResNetSpec(**row), tmp_path)


def assert_builds_trains_saves_and_loads(spec, tmp_path):
    model = kr.build(spec)
    generator = np.random.default_rng(0)
    images = generator.uniform(0, 255, (4, *(size or 9 for size in spec.input_shape))).astype("float32")
    labels = np.arange(4) % spec.classes

    model.compile(
        "sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=spec.classifier_activation is None), run_eagerly=True
    )
    before = [weight.copy() for weight in model.get_weights()]
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # a weight without a gradient
        assert np.isfinite(model.train_on_batch(images, labels))
    changed = [np.any(old != new) for old, new in zip(before, model.get_weights(), strict=True)]
    assert any(changed)
    assert all(np.all(np.isfinite(weight)) for weight in model.get_weights())

    expected = model(images, training=False)
    assert expected.shape == (4, spec.classes)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded(images, training=False), expected, rtol=1e-6, atol=1e-6)
    check_network(tmp_path / "model.keras", weights_of_layers(loaded), loaded.input_shape[1:], spec)
    assert [layer.name for layer in loaded.layers] == [layer.name for layer in model.layers]
    if None not in spec.input_shape:
        assert kr.cost_of(spec).trainable == sum(np.prod(weight.shape) for weight in model.trainable_weights)
        assert kr.cost_of(replace(spec, classes=7)).trainable > kr.cost_of(replace(spec, classes=2)).trainable
    keras.backend.clear_session(free_memory=False)


@pytest.mark.parametrize("number", [pytest.param(number, marks=[pytest.mark.slow] * (number != 1)) for number in range(FLAT)])
def test_passes_the_gate_by_both_runtimes(number, tmp_path, monkeypatch):
    """Or is refused for one operation: LiteRT cannot open a file of any size whose images would be mirrored at a size of 1."""
    monkeypatch.setattr(check, "SECONDS", 0.01)
    spec = ResNetSpec(**flat()[number])
    images = np.random.default_rng(0).uniform(0, 255, (40, *(size or 9 for size in spec.input_shape))).astype("float32")
    split = (images, np.arange(40) % spec.classes)
    data = kr.data.load({"train": split, "test": split})
    [row] = export.export(kr.build(spec), "tflite", data=data, out=tmp_path)
    if None in spec.input_shape and spec.antialias == "mirror":
        assert "(MIRROR_PAD) failed to prepare" in row.problem
    else:
        assert row.passed, row.problem
        assert not row.compiled_problem
        assert row.compiled_difference < 1e-5
    keras.backend.clear_session(free_memory=False)


@pytest.mark.parametrize(
    "number", [pytest.param(number, marks=[pytest.mark.slow] * (number % 6 != 3)) for number in range(RECOMPUTED)]
)
def test_trains_alike_with_units_recomputed(number, monkeypatch):
    """Step by step, without graphs: those are traced in test_remat."""
    spec = ResNetSpec(**of_units()[number])
    images = np.random.default_rng(number).uniform(0, 255, (4, *(size or 9 for size in spec.input_shape)))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=spec.classifier_activation is None)
    traced = tf.function
    monkeypatch.setattr(tf, "function", lambda *f, **settings: f[0] if settings == {"autograph": False} else traced(*f, **settings))
    keras.config.set_floatx("float64")
    try:
        trained = []
        for remat in (False, True):
            keras.utils.set_random_seed(number)
            model = kr.build(spec, remat=remat, dtype="float64")
            model.compile("sgd", loss, run_eagerly=True)
            model.train_on_batch(images, np.arange(4) % spec.classes)
            trained.append(model.variables)
    finally:
        keras.config.set_floatx("float32")
    for plain, recomputed in zip(*trained, strict=True):
        np.testing.assert_allclose(recomputed, plain, rtol=1e-8, atol=1e-10, err_msg=plain.path)
    keras.backend.clear_session(free_memory=False)
