"""What a teacher is worth: a small network trained alone and with a teacher, by the same recipe, with several seeds.

    python benchmarks/distillation.py DATA_DIR WORK_DIR photos [--student NETWORK] [--epochs N] [--seeds N] [--kinds ...]
    python benchmarks/distillation.py DATA_DIR WORK_DIR cifar10 ...

photos: 100 photographs of each class of CIFAR-10 (JPEG copy), 32x32, others for each seed. The teacher is what `train --data` makes
of them: the pretrained network of the package, fine-tuned. It is tested on 2,000 of CIFAR-10's test photographs.
cifar10: all training images of CIFAR-10 (JPEG copy), recipe cifar-30. The teacher is `--teacher-network`, by that command too.
It is tested on all 10,000 test images.

The student starts from random weights. Complete runs are not trained again, so the command can be stopped and repeated, and seeds
be added later. The JSON beside this file has a row for each training.
"""

import argparse
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from own_photos import write

import keras_resnet as kr
from keras_resnet.atomic import write_whole
from keras_resnet.confidence import interval
from keras_resnet.runs.environment import environment
from keras_resnet.runs.run import Run

KINDS = ("logits", "decoupled", "features")
OF_A_CLASS, OTHERS = 100, 200  # photographs of a class, to train with and to test with
PATH = Path(__file__).with_suffix(".json")


def train(out: Path, *arguments: object) -> Run:
    """A run by the command line; the one that is there, if it is complete and of the same training."""
    subprocess.run(["keras-resnet", "train", *map(str, arguments), "--out", out, "--resume"], check=True)
    return Run.open(out)


def answer(*arguments: object) -> Any:
    """The JSON of a command."""
    done = subprocess.run(["keras-resnet", *map(str, arguments), "--json"], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def measured(run: Run, test: tuple[object, ...]) -> dict[str, float]:
    """Accuracy on the test images, of the run and of its int8 file."""
    if not (run.export_path / "model_int8.tflite").exists():
        answer("export", run.path, "--format", "tflite", "--quantize", "int8", "--accept-undecided")
    files = {"float32": "model.keras", "int8": "model_int8.tflite"}
    return {name: answer("evaluate", run.path, "--model", file, *test)[0]["accuracy"] for name, file in files.items()}


def images_of(name: str, data_dir: str, work: Path, seed: int) -> tuple[tuple[object, ...], tuple[object, ...]]:
    """Options that name the training images, and the test images, of a seed."""
    if name == "cifar10":
        return ("--data", "cifar10", "--data-dir", data_dir), ()
    photos, others = work / f"photos{seed}", work / "others"
    data = kr.data.load("cifar10", data_dir=data_dir)

    def write_photos(folder: Path) -> None:
        write(folder / "train", data, "train", tuple(data.class_names), OF_A_CLASS, seed)
        write(folder / "test", data, "validation", tuple(data.class_names), OF_A_CLASS // 5, seed)

    if not photos.exists():
        write_whole(photos, write_photos)
    if not others.exists():
        write_whole(others, lambda folder: write(folder, data, "test", tuple(data.class_names), OTHERS, 0))
    return ("--data", photos), ("--data", others)


def rows_of(options: argparse.Namespace) -> list[dict[str, Any]]:
    """All trainings that were asked for, one row each."""
    rows = []
    for seed in range(options.seeds):
        images, test = images_of(options.set, options.data_dir, options.work, seed)
        if options.set == "photos":
            teacher = train(options.work / f"teacher{seed}", *images, "--seed", seed)
            recipe: tuple[object, ...] = ("--image-size", 32)
        else:
            place = options.work / f"cifar10-{options.teacher_network}"
            teacher = train(place, options.teacher_network, *images, "--recipe", "cifar-30")
            recipe = ("--recipe", "cifar-30")
        recipe += ("--epochs", options.epochs) if options.epochs else ()
        rows.append({"seed": seed, "kind": "teacher", **facts(teacher, test)})
        for kind in ("alone", *options.kinds):
            taught = () if kind == "alone" else ("--teacher", teacher.path, "--set", f"distill={kind}")
            name = f"{teacher.path.name}-{options.student}-{kind}-{options.epochs or 'usual'}-seed{seed}"
            run = train(options.work / name, options.student, *images, *recipe, *taught, "--seed", seed)
            rows.append({"seed": seed, "kind": kind, **facts(run, test)})
            print(json.dumps(rows[-1]), flush=True)
    return rows


def facts(run: Run, test: tuple[object, ...]) -> dict[str, Any]:
    """What a run cost and reached."""
    names = ("network", "parameters", "epochs", "train_seconds", "images_per_second")
    return {**{name: run.metrics[name] for name in names}, **measured(run, test)}


def summary(rows: list[dict[str, Any]], images: int) -> dict[str, Any]:
    """Mean accuracy of each kind, and what it gains over the student alone, seed by seed."""
    found: dict[str, Any] = {}
    for kind in dict.fromkeys(row["kind"] for row in rows):
        for file in ("float32", "int8"):
            mine = {row["seed"]: row[file] for row in rows if row["kind"] == kind}
            alone = {row["seed"]: row[file] for row in rows if row["kind"] == "alone"}
            mean = float(np.mean(list(mine.values())))
            gains = [round(100 * (mine[seed] - alone[seed]), 2) for seed in mine if seed in alone]
            found[f"{kind} {file}"] = {"mean": round(mean, 4), "interval": interval(mean, images), "gains_in_points": gains}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_dir")
    parser.add_argument("work", type=Path)
    parser.add_argument("set", choices=("photos", "cifar10"))
    parser.add_argument("--student", default="resnet8")
    parser.add_argument("--teacher-network", default="resnet20")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    options = parser.parse_args()
    rows = rows_of(options)
    images = 10_000 if options.set == "cifar10" else 10 * OTHERS
    found = json.loads(PATH.read_text()) if PATH.exists() else {}
    teacher = options.teacher_network if options.set == "cifar10" else ""
    name = " ".join(filter(None, [options.set, options.student, f"{options.epochs} epochs" if options.epochs else "", teacher]))
    found[name] = {"test_images": images, "summary": summary(rows, images), "rows": rows, "machine": environment()}
    PATH.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
