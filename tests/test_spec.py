import dataclasses

import pytest

from keras_resnet import SPECS, InputError, ResNetSpec
from keras_resnet.fields import from_json, to_json
from keras_resnet.spec import VARIANTS, name_of, resolve


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
        ({"depth": (1,)}, "no ResNetSpec field named 'depth'; did you mean 'depths'?"),
        ({"depths": "deep"}, "depths='deep': expected a list, each entry a whole number"),
        ({"depths": (2, 2)}, "must have one entry for each stage"),
        ({"widths": (64, 128, 256, 0)}, "every entry must be at least 1"),
        ({"classes": 0}, "classes=0: must be at least 1"),
        ({"input_shape": (32,)}, "one to three spatial sizes"),
        ({"normalize": "imagnet"}, "no normalization named 'imagnet'; did you mean 'imagenet'?"),
        ({"normalize": ((1, 2), (1, 2))}, "one for each of the 3 channels"),
        ({"normalize": ((1,), (0,))}, "positive standard deviations"),
        ({"groups": 4}, "only block='bottleneck' has groups"),
        ({"block": "bottleneck", "group_width": 4, "widths": (8, 8, 8, 8)}, "leaves no filters"),
        ({"stem": "deep", "stem_width": 1}, "stem='deep' needs at least 2"),
        ({"squeeze": 0}, "squeeze=0: must be at least 1"),
        ({"norm_momentum": 1.0}, "0 <= momentum < 1"),
        ({"shortcut": "padding", "widths": (64, 32, 16, 8)}, "cannot shrink channels"),
    ],
)
def test_an_illegal_field_is_refused_in_one_line(fields, message):
    with pytest.raises(InputError) as error:
        resolve("resnet18", **fields)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


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
