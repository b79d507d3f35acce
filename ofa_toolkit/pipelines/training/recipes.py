"""Named training recipes: listing them, and laying a user's choices over one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ofa_toolkit.core import resources
from ofa_toolkit.core.documents import read_text
from ofa_toolkit.core.errors import ConfigError, OfaToolkitError
from ofa_toolkit.pipelines.training.request import TrainRequest
from ofa_toolkit.training import config as run_config
from ofa_toolkit.training.config import RunConfig


@dataclass(frozen=True, kw_only=True)
class RecipeInfo:
    """One line of the list of recipes."""

    name: str
    title: str
    path: Path


def list_recipes() -> list[RecipeInfo]:
    """All recipes by name; the title is the first line of the file's comment."""
    found = []
    for name, entry in resources.entries("configs").items():
        first = read_text(entry.path).partition("\n")[0]
        found.append(RecipeInfo(name=name, title=first.lstrip("# ").rstrip("."), path=entry.path))
    return found


def load_recipe(
    name_or_path: str,
    *,
    overrides: Iterable[str] = (),
    source: str | None = None,
    epochs: int | None = None,
    seed: int | None = None,
    init: str | None = None,
    space: str | None = None,
) -> RunConfig:
    """A recipe with a user's choices on top: `overrides` (`a.b=c`) first, then the named ones.

    A `space` (name, file or supernet folder) takes the place of the recipe's and of its choices in it.

    Raises:
        UnknownNameError: No such recipe.
        ConfigError: A setting is bad.
        OfaToolkitError: A file was named that does not exist.
    """
    if name_or_path.endswith(".toml"):
        path = Path(name_or_path)
        if not path.is_file():
            raise OfaToolkitError(
                f"No such recipe file: '{path}'.", hint="`ofa-tk train` lists the named recipes."
            )
    else:
        path = resources.find_entry("configs", name_or_path).path
    chosen = [*overrides]
    given = {
        "data.source": source,
        "training.epochs": epochs,
        "training.seed": seed,
        "init": init,
        "recipe": path.stem,
    }
    chosen += [f"{name}={value}" for name, value in given.items() if value is not None]
    return run_config.load(path, chosen, space=space)


def requested_recipe(request: TrainRequest) -> RunConfig:
    """The recipe a request names, with its choices on top.

    Raises:
        ConfigError: It names none, or a setting is bad.
        OfaToolkitError: As `load_recipe`.
    """
    if request.recipe is None:
        raise ConfigError("No recipe is named.", hint="`ofa-tk train` lists the named recipes.")
    return load_recipe(
        request.recipe,
        overrides=request.overrides,
        source=request.data,
        epochs=request.epochs,
        seed=request.seed,
        init=request.init,
        space=request.space,
    )
