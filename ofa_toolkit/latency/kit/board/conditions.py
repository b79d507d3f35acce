"""What a board is, and the state it is in while it times networks."""

import glob
import os
import platform
import re
import subprocess
from typing import List, Optional

from ofa_toolkit.latency.kit.board.journal import Json


def run_quietly(command: List[str], timeout: float = 20.0) -> Optional[str]:
    """Output of a program that may be absent, or None."""
    try:
        done = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL
        )
        try:
            output, _ = done.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            done.kill()
            done.communicate()
            return None
    except OSError:
        return None
    return output.decode("utf-8", "replace").strip() if done.returncode == 0 else None


def read_text(path: str) -> Optional[str]:
    """A small file, without the NUL that device trees end with, or None."""
    try:
        with open(path, "rb") as file:
            return file.read(65536).decode("utf-8", "replace").strip("\0 \n")
    except OSError:
        return None


def power_mode() -> Optional[str]:
    """Jetson's nvpmodel mode, such as `MAXN`, or None on other machines."""
    text = run_quietly(["nvpmodel", "-q"]) or run_quietly(["/usr/sbin/nvpmodel", "-q"])
    match = re.search(r"NV Power Mode:\s*(\S+)", text or "")
    return match.group(1) if match else None


def governors() -> Optional[str]:
    """Names of the CPU frequency governors in use, such as `ondemand`, or None where there are none."""
    paths = glob.glob("/sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor")
    names = {read_text(path) for path in paths}
    return ", ".join(sorted(name for name in names if name)) or None


def nvidia_smi(fields: str) -> Optional[str]:
    """What the driver of a desktop GPU tells, or None."""
    return run_quietly(["nvidia-smi", "--query-gpu=" + fields, "--format=csv,noheader"])


def board() -> Json:
    """What does not change while measuring."""
    release = read_text("/etc/nv_tegra_release")
    cpuinfo = read_text("/proc/cpuinfo") or ""
    processor = re.search(r"^(?:model name|Hardware)\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    return {
        "model": read_text("/proc/device-tree/model"),
        "l4t": release.splitlines()[0] if release else None,
        "cpu": processor.group(1).strip() if processor else platform.processor() or platform.machine(),
        "num_cpus": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "gpu": nvidia_smi("name,driver_version,power.limit"),
        "power_mode": power_mode(),
        "governors": governors(),
        "jetson_clocks": run_quietly(["jetson_clocks", "--show"]),
    }


def state() -> Json:
    """What does change: clocks (Hz), temperatures (degrees C), load."""
    clocks = {}
    for path in glob.glob("/sys/class/devfreq/*/cur_freq"):
        value = read_text(path)
        if value and value.isdigit():
            clocks[os.path.basename(os.path.dirname(path))] = int(value)
    for path in glob.glob("/sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq"):
        value = read_text(path)
        if value and value.isdigit():
            clocks[path.split("/")[5]] = 1000 * int(value)
    temperatures = {}
    for zone in glob.glob("/sys/class/thermal/thermal_zone*"):
        name, value = read_text(os.path.join(zone, "type")), read_text(os.path.join(zone, "temp"))
        if name and value and re.match(r"^-?\d+$", value):
            temperatures[name] = int(value) / 1000.0
    gpu = nvidia_smi("clocks.sm,clocks.mem,temperature.gpu,power.draw")
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {"clocks_hz": clocks, "temperatures_c": temperatures, "nvidia_smi": gpu, "load": load}
