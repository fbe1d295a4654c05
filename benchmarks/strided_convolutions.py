"""Convolutions with strides, as the installed LiteRT computes them and as Keras does: python benchmarks/strided_convolutions.py

Another version of LiteRT: pip install --no-deps --target FOLDER ai-edge-litert==2.1.5, and PYTHONPATH=FOLDER before the command.
The result goes into strided_convolutions.json, by version.
"""

import importlib.metadata
import json
from itertools import product
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

KERNELS, STRIDES, SIZES = (1, 2, 3, 5, 7), ((2, 2), (3, 3), (4, 4), (8, 8), (3, 4), (4, 3)), (24, 32, 33)
MOST = 1e-4  # difference


def outputs(kernel, strides, size, generator):
    """Of one convolution with padding "same": what LiteRT gives, and what Keras gives."""
    pixels = generator.normal(size=(1, size, size, 3)).astype("float32")
    image = keras.Input((size, size, 3), batch_size=1)
    model = keras.Model(image, keras.layers.Conv2D(8, kernel, strides=strides, padding="same")(image))
    interpreter = Interpreter(model_content=tf.lite.TFLiteConverter.from_keras_model(model).convert())
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], pixels)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"]), model.predict_on_batch(pixels)


def main():
    generator, wrong, zeros = np.random.default_rng(0), [], 0
    cases = list(product(KERNELS, STRIDES, SIZES))
    for kernel, strides, size in cases:
        found, expected = outputs(kernel, strides, size, generator)
        if np.abs(found - expected).max() > MOST:
            wrong.append(f"kernel {kernel}, strides {strides}, image {size}")
            zeros += not found.any()
    path = Path(__file__).with_suffix(".json")
    results = json.loads(path.read_text()) if path.is_file() else {}
    version = importlib.metadata.version("ai-edge-litert")
    results[version] = {"convolutions": len(cases), "wrong": len(wrong), "only_zeros": zeros, "which": wrong}
    path.write_text(json.dumps(dict(sorted(results.items())), indent=1) + "\n")
    print(f"ai-edge-litert {version}: {len(wrong)} of {len(cases)} are wrong, {zeros} of them only zeros")


if __name__ == "__main__":
    main()
