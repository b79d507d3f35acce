"""Records of the packages that compute: nobody changes one that was made, or takes one field for another."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from collections.abc import Iterator

import ofa_toolkit.evaluation
import ofa_toolkit.latency
import ofa_toolkit.search
import ofa_toolkit.supernets
import ofa_toolkit.training
from ofa_toolkit.evaluation.predictor.assessment import HeldOut
from ofa_toolkit.evaluation.predictor.choices import Choices
from ofa_toolkit.evaluation.predictor.interval import IntervalModel
from ofa_toolkit.search.archive import SearchResult
from ofa_toolkit.search.problem import Constraint, Figure, Objective, Scores
from ofa_toolkit.supernets.channel_sorting import ChannelMove
from ofa_toolkit.training.algorithm import Pass, Position
from ofa_toolkit.training.checkpoint import Checkpoint
from ofa_toolkit.training.reporting import TrainingProgress
from ofa_toolkit.training.state import Part, TrainState

PACKAGES = (
    ofa_toolkit.evaluation,
    ofa_toolkit.latency,
    ofa_toolkit.search,
    ofa_toolkit.supernets,
    ofa_toolkit.training,
)

# Of arrays and functions, which are equal to themselves alone.
BY_IDENTITY = {SearchResult, Figure, Objective, Constraint, Scores}
BY_POSITION = {
    SearchResult,
    Scores,
    ChannelMove,
    Checkpoint,
    Choices,
    HeldOut,
    IntervalModel,
    TrainingProgress,
}
# Accounts of a run that goes on.
CHANGING = {Part, TrainState}


def records() -> Iterator[type]:
    for package in PACKAGES:
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            for value in vars(importlib.import_module(found.name)).values():
                is_own = isinstance(value, type) and value.__module__ == found.name
                if is_own and dataclasses.is_dataclass(value):
                    yield value


def test_records_are_frozen_and_their_fields_are_named() -> None:
    found = set(records())
    assert len(found) > 80
    assert {each for each in found if not each.__dataclass_params__.frozen} == CHANGING  # type: ignore[attr-defined]
    by_position = {each for each in found if not all(field.kw_only for field in dataclasses.fields(each))}
    assert by_position == BY_POSITION
    assert {each for each in found if not each.__dataclass_params__.eq} == BY_IDENTITY  # type: ignore[attr-defined]


def test_steps_carry_no_more_than_their_fields() -> None:
    for each in (Pass, Position):
        assert "__slots__" in vars(each)
