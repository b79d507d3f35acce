"""What every latency predictor can do, and the table of their kinds.

A predictor knows nothing of devices or files. It turns layers into milliseconds, and binds to a search
space so that whole encoded populations become look-ups and small matrix products. Several of them may
serve one table: an exact one for the space that was measured, a general one for everything else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypedDict

import numpy as np
import numpy.typing as npt

from ofa_toolkit.core.registry import Registry
from ofa_toolkit.spaces.encoding import Population
from ofa_toolkit.spaces.layer_spec import LayerSpec
from ofa_toolkit.spaces.space import SearchSpace

if TYPE_CHECKING:
    from typing_extensions import Self

Milliseconds = npt.NDArray[np.float64]
Tensors = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class NotCovered:
    """Why a predictor has nothing to say."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class SizeNote:
    """How an input size lies outside those that a predictor was fitted on.

    Attributes:
        text: In words, without the size.
        is_far: Whether it is less than half of the smallest or more than twice the largest: no error found
            within the range says anything of it.
    """

    text: str
    is_far: bool

    @classmethod
    def beyond(cls, resolution: int, smallest: int, largest: int, *, near: str, far: str) -> SizeNote:
        """Of an input size (pixels) and the range of the fitted ones, with what to say near it or far."""
        is_far = smallest > 2 * resolution or resolution > 2 * largest
        return cls(text=far if is_far else near, is_far=is_far)


@dataclass(frozen=True, kw_only=True)
class LayersLatency:
    """A predictor's answer for one network.

    Attributes:
        latency_ms: Time of a whole batch.
        extrapolations: In words, how the network lies outside what was fitted, its input size apart.
        size: How its input size does; None where it does not.
    """

    latency_ms: float
    extrapolations: tuple[str, ...] = ()
    size: SizeNote | None = None


class PredictorDocument(TypedDict):
    """A predictor in the description of a table file, without its tensors; each kind has more entries."""

    kind: str


class BoundPredictor(Protocol):
    """A predictor prepared for one space.

    Attributes:
        extrapolations: In words, how the space lies outside what the predictor was fitted on; empty where
            it does not.
        fitted_on: In words, what it was fitted on.
    """

    extrapolations: tuple[str, ...]
    fitted_on: str

    def predict(self, population: Population) -> Milliseconds:
        """Latency of each row of `(N, genes)` in ms, `(N,)`; NaN where a layer is not covered."""
        ...

    def uncovered(self, row: npt.NDArray[np.integer]) -> str:
        """Which layer or unit of one encoded subnet is not covered, in words."""
        ...

    def size_note(self, resolution: int) -> SizeNote | None:
        """How an input size (pixels) lies outside what was fitted; None if inside."""
        ...


class Predictor(Protocol):
    """One way from layers to milliseconds.

    Attributes:
        kind: Its name in table files.
        document: `TypedDict` of its description there: `kind`, and what `to_parts` gives.
    """

    kind: ClassVar[str]
    document: ClassVar[type]

    def bind(self, space: SearchSpace) -> BoundPredictor | NotCovered:
        """Prepare for populations of a space."""
        ...

    def predict_layers(self, layers: Sequence[LayerSpec]) -> LayersLatency | NotCovered:
        """Latency of one network, and how it lies outside what was fitted."""
        ...

    def to_parts(self) -> tuple[dict[str, Any], Tensors]:
        """A JSON-able description and arrays, from which `from_parts` makes an equal predictor."""
        ...

    @classmethod
    def from_parts(cls, description: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Undo `to_parts`.

        Raises:
            KeyError, ValueError, TypeError: The parts are no such predictor; the reader names the file.
        """
        ...


PREDICTORS: Registry[type[Predictor]] = Registry(
    "latency predictor",
    {
        "entries": "ofa_toolkit.latency.predictors.entries:EntryPredictor",
        "layer_model": "ofa_toolkit.latency.predictors.layer_model:LayerModel",
        "space_table": "ofa_toolkit.latency.predictors.space_table:SpaceTable",
        "combination": "ofa_toolkit.latency.predictors.combination:Combination",
    },
)
"""Kinds of predictors by the name that table files use."""


def predictors_to_parts(predictors: Iterable[Predictor], prefix: str) -> tuple[list[dict[str, Any]], Tensors]:
    """Descriptions of several predictors with their kinds, and their arrays under `<prefix>.<index>.`."""
    described: list[dict[str, Any]] = []
    tensors: Tensors = {}
    for index, predictor in enumerate(predictors):
        description, own = predictor.to_parts()
        described.append({"kind": predictor.kind, **description})
        tensors |= {f"{prefix}.{index}.{name}": np.ascontiguousarray(value) for name, value in own.items()}
    return described, tensors


def predictors_from_parts(
    described: Iterable[Mapping[str, Any]], tensors: Mapping[str, npt.NDArray[Any]], prefix: str
) -> tuple[Predictor, ...]:
    """Undo `predictors_to_parts`; errors as of `Predictor.from_parts`."""
    predictors = []
    for index, part in enumerate(described):
        start = f"{prefix}.{index}."
        own = {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}
        predictors.append(PREDICTORS[part["kind"]].from_parts(part, own))
    return tuple(predictors)
