"""Wrong uses of the commands: one line says what is wrong, nothing is left behind, nothing is replaced, and nothing waits.

Every tenth row runs in all tests, the others by `pytest -m slow`. Words are ours, not those of Typer, which change.
"""

import hashlib
import io
import json
import os
import shutil
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

DIGITS, DEEP, RED = "9" * 400, "[" * 100_000, "\x1b[31m"
MOST_SECONDS = 30
TINY = "resnet8 --set depths=1 --set widths=4 --set stem_width=4"

# Arguments, split at spaces (~ stands for one within an argument), words of the one line, and the exit code where it is not 2.
OF_TABLES = [
    ("nothing", "No such command 'nothing'"),
    (f"{RED}list", "No such command"),
    ("list extra", "unexpected extra argument"),
    ("list --nothing", "No such option: --nothing"),
    ("list --for 0", "--for '0': expected a size such as 64x64"),
    (f"list --for {'9' * 5000}", "--for '9999"),
    ("list --for axb", "expected a size such as 64x64"),
    ("list --for 1x2x3", "expected a size such as 64x64"),
    ("list --for -1", "expected a size such as 64x64"),
    ("list --for ²", "expected a size such as 64x64"),
    ("list --for=", "--for is empty"),
    ("list --for 99999999", "input_shape"),
    ("list --max-parameters nan", "expected a number such as 500000, 500k or 2.5M"),
    ("list --max-parameters -5", "no named network is within these limits"),
    ("list --max-parameters 12x", "'12x': expected a number"),
    ("list --max-multiply-adds k", "'k': expected a number"),
    ("list --max-multiply-adds=", "--max-multiply-adds is empty"),
    ("show", "Missing argument"),
    ("show resnet20 resnet32", "unexpected extra argument"),
    ("show resnet20_", "did you mean 'resnet20'?"),
    (f"show {RED}resnet20", r"no network named '\x1b[31mresnet20'"),
    (f"show {'x' * 100_000}", "(100,002 characters)"),
    ("show resnet20 --set depths", "--set takes FIELD=VALUE, received 'depths'"),
    ("show resnet20 --set =3", "no field named ''"),
    ("show resnet20 --set dephts=3", "did you mean 'depths'?"),
    ("show resnet20 --set depths=", "depths=(): expected one entry for each stage"),
    ("show resnet20 --set depths=deep", "depths='deep': expected a list, each entry a whole number"),
    ("show resnet20 --set depths=1,2", "disagree: they must have one entry for each stage"),
    ("show resnet20 --set depths=1001,1,1", "every entry must be at most 1,000"),
    ("show resnet20 --set depths=900,900,900", "3 stages of 2,700 units, expected at most 16 stages and 2,000 units"),
    ('show resnet20 --set depths={"a":1}', "expected a list"),
    (f"show resnet20 --set depths={DEEP}", "expected a list"),
    (f"show resnet20 --set widths={DIGITS},1,1", "expected a list"),
    ("show resnet20 --set widths=99999999,1,1", "every entry must be at most 65,536"),
    ("show resnet20 --set classes=0", "classes=0: must be at least 1"),
    ("show resnet20 --set classes=-1", "classes=-1: must be at least 1"),
    ("show resnet20 --set classes=1.5", "classes='1.5': expected a whole number"),
    ("show resnet20 --set classes=true", "classes='true': expected a whole number"),
    ("show resnet20 --set classes=null", "classes='null': expected a whole number"),
    ('show resnet20 --set classes="3"', "expected a whole number"),
    ("show resnet20 --set classes=1e999", "expected a whole number"),
    (f"show resnet20 --set classes={DIGITS}", "(402 characters): expected a whole number"),
    (f"show resnet20 --set classes={DIGITS * 13}", "(5,202 characters): expected a whole number"),
    ("show resnet20 --set classes=99999999", "classes=99999999: must be at most 1,048,576"),
    ("show resnet20 --set norm_epsilon=nan", "norm_epsilon='nan': expected a number"),
    ("show resnet20 --set norm_epsilon=1e999", "norm_epsilon='1e999': expected a number"),
    ("show resnet20 --set norm_epsilon=-1", "norm_epsilon=-1.0: must be above 0"),
    (f"show resnet20 --set norm_epsilon={DIGITS}", "expected a number"),
    ("show resnet20 --set zero_init=maybe", "zero_init='maybe': expected true or false"),
    ("show resnet20 --set zero_init=1", "zero_init='1': expected true or false"),
    ("show resnet20 --set activation=evil", "no activation named 'evil'"),
    ("show resnet20 --set normalize=imagnet", "did you mean 'imagenet'?"),
    ("show resnet20 --set normalize=[[1],[0]]", "positive standard deviations"),
    ("show resnet20 --set input_shape=0,0,3", "every entry must be at least 1"),
    ("show resnet20 --set input_shape=32", "expected one to three spatial sizes and then the channels"),
    ("show resnet20 --set input_shape=99999999,3", "every entry must be at most 1,048,576"),
    ("show resnet20 --set input_shape=1000000,1000000,3", "numbers, expected at most 268,435,456"),
    ("show resnet50 --set groups=0", "groups=0: must be at least 1"),
    ("show resnet50 --set squeeze=99999999", "squeeze=99999999: must be at most 65,536"),
    ("show resnet20 --batch 0 --train-memory", "Invalid value for '--batch'"),
    ("show resnet20 --batch 1e3 --train-memory", "Invalid value for '--batch'"),
    (f"show resnet20 --batch {DIGITS} --train-memory", "Invalid value for '--batch'"),
    (f"show resnet20 --batch {DIGITS * 13} --train-memory", "Invalid value for '--batch'"),
]
OF_PLANS = [
    ("train resnet20_", "did you mean 'resnet20'?"),
    ("train=", "No such command 'train='"),
    ("train resnet8 --recipe digit", "did you mean 'digits'?"),
    ("train resnet8 --recipe=", "--recipe is empty"),
    ("train resnet8 --epochs 0", "Invalid value for '--epochs'"),
    ("train resnet8 --epochs -1", "Invalid value for '--epochs'"),
    ("train resnet8 --epochs 1e3", "Invalid value for '--epochs'"),
    (f"train resnet8 --epochs {DIGITS}", "Invalid value for '--epochs'"),
    ("train resnet8 --set epochs=99999999", "epochs=99999999: must be at most 1,000,000"),
    ("train resnet8 --batch-size 0", "Invalid value for '--batch-size'"),
    ("train resnet8 --batch-size 99999999", "Invalid value for '--batch-size'"),
    ("train resnet8 --image-size 0", "Invalid value for '--image-size'"),
    ("train resnet8 --image-size -8", "Invalid value for '--image-size'"),
    ("train resnet8 --image-size 9000", "Invalid value for '--image-size'"),
    ("train resnet8 --image-size x", "Invalid value for '--image-size'"),
    ("train resnet8 --image-size 16", "image_size is for folders and TensorFlow Datasets"),
    ("train resnet1202 --data photos --image-size 8192 --out new", "of memory, and this machine has"),
    ("train resnet8 --data-dir photos", "is for the names of TensorFlow Datasets"),
    ("train --budget 5", "budget '5': expected bytes of the int8 file (100kB, 0.5MB), multiply-adds"),
    ("train --budget 1B", "no network is within it; the smallest has an int8 file of at most 16,"),
    ("train --budget 5M --set epochs=0", "epochs=0: must be at least 1"),
    ("train --budget 5M --teacher none --set distill=features", "distill can only be set with a teacher"),
    (f"train --budget {DIGITS}M", "expected bytes of the int8 file"),
    ("train --budget=", "--budget is empty"),
    ("train --budget 5M --runtime compiled", "runtime='compiled' (--runtime) is for a budget of time"),
    ("train --budget 2ms --runtime compile", "no runtime named 'compile'; did you mean 'compiled'?"),
    ("train resnet8 --runtime compiled", "--runtime is for --budget with a time"),
    ("train resnet8 --budget 5M", "--budget cannot be combined with NETWORK"),
    ("train --budget 5M --recipe digits --wandb", "--budget cannot be combined with --recipe and --wandb"),
    ("train --budget 5M --set depths=1,1", "--budget chooses the network: depths cannot be set"),
    ("train resnet8 --teacher nowhere", "no file, folder or known weights named 'nowhere'"),
    ("train resnet8 --teacher photos", "is not a run"),
    ("train resnet8 --set distill=logit", "did you mean 'logits'?"),
    ("train resnet8 --set temperature=0", "temperature=0.0: must be above 0"),
    ("train resnet8 --set distill_weight=-1", "distill_weight=-1.0: must not be negative"),
    ("train resnet8 --set label_weight=0 --set distill_weight=0", "leave nothing to learn"),
    ("train resnet8 --set distill=features", "distill can only be set with a teacher: name one with --teacher"),
    ("train resnet8 --patience 0", "Invalid value for '--patience'"),
    ("train resnet8 --checkpoint-every 0", "Invalid value for '--checkpoint-every'"),
    ("train resnet8 --seed -1", "seed=-1: must be a whole number of at least 0 and below 2**32"),
    ("train resnet8 --seed 4294967296", "seed=4294967296: must be a whole number"),
    (f"train resnet8 --seed {DIGITS}", "(400 characters): must be a whole number"),
    ("train resnet8 --precision float8", "no precision named 'float8'"),
    ("train resnet8 --precision=", "--precision is empty"),
    ("train resnet8 --jit maybe", "no jit named 'maybe'"),
    ("train resnet8 --strategy many", "no strategy named 'many'"),
    ("train resnet8 --class-weight cat", "class_weight='cat': expected none, balanced, or weights"),
    ("train resnet8 --class-weight cat=-1", "class_weight='cat=-1': expected"),
    ("train resnet8 --class-weight 3=nan", "class_weight='3=nan': expected"),
    ('train resnet8 --class-weight {"3":1e999}', "expected none, balanced, or weights"),
    ('train resnet8 --class-weight {"3":1,"3":2}', "expected none, balanced, or weights"),
    (f"train resnet8 --class-weight {DEEP}", "expected none, balanced, or weights"),
    ("train resnet8 --class-weight cat=1", "no class of the images for class_weight named 'cat'"),
    ("train resnet8 --class-weight=", "--class-weight is empty"),
    ("train resnet8 --quantization-aware", "needs a trained network"),
    ("train resnet8 --set classes=3", "classes cannot be set: the images decide"),
    ("train resnet8 --set input_shape=8,8,1", "input_shape cannot be set"),
    ("train resnet8 --set learning_rate=nan", "learning_rate='nan': expected a number"),
    ("train resnet8 --set learning_rate=1e999", "expected a number"),
    ("train resnet8 --set learning_rate=fast", "learning_rate='fast': expected a number"),
    ("train resnet8 --set ema=2", "ema=2.0: must be at least 0 and below 1"),
    ("train resnet8 --set milestones=0.9,0.1", "in rising order"),
    ("train resnet8 --set progressive=2", "must be shares above 0 in rising order"),
    ("train resnet8 --set remat=maybe", "remat='maybe': expected true or false"),
    ("train resnet8 --set randaugment_layers=1000", "must be at most 100"),
    ("train resnet8 --set crop=8", "crop=8 is too large for images of (8, 8, 1)"),
    ("train resnet8 --set accumulate=99999", "the weights would never change"),
    ("train resnet8 --export pdf", "no export format named 'pdf'"),
    ("train resnet8 --export=", "--export is empty"),
    ("train resnet8 --init nowhere", "no run folder at 'nowhere'"),
    ("train resnet8 --init photos", "'photos' is not a run"),
    ("train resnet8 --init=", "--init is empty"),
    ("train resnet8 --out=", "--out is empty"),
    ("train resnet8 --out .", "holds the current folder"),
    ("train resnet8 --out /", "holds the current folder"),
    ("train resnet8 --out run", "'run' exists"),
    ("train resnet8 --out photos --overwrite", "'photos' is not a run"),
    ("train resnet8 --out file", "'file' exists"),
    ("train resnet8 --out file/run", "is not a writable folder"),
    ("train resnet8 --out /proc/run", "No such file or directory: '/proc/", 1),
    ("train resnet8 --out two\nlines", r"the name 'two\nlines' has control characters"),
    ("train resnet8 --out byte\udcff", r"the name 'byte\udcff' has control characters or bytes that are not UTF-8"),
    (f"train resnet8 --out {'x' * 220}", "is longer than 200 bytes"),
    ("train resnet8 --data photos --out photos/run", "'photos/run' is inside the images 'photos'"),
    ("train resnet8 --data photos --out photos/cat/run", "is inside the images 'photos'"),
    ("train resnet8 --data photos --out run/../photos/x/y", "is inside the images 'photos'"),
    ("train resnet8 --data photos --out linked/run", "is inside the images 'photos'"),
]
OF_IMAGES = [
    (f"train {TINY} --data {data} --out new", words)
    for data, words in {
        "nowhere": "no image set or folder named 'nowhere'",
        "/nowhere": "no folder '/nowhere' to read images from",
        "file": "no image set or folder named 'file'",
        "pipe": "no image set or folder named 'pipe'",
        f"{RED}x": r"no image set or folder named '\x1b[31mx'",
        "empty": "must hold at least two class folders",
        "one-class": "must hold at least two class folders",
        "flat": "has 2 pictures but no class folders",
        "names-newline": r"'two\nlines' is not a class name",
        "names-return": r"'two\rlines' is not a class name",
        "names-escape": r"'\x1b[31mred' is not a class name",
        "names-override": r"'a\u202eb' is not a class name",
        "names-bytes": r"'byte\udcff' is not a class name",
        "bombs": "400,000,000 pixels: at most 67,108,864 are decoded",
        "large": "10000 x 10000 pixels: at most 67,108,864 are decoded",
        "programs": "EPS files are programs, and are not opened",
        "texts": "its format is not recognised",
        "nothing.npz": "no file at 'nothing.npz'",
        "text.npz": "cannot be read, it may be damaged",
        "cut.npz": "cannot be read, it may be damaged",
        "objects.npz": "cannot be read, it may be damaged: Object arrays",
        "huge.npz": "cannot be read, it may be damaged",
        "others.npz": "expected train_images and train_labels",
        "unequal.npz": "24 images but labels of shape (3,)",
        "shares.npz": "pixels must be 0..255",
        "names.npz": r"'b\nc' is not a class name",
        "twice.npz": "two classes are called 'a'",
        "records": "is damaged or no TFRecord file",
    }.items()
]
DAMAGED_RUNS = {
    "no-model": "is not a run: it has no model.keras",
    "pipe-spec": "is not a run: it has no spec.json",
    "folder-spec": "is not a run: it has no spec.json",
    "spec-empty": "spec.json' is damaged",
    "spec-list": "spec.json' is damaged: it is [1]: expected an object",
    "spec-number": "spec.json' is damaged: it is 3: expected an object",
    "spec-deep": "spec.json' is damaged: it is nested too deeply",
    "spec-digits": "spec.json' is damaged: a whole number of 400 digits",
    "spec-twice": "spec.json' is damaged: the key 'classes' appears twice",
    "spec-latin": "spec.json' is damaged: byte 0 is not UTF-8",
    "spec-huge": "at most 67,108,864 are read",
    "spec-foreign": "spec.json' is damaged: no ResNetSpec field named 'name'",
    "spec-text": "spec.json' is damaged: depths='deep': expected a list",
    "labels-few": "2 names for 10 classes",
    "labels-escape": r"'\x1b[31m1' is not a class name",
    "labels-twice": "two classes are called 'a'",
    "labels-latin": "labels.txt' is damaged: byte 0 is not UTF-8",
    "data-list": "data.json' is damaged: it is []: expected an object",
    "data-number": "data.json' is damaged: 'source' is 3: expected text or none",
    "data-size": "data.json' is damaged: 'image_size' is 'x': expected a whole number",
    "data-more": "data.json' is damaged: it has source, shell",
    "data-nowhere": "no image set or folder named 'nowhere'",
    "data-missing": "has no data.json",
    "metrics-list": "metrics.json' is damaged: it is []: expected an object",
    "metrics-text": "metrics.json' is damaged: 'images' is 'many': expected an object",
    "metrics-nan": "metrics.json' is damaged: 'NaN' is not a finite number",
    "metrics-counts": "have changed since training",
    "model-empty": "cannot be opened, it may be damaged",
    "model-text": "cannot be opened, it may be damaged",
    "model-cut": "cannot be opened, it may be damaged",
}
OF_RUNS = [(f"evaluate damaged/{name}", words) for name, words in DAMAGED_RUNS.items()]
OF_RUNS += [
    (f"export damaged/{name} --format onnx --out new", DAMAGED_RUNS[name]) for name in ("spec-deep", "metrics-list", "data-list")
]
OF_RUNS += [(f"predict damaged/{name} seven.png", DAMAGED_RUNS[name]) for name in ("spec-list", "labels-escape", "model-cut")]
OF_RUNS += [(f"train --init damaged/{name} --out new", DAMAGED_RUNS[name]) for name in ("spec-list", "data-number", "labels-few")]
OF_RUNS += [
    ("evaluate nowhere", "no run folder at 'nowhere'"),
    ("evaluate photos", "'photos' is not a run"),
    ("evaluate file", "no run folder at 'file'; it is a file, and a run is a folder"),
    ("evaluate run --split nothing", "no split named 'nothing'"),
    ("evaluate run --split=", "--split is empty"),
    ("evaluate run --model nothing", "no model file named 'nothing'"),
    ("evaluate run --model=", "--model is empty"),
    ("evaluate run --model photos", "'photos' is not a SavedModel folder"),
    ("evaluate run --model file", "'file' is not a SavedModel folder"),
    ("evaluate run --model text.tflite", "'text.tflite' cannot be opened, it may be damaged"),
    ("evaluate run --model text.onnx", "'text.onnx' cannot be opened, it may be damaged"),
    ("evaluate run --data nowhere", "no image set or folder named 'nowhere'"),
    ("evaluate run --data photos", "no class of the run named 'cat'"),
    ("evaluate run --data=", "--data is empty"),
    ("evaluate run --out file", "'file' is a file; name a folder"),
    ("evaluate run --data photos --out photos/found", "is inside the images 'photos'"),
    ("predict run", "Missing argument"),
    ("predict run nowhere.png", "no image file at 'nowhere.png'"),
    ("predict run pipe", "no image file at 'pipe'"),
    ("predict run run/model.keras", "'run/model.keras' is a model file: give it with --model"),
    ("predict run file", "'file' is not a readable image"),
    ("predict run empty", "no readable image in 'empty'"),
    ("predict run bombs/cat/0.png", "400,000,000 pixels: at most 67,108,864 are decoded"),
    ("predict run programs/cat/0.png", "EPS files are programs, and are not opened"),
    ("predict run red\x1b[31m.png", r"'red\x1b[31m.png' is not a readable image"),
    ("predict run byte\udcff.png", r"'byte\udcff.png' is not a readable image"),
    ("predict run seven.png --top 0", "Invalid value for '--top'"),
    ("predict run seven.png --csv photos", "name a file in an existing folder"),
    ("predict run seven.png --csv seven.png", "'seven.png' is there already, and is no table of predictions"),
    ("predict run seven.png --csv study.py", "'study.py' is there already, and is no table of predictions"),
    ("predict run seven.png --csv pipe", "'pipe' is there already, and is no table of predictions"),
    ("predict run seven.png --csv nowhere/a.csv", "name a file in an existing folder"),
    ("predict run seven.png --csv=", "--csv is empty"),
    ("export nowhere", "no run folder at 'nowhere'"),
    ("export run --format pdf", "no export format named 'pdf'"),
    ("export run --format=", "--format is empty"),
    ("export run --format tflite --quantize int3", "int3"),
    ("export run --format onnx --quantize int8", "quantize"),
    ("export run --format tflite --pixels int3", "int3"),
    ("export run --format tflite --output top0", "top0"),
    ("export run --format onnx --layout NHCW", "NHCW"),
    ("export run --format onnx --opset 0", "Invalid value for '--opset'"),
    ("export run --format onnx --opset 999", "999"),
    ("export run --format tflite --batch 0", "Invalid value for '--batch'"),
    ("export run --format tflite --batch 99999999", "Invalid value for '--batch'"),
    ("export run --float-layers -1", "Invalid value for '--float-layers'"),
    ("export run --min-agreement 2", "Invalid value for '--min-agreement'"),
    ("export run --min-agreement nan", "Invalid value for '--min-agreement'"),
    ("export run --max-difference -1", "Invalid value for '--max-difference'"),
    ("export run --max-difference nan", "Invalid value for '--max-difference'"),
    ("export run --format onnx --debug-quantization", "leave out --format"),
    ("export run --format onnx --out file", "there is a file in its place"),
    ("export run --data photos --out photos/files", "is inside the images 'photos'"),
    ("export run --data nowhere --out new", "no image set or folder named 'nowhere'"),
    ("benchmark nowhere.onnx", "no model at 'nowhere.onnx'"),
    ("benchmark file", "'file' is not a SavedModel folder"),
    ("benchmark text.onnx", "'text.onnx' cannot be opened"),
    ("benchmark run/model.keras --network resnet8", "--network: only for training"),
    ("benchmark run/model.keras --image-size 8", "--image-size: only with --data"),
    ("benchmark run/model.keras --batch 0", "Invalid value for '--batch'"),
    ("benchmark run/model.keras --threads 99999", "Invalid value for '--threads'"),
    ("benchmark run/model.keras --rounds 0", "Invalid value for '--rounds'"),
    ("benchmark run/model.keras --data nowhere", "no image set or folder named 'nowhere'"),
    ("benchmark --batch 1", "--batch: only for model files"),
    ("benchmark --network resnet9", "did you mean"),
    ("benchmark --image-size 0", "Invalid value for '--image-size'"),
    ("benchmark --set epochs=x", "epochs='x': expected a whole number"),
    ("search", "Missing argument"),
    ("search nowhere.py", "no study at 'nowhere.py'"),
    ("search photos", "no study at 'photos'"),
    ("search pipe", "no study at 'pipe'"),
    ("search file", "'file' cannot be run"),
    ("search no_study.py", "has no study: expected a line `study = Study(...)`"),
    ("search raises.py", "'raises.py' cannot be run: ZeroDivisionError"),
    ("search wrong.py", "trials=0: must be a whole number of at least 1"),
    ("search study.py --trials 0", "Invalid value for '--trials'"),
    ("search study.py --runtime compile", "no runtime named 'compile'"),
    ("search study.py --lease 1", "Invalid value for '--lease'"),
    ("search study.py --lease nan", "Invalid value for '--lease'"),
    ("search study.py --out new --data-dir photos", "is for the names of TensorFlow Datasets"),
    ("search study.py --out=", "--out is empty"),
    ("search study.py --out file", "there is a file in its place"),
    ("search inside.py --out photos/found", "'photos/found' is inside the images"),
    ("search study.py --chief a:1 --worker a:1", "either the chief or a worker"),
]
ROWS = [*OF_TABLES, *OF_PLANS, *OF_IMAGES, *OF_RUNS]


def every_tenth(rows):
    for number, row in enumerate(rows):
        name = row[0].encode("unicode_escape").decode()[:60]
        yield pytest.param(*row, *[2] * (len(row) == 2), id=f"{number} {name}", marks=[pytest.mark.slow] if number % 10 else [])


@pytest.fixture(scope="module")
def place(tmp_path_factory, small_run):
    """Folders and files of every kind, right and wrong."""
    place = tmp_path_factory.mktemp("wrong")
    shutil.copytree(small_run.path, place / "run")
    picture = Image.fromarray(np.full((8, 8), 200, np.uint8))
    picture.save(place / "seven.png")
    (place / "file").write_text("neither a run nor a picture nor a study")
    os.mkfifo(place / "pipe")
    (place / "empty").mkdir()
    write_pictures(place, picture)
    write_arrays(place)
    write_runs(place, small_run.path)
    study = "import keras_resnet as kr\nstudy = kr.search.Study(space=lambda hp: kr.SPECS['resnet8']"
    for name, text in {
        "no_study.py": "pass",
        "raises.py": "1 / 0",
        "wrong.py": "from keras_resnet.search import Study\nstudy = Study(space=print, trials=0)",
        "study.py": f"{study})",
        "inside.py": f"{study}, data='photos')",
        "text.tflite": "no model",
        "text.onnx": "no model",
        "red\x1b[31m.png": "no picture",
        "byte\udcff.png": "no picture",
    }.items():
        (place / name).write_text(text)
    (place / "records").mkdir()
    (place / "records" / "train.tfrecord").write_bytes(b"no record, but more than twelve bytes")
    return place


def write_pictures(place, picture):
    """Sets of two classes, the first of which is wrong in some way."""

    def a_set(name, *classes, write=None):
        for each in classes:
            (place / name / each).mkdir(parents=True)
            for number in range(4):
                (write or picture.save)(place / name / each / f"{number}.png")

    a_set("photos", "cat", "dog")
    (place / "linked").symlink_to("photos")
    a_set("one-class", "cat")
    names = {
        "newline": "two\nlines",
        "return": "two\rlines",
        "escape": "\x1b[31mred",
        "override": "a\u202eb",
        "bytes": "byte\udcff",
    }
    for kind, name in names.items():
        a_set(f"names-{kind}", "cat", name)
    a_set("texts", "cat", "dog", write=lambda path: path.write_text("no picture"))
    a_set("programs", "cat", "dog", write=lambda path: Image.new("L", (8, 8)).save(path, "EPS"))
    for name, side in (("bombs", 20_000), ("large", 10_000)):
        a_set(name, "cat", "dog", write=lambda path, side=side: path.write_bytes(header_of(side)))
    (place / "flat").mkdir()
    for name in ("1.png", "2.png"):
        picture.save(place / "flat" / name)


def header_of(side):
    """The begin of a PNG of so many pixels along a side, which is all that is read of it."""
    stream = io.BytesIO()
    Image.new("L", (1, 1)).save(stream, "PNG")
    content = bytearray(stream.getvalue())
    content[16:24] = 2 * side.to_bytes(4, "big")
    content[29:33] = zip_checksum(content[12:29])
    return bytes(content)


def zip_checksum(content):
    import zlib

    return zlib.crc32(content).to_bytes(4, "big")


def write_arrays(place):
    images, labels = np.random.default_rng(0).integers(0, 256, (24, 8, 8, 1), np.uint8), np.arange(24) % 2
    good = {"train_images": images, "train_labels": labels}
    for name, arrays in {
        "objects": {"train_images": np.array([None]), "train_labels": labels},
        "others": {"pictures": images},
        "unequal": {**good, "train_labels": labels[:3]},
        "shares": {**good, "train_images": images / 255},
        "names": {**good, "class_names": np.array(["a", "b\nc"])},
        "twice": {**good, "class_names": np.array(["a", "a"])},
    }.items():
        np.savez(place / f"{name}.npz", **arrays)
    (place / "text.npz").write_text("no arrays")
    (place / "cut.npz").write_bytes((place / "others.npz").read_bytes()[:700])
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (10**7, 10**7)})
    with zipfile.ZipFile(place / "huge.npz", "w") as archive:  # 100 TB, as the header says
        for name in good:
            archive.writestr(f"{name}.npy", header.getvalue() + b"nothing")


def write_runs(place, run):
    """Copies of a run, each damaged as its name says."""
    spec = json.loads((run / "spec.json").read_text())
    metrics = json.loads((run / "metrics.json").read_text())
    model = (run / "model.keras").read_bytes()
    contents = {
        "spec-empty": b"",
        "spec-list": [1],
        "spec-number": 3,
        "spec-deep": DEEP.encode(),
        "spec-digits": json.dumps(spec).replace('"classes": 10', f'"classes": {DIGITS}').encode(),
        "spec-twice": json.dumps(spec).replace("{", '{"classes": 10, ', 1).encode(),
        "spec-latin": b"\xff\xfe{}",
        "spec-foreign": {"name": "a chair"},
        "spec-text": {**spec, "depths": "deep"},
        "labels-few": b"a\nb\n",
        "labels-escape": b"0\n\x1b[31m1\n2\n3\n4\n5\n6\n7\n8\n9\n",
        "labels-twice": b"a\n" * 10,
        "labels-latin": b"\xff" + b"\n1" * 9,
        "data-list": [],
        "data-number": {"source": 3},
        "data-size": {"source": "digits", "image_size": "x"},
        "data-more": {"source": "digits", "shell": "rm"},
        "data-nowhere": {"source": "nowhere"},
        "metrics-list": [],
        "metrics-text": {**metrics, "images": "many"},
        "metrics-nan": json.dumps({**metrics, "train_seconds": float("nan")}).encode(),
        "metrics-counts": {**metrics, "images": {"train": 3}},
        "model-empty": b"",
        "model-text": b"no model",
        "model-cut": model[: len(model) // 2],
    }
    files = {"spec": "spec.json", "labels": "labels.txt", "data": "data.json", "metrics": "metrics.json", "model": "model.keras"}
    for name in DAMAGED_RUNS:
        copy = shutil.copytree(run, place / "damaged" / name)
        if name in contents:
            content = contents[name]
            content = content if isinstance(content, bytes) else json.dumps(content).encode()
            (copy / files[name.split("-")[0]]).write_bytes(content)
    damaged = place / "damaged"
    (damaged / "no-model" / "model.keras").unlink()
    (damaged / "data-missing" / "data.json").unlink()
    for name in ("pipe-spec", "folder-spec"):
        (damaged / name / "spec.json").unlink()
    os.mkfifo(damaged / "pipe-spec" / "spec.json")
    (damaged / "folder-spec" / "spec.json").mkdir()
    with (damaged / "spec-huge" / "spec.json").open("wb") as file:
        file.truncate(2**36)


def listing(place):
    """Everything in a folder, with its content where it is a file of no great size."""
    found = {}
    for path in sorted(Path(place).rglob("*")):
        is_small = path.is_file() and path.stat().st_size < 2**20
        found[str(path)] = hashlib.sha256(path.read_bytes()).digest() if is_small else path.lstat().st_mode
    return found


@pytest.fixture(scope="module")
def before(place):
    return listing(place)


@pytest.mark.parametrize(("arguments", "words", "expected"), every_tenth(ROWS))
def test_a_wrong_use_is_told_in_one_line(arguments, words, expected, place, before, call, monkeypatch):
    monkeypatch.chdir(place)
    start = time.monotonic()
    code, out, err = call(*(argument.replace("~", " ") for argument in arguments.split(" ")))
    assert time.monotonic() - start < MOST_SECONDS
    assert code == expected, (code, out, err)
    assert words in err
    lines = err.removesuffix("\n").split("\n")
    told = [line for line in lines if line.startswith("keras-resnet: ")]
    assert len(told) == 1, err
    assert lines[-1] == told[0]
    assert all(line.isprintable() for line in lines)
    assert len(told[0]) < 1500
    after = listing(place)
    left = [Path(path) for path in after if path not in before]
    for path in left:  # for the rows behind this one
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    assert not left
    assert after == before


def test_there_are_many():
    assert len(ROWS) >= 150
