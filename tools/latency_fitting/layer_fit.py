"""From measured whole networks to a `LayerModel`: non-negative least squares, then a smooth correction."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls
from sklearn.cluster import KMeans

from latency_fitting.measurements import NetworkMeasurements
from ofa_toolkit.latency.predictors.layer_features import LAYER_FEATURES
from ofa_toolkit.latency.predictors.layer_model import KernelCorrection, LayerModel, correction_inputs, matern

Array = npt.NDArray[np.float64]

_NUM_ROBUST_STEPS = 4
_SMALLEST_DEVIATION = 0.02
_LENGTH = 4.0
_AMPLITUDE = 0.05
_NOISE = 0.02
_NUM_CENTRES = 64

# What says little over mobile networks and would let the fit trade one kind of work against another.
_UNUSED = ("pool_in", "num_adds", "dense_macs", "dense_weights")


def additive_model(data: NetworkMeasurements, fitted_on: str, *, use_bias: bool = True) -> LayerModel:
    """Non-negative coefficients that keep relative errors small, nearly in absolute value."""
    used = np.array([name not in _UNUSED for name in LAYER_FEATURES])
    columns = np.where(used, data.features, 0.0)
    if use_bias:
        columns = np.c_[columns, np.ones(len(columns))]
    scale = columns.std(axis=0) + columns.mean(axis=0)
    scale[scale == 0] = 1.0
    relative = columns / scale / data.latencies_ms[:, None]
    weights = np.ones(len(relative))
    solution = np.zeros(columns.shape[1])
    for _ in range(_NUM_ROBUST_STEPS):
        root = np.sqrt(weights)
        solution, _ = nnls(relative * root[:, None], root)
        weights = 1 / np.maximum(np.abs(relative @ solution - 1), _SMALLEST_DEVIATION)
    solution = solution / scale
    return LayerModel(
        coefficients=solution[: len(LAYER_FEATURES)],
        bias_ms=float(solution[-1]) if use_bias else 0.0,
        correction=None,
        fitted_on=fitted_on,
        smallest=data.features.min(axis=0),
        largest=data.features.max(axis=0),
        smallest_resolution=int(data.resolutions.min()),
        largest_resolution=int(data.resolutions.max()),
    )


def over_networks(model: LayerModel, num_blocks: int, fixed_part: Array | None = None) -> LayerModel:
    """A model fitted on single blocks, with the range of networks of so many of them.

    Args:
        model: Fitted on blocks.
        num_blocks: Blocks of a whole network.
        fixed_part: Features of a stem that was never taken apart, whose time is in the model's constant.
    """
    fixed = np.zeros_like(model.largest) if fixed_part is None else fixed_part
    return dataclasses.replace(model, largest=model.largest * num_blocks + fixed)


def corrected_model(data: NetworkMeasurements, fitted_on: str) -> LayerModel:
    """An additive model and a Gaussian process on what it leaves, in the logarithm."""
    additive = additive_model(data, fitted_on)
    left = np.log(data.latencies_ms / additive.predict_features(data.features))
    inputs = correction_inputs(data.features)
    mean, spread = inputs.mean(axis=0), inputs.std(axis=0) + 1e-9
    standard = (inputs - mean) / spread
    count = min(_NUM_CENTRES, len(np.unique(standard, axis=0)) // 2)
    centres = KMeans(count, n_init=1, random_state=0).fit(standard).cluster_centers_.astype(np.float32)
    across = matern(standard, centres, _LENGTH).astype(np.float64)
    within = matern(centres, centres, _LENGTH).astype(np.float64)
    normal = across.T @ across / _NOISE**2 + within / _AMPLITUDE**2 + 1e-8 * np.eye(count)
    weights = np.linalg.solve(normal, across.T @ left / _NOISE**2)
    correction = KernelCorrection(
        mean=mean.astype(np.float32),
        scale=spread.astype(np.float32),
        centres=centres,
        weights=weights.astype(np.float32),
        length=_LENGTH,
    )
    return dataclasses.replace(additive, correction=correction)
