"""Tables from files of random subnets: HELP (four GPUs, batch 1, 32, 64) and NAS_PerformanceEstimation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from latency_fitting.layer_fit import additive_model
from latency_fitting.measurements import NetworkMeasurements, SubnetMeasurements, read_subnets
from latency_fitting.metrics import contiguous_folds, error_of, held_out, random_folds
from latency_fitting.space_fit import (
    UnitDesign,
    fit_max,
    latest_level,
    predict,
    robust_ridge,
    space_table,
)
from latency_fitting.tables import SHIFTED, FittedTable, honest_bound
from ofa_toolkit.latency.device import Error
from ofa_toolkit.latency.predictors.layer_features import layer_features
from ofa_toolkit.latency.predictors.layer_model import LayerModel
from ofa_toolkit.latency.table_file import TableContent

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

HELP_FILE = "help_ofa_wide.csv"
HELP_DEVICES = {"v100": "v100", "rtx-2080ti": "2080ti", "titan-rtx": "titan_rtx", "titan-xp": "titan_xp"}
HELP_SPACE = "ofa-mobilenet-v3-w1.2"
NASPERF_FILES = {"rtx-2080ti": "RTX_2080_Ti_GPU_ofa.csv", "tesla-p40": "Tesla_P40_GPU_ofa.csv"}
NASPERF_SPACE = "ofa-mobilenet-v3-w1.0"

# Batch 1 is mostly noise of the host: the penalty is larger.
_ALPHA = {1: 100.0, 64: 1.0}

# With columns for each resolution 224 pixels came out up to 11 % faster than 140, beyond the error of 7.8 %;
# smooth in the resolution it falls by less than the error, which is no larger for it.
_SMOOTH = (("rtx-2080ti", 1),)

_HELP_CONDITIONS: dict[str, Any] = {
    "source": "HELP (Lee et al. 2021), github.com/HayeonLee/HELP at 45f70eb9, data/ofa",
    "source_licence": "MIT",
    "runtime": "pytorch",
    "runtime_version": "unknown (CUDA 10.2 era)",
    "precision": "fp32",
    "provenance": "fitted",
    "networks": "4,000 random subnets of OFA's MobileNetV3 space",
    "is_inferred": ["runtime_version", "networks"],
}
_HELP_CAVEATS = (
    "The source does not state the width of the space; 1.2 is inferred.",
    "Clocks, repeats and synchronisation of the source are unknown.",
)
_NASPERF_CONDITIONS: dict[str, Any] = {
    "source": "github.com/RhythmSyed/NAS_PerformanceEstimation at c9bf24cd, tutorial/latency_predictor",
    "source_licence": "Apache-2.0",
    "runtime": "pytorch",
    "precision": "fp32",
    "provenance": "fitted",
    "networks": "4,000 random subnets of OFA's MobileNetV3 space at width 1.0, batch norm removed",
    "is_inferred": [],
}
_NASPERF_CAVEATS = (
    "Batch norm was removed before measuring, and the GPU was not synchronised: times may be low.",
    "Measured at resolutions 160, 176, 192, 208 and 224; others are inter- or extrapolated.",
)
DRIFT = (
    "The device drifted while the rows were measured; the table holds the level of the last tenth of them, "
    "and earlier rows differ from it by up to a few percent."
)
# Later rows of the source are slower throughout: its sessions differ, whatever the first 4,000 rows say.
_NASPERF_SHIFTED = ("rtx-2080ti",)


def read_help(folder: Path) -> SubnetMeasurements:
    """All columns of the HELP file."""
    columns = [f"{column}_{batch}" for column in HELP_DEVICES.values() for batch in (1, 32, 64)]
    return read_subnets(folder / HELP_FILE, HELP_SPACE, columns)


def read_nasperf(folder: Path, device: str) -> SubnetMeasurements:
    """One device of NAS_PerformanceEstimation."""
    return read_subnets(folder / NASPERF_FILES[device], NASPERF_SPACE, ["latency_ms"])


class SubnetFit:
    """Fits unit tables to columns of a file, for chosen rows.

    Args:
        data: The file.
        is_smooth: Whether latency is to be smooth in the resolution, also where each was measured.
    """

    def __init__(self, data: SubnetMeasurements, *, is_smooth: bool = False) -> None:
        self.data = data
        self.resolutions = [data.space.resolutions[i] for i in np.unique(data.population[:, 0])]
        every = len(self.resolutions) == len(data.space.resolutions) and not is_smooth
        self.design = UnitDesign(data.space, is_every_resolution_measured=every)
        self.rows = self.design.rows(data.population)

    def tables(self, column: str, batch: int, chosen: Mask) -> list[Array]:
        """Unit tables of one column, at the level of the rows that were measured last."""
        tables = self.mean_tables(column, batch, chosen)
        level = self.level(column, tables, chosen)
        return [level * table for table in tables]

    def level(self, column: str, tables: list[Array], chosen: Mask) -> float:
        """How much slower the rows measured last are than all."""
        fitted = predict(self.design, tables, self.data.population[chosen])
        return latest_level(self.data.latencies_ms[column][chosen], fitted)

    def mean_tables(self, column: str, batch: int, chosen: Mask) -> list[Array]:
        """Unit tables at the mean level; batch 32 from its own rows and those of batch 64 and 1."""
        if batch == 32:
            device = column.removesuffix("_32")
            large, small = (self.mean_tables(f"{device}_{size}", size, chosen) for size in (64, 1))
            population = self.data.population[chosen]
            return fit_max(self.design, population, self.data.latencies_ms[column][chosen], large, small)
        latencies = self.data.latencies_ms[column][chosen]
        return self.design.tables(robust_ridge(self.rows[chosen], latencies, _ALPHA[batch]))

    def predict(self, column: str, batch: int, chosen: Mask, asked: Mask) -> Array:
        """Latencies of some rows by a fit on others."""
        tables = self.tables(column, batch, chosen)
        return predict(self.design, tables, self.data.population[asked])

    def held_out(self, column: str, batch: int) -> Array:
        """Predictions of every row by five fits that have not seen it."""
        count = len(self.data.population)
        return held_out(
            count, random_folds(count), lambda chosen, asked: self.predict(column, batch, chosen, asked)
        )

    def later_error(self, column: str, batch: int) -> Error:
        """Error on the last fifth of the rows by a fit on those measured before."""
        *_, last = contiguous_folds(len(self.data.population))
        measured = self.data.latencies_ms[column][last]
        predicted = self.predict(column, batch, ~last, last)
        return error_of(
            measured, predicted, "the fifth measured last, by a fit on the rest", self.data.space.name
        )

    def networks(self, column: str) -> NetworkMeasurements:
        """The rows as networks with layer features, for a general model."""
        units = self.design.units
        features = units.sum(self.data.population, units.tables(layer_features))
        sides = np.array(self.data.space.resolutions)[self.data.population[:, 0]]
        label = np.full(len(sides), self.data.space.name)
        return NetworkMeasurements(
            names=label,
            families=label,
            resolutions=sides,
            features=features,
            latencies_ms=self.data.latencies_ms[column],
        )


def help_tables(folder: Path) -> Iterator[FittedTable]:
    """Twelve variants: four GPUs at batch 1, 32 and 64."""
    data = read_help(folder)
    rough, smooth = SubnetFit(data), SubnetFit(data, is_smooth=True)
    for device, column in HELP_DEVICES.items():
        for batch in (1, 32, 64):
            fit = smooth if (device, batch) in _SMOOTH else rough
            yield _fitted(fit, device, f"{column}_{batch}", batch, "help", _HELP_CONDITIONS, _HELP_CAVEATS)


def nasperf_tables(folder: Path) -> Iterator[FittedTable]:
    """Two GPUs at batch 64."""
    for device in NASPERF_FILES:
        fit = SubnetFit(read_nasperf(folder, device))
        yield _fitted(fit, device, "latency_ms", 64, "nasperf", _NASPERF_CONDITIONS, _NASPERF_CAVEATS)


def _fitted(
    fit: SubnetFit,
    device: str,
    column: str,
    batch: int,
    source: str,
    conditions: dict[str, Any],
    caveats: tuple[str, ...],
) -> FittedTable:
    measured, predicted = fit.data.latencies_ms[column], fit.held_out(column, batch)
    everything = np.ones(len(measured), dtype=np.bool_)
    tables = fit.mean_tables(column, batch, everything)
    level = fit.level(column, tables, everything)
    exact = space_table(fit.design, [level * table for table in tables], fit.resolutions)
    general: LayerModel = additive_model(fit.networks(column), f"subnets of {fit.data.space.name} only")
    later = fit.later_error(column, batch)
    has_drift = level != 1
    is_shifted = source == "nasperf" and device in _NASPERF_SHIFTED
    bound = None if is_shifted else honest_bound(measured, predicted)
    content = TableContent(
        predictors=(exact, general),
        bound=bound,
        bound_space=fit.data.space.identity if bound is not None else None,
    )
    how = {
        1: "robust ridge regression over unit choices",
        32: "larger of two sums, the device's work and the host's launching, each over unit choices",
        64: "robust ridge regression over unit choices",
    }
    return FittedTable(
        device=device,
        name=f"{source}-pytorch-fp32-{batch}",
        content=content,
        conditions={
            **conditions,
            "batch_size": batch,
            "method": f"{how[batch]}; other spaces by layer features",
        },
        errors=[
            *([later] if has_drift else []),
            error_of(measured, predicted, "random subnets, five folds", fit.data.space.name),
            *([] if has_drift else [later]),
        ],
        caveats=[*caveats, *([DRIFT] if has_drift else []), *([] if bound is not None else [SHIFTED])],
    )
