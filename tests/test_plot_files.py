"""Plots with characters that Matplotlib's own font lacks."""

import warnings

from matplotlib.figure import Figure

from keras_resnet.plot_files import save_plot

NOWHERE = "\U0010fffd"  # a private character, which no font has
ONLY_STIX = "\ue000"  # one of the fonts that come with Matplotlib has it, DejaVu Sans has not


def titled(text):
    figure = Figure()
    figure.subplots().set_xticks([0], [text], parse_math=False)
    return figure


def test_a_character_without_a_font_is_one_plain_warning(tmp_path, caplog):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save_plot(titled(f"a{NOWHERE}"), tmp_path / "plot.png")
    assert [record.getMessage() for record in caplog.records] == [
        f"plot.png: no installed font has {NOWHERE}; install one, such as Noto Sans CJK"
    ]
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_another_font_is_taken_where_it_has_the_character(tmp_path, caplog):
    for name, text in (("other", ONLY_STIX), ("box", NOWHERE)):
        save_plot(titled(text), tmp_path / f"{name}.png")
    assert len(caplog.records) == 1
    assert (tmp_path / "other.png").read_bytes() != (tmp_path / "box.png").read_bytes()
