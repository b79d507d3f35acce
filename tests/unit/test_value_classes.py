"""What passes between modules of training, supernets and evaluation: nobody changes it, fields are named."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
from collections.abc import Iterator

import pytest

import ofa_toolkit.evaluation
import ofa_toolkit.supernets
import ofa_toolkit.training

PACKAGES = (ofa_toolkit.evaluation, ofa_toolkit.supernets, ofa_toolkit.training)

CHANGING = {"Part", "TrainState"}
"""Accounts of a run that goes on."""

BY_POSITION = {"ChannelMove", "Checkpoint", "Choices", "HeldOut", "IntervalModel", "TrainingProgress"}
"""Of few fields in an obvious order, or wrappers of one."""


def _classes() -> Iterator[type]:
    for package in PACKAGES:
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            module = importlib.import_module(found.name)
            for _, kind in inspect.getmembers(module, inspect.isclass):
                if kind.__module__ == module.__name__ and "__dataclass_params__" in vars(kind):
                    yield kind


CLASSES = sorted(_classes(), key=lambda kind: f"{kind.__module__}.{kind.__name__}")


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_values_stay_as_they_are_and_name_their_fields(kind: type) -> None:
    parameters = vars(kind)["__dataclass_params__"]
    assert parameters.frozen == (kind.__name__ not in CHANGING)
    own = [field for field in dataclasses.fields(kind) if field.name in vars(kind).get("__annotations__", {})]
    is_checkpoint_file = kind.__module__.endswith("importing.checkpoint_file")
    if kind.__name__ not in BY_POSITION or is_checkpoint_file:
        assert all(field.kw_only for field in own)


def test_steps_carry_no_more_than_their_fields() -> None:
    from ofa_toolkit.training.algorithm import Pass, Position

    for kind in (Pass, Position):
        assert "__slots__" in vars(kind)


def test_there_are_such_classes() -> None:
    assert len(CLASSES) > 40
