"""A process of a search whose trials take no training: `search_process.py STUDY OUT chief|worker|storage PLACE NAME SECONDS`.

A trial waits for so many seconds, and its score follows from its values.
"""

import json
import sys
import time
from pathlib import Path

from keras_resnet import search
from keras_resnet.fields import to_json
from keras_resnet.runs.run import Run
from keras_resnet.search import trials

study, out, role, address, name, seconds = sys.argv[1:]


def pretend(study, spec, recipe, place, seed, alive=lambda: None):
    end = time.monotonic() + float(seconds)
    while time.monotonic() < end:
        alive()
        time.sleep(0.05)
    place.mkdir(parents=True, exist_ok=True)
    with (place / "trained").open("a") as file:
        file.write(f"{name}\n")
    accuracy = sum(spec.depths) / 100
    metrics = {"validation": {"accuracy": accuracy}, "kept_epoch": 1, "epochs": 1, "train_seconds": float(seconds), "seed": seed}
    metrics["images"] = {"validation": 287}
    (place / "spec.json").write_text(to_json(spec))
    (place / "recipe.json").write_text(to_json(recipe))
    for file, content in (("metrics.json", metrics), ("model.keras", {}), ("labels.txt", {})):
        (place / file).write_text(json.dumps(content))
    return Run.open(place)


trials.train_in_process = pretend
trials.WAIT = 0.1
lines = search.run(study, out, **{role: address}, name=name, lease=5, tell=lambda line: print(line, flush=True))
print("done", Path(out))
