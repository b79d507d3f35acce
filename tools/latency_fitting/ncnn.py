"""Tables of Arm boards' CPUs from the list of whole networks that ncnn publishes.

The list is `benchmark/README.md` of github.com/Tencent/ncnn; it belongs into the folder of raw
measurements as `ncnn_benchmark.md` (`git show COMMIT:benchmark/README.md`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from latency_fitting.few_networks import Chips, fit_chips
from latency_fitting.tables import FittedTable
from latency_fitting.traced_networks import NCNN_NETWORKS, trace
from ofa_toolkit.latency.table_file import TableContent

Array = npt.NDArray[np.float64]

FILE = "ncnn_benchmark.md"
COMMIT = "a4d2ea1d"
_ORIGIN = f"github.com/Tencent/ncnn at {COMMIT}, benchmark/README.md"
_FITTED_ON = "convolutional networks of torchvision and timm at 224 and 227 pixels"
BOARDS: dict[str, tuple[str, Literal["fp32", "fp16"]]] = {
    "Raspberry Pi 3 Model B+": ("raspberry-pi-3b", "fp32"),
    "Raspberry Pi 4 Model B": ("raspberry-pi-4", "fp32"),
    "Raspberry Pi 5 Broadcom BCM2712, Cortex-A76": ("raspberry-pi-5", "fp16"),
    "Raspberry Pi Zero 2 W": ("raspberry-pi-zero-2", "fp32"),
    "OrangePi5, Rockchip RK3588s": ("orange-pi-5", "fp16"),
    "Station P2, Rockchip RK3568": ("rk3568", "fp16"),
}
"""Beginning of a section's title -> device, and ncnn's arithmetic: fp16 where the cores compute in it."""


def ncnn_tables(folder: Path) -> Iterator[FittedTable]:
    """CPUs with one and four threads, batch 1."""
    names = tuple(sorted(NCNN_NETWORKS))
    features = np.array([trace(*NCNN_NETWORKS[name]).features for name in names])
    times = read_times(folder / FILE, names)
    plain, half = (_chips(names, features, times, precision) for precision in ("fp32", "fp16"))
    for chips, precision, like in ((plain, "fp32", None), (half, "fp16", plain)):
        found = fit_chips(chips, _FITTED_ON, like)
        covered = float(np.mean([fitted.covered for fitted in found.values()]))
        print(f"{precision}: intervals hold for {100 * covered:.0f} % of the networks left out")
        for (device, threads), fitted in found.items():
            yield FittedTable(
                device=device,
                name=f"benchncnn-{threads}-threads-{precision}-1",
                content=TableContent(predictors=(fitted.model,)),
                conditions={
                    "source": _ORIGIN,
                    "source_licence": "BSD-3-Clause",
                    "runtime": "ncnn",
                    "precision": precision,
                    "batch_size": 1,
                    "threads": int(threads),
                    "provenance": "fitted",
                    "method": "non-negative costs of kinds of work, held near those of boards of the list",
                    "networks": f"{fitted.num_networks} {_FITTED_ON}, the fastest of several runs",
                    "is_inferred": ["precision"],
                },
                errors=[fitted.error],
                caveats=[
                    f"Uncalibrated: {fitted.num_networks} networks were timed, none of an elastic space."
                ],
            )


def _chips(
    names: tuple[str, ...], features: Array, times: dict[tuple[str, int], Array], precision: str
) -> Chips:
    """The boards of one precision."""
    own = [key for key in times if dict(BOARDS.values())[key[0]] == precision]
    return Chips(
        names=names,
        features=features,
        resolutions=np.array([NCNN_NETWORKS[name][1] for name in names]),
        keys=tuple((device, str(threads)) for device, threads in own),
        times_ms=np.array([times[key] for key in own]),
    )


def read_times(path: Path, names: tuple[str, ...]) -> dict[tuple[str, int], Array]:
    """Shortest times in ms on the CPU by board and threads, NaN where a network is missing."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there; it is {_ORIGIN}")
    found = {}
    for section in path.read_text(encoding="utf-8").split("\n### ")[1:]:
        board = next((known for title, known in BOARDS.items() if section.startswith(title)), None)
        title = section.partition("\n")[0]
        if board is None or "Vulkan" in title or "Overclock" in title:
            continue
        for run in section.split("loop_count")[1:]:
            threads = int(re.findall(r"num_threads = (\d+)", run)[0])
            is_cpu = "gpu_device = -1" in run and "powersave = 1" not in run
            times = dict(re.findall(r"^\s*(\w+)\s+min =\s*([\d.]+)", run, re.MULTILINE))
            key = (board[0], threads)
            if is_cpu and threads in (1, 4) and key not in found:
                found[key] = np.array([float(times.get(name, "nan")) for name in names])
    return found
