"""Weights of other libraries: the logits of this package against those of each library, from the same random weights.

    python benchmarks/weights.py [--only PATTERN] [--size 64] [--json benchmarks/weights.json]

Rows of other networks in the JSON file are kept, so that parts can be run one after the other.

Weights and running statistics are random. Each library preprocesses the image itself. It runs what is installed of timm,
torchvision, transformers, keras-hub and keras.applications. BiT is timm's, written as an `.npz`. A network that a spec cannot
describe is listed with the line that refuses it.
"""

import argparse
import gc
import json
import re
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from keras_resnet import startup

startup.prepare()

import keras
import numpy as np

import keras_resnet as kr

MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
PACKAGES = ("keras", "torch", "torchvision", "timm", "transformers", "keras-hub")
# Other families of timm.
OTHERS = (
    r"resnest|skres|legacy|dla|nf_|tresnet|cspres|gcres|halo|bot|convnext|clip|res2|test_|hgnet|vit|inception|lambda|\dts$|\dq$"
)
BOTTLENECK = {"50": (3, 4, 6, 3), "101": (3, 4, 23, 3), "152": (3, 8, 36, 3)}
HUGGING_FACE = {
    "18": {"layer_type": "basic", "depths": [2, 2, 2, 2], "hidden_sizes": [64, 128, 256, 512]},
    "26": {"depths": [2, 2, 2, 2]},
    "34": {"layer_type": "basic", "depths": [3, 4, 6, 3], "hidden_sizes": [64, 128, 256, 512]},
    "50": {"depths": [3, 4, 6, 3]},
    "101": {"depths": [3, 4, 23, 3]},
    "152": {"depths": [3, 8, 36, 3]},
    "50, downsample_in_bottleneck": {"depths": [3, 4, 6, 3], "downsample_in_bottleneck": True},
    "50, downsample_in_first_stage": {"depths": [3, 4, 6, 3], "downsample_in_first_stage": True},
}


def randomized(model):
    """A PyTorch model with random running statistics, gammas and biases: those of a fresh one are zero or one."""
    import torch

    for name, value in model.state_dict().items():
        if name.endswith("running_var"):
            value.copy_(torch.exp(torch.randn_like(value) / 3))
        elif value.ndim == 1 and value.dtype == torch.float32:
            ones = name.endswith("weight")
            value.copy_(ones + torch.randn_like(value) / 4)
    return model.eval()


def of_torch(model, images, folder, config=None):
    """Logits of a PyTorch model and the file of its weights."""
    import torch

    mean, deviation = MEAN, DEVIATION
    if config:
        (folder / "config.json").write_text(json.dumps(config))
        preprocessing = config.get("pretrained_cfg", {"mean": MEAN, "std": DEVIATION})
        mean, deviation = (np.array(preprocessing[name]) for name in ("mean", "std"))
    torch.save(randomized(model).state_dict(), folder / "w.pth")
    inputs = torch.from_numpy(((images / 255 - mean) / deviation).astype("float32")).permute(0, 3, 1, 2)
    with torch.no_grad():
        out = model(inputs)
    return folder / "w.pth", getattr(out, "logits", out).numpy()


def of_timm(name, *where):
    """Logits of a network of timm and the file of its weights, with the settings that timm writes beside it."""
    import timm

    model = timm.create_model(name)
    settings = {key: model.pretrained_cfg[key] for key in ("mean", "std", "input_size")}
    return of_torch(model, *where, config={"architecture": name, "pretrained_cfg": settings})


def spread_out(model):
    """Random weights and statistics for a Keras model."""
    generator = np.random.default_rng(0)
    for weight in model.weights:
        spread = np.sqrt(2 / np.prod(weight.shape[:-1])) if weight.name == "kernel" else 0.25
        start = {"gamma": 1.0, "moving_variance": 1.5}.get(weight.name, 0.0)
        weight.assign(start + spread * np.clip(generator.normal(size=weight.shape), -3, 3))


def of_keras(name, images, folder):
    """Logits of a network of keras.applications and the file of its weights."""
    model = getattr(keras.applications, name)(weights=None, classifier_activation=None, input_shape=images.shape[1:])
    spread_out(model)
    model.save_weights(folder / "w.weights.h5")
    module = keras.applications.resnet_v2 if name.endswith("V2") else keras.applications.resnet
    return folder / "w.weights.h5", np.asarray(model(module.preprocess_input(images.copy()), training=False))


KERAS_HUB = {
    **{name: ("basic_block", depths, False) for name, depths in {"18": (2, 2, 2, 2), "34": (3, 4, 6, 3)}.items()},
    **{name: ("bottleneck_block", depths, False) for name, depths in BOTTLENECK.items()},
    "v2_18": ("basic_block", (2, 2, 2, 2), True),
    **{f"v2_{name}": ("bottleneck_block", depths, True) for name, depths in BOTTLENECK.items()},
    **{f"vd_{name}": ("basic_block_vd", depths, False) for name, depths in {"18": (2, 2, 2, 2), "34": (3, 4, 6, 3)}.items()},
    **{f"vd_{name}": ("bottleneck_block_vd", depths, False) for name, depths in BOTTLENECK.items()},
}


def of_keras_hub(name, images, folder, kind="keras"):
    """Logits of a network of KerasHub, which scales the images itself, and the file of its weights."""
    import keras_hub

    block, depths, is_second = KERAS_HUB[name]
    stem = ([32, 32, 64], [3, 3, 3]) if block.endswith("vd") else ([64], [7])
    backbone = keras_hub.models.ResNetBackbone(
        *stem, [64, 128, 256, 512], depths, [1, 2, 2, 2], block, use_pre_activation=is_second, image_shape=images.shape[1:]
    )
    scaled = {"scale": list(1 / 255 / DEVIATION), "offset": list(-MEAN / DEVIATION)}
    converter = keras_hub.layers.ResNetImageConverter(image_size=images.shape[1:3], **scaled)
    preprocessor = keras_hub.models.ResNetImageClassifierPreprocessor(converter)
    model = keras_hub.models.ResNetImageClassifier(backbone, num_classes=1000, preprocessor=preprocessor)
    spread_out(model)
    path = folder / f"w.{kind}"
    model.save(path) if kind == "keras" else model.save_weights(path)
    return path, np.asarray(model(preprocessor(images), training=False))


def of_bit(name, images, folder):
    """Logits of a BiT of timm, which standardises its kernels, and the `.npz` of its arrays by the names of BiT."""
    import timm
    import torch

    model = randomized(timm.create_model(name, num_classes=1000))
    arrays = {}
    for name, value in model.state_dict().items():
        value, layer = value.numpy(), name.rpartition(".")[0]
        kernel = "standardized_conv2d/kernel" if name.startswith(("stem", "stages")) else "conv2d/kernel"
        part = {"weight": "group_norm/gamma", "bias": "group_norm/beta"}[name.rpartition(".")[2]] if "norm" in layer else kernel
        if value.ndim == 4:
            value = value.transpose(2, 3, 1, 0)
        elif name == "head.fc.bias":
            part = "conv2d/bias"
        found = re.fullmatch(r"stages\.(\d+)\.blocks\.(\d+)\.(downsample|conv|norm)(\.conv|\d)", layer)
        place = {"stem.conv": "root_block/", "norm": "", "head.fc": "head/"}.get(layer)
        if found:
            unit = f"block{int(found[1]) + 1}/unit{int(found[2]) + 1:02}"
            place = f"{unit}/{'a/proj' if found[3] == 'downsample' else 'abc'[int(found[4]) - 1]}/"
        arrays[f"resnet/{place}{part}"] = value
    np.savez(folder / "w.npz", **arrays)
    with torch.no_grad():
        logits = model(torch.from_numpy((images / 127.5 - 1).astype("float32")).permute(0, 3, 1, 2))
    return folder / "w.npz", logits.numpy()


def networks():
    """(library, name, function of images and folder to file and logits) of all that is installed."""
    for name in (f"ResNet{layers}{suffix}" for suffix in ("", "V2") for layers in (50, 101, 152)):
        yield "keras.applications", name, lambda images, folder, name=name: of_keras(name, images, folder)
    if installed("keras-hub"):
        for name in KERAS_HUB:
            yield "keras_hub", name, lambda *where, name=name: of_keras_hub(name, *where)
        yield "keras_hub", "50, .weights.h5", lambda *where: of_keras_hub("50", *where, kind="weights.h5")
    if installed("torchvision"):
        from torchvision import models

        for name in [name for name in models.list_models() if re.match("(wide_)?res(net|next)", name)]:
            yield "torchvision", name, lambda *where, name=name: of_torch(models.get_model(name), *where)
    if installed("timm"):
        import timm

        for name in ("resnetv2_50x1_bit", "resnetv2_101x1_bit"):
            yield "BiT", name, lambda *where, name=name: of_bit(name, *where)
        for name in [name for name in timm.list_models() if re.search("resn(e|ex)t", name) and not re.search(OTHERS, name)]:
            yield "timm", name, lambda *where, name=name: of_timm(name, *where)
    if installed("transformers"):
        from transformers import ResNetConfig, ResNetForImageClassification

        for name, fields in HUGGING_FACE.items():
            config = ResNetConfig(num_labels=1000, **fields)
            yield (
                "transformers",
                name,
                lambda *where, config=config: of_torch(ResNetForImageClassification(config), *where, config=config.to_dict()),
            )


def installed(package):
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def compared(make, size):
    """The difference of the logits relative to the largest, or the line that refuses the file."""
    with tempfile.TemporaryDirectory() as folder:
        images = np.random.default_rng(1).integers(0, 256, (2, size, size, 3)).astype("float32")
        path, expected = make(images, Path(folder))
        try:
            spec = kr.weights.read(path).spec
        except kr.InputError as error:
            return {"refused": str(error).replace(str(path), path.name)}
        model = kr.build(spec, input_shape=(size, size, 3), weights=path)
        given = np.asarray(model(images, training=False))
        spread = float(np.abs(expected[0] - expected[1]).max() / np.abs(expected).max())
        return {"difference": float(np.abs(given - expected).max() / np.abs(expected).max()), "spread_of_two_images": spread}


def update(path, row, size):
    """Write the row in place of the one of its network. A file of other versions or image sizes is begun anew."""
    settings = {"size": size, "versions": {package: installed(package) for package in PACKAGES}}
    found = json.loads(path.read_text()) if path.exists() else {}
    rows = found.pop("rows", [])
    by_name = {(one["library"], one["network"]): one for one in [*(rows if found == settings else []), row]}
    path.write_text(json.dumps({**settings, "rows": list(by_name.values())}, indent=2) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="regular expression of library/name")
    parser.add_argument("--size", type=int, default=64, help="height and width of the images")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    for library, name, make in networks():
        if re.search(options.only, f"{library}/{name}"):
            row = {"library": library, "network": name, **compared(make, options.size)}
            print(json.dumps(row), flush=True)
            keras.backend.clear_session()
            gc.collect()
            if options.json:
                update(options.json, row, options.size)


if __name__ == "__main__":
    main()
