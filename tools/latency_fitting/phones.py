"""From measured blocks on phones to tables: exact where a block was timed, a line in its areas elsewhere."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from latency_fitting.measurements import NetworkMeasurements, Row, read_rows
from ofa_toolkit.latency.predictors.layer_features import layer_features
from ofa_toolkit.latency.predictors.signature import unit_at
from ofa_toolkit.latency.predictors.space_table import SpaceTable
from ofa_toolkit.spaces import LayerSpec, SearchSpace, get_space
from ofa_toolkit.spaces.layer_builder import Flow, LayerBuilder
from ofa_toolkit.spaces.units import UnitTables

Array = npt.NDArray[np.float64]
Key = tuple[object, ...]
"""What was timed, without the sizes of its maps."""

NOTE10_FILE = "lut_ofa_mbv3_w1.2_note10.csv"
PIXEL1_FILE = "lut_proxylessnas_pixel1.csv"
NOTE10_SPACE = "ofa-mobilenet-v3-w1.2"


def read_note10(path: Path) -> list[tuple[Key, int, int, int, float]]:
    """Rows as (what, resolution, side in, side out, ms)."""
    rows = []
    for row in read_rows(path / NOTE10_FILE):
        side_in, channels_in = _side_and_channels(row["input"])
        side_out, channels_out = _side_and_channels(row["output"])
        key: Key = (row["op"], channels_in, channels_out)
        if row["op"] == "expanded_conv":
            key += tuple(int(row[name]) for name in ("expand", "kernel", "stride", "idskip", "se", "hs"))
        rows.append((key, int(row["resolution"]), side_in, side_out, float(row["mean_ms"])))
    return rows


def note10_table(rows: Sequence[tuple[Key, int, int, int, float]]) -> SpaceTable:
    """The table of OFA's MobileNetV3 space at width 1.2 over all its resolutions."""
    space = get_space(NOTE10_SPACE)
    units = UnitTables(space)
    exact = {(key, side_in, side_out): time for key, _, side_in, side_out, time in rows}
    lines = _fit_lines(rows)
    tables = [np.zeros((int(np.prod(unit.shape)), 1), dtype=np.float32) for unit in units.units]
    for row, layers in units.combinations():
        for unit, table in zip(units.units, tables, strict=True):
            total = 0.0
            for key, side_in, side_out in _parts(unit.name, layers[unit.name]):
                time = exact.get((key, side_in, side_out))
                if time is None:
                    time = float(lines[key] @ (1.0, side_in**2, side_out**2))
                total += time
            table[unit_at(row, unit)] = total
    return SpaceTable(
        space=space,
        head="sum",
        tables=tuple(tables),
        resolutions=tuple(sorted({resolution for _, resolution, *_ in rows})),
    )


def _fit_lines(rows: Sequence[tuple[Key, int, int, int, float]]) -> Mapping[Key, Array]:
    """For each part the constant and the slopes in input and output area, least relative squares."""
    grouped: dict[Key, list[tuple[int, int, float]]] = {}
    for key, _, side_in, side_out, time in rows:
        grouped.setdefault(key, []).append((side_in, side_out, time))
    lines = {}
    for key, points in grouped.items():
        values = np.array(points)
        columns = np.c_[np.ones(len(values)), values[:, 0] ** 2, values[:, 1] ** 2] / values[:, 2:]
        # Areas in and out are almost proportional; the smallest norm of scaled columns splits them evenly.
        scale = np.sqrt((columns**2).mean(axis=0))
        solution, *_ = np.linalg.lstsq(columns / scale, np.ones(len(values)), rcond=1e-4)
        lines[key] = solution / scale
    return lines


def _parts(unit: str, layers: Sequence[LayerSpec]) -> list[tuple[Key, int, int]]:
    """What the phone's table calls the parts of one unit, with their sides in and out."""
    if not layers:
        return []
    if unit == "stem":
        conv = layers[0]
        first = (("Conv", conv.in_channels, conv.out_channels), conv.in_size, conv.out_size)
        return [first, _block(layers[1:])]
    if unit == "head":
        expand, pool, mix, classifier = layers
        return [
            (("Conv_1", expand.in_channels, expand.out_channels), expand.in_size, expand.out_size),
            (("AvgPool2D", pool.in_channels, pool.out_channels), pool.in_size, 1),
            (("Conv_2", mix.in_channels, mix.out_channels), 1, 1),
            (("Logits", classifier.in_channels, classifier.out_channels), 1, 1),
        ]
    return [_block(layers)]


def _block(layers: Sequence[LayerSpec]) -> tuple[Key, int, int]:
    depthwise = next(layer for layer in layers if layer.is_depthwise)
    project = next(layer for layer in layers if layer.name.endswith(".project"))
    key: Key = (
        "expanded_conv",
        layers[0].in_channels,
        project.out_channels,
        depthwise.out_channels,
        depthwise.kernel_size,
        depthwise.stride,
        int(layers[-1].kind == "add"),
        int(any(layer.kind == "scale" for layer in layers)),
        int(depthwise.activation == "h_swish"),
    )
    return key, layers[0].in_size, project.out_size


def _side_and_channels(text: str) -> tuple[int, int]:
    numbers = [int(value) for value in text.split("x")]
    return (numbers[0], numbers[-1]) if len(numbers) == 3 else (1, numbers[0])


def read_blocks(path: Path, file: str) -> NetworkMeasurements:
    """Every row of a phone's table as a network of its own, for a general model of that phone."""
    rows = read_rows(path / file)
    layers = [_row_layers(row) for row in rows]
    return NetworkMeasurements(
        names=np.array([re.sub(r"-kernel:.*", "", row["key"]) for row in rows]),
        families=np.array([row["op"] for row in rows]),
        resolutions=np.array([int(row["resolution"]) for row in rows]),
        features=np.array([layer_features(part) for part in layers]),
        latencies_ms=np.array([float(row["mean_ms"]) for row in rows]),
    )


def _row_layers(row: Row) -> list[LayerSpec]:
    """Layers of one row; MBConv blocks expand by a ratio (Pixel 1) or to a width (Note 10)."""
    side, channels = _side_and_channels(row["input"])
    side_out, width = _side_and_channels(row["output"])
    build, flow = LayerBuilder(1e-5), Flow("block_input", channels, side)
    if row["op"] == "Conv":
        build.conv("conv", flow, width, 3, 2, "relu6")
    elif row["op"] == "AvgPool2D":
        build.pool("pool", "global_avg_pool", flow, side, 1)
    elif row["op"] == "Logits":
        build.linear("classifier", Flow("block_input", channels, 1), width)
    elif row["op"] in ("Conv_1", "Conv_2"):
        build.conv("conv", flow, width, 1, 1, "relu6")
    else:
        _mbconv(build, flow, row, width)
    assert build.layers[-1].out_size in (side_out, 1), row
    return build.layers


def _mbconv(build: LayerBuilder, flow: Flow, row: Row, width: int) -> None:
    expand, stride = int(row["expand"]), int(row["stride"])
    middle = expand if expand > 10 else flow.channels * expand
    activation = "h_swish" if row["hs"] == "1" else "relu6"
    block_input = flow
    if middle != flow.channels:
        flow = build.conv("expand", flow, middle, 1, 1, activation)
    flow = build.depthwise("depthwise", flow, int(row["kernel"]), stride, activation)
    if row["se"] == "1":
        flow = build.squeeze_excite("se", flow)
    flow = build.conv("project", flow, width, 1, 1, None)
    if row["idskip"] == "1":
        build.join("add", "add", flow, block_input)


def space_of_note10() -> SearchSpace:
    """The space whose blocks were timed."""
    return get_space(NOTE10_SPACE)
