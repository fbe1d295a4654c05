"""An int8 file for phones: a network is trained, exported, checked against the Keras model, and run by LiteRT alone.

Expected: the file passes the check, and LiteRT's CompiledModel gives the class of the first test image. Takes about half a minute.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from ai_edge_litert.compiled_model import CompiledModel

import keras_resnet as kr

with TemporaryDirectory() as folder:
    data = kr.data.load("digits")
    run = kr.fit("resnet8", "digits", data, out=Path(folder, "run"), verbose=0)
    check = kr.export.tflite(run, quantize="int8", batch=1)
    print(f"{check.verdict}: {check.bytes:,} bytes, agrees on {check.agreed} of {check.images} images")
    assert check.passed, check.problem

    file = CompiledModel.from_buffer((run.export_path / check.file).read_bytes())
    inputs, outputs = file.create_input_buffers(0), file.create_output_buffers(0)
    inputs[0].write(data.splits["test"].take(np.arange(1)).astype("uint8"))  # raw pixels
    file.run_by_index(0, inputs, outputs)
    scores = outputs[0].read(10, np.uint8)  # one byte for each class; the best class has the largest
    print(f"the first test image is a {run.class_names[scores.argmax()]}")
    assert run.class_names[scores.argmax()] == run.metrics["sample"]["class"]
