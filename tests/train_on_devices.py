"""Trains by each strategy that its arguments ask for, and prints the losses: a process of its own for `test_distribute.py`.

python train_on_devices.py OUT '{"devices": 2, "strategies": ["one", "mirrored"], "recipe": {...}, "fit": {...}}'
"""

import dataclasses
import json
import os
import sys
import time

out, settings = sys.argv[1], json.loads(sys.argv[2])
count = settings.get("devices", 1)
os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={count} --xla_backend_optimization_level=0"
os.environ["TF_NUM_INTEROP_THREADS"] = "2"  # as many as devices: they wait for one another

import keras
import numpy as np

import keras_resnet as kr
from keras_resnet.training.distribute import choose

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    parts = [tf.config.LogicalDeviceConfiguration()] * count
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], parts)


class Losses(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.losses = []

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append(float(logs["loss"]))
        print("step", len(self.losses), file=sys.stderr, flush=True)
        if len(self.losses) == settings.get("wait_at"):
            time.sleep(60)  # to be killed


auto = choose("auto").replicas if "strategies" in settings else None
digits = kr.data.load("digits")
sizes = {"train": 96, "validation": 32, "test": 32}
splits = {name: (digits.splits[name].take(np.arange(size)), digits.splits[name].labels[:size]) for name, size in sizes.items()}
spec = dataclasses.replace(kr.SPECS["resnet8"], depths=(1,), widths=(4,), stem_width=4)
changes = {"learning_rate_batch": None, "warmup": 0, "sync_norm": True, "ema": 0.5, "weight_decay": 0.02, "layer_decay": 0.5}
recipe = dataclasses.replace(kr.RECIPES["digits"], epochs=2, batch_size=8, **changes)
recipe = dataclasses.replace(recipe, **settings.get("recipe", {}))
data = kr.data.from_arrays(splits, class_names=list(digits.class_names))
for strategy in settings.get("strategies", ["auto"]):
    devices, watch = choose(strategy), Losses()
    keras.utils.set_random_seed(5)
    teacher = kr.build(spec, input_shape=(8, 8, 1))
    head = teacher.get_layer("logits")
    head.set_weights([100 * weight for weight in head.get_weights()])  # its loss is as large as that of the labels
    fields = {"strategy": devices, "seed": 4, "callbacks": [watch], "verbose": 0, "teacher": teacher, **settings.get("fit", {})}
    run = kr.fit(spec, recipe, data, os.path.join(out, strategy), **fields)
    last = keras.saving.load_model(run.model_path).get_weights()
    result = {
        "auto": auto,
        "replicas": devices.replicas,
        "workers": devices.workers,
        "losses": watch.losses,
        "history": (run.path / "history.csv").read_text(),
        "test": run.metrics["test"],
        "weights": [float(np.abs(weight).sum()) for weight in last],
    }
    print(json.dumps(result))
