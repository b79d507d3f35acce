"""Measures subnets that searches choose, and stores in a predictor how wrong it is on them.

    python tools/calibrate_searched_accuracy.py deps-compact-cifar10 --data npz:cifar10.npz

For predictors whose measured subnets were not kept; `ofa-tk predictor build` does the same by nested searches
among its own. One search for each of `--num` budgets of MACs, by the predictions as fitted; each answer is
measured under the conditions of the predictor's card, on held-out training images.
"""

from __future__ import annotations

import argparse
import dataclasses

import numpy as np

from ofa_toolkit.complexity import count_macs
from ofa_toolkit.evaluation.predictor.chosen import facts_of_searches
from ofa_toolkit.evaluation.predictor.file import read_predictor, write_predictor
from ofa_toolkit.evaluation.predictor.interval import IntervalModel
from ofa_toolkit.pipelines.evaluation.accuracy_log import SubnetMeter
from ofa_toolkit.pipelines.evaluation.evaluator import open_evaluator
from ofa_toolkit.pipelines.evaluation.request import EvaluationRequest
from ofa_toolkit.pipelines.search.context import SearchContext
from ofa_toolkit.pipelines.search.find import run
from ofa_toolkit.pipelines.search.request import SearchRequest
from ofa_toolkit.spaces import Encoding, lower
from ofa_toolkit.zoo.supernet import load_supernet


def main() -> None:
    """Search, measure, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("supernet")
    parser.add_argument("--data", required=True)
    parser.add_argument("--images", type=int, default=2500, help="as many as the predictor was fitted to")
    parser.add_argument("--num", type=int, default=20)
    arguments = parser.parse_args()
    supernet = load_supernet(arguments.supernet)
    predictor = read_predictor(supernet.predictor_file)
    space = supernet.trained_space
    bound = predictor.bind(space)
    ends = [count_macs(lower(space, subnet)) for subnet in (space.smallest(), space.largest())]
    found = {}
    for budget in np.geomspace(*ends, arguments.num + 2)[1:-1]:
        request = SearchRequest(supernet, macs=float(budget))
        row = run(SearchContext(request).problem(), request, {}).population[:1]
        found.setdefault(row.tobytes(), row)
    rows = np.concatenate([Encoding(space).encode([space.largest()]), *found.values()])
    meter = SubnetMeter(
        open_evaluator(supernet, EvaluationRequest(data=arguments.data, images=arguments.images))
    )
    predicted, spread = bound.predict(rows), bound.spread(rows)
    measured = []
    for subnet, value in zip(Encoding(space).decode(rows), predicted, strict=True):
        top1, num_images = meter.measure(subnet)
        measured.append(top1)
        macs = count_macs(lower(space, subnet)) / 1e6
        print(f"{macs:7.2f} MMACs: predicted {value:.2f}, measured {top1:.2f} on {num_images}", flush=True)
    interval = predictor.card.interval
    errors, own = predicted[1:] - np.array(measured[1:]), spread[1:]
    gain = max(0.0, float(np.sort(measured[1:])[-3:].mean()) - measured[0])
    facts = facts_of_searches(
        errors,
        own,
        noise_points=interval.noise_points,
        num_subnets=len(errors),
        how=f"{len(errors)} subnets that searches within budgets of MACs chose, measured",
        ceiling_percent=min(100.0, float(predicted[0]) + gain),
    )
    held = 0
    for out in range(len(errors)):
        left = np.delete(np.arange(len(errors)), out)
        one = dataclasses.replace(facts, offset_points=float(errors[left].mean()))
        others = facts_of_searches(
            errors[left],
            own[left],
            noise_points=interval.noise_points,
            num_subnets=len(left),
            how="",
            ceiling_percent=None,
        )
        model = IntervalModel(dataclasses.replace(interval, chosen=others))
        half = model.half_width(own[out : out + 1], np.ones(1, bool), np.zeros(1, bool), 0.9, is_chosen=True)
        held += abs(errors[out] - one.offset_points) <= half[0]
    print(f"offset {facts.offset_points:+.2f} points; ceiling {facts.ceiling_percent:.2f} %")
    print(f"each left out in turn, the 90 % interval of the others holds for {held} of {len(errors)}")
    before = bound.interval(rows[1:], 0.9)
    inside = sum(low <= top1 <= high for low, high, top1 in zip(*before, measured[1:], strict=True))
    print(f"before: {inside} of {len(errors)}")
    card = dataclasses.replace(predictor.card, interval=dataclasses.replace(interval, chosen=facts))
    write_predictor(supernet.predictor_file, dataclasses.replace(predictor, card=card))


if __name__ == "__main__":
    main()
