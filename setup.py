"""Package metadata. Floors, not pins: the lowest versions that work together."""

from pathlib import Path

from setuptools import find_packages, setup

# TensorFlow below 2.20 does not go with the protobuf that TensorFlow Datasets wants; Keras below 3.15.1 lacks security fixes
# for loading files; ai-edge-litert below 2.1 does not import beside TensorFlow; tf2onnx below 1.17 does not know Keras 3;
# TensorFlow Datasets needs importlib_resources to prepare a set and does not say so; typer below 0.28 has other exceptions.
# The AI Edge Quantizer below 0.10 has no int4 convolutions; of the next version its module of ranges has to be tried first.
# Optuna below 5 takes constraints otherwise.
# Keras and KerasTuner have an upper bound for what hooks.py replaces and reads in them: raise it when tests/test_hooks.py passes.
EXTRAS = {
    "tensorflow": ["tensorflow>=2.20,<2.22"],
    "data": ["importlib_resources>=6", "tensorflow-datasets>=4.9.9", "scikit-learn>=1.4"],
    "hub": ["huggingface_hub>=1.0"],
    "watch": ["tensorboard>=2.20"],
    "search": [
        *("cryptography>=42", "grpcio>=1.60", "jinja2>=3.1", "keras-tuner>=1.4.7,<1.5", "optuna>=5.0"),
        *("scikit-learn>=1.4", "scipy>=1.11", "sqlalchemy>=2.0", "tensorboard>=2.20"),
    ],
    "report": ["jinja2>=3.1"],
    "export": ["ai-edge-litert>=2.1", "ai-edge-quantizer>=0.10,<0.11", "onnxruntime>=1.22", "tf2onnx>=1.17,<2"],
}
EXTRAS["all"] = sorted({requirement for extra in EXTRAS.values() for requirement in extra})
EXTRAS |= {"postgresql": ["psycopg[binary]>=3.2"], "mysql": ["pymysql>=1.1"]}  # databases for a search on many machines
EXTRAS |= {"jax": ["jax>=0.7"], "torch": ["torch>=2.7"]}  # other backends of Keras
EXTRAS["test"] = ["mypy>=1.15", "pytest>=8", "pytest-timeout>=2.3", "pytest-xdist>=3.6", "pyyaml>=6"]
EXTRAS["lint"] = ["mypy>=1.15", "ruff>=0.12"]
EXTRAS["docs"] = ["mkdocs-material>=9.6", "mkdocstrings[python]>=0.29"]
TINY_IMAGENET = [f"weights/tiny_imagenet/{name}" for name in ("model.safetensors", "spec.json", "labels.txt", "README.md")]

setup(
    name="keras-residual",
    version="0.2.0",
    description="Residual networks for Keras 3, from a spec to a phone",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["keras_resnet", "keras_resnet.*"]),
    package_data={"keras_resnet": ["py.typed", "report/templates/*", *TINY_IMAGENET]},
    install_requires=[
        "keras>=3.15.1,<3.16",
        "matplotlib>=3.8",
        "numpy>=1.26",
        "pillow>=10.3",
        "rich>=13",
        "safetensors>=0.5",
        "typer>=0.28",
    ],
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["keras-resnet=keras_resnet.__main__:main"]},
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: MacOS",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
)
