"""`front.json`, read strictly: whatever a report or a package relies on is there and of its type."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from ofa_toolkit.core.documents import read_object
from ofa_toolkit.core.errors import FileFormatError
from ofa_toolkit.core.quantities import counted
from ofa_toolkit.pipelines.search.front import FORMAT, LABELS

_HINT = "`ofa-tk search --device NAME --pareto front.json` writes one."


def read_front(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The document of a front file, as `Front.document` gives it; members are not compared with a space.

    Raises:
        FileFormatError: It is no front of ours; names what is missing or of the wrong type.
    """
    document = read_object(path, FORMAT.what, hint=_HINT)
    FORMAT.check(document, f"'{path}'", hint=_HINT)
    _check(document, _FRONT, f"'{path}': ")
    num_costs = len(document["costs"])
    for index, member in enumerate(document["members"]):
        where = f"'{path}': members[{index}]."
        _check(member, _MEMBER, where)
        if len(member["costs"]) != num_costs:
            raise FileFormatError(
                f"{where}costs: {counted(len(member['costs']), 'value')} for {counted(num_costs, 'cost')}."
            )
    if not document["members"]:
        raise FileFormatError(f"'{path}' is damaged: it has no members.")
    return document


def spread_over_cost(members: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """At most `count` members by rising first cost, spread evenly over its logarithm, both ends among them.

    A front has most of its members where small changes pay; by rank nearly all would come from there.
    """
    ordered = sorted(members, key=lambda member: float(member["costs"][0]))
    if count >= len(ordered):
        return ordered
    costs = np.log([max(float(member["costs"][0]), 1e-12) for member in ordered])
    taken = [0, len(ordered) - 1][:count]
    for level in np.linspace(costs[0], costs[-1], count)[1:-1]:
        distances = np.abs(costs - level)
        distances[taken] = np.inf
        taken.append(int(distances.argmin()))
    return [ordered[index] for index in sorted(taken)]


def _check(table: dict[str, Any], kinds: dict[str, tuple[str, Callable[[Any], bool]]], where: str) -> None:
    for key, (kind, is_right) in kinds.items():
        if key not in table:
            raise FileFormatError(f"{where}{key}: missing; expected {kind}.")
        if not is_right(table[key]):
            raise FileFormatError(f"{where}{key}: expected {kind}, got {str(table[key])[:40]!r}.")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_list_of(is_right: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(is_right(each) for each in value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_cost(value: Any) -> bool:
    return _is_text(value) and (value in LABELS or value.startswith("latency:"))


def _is_table(value: Any) -> bool:
    return isinstance(value, dict)


_FRONT = {
    "space": ("a name or a table", lambda value: _is_text(value) or _is_table(value)),
    "supernet": ("a text", _is_text),
    "costs": ("a list of costs", _is_list_of(_is_cost)),
    "members": ("a list of tables", _is_list_of(_is_table)),
    "search": ("a table", _is_table),
    "warnings": ("a list of texts", _is_list_of(_is_text)),
}
_MEMBER = {
    "resolution": ("a number", _is_number),
    "stages": ("a list of tables", _is_list_of(_is_table)),
    "top1_percent": ("a number", _is_number),
    "costs": ("a list of numbers", _is_list_of(_is_number)),
    "predicted": ("a table", _is_table),
}
