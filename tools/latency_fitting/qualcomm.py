"""Tables of Qualcomm's chips from the networks that its AI Hub times on them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from latency_fitting.few_networks import Chips, fit_chips
from latency_fitting.measurements import read_rows
from latency_fitting.tables import FittedTable
from latency_fitting.traced_networks import QUALCOMM_NETWORKS, trace
from ofa_toolkit.latency.table_file import TableContent

FILE = "qualcomm_image_classification.csv"
DEVICES = {
    "Samsung Galaxy S22 5G": "galaxy-s22",
    "Samsung Galaxy S24": "galaxy-s24",
    "Samsung Galaxy S25": "galaxy-s25",
    "Samsung Galaxy S26": "galaxy-s26",
    "Snapdragon 7 Gen 4 QRD": "snapdragon-7-gen-4",
    "Snapdragon X Elite CRD": "snapdragon-x-elite",
    "Snapdragon X2 Elite CRD": "snapdragon-x2-elite",
    "Dragonwing RB3 Gen 2 Vision Kit": "rb3-gen-2",
    "Dragonwing IQ-9075 EVK": "dragonwing-iq-9075",
    "Dragonwing Q-6690 MTP": "dragonwing-q-6690",
    "Arduino VENTUNO Q": "arduino-ventuno-q",
    "QCS8550 (Proxy)": "qcs8550",
    "SA7255P ADP": "sa7255p",
    "SA8255P ADP": "sa8255p",
    "SA8295P ADP": "sa8295p",
}
"""Left out: devices whose rows repeat another's (they are its aliases), and two with four rows each."""
RUNTIMES = {"tflite": "tflite", "qnn_dlc": "qnn", "onnx": "onnxruntime"}
_PRECISIONS = {"float": "fp16", "w8a8": "int8"}
_FITTED_ON = "convolutional networks of torchvision and timm at 224 to 384 pixels"


def qualcomm_tables(folder: Path) -> Iterator[FittedTable]:
    """TFLite, QNN and ONNX Runtime on the NPU, batch 1, fp16 and int8."""
    floating, quantised = (read_chips(folder, precision) for precision in _PRECISIONS)
    versions = {row["qairt"].rpartition(".")[0] for row in read_rows(folder / FILE)} - {""}
    for chips, precision, like in ((floating, "fp16", None), (quantised, "int8", floating)):
        found = fit_chips(chips, _FITTED_ON, like)
        covered = float(np.mean([fitted.covered for fitted in found.values()]))
        print(f"{precision}: intervals hold for {100 * covered:.0f} % of the networks left out")
        for (device, runtime), fitted in found.items():
            yield FittedTable(
                device=device,
                name=f"qualcomm-{runtime}-{precision}-1",
                content=TableContent(predictors=(fitted.model,)),
                conditions=_conditions(runtime, precision, fitted.num_networks, versions),
                errors=[fitted.error],
                caveats=[
                    f"Uncalibrated: {fitted.num_networks} networks were timed, none of an elastic space.",
                    (
                        "Attention, layer norm, concatenation and channel shuffles count nothing: networks "
                        "with many of them take longer."
                    ),
                ],
            )


def read_chips(folder: Path, precision: str) -> Chips:
    """Times on the NPU in `float` or `w8a8`."""
    names = tuple(sorted(QUALCOMM_NETWORKS))
    traced = [trace(*QUALCOMM_NETWORKS[name]) for name in names]
    keys = tuple((device, runtime) for device in DEVICES.values() for runtime in RUNTIMES.values())
    times = np.full((len(keys), len(names)), np.nan)
    for row in read_rows(folder / FILE):
        is_ours = row["device"] in DEVICES and row["runtime"] in RUNTIMES and row["model"] in names
        if is_ours and row["precision"] == precision and row["unit"] == "NPU":
            key = (DEVICES[row["device"]], RUNTIMES[row["runtime"]])
            times[keys.index(key), names.index(row["model"])] = float(row["ms"])
    kept = np.isfinite(times).any(axis=1)
    return Chips(
        names=names,
        features=np.array([network.features for network in traced]),
        resolutions=np.array([QUALCOMM_NETWORKS[name][1] for name in names]),
        keys=tuple(key for key, is_kept in zip(keys, kept, strict=True) if is_kept),
        times_ms=times[kept],
    )


def _conditions(runtime: str, precision: str, num_networks: int, versions: set[str]) -> dict[str, Any]:
    return {
        "source": "Qualcomm AI Hub Models 0.65.0 (PyPI qai-hub-models), models/*/perf.yaml",
        "source_licence": "BSD-3-Clause",
        "runtime": runtime,
        "runtime_version": f"QAIRT {', '.join(sorted(versions))}" if versions else "unknown",
        "precision": precision,
        "batch_size": 1,
        "provenance": "fitted",
        "method": "non-negative costs of kinds of work, held near those of all chips of the maker",
        "networks": f"{num_networks} {_FITTED_ON}, on the NPU",
        "is_inferred": ["precision"] if precision == "fp16" else [],
    }
