"""One `.keras` file on every backend that is installed: the same logits, training with and without recomputation, and a teacher;
and an export of a network that the backend built."""

import os
import subprocess
import sys
from importlib.util import find_spec

import keras
import numpy as np
import pytest

import keras_resnet as kr

SMALL = {"input_shape": (16, 16, 3), "classes": 5, "depths": (1, 1), "widths": (16, 32), "stem_width": 16}
QUICK = "--xla_backend_optimization_level=0"  # XLA compiles longer than these networks run
NETWORKS = {
    "resnet50v2": {"antialias": "mirror", "squeeze": 4, "activation": "silu"},
    "resnet50d": {"groups": 2, "shortcut_gate": "exclusive", "output_stride": 4, "activation": "gelu", "norm": None},
    "resnetrs50": {"channel_attention": True, "squeeze": None, "norm": "group", "norm_groups": 4, "branch_scale": 0.2},
}
SCRIPT = """
import random, keras, numpy as np, keras_resnet as kr
random.seed(0)  # Keras draws its seeds from it; `keras.utils.set_random_seed` would import TensorFlow
images = np.load("images.npy")
assert keras.backend.backend() == BACKEND
for name, fields in NETWORKS.items():
    np.save(f"{name}-{BACKEND}.npy", kr.load(f"{name}.keras").predict_on_batch(images))
kr.build("resnet20", **SMALL).save(f"built-{BACKEND}.keras")
np.save(f"built-{BACKEND}.npy", kr.load(f"built-{BACKEND}.keras").predict_on_batch(images))
labels, logits = np.arange(5) % 3, keras.ops.convert_to_tensor(np.random.default_rng(0).normal(size=(5, 5)).astype("float32"))
for smoothing, targets in ((0.0, labels), (0.1, np.eye(5, dtype="float32")[labels])):
    recipe = kr.Recipe(label_smoothing=smoothing)
    plain = np.array([float(recipe.make_loss()(targets[i : i + 1], logits[i : i + 1])) for i in range(5)])
    weighted = float(recipe.make_loss(class_weights=[1, 2, 5, 1, 1])(targets, logits))
    np.testing.assert_allclose(weighted, np.mean(plain * np.array([1, 2, 5])[labels]), rtol=1e-5)
losses = []
for remat in (False, True):
    random.seed(0)
    model = kr.build("resnet20", stochastic_depth=0.5, remat=remat, **SMALL)
    model.compile(keras.optimizers.SGD(0.05), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    losses.append([float(model.train_on_batch(images, np.arange(len(images)))) for _ in range(3)])
np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)
assert losses[0][2] != losses[0][0]
teacher, student = kr.load(f"built-{BACKEND}.keras"), kr.build("resnet20", **SMALL)
for weight in student.trainable_weights:
    weight.assign(weight - 9.0 * weight.path.endswith("beta"))  # all maps are zero behind their ReLU
kr.Recipe(epochs=1, distill="features").compile(student, 1, teachers=[teacher])
assert np.isfinite(student.train_on_batch(images, np.arange(5))[0])
assert all(np.isfinite(weights).all() for weights in student.get_weights())
"""
EXPORT = """
import numpy as np, keras_resnet as kr
pixels, labels = np.random.default_rng(0).integers(0, 256, (45, 16, 16, 3), "uint8"), np.arange(45) % 5
data = kr.data.from_arrays({name: (pixels, labels) for name in ("train", "validation", "test")})
check = kr.export.tflite(kr.build("resnet20", **SMALL), data=data, out=f"exported-{BACKEND}")
assert check.passed and check.agreed == check.images == 135, check
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Networks with weights and moving statistics unlike those of the start, images, and the logits of this backend."""
    folder = tmp_path_factory.mktemp("backends")
    generator = np.random.default_rng(0)
    images = generator.uniform(0, 255, (5, 16, 16, 3)).astype("float32")
    np.save(folder / "images.npy", images)
    for name, fields in NETWORKS.items():
        model = kr.build(name, **SMALL | fields)
        for weight in model.weights:
            start = 0.5 if "variance" in weight.path or "gamma" in weight.path else -0.1
            if len(weight.shape) == 1:
                weight.assign(generator.uniform(start, start + 0.3, weight.shape))
        model.save(folder / f"{name}.keras")
        np.save(folder / f"{name}.npy", model.predict_on_batch(images))
    return folder


def run(script, backend, folder, monkeypatch):
    """Run a script in `folder`, on a backend; in a process of its own where that is another one."""
    if find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    script = f"BACKEND, NETWORKS, SMALL = {backend!r}, {NETWORKS!r}, {SMALL!r}\n{script}"
    if backend == keras.backend.backend():
        monkeypatch.chdir(folder)
        exec(script, {})
    else:
        environment = os.environ | {"KERAS_BACKEND": backend, "XLA_FLAGS": QUICK}
        done = subprocess.run([sys.executable, "-c", script], cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("backend", [pytest.param("tensorflow", marks=pytest.mark.slow), "jax", "torch"])
def test_same_file_same_logits(backend, folder, monkeypatch):
    run(SCRIPT, backend, folder, monkeypatch)
    for name in NETWORKS:
        expected = np.load(folder / f"{name}.npy")
        assert np.ptp(expected) > 0.01
        np.testing.assert_allclose(np.load(folder / f"{name}-{backend}.npy"), expected, rtol=1e-5, atol=1e-5, err_msg=name)
    built = keras.saving.load_model(folder / f"built-{backend}.keras")
    logits = built.predict_on_batch(np.load(folder / "images.npy"))
    np.testing.assert_allclose(logits, np.load(folder / f"built-{backend}.npy"), rtol=1e-5, atol=1e-5)


@pytest.mark.slow  # tests/test_export.py exports with JAX as the name of the backend
@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_a_network_of_the_backend_is_exported(backend, folder, monkeypatch):
    run(EXPORT, backend, folder, monkeypatch)
