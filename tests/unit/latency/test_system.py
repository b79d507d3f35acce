"""What a machine tells of itself, by files written out by hand."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ofa_toolkit.latency.measuring import system
from ofa_toolkit.latency.measuring.system import SystemState


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Files of a machine, by their paths."""
    files: dict[str, str] = {}

    def read_text(path: Path, **_options: Any) -> str:
        if str(path) not in files:
            raise FileNotFoundError(path)
        return files[str(path)]

    def glob(folder: Path, pattern: str) -> list[Path]:
        return [
            Path(name) for name in files if Path(name).is_relative_to(folder) and Path(name).match(pattern)
        ]

    monkeypatch.setattr(Path, "read_text", read_text)
    monkeypatch.setattr(Path, "glob", glob)
    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    return files


CPUINFO, BOARD = "/proc/cpuinfo", "/proc/device-tree/model"


@pytest.mark.parametrize(
    ("files", "name"),
    [
        ({}, "riscv64"),
        ({BOARD: "Raspberry Pi 4\0\n"}, "Raspberry Pi 4"),
        (
            {CPUINFO: "model name\t: Xeon 8375C\ncpu family\t: 6\n\nmodel name: other\n", BOARD: "b"},
            "Xeon 8375C",
        ),
        ({CPUINFO: "Hardware\t: BCM2711\n"}, "BCM2711"),
        ({CPUINFO: "model name : AMD EPYC\ncpu family : 25\nmodel : 17\n"}, "AMD EPYC (family 25, model 17)"),
        ({CPUINFO: "model name : AMD EPYC\ncpu family : 25\n"}, "AMD EPYC (family 25, model unknown)"),
        ({CPUINFO: "model name : AMD EPYC\n"}, "AMD EPYC"),
    ],
)
def test_names_of_processors(files: dict[str, str], name: str, machine: dict[str, str]) -> None:
    machine |= files
    assert system.cpu_name() == name


@pytest.mark.parametrize(
    ("chip", "is_this"),
    [
        ("AMD EPYC", True),
        ("AMD EPYC (family 25, model 17)", True),
        ("AMD Ryzen, family 25", True),
        ("AMD Ryzen, family 26", False),
        ("Intel, family 25", False),
        ("AMD Ryzen", False),
    ],
)
def test_a_processor_is_known_by_its_name_or_maker_and_family(
    chip: str, is_this: bool, machine: dict[str, str]
) -> None:
    machine[CPUINFO] = "model name : AMD EPYC\ncpu family : 25\nmodel : 17\n"
    assert system.is_this_processor(chip) == is_this
    made = {kind: SimpleNamespace(name="board", kind=kind, chip=chip) for kind in ("cpu", "phone")}
    assert (system.other_processor(made["cpu"]) is None) == is_this  # type: ignore[arg-type]
    assert system.other_processor(made["phone"]) is None  # type: ignore[arg-type]
    unknown = SimpleNamespace(name="board", kind="cpu", chip="unknown")
    assert system.other_processor(unknown) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("limit", "cores"),
    [
        (None, 8),
        ("max 100000", 8),
        ("150000 100000", 2),
        ("100000 100000", 1),
        ("1000000 100000", 8),
        ("50000 100000", 1),
    ],
)
def test_cores_that_may_be_used(
    limit: str | None, cores: int, machine: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)))
    if limit is not None:
        machine["/sys/fs/cgroup/cpu.max"] = f"{limit}\n"
    assert system.usable_cores() == cores
    assert system.too_many_threads(cores) is None
    here = "1 core" if cores == 1 else f"{cores} cores"
    assert f"{cores + 1} threads share the {here} this" in str(system.too_many_threads(cores + 1))


def test_the_state_of_a_machine(machine: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (1.5, 9.0, 9.0))
    assert system.system_state() == SystemState(clock_mhz=None, temperature_c=None, load=1.5)
    assert system.governor() == "unknown"
    machine[CPUINFO] = "cpu MHz\t: 1000.0\nmodel name : x\n\ncpu MHz : 3000.0\n"
    assert system.system_state().clock_mhz == 2000.0
    cores, zones = Path("/sys/devices/system/cpu"), Path("/sys/class/thermal")
    for number, clock in enumerate(("1500000\n", "2500000\n", "none\n")):
        machine[str(cores / f"cpu{number}" / "cpufreq" / "scaling_cur_freq")] = clock
    for number, heat in enumerate(("-5000\n", "45500\n", "30000\n", "")):
        machine[str(zones / f"thermal_zone{number}" / "temp")] = heat
    machine[str(cores / "cpu0" / "cpufreq" / "scaling_governor")] = "performance\n"
    assert system.system_state() == SystemState(clock_mhz=2000.0, temperature_c=45.5, load=1.5)
    assert system.governor() == "performance"


@pytest.mark.parametrize(("output", "name"), [("A 10\nB 20\n", "A 10"), ("", "unknown"), (None, "unknown")])
def test_the_first_gpu(output: str | None, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_arguments: Any, **_options: Any) -> Any:
        if output is None:
            raise FileNotFoundError
        return SimpleNamespace(stdout=output)

    monkeypatch.setattr(subprocess, "run", run)
    assert system.gpu_name() == name
