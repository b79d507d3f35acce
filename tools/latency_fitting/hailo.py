"""Tables of Hailo's chips from the throughput of networks that its model zoo states; none is a latency."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from latency_fitting.few_networks import Chips, fit_chips
from latency_fitting.measurements import read_rows
from latency_fitting.tables import FittedTable
from latency_fitting.traced_networks import HAILO_NETWORKS, trace
from ofa_toolkit.latency.table_file import TableContent

FILE = "hailo_classification.csv"
CHIPS = ("hailo-8", "hailo-8l", "hailo-10h", "hailo-15h", "hailo-15l")
_FITTED_ON = "convolutional networks of torchvision and timm at 224 to 300 pixels"


def hailo_tables(folder: Path) -> Iterator[FittedTable]:
    """Streams of single images and of batches of eight, 8 bits."""
    rows = read_rows(folder / FILE)
    names = tuple(sorted(HAILO_NETWORKS))
    features = np.array([trace(*HAILO_NETWORKS[name]).features for name in names])
    for batch_size in (1, 8):
        times = np.full((len(CHIPS), len(names)), np.nan)
        for row in rows:
            rate = row[f"fps_batch{batch_size}"]
            if row["model"] in names and rate:
                times[CHIPS.index(row["chip"]), names.index(row["model"])] = 1e3 * batch_size / float(rate)
        chips = Chips(
            names=names,
            features=features,
            resolutions=np.array([HAILO_NETWORKS[name][1] for name in names]),
            keys=tuple((chip, "hailort") for chip in CHIPS),
            times_ms=times,
        )
        found = fit_chips(chips, _FITTED_ON, is_throughput=True)
        covered = float(np.mean([fitted.covered for fitted in found.values()]))
        print(f"batch {batch_size}: intervals hold for {100 * covered:.0f} % of the networks left out")
        for (chip, _), fitted in found.items():
            own = [row for row in rows if row["chip"] == chip]
            yield FittedTable(
                device=chip,
                name=f"hailo-hailort-int8-{batch_size}",
                content=TableContent(predictors=(fitted.model,)),
                conditions={
                    "source": "github.com/hailo-ai/hailo_model_zoo at c83fc030, docs/public_models",
                    "source_licence": "MIT",
                    "runtime": "hailort",
                    "runtime_version": f"Dataflow Compiler {own[0]['compiler'].rstrip('.')}",
                    "precision": "int8",
                    "batch_size": batch_size,
                    "measures": "throughput",
                    "provenance": "fitted",
                    "method": "non-negative costs of kinds of work, held near those of all the maker's chips",
                    "networks": f"{fitted.num_networks} {_FITTED_ON}",
                    "is_inferred": ["precision"],
                },
                errors=[fitted.error],
                caveats=[
                    f"Uncalibrated: {fitted.num_networks} networks were timed, none of an elastic space.",
                    (
                        "Throughput of a stream: the chip works on several images at once, nothing tells the "
                        "latency of one. A network that does not fit the chip as a whole is several times "
                        "slower, which the work alone does not show."
                    ),
                    *_loss(
                        [float(row["hardware_degradation"]) for row in own if row["hardware_degradation"]]
                    ),
                ],
            )


def _loss(fields: list[str]) -> list[str]:
    points = [float(text) for text in fields if text]
    if not points:
        return []
    return [f"8 bits cost the published networks {min(points):g} to {max(points):g} points of top-1."]
