"""`Teacher`: a trained network that another one learns from, see `Recipe.distill`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeAlias

import keras
import numpy as np

from keras_resnet.data import Dataset
from keras_resnet.errors import InputError, shown
from keras_resnet.networks.cost import cost_of
from keras_resnet.networks.layers import build
from keras_resnet.networks.spec import ResNetSpec
from keras_resnet.recipes.distillation import PICTURE
from keras_resnet.recipes.recipe import Recipe
from keras_resnet.runs.run import Run
from keras_resnet.training.first_weights import FirstWeights, classifier_of, take_weights
from keras_resnet.training.precision import POLICIES

PASSES = 3  # through a network, that a training step costs; a teacher adds one through itself


@dataclass(frozen=True, eq=False)
class Teacher:
    """A trained network: weights of this package, or any Keras classifier."""

    name: str
    source: FirstWeights | keras.Model

    @classmethod
    def of(cls, teacher: "AnyTeacher") -> "Teacher":
        """That of a run or its folder, of a file of weights or the name of one (see `weights.read`), or a Keras model that puts out
        (batch, classes). InputError if it is none of these."""
        if isinstance(teacher, Teacher):
            return teacher
        if isinstance(teacher, keras.Model):
            if not teacher.built:
                raise InputError(f"the teacher {teacher.name!r} has no weights yet: build and load it first")
            return cls(teacher.name, teacher)
        if not isinstance(teacher, str | Path | Run | FirstWeights):
            raise InputError(f"teacher={shown(teacher)}: expected a run, a file or name of weights, or a Keras model")
        first = FirstWeights.of(teacher)
        return cls(first.name, first)

    def check(self, data: Dataset, recipe: Recipe) -> None:
        """InputError where the images have other classes or channels, or the recipe cannot use a teacher."""
        check_recipe(recipe)
        if isinstance(self.source, keras.Model):
            return  # `distill` tries it
        if (run := self.source.run) and run.was_trained and run.recipe.loss == "binary":
            raise InputError(
                f"the teacher {self.name!r} was trained with loss='binary', which decides each class by itself, and a teacher "
                "compares all classes: take one that was trained with loss='softmax'"
            )
        names, theirs, taken = list(data.class_names), self.class_names(data), self.source.spec.input_shape
        if sorted(theirs) != sorted(names):
            raise InputError(f"the teacher {self.name!r} has the classes {listed(theirs)}, and the images have {listed(names)}")
        if len(taken) != len(data.image_shape) or taken[-1] != data.image_shape[-1]:
            raise InputError(f"the teacher {self.name!r} takes images of {taken}, and these are of {data.image_shape}")

    def class_names(self, data: Dataset) -> list[str]:
        """In the order of its outputs. Where the weights do not name them: those of the images, if there are as many."""
        assert isinstance(self.source, FirstWeights)
        count, names = self.source.spec.classes, list(data.class_names)
        return self.source.class_names or (names if len(names) == count else [f"output {place}" for place in range(count)])

    def model(self, data: Dataset, recipe: Recipe) -> keras.Model:
        """The network, with its outputs in the order of the classes of `data`. A Keras model is taken as it is, any other network
        has the precision of the recipe."""
        if isinstance(self.source, keras.Model):
            return self.source
        spec, theirs = at_size_of(data.image_shape, self.source.spec), self.class_names(data)
        model = build(spec, name=f"teacher_{name_in_keras(self.name)}", dtype=POLICIES[recipe.precision])
        take_weights(model, self.source, self.source.class_names)  # the classifier too, and also where that is None
        head, order = classifier_of(model), [theirs.index(name) for name in data.class_names]
        head.set_weights([array[..., order] for array in head.get_weights()])
        return model

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the file of the weights, or of the weights of a Keras model."""
        if isinstance(self.source, FirstWeights):
            return self.source.digest
        return sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in self.source.get_weights())).hexdigest()

    @property
    def facts(self) -> dict[str, str]:
        """What `metrics.json` says of it."""
        return {"name": self.name, "kind": "weights" if isinstance(self.source, FirstWeights) else "model", "digest": self.digest}

    def in_words(self, student: ResNetSpec) -> str:
        """What it is, and what it adds to a training step of the network that learns from it."""
        if isinstance(self.source, keras.Model):
            return f"{self.name}, a Keras model of {self.source.count_params():,} parameters"
        spec = at_size_of(student.input_shape, self.source.spec)
        cost = cost_of(replace(spec, input_shape=student.input_shape) if None in spec.input_shape else spec).multiply_adds
        share = f"{cost / (PASSES * cost_of(student).multiply_adds):.0%}".replace("%", " %")
        return f"{self.name}, {cost:,} multiply-adds an image, which adds about {share} to a step{self.accuracy}"

    @property
    def accuracy(self) -> str:
        """The accuracy in the metrics of its run, in words; empty if there is none."""
        run = self.source.run if isinstance(self.source, FirstWeights) else None
        found = run.metrics.get("validation", {}).get("accuracy") if run and (run.path / "metrics.json").is_file() else None
        return "" if found is None else f"; its validation accuracy was {found:.4f}"


Teachers = Sequence[Teacher]
AnyTeacher: TypeAlias = str | Path | Run | FirstWeights | keras.Model | Teacher
"""What a teacher may be given as."""


def teachers_of(given: Any) -> list[Teacher]:
    """The teachers of a training, given as None, one or several."""
    if given is None:
        return []
    return [Teacher.of(each) for each in (given if isinstance(given, list | tuple) else [given])]


def check_recipe(recipe: Recipe) -> None:
    """InputError for a recipe that cannot have a teacher."""
    if recipe.loss == "binary":
        raise InputError("loss='binary' decides each class by itself, a teacher compares all classes: use loss='softmax'")
    if recipe.distill == "features" and recipe.remat:
        raise InputError("distill='features' needs remat=false: with remat=true the maps are not kept in memory")
    if recipe.distill == "features" and recipe.progressive:
        raise InputError("distill='features' compares maps of one size: it needs images of one size, without progressive resizing")


def at_size_of(image_shape: tuple[int | None, ...], spec: ResNetSpec) -> ResNetSpec:
    """A teacher for images of a shape: signals and volumes are not resized, so it takes those as they are."""
    return spec if len(image_shape) == PICTURE else replace(spec, input_shape=image_shape)


def listed(names: list[str]) -> str:
    """The first few of them."""
    first = ", ".join(names[:4])
    return f"{first}, ... ({len(names):,})" if len(names) > 4 else first


def name_in_keras(name: str) -> str:
    """A name of a file or folder as Keras takes one of a model."""
    return "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in Path(name).stem)
