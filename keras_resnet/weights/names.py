"""Weights by name: those that come with this package or its repository, keras.applications' for ImageNet, and repositories of the
Hugging Face Hub.

`find` gives the file of a name, which is downloaded the first time; `KNOWN` lists names. Nothing heavy is imported here.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from keras_resnet.errors import InputError, shown, unknown
from keras_resnet.networks.spec import ResNetSpec
from keras_resnet.networks.variants import name_of
from keras_resnet.shipped import by_name, shipped
from keras_resnet.weights.download import cache, download
from keras_resnet.weights.hub import from_hub

IMAGENET, TINY_IMAGENET = "imagenet", "tiny-imagenet"
EMBEDDED = {TINY_IMAGENET: Path(__file__).parent / "tiny_imagenet" / "model.safetensors"}
KINDS = (".safetensors", ".pth", ".pt", ".bin", ".h5", ".keras", ".npz")
REPOSITORY = r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@\w[\w./-]*)?"
ADDRESS = re.compile(r"[a-z][a-z0-9]+://|hf[-_]hub:")
BASE = "KERAS_RESNET_WEIGHTS_URL"  # environment variable: where keras.applications' files are, for a mirror
GOOGLE = "https://storage.googleapis.com/tensorflow/keras-applications/resnet/"
HASHES = {  # MD5 with and without the classifier, as keras.applications has them
    "resnet50": ("2cb95161c43110f7111970584f804107", "4d473c1dd8becc155b73f8504c6f6626"),
    "resnet101": ("f1aeb4b969a6efcfb50fad2f0c20cfc5", "88cf7a10940856eca736dc7b7e228a21"),
    "resnet152": ("100835be76be38e30d865e96f2aaae62", "ee4c566cf9a93f14d82f913c2dc6dd0c"),
    "resnet50v2": ("3ef43a0b657b3be2300d5770ece849e0", "fac2f116257151a9d068a22e544a4917"),
    "resnet101v2": ("6343647c601c52e1368623803854d971", "c0ed64b8031c3730f411d2eb4eea35b5"),
    "resnet152v2": ("a49b44d1979771252814e80f8ec446f9", "ed17cf2e0169df9d443503ef94b23b33"),
}
ON_THE_HUB = {"resnet18": "timm/resnet18.tv_in1k", "resnet34": "timm/resnet34.tv_in1k"}
"""What "imagenet" means for networks that keras.applications does not have: torchvision's weights."""


@dataclass(frozen=True)
class Known:
    """Weights with a name: what `weights=` takes, their network, and what was published of them."""

    weights: str
    network: str
    parameters: str
    top1: float
    """Percent, on the validation images of ImageNet; of Tiny ImageNet for `tiny-imagenet`."""
    pixels: int
    """Height and width of the images of `top1`."""
    licence: str
    source: str


MIT, FACEBOOK = "MIT", "not stated with the files; the port is of BSD code"
APPLICATIONS, TIMM = "keras.applications", "Hugging Face Hub, timm"
KNOWN = (
    Known(TINY_IMAGENET, "resnet18d, narrow", "1.98M", 55.3, 64, "see its model card", "comes with this package"),
    Known(IMAGENET, "resnet18", "11.7M", 69.8, 224, "bsd-3-clause", f"{TIMM}/resnet18.tv_in1k"),
    Known(IMAGENET, "resnet34", "21.8M", 73.3, 224, "bsd-3-clause", f"{TIMM}/resnet34.tv_in1k"),
    Known(IMAGENET, "resnet50", "25.6M", 74.9, 224, MIT, APPLICATIONS),
    Known(IMAGENET, "resnet101", "44.7M", 76.4, 224, MIT, APPLICATIONS),
    Known(IMAGENET, "resnet152", "60.4M", 76.6, 224, MIT, APPLICATIONS),
    Known(IMAGENET, "resnet50v2", "25.6M", 76.0, 224, FACEBOOK, APPLICATIONS),
    Known(IMAGENET, "resnet101v2", "44.7M", 77.2, 224, FACEBOOK, APPLICATIONS),
    Known(IMAGENET, "resnet152v2", "60.4M", 78.0, 224, FACEBOOK, APPLICATIONS),
    Known("timm/resnet50.tv_in1k", "resnet50", "25.6M", 76.1, 224, "bsd-3-clause", TIMM),
    Known("timm/resnet50.tv2_in1k", "resnet50", "25.6M", 80.9, 224, "bsd-3-clause", TIMM),
    Known("timm/resnet10t.c3_in1k", "resnet10t", "5.4M", 68.4, 224, "apache-2.0", TIMM),
    Known("timm/resnet14t.c3_in1k", "resnet14t", "10.1M", 72.3, 224, "apache-2.0", TIMM),
    Known("timm/resnet18.a1_in1k", "resnet18", "11.7M", 73.2, 288, "apache-2.0", TIMM),
    Known("timm/resnet18d.ra2_in1k", "resnet18d", "11.7M", 73.8, 288, "apache-2.0", TIMM),
    Known("timm/resnet34.a1_in1k", "resnet34", "21.8M", 77.9, 288, "apache-2.0", TIMM),
    Known("timm/resnet50.a1_in1k", "resnet50", "25.6M", 81.2, 288, "apache-2.0", TIMM),
    Known("timm/resnet101.a1_in1k", "resnet101", "44.5M", 82.3, 288, "apache-2.0", TIMM),
    Known("timm/resnet152.a1_in1k", "resnet152", "60.2M", 82.7, 288, "apache-2.0", TIMM),
    Known("timm/resnet26d.bt_in1k", "resnet26d", "16.0M", 77.4, 288, "apache-2.0", TIMM),
    Known("timm/resnet34d.ra2_in1k", "resnet34d", "21.8M", 78.4, 288, "apache-2.0", TIMM),
    Known("timm/resnet50d.ra2_in1k", "resnet50d", "25.6M", 81.4, 288, "apache-2.0", TIMM),
    Known("timm/resnet101d.ra2_in1k", "resnet101d", "44.6M", 83.0, 320, "apache-2.0", TIMM),
    Known("timm/resnext50_32x4d.a1_in1k", "resnext50_32x4d", "25.0M", 81.5, 288, "apache-2.0", TIMM),
    Known("timm/wide_resnet50_2.tv2_in1k", "wide_resnet50_2", "68.9M", 81.6, 224, "bsd-3-clause", TIMM),
    Known("timm/seresnet50.ra2_in1k", "seresnet50", "28.1M", 81.3, 288, "apache-2.0", TIMM),
    Known("timm/ecaresnet50d.miil_in1k", "ecaresnet50d", "25.6M", 81.7, 288, "apache-2.0", TIMM),
    Known("timm/resnetrs50.tf_in1k", "resnetrs50", "35.7M", 79.9, 224, "apache-2.0", TIMM),
)
"""Top-1 as published: keras.io's table, the README of keras-applications, and timm's results-imagenet.csv."""


class Found(NamedTuple):
    """The file of weights, what is known of its origin, and the network that it has to be of."""

    path: Path
    about: dict[str, str]
    """Such as name, licence, url and revision; empty for a file of the caller."""
    spec: str | ResNetSpec | None
    """None where the file alone says which network it is of."""


def find(weights: str | Path, spec: str | ResNetSpec | None = None, *, classifier: bool = True) -> Found:
    """The file of weights: a path, or a name, whose file is downloaded the first time.

    Args:
        weights: a path; "tiny-imagenet"; the name of a trained network of this project, in a clone; "imagenet", with the network
            in `spec`; or a repository of the Hugging Face Hub, "owner/name" or "owner/name@revision".
        spec: the network. For "imagenet" and the name of a network, the file says the rest: keras.applications' "resnet50" has its
            stride on the first 1x1.
        classifier: False takes the smaller file without one, where there are two.

    InputError, in one line, for an unknown name, without a connection, and for a file with another hash than the published one.
    """
    if not isinstance(weights, str | os.PathLike) or not str(weights):
        raise InputError(f"weights={shown(weights)}: expected a file or a name, such as 'imagenet' or {TINY_IMAGENET!r}")
    path, name = by_name(weights), str(weights)
    if path.is_file():
        return Found(path, {}, spec)
    if name in EMBEDDED:
        return Found(EMBEDDED[name], {"name": name, "licence": "see its model card"}, spec)
    if name == IMAGENET:
        return imagenet(spec, classifier)
    if re.fullmatch(REPOSITORY, name) and path.suffix not in KINDS and not Path(path.parts[0]).exists():
        return Found(*from_hub(name), spec)
    if ADDRESS.match(name):
        raise InputError(
            f"{name!r} is an address: download the file and give its path, or write owner/name for the Hugging Face Hub"
        )
    if len(path.parts) == 1 and not path.suffix and not path.exists():
        raise unknown(
            "file, folder or known weights", name, [*EMBEDDED, IMAGENET, *shipped(), "owner/name of the Hugging Face Hub"]
        )
    return Found(path, {}, spec)


def imagenet(spec: str | ResNetSpec | None, classifier: bool) -> Found:
    """keras.applications' file for a network, or torchvision's where keras.applications has none."""
    network = spec if isinstance(spec, str) else "" if spec is None else name_of(spec)
    name = network.removesuffix("v1").removesuffix("_keras")
    rest = None if isinstance(spec, str) else spec
    if name in ON_THE_HUB:
        return Found(*from_hub(ON_THE_HUB[name]), spec)
    if name not in HASHES:
        given = f", and not {network!r}" if network else ""
        raise InputError(
            f"weights='imagenet' needs one of these networks{given}: {', '.join([*ON_THE_HUB, *HASHES])}; `keras-resnet list "
            "--weights` shows other weights"
        )
    file = f"{name}_weights_tf_dim_ordering_tf_kernels{'' if classifier else '_notop'}.h5"
    [row] = (row for row in KNOWN if (row.weights, row.network) == (IMAGENET, name))
    url = os.environ.get(BASE, GOOGLE).rstrip("/") + "/" + file
    about = {"name": IMAGENET, "network": name, "licence": row.licence, "url": url}
    return Found(download(url, cache() / file, md5=HASHES[name][not classifier], about=about), about, rest)
