"""How wrong latency tables are on networks that took no part in fitting them.

    python benchmarks/latency_accuracy.py RAW_DIR [--held-out DIR] [--only TEXT] [--folds N]

Without `--held-out`, rows of RAW_DIR are held out: random subnets in folds, whole resolutions, whole models,
whole families, whole devices. With it, everything in RAW_DIR is fitted and the files of equal name in DIR
are scored. Every line shows the fit beside two baselines made from the same rows: MACs alone (a line), and an
additive table (non-negative times of unit choices, or of layer features), and the target the project holds.
Subnets are also scored as the next ones to be measured: the last fifth of the rows by a fit on the rest.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))

from latency_fitting.layer_fit import additive_model, corrected_model
from latency_fitting.measurements import (
    NetworkMeasurements,
    SubnetMeasurements,
    read_jetson_networks,
    read_rows,
)
from latency_fitting.metrics import group_folds, held_out, mape_percent, random_folds, spearman
from latency_fitting.network_sources import JETSON_FILES, note10_held_out
from latency_fitting.phones import NOTE10_FILE, NOTE10_SPACE, note10_table, read_note10
from latency_fitting.subnet_sources import (
    HELP_FILE,
    NASPERF_FILES,
    SubnetFit,
    read_help,
    read_nasperf,
)
from scipy.optimize import nnls

from ofa_toolkit.complexity import PopulationComplexity
from ofa_toolkit.latency.calibration import fit_weights, spread_rows
from ofa_toolkit.latency.predictors.layer_features import LAYER_FEATURES
from ofa_toolkit.latency.predictors.layer_model import LayerModel
from ofa_toolkit.latency.predictors.predictor import NotCovered
from ofa_toolkit.latency.table import load_table
from ofa_toolkit.spaces import Encoding, get_space, sample_population
from ofa_toolkit.spaces.official_architectures import from_official

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

NETS_FILE = "ofa_specialized_nets.csv"
NUM_DRAWS = 30
NUM_PROBES = 10


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of the printed table; scores are (Spearman, MAPE in percent)."""

    name: str
    target: tuple[float | None, float]
    fit: tuple[float, float]
    macs: tuple[float, float] | None = None
    additive: tuple[float, float] | None = None
    is_rounded_right: bool = True
    note: str = ""

    @property
    def holds(self) -> bool:
        """Whether the fit meets the target; published whole milliseconds must be met when rounded."""
        rank, error = self.target
        return (rank is None or self.fit[0] >= rank) and self.fit[1] <= error and self.is_rounded_right


def score(measured: Array, predicted: Array) -> tuple[float, float]:
    """Spearman and MAPE."""
    return spearman(measured, predicted), mape_percent(measured, predicted)


def relative_line(columns: Array, measured: Array) -> Array:
    """Least squares on relative errors."""
    solution, *_ = np.linalg.lstsq(columns / measured[:, None], np.ones(len(measured)), rcond=None)
    return solution


def non_negative(columns: Array, measured: Array) -> Array:
    """As `relative_line`, coefficients not negative."""
    scale = np.sqrt((columns**2).mean(axis=0))
    scale[scale == 0] = 1
    solution, _ = nnls(columns / scale / measured[:, None], np.ones(len(measured)))
    return solution / scale


# --- subnets ---


def additive_columns(data: SubnetMeasurements) -> Array:
    """For each block and choice one column, growing with the area of the image; a constant."""
    encoding = Encoding(data.space)
    sides = np.array(data.space.resolutions, dtype=np.float64)[data.population[:, 0]]
    columns = [np.ones(len(sides)), (sides / sides.max()) ** 2]
    for index, gene in enumerate(encoding.genes[1:], start=1):
        for code in range(1, gene.cardinality):
            columns.append((data.population[:, index] == code) * columns[1])
    return np.stack(columns, axis=1)


SUBNET_TARGETS = (
    ("V100 PyTorch fp32 batch 64", "help", "v100_64", 64, (0.9995, 0.7)),
    ("V100 PyTorch fp32 batch 32", "help", "v100_32", 32, (0.975, 2.3)),
    ("V100 PyTorch fp32 batch 1", "help", "v100_1", 1, (0.88, 4.4)),
    ("Titan RTX batch 64", "help", "titan_rtx_64", 64, (0.9995, 0.7)),
    ("Titan XP batch 64", "help", "titan_xp_64", 64, (0.999, 1.6)),
    ("P40 batch 64 (w1.0)", "tesla-p40", "latency_ms", 64, (0.999, 1.0)),
    ("2080 Ti batch 64 (w1.0)", "rtx-2080ti", "latency_ms", 64, (0.998, 2.7)),
)


def joined(first: SubnetMeasurements, second: SubnetMeasurements) -> SubnetMeasurements:
    """Rows of both."""
    return SubnetMeasurements(
        space=first.space,
        population=np.concatenate([first.population, second.population]),
        latencies_ms={
            name: np.concatenate([values, second.latencies_ms[name]])
            for name, values in first.latencies_ms.items()
        },
    )


def read_source(folder: Path, source: str) -> SubnetMeasurements:
    """HELP or one device of NAS_PerformanceEstimation."""
    return read_help(folder) if source == "help" else read_nasperf(folder, source)


def subnet_lines(raw: Path, other: Path | None, num_folds: int, only: str) -> Iterator[Line]:
    """Random subnets of OFA's space on five GPUs."""
    loaded: dict[str, tuple[SubnetFit, list[Mask]]] = {}
    for name, source, column, batch, target in SUBNET_TARGETS:
        file = HELP_FILE if source == "help" else NASPERF_FILES[source]
        if only not in name or (other is not None and not (other / file).is_file()):
            continue
        if source not in loaded:
            data = read_source(raw, source)
            masks = list(random_folds(len(data.population)))[:num_folds]
            if other is not None:
                count, data = len(data.population), joined(data, read_source(other, source))
                masks = [np.arange(len(data.population)) >= count]
            loaded[source] = (SubnetFit(data), masks)
        fit, masks = loaded[source]
        yield subnet_line(name, target, fit, column, batch, masks)


def subnet_line(
    name: str, target: tuple[float, float], fit: SubnetFit, column: str, batch: int, masks: list[Mask]
) -> Line:
    """One column of one file."""
    measured, count = fit.data.latencies_ms[column], len(fit.data.population)
    macs = PopulationComplexity(fit.data.space).macs(fit.data.population) / 1e6
    line, cells = np.c_[macs, np.ones(count)], additive_columns(fit.data)
    asked = np.any(masks, axis=0)

    def scored(how: Callable[[Mask, Mask], Array]) -> tuple[float, float]:
        predicted = held_out(count, iter(masks), how)
        return score(measured[asked], predicted[asked])

    later = fit.later_error(column, batch) if len(masks) > 1 else None
    after = f"; the last fifth by the rest {later.spearman:.5f} {later.mape_percent:.2f} %" if later else ""
    return Line(
        name=name,
        target=target,
        fit=scored(lambda chosen, wanted: fit.predict(column, batch, chosen, wanted)),
        macs=scored(lambda chosen, wanted: line[wanted] @ relative_line(line[chosen], measured[chosen])),
        additive=scored(lambda chosen, wanted: cells[wanted] @ non_negative(cells[chosen], measured[chosen])),
        note=f"{int(asked.sum())} subnets{after}",
    )


# --- published networks, phones, boards ---


def published_line(raw: Path, other: Path | None) -> Iterator[Line]:
    """The four networks OFA published for the V100 at batch 64, where the file has them."""
    path = (other or raw) / NETS_FILE
    rows = [
        row
        for row in (read_rows(path) if path.is_file() else [])
        if "V100" in row["device"] and row["batch"] == "64" and row["space"] == "ofa_proxyless"
    ]
    if not rows:
        print(f"V100 TensorRT fp32 b64, published: no such network in {path}, unchecked")
        return
    space = get_space("ofa-proxyless-w1.3")
    bound = load_table("v100:tinynas-tensorrt-fp32-64").bind(space)
    subnets = [
        from_official(
            space,
            {
                "d": [int(v) for v in row["d"].split("-")],
                "ks": [int(v) or 3 for v in row["ks"].split("-")][:21],
                "e": [int(v) or 3 for v in row["e"].split("-")][:21],
                "r": int(row["resolution"]),
            },
        )
        for row in rows
    ]
    predicted = bound.predict(Encoding(space).encode(subnets))
    measured = np.array([float(row["latency_ms"]) for row in rows])
    shown = ", ".join(f"{p:.2f} for {m:g} ms" for p, m in zip(predicted, measured, strict=True))
    worst = float(100 * np.abs(predicted / measured - 1).max())
    yield Line(
        name="V100 TensorRT fp32 b64, published",
        target=(None, 5.0),
        fit=(spearman(measured, predicted), worst),
        is_rounded_right=bool((np.round(predicted) == measured).all()),
        note=shown,
    )


def note10_line(raw: Path, other: Path | None) -> Iterator[Line]:
    """Resolutions without rows; subnets are sums of measured blocks."""
    space = get_space(NOTE10_SPACE)
    if other is None:
        measured, predicted = note10_held_out(raw)
    else:
        table, truth = note10_table(read_note10(raw)).bind(space), note10_table(read_note10(other))
        population = sample_population(space, 1000, np.random.default_rng(0))
        sides = [space.resolutions.index(side) for side in truth.resolutions]
        population[:, 0] = np.random.default_rng(1).choice(sides, len(population))
        own = truth.bind(space)
        assert not isinstance(own, NotCovered)
        assert not isinstance(table, NotCovered)
        measured, predicted = own.predict(population), table.predict(population)
    yield Line(name="Note10, unseen resolutions", target=(0.9995, 0.8), fit=score(measured, predicted))


JETSON_TARGETS = (
    ("siblings seen", ("MobileNetV3", "MnasNet", "EfficientNet"), (0.995, 6.0)),
    ("family unseen", ("MobileNetV2", "MobileNetV3", "MnasNet"), (0.98, 20.0)),
)


def jetson_lines(raw: Path, other: Path | None, only: str) -> Iterator[Line]:
    """Standard networks in TensorFlow on three boards, whole models or whole families held out."""
    for device, file in JETSON_FILES.items():
        data = read_jetson_networks(raw / file)
        for split, families, target in JETSON_TARGETS:
            name = f"{device} TensorFlow, {split}"
            if only not in name or (other is not None and not (other / file).is_file()):
                continue
            if other is None:
                shown, groups = data, data.names if split == "siblings seen" else data.families
                masks = [mask for mask in group_folds(groups) if np.isin(data.families[mask], families).any()]
            else:
                shown, masks = _with_held_out(data, read_jetson_networks(other / file), split)
            yield jetson_line(name, target, shown, masks, families)


def jetson_line(
    name: str,
    target: tuple[float, float],
    shown: NetworkMeasurements,
    masks: list[Mask],
    families: tuple[str, ...],
) -> Line:
    """One split of one board."""
    macs = [LAYER_FEATURES.index(column) for column in LAYER_FEATURES if column.endswith("_macs")]
    asked = np.any(masks, axis=0) & np.isin(shown.families, families)
    ms, count = shown.latencies_ms, len(shown.names)
    line = np.c_[shown.features[:, macs].sum(axis=1), np.ones(count)]

    def scored(how: Callable[[Mask, Mask], Array]) -> tuple[float, float]:
        predicted = held_out(count, iter(masks), how)
        return score(ms[asked], predicted[asked])

    def model(fit: Callable[[NetworkMeasurements, str], LayerModel]) -> Callable[[Mask, Mask], Array]:
        return lambda chosen, wanted: fit(shown.subset(chosen), "x").predict_features(shown.features[wanted])

    return Line(
        name=name,
        target=target,
        fit=scored(model(corrected_model)),
        macs=scored(lambda chosen, wanted: line[wanted] @ relative_line(line[chosen], ms[chosen])),
        additive=scored(model(additive_model)),
        note=f"{int(asked.sum())} networks",
    )


def _with_held_out(
    data: NetworkMeasurements, held: NetworkMeasurements, split: str
) -> tuple[NetworkMeasurements, list[Mask]]:
    """Both sets of rows; a family is asked for in both, and then fitted from neither."""
    both = NetworkMeasurements(
        **{
            name: np.concatenate([getattr(data, name), getattr(held, name)])
            for name in ("names", "families", "resolutions", "features", "latencies_ms")
        }
    )
    if split == "family unseen":
        return both, list(group_folds(both.families))
    return both, [np.arange(len(both.names)) >= len(data.names)]


# --- ten probes ---

PRIOR = ("v100", "titan-xp", "rtx-2080ti", "rtx-2080ti:help-pytorch-fp32-64", "tesla-p40", "a100", "rtx-3090")


def probes_line(raw: Path, other: Path | None) -> Iterator[Line]:
    """Titan RTX at batch 64 from ten probes; its own rows are in nothing else."""
    data = read_help(raw)
    space, population = data.space, data.population
    measured = data.latencies_ms["titan_rtx_64"]
    predicted = [load_table(name).bind(space).predict(population) for name in PRIOR]
    macs = PopulationComplexity(space).macs(population) / 1e6
    columns = np.stack([*predicted, macs, np.ones(len(macs))], axis=1)
    spread = np.log(columns[:, : len(PRIOR)]).mean(axis=1)
    scores, alone = [], []
    asked = np.ones(len(measured), dtype=np.bool_)
    if other is not None and (other / HELP_FILE).is_file():
        unseen = read_help(other)
        more = [load_table(name).bind(space).predict(unseen.population) for name in PRIOR]
        more += [PopulationComplexity(space).macs(unseen.population) / 1e6, np.ones(len(unseen.population))]
        fresh = np.stack(more, axis=1), unseen.latencies_ms["titan_rtx_64"]
    else:
        fresh = None
    for draw in range(NUM_DRAWS):
        probes = spread_rows(spread, NUM_PROBES, np.random.default_rng(draw))
        weights = fit_weights(columns[probes], measured[probes])
        line = relative_line(columns[probes, -2:], measured[probes])
        asked[:] = True
        asked[probes] = False
        x, y = (columns[asked], measured[asked]) if fresh is None else fresh
        scores.append(score(y, x @ weights))
        alone.append(score(y, x[:, -2:] @ line))
    yield Line(
        name="Titan RTX batch 64, 10 probes",
        target=(0.999, 1.3),
        fit=tuple(np.median(scores, axis=0)),
        macs=tuple(np.median(alone, axis=0)),
        note=f"median of {NUM_DRAWS} draws",
    )


def show(value: tuple[float, float] | None) -> str:
    """Spearman and MAPE in fixed width."""
    return f"{value[0]:8.5f} {value[1]:6.2f} %" if value is not None else " " * 17


def main() -> int:
    """Print the table; exit 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("raw", type=Path, help="folder of raw measurements")
    parser.add_argument("--held-out", type=Path, help="folder of files with rows that are not in RAW_DIR")
    parser.add_argument("--only", default="", help="only lines whose name contains this")
    parser.add_argument("--folds", type=int, default=5, help="of five folds of subnets score this many")
    options = parser.parse_args()
    raw, other, only = options.raw, options.held_out, options.only
    header = f"{'':38} {'target':>17}  {'this toolkit':>17}  {'additive':>17}  {'MACs alone':>17}"
    print(header, flush=True)
    missed = 0
    for lines in (
        subnet_lines(raw, other, options.folds, only),
        published_line(raw, other) if only in "V100 TensorRT fp32 b64, published" else iter(()),
        note10_line(raw, other)
        if only in "Note10, unseen resolutions" and ((other or raw) / NOTE10_FILE).is_file()
        else iter(()),
        jetson_lines(raw, other, only),
        probes_line(raw, other) if only in "Titan RTX batch 64, 10 probes" else iter(()),
    ):
        for line in lines:
            missed += not line.holds
            rank = f"{line.target[0]:8.4f}" if line.target[0] is not None else " " * 8
            print(
                f"{line.name:38} {rank} {line.target[1]:6.1f} %  {show(line.fit)}  {show(line.additive)}  "
                f"{show(line.macs)}  {'holds' if line.holds else 'MISSED'}  {line.note}",
                flush=True,
            )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
