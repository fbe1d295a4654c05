"""Drawings of networks say what the networks are."""

import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

import keras_resnet as kr
from keras_resnet.fields import to_json

SHOWN = ("resnet8", "resnet50d", "plain20", "seresnet50", "resnet164v2", "resnext50_32x4d", "resnet10t")


def drawn(spec, **options):
    """Words of a drawing, and its elements. It is well-formed XML without scripts, links and events."""
    root = ElementTree.fromstring(kr.draw(spec, **options))
    elements = list(root.iter())
    assert {element.tag.rpartition("}")[2] for element in elements} <= {"svg", "style", "rect", "text", "path", "circle", "g"}
    assert not [name for element in elements for name in element.attrib if name.startswith("on") or "href" in name]
    return [element.text for element in elements if element.tag.endswith("text")], elements


def classes(elements, name):
    return [element for element in elements if name in element.get("class", "").split()]


@pytest.mark.parametrize("name", SHOWN)
def test_a_drawing_has_stages_units_and_cost(name):
    words, elements = drawn(name)
    spec, cost = kr.SPECS[name], kr.cost_of(name)
    assert words[0] == name
    assert f"{spec.layers} layers" in words[1]
    for row in cost.parts[1:-1]:
        assert row["part"].replace("stage", "stage ") in words
    for stage, (depth, channels) in enumerate(zip(spec.depths, spec.channels[1:], strict=True), start=1):
        size = "×".join(next(row["output"] for row in cost.parts if row["part"] == f"stage{stage}").split("x")[:2])
        assert f"{size}, {channels:,} channels" in words
        assert any(text.startswith(f"{depth} unit") for text in words)
    assert len(classes(elements, "cell")) == sum(min(depth, 6 if depth > 11 else 11) for depth in spec.depths)


def test_the_length_of_a_bar_is_its_share():
    _, elements = drawn("resnet18")
    bars = [float(bar.get("width")) for bar in classes(elements, "bar")]
    rows = {row["part"]: row for row in kr.cost_of("resnet18").parts if row["part"] not in ("input", "total")}
    for column, found in (("trainable", bars[::2]), ("multiply_adds", bars[1::2])):
        most = max(row[column] for row in rows.values())
        expected = [max(78 * row[column] / most, 0.5) for row in rows.values()]
        assert found == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    ("name", "fields", "kinds"),
    [
        ("resnet8", {}, ["subsampling, zero channels (option A)", "identity"]),
        ("resnet18", {}, ["projection (option B)", "identity"]),
        ("resnet18", {"shortcut": "projection_everywhere"}, ["projection (option C)", "projection (option C)"]),
        ("resnet50d", {}, ["average pool, projection (ResNet-D)", "identity"]),
        ("resnet110", {"shortcut_gate": "exclusive"}, ["gated subsampling, zero channels (option A)", "gated identity"]),
        ("resnet50v2_keras", {}, ["subsampling", "identity"]),
    ],
)
def test_the_kind_of_a_shortcut(name, fields, kinds):
    words, elements = drawn(replace(kr.SPECS[name], **fields))
    assert [text for text in words if text.startswith("shortcut")] == [f"shortcut: {kind}" for kind in kinds]
    assert len(classes(elements, "sum")) == 2


def test_a_plain_network_has_no_shortcut():
    words, elements = drawn("plain20")
    assert words.count("no shortcut") == 2
    assert not classes(elements, "shortcut")
    assert not classes(elements, "sum")


@pytest.mark.parametrize(
    ("order", "layers"),
    [
        ("original", "convolution norm activation convolution norm + activation"),
        ("norm_after_addition", "convolution norm activation convolution + norm activation"),
        ("relu_before_addition", "convolution norm activation convolution norm activation +"),
        ("relu_preactivation", "activation convolution norm activation convolution norm +"),
        ("full_preactivation", "norm activation convolution norm activation convolution +"),
    ],
)
def test_the_order_of_layers_in_a_unit(order, layers):
    """From top to bottom, of the unit with an identity."""
    _, elements = drawn(replace(kr.SPECS["resnet20"], activation_order=order))
    unit = [group for group in elements if group.get("transform", "").startswith("translate")][-1]
    places = {float(element.get("y")): element.get("class").split()[-1] for element in classes(unit.iter(), "box")}
    places |= {float(element.get("cy")): "+" for element in classes(unit.iter(), "sum")}
    assert " ".join(places[height] for height in sorted(places)) == layers


def test_other_ranks_and_open_sizes():
    signal, _ = drawn(replace(kr.SPECS["resnet18"], input_shape=(4096, 2), classes=5))
    assert "size 3 convolution" in signal
    assert "1024, 64 channels" in signal
    volume, _ = drawn(replace(kr.SPECS["resnet18"], input_shape=(32, 32, 32, 1)))
    assert "3×3×3 convolution" in volume
    any_size, _ = drawn(replace(kr.SPECS["resnet18"], input_shape=(None, None, 3)))
    assert any(text.startswith("input 224×224×3 (any size)") for text in any_size)


def test_what_else_is_in_a_branch():
    fields = {"channel_attention": True, "antialias": True, "stochastic_depth": 0.2, "branch_scale": 0.5, "branch_dropout": 0.1}
    words, _ = drawn(replace(kr.SPECS["resnet50v2"], **fields))
    for text in ("channel attention", "blur, stride 2", "× 0.5", "dropout, rate 0.1"):
        assert text in words
    assert any(text.startswith("stochastic depth, rate 0.") for text in words)
    assert "256, stride 2, 32 groups" in drawn("resnext50_32x4d")[0]
    assert "512 → 32 → 512" in drawn("seresnet50")[0]


def test_a_name_does_nothing():
    text = kr.draw("resnet8", title="</text><script>alert('1')</script>\ufffe\x00")
    assert "<script" not in text
    assert drawn("resnet8", title="</text><script>")[0][0] == "</text><script>"
    assert len(drawn("resnet8", title="n" * 500)[0][0]) < 40


def test_the_drawing_in_the_documentation():
    """`keras-resnet draw resnet50 --out docs/resnet50.svg` makes it anew."""
    assert (Path(__file__).parents[1] / "docs" / "resnet50.svg").read_text() == kr.draw("resnet50")


def test_light_and_dark():
    light, dark = re.search(r"<style>(.*)@media\(prefers-color-scheme:dark\)\{(.*)\}</style>", kr.draw("resnet8")).groups()
    assert re.search(r"\.resnet text\{fill:(#\w+)\}", light)[1] != re.search(r"\.resnet text\{fill:(#\w+)\}", dark)[1]


def test_the_command(call, tmp_path):
    code, out, _ = call("draw", "resnet8")
    assert code == 0
    assert out == kr.draw("resnet8")
    spec = replace(kr.SPECS["resnet8"], depths=(2, 2, 2))
    (tmp_path / "spec.json").write_text(to_json(spec))
    for subject in (tmp_path, tmp_path / "spec.json"):
        code, _, _ = call("draw", subject, "--out", tmp_path / "network.svg")  # the second replaces the first
        assert code == 0
        assert (tmp_path / "network.svg").read_text() == kr.draw(spec, title=subject.name)
    (tmp_path / "thesis").write_text("chapter 1")
    (tmp_path / "thesis.svg").write_text("chapter 1")
    code, _, error = call("draw", "resnet8", "--out", tmp_path / "network.png")
    assert code == 2
    assert "expected a file that ends with .svg" in error
    (tmp_path / "logo.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>')
    for other in ("thesis.svg", "logo.svg"):
        code, _, error = call("draw", "resnet8", "--out", tmp_path / other)
        assert code == 2
        assert "is there already, and is no drawing of a network" in error
    code, _, error = call("draw", tmp_path / "thesis")
    assert code == 2
    assert "is not the spec of a network" in error


@pytest.mark.slow
@pytest.mark.parametrize("name", kr.VARIANTS)
def test_every_network_is_drawn(name):
    drawn(name)
