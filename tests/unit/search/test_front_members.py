"""Members of a front that stand for all of it."""

import json
from typing import Any

import numpy as np
import pytest

from ofa_toolkit.pipelines.search.front_file import spread_over_cost
from ofa_toolkit.pipelines.search.report import page


def costs_of(members: list[dict[str, Any]]) -> list[float]:
    return [member["costs"][0] for member in members]


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (1, [1]),
        (2, [1, 1000]),
        (4, [1, 10, 100, 1000]),
        (12, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 100, 1000]),
        (13, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 100, 1000]),
    ],
)
def test_members_are_spread_over_costs_and_not_over_ranks(count: int, expected: list[float]) -> None:
    members = [{"costs": [cost]} for cost in (100, 3, 1, 2, 4, 5, 7, 6, 8, 9, 10, 1000)]
    assert costs_of(spread_over_cost(members, count)) == expected


def test_no_member_is_taken_twice() -> None:
    members = [{"costs": [cost]} for cost in (1, 2, 990, 995, 1000)]
    assert costs_of(spread_over_cost(members, 4)) == [1, 2, 990, 1000]


def test_a_report_shows_two_hundred_members_spread_over_the_cost() -> None:
    """Of a front that has nearly all of its members at its cheap end."""
    costs = np.concatenate([np.linspace(1e6, 1.1e6, 400), np.geomspace(1.2e6, 64e6, 100)])
    members = [
        {"resolution": 32, "stages": [], "top1_percent": 50.0 + n, "costs": [cost], "predicted": {}}
        for n, cost in enumerate(costs.tolist())
    ]
    text = page([{"costs": ["macs"], "members": members, "search": {}, "warnings": []}])
    (front,) = json.loads(text.split('id="data">')[1].split("</script>")[0])["fronts"]
    shown = np.array([member["costs"][0] for member in front["members"]])
    assert len(shown) == 200
    assert (shown[0], shown[-1]) == (1.0, 64.0)
    # All of the hundred between 1.2 and 64 millions are among them.
    assert (shown >= 1.2).sum() == 100
