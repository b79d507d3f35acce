"""What a user asks of entries and imports: parameters in Python, options of `ofa-tk zoo`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from ofa_toolkit.core import resources
from ofa_toolkit.core.config import Bounds
from ofa_toolkit.core.errors import OutputError
from ofa_toolkit.core.requests import Flag, Option, Positive, Seed
from ofa_toolkit.evaluation.predictor.ensemble import EnsembleConfig

Part = Literal["images", "predictor", "front"]
PARTS: tuple[Part, ...] = ("images", "predictor", "front")


@dataclass(frozen=True, kw_only=True)
class PackageRequest:
    """What goes into an entry."""

    source: Annotated[Path, Option(metavar="RUN", path="input folder", is_argument=True)]
    "A run folder, a supernet folder, or an entry that is to be packaged again."
    name: Annotated[str, Option()]
    "Name of the entry."
    out: Annotated[Path | None, Option(metavar="DIR")] = None
    "Folder of the entry. Default: one in the user's zoo."
    data: Annotated[str | None, Option(metavar="SOURCE")] = None
    """Images it was trained on: make batch-norm images, predictor and front, measure the card's figures."""
    subnets: Annotated[
        Sequence[Path], Option(name="--subnet", metavar="FILE", path="input", is_repeatable=True)
    ] = ()
    "Include this subnet and measure it, beside the largest and the smallest."
    front: Annotated[Path | None, Option(metavar="FILE", path="input file")] = None
    "Include and measure subnets of this front instead; `ofa-tk search --pareto` writes one."
    num_front: Positive = 8
    "Number of subnets of the front to keep, spread evenly."
    predictor: Annotated[Path | None, Option(metavar="FILE", path="input")] = None
    "Include it, in place of the source's."
    facts: Annotated[Path | None, Option(metavar="FILE", path="input")] = None
    "Parts of a card a run cannot know: licence, terms, cost, limits (TOML)."
    seed_runs: Annotated[
        Sequence[Path], Option(name="--seed-run", metavar="RUN", path="input", is_repeatable=True)
    ] = ()
    "A run of the same recipe with another seed, measured too."
    force: Flag = False
    "Replace what a former run wrote into the folder."
    recalibration_images: int = 2000
    "Training images for batch-norm statistics."
    prepared: Path | None = None
    "A supernet folder that takes the place of the source's; see `prepare_entry`."
    kept_figures: Path | None = None
    "A file that measured figures are kept in, so that a killed run need not repeat them."

    @property
    def folder(self) -> Path:
        """Where the entry goes: among the user's own unless `out` says otherwise.

        Raises:
            OutputError: The name cannot be a folder's.
        """
        if self.out is not None:
            return self.out
        if "/" in self.name or self.name.startswith("."):
            raise OutputError(f"'{self.name}' cannot be the name of an entry.")
        return resources.user_data_path("zoo") / self.name


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """How an entry's parts are made."""

    parts: tuple[Part, ...] = PARTS
    "Which ones; what the source brings along is taken as it is."
    num_subnets: Positive = 150
    "Subnets to measure for the predictor."
    predictor_images: Annotated[int, Bounds(at_least=1), Option(name="--images")] = 2500
    "Held-out training images to measure each of them on; fewer where there are fewer."
    work: Annotated[Path | None, Option(metavar="DIR", path="folder")] = None
    "Keeps what a killed run has done. Default: `packaging` in RUN."
    seed: Seed = 0
    "Start of all random streams."
    ensemble: EnsembleConfig | None = None
    "How the predictor is fitted; none for the default."
    image_subnets: int | None = None
    "Subnets that the images for batch-norm statistics are optimised on; none for the default."
    image_steps: int | None = None
    "Steps of that; none for the default."
    correction_subnets: int | None = None
    "Subnets that tell what the images get wrong; none for the default."


@dataclass(frozen=True, kw_only=True)
class ImportRequest:
    """What to import and how."""

    source: Annotated[Path, Option(metavar="FILE|DIR", is_argument=True)]
    "A checkpoint, a `net.config`, or the folder of a network."
    out: Annotated[Path, Option(metavar="DIR", path="folder")]
    "The supernet folder to write."
    space: Annotated[str | None, Option(metavar="NAME|FILE.toml")] = None
    "The supernet's search space; a network needs none."
    kernel_sizes: Annotated[tuple[int, ...], Option(metavar="K,K")] = ()
    "Those trained; 7 alone. Default: all of the space."
    depths: Annotated[tuple[int, ...], Option(metavar="D,D")] = ()
    "Depths that were trained."
    expand_ratios: Annotated[tuple[float, ...], Option(metavar="E,E")] = ()
    "Expand ratios that were trained."
    resolutions: Annotated[tuple[int, ...], Option(metavar="R,R")] = ()
    "Input sizes trained, in place of the space's; of a network its own."
    weights: Annotated[str | None, Option(metavar="KEY")] = None
    "Which weights, where a file holds several, such as state_dict_ema."
    force: Flag = False
    "Replace what was imported before."
