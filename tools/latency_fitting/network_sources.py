"""Tables from whole networks and blocks: Jetson boards in TensorFlow, Note 10, Pixel 1, Accel-NASBench."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from latency_fitting.layer_fit import additive_model, corrected_model, over_networks
from latency_fitting.measurements import NetworkMeasurements, Row, read_jetson_networks, read_rows
from latency_fitting.metrics import error_of, group_folds, held_out, random_folds
from latency_fitting.phones import (
    NOTE10_FILE,
    NOTE10_SPACE,
    PIXEL1_FILE,
    note10_table,
    read_blocks,
    read_note10,
)
from latency_fitting.tables import FittedTable
from latency_fitting.whole_networks import corrected, corrected_error, read_specialized, single_error
from ofa_toolkit.latency.device import Error, ErrorKind
from ofa_toolkit.latency.predictors.layer_features import layer_features
from ofa_toolkit.latency.table_file import TableContent
from ofa_toolkit.spaces import LayerSpec, get_space, sample_population
from ofa_toolkit.spaces.layer_builder import Flow, LayerBuilder
from ofa_toolkit.spaces.layer_spec import NETWORK_INPUT

Array = npt.NDArray[np.float64]

JETSON_FILES = {
    "jetson-nano": "jetson_cnn_nano.csv",
    "jetson-tx2": "jetson_cnn_tx2.csv",
    "jetson-agx-xavier": "jetson_cnn_agx.csv",
}
_SIBLING_FAMILIES = ("MobileNetV3", "MnasNet", "EfficientNet")
_UNSEEN_FAMILIES = ("MobileNetV2", "MobileNetV3", "MnasNet")
_KERAS = "standard networks (MobileNetV1-V3, MnasNet, EfficientNet in Keras) at 32 to 2400 pixels"

PHONE_BLOCKS = 22

ACCEL_FILE = "accel_nasbench.csv"
ACCEL_COLUMNS = {"a100": "a100_img_s", "rtx-3090": "rtx3090_img_s"}
ACCEL_BATCH = 64


def jetson_errors(data: NetworkMeasurements) -> list[Error]:
    """Held-out errors: models whose siblings were seen, and whole families."""
    errors = []
    splits: tuple[tuple[npt.NDArray[np.str_], tuple[str, ...], str, ErrorKind], ...] = (
        (data.names, _SIBLING_FAMILIES, "whole models, siblings of the family seen", "networks"),
        (data.families, _UNSEEN_FAMILIES, "whole families", "families"),
    )
    for groups, families, split, kind in splits:
        predicted = held_out(
            len(groups),
            group_folds(groups),
            lambda chosen, asked: corrected_model(data.subset(chosen), _KERAS).predict_features(
                data.features[asked]
            ),
        )
        shown = np.isin(data.families, families)
        what = ", ".join(families)
        errors.append(error_of(data.latencies_ms[shown], predicted[shown], split, what, kind=kind))
    return errors


def jetson_tables(folder: Path) -> Iterator[FittedTable]:
    """TensorFlow fp32 at batch 1 on three boards."""
    for device, file in JETSON_FILES.items():
        data = read_jetson_networks(folder / file)
        yield FittedTable(
            device=device,
            name="perfprediction-tensorflow-fp32-1",
            content=TableContent(predictors=(corrected_model(data, _KERAS),)),
            conditions={
                "source": "github.com/HalimaBouzidi/perf_prediction at 12922096, execution_time_prediction",
                "source_licence": "MIT",
                "runtime": "tensorflow",
                "runtime_version": "1.x frozen graph, CUDA 10.0",
                "precision": "fp32",
                "batch_size": 1,
                "provenance": "fitted",
                "method": (
                    "non-negative least squares over layer features, with a Gaussian process correction"
                ),
                "networks": _KERAS,
                "is_inferred": [],
            },
            errors=jetson_errors(data),
            caveats=[
                "Uncalibrated: rows come in clusters of one model at many sizes.",
                "Times are the sum of GPU kernels (nvprof); the power mode is unknown.",
                "No subnet of an elastic space was measured.",
            ],
        )


def note10_held_out(folder: Path, num_subnets: int = 200) -> tuple[Array, Array]:
    """Sums of measured blocks and their predictions by tables that have not seen the resolution."""
    rows, space = read_note10(folder), get_space(NOTE10_SPACE)
    full = note10_table(rows).bind(space)
    population = sample_population(space, num_subnets, np.random.default_rng(0))
    measured, predicted = [], []
    for resolution in sorted({row[1] for row in rows}):
        partial = note10_table([row for row in rows if row[1] != resolution]).bind(space)
        population[:, 0] = space.resolutions.index(resolution)
        measured.append(full.predict(population))
        predicted.append(partial.predict(population))
    return np.concatenate(measured), np.concatenate(predicted)


def note10_tables(folder: Path) -> Iterator[FittedTable]:
    """TFLite fp32 at batch 1: blocks of OFA's space, and a general model for others."""
    blocks = read_blocks(folder, NOTE10_FILE)
    exact = note10_table(read_note10(folder))
    published = read_specialized(folder, "note10")
    wide, narrow = published.of(NOTE10_SPACE), published.of("ofa-mobilenet-v3-w1.0")
    fitted_on = f"blocks of {NOTE10_SPACE} and three networks of ofa-mobilenet-v3-w1.0"
    blocks_alone = over_networks(additive_model(blocks, fitted_on, use_bias=False), PHONE_BLOCKS)
    general = corrected(blocks_alone, narrow)
    yield FittedTable(
        device="note10",
        name="compofa-tflite-fp32-1",
        content=TableContent(predictors=(exact, general)),
        conditions={
            "source": "github.com/gatech-sysml/CompOFA at 6b539461, latency_table@note10 (OFA's table)",
            "source_licence": "Apache-2.0",
            "runtime": "tflite",
            "precision": "fp32",
            "batch_size": 1,
            "provenance": "measured",
            "method": "sum of measured blocks; a line in input and output area at other resolutions",
            "networks": f"blocks of {NOTE10_SPACE} at 15 resolutions from 160 to 224",
            "is_inferred": ["runtime", "precision"],
        },
        errors=[
            error_of(
                *note10_held_out(folder),
                "whole resolutions (sums of measured blocks)",
                NOTE10_SPACE,
                kind="blocks",
            ),
            single_error(exact, wide),
            corrected_error(blocks_alone, narrow, "MobileNetV3"),
        ],
        caveats=[
            "Uncalibrated: latencies are sums of blocks, which four published whole networks bear out.",
            (
                "Other spaces are predicted from layer features of the blocks, times a factor fitted to "
                "three published networks of ofa-mobilenet-v3-w1.0."
            ),
        ],
    )


def pixel1_tables(folder: Path) -> Iterator[FittedTable]:
    """TFLite fp32 at batch 1: 72 blocks of ProxylessNAS at 224 pixels, as a general model."""
    blocks = read_blocks(folder, PIXEL1_FILE)
    predicted = held_out(
        len(blocks.names),
        group_folds(blocks.names),
        lambda chosen, asked: additive_model(blocks.subset(chosen), "x", use_bias=False).predict_features(
            blocks.features[asked]
        ),
    )
    published = read_specialized(folder, "pixel1")
    fitted_on = "72 blocks of ProxylessNAS and four of OFA's MobileNetV3 networks"
    blocks_alone = over_networks(additive_model(blocks, fitted_on, use_bias=False), PHONE_BLOCKS)
    yield FittedTable(
        device="pixel1",
        name="proxylessnas-tflite-fp32-1",
        content=TableContent(predictors=(corrected(blocks_alone, published),)),
        conditions={
            "source": "github.com/han-cai/files, proxylessnas/mobile_trim.yaml and ofa/ofa_specialized",
            "source_licence": "none stated",
            "runtime": "tflite",
            "precision": "fp32",
            "batch_size": 1,
            "provenance": "fitted",
            "method": (
                "non-negative least squares over layer features of blocks, times a factor fitted to "
                "published whole networks"
            ),
            "networks": (
                "72 blocks of ProxylessNAS (MobileNetV2-like, no squeeze-excite) at 224 pixels; four "
                "networks of OFA's MobileNetV3 spaces at 160 to 228"
            ),
            "is_inferred": ["runtime", "precision"],
        },
        errors=[
            error_of(blocks.latencies_ms, predicted, "whole block shapes", "single blocks", kind="blocks"),
            corrected_error(blocks_alone, published, "MobileNetV3"),
        ],
        caveats=[
            "Uncalibrated: four whole networks cannot back bounds.",
            (
                "Squeeze-excite and h-swish were not measured and count nothing. Blocks timed on their own "
                "take longer than in a network: their sums are 16 to 23 % above the published networks."
            ),
        ],
    )


_ACCEL_STAGES = ((16, 1), (24, 2), (40, 2), (80, 2), (112, 1), (192, 2), (320, 1))


def accel_network(row: Mapping[str, str]) -> list[LayerSpec]:
    """Layers of one Accel-NASBench network at 224 pixels; parameters agree with the source."""
    build = LayerBuilder(1e-5)
    flow = build.conv("stem", Flow(NETWORK_INPUT, 3, 224), 32, 3, 2, "relu")
    choices = [[int(value) for value in row[key].split("-")] for key in ("e", "k", "l", "se")]
    for stage, (ratio, kernel_size, depth, use_se) in enumerate(zip(*choices, strict=True)):
        width, first_stride = _ACCEL_STAGES[stage]
        for index in range(depth):
            name, block_input = f"stages.{stage}.{index}", flow
            stride = first_stride if index == 0 else 1
            if ratio != 1:
                flow = build.conv(f"{name}.expand", flow, flow.channels * ratio, 1, 1, "relu")
            flow = build.depthwise(f"{name}.depthwise", flow, kernel_size, stride, "relu")
            if use_se:
                flow = _accel_squeeze(build, name, flow, block_input.channels // 4)
            flow = build.conv(f"{name}.project", flow, width, 1, 1, None)
            if stride == 1 and block_input.channels == width:
                flow = build.join(f"{name}.add", "add", flow, block_input)
    flow = build.conv("head", flow, 1280, 1, 1, "relu")
    flow = build.pool("pool", "global_avg_pool", flow, flow.size, 1)
    build.linear("classifier", flow, 1000)
    return build.layers


def _accel_squeeze(build: LayerBuilder, name: str, flow: Flow, hidden: int) -> Flow:
    pooled = build.pool(f"{name}.se.pool", "global_avg_pool", flow, flow.size, 1)
    reduced = build.conv(f"{name}.se.reduce", pooled, hidden, 1, 1, "relu", batch_norm=False, bias=True)
    gate = build.conv(
        f"{name}.se.expand", reduced, flow.channels, 1, 1, "sigmoid", batch_norm=False, bias=True
    )
    return build.join(f"{name}.se.scale", "scale", flow, gate)


def read_accel(folder: Path) -> dict[str, NetworkMeasurements]:
    """Throughputs as milliseconds per batch of `ACCEL_BATCH`."""
    rows: list[Row] = read_rows(folder / ACCEL_FILE)
    features = np.array([layer_features(accel_network(row)) for row in rows])
    measured = {}
    for device, column in ACCEL_COLUMNS.items():
        throughput = np.array([float(row[column] or "nan") for row in rows])
        is_known = np.isfinite(throughput)
        measured[device] = NetworkMeasurements(
            names=np.array([row["id"] for row in rows])[is_known],
            families=np.full(is_known.sum(), "Accel-NASBench"),
            resolutions=np.full(is_known.sum(), 224),
            features=features[is_known],
            latencies_ms=1000 * ACCEL_BATCH / throughput[is_known],
        )
    return measured


_ACCEL_CONDITIONS: dict[str, Any] = {
    "source": "Accel-NASBench (Ahmad et al. 2024), github.com/afzalxo/Accel-NASBench at 42603572",
    "source_licence": "Apache-2.0",
    "runtime": "pytorch",
    "precision": "fp32",
    "batch_size": ACCEL_BATCH,
    "provenance": "fitted",
    "method": "throughput to time per batch; layer features with a Gaussian process correction",
    "networks": "about 4,000 networks of the MnasNet space of Accel-NASBench at 224 pixels",
    "is_inferred": ["runtime", "precision", "batch_size"],
}


def accel_tables(folder: Path) -> Iterator[FittedTable]:
    """A100 and RTX 3090."""
    for device, data in read_accel(folder).items():
        count = len(data.names)
        predicted = held_out(
            count,
            random_folds(count),
            lambda chosen, asked, data=data: corrected_model(data.subset(chosen), "x").predict_features(
                data.features[asked]
            ),
        )
        yield FittedTable(
            device=device,
            name=f"accelnasbench-pytorch-fp32-{ACCEL_BATCH}",
            content=TableContent(
                predictors=(
                    corrected_model(data, "networks of Accel-NASBench's MnasNet space at 224 pixels"),
                )
            ),
            conditions=_ACCEL_CONDITIONS,
            errors=[error_of(data.latencies_ms, predicted, "random networks, five folds", "Accel-NASBench")],
            caveats=[
                (
                    f"The source gives images per second and no batch size: the time of {ACCEL_BATCH} images "
                    "is stated as if throughput were the same."
                ),
                "Uncalibrated for elastic spaces: none of their subnets was measured.",
            ],
        )
