"""Records of latency and search: nobody changes one that was made, or takes one field for another."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from collections.abc import Iterator

import ofa_toolkit.latency
import ofa_toolkit.search
from ofa_toolkit.search.archive import SearchResult
from ofa_toolkit.search.problem import Constraint, Figure, Objective, Scores

# Of arrays and functions, which are equal to themselves alone.
BY_IDENTITY = {SearchResult, Figure, Objective, Constraint, Scores}
BY_POSITION = {SearchResult, Scores}


def records() -> Iterator[type]:
    for package in (ofa_toolkit.latency, ofa_toolkit.search):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            for value in vars(importlib.import_module(found.name)).values():
                is_own = isinstance(value, type) and value.__module__ == found.name
                if is_own and dataclasses.is_dataclass(value):
                    yield value


def test_records_are_frozen_and_their_fields_are_named() -> None:
    found = set(records())
    assert len(found) > 40
    assert [each for each in found if not each.__dataclass_params__.frozen] == []  # type: ignore[attr-defined]
    by_position = {each for each in found if not all(field.kw_only for field in dataclasses.fields(each))}
    assert by_position == BY_POSITION
    assert {each for each in found if not each.__dataclass_params__.eq} == BY_IDENTITY  # type: ignore[attr-defined]
