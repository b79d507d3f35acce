"""Tables of chips on which few whole networks were timed: one model of the work, shared, and held near it.

Twenty networks cannot tell apart what takes time on one chip. Chips of one maker run one compiler, so the
costs of a unit of each kind of work are fitted to all of them together (networks' geometric means over
chips), and each chip's own costs are held near these; int8 costs start from those of fp16, which more
networks bear out. Errors are those of each network by fits that have seen it on no chip.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls
from scipy.stats import t as student

from latency_fitting.metrics import error_of
from ofa_toolkit.latency.device import Error
from ofa_toolkit.latency.predictors.layer_features import LAYER_FEATURES
from ofa_toolkit.latency.predictors.layer_model import LayerModel

Array = npt.NDArray[np.float64]

_GROUPS: tuple[Mapping[str, float], ...] = (
    {"pointwise_macs": 1, "depthwise_macs": 1},
    {"dense_macs": 1},
    {"depthwise_macs": 1},
    {"pointwise_in": 1, "pointwise_out": 1, "dense_in": 1, "dense_out": 1},
    {"depthwise_in": 1, "depthwise_out": 1},
    {"add_out": 2, "scale_out": 2},
    {"smooth_out": 1},
    {"pool_in": 1},
    {"pointwise_weights": 1, "dense_weights": 1, "depthwise_weights": 1, "vector_weights": 1},
    {"num_convolutions": 1},
    {"num_vector_layers": 1, "num_scales": 1},
)
"""Features that share a cost; the last cost is a constant. A depthwise MAC takes what a pointwise one takes
and more: without that, few networks would let a fit give larger kernels away."""

_NUM_ROBUST_STEPS, _SMALLEST_DEVIATION = 5, 0.1
_HOLD, _HOLD_PRECISION = 0.02, 0.05
_FEWEST, _CONFIDENCE = 8, 0.9


@dataclass(frozen=True, kw_only=True)
class Chips:
    """Times of networks on chips under one precision.

    Attributes:
        names: Of the networks, in the order of columns.
        features: Of the networks, `(N, len(LAYER_FEATURES))`.
        resolutions: Input sizes in pixels, `(N,)`.
        keys: One for each chip and runtime, in the order of rows.
        times_ms: `(len(keys), N)`, NaN where a network was not timed.
    """

    names: tuple[str, ...]
    features: Array
    resolutions: npt.NDArray[np.int64]
    keys: tuple[tuple[str, str], ...]
    times_ms: Array


@dataclass(frozen=True, kw_only=True)
class FittedChip:
    """A chip's model with its error.

    Attributes:
        covered: Share of held-out networks inside an interval made of the others.
    """

    model: LayerModel
    error: Error
    num_networks: int
    covered: float


def costs_of(features: Array) -> Array:
    """Amounts of work by group, and a constant, `(N, groups + 1)`."""
    columns = [
        sum(factor * features[:, LAYER_FEATURES.index(name)] for name, factor in group.items())
        for group in _GROUPS
    ]
    return np.stack([*columns, np.ones(len(features))], axis=1)


def fit_chips(
    chips: Chips, fitted_on: str, like: Chips | None = None, *, is_throughput: bool = False
) -> dict[tuple[str, str], FittedChip]:
    """A model for each chip and runtime with at least eight networks.

    Args:
        chips: What was timed.
        fitted_on: In words, which networks.
        like: The same networks in a precision in which more of them were timed.
        is_throughput: State errors of 1/time.
    """
    work = costs_of(chips.features)
    everything = np.ones(len(chips.names), dtype=bool)
    full = _coefficients(chips, work, everything, like)
    left_out = np.full_like(chips.times_ms, np.nan)
    for index in range(len(chips.names)):
        seen = everything.copy()
        seen[index] = False
        left_out[:, index] = _coefficients(chips, work, seen, like) @ work[index]
    fitted = {}
    for row, key in enumerate(chips.keys):
        timed = np.isfinite(chips.times_ms[row])
        if timed.sum() < _FEWEST:
            continue
        measured, predicted = chips.times_ms[row, timed], left_out[row, timed]
        if is_throughput:
            measured, predicted = 1 / measured, 1 / predicted
        error = _error(measured, predicted)
        model = _as_model(full[row], chips.features[timed], chips.resolutions[timed], fitted_on)
        fitted[key] = FittedChip(
            model=model,
            error=error,
            num_networks=int(timed.sum()),
            covered=_covered(measured, predicted),
        )
    return fitted


def interval_percent(measured: Array, predicted: Array) -> tuple[float, float]:
    """Where nine of ten new networks lie relative to their predictions, by Student's t on logarithms."""
    left = np.log(measured / predicted)
    spread = np.sqrt((left**2).sum() / (len(left) - 1) * (1 + 1 / len(left)))
    reach = student.ppf((1 + _CONFIDENCE) / 2, len(left) - 1) * spread
    return round(100 * np.expm1(-reach).item(), 1), round(100 * np.expm1(reach).item(), 1)


def _error(measured: Array, predicted: Array) -> Error:
    error = error_of(
        measured,
        predicted,
        "each network left out in turn, on all chips of the maker",
        "convolutional networks of torchvision and timm",
        kind="families",
    )
    return replace(error, within_percent=interval_percent(measured, predicted))


def _coefficients(chips: Chips, work: Array, seen: npt.NDArray[np.bool_], like: Chips | None) -> Array:
    """Cost of each group on each chip by the networks that may be seen, `(chips, groups + 1)`."""
    general, levels = _general(chips, work, seen)
    if like is not None:
        other, _ = _general(like, work, seen)
        network, _ = _two_way(chips.times_ms[:, seen])
        known = np.isfinite(network)
        times, own = np.exp(network[known]), work[seen][known]
        level = np.exp(np.mean(np.log(times / (own @ other))))
        general = _non_negative(own, times, prior=other * level, hold=_HOLD_PRECISION)
    rows = []
    for times, level in zip(chips.times_ms, levels, strict=True):
        known = seen & np.isfinite(times)
        rows.append(_non_negative(work[known], times[known], prior=general * level, hold=_HOLD))
    return np.array(rows)


def _general(chips: Chips, work: Array, seen: npt.NDArray[np.bool_]) -> tuple[Array, Array]:
    """Costs fitted to the networks' means over all chips, and each chip's factor to them."""
    network, chip = _two_way(chips.times_ms[:, seen])
    known = np.isfinite(network)
    return _non_negative(work[seen][known], np.exp(network[known])), np.exp(chip)


def _two_way(times: Array) -> tuple[Array, Array]:
    """Logarithms as a network's part plus a chip's part, with gaps: `(networks,)` and `(chips,)`."""
    logs = np.log(times)
    timed = np.isfinite(logs)
    filled = np.where(timed, logs, 0.0)
    chip, network = np.zeros(len(logs)), np.zeros(logs.shape[1])
    for _ in range(30):
        network = ((filled - timed * chip[:, None]).sum(axis=0)) / np.maximum(timed.sum(axis=0), 1)
        chip = (filled - timed * network).sum(axis=1) / np.maximum(timed.sum(axis=1), 1)
    return np.where(timed.any(axis=0), network, np.nan), chip


def _non_negative(work: Array, times: Array, prior: Array | None = None, hold: float = 0.0) -> Array:
    """Non-negative costs by relative errors, large ones counted less; held near a prior if there is one."""
    relative = work / times[:, None]
    scale = np.sqrt((relative**2).mean(axis=0))
    scale[scale == 0] = 1.0
    weights = np.ones(len(times))
    solution = np.zeros(work.shape[1])
    for _ in range(_NUM_ROBUST_STEPS):
        root = np.sqrt(weights / len(times))
        rows, wanted = relative / scale * root[:, None], root
        if prior is not None:
            expected = prior * scale
            strength = np.sqrt(hold) / np.maximum(expected, 0.01)
            rows, wanted = np.vstack([rows, np.diag(strength)]), np.r_[wanted, strength * expected]
        solution, _ = nnls(rows, wanted)
        off = np.abs(relative / scale @ solution - 1)
        weights = _SMALLEST_DEVIATION / np.maximum(off, _SMALLEST_DEVIATION)
    return np.asarray(solution / scale)


def _as_model(
    costs: Array, features: Array, resolutions: npt.NDArray[np.int64], fitted_on: str
) -> LayerModel:
    coefficients = np.zeros(len(LAYER_FEATURES))
    for group, cost in zip(_GROUPS, costs, strict=False):
        for name, factor in group.items():
            coefficients[LAYER_FEATURES.index(name)] += cost * factor
    return LayerModel(
        coefficients=coefficients,
        bias_ms=float(costs[-1]),
        correction=None,
        fitted_on=fitted_on,
        smallest=features.min(axis=0),
        largest=features.max(axis=0),
        smallest_resolution=int(resolutions.min()),
        largest_resolution=int(resolutions.max()),
    )


def _covered(measured: Array, predicted: Array) -> float:
    """Share of held-out times inside the interval that the other networks' held-out errors give."""
    inside = []
    for index, (time, prediction) in enumerate(zip(measured, predicted, strict=True)):
        low, high = interval_percent(np.delete(measured, index), np.delete(predicted, index))
        inside.append(low <= 100 * (time / prediction - 1) <= high)
    return float(np.mean(inside))
