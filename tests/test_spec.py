import dataclasses
import inspect

import pytest

from keras_resnet import SPECS, InputError, ResNetSpec
from keras_resnet.fields import from_json, names, to_json
from keras_resnet.networks.conflicts import CONFLICTS
from keras_resnet.networks.variants import VARIANTS, name_of, resolve
from keras_resnet.networks.words import WORDS


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("resnet18", 18),
        ("resnet34v2", 34),
        ("resnet50", 50),
        ("resnet152v2", 152),
        ("resnet8", 8),
        ("plain110", 110),
        ("resnet200", 200),
        ("resnet1202", 1202),
        ("resnet1001v2", 1001),
        ("resnet164", 164),
        ("resnet14t", 14),
        ("resnext29_16x64d", 29),
        ("resnext101_32x8d", 101),
    ],
)
def test_the_number_in_a_name_is_its_depth(name, layers):
    assert SPECS[name].layers == layers


def test_every_row_has_a_source_and_survives_json():
    for name, row in VARIANTS.items():
        assert "arXiv:" in row.source
        assert from_json(ResNetSpec, to_json(row.spec)) == row.spec
        assert name_of(row.spec) == name_of(dataclasses.replace(row.spec, classes=7)) == name


def test_a_plain_twin_differs_by_its_shortcut_only():
    for name in ("18", "34", "8", "20", "32", "44", "56", "110"):
        residual, plain = SPECS[f"resnet{name}"], SPECS[f"plain{name}"]
        assert plain == dataclasses.replace(residual, shortcut="none") != residual


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"shortcut": "projecton"}, "no shortcut named 'projecton'; did you mean 'projection'?"),
        ({"activation_order": "preactivation"}, "no activation_order named 'preactivation'; did you mean 'relu_preactivation'"),
        ({"block": len}, "block=<built-in function len>: use block='basic', 'bottleneck' or 'single'; with a function of your own"),
        ({"depth": (1,)}, "no ResNetSpec field named 'depth'; did you mean 'depths'?"),
        ({"depths": "deep"}, "depths='deep': expected a list, each entry a whole number"),
        ({"depths": (), "widths": ()}, "depths=(): expected one entry for each stage"),
        ({"widths": (64, 128, 256, 0)}, "every entry must be at least 1"),
        ({"classes": 0}, "classes=0: must be at least 1"),
        ({"squeeze": 0}, "squeeze=0: must be at least 1"),
        ({"input_shape": (32,)}, "one to three spatial sizes"),
        ({"input_shape": (32, 32, None)}, "one to three spatial sizes and then the channels"),
        ({"input_shape": (None, 0, 3)}, "every entry must be at least 1"),
        ({"normalize": "imagnet"}, "no normalization named 'imagnet'; did you mean 'imagenet'?"),
        ({"normalize": ((1, 2), (1, 2))}, "one for each of the 3 channels"),
        ({"normalize": ((1,), (0,))}, "positive standard deviations"),
        ({"norm_momentum": 1.0}, "0 <= norm_momentum < 1"),
        ({"stochastic_depth": -0.1}, "0 <= stochastic_depth < 1"),
        ({"norm_epsilon": 0}, "norm_epsilon=0.0: must be above 0"),
    ],
)
def test_an_illegal_field_is_refused_in_one_line(fields, message):
    with pytest.raises(InputError) as error:
        resolve("resnet18", **fields)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


BOTTLENECK = {"block": "bottleneck"}
NARROW = {"widths": (8, 16), "depths": (1, 1)}
DISAGREE = [
    ("depths", "widths", {"depths": (2, 2)}),
    ("stage_strides", "depths", {"stage_strides": (1, 2)}),
    ("first_projection", "shortcut", {"first_projection": True, "shortcut": "padding"}),
    ("stem_norm", "activation_order", {"stem_norm": False}),
    ("stem_norm", "stem_pool", {"stem_norm": False, "stem_pool": "convolution", "activation_order": "full_preactivation"}),
    ("groups", "block", {"groups": 4}),
    ("group_width", "block", {"group_width": 128}),
    ("stride_on", "block", {"stride_on": "1x1"}),
    ("group_width", "widths", {"group_width": 4, **BOTTLENECK, **NARROW}),
    ("stem_width", "stem", {"stem": "deep", "stem_width": 1}),
    ("stem_width", "stem", {"stem": "tiered", "stem_width": 2}),
    ("shortcut", "widths", {"shortcut": "padding", "widths": (64, 32, 16, 8)}),
    ("shortcut", "stem_width", {"shortcut": "padding", "stem_width": 65}),
    ("shortcut_gate", "shortcut", {"shortcut": "none", "shortcut_gate": "exclusive"}),
    ("shortcut_scale", "shortcut", {"shortcut": "none", "shortcut_scale": 0.5}),
    ("shortcut_dropout", "shortcut", {"shortcut": "none", "shortcut_dropout": 0.5}),
    ("stochastic_depth", "shortcut", {"shortcut": "none", "stochastic_depth": 0.5}),
    ("zero_init", "shortcut", {"shortcut": "none", "zero_init": True}),
    ("zero_init", "activation_order", {"zero_init": True, "activation_order": "relu_before_addition"}),
    ("fixup", "norm", {"fixup": True, "zero_init": True}),
    ("fixup", "zero_init", {"fixup": True, "norm": None}),
    ("branch_gain", "zero_init", {"branch_gain": 0.0, "zero_init": True}),
    ("branch_gain", "shortcut", {"branch_gain": 0.0, "shortcut": "none"}),
    ("branch_gain", "input_shape", {"branch_gain": 1.0, "input_shape": (8, 8, 8, 1)}),
    ("classes", "classifier_activation", {"classes": 1, "classifier_activation": "softmax"}),
    ("shortcut_scale", "branch_scale", {"shortcut_scale": 0.0, "branch_scale": 0.0}),
    ("channel_attention", "squeeze", {"channel_attention": True, "squeeze": 16}),
    ("branch_dropout", "block", {"branch_dropout": 0.3, "block": "single"}),
    ("activation_order", "norm", {"norm": None, "activation_order": "norm_after_addition"}),
    ("norm_groups", "stem_width", {"norm": "group", "stem_width": 48}),
    ("norm_groups", "widths", {"norm": "group", "widths": (64, 128, 256, 500)}),
    ("norm_groups", "widths", {"norm": "group", **BOTTLENECK, "group_width": 5}),
    ("antialias", "input_shape", {"antialias": "mirror", "input_shape": (16, 64, 3)}),
    ("output_stride", "depths", {"output_stride": 64}),
    ("output_stride", "stem", {"output_stride": 2}),
    ("output_stride", "stem", {"output_stride": 12}),
]


@pytest.mark.parametrize(("first", "second", "fields"), DISAGREE)
def test_two_fields_that_disagree_are_both_named(first, second, fields):
    with pytest.raises(InputError) as error:
        resolve("resnet18", **fields)
    spec = {**dataclasses.asdict(SPECS["resnet18"]), **fields}
    assert f"{first}={spec[first]!r} and {second}={spec[second]!r} disagree: " in str(error.value)
    assert "\n" not in str(error.value)


def test_maps_that_are_just_large_enough_are_mirrored():
    assert resolve("resnet18", antialias="mirror", input_shape=(17, 64, 3))  # 17, 9, 5, 3 and 2 pixels are blurred
    assert resolve("resnet18", antialias="mirror", input_shape=(9, 64, 3), output_stride=16)
    assert resolve("resnet18", antialias="mirror", input_shape=(2, 64, 3), stem="3x3", stem_pool=None, output_stride=2)


def test_every_conflict_has_an_example():
    assert {(conflict.first, conflict.second) for conflict in CONFLICTS} == {case[:2] for case in DISAGREE}


@pytest.mark.parametrize(
    ("stride", "name"), [(4, "resnet50"), (8, "resnet50"), (16, "resnet50"), (32, "resnet50"), (2, "resnet20")]
)
def test_every_possible_output_stride_is_legal(stride, name):
    assert resolve(name, output_stride=stride).output_stride == stride


def test_a_zero_branch_may_end_in_an_activation_that_has_a_slope_at_zero():
    assert resolve("resnet18", zero_init=True, activation_order="relu_before_addition", activation="silu").zero_init


def test_an_unknown_network_gets_the_nearest_name():
    with pytest.raises(InputError, match="no network named 'resnet50_v2'; did you mean 'resnet50v2'"):
        resolve("resnet50_v2")
    with pytest.raises(InputError, match="expected the name of a network or a ResNetSpec"):
        resolve(50)


def test_named_statistics_fit_any_number_of_channels():
    assert resolve("resnet50").normalization[0] == (123.675, 116.28, 103.53)
    mean, std = resolve("resnet50", input_shape=(32, 32, 1)).normalization
    assert mean == (pytest.approx(114.495),)
    assert std == (pytest.approx(57.63),)
    assert resolve("resnet50", normalize=None).normalization is None


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("num_classes", "use classes$"),
        ("freeze_bn", r"call kr.transfer.freeze\(model, up_to=...\) after building"),
        ("data_format", "channels last only"),
        ("pretrained", "use weights of kr.build: a file, 'imagenet'"),
        ("drop_path_rate", "use stochastic_depth$"),
        ("head_dtype", "the classifier and its logits are float32"),
        ("block_fn", r"with a function of your own, write the stages in Keras: kr.build\(features=\(1,\)\)"),
        ("seed", "keras.utils.set_random_seed"),
    ],
)
def test_words_of_other_libraries(word, hint, call):
    with pytest.raises(InputError, match=f"^no field named '{word}': .*{hint}"):
        resolve("resnet20", **{word: 1})
    code, _, err = call("show", "resnet20", "--set", f"{word}=1")
    assert (code, f"no field named '{word}': " in err) == (2, True)


def test_no_word_of_other_libraries_is_one_of_ours():
    from keras_resnet.networks.layers import build

    assert not {*names(ResNetSpec), *inspect.signature(build).parameters} & set(WORDS)


@pytest.mark.parametrize("shape", [(3, 224, 224), (1, 28, 28)])
def test_channels_first_is_refused(shape):
    with pytest.raises(InputError, match=r"looks like \(channels, height, width\): networks are channels last only.*moveaxis"):
        resolve("resnet20", input_shape=shape)
    assert resolve("resnet20", input_shape=(*shape[1:], shape[0])).input_shape[-1] == shape[0]
