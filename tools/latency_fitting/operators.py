"""V100 with TensorRT: whole networks composed from measured convolutions, and what those leave out.

Convolutions not in the grid of the source are interpolated in the logarithms of channels and map side. A
network then takes the sum of its convolutions plus one pass over all their outputs at the bandwidth a V100
reaches (reformatting, element-wise operations, gaps between kernels). Squeeze-excite branches and h-swish
take further passes over their maps; layers on maps of side 1 cost a launch each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.interpolate import RBFInterpolator

from latency_fitting.layer_fit import additive_model
from latency_fitting.measurements import NetworkMeasurements, Row, read_rows
from latency_fitting.metrics import error_of
from latency_fitting.tables import FittedTable
from ofa_toolkit.latency.device import Error
from ofa_toolkit.latency.measuring.standard_networks import standard_network
from ofa_toolkit.latency.predictors.layer_features import layer_features
from ofa_toolkit.latency.predictors.space_table import SpaceTable
from ofa_toolkit.latency.table_file import TableContent
from ofa_toolkit.spaces import LayerSpec, get_space, sample_population
from ofa_toolkit.spaces.units import UnitTables

Array = npt.NDArray[np.float64]
Kind = tuple[bool, int, int, bool]
"""Whether depthwise, kernel size, stride, whether an element-wise sum is fused."""

OPERATORS_FILE = "v100_trt_conv_ops.csv.gz"
SPACES = ("ofa-mobilenet-v3-w1.0", "ofa-mobilenet-v3-w1.2", "ofa-proxyless-w1.3")
VARIANTS = (("fp32", 1), ("fp32", 64), ("fp16", 1), ("fp16", 64), ("int8", 1), ("int8", 64))

E2E_FILE = "e2e_standard_nets.csv"
_CHECKED = ("fp32", 1)
"""The conditions under which another publication timed whole networks."""
_STANDARD_CONDITIONS = ("NVIDIA V100", "paddle-inference + tensorrt", "fp32", "1")
_STANDARD_NETWORKS = {
    "MobileNetV1_x0_5": "mobilenet-v1-0.5",
    "MobileNetV1_x0_75": "mobilenet-v1-0.75",
    "MobileNetV1": "mobilenet-v1-1.0",
    "MobileNetV2_x0_5": "mobilenet-v2-0.5",
    "MobileNetV2_x0_75": "mobilenet-v2-0.75",
    "MobileNetV2": "mobilenet-v2-1.0",
    "MobileNetV2_x1_5": "mobilenet-v2-1.5",
    "MobileNetV2_x2_0": "mobilenet-v2-2.0",
    "MobileNetV3_large_x1_0": "mobilenet-v3-large",
    "MobileNetV3_small_x1_0": "mobilenet-v3-small",
}

_BANDWIDTH = 800e9
_BYTES = {"fp32": 4, "fp16": 2, "int8": 1}
_LAUNCH_MS = 0.005
_NUM_NEIGHBOURS = 30
_SMOOTHING = 0.01
_NUM_GENERAL = 1500


class Operators:
    """Times of convolutions at one precision and batch size, interpolated.

    Args:
        rows: The source's rows of that precision and batch size.
    """

    def __init__(self, rows: Sequence[dict[str, str]]) -> None:
        grouped: dict[Kind, dict[tuple[float, ...], list[float]]] = {}
        for row in rows:
            is_depthwise = row["conv_type"] != "Regular"
            if is_depthwise and row["in_c"] != row["out_c"]:
                continue
            names = ("in_c", "in_h") if is_depthwise else ("in_c", "out_c", "in_h")
            kind = (is_depthwise, int(row["kernel"]), int(row["stride"]), row["elmt_fused"] == "1")
            point = tuple(float(row[name]) for name in names)
            grouped.setdefault(kind, {}).setdefault(point, []).append(float(row["latency_ms"]))
        self.points: dict[Kind, tuple[Array, Array]] = {
            kind: (
                np.log2(np.array(list(points))),
                np.log(np.array([np.median(times) for times in points.values()])),
            )
            for kind, points in grouped.items()
        }
        self._interpolate = {
            kind: RBFInterpolator(
                points,
                times,
                neighbors=min(_NUM_NEIGHBOURS, len(points)),
                kernel="linear",
                smoothing=_SMOOTHING,
            )
            for kind, (points, times) in self.points.items()
        }
        self._known: dict[tuple[Kind, tuple[int, ...]], float] = {}

    def time(self, layer: LayerSpec, *, is_summed: bool) -> float:
        """Milliseconds of one convolution on maps."""
        is_depthwise = layer.is_depthwise
        kind = (is_depthwise, layer.kernel_size, layer.stride, is_summed and not is_depthwise)
        point = (layer.in_channels, layer.in_size)
        if not is_depthwise:
            point = (layer.in_channels, layer.out_channels, layer.in_size)
        key = (kind, point)
        if key not in self._known:
            value = self._interpolate[kind](np.log2(np.array([point], dtype=np.float64)))
            self._known[key] = float(np.exp(value[0]))
        return self._known[key]


class Composition:
    """Times of runs of layers at one precision and batch size."""

    def __init__(self, operators: Operators, precision: str, batch_size: int) -> None:
        self._operators = operators
        self._ms_per_value = 1e3 * _BYTES[precision] * batch_size / _BANDWIDTH

    def __call__(self, layers: Sequence[LayerSpec]) -> float:
        """Milliseconds of one unit or a whole network."""
        summed = {layer.inputs[0] for layer in layers if layer.kind == "add"}
        total = 0.0
        for layer in layers:
            written = layer.out_channels * layer.out_size**2 * self._ms_per_value
            read = layer.in_channels * layer.in_size**2 * self._ms_per_value
            if layer.has_weights and layer.in_size > 1:
                total += self._operators.time(layer, is_summed=layer.name in summed) + written
                if layer.activation == "h_swish":
                    total += written
            elif layer.has_weights:
                total += _LAUNCH_MS
            elif layer.kind == "scale":
                total += read + written
            elif layer.kind == "global_avg_pool":
                total += read + _LAUNCH_MS
        return total


def compose_tables(composition: Composition, space_name: str) -> SpaceTable:
    """Unit tables of one space."""
    space = get_space(space_name)
    tables = UnitTables(space).tables(composition)
    return SpaceTable(
        space=space,
        head="sum",
        tables=tuple(table.astype(np.float32) for table in tables),
        resolutions=space.resolutions,
    )


def _general(tables: Sequence[SpaceTable]) -> NetworkMeasurements:
    """Composed subnets of all the spaces, to fit a general model that covers other spaces."""
    features, latencies, names, sides = [], [], [], []
    for table in tables:
        units = UnitTables(table.space)
        population = sample_population(table.space, _NUM_GENERAL, np.random.default_rng(0))
        features.append(units.sum(population, units.tables(layer_features)))
        latencies.append(units.sum(population, [t.astype(np.float64) for t in table.tables])[:, 0])
        names += [table.space.name] * len(population)
        sides.append(np.array(table.space.resolutions)[population[:, 0]])
    return NetworkMeasurements(
        names=np.array(names),
        families=np.array(names),
        resolutions=np.concatenate(sides),
        features=np.vstack(features),
        latencies_ms=np.concatenate(latencies),
    )


def composed_subnets(folder: Path, precision: str, batch_size: int) -> NetworkMeasurements:
    """Random subnets of OFA's spaces as composed from the V100's operators."""
    rows = [
        dict(row)
        for row in read_rows(folder / OPERATORS_FILE)
        if row["precision"] == precision and row["batch"] == str(batch_size)
    ]
    composition = Composition(Operators(rows), precision, batch_size)
    return _general([compose_tables(composition, name) for name in SPACES])


def standard_error(folder: Path, composition: Composition, device: str | None = None) -> Error:
    """Error on standard networks that another publication timed on the V100, in fp32 at batch 1.

    Args:
        folder: Of raw measurements.
        composition: In fp32 at batch 1.
        device: What to call it where the error stands beside other conditions.
    """
    rows = [
        row
        for row in read_rows(folder / E2E_FILE)
        if (row["device"], row["runtime"], row["precision"], row["batch"]) == _STANDARD_CONDITIONS
        and row["model"] in _STANDARD_NETWORKS
    ]
    composed = [composition(standard_network(_STANDARD_NETWORKS[row["model"]], 224)) for row in rows]
    return error_of(
        np.array([float(row["latency_ms"]) for row in rows]),
        np.array(composed),
        "whole networks, timed by another publication in Paddle Inference with TensorRT 8.0",
        "MobileNetV1, V2 and V3 at 224 pixels",
        kind="families",
        device=device,
    )


def v100_tables(folder: Path) -> Iterator[FittedTable]:
    """TensorRT in three precisions at batch 1 and 64."""
    rows = read_rows(folder / OPERATORS_FILE)

    def conditions_of(precision: str, batch_size: int) -> list[Row]:
        return [row for row in rows if row["precision"] == precision and row["batch"] == str(batch_size)]

    def composed(precision: str, batch_size: int) -> Composition:
        own = [dict(row) for row in conditions_of(precision, batch_size)]
        return Composition(Operators(own), precision, batch_size)

    for precision, batch_size in VARIANTS:
        own = conditions_of(precision, batch_size)
        composition = composed(precision, batch_size)
        elsewhere = None if (precision, batch_size) == _CHECKED else "v100 in fp32 at batch 1"
        tables = [compose_tables(composition, name) for name in SPACES]
        general = additive_model(_general(tables), "composed subnets of OFA's MBConv spaces")
        yield FittedTable(
            device="v100",
            name=f"tinynas-tensorrt-{precision}-{batch_size}",
            content=TableContent(predictors=(*tables, general)),
            conditions={
                "source": (
                    "github.com/alibaba/lightweight-neural-architecture-search at 8ccaf889, "
                    "tinynas/latency/op_profiler/V100"
                ),
                "source_licence": "Apache-2.0",
                "runtime": "tensorrt",
                "runtime_version": "7 (inferred)",
                "precision": precision,
                "batch_size": batch_size,
                "provenance": "fitted",
                "method": (
                    "sum of measured convolutions, interpolated between sizes, plus a pass over all outputs "
                    "at 800 GB/s; squeeze-excite, h-swish and launches modelled"
                ),
                "networks": f"{len(own)} single convolutions; no whole network",
                "is_inferred": ["runtime_version"],
            },
            errors=[standard_error(folder, composed(*_CHECKED), elsewhere)],
            caveats=[
                "Composed from operators: the source measured no whole network.",
                "Uncalibrated. Squeeze-excite, h-swish, pooling and launches are modelled, not measured.",
            ],
        )
