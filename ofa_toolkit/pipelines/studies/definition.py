"""What a study is: a TOML file that names runs (recipe, overrides, seeds) and how they are compared."""

from __future__ import annotations

import dataclasses
import itertools
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from ofa_toolkit.core import config as configuration
from ofa_toolkit.core.config import Bounds
from ofa_toolkit.core.errors import ConfigError
from ofa_toolkit.pipelines.studies.results import run_name
from ofa_toolkit.pipelines.training.recipes import load_recipe
from ofa_toolkit.training.config import RunConfig

_LABEL = re.compile(r"[a-z0-9][a-z0-9._-]*")


@dataclass(frozen=True, kw_only=True)
class VariantConfig:
    """One recipe of a study, trained once per seed."""

    label: str
    "Name in tables and folders: small letters, digits, '.', '-' and '_'."
    recipe: str
    "A named recipe, or a TOML file beside the study file."
    epochs: Annotated[int, Bounds(at_least=1)] | None = None
    "Scales the recipe to this many epochs; none leaves it as it is."
    overrides: tuple[str, ...] = ()
    "Settings on top of the recipe, as --set takes them."
    seeds: tuple[int, ...] = ()
    "Seeds of this recipe; those of the study where empty."

    def __post_init__(self) -> None:
        if not _LABEL.fullmatch(self.label):
            raise ConfigError(f"label: '{self.label}' is not of small letters, digits, '.', '-' and '_'.")


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """Everything that decides a study."""

    title: str
    "Heading of the report."
    data: str
    "Images of all runs, as --data takes them."
    seeds: tuple[int, ...] = (0,)
    "Seeds that every recipe is trained with; results are paired by them."
    reference: str | None = None
    "Label that the others are compared with; none takes the first."
    threads: Annotated[int, Bounds(at_least=1)] | None = 1
    "CPU threads of each run."
    num_buckets: Annotated[int, Bounds(at_least=1)] = 6
    "Parts of the range of MACs; the most accurate candidate of each is taken (DϵpS, section 5.1)."
    candidates_per_bucket: Annotated[int, Bounds(at_least=1)] = 4
    "Random subnets judged in each part, the same for all runs."
    candidate_seed: Annotated[int, Bounds(at_least=0)] = 0
    "Seed of the candidates."
    variants: tuple[VariantConfig, ...]
    "Recipes that are compared."

    def __post_init__(self) -> None:
        labels = [variant.label for variant in self.variants]
        if not labels:
            raise ConfigError("variants: a study needs at least one.")
        for label in labels:
            if labels.count(label) > 1:
                raise ConfigError(f"variants: '{label}' stands there twice.")
        if self.reference is not None and self.reference not in labels:
            raise ConfigError(f"reference: '{self.reference}' is none of {', '.join(labels)}.")

    @property
    def reference_label(self) -> str:
        """What the others are compared with."""
        return self.reference or self.variants[0].label


@dataclass(frozen=True, kw_only=True)
class StudyRun:
    """One training run of a study.

    Attributes:
        variant: The recipe of the run.
        seed: Seed of the run.
        data: Images of the run.
        threads: CPU threads; torch's default if None.
    """

    variant: VariantConfig
    seed: int
    data: str
    threads: int | None

    @property
    def name(self) -> str:
        """Name of the run's folder."""
        return run_name(self.variant.label, self.seed)

    def config(self) -> RunConfig:
        """The resolved configuration of the training run."""
        return load_recipe(
            self.variant.recipe,
            overrides=self.variant.overrides,
            source=self.data,
            epochs=self.variant.epochs,
            seed=self.seed,
        )

    def arguments(self, out: str) -> list[str]:
        """The arguments of `ofa-tk` that train it, from the start or from where it stopped."""
        variant = self.variant
        arguments = ["train", "--recipe", variant.recipe, "--data", self.data, "--seed", str(self.seed)]
        if variant.epochs is not None:
            arguments += ["--epochs", str(variant.epochs)]
        if self.threads is not None:
            arguments += ["--threads", str(self.threads)]
        for override in variant.overrides:
            arguments += ["--set", override]
        return [*arguments, "--resume", "auto", "--out", out]

    def command(self, out: str) -> list[str]:
        """The command that trains it, run by this Python."""
        return [sys.executable, "-m", "ofa_tk", *self.arguments(out)]

    def printed_command(self) -> str:
        """What to type to train this run alone."""
        return shlex.join(["ofa-tk", *self.arguments(f"runs/{self.name}")])


def runs_of(study: StudyConfig) -> Iterator[StudyRun]:
    """All runs, the first seed of everything first, so that every stop leaves a whole table."""
    seeds = {variant.label: variant.seeds or study.seeds for variant in study.variants}
    for position in itertools.count():
        left = [variant for variant in study.variants if position < len(seeds[variant.label])]
        if not left:
            return
        for variant in left:
            yield StudyRun(
                variant=variant,
                seed=seeds[variant.label][position],
                data=study.data,
                threads=study.threads,
            )


def load_study(path: Path) -> StudyConfig:
    """Read a study file; recipes that are files are looked for beside it.

    Raises:
        ConfigError: A setting is unknown, missing or bad, also one of a run's recipe.
    """
    study = configuration.load_toml(StudyConfig, path)
    variants = [
        dataclasses.replace(variant, recipe=str((path.parent / variant.recipe).resolve()))
        if variant.recipe.endswith(".toml")
        else variant
        for variant in study.variants
    ]
    study = dataclasses.replace(study, variants=tuple(variants))
    for run in runs_of(study):
        run.config()
    return study
