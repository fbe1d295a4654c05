"""The programs of examples/ for phones and browsers, and docs/how-to/phone.md, which shows them."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_resnet.data.images import fit_pixels

TESTS = Path(__file__).parent
ROOT = TESTS.parent
EXAMPLES = ROOT / "examples"
MOBILE = (ROOT / "docs" / "how-to" / "phone.md").read_text()
KOTLIN = "kotlin-compiler"  # the npm package
SHAPES = ((8, 8, 1), (24, 40, 3), (33, 20, 3), (224, 224, 3))  # height, width, channels
SIZES = ((61, 40), (50, 80), (1, 1), (700, 9), (7, 1200), (8, 20), (1500, 1100), (9, 3), (8, 8), (40, 24))


def test_every_listing_is_part_of_an_example():
    """Of the file that is named last above it."""
    listings = list(re.finditer(r"^```\w*\n(.*?)^```$", MOBILE, re.DOTALL | re.MULTILINE))
    assert len(listings) > 5
    for listing in listings:
        named = re.findall(r"`(examples/[^`\s]+\.\w+)`", MOBILE[: listing.start()])
        assert listing[1] in (ROOT / named[-1]).read_text(), f"{listing[1][:60]!r} is not in {named[-1]}"


def test_the_exported_files_have_the_names_that_programs_use():
    lines = [line for line in (EXAMPLES / "export.sh").read_text().splitlines() if line.startswith("keras-resnet export")]
    names = set()
    for line in lines:
        fields = dict(re.findall(r"--(\w+) (\w+)", line))
        parts = [fields["quantize"], fields.get("pixels", ""), fields["output"], "batch" + fields["batch"]]
        names.add("model_" + "_".join(part for part in parts if part) + f".{fields['format']}")
    programs = [path for path in EXAMPLES.rglob("*") if path.suffix in (".kt", ".swift", ".js")]
    used = {name for path in programs for name in re.findall(r"\bmodel_\w+(?:\.tflite)?", path.read_text())}
    assert {name.removesuffix(".tflite") for name in used} == {name.removesuffix(".tflite") for name in names}


def test_a_file_that_was_not_compiled_says_so():
    for path in [*EXAMPLES.rglob("*.swift"), *EXAMPLES.rglob("*.kt"), *EXAMPLES.rglob("*.kts")]:
        first = path.read_text().splitlines()[0]
        assert re.match(r"// (Not compiled or run|Not run here|Compiled by the tests)", first), path


@pytest.fixture(scope="module")
def kotlinc():
    """A Kotlin compiler: on the path, or of the npm package."""
    place = Path(os.environ.get("KERAS_RESNET_KOTLIN", ROOT / "node_modules" / KOTLIN)) / "bin" / "kotlinc"
    program = shutil.which("kotlinc") or (str(place) if place.is_file() else "")
    if not program or not shutil.which("java"):
        pytest.skip(f"kotlinc or Java is not installed: npm install {KOTLIN}@2.4.20, or set KERAS_RESNET_KOTLIN to its folder")
    return program


@pytest.fixture(scope="module")
def classifier(kotlinc, tmp_path_factory):
    """The Android example, compiled with stubs of what it uses."""
    folder = tmp_path_factory.mktemp("kotlin")
    stubs = re.split(r"^(?=package )", (TESTS / "android" / "stubs.txt").read_text(), flags=re.MULTILINE)[1:]
    for number, stub in enumerate(stubs):
        (folder / f"Stub{number}.kt").write_text(stub)
    sources = [*folder.glob("*.kt"), *EXAMPLES.glob("android/app/src/main/kotlin/**/*.kt"), TESTS / "android" / "Run.kt"]
    program = folder / "classifier.jar"
    command = ["bash", kotlinc, "-include-runtime", "-d", program, *sources]
    found = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert "warning" not in found.stderr, found.stderr
    return program


@pytest.mark.slow
def test_android_makes_the_same_pixels(classifier):
    """Bit for bit, for pictures of any shape and colour; and the example names the classes with the largest outputs."""
    generator, asked, expected = np.random.default_rng(0), [np.array([len(SIZES) * len(SHAPES)])], []
    for width, height in SIZES:
        pixels = generator.integers(0, 256, (height, width, 4)).astype("uint8")
        for shape in SHAPES:
            red, green, blue, alpha = np.moveaxis(pixels.astype("int64"), -1, 0)
            argb = (alpha << 24 | red << 16 | green << 8 | blue).ravel()
            asked.append(np.concatenate([[width, height, *shape], argb]))
            expected.append(fit_pixels(Image.fromarray(pixels), *shape).ravel())
    content = np.concatenate(asked).astype("uint32").astype(">u4").tobytes()
    found = subprocess.run(["java", "-jar", classifier], input=content, capture_output=True, check=True).stdout
    whole = np.concatenate(expected).astype("uint8").tobytes()
    assert found[: len(whole)] == whole
    assert found[len(whole) :].decode().strip() == "Shape(height=2, width=2, channels=1) [(one, 255.0), (two, 7.0), (zero, 3.0)]"
