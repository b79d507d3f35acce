"""Buckets and the area under a Pareto curve, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ofa_toolkit.evaluation.pareto_metrics import best_per_bucket, bucket_index, mean_pareto_accuracy
from ofa_toolkit.pipelines.evaluation.pareto import candidates, macs_cost
from ofa_toolkit.spaces import Encoding, get_space


def test_best_of_each_bucket() -> None:
    costs, accuracies = np.array([0.0, 1.0, 2.5, 4.0, 6.0]), np.array([1.0, 3.0, 2.0, 5.0, 4.0])
    buckets = best_per_bucket(costs, accuracies, 3, (0.0, 6.0))
    assert [bucket.best for bucket in buckets] == [1, 2, 3]
    assert [(bucket.low, bucket.high) for bucket in buckets] == [(0, 2), (2, 4), (4, 6)]
    assert best_per_bucket(costs[:1], accuracies[:1], 3, (0.0, 6.0))[2].best is None


def test_ends_belong_to_the_range_and_beyond_does_not() -> None:
    assert bucket_index(np.array([-1.0, 0.0, 6.0, 7.0]), 3, (0.0, 6.0)).tolist() == [-1, 0, 2, -1]


def test_mean_pareto_accuracy_is_the_area() -> None:
    assert mean_pareto_accuracy(np.array([0.0, 10.0]), np.array([60.0, 80.0]), (0.0, 10.0)) == 70.0
    # Constant beyond the points; order does not matter.
    value = mean_pareto_accuracy(np.array([5.0, 2.5]), np.array([80.0, 60.0]), (0.0, 10.0))
    assert value == pytest.approx(0.25 * 60 + 0.25 * 70 + 0.5 * 80)


@pytest.mark.parametrize("name", ["mobilenet-v3-compact", "mobilenet-v3-compact-compound", "ofa-resnet50"])
def test_candidates_fill_the_buckets(name: str) -> None:
    space = get_space(name)
    cost_of = macs_cost(space)
    encoding = Encoding(space)
    low, high = (float(cost) for cost in cost_of(encoding.encode([space.smallest(), space.largest()])))
    subnets = candidates(space, cost_of, (low, high), 6, 3, seed=0)
    assert space.smallest() in subnets
    assert space.largest() in subnets
    assert len(set(subnets)) == len(subnets)
    filled = np.bincount(bucket_index(cost_of(encoding.encode(subnets)), 6, (low, high)), minlength=6)
    assert filled.max() <= 3
    assert (filled > 0).sum() >= 5
