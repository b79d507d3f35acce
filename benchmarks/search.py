"""Search quality and time against OFA's own evolutionary finder.

    python benchmarks/search.py RAW_DIR [--seeds 5]

Needs the `ofa` package from PyPI, which is no dependency of ofa-toolkit.
Both sides get the same accuracy predictor (OFA's published perceptron), the same cost table, the
same limits and the same input sizes (160 to 224), and run by turns in one process on one thread. Random
search with as many evaluations as ours stands beside them. RAW_DIR: OFA's predictor and the Note10 table.
"""

from __future__ import annotations

import argparse
import csv
import random
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))

from measured_top1 import PREDICTOR_RESOLUTIONS, PublishedPredictor

from ofa_toolkit.evaluation.predictor.card import IntervalFacts, PredictorCard
from ofa_toolkit.evaluation.predictor.choices import Choices
from ofa_toolkit.evaluation.predictor.predictor import AccuracyPredictor, Member
from ofa_toolkit.search.baselines import random_search
from ofa_toolkit.search.evolution import EvolutionConfig, evolve
from ofa_toolkit.search.problem import Constraint, Figure, Objective, SearchProblem
from ofa_toolkit.spaces import Encoding, SearchSpace, get_space
from ofa_toolkit.spaces.fused_tables import FusedTables, Term
from ofa_toolkit.spaces.rounding import squeeze_channels

Spec = dict[str, Any]
CASES = {
    "note10": ("latency <= 25 ms on Note10", 25.0),
    "flops": ("MACs <= 400 M, tutorial table at width 1.0", 400.0),
}


@dataclass
class Runs:
    """Best predicted accuracy and processor seconds of each run."""

    accuracy: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def time(self, search: Callable[[], float]) -> None:
        """Run once."""
        # One thread, and perhaps a busy machine: the processor's seconds are the ones to compare.
        start = time.process_time()
        self.accuracy.append(search())
        self.seconds.append(time.process_time() - start)

    def __str__(self) -> str:
        a, s = self.accuracy, self.seconds
        return (
            f"accuracy {min(a):.4f} / {statistics.median(a):.4f} / {max(a):.4f} (min, median, max), "
            f"{statistics.median(s):.3f} s median processor time"
        )


def import_ofa() -> Any:
    """The tutorial part of OFA's package, or a message that says how to get it."""
    try:
        import ofa.tutorial
    except ImportError as error:
        sys.exit(f"This comparison needs OFA's package ({error}): pip install ofa")
    return ofa.tutorial


def their_predictor(tutorial: Any, published: PublishedPredictor) -> Any:
    """OFA's predictor object with the published weights, without its download."""
    import torch

    predictor = tutorial.AccuracyPredictor(pretrained=False, device="cpu")
    linears = [module for module in predictor.model if hasattr(module, "weight")]
    with torch.no_grad():
        for linear, (weight, bias) in zip(linears, published.layers, strict=True):
            linear.weight.copy_(torch.from_numpy(weight.T.copy()))
            linear.bias.copy_(torch.from_numpy(bias))
    return predictor


def their_note10_table(tutorial: Any, raw: Path) -> Any:
    """OFA's latency table object filled from the CSV, without its download."""
    from ofa.tutorial.latency_table import LatencyEstimator

    table = object.__new__(tutorial.LatencyTable)
    table.latency_tables = {}
    with (raw / "lut_ofa_mbv3_w1.2_note10.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            resolution = int(row["resolution"])
            if resolution not in table.latency_tables:
                table.latency_tables[resolution] = object.__new__(LatencyEstimator)
                table.latency_tables[resolution].lut = {}
            table.latency_tables[resolution].lut[row["key"]] = {"mean": float(row["mean_ms"])}
    return table


def their_macs_table(tutorial: Any) -> Any:
    """OFA's table of MACs per block, without its profiler, whose counts differ from version to version.

    At width 1.0, where 400 million MACs leave most to choose; elsewhere the tutorial's channels are not the
    network's, since it does not round them to multiples of 8.
    """
    table = object.__new__(tutorial.FLOPsTable)
    table.efficiency_dict = {}
    widths = (16, 24, 40, 80, 112, 160, 960, 1280)
    for resolution in PREDICTOR_RESOLUTIONS:
        size = resolution // 2
        blocks = [{(3, 1): block_macs(size, widths[0], widths[0], 1, 3, 1, use_se=False)}]
        for stage, (stride, use_se) in enumerate(zip((2, 2, 2, 1, 2), (0, 1, 0, 1, 1), strict=True)):
            for position in range(4):
                before = widths[stage] if position == 0 else widths[stage + 1]
                step = stride if position == 0 else 1
                blocks.append(
                    {
                        (k, e): block_macs(size, before, widths[stage + 1], e, k, step, use_se=bool(use_se))
                        for k in (3, 5, 7)
                        for e in (3, 4, 6)
                    }
                )
                size //= step
        other = [
            27 * widths[0] * (resolution // 2) ** 2,
            widths[5] * widths[6] * size**2,
            widths[6] * widths[7],
            widths[7] * 1000,
        ]
        table.efficiency_dict[resolution] = {
            "mobile_inverted_blocks": blocks,
            "other_blocks": {index: macs / 1e6 for index, macs in enumerate(other)},
        }
    return table


def block_macs(
    size: int, before: int, after: int, ratio: int, kernel: int, stride: int, *, use_se: bool
) -> float:
    """Millions of MACs of one inverted residual block on a map of side `size`."""
    middle, out = before * ratio, size // stride
    macs = (before * middle * size**2 if ratio > 1 else 0) + middle * (kernel**2 + after) * out**2
    if use_se:
        macs += 2 * middle * squeeze_channels(middle)
    return macs / 1e6


def our_predictor(space: SearchSpace, published: PublishedPredictor) -> Figure:
    """The same perceptron as one of our predictors; reads fractions, as theirs."""
    choices = Choices.of(space, PREDICTOR_RESOLUTIONS)
    rows = list(choices.rows)
    card = PredictorCard(
        space=space.name,
        space_identity=space.identity,
        supernet="unknown",
        dataset="unknown",
        resolutions=PREDICTOR_RESOLUTIONS,
        measured_resolutions=(),
        provenance="transferred",
        source="OFA's published predictor",
        method="as published",
        num_subnets=0,
        interval=IntervalFacts(
            noise_points=1.0,
            confidences=(0.9,),
            inside=(1.0,),
            outside=(1.0,),
            unmeasured_points=(0.0,),
            lowest_percent=0.0,
            highest_percent=100.0,
            highest_surprisal=0.0,
        ),
    )
    member = Member(
        first=published.first_layer(rows),
        linear=np.zeros(len(rows), dtype=np.float32),
        bias=published.layers[0][1],
        layers=tuple(published.layers[1:]),
    )
    predictor = AccuracyPredictor(
        card=card, choices=choices, members=(member,), surprisal=np.zeros(len(rows), dtype=np.float32)
    )
    return Figure(name="accuracy", evaluate=predictor.bind(space).predict, decimals=7)


def our_table(space: SearchSpace, predict: Callable[[Spec], float], name: str) -> Figure:
    """Their additive table as one of ours, read off by changing one block at a time."""
    encoding = Encoding(space)
    resolutions = space.resolutions
    block_tables = np.zeros((20, len(resolutions), 10))
    constant = np.zeros(len(resolutions))
    for index, resolution in enumerate(resolutions):
        base: Spec = {"wid": None, "ks": [3] * 20, "e": [3] * 20, "d": [2] * 5, "r": [resolution]}
        floor = predict(base)
        constant[index] = floor
        for block in range(20):
            stage, position = divmod(block, 4)
            shallow = {**base, "d": [position if s == stage and position > 2 else 2 for s in range(5)]}
            reference = predict(shallow)
            for code in range(1, 10):
                kernel, ratio = divmod(code - 1, 3)
                spec = {**shallow, "ks": list(base["ks"]), "e": list(base["e"]), "d": list(shallow["d"])}
                spec["d"][stage] = max(2, position + 1)
                spec["ks"][block], spec["e"][block] = (3, 5, 7)[kernel], (3, 4, 6)[ratio]
                block_tables[block, index, code] = predict(spec) - reference
    terms = [Term((0,), constant[:, None])]
    terms += [Term((0, block + 1), block_tables[block].reshape(-1, 1)) for block in range(20)]
    table = FusedTables([gene.cardinality for gene in encoding.genes], terms)
    return Figure(name=name, evaluate=lambda population: table(population)[:, 0], decimals=6)


def check_agreement(space: SearchSpace, figure: Figure, predict: Callable[[Spec], float]) -> None:
    """Both sides must cost the same subnets the same."""
    from ofa_toolkit.spaces import sample_population
    from ofa_toolkit.spaces.official_architectures import to_official

    rows = sample_population(space, 200, np.random.default_rng(0))
    theirs = [predict({"wid": None, **to_official(space, s)}) for s in Encoding(space).decode(rows)]
    assert np.allclose(figure(rows), theirs, atol=1e-4), "the tables differ"


def compare(name: str, tutorial: Any, raw: Path, num_seeds: int, config: EvolutionConfig) -> None:
    """One limit: OFA's finder, ours and random search by turns."""
    title, limit = CASES[name]
    published = PublishedPredictor(raw)
    space = get_space("ofa-mobilenet-v3-w1.2").with_resolutions(PREDICTOR_RESOLUTIONS)
    predictor = their_predictor(tutorial, published)
    table = their_note10_table(tutorial, raw) if name == "note10" else their_macs_table(tutorial)
    accuracy = our_predictor(space, published)
    cost = our_table(space, table.predict_efficiency, name)
    check_agreement(space, cost, table.predict_efficiency)
    problem = SearchProblem(
        space,
        [Objective(figure=accuracy, is_maximized=True)],
        [Constraint(figure=cost, limit=limit)],
    )
    evaluations = 0

    def ours(seed: int) -> float:
        nonlocal evaluations
        result = evolve(problem, config=config, seed=seed)
        evaluations = result.num_evaluations
        return -float(result.scores.objectives[0, 0])

    def theirs(seed: int) -> float:
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002 (their finder draws from it)
        finder = tutorial.EvolutionFinder(name, limit, table, predictor)
        return float(finder.run_evolution_search()[0][-1])

    def blind(seed: int) -> float:
        found = random_search(problem, num_evaluations=evaluations, seed=seed)
        return -float(found.scores.objectives[0, 0])

    ours(10_000)  # imports pymoo
    runs = {label: Runs() for label in ("OFA's finder", "ofa-toolkit", "random search")}
    for seed in range(num_seeds):
        runs["OFA's finder"].time(lambda seed=seed: theirs(seed))
        for half in (2 * seed, 2 * seed + 1):
            runs["ofa-toolkit"].time(lambda half=half: ours(half))
            runs["random search"].time(lambda half=half: blind(half))
    print(f"\n{title} ({num_seeds} seeds of OFA's finder, {2 * num_seeds} of the others)")
    for label, run in runs.items():
        print(f"  {label:14s} {run}")
    our, their = runs["ofa-toolkit"], runs["OFA's finder"]
    ratio = statistics.median(our.seconds) / statistics.median(their.seconds)
    print(f"  evaluations of one of our searches: {evaluations}")
    print(f"  time, ours / theirs: {ratio:.3f}")
    print(f"  our median - their best: {statistics.median(our.accuracy) - max(their.accuracy):+.5f}")
    print(f"  our worst - their median: {min(our.accuracy) - statistics.median(their.accuracy):+.5f}")


def main() -> None:
    """Print both comparisons."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("raw", type=Path, help="folder of the public measurements")
    parser.add_argument("--seeds", type=int, default=5, help="runs of OFA's finder; ours runs twice as often")
    parser.add_argument("--case", choices=sorted(CASES), action="append", help="only these limits")
    arguments = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    for name in arguments.case or CASES:
        compare(name, import_ofa(), arguments.raw, arguments.seeds, EvolutionConfig())


if __name__ == "__main__":
    main()
