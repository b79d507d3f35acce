"""Guard of the data classes: their values do not change, and their fields are given by name."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil

import pytest

import ofa_toolkit

PROGRAMS = {"ofa_toolkit.export.kit.run"}
"""Run as files beside what they import."""

BACK_ENDS = {"CoreMl", "ExecuTorch", "LiteRt", "Ncnn", "OpenVino"}
CHANGING = {*BACK_ENDS, "Part", "TrainState", "_Progress"}
BY_PLACE = {
    *BACK_ENDS,
    *("AugmentationDraw", "ChannelMove", "Choices", "ExtractRequest", "FileFormat", "Files", "Gene"),
    *("HeldOut", "IntervalModel", "LeftOut", "NetworkEvaluationRequest", "Progress", "Scores"),
    *("SearchResult", "StageChoice", "StudyFolder", "Subnet", "Term", "TrainingProgress", "Unit"),
    *("training.checkpoint.Checkpoint", "_Progress"),
}


def data_classes(package: str) -> list[type]:
    """Those that the modules of a package declare."""
    module = importlib.import_module(package)
    parts = pkgutil.walk_packages(getattr(module, "__path__", ()), f"{package}.")
    modules = [module, *(importlib.import_module(part.name) for part in parts if part.name not in PROGRAMS)]
    return [
        found
        for module in modules
        for found in vars(module).values()
        if isinstance(found, type) and found.__module__ == module.__name__ and dataclasses.is_dataclass(found)
    ]


@pytest.mark.parametrize("package", [part.name for part in pkgutil.iter_modules(ofa_toolkit.__path__)])
def test_values_do_not_change_and_fields_are_given_by_name(package: str) -> None:
    for found in data_classes(f"ofa_toolkit.{package}"):
        names = {found.__name__, f"{found.__module__}.{found.__name__}".removeprefix("ofa_toolkit.")}
        assert vars(found)["__dataclass_params__"].frozen == (not names & CHANGING), found
        own = [field for field in dataclasses.fields(found) if field.name in found.__annotations__]
        assert any(field.kw_only for field in own) == (not names & BY_PLACE), found
