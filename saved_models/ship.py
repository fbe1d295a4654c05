"""Puts a finished run among the trained networks that this project ships.

    python saved_models/ship.py RUN NAME --command "keras-resnet train ..." [--data-dir DIR]

The folder `saved_models/NAME` is the run without the weights of its last epoch, with its report page, files for phones (float16 and
int8, each checked against the Keras model), and a model card in the format of Hugging Face. `python saved_models/ship.py` alone
writes the table of all folders into saved_models/README.md. Those of Tiny ImageNet are made by the commands on their cards.
"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from keras_resnet.atomic import replace_text, write_json
from keras_resnet.confidence import interval
from keras_resnet.networks.cost import cost_of
from keras_resnet.networks.variants import SPECS, described
from keras_resnet.runs.run import CONTENTS, Run

FOLDER = Path(__file__).parent
START, END = "<!-- The table is made by ship.py -->", "<!-- to here -->"
LEFT_OUT = {"last.weights.h5"}
KINDS = ("float16", "int8")
DATA_SETS = {
    "cifar10": "CIFAR-10 (JPEG copy)",
    "digits": "scikit-learn's digits",
    "tiny_imagenet_middle": "Tiny ImageNet",
    "tiny_imagenet_small": "Tiny ImageNet",
}
"""The name of the images, by the source of the run, or by the name of a run that has none."""
ON_THE_HUB = {"cifar10": "uoft-cs/cifar10"}  # the data sets of Hugging Face
CAUTIONS = {
    "cifar10": "CIFAR-10 (JPEG copy) is CIFAR-10 with its images stored as JPEG.\n"
    "Do not compare this accuracy with those on the original images.\n"
}
FOUND_BY = {"cifar10-search-tiny": "tuning/cifar10_mlperf_tiny.py", "cifar10-search-depth": "tuning/cifar10_depth_width.py"}
BACKENDS = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}
CARD = """---
library_name: keras
license: apache-2.0
pipeline_tag: image-classification
tags: [image-classification, keras, resnet, litert]
{datasets}model-index:
  - name: {name}
    results:
      - task: {{type: image-classification}}
        dataset: {{type: {hub}, name: "{data}", split: test}}
        metrics:
          - {{type: accuracy, value: {accuracy:.4f}}}
---

# {name}

{network} for {size} pixels, trained on {data}: {classes} classes. It takes raw pixels, 0 to 255, and returns logits.{found}

| | |
|---|---|
| test accuracy | **{test}**, one seed ({seed}) |
| validation accuracy | {validation} |
| training images, epochs | {train:,}, {epochs} |
| trainable parameters, multiply-adds | {parameters:,}, {multiply_adds:,} |
{exports}| machine | {machine} |

![Loss and accuracy in the training](history.png)

```python
import keras_resnet as kr

model = kr.load("{name}")
```

This command trained it:

```sh
{command}
```

`report.html` shows the training, the mistakes and the files. `metrics.json` has the accuracy of every class. `sample.png` is the
first test image.

## Limits

The network has {classes} classes, listed in `labels.txt`. It puts every image into one of them, whatever the image shows.
{caution}Its accuracy is that of one seed: another seed gives another accuracy. It has not been tested for bias of any kind.
"""


def percent(share: float, count: int) -> str:
    low, high = interval(share, count)
    return f"{100 * share:.1f} % ({100 * low:.1f} to {100 * high:.1f}; {count:,} images)"


def data_set(run: Run) -> str:
    source = str(run.data.get("source") or run.path.name)
    return DATA_SETS.get(source, source)


def checks_of(run: Run) -> list[dict]:
    return json.loads((run.export_path / "report.json").read_text())


def card(run: Run, name: str, command: str) -> str:
    """The model card, of what the files of the run say."""
    metrics, cost, source = run.metrics, cost_of(run.spec), str(run.data.get("source"))
    hub = ON_THE_HUB.get(source)
    rows = [
        f"| `export/{check['file']}` | {check['bytes']:,} bytes, {percent(check['accuracy'], metrics['test']['images'])} |\n"
        for check in checks_of(run)
    ]
    found, network = json.loads((run.path / "environment.json").read_text()), described(run.spec)
    return CARD.format(
        name=name,
        network=f"`{network}`" if network in SPECS else network.capitalize(),
        found=f" A search found it: `{FOUND_BY[name]}`, with its answer in `tuning/README.md`." if name in FOUND_BY else "",
        datasets=f"datasets: [{hub}]\n" if hub else "",
        hub=hub or source,
        caution=CAUTIONS.get(source, ""),
        data=data_set(run),
        size="x".join(map(str, run.spec.input_shape[:2])),
        classes=run.spec.classes,
        accuracy=metrics["test"]["accuracy"],
        **{split: percent(metrics[split]["accuracy"], metrics[split]["images"]) for split in ("test", "validation")},
        train=metrics["images"]["train"],
        seed=metrics["seed"],
        epochs=metrics["epochs"],
        parameters=cost.trainable,
        multiply_adds=cost.multiply_adds,
        exports="".join(rows),
        machine=f"{found['processor']}, {found['cores']} cores, {BACKENDS[found['backend']]}, {found['date'][:10]}",
        command=command,
    )


def ship(run: Run, name: str, command: str, data_dir: str | None) -> None:
    """Copy the run, export and report it, and write its card; then put it among the others."""
    if (FOLDER / name).exists():
        sys.exit(f"{FOLDER / name} exists: remove it first")
    images = ["--data-dir", data_dir] if data_dir else []
    program = [sys.executable, "-m", "keras_resnet"]
    with TemporaryDirectory() as parent:
        folder = Path(parent, name)
        folder.mkdir()
        for file in set(CONTENTS) - LEFT_OUT:
            if (run.path / file).exists():
                shutil.copy(run.path / file, folder / file)
        write_json(folder / "data.json", run.data | {"data_dir": None})  # which is of this machine
        for kind in KINDS:
            subprocess.run([*program, "export", folder, "--format", "tflite", "--quantize", kind, *images], check=True)
        subprocess.run([*program, "report", folder, *images], check=True)
        replace_text(folder / "README.md", card(Run.open(folder), name, command))
        shutil.move(folder, FOLDER / name)


def table() -> str:
    """A row for each shipped network."""
    rows = ["| `kr.load(...)` | images | parameters | test accuracy | int8 | int8 file |", "|---|---|---|---|---|---|"]
    for run in (Run.open(file.parent) for file in sorted(FOLDER.glob("*/model.keras"))):
        name = run.path.name
        test = run.metrics["test"]
        integer = next(check for check in checks_of(run) if check["file"] == "model_int8.tflite")
        rows.append(
            f"| [`{name}`]({name}/README.md) | {data_set(run)} | {cost_of(run.spec).trainable:,} "
            f"| {percent(test['accuracy'], test['images'])} | {100 * integer['accuracy']:.1f} % | {integer['bytes']:,} bytes |"
        )
    return "\n".join(rows)


def with_table(page: str) -> str:
    """The page with the table of today."""
    before, rest = page.split(START)
    return f"{before}{START}\n\n{table()}\n\n{END}{rest.split(END)[1]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?")
    parser.add_argument("name", nargs="?")
    parser.add_argument("--command")
    parser.add_argument("--data-dir")
    options = parser.parse_args()
    if any((options.run, options.name, options.command, options.data_dir)):
        if not (options.run and options.name and options.command):
            parser.error("RUN, NAME and --command go together")
        ship(Run.open(options.run), options.name, options.command, options.data_dir)
    replace_text(FOLDER / "README.md", with_table((FOLDER / "README.md").read_text()))


if __name__ == "__main__":
    main()
