"""Pages about runs: what is on them, what is missing, and that names do nothing."""

import functools
import http.server
import json
import re
import shutil
import subprocess
import threading
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import keras_resnet as kr
from keras_resnet.atomic import write_json
from keras_resnet.data.dataset import Split
from keras_resnet.fields import to_json
from keras_resnet.report import comparison, facts, measured, profiles, run_page, templates
from keras_resnet.report.charts import Series, lines, ticks
from keras_resnet.report.pixels import heat_uri, matrix_uri
from keras_resnet.runs.run import Run

HOSTILE = "<script>alert(1)</script>"
SHIPPED = Path(__file__).parents[1] / "saved_models"
VOID = {"meta", "img", "br", "link", "input"}


class Page(HTMLParser):
    """The text of each element of a page, and what should not be there: tags that are not closed, events, addresses."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.texts, self.scripts, self.wrong = [], [], [], []
        self.feed(text)
        assert not self.wrong
        assert set(self.open) <= {"html"}

    def handle_starttag(self, tag, attributes):
        self.open += [tag] if tag not in VOID else []
        self.handle_startendtag(tag, attributes)

    def handle_startendtag(self, tag, attributes):
        for name, value in attributes:
            is_address = name in ("href", "src", "action", "xlink:href") and not (value or "").startswith("data:image/")
            if name.startswith("on") or is_address:
                self.wrong.append((tag, name, value))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(("closed", tag))

    def handle_data(self, data):
        if self.open and self.open[-1] in ("script", "style"):
            self.scripts += [data] if self.open[-1] == "script" else []
        elif data.strip():
            self.texts.append(" ".join(data.split()))

    @property
    def text(self):
        return " ".join(self.texts)


@pytest.fixture(scope="module")
def page(small_run):
    """That of a run on its own test images."""
    text = run_page.run_page(small_run)
    return SimpleNamespace(text=text, seen=Page(text))


@pytest.fixture
def pretended_run(tiny, tmp_path):
    """A run of many classes whose files are written by hand; it has no images and no model."""

    def write(classes=3, name="run", counts=None):
        folder = tmp_path / name
        folder.mkdir()
        spec, names = replace(tiny, input_shape=(32, 32, 3), classes=classes), [f"{HOSTILE} {number}" for number in range(classes)]
        counts = 8 * np.eye(classes, dtype=int) + np.roll(2 * np.eye(classes, dtype=int), 1, 1) if counts is None else counts
        accuracy, images = float(counts.diagonal().sum() / counts.sum()), int(counts.sum())
        split = {"accuracy": accuracy, "images": images, "loss": 0.5, "confusion_matrix": counts.tolist()}
        mistakes = [{"image": f"{HOSTILE}.jpg", "class": names[0], "predicted": names[1], "probability": 0.9}]
        found = {"network": "custom", "parameters": 5, "images": {"train": 9, "validation": images, "test": images}, "seed": 1}
        found |= {
            "epochs": 2,
            "kept_epoch": 1,
            "init": "5b81",
            "init_name": HOSTILE,
            "validation": split,
            "test": {**split, "mistakes": mistakes},
        }
        write_json(folder / "metrics.json", found)
        write_json(folder / "data.json", {"source": f"{HOSTILE}/photos", "digest": "1"})
        write_json(folder / "environment.json", {"date": HOSTILE, "packages": {HOSTILE: HOSTILE}})
        (folder / "spec.json").write_text(to_json(spec))
        (folder / "recipe.json").write_text(to_json(kr.RECIPES["digits"]))
        (folder / "labels.txt").write_text("\n".join(names) + "\n")
        (folder / "history.csv").write_text("epoch,loss,accuracy,val_loss,val_accuracy\n1,2,.4,1,.5\n2,1,.5,,.6\n")
        (folder / "model.keras").touch()
        return Run.open(folder)

    return write


def test_a_page_has_everything(page, small_run):
    assert page.text.startswith("<!doctype html>")
    assert "prefers-color-scheme: dark" in page.text
    assert 'name="viewport"' in page.text
    titles = re.findall(r"<h2>(.*?)</h2>", page.text)
    assert titles == [
        *("What was trained", "Learning curves", "Accuracy", "Confusion matrix", "Calibration", "Most confident mistakes"),
        *("Network and cost", "Responses and gradients", "Exported files"),
    ]
    test = small_run.metrics["test"]
    low, high = test["accuracy_interval"]
    assert f"{100 * test['accuracy']:.1f} %" in page.seen.text
    assert f"{100 * low:.1f} % to {100 * high:.1f} %" in page.seen.text
    assert "keras-resnet train resnet8 --data digits --recipe digits" in page.seen.text
    assert "The run has no exported files" in page.seen.text
    assert page.seen.scripts == [templates.SCRIPT.read_text()]
    cost = kr.cost_of(small_run.spec)
    for row in cost.parts:
        assert f"{row['multiply_adds']:,}" in page.seen.texts


def test_exported_files_are_listed(pretended_run):
    """And the network, whose fields were changed, is not called by the name of another one."""
    run = pretended_run()
    run.export_path.mkdir()
    checks = json.loads((SHIPPED / "digits-resnet8" / "export" / "report.json").read_text())
    write_json(run.export_path / "report.json", checks)
    seen = Page(run_page.run_page(run))
    assert f"residual network of 1 stage (stem: 4; units: 1; channels: 4), trained on {HOSTILE}" in seen.text
    for check in checks:
        assert check["file"] in seen.texts
    assert "one thread, on the machine that exported the file" in seen.text


def test_the_matrix_is_that_of_the_run(page, small_run):
    body = page.text.partition('<table class="matrix">')[2].partition("</table>")[0]
    rows = [re.findall(r"<td>(?:<i[^>]*>(\d+)</i>)?</td>", row) for row in body.split("<tr>")[2:]]
    assert [[int(count or 0) for count in row] for row in rows] == small_run.metrics["test"]["confusion_matrix"]


def test_mistakes_are_pictured(page, small_run):
    listed = small_run.metrics["test"]["mistakes"]
    shown = re.findall(r"<strong>(.)</strong>, ([\d.]+) %", page.text)
    assert [answer for answer, _ in shown] == [row["predicted"] for row in listed[: measured.PICTURES]]
    expected = [100 * row["probability"] for row in listed[: measured.PICTURES]]
    assert [float(share) for _, share in shown] == pytest.approx(expected, abs=0.06)
    assert page.text.count('src="data:image/png;base64,') == 2 * len(shown)  # and where the network looked


def test_calibration_is_that_of_the_paper():
    """By the definition, image for image."""
    generator = np.random.default_rng(0)
    confidences = np.concatenate([generator.uniform(0.1, 1, 500), [1.0, 1 / 15, 0.0]])
    is_right = generator.uniform(size=503) < confidences
    bins, error = measured.calibration(confidences, is_right)
    expected = 0.0
    for number, found in enumerate(bins):
        inside = [
            place for place, value in enumerate(confidences) if number / 15 < value <= (number + 1) / 15 or value == number == 0
        ]
        assert (found.images if found else 0) == len(inside)
        if inside:
            expected += abs(sum(is_right[inside]) - sum(confidences[inside])) / 503
    assert error == pytest.approx(expected)
    assert measured.calibration(np.ones(4), np.array([True, True, True, False]))[1] == pytest.approx(0.25)


def test_what_is_missing_is_said(pretended_run):
    run = pretended_run()
    seen = Page(run_page.run_page(run))
    assert "Calibration and pictures of mistakes are left out: " in seen.text
    assert f"{HOSTILE}.jpg" in seen.texts  # the list of the training stays
    assert "30 test images" in seen.text
    for name in ("history.csv", "recipe.json", "data.json", "environment.json"):
        (run.path / name).unlink()
    write_json(run.path / "metrics.json", {"network": "custom"})
    seen = Page(run_page.run_page(Run.open(run.path)))
    for line in ("There are no curves", "no accuracy of validation and test images", "There is no table of classes", "No command"):
        assert line in seen.text


def test_names_do_nothing(pretended_run):
    for text in (
        run_page.run_page(pretended_run()),
        comparison.comparison_page([pretended_run(name="a"), pretended_run(name="b")]),
    ):
        assert "<script>alert" not in text
        assert Page(text).scripts in ([templates.SCRIPT.read_text()], [])
        assert f"script-src '{templates.digest(templates.SCRIPT.read_text())}'" in text.replace("&#39;", "'")


@pytest.fixture
def of_many_classes(pretended_run, monkeypatch):
    """A run of 1,000 classes on 4,000 images, of which a third is put into wrong classes; no network is run."""
    run, generator = pretended_run(2), np.random.default_rng(0)
    (run.path / "spec.json").write_text(to_json(replace(run.spec, classes=1000, input_shape=(224, 224, 3))))
    names = [f"{HOSTILE} {number}" for number in range(1000)]
    (run.path / "labels.txt").write_text("\n".join(names) + "\n")
    labels = np.arange(4000) % 1000
    answers = np.where(generator.uniform(size=4000) < 0.3, generator.integers(0, 1000, 4000), labels)
    answers[labels == 7] = 8
    shares = np.full((4000, 1000), 1e-4, "float32")
    shares[np.arange(4000), answers] = generator.uniform(0.2, 1, 4000)
    photo = generator.integers(0, 256, (224, 224, 3), dtype="uint8")
    examples = Split(lambda places: np.stack([photo] * len(places)), labels)
    monkeypatch.setattr(kr.data, "to_evaluate", lambda *_: None)
    monkeypatch.setattr(measured, "measure", lambda run, data, split: measured.Measured(run, None, examples, split, shares))
    monkeypatch.setattr(measured, "where_seen", lambda model, images, classes: generator.uniform(size=(len(images), 7, 7)))
    monkeypatch.setattr(profiles, "profiles", lambda found: ([], 0))
    return run_page.run_page(Run.open(run.path))


def test_a_thousand_classes(of_many_classes):
    """Fewer than 10 MB, the worst classes first, the matrix as pixels."""
    assert len(of_many_classes) < 1.5e6
    texts = Page(of_many_classes).texts
    assert texts.count(f"{HOSTILE} 7") == 3  # among the worst, among all, and first among the confusions
    confusions = texts[texts.index("Most frequent confusions") :]
    where = confusions.index(f"{HOSTILE} 7")
    assert confusions[where : where + 4] == [f"{HOSTILE} 7", f"{HOSTILE} 8", "4", "100.0 %"]
    assert 'class="matrix"' not in of_many_classes
    assert of_many_classes.count("data:image/png") == 1
    assert of_many_classes.count("data:image/jpeg") == 2 * measured.PICTURES


def test_profiles_are_those_of_the_analysis(small_run, few):
    """On the first 64 images, in the state of inference."""
    found = measured.measure(small_run, few, "test")
    drawn, count = profiles.profiles(found)
    assert count == 32
    by_unit = kr.analysis.gradients(found.model, few.splits["test"].take(np.arange(32)), few.splits["test"].labels, training=False)
    assert len(by_unit) == 1
    assert [chart.title for chart in drawn] == [
        "standard deviation of responses",
        "gradient norm of the weights",
        "gradient norm of the unit output",
    ]
    axis = re.findall(r'class="end">([\d.e-]+)<', str(drawn[1].svg))
    assert float(axis[0]) <= by_unit[0]["weights"] * 1.15
    assert float(axis[-1]) >= by_unit[0]["weights"] / 1.15


def test_other_images(small_run, few):
    """All splits of them."""
    seen = Page(run_page.run_page(small_run, few))
    where = seen.texts.index("other images")
    assert seen.texts[where + 3] == "160"
    assert "By class, 160 other images" in seen.texts


def test_runs_beside_each_other(pretended_run):
    sure, unsure = np.diag([90, 90, 90]), np.diag([60, 60, 60])
    sure[0, 1], unsure[0, 1] = 30, 120
    runs = [pretended_run(name=name, counts=counts) for name, counts in (("one", unsure), ("two", sure), ("three", sure))]
    (runs[2].path / "spec.json").write_text(to_json(replace(runs[2].spec, widths=(8,))))
    seen = Page(comparison.comparison_page([Run.open(run.path) for run in runs]))
    assert "two has the highest test accuracy, 90.0 %. No significant difference (5 % level): three." in seen.text
    assert seen.texts.count("lower") == 2  # on both splits
    where = seen.texts.index("widths")
    assert seen.texts[where : where + 4] == ["widths", "[4]", "[4]", "[8]"]
    assert seen.texts.count("different images") == 0
    write_json(runs[0].path / "data.json", {"source": None, "digest": "2"})
    assert "different images" in Page(comparison.comparison_page([Run.open(run.path) for run in runs])).text


def test_names_of_runs(tmp_path):
    runs = [Run(tmp_path / "a" / "winner"), Run(tmp_path / "b" / "winner"), Run(tmp_path / "a" / "other")]
    assert comparison.names_of(runs) == ["a/winner", "b/winner", "a/other"]
    assert comparison.names_of(runs[1:]) == ["winner", "other"]
    assert comparison.names_of([runs[0], runs[0]]) == ["winner", "winner"]


def test_the_command_of_a_run(pretended_run):
    run = pretended_run()
    recipe = replace(kr.RECIPES["cifar-30"], epochs=2)
    (run.path / "recipe.json").write_text(to_json(recipe))
    words = facts.command(Run.open(run.path))
    assert "--recipe cifar-30 --set depths='[1]'" in words or "--set 'depths=[1]'" in words
    assert "--set epochs=2" in words
    assert "'<script>alert(1)</script>/photos'" in words  # a shell takes it as one word
    assert "--init '<script>alert(1)</script>'" in words
    assert comparison.training(Run.open(run.path))["teachers"] is None
    metrics = json.loads((run.path / "metrics.json").read_text())
    teachers = [{"name": name, "kind": "weights", "digest": "0"} for name in ("runs/large", "runs/other")]
    (run.path / "metrics.json").write_text(json.dumps(metrics | {"teachers": teachers}))
    assert "--teacher runs/large --teacher runs/other" in facts.command(Run.open(run.path))
    assert facts.summary(Run.open(run.path))["Teachers"] == "runs/large, SHA-256 0; runs/other, SHA-256 0"
    assert comparison.training(Run.open(run.path))["teachers"] == "0, 0"
    teachers[0]["kind"] = "model"
    (run.path / "metrics.json").write_text(json.dumps(metrics | {"teachers": teachers}))
    assert facts.command(Run.open(run.path)) is None  # an object of a script
    (run.path / "metrics.json").write_text(json.dumps({key: metrics[key] for key in metrics if key != "init_name"}))
    assert facts.command(Run.open(run.path)) is None  # nothing says what to name


@pytest.mark.parametrize(
    ("low", "high", "log", "expected"),
    [(0, 10, False, [0, 2, 4, 6, 8, 10]), (0.05, 2, True, [0.1, 0.3, 1]), (99.2, 99.9, False, [99.2, 99.4, 99.6, 99.8])],
)
def test_ticks_are_round(low, high, log, expected):
    assert ticks(low, high, log) == pytest.approx(expected)


def test_a_line_goes_through_its_points():
    svg = str(lines("loss", [Series("a", [1, 2, 3, 4], [1.0, float("nan"), 3.0, 2.0])]).svg)
    drawn = re.search(r'd="(M[^"]*)" class="line', svg)[1]
    first, second = drawn.split("M")[1:]  # it stops where there is no number
    heights = [float(place.split()[1].partition("h")[0]) for place in (first, *second.split("L"))]
    assert heights[0] > heights[2] > heights[1]  # the larger, the higher up
    assert heights[2] == pytest.approx((heights[0] + heights[1]) / 2, abs=0.1)
    assert len(str(lines("loss", [Series("a", range(10**5), [0.0] * 10**5)]).svg)) < 10_000


def test_pictures_of_pixels():
    from base64 import b64decode
    from io import BytesIO

    from PIL import Image

    def pixels(uri):
        return np.asarray(Image.open(BytesIO(b64decode(uri.partition(",")[2]))))

    matrix = pixels(matrix_uri(np.array([[3, 1], [0, 0]])))
    assert matrix[..., 3].tolist() == [[221, 128], [0, 0]]
    assert matrix[0, 0, 2] > matrix[0, 0, 0]  # blue where it is right
    assert matrix[0, 1, 0] > matrix[0, 1, 2]
    heat = pixels(heat_uri(np.zeros((8, 8, 1)), np.array([[0.0, 1.0], [0.0, 1.0]])))
    assert heat[:, -1].sum() > heat[:, 0].sum()


def test_the_command(call, pretended_run, tmp_path):
    one, two = pretended_run(name="one"), pretended_run(name="two")
    code, out, _ = call("report", one.path, two.path, "--out", tmp_path / "both.html")
    assert code == 0
    assert out == f"page: {tmp_path / 'both.html'}\n"
    for _ in range(2):  # the second page replaces the first
        code, _, _ = call("report", one.path)
        assert code == 0
    assert (one.path / "report.html").read_text().startswith("<!doctype html>")
    code, _, error = call("report", one.path, two.path, "--data", "digits")
    assert code == 2
    assert "are for the page of one run" in error
    for others in ("thesis", "<!doctype html>\n<title>my own page</title>"):
        (one.path / "report.html").write_text(others)
        code, _, error = call("report", one.path)
        assert code == 2
        assert "is there already, and is no page about runs" in error


MEASURE = """
<body><script>
addEventListener("message", () => 0)
const widths = [390, 1280], found = []
const next = () => {
  if (!widths.length) { document.body.textContent = "RESULT" + JSON.stringify(found) + "END"; return }
  const frame = document.createElement("iframe"), begin = performance.now(), width = widths.shift()
  frame.width = width; frame.height = 900
  frame.onload = () => {
    const root = frame.contentDocument.documentElement, button = root.querySelector("th button")
    if (button) button.click()
    const sorted = button && [...root.querySelectorAll("table.sortable tbody tr")].length
    found.push({width, content: root.scrollWidth, seconds: (performance.now() - begin) / 1000, sorted,
      dark: frame.contentWindow.matchMedia("(prefers-color-scheme: dark)").matches,
      paper: frame.contentWindow.getComputedStyle(frame.contentDocument.body).backgroundColor})
    frame.remove(); next()
  }
  frame.src = "page.html"; document.body.append(frame)
}
next()
</script>
"""


@pytest.fixture
def in_chromium(tmp_path):
    """What Chromium measures of a page at 390 and 1280 pixels, in light or dark; it has no error to report."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not chromium:
        pytest.skip("Chromium is not installed")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    folder = tmp_path / "served"
    folder.mkdir()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def measure(text, scheme):
        (folder / "page.html").write_text(text, encoding="utf-8")
        (folder / "index.html").write_text(MEASURE)
        address = f"http://127.0.0.1:{server.server_port}/index.html"
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--virtual-time-budget=20000"]
        flags += [f"--user-data-dir={tmp_path / 'profile'}", f"--blink-settings=preferredColorScheme={int(scheme == 'light')}"]
        ended = subprocess.run([chromium, *flags, "--dump-dom", address], capture_output=True, text=True, timeout=120, check=True)
        errors = [line for line in ended.stderr.splitlines() if "CONSOLE" in line and "favicon" not in line]
        assert not errors
        return json.loads(re.search("RESULT(.*)END", ended.stdout)[1].replace("&amp;", "&"))

    yield measure
    server.shutdown()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_in_chromium(scheme, in_chromium, page, of_many_classes, pretended_run):
    pages = [
        page.text,
        of_many_classes,
        comparison.comparison_page([pretended_run(name="a"), pretended_run(name="b")]),
    ]
    for text in pages:
        for found in in_chromium(text, scheme):
            assert found["content"] <= found["width"]
            assert found["dark"] == (scheme == "dark")
            assert (found["paper"] == "rgb(255, 255, 255)") == (scheme == "light")
            assert found["seconds"] < 2
