"""What stands beside a latency is the error of the thing asked for on this device, or the word unchecked."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ofa_tk.app import run
from ofa_toolkit.core import resources
from ofa_toolkit.latency.device import Error, ErrorKind, Variant
from ofa_toolkit.latency.stated_error import Asked, error_of_mobile_networks, family_of, stated_error
from ofa_toolkit.latency.table import list_devices, load_table
from ofa_toolkit.spaces import get_space, lower, sample_population
from ofa_toolkit.spaces.layer_spec import LayerSpec
from tests.unit.export.samples import device

OWN = Asked(family="MobileNetV3", space="ofa-mobilenet-v3-w1.0")


def error(
    percent: float,
    kind: ErrorKind = "networks",
    space: str = "ofa-mobilenet-v3-w1.0",
    on: str | None = None,
    deviations: Mapping[str, float] | None = None,
) -> Error:
    return Error(
        kind=kind,
        mape_percent=percent,
        num_networks=2,
        split="made up",
        space=space,
        device=on,
        deviations=deviations,
    )


def variant(*errors: Error) -> Variant:
    made = device("board", tensorrt="8.2.1", capability=None, kind="gpu").variants[0]
    return dataclasses.replace(made, errors=errors)


def test_the_worst_error_that_applies_is_shown_not_the_first() -> None:
    found = stated_error(variant(error(1.67), error(3.53), error(0.2, "blocks"), error(9, "anchors")), OWN)
    assert (found.percent, found.is_checked, found.text) == (3.53, True, "mean error 3.53 %")


def test_another_space_of_that_name_has_no_error_of_its_own() -> None:
    space = get_space("mobilenet-v3-compact")
    other = dataclasses.replace(
        space, stages=tuple(dataclasses.replace(stage, kernel_sizes=(3, 5, 7)) for stage in space.stages)
    )
    measured = variant(error(7.8, space="mobilenet-v3-compact"))
    assert stated_error(measured, Asked.of_space(space)).percent == 7.8
    assert stated_error(measured, Asked.of_space(other)).text == (
        "unchecked for such networks, 7.8 % on mobilenet-v3-compact"
    )


def test_blocks_and_anchors_say_nothing_of_whole_networks() -> None:
    found = stated_error(variant(error(0.2, "blocks"), error(5.0, "anchors")), OWN)
    assert (found.percent, found.is_checked, found.text) == (None, False, "unchecked")
    assert found.expectation(is_far=False) == "how far it is off is unchecked"


def test_few_networks_are_named_by_their_signed_errors() -> None:
    deviations = {"small": -3.2, "large": -19.7}
    found = stated_error(variant(error(11.4, space="MobileNetV3", deviations=deviations)), OWN)
    assert stated_error(variant(error(4, deviations={"a": 1, "b": 2, "c": 9})), OWN).percent == 4
    assert (found.percent, found.text) == (19.7, "error -3 and -20 %")
    assert found.expectation(is_far=False) == "expect about 20 %"
    assert found.expectation(is_far=True) == "how far it is off is unchecked"


def test_unseen_families_hold_for_any_network_and_a_space_for_its_own_only() -> None:
    made = variant(error(1.0, space="ofa-mobilenet-v3-w1.2"), error(7.0, "families", "MnasNet"))
    assert stated_error(made, OWN).text == "mean error 7 %"
    own = stated_error(made, Asked(family="MobileNetV3", space="ofa-mobilenet-v3-w1.2"))
    assert own.text == "mean error 7 %"
    alone = variant(error(1.0, space="ofa-mobilenet-v3-w1.2"))
    assert stated_error(alone, OWN).text == "unchecked for such networks, 1 % on ofa-mobilenet-v3-w1.2"
    assert error_of_mobile_networks(alone).text == "mean error 1 %"
    both = variant(error(9.0, space="ResNet"), error(2.0, space="MobileNetV3"))
    assert error_of_mobile_networks(both).text == "mean error 2 %"


def test_what_others_showed_is_a_range_by_name_and_unchecked() -> None:
    found = stated_error(variant(error(14.8, on="a100"), error(4.6, on="rtx-3090")), OWN)
    assert not found.is_checked
    assert found.text == "unchecked here, 4.6 to 15 % on a100 and rtx-3090"
    assert found.by_device == {"a100": 14.8, "rtx-3090": 4.6}
    assert found.expectation(is_far=False) == "expect about 15 % as on a100 and rtx-3090, unchecked here"
    small = stated_error(variant(error(0.4, on="a100")), OWN)
    assert (small.percent, small.by_device) == (0.4, {"a100": 0.4})


@pytest.mark.parametrize(
    ("space", "family"),
    [
        ("ofa-mobilenet-v3-w1.2", "MobileNetV3"),
        ("mobilenet-v3-compact", "MobileNetV3"),
        ("ofa-proxyless-w1.3", "MobileNetV2"),
        ("ofa-resnet50", "ResNet"),
    ],
)
def test_families(space: str, family: str) -> None:
    assert family_of(lower(get_space(space), get_space(space).smallest())) == family


@pytest.mark.parametrize(
    ("facts", "family"),
    [
        ({"kind": "scale"}, "MobileNetV3"),
        ({"kind": "conv", "activation": "h_swish"}, "MobileNetV3"),
        ({"kind": "conv", "groups": 4, "activation": "relu6"}, "MobileNetV2"),
        ({"kind": "conv", "activation": "relu"}, "ResNet"),
        ({"kind": "add", "activation": "swish"}, "ResNet"),
    ],
)
def test_one_layer_tells_the_family(facts: dict[str, Any], family: str) -> None:
    shape = {"in_channels": 4, "out_channels": 4, "in_size": 8, "out_size": 8}
    plain = LayerSpec(name="x", kind="conv", inputs=("input",), **shape)
    one = LayerSpec(name="y", inputs=("x",), **shape, **facts)
    assert family_of([plain, one, plain]) == family


def test_shipped_devices_say_what_they_were_checked_on() -> None:
    def text(name: str, space: str = "ofa-mobilenet-v3-w1.0") -> str:
        return load_table(name).bind(get_space(space)).error.text

    assert text("jetson-nano") == "error -3 and -20 %"
    assert text("jetson-tx2") == "error -17 and +3 %"
    assert text("rtx-2080ti:help-pytorch-fp32-64", "ofa-mobilenet-v3-w1.2") == "mean error 3.53 %"
    assert text("v100").startswith("unchecked for such networks, 0.38 % on ofa-mobilenet-v3-w1.2")
    assert text("v100:tinynas-tensorrt-fp16-1") == "unchecked here, 14 % on v100 in fp32 at batch 1"
    assert text("a40") == "unchecked here, 4.6 to 15 % on a100 and rtx-3090"
    assert text("jetson-agx-xavier:lightnas-pytorch-fp32-8").startswith("unchecked for such networks")
    assert text("note10") == "mean error 1.1 %"
    assert text("note10", "ofa-mobilenet-v3-w1.2") == "error -2 %"
    assert text("pixel1") == "mean error 2.6 %"


def test_every_shipped_variant_states_the_kind_of_its_errors() -> None:
    folder = resources.data_path("latency_tables")
    for found in list_devices():
        for made in found.variants if (folder / found.name).is_dir() else ():
            whole = [each for each in made.errors if each.kind in ("networks", "families")]
            assert whole, f"{found.name}:{made.name} states no error of whole networks"
            for each in made.errors:
                assert each.split.startswith("the very") == (each.kind == "anchors")
                assert ("block" in each.split) == (each.kind == "blocks")


def test_the_list_fits_eighty_columns_and_groups_by_kind(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["latency", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    titles = [line for line in lines[1:] if not line.startswith(" ")]
    assert titles == ["GPU", "Jetson", "Phone", "NPU", "CPU"]
    (nano,) = (line for line in lines if line.startswith(" jetson-nano "))
    assert nano.split() == [
        *("jetson-nano", "transfer-tensorrt-fp16-1", "transferred"),
        *("-3", "and", "-20", "%"),
    ]
    (a40,) = (line for line in lines if line.startswith(" a40 "))
    assert a40.endswith("15 % unchecked")
    assert run(["latency", "list", "--device", "V100"]) == 0
    shown = capsys.readouterr().out
    assert "help-pytorch-fp32-64*" in shown
    assert "tinynas-tensorrt-int8-1 " in shown
    assert "14 % unchecked" in shown


def test_a_warning_is_one_line_with_the_command_that_mends_it() -> None:
    space = get_space("ofa-mobilenet-v3-w1.0")
    bound = load_table("jetson-nano").bind(space)
    rows = sample_population(space.with_resolutions((208,)), 1, np.random.default_rng(0))
    rows[:, 0] = space.resolutions.index(208)
    (warning,) = bound.warnings(rows)
    assert warning is not None
    assert "\n" not in warning
    assert "at 224 pixels on six Jetson boards; yours has 208 pixels: expect about 20 %." in warning
    assert warning.endswith(
        "ofa-tk latency calibrate --plan 10 --space ofa-mobilenet-v3-w1.0 --device jetson-nano --batch-size 1"
    )
    far = load_table("jetson-nano").bind(space.with_resolutions((111, 112, 449)))
    rows = sample_population(far.space, 8, np.random.default_rng(0))
    said = {}
    for index, size in enumerate(far.space.resolutions):
        rows[:, 0] = index
        said[size] = far.warnings(rows)[0].partition(" pixels: ")[2].partition(".")[0]
    unchecked = "how far it is off is unchecked"
    assert said == {111: unchecked, 112: "expect about 20 %", 449: unchecked}
    for word in ("depthwise", "macs", "outside the fitted range"):
        assert word not in warning
    assert any("outside the fitted range" in note for note in bound.notes(rows))


def test_a_search_writes_and_prints_the_same_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    quick = ("population_size=8", "num_children=8", "num_generations=2")
    settings = [word for setting in quick for word in ("--set", setting)]
    assert run(["search", "--device", "jetson-nano", "--device", "a40", "--latency", "1s", *settings]) == 0
    captured = capsys.readouterr()
    written = json.loads((tmp_path / "subnet.json").read_text())["predicted"]["latency_ms"]
    nano, a40 = written.values()
    assert (nano["error"], nano["is_checked"], nano["mape_percent"]) == ("error -3 and -20 %", True, 19.7)
    assert "transferred, uncalibrated, error -3 and -20 %" in captured.out
    assert not a40["is_checked"]
    assert "mape_percent" not in a40
    assert set(a40["checked_on"]) == {"a100", "rtx-3090"}
    assert a40["error"] in captured.out
    warnings = [line for line in captured.err.splitlines() if line.startswith("Warning: jetson-nano")]
    assert len(warnings) == 1
