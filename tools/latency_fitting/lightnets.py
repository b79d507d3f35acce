"""LightNAS on the AGX Xavier: blocks regressed from its released predictor, and its six published networks.

Source: github.com/stepbuystep/LightNAS at 2f0e1d17 (Apache-2.0): `data/latency_predictor.pth.tar`, and
README.md with the architectures ("How to Train") and times ("Pretrained Network Weights").
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from latency_fitting.layer_fit import additive_model, over_networks
from latency_fitting.measurements import NetworkMeasurements, read_rows
from latency_fitting.metrics import error_of, group_folds, held_out
from latency_fitting.tables import FittedTable
from latency_fitting.whole_networks import few_networks
from ofa_toolkit.latency.device import Error
from ofa_toolkit.latency.predictors.layer_features import layer_features
from ofa_toolkit.latency.predictors.layer_model import LayerModel
from ofa_toolkit.latency.table_file import TableContent
from ofa_toolkit.spaces.layer_builder import Flow, LayerBuilder
from ofa_toolkit.spaces.layer_spec import NETWORK_INPUT, LayerSpec

Array = npt.NDArray[np.float64]

LIGHTNAS_FILE = "lightnas_agx_xavier_additive_table.csv"

_WIDTHS = (16, 16, 24, 24, 48, 48, 48, 72, 72, 72, 72, 128, 128, 128, 160, 160, 160, 160, 176, 176, 176)
_WIDTHS_OUT = (*_WIDTHS[1:], 176, 384)
_STRIDED = (1, 3, 6, 13)
_HEAD = (1984, 1280, 1000)
LIGHTNETS: dict[float, str] = {
    20.0: "31 -- 33 36 73 33 53 73 36 33 76 53 76 73 53 73 -- 53 73 73 36 76",
    22.1: "31 76 -- 76 36 -- -- 53 76 76 73 73 -- 73 76 76 -- 56 73 73 73 56",
    23.9: "31 33 76 33 56 56 73 36 -- 76 36 33 73 53 73 -- -- 73 73 53 56 36",
    26.1: "31 -- 76 76 36 76 33 53 56 76 36 -- 76 76 76 33 56 53 -- 56 73 56",
    28.2: "31 53 76 33 76 56 56 53 53 36 73 33 76 33 76 73 -- 56 56 76 56 76",
    30.1: "31 36 73 36 76 76 33 36 33 76 56 76 76 73 -- 76 76 56 -- 76 76 36",
}
"""Published milliseconds to the architecture: kernel size and expand ratio of each block, `--` for a skip."""


def lightnet(architecture: str) -> list[LayerSpec]:
    """Layers at 224 pixels; a skip that changes the shape is a 1x1 convolution."""
    build = LayerBuilder(1e-5)
    flow = build.conv("stem", Flow(NETWORK_INPUT, 3, 224), _WIDTHS[0], 3, 2, "relu6")
    for index, choice in enumerate(architecture.split()):
        width, stride = _WIDTHS_OUT[index], 2 if index in _STRIDED else 1
        is_same = stride == 1 and flow.channels == width
        if choice == "--":
            flow = flow if is_same else build.conv(f"{index}.skip", flow, width, 1, stride, "relu6")
        else:
            flow = _block(build, f"{index}.", flow, width, stride, int(choice[0]), int(choice[1]))
    flow = build.conv("head", flow, _HEAD[0], 1, 1, "relu6")
    flow = build.pool("pool", "global_avg_pool", flow, flow.size, 1)
    flow = build.conv("mix", flow, _HEAD[1], 1, 1, "relu6")
    build.linear("classifier", flow, _HEAD[2])
    return build.layers


def _block(
    build: LayerBuilder, name: str, flow: Flow, width: int, stride: int, kernel_size: int, ratio: int
) -> Flow:
    block_input = flow
    if ratio != 1:
        flow = build.conv(f"{name}expand", flow, flow.channels * ratio, 1, 1, "relu6")
    flow = build.depthwise(f"{name}depthwise", flow, kernel_size, stride, "relu6")
    flow = build.conv(f"{name}project", flow, width, 1, 1, None)
    if stride == 1 and block_input.channels == width:
        flow = build.join(f"{name}add", "add", flow, block_input)
    return flow


def read_lightnas(folder: Path) -> NetworkMeasurements:
    """What each block adds to a network without it, in ms."""
    _, *rows = read_rows(folder / LIGHTNAS_FILE)  # the first row is the network without blocks
    features, names = [], []
    for row in rows:
        build = LayerBuilder(1e-5)
        block_input = Flow("block_input", int(row["in_c"]), int(row["h_in"]))
        kernel_size, ratio = int(row["op"][3]), int(row["op"][5])
        _block(build, "", block_input, int(row["out_c"]), int(row["stride"]), kernel_size, ratio)
        features.append(layer_features(build.layers))
        names.append(f"{row['in_c']}-{row['out_c']}-{row['h_in']}")
    return NetworkMeasurements(
        names=np.array(names),
        families=np.full(len(rows), "LightNAS"),
        resolutions=np.full(len(rows), 224),
        features=np.array(features),
        latencies_ms=np.array([float(row["delta_ms_vs_skip"]) for row in rows]),
    )


def with_constant(model: LayerModel, features: Array, measured: Array) -> LayerModel:
    """The model with the constant that whole networks need beside their layers, not negative."""
    left = measured - features @ model.coefficients
    return replace(model, bias_ms=max(0.0, float(left.mean())))


def lightnas_tables(folder: Path) -> Iterator[FittedTable]:
    """AGX Xavier, PyTorch fp32 at batch 8."""
    blocks = read_lightnas(folder)
    predicted = held_out(
        len(blocks.names),
        group_folds(blocks.names),
        lambda chosen, asked: additive_model(blocks.subset(chosen), "x", use_bias=False).predict_features(
            blocks.features[asked]
        ),
    )
    features = np.array([layer_features(lightnet(text)) for text in LIGHTNETS.values()])
    measured = np.array(list(LIGHTNETS))
    fitted_on = "126 blocks of LightNAS's space and its six networks at 224 pixels"
    of_blocks = over_networks(additive_model(blocks, fitted_on, use_bias=False), 1)
    model = with_constant(of_blocks, features, measured)
    model = replace(model, largest=np.maximum(of_blocks.largest, features.max(axis=0)))
    yield FittedTable(
        device="jetson-agx-xavier",
        name="lightnas-pytorch-fp32-8",
        content=TableContent(predictors=(model,)),
        conditions={
            "source": "LightNAS (Luo et al.), github.com/stepbuystep/LightNAS at 2f0e1d17",
            "source_licence": "Apache-2.0",
            "runtime": "pytorch",
            "precision": "fp32",
            "batch_size": 8,
            "provenance": "fitted",
            "method": (
                "released latency predictor, to an additive table of blocks, to layer features; the constant "
                "from six whole networks"
            ),
            "networks": "126 blocks and six networks (MobileNetV2-like, no squeeze-excite) at 224 pixels",
            "is_inferred": [],
        },
        errors=[
            error_of(blocks.latencies_ms, predicted, "whole block shapes", "single blocks", kind="blocks"),
            _error(of_blocks, features, measured),
        ],
        caveats=[
            "Regressed from a predictor its authors released, not from raw timings.",
            "The board is not named in the source; its paper says AGX Xavier.",
            "Squeeze-excite and h-swish were not measured and count nothing. Uncalibrated.",
        ],
    )


def _error(model: LayerModel, features: Array, measured: Array) -> Error:
    """On each published network by a constant from the others."""
    rest: Sequence[npt.NDArray[np.bool_]] = [np.arange(len(measured)) != i for i in range(len(measured))]
    left_out = [
        with_constant(model, features[others], measured[others]).predict_features(features[~others])[0]
        for others in rest
    ]
    return few_networks(
        tuple(f"LightNet-{ms:.0f}ms" for ms in measured),
        measured,
        np.array(left_out),
        "the six published whole networks of the same space, each by a constant from the others",
        "LightNAS's space",
    )
