"""What a `subnet.json` says, as types: they check what writes it, and its schema is made from them."""

from __future__ import annotations

from typing import Annotated, Literal, TypedDict

from typing_extensions import NotRequired

from ofa_toolkit.core.config_types import Bounds
from ofa_toolkit.spaces.space_file import Reference

Count = Annotated[int, Bounds(at_least=0)]
Positive = Annotated[int, Bounds(at_least=1)]
Duration = Annotated[float, Bounds(above=0)]
Probability = Annotated[float, Bounds(above=0, below=1)]


class StageDocument(TypedDict):
    """The choices of a stage."""

    depth: Count
    "Active blocks."
    kernel_sizes: list[Positive]
    "Of each active block, in pixels."
    expand_ratios: list[Annotated[float, Bounds(above=0)]]
    "Of each active block."
    width: NotRequired[Positive]
    "Channels, where the stage's width is elastic."


class ChoicesDocument(TypedDict):
    """A subnet."""

    resolution: Positive
    "Height and width of the images in pixels."
    stages: list[StageDocument]
    "First stage first."


class AccuracyFigure(TypedDict):
    """A predicted accuracy."""

    value: float
    "In percent."
    interval: list[float]
    "Lower and upper end in percent, held with the stated confidence."
    confidence: Probability
    provenance: Literal["fitted", "transferred"]
    is_extrapolation: bool
    "Whether the subnet lies outside those that the predictor was fitted on."
    calibrated_for_search: NotRequired[bool]
    "Whether value and interval are those of subnets that a search chose."
    dataset: str


class CostFigure(TypedDict):
    """A predicted latency or throughput, and the conditions of its table."""

    value: Duration
    provenance: Literal["measured", "fitted", "transferred", "modelled"]
    interval: Literal["calibrated", "uncalibrated"]
    "Whether the upper bound is backed by held-out subnets."
    table: str
    runtime: str
    runtime_version: str
    precision: str
    batch_size: Positive
    clocks: str
    source: str
    upper_bound: NotRequired[float]
    "In ms, held with the stated confidence."
    confidence: NotRequired[Probability]
    error: NotRequired[str]
    "Error of such networks on this device, in words."
    is_checked: NotRequired[bool]
    "Whether that error was found on this device."
    mape_percent: NotRequired[float]
    "Mean or worst single error in percent, where it was found on this device."
    mape_of: NotRequired[str]
    "Networks it was found on, and what was held out."
    checked_on: NotRequired[dict[str, float]]
    "Errors in percent of the same procedure on other devices, where it was not found on this one."
    extrapolations: NotRequired[list[str]]
    "How the subnet lies outside what was fitted."
    caveats: NotRequired[list[str]]
    "Reservations about a transferred or modelled table."


class CountedFigure(TypedDict):
    """A figure that is counted, not predicted."""

    value: Count
    provenance: Literal["counted"]


class MemoryFigure(CountedFigure):
    """Bytes, and how many a value takes."""

    bytes_per_value: Positive


class MeasuredAccuracy(TypedDict):
    """An accuracy that a search measured."""

    value: float
    num_images: Positive
    provenance: Literal["measured"]
    images: str


class MeasuredLatency(TypedDict):
    """A latency that a search measured, in ms."""

    value: Duration
    provenance: Literal["measured"]
    device: str


class MeasuredFigures(TypedDict):
    """What a search measured of the best of the subnets it found."""

    top1_percent: MeasuredAccuracy
    latency_ms: NotRequired[MeasuredLatency]


class PredictedFigures(TypedDict, total=False):
    """Every figure of a subnet, by a name with its unit."""

    top1_percent: AccuracyFigure
    latency_ms: dict[str, CostFigure]
    "By device and variant."
    throughput_per_s: dict[str, CostFigure]
    "Images a second, by device and variant."
    macs: CountedFigure
    params: CountedFigure
    peak_activation_bytes: MemoryFigure
    measured: MeasuredFigures


class LimitDocument(TypedDict):
    """A limit that the search kept to."""

    figure: str
    limit: float
    is_minimum: bool


class SearchDocument(TypedDict, total=False):
    """What was asked, and how it was found; empty for a subnet that no search gave."""

    objective: str | list[str]
    limits: list[LimitDocument]
    method: str
    seed: int
    num_evaluations: Count
    seconds: float


class SubnetDocument(ChoicesDocument):
    """A subnet as a member of a space, with what was predicted of it."""

    space: Reference
    "Name of a registered space, or the table of another one."
    supernet: NotRequired[str | None]
    "Zoo name or folder of the supernet it was searched for."
    predicted: NotRequired[PredictedFigures]
    search: NotRequired[SearchDocument]
