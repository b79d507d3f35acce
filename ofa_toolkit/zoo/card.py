"""`card.toml`: what a supernet is, where it comes from, how good it is, and how its files are recognised.

The dataclasses below are the schema. Anything that is not known is left out or says `unknown`; a figure
always tells whether it was measured here, from the stored weights, or published by somebody else.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from ofa_toolkit.core import config, files, toml
from ofa_toolkit.core.config import Bounds
from ofa_toolkit.core.errors import ConfigError, FileFormatError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

CARD_FILE = "card.toml"
FORMAT: Literal["ofa-toolkit/card"] = "ofa-toolkit/card"
VERSION: Literal[1] = 1

Availability = Literal["included", "download", "link"]
Layout = Literal["ofa-toolkit", "official", "foreign"]
Origin = Literal["measured", "published"]
BatchNormStatistics = Literal["recalibrated", "carried", "stored", "unknown"]

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SHA1 = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, kw_only=True)
class FileFacts:
    """One file of an entry and how to recognise it."""

    path: str
    "Path in the entry's folder; forward slashes, no `..`."
    size: Annotated[int, Bounds(at_least=0)] | None = None
    "Exact size in bytes."
    approximate_size: Annotated[int, Bounds(at_least=0)] | None = None
    "Size in bytes worked out from the number of parameters, where the exact one was not published."
    sha256: str | None = None
    "SHA-256 of the content, 64 hexadecimal digits."
    git_blob_sha1: str | None = None
    "Git's identity of the content (SHA-1 over a header with the size, then the bytes), 40 digits."
    identity_source: str = ""
    "Document that the identity was read in, for files of others."
    mirrors: tuple[str, ...] = ()
    "Addresses that serve the file, tried in order."

    def __post_init__(self) -> None:
        parts = self.path.split("/")
        if not self.path or self.path.startswith("/") or any(part in ("", ".", "..") for part in parts):
            raise ConfigError(f"path: '{self.path}' is not a path inside the entry's folder.")
        if self.sha256 is not None and not _SHA256.fullmatch(self.sha256):
            raise ConfigError(f"sha256: '{self.sha256}' is not 64 lower-case hexadecimal digits.")
        if self.git_blob_sha1 is not None and not _SHA1.fullmatch(self.git_blob_sha1):
            raise ConfigError(
                f"git_blob_sha1: '{self.git_blob_sha1}' is not 40 lower-case hexadecimal digits."
            )

    @property
    def has_identity(self) -> bool:
        """Whether the content can be checked."""
        return self.sha256 is not None or self.git_blob_sha1 is not None

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True, kw_only=True)
class DataFacts:
    """What the supernet was trained and judged on."""

    name: str
    "The data set."
    num_classes: Annotated[int, Bounds(at_least=2)]
    "Outputs of the classifier."
    splits: str = "unknown"
    "Images that trained, chose and judged it, in words."
    terms: str = "unknown"
    "The terms the images come under."
    url: str = ""
    "Address of the data set's description."


@dataclass(frozen=True, kw_only=True)
class PreprocessingFacts:
    """How an image becomes the network's input at evaluation."""

    mean: tuple[float, float, float]
    "Subtracted from each channel (red, green, blue) after scaling to [0, 1]."
    std: tuple[float, float, float]
    "Divides each channel."
    size: Annotated[int, Bounds(at_least=1)]
    "Side of the input in pixels; for elastic resolution the largest."
    interpolation: Literal["bilinear", "bicubic"]
    "Interpolation that images are resized with."
    crop: Annotated[float, Bounds(above=0, at_most=1)]
    "Share of the resized image that the central square keeps, per side; 1 keeps all of it."


@dataclass(frozen=True, kw_only=True)
class TrainingFacts:
    """How the weights came about."""

    algorithm: str
    "The training method, with its reference."
    recipe: str = "unknown"
    "Name of the recipe, or the repository it was trained with."
    command: str = ""
    "The command that repeats the run."
    commit: str = "unknown"
    "Revision of the code that ran."
    seeds: tuple[int, ...] = ()
    "Seeds of the runs that were made; the first gave the stored weights."
    hardware: str = "unknown"
    "Machine that it was trained on."
    hours: Annotated[float, Bounds(above=0)] | None = None
    "Wall-clock hours of one run."
    cost: str = "unknown"
    "The cost in words: passes over the data, GPU hours, what was counted."


@dataclass(frozen=True, kw_only=True)
class AccuracyFact:
    """Top-1 accuracy of one subnet, with its conditions."""

    subnet: str
    "`largest`, `smallest`, or the path of a subnet file in the entry's folder."
    resolution: Annotated[int, Bounds(at_least=1)]
    "Side of the input images in pixels."
    top1_percent: Annotated[float, Bounds(at_least=0, at_most=100)]
    "Share of images whose first guess is right; of the stored weights where measured."
    top1_among_percent: Annotated[float, Bounds(at_least=0, at_most=100)] | None = None
    "The same where only the classes of the images may be named, for networks that have more."
    num_among: Annotated[int, Bounds(at_least=2)] | None = None
    "Number of classes that were judged among."
    origin: Origin
    "`measured` from the stored weights by this project, or `published` by others."
    source: str
    "Images, their number, and who measured."
    num_images: Annotated[int, Bounds(at_least=1)] | None = None
    "Number of images judged."
    split: Literal["train", "validation", "test", "unknown"] = "unknown"
    "Part of the data that the images are from."
    batchnorm: BatchNormStatistics = "unknown"
    "Statistics `recalibrated` on training images, on the images the entry is `carried` with, or as `stored`."
    recalibration_images: Annotated[int, Bounds(at_least=1)] | None = None
    "Images that batch-norm statistics were recomputed from."
    macs: Annotated[int, Bounds(at_least=1)] | None = None
    "Multiply-accumulates of one image."
    params: Annotated[int, Bounds(at_least=1)] | None = None
    "Parameters of the extracted network."
    top1_by_seed: tuple[float, ...] = ()
    "The same figure for every seed in `training.seeds`, in that order."


@dataclass(frozen=True, kw_only=True)
class LicenceFacts:
    """What may be done with the files."""

    name: str
    "SPDX identifier, or `unstated`."
    statement: str
    "Terms as the owner states them, and what is left unsaid."
    is_non_commercial: bool = False
    "Whether commercial use is excluded."
    url: str = ""
    "Address of the statement."


@dataclass(frozen=True, kw_only=True)
class Card:
    """Everything `card.toml` says about one entry."""

    format: Literal["ofa-toolkit/card"] = FORMAT
    "The tag of the format."
    version: Literal[1] = VERSION
    "Version of the format."
    name: str
    "Name of the entry: lower case, digits, dots, dashes."
    summary: str
    "One sentence."
    availability: Availability
    "`included`: the files lie beside the card; `download`: they are fetched; `link`: only described."
    layout: Layout
    "Content of the files: our supernet folder, the authors' checkpoint, or what this project can't read."
    space: str | None = None
    "Name of the search space, where this project has it."
    space_identity: str | None = None
    "Hash of the space's choices and construction, where the entry was made by this project."
    resolutions: tuple[int, ...] = ()
    "Input sizes trained for, in pixels; empty: those of the named space."
    data: DataFacts
    "Training data."
    preprocessing: PreprocessingFacts | None = None
    "Preprocessing of the inputs."
    training: TrainingFacts
    "Method, recipe and cost of the training."
    licence: LicenceFacts
    "Terms of use."
    accuracy: tuple[AccuracyFact, ...] = ()
    "Accuracies of its subnets."
    limits: tuple[str, ...] = ()
    "Uses that it is not good for, and facts that are not known."
    links: tuple[str, ...] = ()
    "Papers and code."
    files: tuple[FileFacts, ...] = ()
    "The files, the card and README.md left out."

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigError(
                f"name: '{self.name}' may hold lower-case letters, digits, dots and dashes only."
            )
        _check_files(self)
        if self.layout != "foreign" and self.space is None:
            raise ConfigError("space: missing; only entries of layout 'foreign' have none.")
        num_seeds = len(self.training.seeds)
        for index, fact in enumerate(self.accuracy):
            if fact.top1_by_seed and len(fact.top1_by_seed) != num_seeds:
                raise ConfigError(
                    f"accuracy[{index}].top1_by_seed: {len(fact.top1_by_seed)} values for {num_seeds} seeds."
                )

    @property
    def checkpoint(self) -> FileFacts:
        """The one file of an entry in the authors' layout."""
        assert self.layout == "official"
        return self.files[0]


def _check_files(card: Card) -> None:
    paths = [file.path for file in card.files]
    if len(set(paths)) != len(paths):
        raise ConfigError("files: a path is listed twice.")
    if card.availability == "link":
        if card.files or not card.links:
            raise ConfigError("files: an entry that is only linked lists links and no files.")
        return
    if not card.files:
        raise ConfigError("files: missing; only entries of availability 'link' have none.")
    if card.layout == "official" and len(card.files) != 1:
        raise ConfigError("files: an entry in the official layout has exactly one, the checkpoint.")
    for index, file in enumerate(card.files):
        if card.availability == "download" and not file.mirrors:
            raise ConfigError(f"files[{index}].mirrors: missing; a download needs an address.")
        if card.availability == "included" and (file.sha256 is None or file.size is None):
            raise ConfigError(f"files[{index}]: an included file needs sha256 and size.")


def read_card(path: str | os.PathLike[str]) -> Card:
    """Read and check a card.

    Args:
        path: `card.toml`, or the entry's folder.

    Raises:
        FileFormatError: The file is missing, is not TOML, or breaks the schema.
    """
    given = Path(path)
    location = given / CARD_FILE if given.is_dir() else given
    try:
        card = config.load_toml(Card, location)
    except ConfigError as error:
        raise FileFormatError(error.message, hint=error.hint) from error
    return card


def write_card(path: str | os.PathLike[str], card: Card) -> None:
    """Write a card to `card.toml` atomically; `read_card` gives back an equal one."""
    files.write_text(path, dumps(card))


def dumps(value: DataclassInstance) -> str:
    """A description of the zoo as TOML text, without empty settings."""
    return toml.dumps(_without_empty(config.to_dict(value)))


def _without_empty(values: dict[str, Any]) -> dict[str, Any]:
    """Leave out empty texts and lists; where they are allowed, they are the defaults."""
    result: dict[str, Any] = {}
    for name, value in values.items():
        if value in ("", []):
            continue
        if isinstance(value, dict):
            result[name] = _without_empty(value)
        elif isinstance(value, list):
            result[name] = [_without_empty(item) if isinstance(item, dict) else item for item in value]
        else:
            result[name] = value
    return result
