"""The results for one picture: top classes and times of the Keras network and of its exported files, Grad-CAM, and feature maps at
the end of each stage."""

import io
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from keras_resnet import analysis
from keras_resnet.data.images import decode, reason
from keras_resnet.errors import InputError
from keras_resnet.files.model_file import ModelFile
from keras_resnet.files.predictions import best, scores_by_value
from keras_resnet.networks.variants import name_of
from keras_resnet.report.pixels import heat_uri, image_uri
from keras_resnet.report.templates import FOLDER, render
from keras_resnet.runs.run import Run

TOP = 5  # classes that are shown
ROUNDS = 5  # timed runs; their median is shown


class Answers:
    """A run and its exported files, opened to process one picture after the other.

    Args:
        run: a run that takes grey or colour images; InputError for another one.
        files: exported files; InputError if one cannot be opened.
    """

    def __init__(self, run: Run, files: Sequence[Path] = ()) -> None:
        run.spec.require_pictures()
        self.run, self.shape = run, run.spec.require_sizes("resizing an image")
        self.model = run.load()
        self.open = ExitStack()
        self.files = [self.open.enter_context(ModelFile(path, threads=1)) for path in (run.model_path, *files)]
        self.one_at_a_time = Lock()  # each file has one process, and decoding takes much memory

    def close(self) -> None:
        """End the processes of the files."""
        self.open.close()

    def for_picture(self, content: bytes) -> dict[str, Any]:
        """All results for the content of an image file, pictures as data URIs, times in ms. InputError if it is not an image."""
        with self.one_at_a_time:
            try:
                pixels = decode(io.BytesIO(content), self.shape)
            except Exception as error:  # Pillow raises many kinds
                raise InputError(f"this is not a readable image: {reason(error)}") from None
            start = time.perf_counter()
            rows = [self.row(file, pixels[None]) for file in self.files]
            images = pixels[None].astype("float32")
            [heat] = analysis.grad_cam(self.model, images)
            maps = analysis.features(self.model, images)
            return {
                "image": image_uri(pixels),
                "files": rows,
                "heat": heat_uri(pixels, heat / max(float(heat.max()), 1e-9)),
                "stages": [{"name": name, "picture": image_uri(strongest(found[0]))} for name, found in maps.items()],
                "seconds": round(time.perf_counter() - start, 2),
            }

    def row(self, file: ModelFile, images: np.ndarray) -> dict[str, Any]:
        """Top classes and time of one model file, or its error message."""
        try:
            [output], seconds = file(images), file.seconds(images, ROUNDS)
        except InputError as error:
            return {"file": file.path.name, "problem": str(error), "classes": []}
        names = self.run.class_names
        scores = file.scores or scores_by_value(output[None]) or "probabilities"
        return {
            "file": file.path.name,
            "milliseconds": round(1000 * float(np.median(seconds)), 2),
            "classes": [{"class": names[number], "probability": share} for number, share in best(output, TOP, scores)],
        }


def page(run: Run) -> str:
    """The HTML of the page, whose script sends pictures to the server."""
    return render("demo", scripts=[FOLDER / "demo.js", FOLDER / "server.js"], **heading(run))


def heading(run: Run) -> dict[str, Any]:
    """What a page says about the network of a run. InputError for one that takes no pictures."""
    spec = run.spec
    spec.require_pictures()
    size = "x".join(map(str, spec.require_sizes("resizing an image")[:-1]))
    return {"title": f"Try {run.path.resolve().name}", "network": name_of(spec), "classes": spec.classes, "size": size}


def strongest(maps: np.ndarray) -> np.ndarray:
    """The channel of maps (height, width, channels) with the largest mean square, as a grey picture (height, width, 1)."""
    channel = maps[..., np.square(maps).mean((0, 1)).argmax()]
    low, high = float(channel.min()), float(channel.max())
    return 255 * (channel[..., None] - low) / max(high - low, 1e-9)
