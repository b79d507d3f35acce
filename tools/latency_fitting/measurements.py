"""Readers of the raw measurement files: what was run, and how long it took."""

from __future__ import annotations

import csv
import gzip
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ofa_toolkit.latency.measuring.standard_networks import standard_network
from ofa_toolkit.latency.predictors.layer_features import layer_features
from ofa_toolkit.spaces import Encoding, SearchSpace, get_space
from ofa_toolkit.spaces.encoding import Population
from ofa_toolkit.spaces.official_architectures import from_official

Row = Mapping[str, str]
Array = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class SubnetMeasurements:
    """Subnets of one space in the order they were measured, and their latencies in ms by column."""

    space: SearchSpace
    population: Population
    latencies_ms: Mapping[str, Array]

    def subset(self, chosen: npt.NDArray[np.bool_]) -> SubnetMeasurements:
        """Some of the rows."""
        return SubnetMeasurements(
            space=self.space,
            population=self.population[chosen],
            latencies_ms={name: values[chosen] for name, values in self.latencies_ms.items()},
        )


@dataclass(frozen=True, kw_only=True)
class NetworkMeasurements:
    """Whole networks: one row each, with the group that must stay whole when splitting."""

    names: npt.NDArray[np.str_]
    families: npt.NDArray[np.str_]
    resolutions: npt.NDArray[np.int64]
    features: Array
    latencies_ms: Array

    def subset(self, chosen: npt.NDArray[np.bool_]) -> NetworkMeasurements:
        """Some of the rows."""
        return NetworkMeasurements(
            names=self.names[chosen],
            families=self.families[chosen],
            resolutions=self.resolutions[chosen],
            features=self.features[chosen],
            latencies_ms=self.latencies_ms[chosen],
        )


def read_rows(path: Path) -> list[Row]:
    """All rows of a CSV file, also a compressed one."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def encode_rows(space: SearchSpace, rows: Sequence[Row]) -> Population:
    """Rows with the columns resolution, d, ks, e, whose entries are joined by dashes."""

    def numbers(text: str, skipped: int) -> list[int]:
        return [int(value) or skipped for value in text.split("-")]

    subnets = [
        from_official(
            space,
            {
                "d": numbers(row["d"], 0),
                "ks": numbers(row["ks"], 3),
                "e": numbers(row["e"], 3),
                "r": int(row["resolution"]),
            },
        )
        for row in rows
    ]
    return Encoding(space).encode(subnets)


def read_subnets(path: Path, space_name: str, columns: Iterable[str]) -> SubnetMeasurements:
    """A file of random subnets of one space."""
    space, rows = get_space(space_name), read_rows(path)
    return SubnetMeasurements(
        space=space,
        population=encode_rows(space, rows),
        latencies_ms={name: np.array([float(row[name]) for row in rows]) for name in columns},
    )


_KERAS_NAMES = (
    (r"MobileNet(\d+\.\d+)-v1", "mobilenet-v1-{}", "MobileNetV1"),
    (r"MobileNet(\d+\.\d+)-v2", "mobilenet-v2-{}", "MobileNetV2"),
    (r"MobileNet-large(\d+\.\d+)-v3", "mobilenet-v3-large-{}-keras", "MobileNetV3"),
    (r"MobileNet-small(\d+\.\d+)-v3", "mobilenet-v3-small-{}-keras", "MobileNetV3"),
    (r"MNASNet(\d+\.\d+)", "mnasnet-{}-keras", "MnasNet"),
    (r"EfficientNet-B(\d)", "efficientnet-b{}", "EfficientNet"),
)


def keras_network(model: str) -> tuple[str, str] | None:
    """Our name and the family of a network in the Jetson measurements; None for families left out."""
    for pattern, name, family in _KERAS_NAMES:
        match = re.fullmatch(pattern, model)
        if match:
            return name.format(match[1]), family
    return None


def read_jetson_networks(path: Path) -> NetworkMeasurements:
    """Depthwise-separable networks of one `jetson_cnn_*.csv`, in TensorFlow fp32 at batch 1."""
    kept = [(row, found) for row in read_rows(path) if (found := keras_network(row["model"])) is not None]
    return NetworkMeasurements(
        names=np.array([name for _, (name, _) in kept]),
        families=np.array([family for _, (_, family) in kept]),
        resolutions=np.array([int(row["resolution"]) for row, _ in kept]),
        features=np.array(
            [layer_features(standard_network(name, int(row["resolution"]))) for row, (name, _) in kept]
        ),
        latencies_ms=np.array([float(row["latency_ms"]) for row, _ in kept]),
    )
