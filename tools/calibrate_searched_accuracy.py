"""Measures subnets that searches choose, and stores in a predictor how wrong it is on them.

    python tools/calibrate_searched_accuracy.py deps-compact-cifar10 --data npz:cifar10.npz --measurements DIR

For the bundled predictors, some of which were fitted on fewer images than are held out. `ofa-tk predictor
build` does the second part by itself, within budgets of MACs. With `--check-only` a predictor is scored as
it is. All measurements are on the held-out training images, under the conditions of `predictor build`, and
are kept in DIR, so that a killed run goes on:

- `level`: subnets spread over the range of cost, where the predictor was fitted on fewer images than are held
  out. The mean of what they differ from their predictions moves it to all of them.
- `calibration`: the answers of searches within budgets of MACs and of two devices' latency. They make the
  interval.
- `check`: the answers of 20 searches within other budgets, on other devices, none of which is among the
  former. They are scored against the finished predictor and change nothing in it.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ofa_toolkit.complexity import count_macs
from ofa_toolkit.core.journal import Journal
from ofa_toolkit.evaluation.predictor.card import HELD_OUT_TRAINING
from ofa_toolkit.evaluation.predictor.file import read_predictor, write_predictor
from ofa_toolkit.evaluation.predictor.predictor import AccuracyPredictor, Member
from ofa_toolkit.evaluation.stratified import stratified_population
from ofa_toolkit.latency.table import load_table
from ofa_toolkit.pipelines.evaluation.accuracy_log import SubnetMeter
from ofa_toolkit.pipelines.evaluation.evaluator import open_evaluator
from ofa_toolkit.pipelines.evaluation.request import EvaluationRequest
from ofa_toolkit.pipelines.evaluation.searched_answers import with_answers
from ofa_toolkit.pipelines.search.context import SearchContext
from ofa_toolkit.pipelines.search.find import run
from ofa_toolkit.pipelines.search.request import SearchRequest
from ofa_toolkit.spaces import Encoding, lower
from ofa_toolkit.zoo.supernet import LoadedSupernet, load_supernet

NUM_LEVEL, NUM_CALIBRATION, NUM_CHECK = 12, 24, 20
DEVICES = {"calibration": ("raspberry-pi-4", "jetson-nano"), "check": ("pixel1", "epyc-zen5")}
NORMAL_95 = 1.96

Population = np.ndarray[Any, Any]


def main() -> None:
    """Search, measure, write, check."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("supernet")
    parser.add_argument("--data", required=True)
    parser.add_argument("--measurements", type=Path, required=True)
    parser.add_argument("--check-only", action="store_true")
    arguments = parser.parse_args()
    supernet = load_supernet(arguments.supernet)
    predictor = read_predictor(supernet.predictor_file)
    meter = _Meter(supernet, arguments.data, arguments.measurements)
    subnets = _subnets(supernet)
    if not arguments.check_only:
        predictor = _levelled(predictor, supernet, subnets["level"], meter)
        measured = meter.measure("calibration", subnets["calibration"])
        predictor = _calibrated(predictor, supernet, subnets["calibration"], measured, meter)
    _check(predictor, supernet, subnets["check"], meter.measure("check", subnets["check"]), meter)
    if not arguments.check_only:
        write_predictor(supernet.predictor_file, predictor)


class _Meter:
    """Measures encoded subnets, each once."""

    def __init__(self, supernet: LoadedSupernet, data: str, folder: Path) -> None:
        evaluator = open_evaluator(supernet, EvaluationRequest(data=data))
        self.num_images = evaluator.dataset.num_images("validation")
        self._encoding = Encoding(supernet.trained_space)
        self._meter = SubnetMeter(evaluator)
        header = {"supernet": supernet.identity, "data": evaluator.dataset.name, "images": self.num_images}
        self._journal = Journal(folder / f"{supernet.name}.jsonl")
        if differing := self._journal.other_than(header):
            raise SystemExit(f"{self._journal.path} was measured with another {differing}.")
        if not self._journal.lines:
            self._journal.append(header)
        self._known = {tuple(line["genes"]): line["top1_percent"] for line in self._journal.lines[1:]}
        self.largest = self.measure("largest", self._encoding.encode([supernet.trained_space.largest()]))[0]

    def measure(self, part: str, rows: Population) -> Population:
        """Top-1 in percent, `(N,)`."""
        for row, subnet in zip(rows, self._encoding.decode(rows), strict=True):
            genes = tuple(map(int, row))
            if genes not in self._known:
                self._known[genes], _ = self._meter.measure(subnet)
                self._journal.append({"part": part, "genes": genes, "top1_percent": self._known[genes]})
                print(f"{part}: {self._known[genes]:.2f} %", flush=True)
        return np.array([self._known[tuple(map(int, row))] for row in rows])


def _subnets(supernet: LoadedSupernet) -> dict[str, Population]:
    """Which subnets to measure for what; a subnet has one purpose only."""
    space = supernet.trained_space
    found: dict[str, Population] = {"level": stratified_population(space, NUM_LEVEL, seed=1)}
    taken = {row.tobytes() for row in found["level"]}
    for part, number in (("calibration", NUM_CALIBRATION), ("check", NUM_CHECK)):
        answers: dict[bytes, Population] = {}
        requests = _requests(supernet, part, number)
        while len(answers) < number:  # two budgets may have one answer
            request = next(requests)
            row = run(SearchContext(request).problem(), request, {}).population[0]
            if row.tobytes() not in taken:
                answers.setdefault(row.tobytes(), row)
        taken |= set(answers)
        found[part] = np.stack(list(answers.values()))
        print(f"{part}: {len(answers)} subnets", flush=True)
    return found


def _requests(supernet: LoadedSupernet, part: str, number: int) -> Iterator[SearchRequest]:
    """Budgets between the smallest and the largest subnet, in turn of MACs and of each device's latency."""
    space, seed = supernet.trained_space, int(part == "check")
    ends = [space.smallest(), space.largest()]
    costs = {None: [count_macs(lower(space, subnet)) for subnet in ends]}
    for device in DEVICES[part]:
        costs[device] = load_table(device).bind(space).predict(Encoding(space).encode(ends)).tolist()
    random = np.random.default_rng(seed)
    for share in (random.permutation(2 * number) + 0.5) / (2 * number):
        for device, (least, most) in costs.items():
            budget = least * (most / least) ** share
            if device is None:
                yield SearchRequest(supernet, macs=budget, seed=seed)
            else:
                yield SearchRequest(supernet, device=device, latency=budget, seed=seed)


def _levelled(
    predictor: AccuracyPredictor, supernet: LoadedSupernet, rows: Population, meter: _Meter
) -> AccuracyPredictor:
    """Moved to all held-out images, where it was fitted on some of them."""
    card = predictor.card
    name, _, images = card.dataset.partition(": ")
    everything = f"{meter.num_images} {HELD_OUT_TRAINING}"
    if images == everything:
        return predictor
    if card.trend is not None:
        raise SystemExit("Such predictors come from `ofa-tk predictor build`, which measures on all images.")
    gaps = meter.measure("level", rows) - predictor.bind(supernet.trained_space).predict(rows)
    shift = float(gaps.mean())
    print(f"level: {shift:+.2f} points, standard deviation {gaps.std(ddof=1):.2f} over {len(rows)} subnets")
    interval = dataclasses.replace(
        card.interval,
        lowest_percent=card.interval.lowest_percent + shift,
        highest_percent=card.interval.highest_percent + shift,
    )
    told = (
        f"Fitted to accuracies on {images.split()[0]} of the images; the level, {shift:+.2f} points, is that "
        f"of {len(rows)} subnets measured on all {meter.num_images}."
    )
    members = tuple(_moved(member, shift) for member in predictor.members)
    card = dataclasses.replace(
        card, dataset=f"{name}: {everything}", caveats=(*card.caveats, told), interval=interval
    )
    return dataclasses.replace(predictor, card=card, members=members)


def _moved(member: Member, shift: float) -> Member:
    weight, bias = member.layers[-1]
    return dataclasses.replace(member, layers=(*member.layers[:-1], (weight, bias + np.float32(shift))))


def _calibrated(
    predictor: AccuracyPredictor,
    supernet: LoadedSupernet,
    rows: Population,
    measured: Population,
    meter: _Meter,
) -> AccuracyPredictor:
    """With what the answers of searches tell."""
    space = supernet.trained_space
    known = dict(zip(Encoding(space).decode(rows), measured.tolist(), strict=True))
    calibrated = with_answers(
        predictor.bind(space),
        rows,
        {**known, space.largest(): meter.largest},
        how=(
            "searches within budgets of MACs and latency chose, measured by "
            "tools/calibrate_searched_accuracy.py"
        ),
    )
    facts = calibrated.card.interval.chosen
    print(f"calibration: {facts}; largest measured {meter.largest:.2f}")
    return calibrated


def _check(
    predictor: AccuracyPredictor,
    supernet: LoadedSupernet,
    rows: Population,
    measured: Population,
    meter: _Meter,
) -> None:
    """How often the 90 % interval holds, and what is predicted above the largest network."""
    space = supernet.trained_space
    bound = predictor.bind(space)
    plain, expected = bound.predict(rows), bound.predict_chosen(rows)
    low, high = bound.interval(rows, 0.9, is_chosen=True)
    for n, subnet in enumerate(Encoding(space).decode(rows)):
        print(
            f"check: {count_macs(lower(space, subnet)) / 1e6:6.2f} MMACs, plain {plain[n]:.2f}, expected "
            f"{expected[n]:.2f} ({low[n]:.2f} to {high[n]:.2f}), measured {measured[n]:.2f}"
        )
    is_inside = (low <= measured) & (measured <= high)
    print(f"check: {is_inside.sum()} of {len(rows)} inside; mean error {(expected - measured).mean():+.2f}")
    largest = float(bound.predict(Encoding(space).encode([space.largest()]))[0])
    # Of two shares counted on the same images; as if these were drawn anew for each, which errs wide.
    deviation = 100 * np.sqrt(2 * meter.largest / 100 * (1 - meter.largest / 100) / meter.num_images)
    excess = (expected - largest) - (measured - meter.largest)
    gains, allowed = excess[expected > largest], NORMAL_95 * deviation
    print(
        f"check: {len(gains)} predicted above the largest; of them {(gains <= allowed).sum()} by at most the "
        f"measured gain and its sampling error of {allowed:.2f}; most beyond the measured gain "
        f"{gains.max(initial=0):.2f}"
    )


if __name__ == "__main__":
    main()
