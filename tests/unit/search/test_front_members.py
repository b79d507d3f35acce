"""Members of a front that stand for all of it."""

from typing import Any

import pytest

from ofa_toolkit.pipelines.search.front_file import spread_over_cost


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
