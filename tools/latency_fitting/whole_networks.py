"""Published whole networks of devices whose tables were made of blocks: a correction, and what it leaves.

Blocks timed on their own say what a network takes up to a factor: caches are warm, or something runs beside
them. One factor is fitted to a phone's published networks; its error is that of each network by a factor
fitted to the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from latency_fitting.measurements import encode_rows, read_rows
from latency_fitting.metrics import deviations_of, spearman
from ofa_toolkit.latency.device import Error
from ofa_toolkit.latency.predictors.layer_model import LayerModel
from ofa_toolkit.latency.predictors.predictor import NotCovered, Predictor
from ofa_toolkit.latency.predictors.space_table import SpaceTable
from ofa_toolkit.spaces import Encoding, LayerSpec, Subnet, get_space, lower

Array = npt.NDArray[np.float64]

SPECIALIZED_FILE = "ofa_specialized_nets.csv"
_DEVICES = {"note10": "Samsung Note 10", "pixel1": "Google Pixel 1"}
_ROUNDED_MS = 0.5


@dataclass(frozen=True, kw_only=True)
class PublishedNetworks:
    """Networks with the time their authors state, rounded to a millisecond."""

    names: tuple[str, ...]
    spaces: npt.NDArray[np.str_]
    subnets: tuple[Subnet, ...]
    layers: tuple[tuple[LayerSpec, ...], ...]
    latencies_ms: Array

    def of(self, space: str) -> PublishedNetworks:
        """Those of one space."""
        kept = np.flatnonzero(self.spaces == space)
        return PublishedNetworks(
            names=tuple(self.names[i] for i in kept),
            spaces=self.spaces[kept],
            subnets=tuple(self.subnets[i] for i in kept),
            layers=tuple(self.layers[i] for i in kept),
            latencies_ms=self.latencies_ms[kept],
        )

    def predictions(self, predictor: Predictor) -> Array:
        """What a predictor says of each, in ms."""
        answers = [predictor.predict_layers(layers) for layers in self.layers]
        return np.array(
            [np.nan if isinstance(answer, NotCovered) else answer.latency_ms for answer in answers]
        )

    @property
    def resolutions(self) -> list[int]:
        """Their input sizes."""
        return [layers[0].in_size for layers in self.layers]


def read_specialized(folder: Path, device: str) -> PublishedNetworks:
    """OFA's specialized MobileNetV3 networks of a phone."""
    rows = [row for row in read_rows(folder / SPECIALIZED_FILE) if row["device"] == _DEVICES[device]]
    names, spaces, subnets, layers = [], [], [], []
    for row in rows:
        space = get_space(f"ofa-mobilenet-v3-w{row['width_mult']}")
        single = (
            space
            if int(row["resolution"]) in space.resolutions
            else space.with_resolutions((int(row["resolution"]),))
        )
        (subnet,) = Encoding(single).decode(encode_rows(single, [row]))
        names.append(f"w{row['width_mult']} at {row['resolution']} pixels, {row['latency_ms']} ms")
        spaces.append(space.name)
        subnets.append(subnet)
        layers.append(tuple(lower(single, subnet)))
    return PublishedNetworks(
        names=tuple(names),
        spaces=np.array(spaces),
        subnets=tuple(subnets),
        layers=tuple(layers),
        latencies_ms=np.array([float(row["latency_ms"]) for row in rows]),
    )


def corrected(model: LayerModel, published: PublishedNetworks) -> LayerModel:
    """The model times what the networks' times are of its predictions, geometric mean."""
    factor = _factor(published.predictions(model), published.latencies_ms)
    return replace(
        model,
        coefficients=model.coefficients * factor,
        bias_ms=model.bias_ms * factor,
        smallest_resolution=min(model.smallest_resolution, *published.resolutions),
        largest_resolution=max(model.largest_resolution, *published.resolutions),
    )


def corrected_error(model: LayerModel, published: PublishedNetworks, space: str) -> Error:
    """Error on each network by a factor fitted to the others."""
    predicted = published.predictions(model)
    left_out = np.array(
        [
            predicted[i] * _factor(np.delete(predicted, i), np.delete(published.latencies_ms, i))
            for i in range(len(predicted))
        ]
    )
    return few_networks(
        published.names,
        published.latencies_ms,
        left_out,
        "published whole networks, each by a factor fitted to the others; times are rounded to 1 ms",
        space,
    )


def single_error(table: SpaceTable, published: PublishedNetworks) -> Error:
    """Error on one published network of the table's space, its time anywhere within what was rounded."""
    (measured,) = published.latencies_ms
    bound = table.bind(table.space)
    assert not isinstance(bound, NotCovered)
    predicted = float(bound.predict(Encoding(table.space).encode(published.subnets))[0])
    ends = [100 * (predicted / (measured + end) - 1) for end in (-_ROUNDED_MS, _ROUNDED_MS)]
    worst = max(ends, key=abs)
    return Error(
        mape_percent=round(abs(worst), 2),
        num_networks=1,
        split="a published whole network, its time rounded to 1 ms",
        space=table.space.name,
        deviations={published.names[0]: round(worst, 1)},
    )


def few_networks(names: tuple[str, ...], measured: Array, predicted: Array, split: str, space: str) -> Error:
    """An error that lists its networks."""
    deviations: Mapping[str, float] = deviations_of(names, measured, predicted)
    return Error(
        mape_percent=round(float(np.mean(np.abs(list(deviations.values())))), 1),
        spearman=round(spearman(measured, predicted), 5) if len(measured) > 3 else None,
        num_networks=len(names),
        split=split,
        space=space,
        deviations=deviations,
    )


def _factor(predicted: Array, measured: Array) -> float:
    return float(np.exp(np.mean(np.log(measured / predicted))))
