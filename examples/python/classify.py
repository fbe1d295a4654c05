"""Prints the best classes of pictures: python classify.py FILE.tflite PICTURE...

FILE is an export of keras-resnet with `--output softmax` or `--output top3`, and `--batch 1`.
Needs: pip install ai-edge-litert pillow numpy
"""

import math
import sys
import zipfile
from pathlib import Path

import numpy as np
from ai_edge_litert.compiled_model import CompiledModel
from PIL import Image, ImageOps

BEST = 3  # classes that are printed
ZERO = {"uint8": 0, "int8": -128}  # which integer means 0: CompiledModel does not tell


class Classifier:
    """The model of a file, compiled for the processor."""

    def __init__(self, file):
        self.model = CompiledModel.from_buffer(Path(file).read_bytes())
        [signature] = self.model.get_signature_list()
        [self.image] = self.model.get_input_tensor_details(signature).values()
        self.outputs = self.model.get_output_tensor_details(signature)
        self.labels = labels_of(Path(file))

    def run(self, pixels):
        """Pixels (height, width, channels) to a dictionary of outputs."""
        inputs, outputs = self.model.create_input_buffers(0), self.model.create_output_buffers(0)
        kind = np.dtype(self.image["dtype"])
        inputs[0].write((pixels[None].astype("float32") + ZERO.get(kind.name, 0)).astype(kind))
        self.model.run_by_index(0, inputs, outputs)
        found = {}
        for buffer, (name, output) in zip(outputs, self.outputs.items(), strict=True):
            found[name] = buffer.read(math.prod(output["shape"]), np.dtype(output["dtype"]).type)
        return found

    def probabilities(self, picture):
        """The probability of each class."""
        [(name, scores)] = self.run(pixels_of(picture, *self.image["shape"][1:])).items()
        if name != "probabilities":
            raise SystemExit(f"its output is {name}: export it with --output softmax")
        return scores if scores.dtype.kind == "f" else (scores.astype("float32") - ZERO[scores.dtype.name]) / 256

    def best(self, picture, count=BEST):
        """The names of the best classes with their probabilities."""
        if "classes" in self.outputs:  # of --output top3
            found = self.run(pixels_of(picture, *self.image["shape"][1:]))
            return [(self.labels[number], float(score)) for number, score in zip(found["classes"], found["scores"], strict=True)]
        probabilities = self.probabilities(picture)
        order = np.argsort(-probabilities, kind="stable")[:count]
        return [(self.labels[number], float(probabilities[number])) for number in order]


def pixels_of(picture, height, width, channels):
    """A picture turned upright, without transparency, scaled until it covers the network's size, and cropped to it."""
    image = ImageOps.exif_transpose(Image.open(picture))
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype("uint8"))
    image = ImageOps.fit(image.convert("L" if channels == 1 else "RGB"), (width, height), Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(height, width, channels)


def labels_of(file):
    """The names of the classes: those inside the file, or in a labels.txt beside it."""
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            return archive.read("labels.txt").decode().splitlines()
    return file.with_name("labels.txt").read_text(encoding="utf-8").splitlines()


def main(file, *pictures):
    """The exit code: 1 if a picture cannot be read."""
    classifier, code = Classifier(file), 0
    for picture in pictures:
        try:
            best = classifier.best(picture)
        except OSError as error:  # it is missing, damaged or no picture
            print(f"{picture}: {error}", file=sys.stderr)
            code = 1
        else:
            print(f"{picture}: " + ", ".join(f"{name} {probability:.1%}" for name, probability in best))
    return code


if __name__ == "__main__":
    if len(sys.argv) < 3:
        raise SystemExit(__doc__)
    raise SystemExit(main(*sys.argv[1:]))
