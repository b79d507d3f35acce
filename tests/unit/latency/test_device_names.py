"""A device is found by the names people type, no chip is taken for another, and an unknown one can be had."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click
import pytest

from ofa_tk import app
from ofa_toolkit.core.errors import UnknownNameError
from ofa_toolkit.latency import load_table
from ofa_toolkit.latency.device import write_device
from ofa_toolkit.latency.device_names import find_device
from ofa_toolkit.latency.measuring import system
from tests.unit.export.samples import device

SPACE = "mobilenet-v3-compact"


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("JETSON-NANO", "jetson-nano"),
        ("Jetson Nano", "jetson-nano"),
        ("jetson_nano", "jetson-nano"),
        ("jetsonnano", "jetson-nano"),
        ("NVIDIA Jetson Nano (4 GB)", "jetson-nano"),
        ("Orin Nano", "jetson-orin-nano"),
        ("NVIDIA Tesla V100", "v100"),
        ("Tesla P40", "tesla-p40"),
        ("P40", "tesla-p40"),
        ("GeForce RTX 2080 Ti", "rtx-2080ti"),
        ("rtx-2080-ti", "rtx-2080ti"),
        ("Samsung Galaxy Note 10", "note10"),
        ("TITAN Xp", "titan-xp"),
        ("A100 40GB", "a100"),
        ("Raspberry Pi 4B", "raspberry-pi-4"),
        ("Raspberry Pi 4 Model B", "raspberry-pi-4"),
        ("RPi5", "raspberry-pi-5"),
        ("rpi-zero-2", "raspberry-pi-zero-2"),
        ("Pi 3B", "raspberry-pi-3b"),
        ("OrangePi 5", "orange-pi-5"),
    ],
)
def test_names_and_titles(typed: str, name: str) -> None:
    found = find_device(typed)
    assert (found.name, found.remark) == (name, None)


@pytest.mark.parametrize(
    ("typed", "name", "word"),
    [
        ("Jetson Orin Nano Super", "jetson-orin-nano", "faster"),
        ("jetson-orin-nano-super", "jetson-orin-nano", "Super power mode"),
        ("Tesla V100-PCIE-16GB", "v100", "taken as v100"),
    ],
)
def test_what_differs_from_the_figures_is_said(typed: str, name: str, word: str) -> None:
    table = load_table(typed)
    assert table.device.name == name
    assert word in table.remarks[0]


@pytest.mark.parametrize(
    "chip",
    [
        *("h100", "a10", "t4", "l40s", "gh200", "rtx-4090", "rtx-2080", "rtx-3090-ti", "titan-x", "titan-v"),
        *("tesla-p4", "gtx-1080-ti", "jetson-xavier", "jetson-orin-nx", "jetson-nano-2gb", "jetson-tx1"),
        *("a100-80gb", "pixel-2", "note-9", "raspberry-pi-2", "android", "epyc-zen4", "v10"),
    ],
)
def test_no_other_chip_is_proposed_for_a_real_one(chip: str) -> None:
    with pytest.raises(UnknownNameError, match=f"Unknown device '{chip}'") as caught:
        find_device(chip, space=SPACE)
    hint = str(caught.value.hint)
    assert "Did you mean" not in hint
    for command in ("latency measure", "latency kit build", "latency import", "latency calibrate"):
        assert f"ofa-tk {command}" in hint
    assert f"--device {chip}" in hint


@pytest.mark.parametrize(("typed", "meant"), [("jetson-nan", "jetson-nano"), ("pixle1", "pixel1")])
def test_a_misspelling_gets_the_right_name(typed: str, meant: str) -> None:
    with pytest.raises(UnknownNameError) as caught:
        find_device(typed)
    assert caught.value.hint == f"Did you mean '{meant}'?"


def test_this_machine_is_measured() -> None:
    with pytest.raises(UnknownNameError) as caught:
        load_table("this-cpu", space=SPACE)
    assert caught.value.hint == f"ofa-tk latency measure --space {SPACE} --device this-cpu"


def test_the_commands_of_the_hint_take_their_options() -> None:
    with pytest.raises(UnknownNameError) as caught:
        find_device("rtx-4090", space=SPACE)
    lines = [line for line in str(caught.value.hint).splitlines() if "ofa-tk" in line]
    assert len(lines) == 4
    for line in lines:
        command: click.Command = app.cli
        words = line.partition("ofa-tk ")[2].split()
        context = click.Context(command)
        while isinstance(command, click.Group):
            found = command.get_command(context, words.pop(0))
            assert found is not None
            command = found
        if command.name != "import":  # its file is not there yet
            command.make_parser(context).parse_args(words)


def test_own_devices_are_found_by_their_names_and_a_damaged_one_hides_none(tmp_path: Path) -> None:
    write_device(tmp_path / "my-board", device("my-board", tensorrt="10.3", capability=None, kind="gpu"))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "device.toml").write_text("name = ")
    assert find_device("My Board", [tmp_path]).path == tmp_path / "my-board"
    titled = device("zz-board", tensorrt="10.3", capability=None, kind="gpu")
    write_device(tmp_path / "zz-board", dataclasses.replace(titled, title="Somebody's Machine"))
    assert find_device("somebodys machine", [tmp_path]).path == tmp_path / "zz-board"
    with pytest.raises(UnknownNameError):
        find_device("your-board", [tmp_path])


def test_a_table_of_another_processor_names_both(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"model name": "AMD EPYC", "cpu family": "25", "model": "1"}
    monkeypatch.setattr(system, "_cpuinfo", lambda: told)
    (remark,) = load_table("epyc-zen5").remarks
    assert "family 26 (Zen 5)" in remark
    assert "'AMD EPYC (family 25, model 1)'" in remark
    told["cpu family"] = "26"
    assert load_table("epyc-zen5").remarks == ()
    for name in ("v100", "raspberry-pi-4"):
        assert load_table(name).remarks == ()
