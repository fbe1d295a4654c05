"""A training as the options of `train` ask for it: checked before a framework is loaded, and carried out."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_resnet import recipes
from keras_resnet.cli.budget import named_teachers
from keras_resnet.cli.options import changes, check_taught, load_backend
from keras_resnet.cli.output import show_trained, verbosity
from keras_resnet.errors import InputError
from keras_resnet.networks import choice
from keras_resnet.networks.spec import ResNetSpec
from keras_resnet.networks.variants import resolve
from keras_resnet.recipes.automatic import AUTO
from keras_resnet.recipes.recipe import Recipe
from keras_resnet.runs.run import Run, check_free, check_outside, is_run
from keras_resnet.shipped import is_shipped
from keras_resnet.training.first_weights import FirstWeights

if TYPE_CHECKING:
    from keras_resnet.data import Dataset
    from keras_resnet.files.targets import Target
    from keras_resnet.training.choosing import Choice
    from keras_resnet.training.distribute import Distribution


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to train on what: options as they were given, None where they were not."""

    network: str | None
    init: Path | None
    data: str | None
    data_dir: Path | None
    image_size: int | None
    recipe: str | None
    set_: list[str] | None
    fields: dict[str, Any]
    """Of the recipe, that have options of their own."""
    teacher: list[Path] | None

    @cached_property
    def first(self) -> FirstWeights | None:
        """The weights of --init."""
        return FirstWeights.of(self.init, self.network) if self.init else None

    @property
    def start(self) -> Run | None:
        """The run of --init, if it is one."""
        return self.first.run if self.first else None

    @property
    def source(self) -> str | None:
        """The images; None for those of the run of --init."""
        return self.data if self.data is not None or self.first else "digits"

    @property
    def is_quantization_aware(self) -> bool:
        """Whether --quantization-aware is given."""
        return bool(self.fields["quantization_aware"])

    @property
    def knows_network(self) -> bool:
        """Whether the network is known before the images are."""
        return bool(self.network or self.first)

    @cached_property
    def basis(self) -> str | Recipe | None:
        """The recipe that options change: the one that was named or that of --init; None for the one that suits the images, also
        where --init has none."""
        if self.recipe or not self.start or not self.start.was_trained:
            return None if self.recipe == AUTO else self.recipe
        if self.data is None or self.is_quantization_aware:
            return recipes.fine_tuning(self.start.recipe, quantization_aware=self.is_quantization_aware)
        return self.start.recipe

    @cached_property
    def teachers(self) -> list[FirstWeights]:
        """The networks to learn from."""
        return named_teachers(self.teacher)

    def planned(self, recipe: str | Recipe, chosen: str | ResNetSpec | None = None) -> tuple[ResNetSpec, Recipe]:
        """Network and recipe as the options change them; `chosen` is the network where no option names one."""
        asked = self.first.to_train(self.network) if self.first else self.network
        return plan(asked or chosen or ResNetSpec(), recipe, self.set_, **self.fields)

    def check(self) -> tuple[ResNetSpec, Recipe]:
        """What is planned, as far as it is known without the images. InputError for mistakes in the options."""
        if self.first and self.data is None:
            self.check_images_of_init()
        spec, recipe = self.planned(self.basis or Recipe())
        check_taught(changes(self.set_, ResNetSpec, Recipe)[Recipe], has_teacher=bool(self.teachers))
        if recipe.quantization_aware and not self.first:
            raise InputError("quantization_aware=true needs a trained network: start from a run, file or name with init (--init)")
        return spec, recipe

    def check_images_of_init(self) -> None:
        """InputError if --init has no images, or not of the size that is asked for."""
        if not self.start:
            raise InputError(f"--init {self.init} has no images of its own: give some with --data")
        if self.image_size is not None:
            raise InputError("--image-size needs --data: the images of the run have their size already")

    def out(self, network: str) -> Path:
        """The run folder without --out, for a network of that name or path: beside the run of --init, if there is one and it is
        not of saved_models."""
        if self.start is None:
            return Path("runs") / f"{Path(str(self.source)).name}-{Path(network).stem}"
        path = self.start.path.resolve()
        name = f"{path.name}-{'quantization-aware' if self.is_quantization_aware else 'fine-tuned'}"
        return Path("runs") / name if is_shipped(path) else path.with_name(name)

    def check_out(self, out: Path) -> None:
        """InputError for a folder inside the images."""
        source = self.source
        check_outside(out, self.start.data.get("source") if source is None and self.start else source)

    def load(self) -> "tuple[Dataset, Choice | None]":
        """The images, and what was chosen for them where no option names a network."""
        from keras_resnet.data import arguments_for, load, of_run
        from keras_resnet.training.choosing import choose

        size: dict[str, Any] = {} if self.image_size is None else {"image_size": self.image_size}
        if self.start and self.source is None:
            return of_run(self.start, data_dir=self.data_dir), None
        if self.knows_network:
            taken = arguments_for(self.first.spec, self.source) if self.first else {}
            return load(self.source, data_dir=self.data_dir, **taken | size), None
        is_open = self.basis is None and not changes(self.set_, ResNetSpec, Recipe)[ResNetSpec]
        return choose(self.source, data_dir=self.data_dir, image_size=self.image_size, pretrained=is_open)


def carry_out(
    job: Job, out: Path | None, settings: dict[str, Any], followed: list[str], targets: "list[Target]", *, as_json: bool
) -> None:
    """Train, show the run, and export it.

    Args:
        settings: of `fit`.
        followed: names of `trackers`.
        targets: what to export.
    """
    spec, recipe = job.check()
    out = out or (job.out(job.network or str(job.init)) if job.knows_network else None)
    if out:
        job.check_out(out)
    load_backend(trains=True)
    from keras_resnet.training import distribute
    from keras_resnet.training.fit import fit
    from keras_resnet.training.trackers import trackers
    from keras_resnet.training.trainable import recipe_for

    devices = distribute.choose(settings["strategy"])
    if job.image_size is not None and job.knows_network:
        check_size(spec, recipe, job.image_size, devices)
    if out and devices.chief and not (settings["resume"] and is_run(out)):
        out = check_free(out, settings["overwrite"])
    images, picked = job.load()
    first = picked.init if picked else job.first
    out = out or job.out(picked.name if picked else "")
    spec, recipe = job.planned(
        job.basis or recipe_for(None, images, pretrained=first is not None), picked.network if picked else None
    )
    if picked and not as_json:
        print("\n".join(picked.lines(images, recipe)), flush=True)
    callbacks = trackers(followed, out=out, recipe=recipe, data=images, seed=settings["seed"]) if devices.chief else []
    settings = {**settings, "strategy": devices, "callbacks": callbacks, "verbose": verbosity(as_json)}
    run = fit(spec, recipe, images, out, init=first, teacher=job.teachers, **settings)
    if devices.chief:
        show_trained(run, targets, as_json, images)


def check_size(spec: ResNetSpec, recipe: Recipe, size: int, devices: "Distribution") -> None:
    """InputError, before all images are resized, for a size that the machine has not the memory for."""
    from keras_resnet.training.trainable import check_memory

    check_memory(choice.at_size(spec, (size, size)), replace(recipe, batch_size=1), devices)


def plan(network: str | ResNetSpec, recipe: str | Recipe, settings: list[str] | None, **options: Any) -> tuple[ResNetSpec, Recipe]:
    """The network and the recipe that the options ask for; `options` are fields of the recipe, None where not given."""
    changed = changes(settings, ResNetSpec, Recipe)
    if names := [name for name in ("input_shape", "classes") if name in changed[ResNetSpec]]:
        raise InputError(f"{' and '.join(names)} cannot be set: the images decide (--image-size changes their size)")
    changed[Recipe] |= {name: value for name, value in options.items() if value is not None}
    return resolve(network, **changed[ResNetSpec]), recipes.resolve(recipe, **changed[Recipe])
