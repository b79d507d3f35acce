"""`ofa-tk spaces`: figures from the lowering, for every registered space."""

from __future__ import annotations

import json

import pytest

from ofa_tk import app
from ofa_toolkit.complexity import count_macs, count_params
from ofa_toolkit.spaces import get_space, list_spaces, lower

Captured = pytest.CaptureFixture[str]


def test_list(capsys: Captured) -> None:
    assert app.run(["spaces", "list"]) == 0
    rows = capsys.readouterr().out.splitlines()[1:]
    assert [row.split()[0] for row in rows] == list_spaces()


@pytest.mark.parametrize("name", list_spaces())
def test_show_gives_the_extremes(capsys: Captured, name: str) -> None:
    assert app.run(["spaces", "show", name, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    space = get_space(name)
    for which, subnet in (("smallest", space.smallest()), ("largest", space.largest())):
        layers = lower(space, subnet)
        assert shown[which]["macs"] == count_macs(layers)
        assert shown[which]["params"] == count_params(layers)
        assert shown[which]["resolution"] == subnet.resolution
    assert shown["num_architectures"] == space.num_architectures
    assert len(shown["stages"]) == len(space.stages)
    assert app.run(["spaces", "show", name]) == 0
    assert name in capsys.readouterr().out


def test_number_of_classes_counts_in_the_parameters(capsys: Captured) -> None:
    params = []
    for classes in ("10", "11"):
        assert app.run(["spaces", "show", "mobilenet-v3-compact", "--num-classes", classes, "--json"]) == 0
        params.append(json.loads(capsys.readouterr().out)["largest"]["params"])
    space = get_space("mobilenet-v3-compact")
    features = lower(space, space.largest())[-1].in_channels
    assert params[1] - params[0] == features + 1


def test_compound_ties_the_ratio_to_the_depth(capsys: Captured) -> None:
    assert app.run(["spaces", "show", "ofa-mobilenet-v3-w1.0-compound"]) == 0
    assert "3 at depth 2, 4 at depth 3, 6 at depth 4" in capsys.readouterr().out


def test_unknown_space(capsys: Captured) -> None:
    assert app.run(["spaces", "show", "mobilenet-v3-compac"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("Error: Unknown search space 'mobilenet-v3-compac'. Known: ")
    assert error.endswith("\nHint: Did you mean 'mobilenet-v3-compact'?\n")
