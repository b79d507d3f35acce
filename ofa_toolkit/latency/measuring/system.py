"""What this machine is and how it is doing: names, clocks, temperatures, load."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path

from ofa_toolkit.core.quantities import counted
from ofa_toolkit.latency.device import UNKNOWN, Device


@dataclass(frozen=True, kw_only=True)
class SystemState:
    """A look at the machine; absent figures are not told by the system.

    Attributes:
        clock_mhz: Mean clock of the usable cores.
        temperature_c: Hottest thermal zone.
        load: Running and waiting processes, mean of the last minute.
    """

    clock_mhz: float | None
    temperature_c: float | None
    load: float | None


def cpu_name() -> str:
    """The processor as the system calls it; a name without a number is told apart by its family."""
    told = _cpuinfo()
    name = told.get("model name") or told.get("Hardware") or ""
    if name and not any(character.isdigit() for character in name) and "cpu family" in told:
        return f"{name} (family {told['cpu family']}, model {told.get('model', UNKNOWN)})"
    board = _read(Path("/proc/device-tree/model")).strip("\0 \n")
    return name or board or platform.processor() or platform.machine() or UNKNOWN


def other_processor(device: Device) -> str | None:
    """A sentence where a CPU's table was measured on another processor than this machine's, else None."""
    if device.kind != "cpu" or device.chip == UNKNOWN or is_this_processor(device.chip):
        return None
    return f"{device.name} was measured on '{device.chip}'; this machine's '{cpu_name()}' takes other times"


def is_this_processor(chip: str) -> bool:
    """Whether a device's chip is this machine's CPU, by its name or by the maker and family it states."""
    told, name = _cpuinfo(), cpu_name()
    if chip in (name, told.get("model name")):
        return True
    family = re.search(r"family (\d+)", chip)
    is_maker = chip.split(maxsplit=1)[0] == name.split()[0]
    return family is not None and is_maker and family[1] == told.get("cpu family")


def _cpuinfo() -> dict[str, str]:
    """What the system tells of its first core."""
    pairs = (line.partition(":") for line in _read(Path("/proc/cpuinfo")).splitlines())
    told: dict[str, str] = {}
    for name, _, value in pairs:
        told.setdefault(name.strip(), value.strip())
    return told


def usable_cores() -> int:
    """Cores this process may compute on: those it is bound to, or fewer where its container is given less."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = _read(Path("/sys/fs/cgroup/cpu.max")).strip().partition(" ")
    return min(cores, -(-int(quota) // int(period))) if quota.isdigit() and period.isdigit() else cores


def too_many_threads(num_threads: int) -> str | None:
    """A sentence where threads would share cores, which is slower than fewer threads, else None."""
    cores = usable_cores()
    if num_threads <= cores:
        return None
    here = counted(cores, "core")
    return f"{num_threads} threads share the {here} this process may use: times are worse than with {cores}"


def gpu_name() -> str:
    """The first NVIDIA GPU as its driver calls it."""
    import subprocess

    try:
        output = subprocess.run(
            ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return UNKNOWN
    return next(iter(output.splitlines()), UNKNOWN).strip()


def governor() -> str:
    """How the clock of the first core is set, such as `performance`."""
    return _read(Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")).strip() or UNKNOWN


def system_state() -> SystemState:
    """Clock, temperature and load now."""
    return SystemState(
        clock_mhz=_clock_mhz(),
        temperature_c=_temperature_c(),
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    )


def _clock_mhz() -> float | None:
    values = [
        float(text) / 1e3
        for path in Path("/sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_cur_freq")
        if (text := _read(path).strip()).isdigit()
    ]
    if not values:
        values = [
            float(line.partition(":")[2])
            for line in _read(Path("/proc/cpuinfo")).splitlines()
            if line.startswith("cpu MHz")
        ]
    return sum(values) / len(values) if values else None


def _temperature_c() -> float | None:
    values = [
        int(text) / 1e3
        for path in Path("/sys/class/thermal").glob("thermal_zone*/temp")
        if (text := _read(path).strip()).lstrip("-").isdigit()
    ]
    return max(values, default=None)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
