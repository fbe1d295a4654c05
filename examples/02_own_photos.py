"""A classifier from a folder of pictures with a subfolder for each class: one call chooses network, initial weights and recipe.

Expected: more than 80 % of the test pictures, in about a minute. The pictures, drawn here, are squares and discs on noise.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image, ImageDraw

import keras_resnet as kr


def picture(kind: str, random: np.random.Generator) -> Image.Image:
    width, height = random.integers(40, 120, 2)
    image = Image.fromarray(random.integers(0, 160, (height, width, 3), dtype="uint8"))
    x, y, size = random.uniform(0.2, 0.4) * width, random.uniform(0.2, 0.4) * height, 0.4 * min(width, height)
    draw = ImageDraw.Draw(image)
    shape = draw.rectangle if kind == "square" else draw.ellipse
    shape((x, y, x + size, y + size), fill=tuple(random.integers(160, 255, 3).tolist()))
    return image


with TemporaryDirectory() as name:
    random, photos = np.random.default_rng(0), Path(name, "photos")
    for kind in ("square", "disc"):
        (photos / kind).mkdir(parents=True)
        for number in range(80):
            picture(kind, random).save(photos / kind / f"{number}.png")
    run = kr.fit(None, None, photos, out=Path(name, "run"), verbose=0)  # no network, no recipe: they are chosen
    test = run.metrics["test"]
    print(f"{run.metrics['network']} from {run.metrics['init']}: test accuracy {test['accuracy']:.3f} of {test['images']} pictures")
    assert test["accuracy"] > 0.8
