"""The general predictor: latency of any network from the sums of its layers' features.

`bias + coefficients . features`, all non-negative, which keeps a network that only grows from becoming
faster and behaves outside the fitted range; times, where it was fitted, a smooth correction in the logarithm
of the features (a Gaussian process on inducing points with a Matern 3/2 kernel), which fades out away from
the fitted networks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, TypedDict

import numpy as np
import numpy.typing as npt

from ofa_toolkit.core.config_types import Bounds
from ofa_toolkit.latency.predictors.layer_features import LAYER_FEATURES, layer_features
from ofa_toolkit.latency.predictors.predictor import (
    LayersLatency,
    Milliseconds,
    NotCovered,
    SizeNote,
    Tensors,
)
from ofa_toolkit.spaces.encoding import Population
from ofa_toolkit.spaces.fused_tables import chunks
from ofa_toolkit.spaces.layer_spec import LayerSpec
from ofa_toolkit.spaces.lowering import lower_unchecked
from ofa_toolkit.spaces.space import SearchSpace
from ofa_toolkit.spaces.units import UnitTables

Array = npt.NDArray[np.float32]

CORRECTION_FEATURES: tuple[str, ...] = (
    "pointwise_macs",
    "pointwise_in",
    "pointwise_out",
    "pointwise_weights",
    "depthwise_macs",
    "depthwise_in",
    "depthwise_out",
    "vector_weights",
    "smooth_out",
    "scale_out",
    "add_out",
    "num_convolutions",
)
"""Columns the correction looks at, as logarithms relative to the first one."""

_CORRECTION_COLUMNS = [LAYER_FEATURES.index(name) for name in CORRECTION_FEATURES]
_OFFSET = np.array([0.01] * (len(CORRECTION_FEATURES) - 1) + [1.0], dtype=np.float32)
"""Added before the logarithm, in millions (launches: 1), so that absent work stays finite."""

_RANGE_EXCESS = 1.5
"""Beyond this multiple of the fitted range, a network is called an extrapolation."""
_DENSE_EXCESS = 10.0
"""Beyond this multiple of the fitted dense weights, nothing is claimed: they are other networks."""


def correction_inputs(features: npt.NDArray[np.floating]) -> Array:
    """Inputs of the correction from features `(N, len(LAYER_FEATURES))`, `(N, len(CORRECTION_FEATURES))`."""
    return _ratios(features[:, _CORRECTION_COLUMNS].astype(np.float32))


def _ratios(chosen: Array) -> Array:
    logs: Array = np.log(chosen + _OFFSET)
    logs[:, 1:] -= logs[:, :1]
    return logs


def matern(points: Array, centres: Array, length: float) -> Array:
    """Matern 3/2 kernel of `(N, D)` and `(M, D)`, `(N, M)`."""
    squared = points @ (-2 * centres.T)
    squared += (points**2).sum(axis=1)[:, None]
    squared += (centres**2).sum(axis=1)
    scaled = np.sqrt(np.maximum(squared, 0, out=squared), out=squared)
    scaled *= np.float32(math.sqrt(3) / length)
    kernel: Array = np.exp(-scaled)
    scaled += 1
    kernel *= scaled
    return kernel


@dataclass(frozen=True, kw_only=True)
class KernelCorrection:
    """`exp(kernel((inputs - mean) / scale, centres) @ weights)`.

    Attributes:
        mean, scale: Of the inputs of the fitted networks, `(D,)`.
        centres: Inducing points, standardised, `(M, D)`.
        weights: `(M,)`.
        length: Length scale of the kernel.
    """

    mean: Array
    scale: Array
    centres: Array
    weights: Array
    length: float

    def factor(self, inputs: Array) -> Array:
        """What the additive part is multiplied by, `(N,)`."""
        standard = (inputs - self.mean) / self.scale
        factor: Array = np.exp(matern(standard, self.centres, self.length) @ self.weights)
        return factor


class LayerModelDocument(TypedDict):
    """A `LayerModel` without its coefficients and its correction's values, which are tensors."""

    kind: Literal["layer_model"]
    features: list[str]
    bias_ms: Annotated[float, Bounds(at_least=0)]
    fitted_on: str
    resolutions: tuple[int, int]
    "Smallest and largest in the fit, in pixels."
    correction_length: float | None


@dataclass(frozen=True, kw_only=True)
class LayerModel:
    """Latency from layer features.

    Attributes:
        coefficients: ms per unit of each of `LAYER_FEATURES`, `(F,)`, non-negative.
        bias_ms: Added once per network.
        correction: Multiplies the sum, or None.
        fitted_on: In words, which networks it was fitted on.
        smallest, largest: Range of each feature over those networks, `(F,)`.
        smallest_resolution, largest_resolution: Range of their input sizes in pixels.
    """

    kind: ClassVar[str] = "layer_model"
    document: ClassVar[type] = LayerModelDocument

    coefficients: npt.NDArray[np.float64]
    bias_ms: float
    correction: KernelCorrection | None
    fitted_on: str
    smallest: npt.NDArray[np.float64]
    largest: npt.NDArray[np.float64]
    smallest_resolution: int
    largest_resolution: int

    def predict_features(self, features: npt.NDArray[np.floating]) -> Milliseconds:
        """Latency of networks given by their features `(N, F)` in ms, `(N,)`."""
        additive = self.bias_ms + features @ self.coefficients
        if self.correction is None:
            return np.asarray(additive, dtype=np.float64)
        return np.asarray(additive * self.correction.factor(correction_inputs(features)), dtype=np.float64)

    def bind(self, space: SearchSpace) -> BoundLayerModel | NotCovered:
        """Tables of the features that matter, for every unit of the space."""
        extremes = np.array(
            [layer_features(lower_unchecked(space, subnet)) for subnet in (space.smallest(), space.largest())]
        )
        refused = self._refusal(extremes[1])
        if refused is not None:
            return refused
        return BoundLayerModel(self, UnitTables(space), (self._claim(), *self._excesses(extremes)))

    def predict_layers(self, layers: Sequence[LayerSpec]) -> LayersLatency | NotCovered:
        """Latency of any network whose kinds of layers were among the fitted ones."""
        features = layer_features(layers)[None]
        refused = self._refusal(features[0])
        if refused is not None:
            return refused
        return LayersLatency(
            latency_ms=float(self.predict_features(features)[0]),
            extrapolations=(self._claim(), *self._excesses(features)),
            size=self.size_note(layers[0].in_size),
        )

    def size_note(self, resolution: int) -> SizeNote | None:
        """Says so when an input size is outside the fitted range."""
        smallest, largest = self.smallest_resolution, self.largest_resolution
        if smallest <= resolution <= largest:
            return None
        near = f"outside the fitted range {smallest}-{largest}"
        return SizeNote.beyond(resolution, smallest, largest, near=near, far=f"far {near}")

    def _claim(self) -> str:
        return f"predicted from layer features fitted on {self.fitted_on}"

    def _refusal(self, features: npt.NDArray[np.floating]) -> NotCovered | None:
        column = LAYER_FEATURES.index("dense_weights")
        if features[column] > _DENSE_EXCESS * self.largest[column]:
            return NotCovered(
                reason="dense convolutions with kernels above 1x1 beyond the stem are not covered; "
                f"it was fitted on {self.fitted_on}"
            )
        return None

    def _excesses(self, features: npt.NDArray[np.floating]) -> tuple[str, ...]:
        low, high = features.min(axis=0), features.max(axis=0)
        beyond = [
            name
            for name, least, most, smallest, largest in zip(
                LAYER_FEATURES, low, high, self.smallest, self.largest, strict=True
            )
            if most > _RANGE_EXCESS * largest or least * _RANGE_EXCESS < smallest
        ]
        if not beyond:
            return ()
        return (f"outside the fitted range: {', '.join(name.replace('_', ' ') for name in beyond)}",)

    def to_parts(self) -> tuple[dict[str, Any], Tensors]:
        """Arrays as they are; feature names are kept so that a changed list is noticed."""
        description = {
            "features": list(LAYER_FEATURES),
            "bias_ms": self.bias_ms,
            "fitted_on": self.fitted_on,
            "resolutions": [self.smallest_resolution, self.largest_resolution],
            "correction_length": None if self.correction is None else self.correction.length,
        }
        tensors: Tensors = {
            "coefficients": self.coefficients,
            "smallest": self.smallest,
            "largest": self.largest,
        }
        if self.correction is not None:
            for name in ("mean", "scale", "centres", "weights"):
                tensors[f"correction_{name}"] = getattr(self.correction, name)
        return description, tensors

    @classmethod
    def from_parts(
        cls, description: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[Any]]
    ) -> LayerModel:
        """Undo `to_parts`."""
        if tuple(description["features"]) != LAYER_FEATURES:
            raise ValueError("the layer features differ from those of this program")
        length = description["correction_length"]
        correction = None
        if length is not None:
            parts = {name: tensors[f"correction_{name}"] for name in ("mean", "scale", "centres", "weights")}
            correction = KernelCorrection(**parts, length=float(length))
        smallest_resolution, largest_resolution = description["resolutions"]
        return cls(
            coefficients=tensors["coefficients"],
            bias_ms=float(description["bias_ms"]),
            correction=correction,
            fitted_on=str(description["fitted_on"]),
            smallest=tensors["smallest"],
            largest=tensors["largest"],
            smallest_resolution=int(smallest_resolution),
            largest_resolution=int(largest_resolution),
        )


class BoundLayerModel:
    """A `LayerModel` for one space: one look-up per pair of units, then the correction."""

    def __init__(self, model: LayerModel, units: UnitTables, extrapolations: tuple[str, ...]) -> None:
        self.extrapolations = extrapolations
        self.fitted_on = model.fitted_on
        self._model = model

        def figures(layers: Sequence[LayerSpec]) -> npt.NDArray[np.float64]:
            features = layer_features(layers)
            additive = features @ model.coefficients
            chosen = features[_CORRECTION_COLUMNS] if model.correction is not None else features[:0]
            return np.concatenate([[additive], chosen])

        self._sum = units.fuse(units.tables(figures), dtype=np.float32)

    def predict(self, population: Population) -> Milliseconds:
        """Latency of each row in ms, `(N,)`."""
        latencies = np.empty(len(population))
        for rows in chunks(len(population)):
            sums = self._sum(population[rows])
            latencies[rows] = self._model.bias_ms + sums[:, 0]
            if self._model.correction is not None:
                latencies[rows] *= self._model.correction.factor(_ratios(sums[:, 1:]))
        return latencies

    def uncovered(self, row: npt.NDArray[np.integer]) -> str:
        """Never called: every row of a bound space is covered."""
        raise AssertionError(f"a layer model covers every subnet, also {row}")

    def size_note(self, resolution: int) -> SizeNote | None:
        """Says so when an input size is outside the fitted range."""
        return self._model.size_note(resolution)
