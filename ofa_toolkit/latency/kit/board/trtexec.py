"""NVIDIA's `trtexec`: what its releases understand, what they print, and networks timed by them."""

import json
import os
import re
import shutil
import statistics
import subprocess
from typing import List, Optional, Tuple

from ofa_toolkit.latency.kit.board.journal import AgentError, Json, read_text_whole

WARM_UP_MS = 500


def find_trtexec(given: Optional[str]) -> Optional[str]:
    """Path of trtexec: the given one, that on PATH, or where NVIDIA's packages put it; None without."""
    candidates = [given, shutil.which("trtexec"), "/usr/src/tensorrt/bin/trtexec"]
    return next((path for path in candidates if path and os.path.exists(path)), None)


def help_flags(text: str) -> List[str]:
    """The long options a `trtexec --help` lists."""
    return sorted(set(re.findall(r"(?<![\w-])--([A-Za-z][A-Za-z0-9]*)", text)))


def trtexec_arguments(flags: List[str], precision: str, cuda_graph: bool) -> Tuple[List[str], bool]:
    """Options that mean the same on every generation, and whether the network must carry the precision.

    Up to TensorRT 10, trtexec copies inputs and outputs and launches kernels one by one unless told
    otherwise; from 11 on it does neither. Here: never copies, CUDA graphs as asked, fp32 without TF32.
    """
    known = set(flags)
    arguments = [f"--warmUp={WARM_UP_MS}", "--duration=3", "--iterations=50"]
    if "noDataTransfers" in known:
        arguments.append("--noDataTransfers")
    if cuda_graph and "useCudaGraph" in known:
        arguments.append("--useCudaGraph")
    if not cuda_graph and "noCudaGraph" in known:
        arguments.append("--noCudaGraph")
    if "useSpinWait" in known:
        arguments.append("--useSpinWait")
    typed = False
    if precision == "fp32":
        arguments += ["--noTF32"] if "noTF32" in known else []
    elif precision in known:
        arguments.append("--" + precision)
    else:
        typed = True
    return arguments, typed


def parse_times(text: str, warm_up_ms: float) -> List[float]:
    """GPU times (ms) of each run from the JSON of `--exportTimes`, which holds the warm-up runs too."""
    runs = [run for run in json.loads(text) if "computeMs" in run]
    warm = [run for run in runs if run.get("startComputeMs", warm_up_ms) >= warm_up_ms]
    return [float(run["computeMs"]) for run in warm or runs]


def parse_summary(text: str) -> Optional[Json]:
    """GPU compute time (ms) from the printed summary, TensorRT 8.0 to 11, or None."""
    number = r"([0-9.eE+-]+)"
    names = ("min", "max", "mean", "median")
    pattern = ", ".join(f"{name} = {number} ms" for name in names)
    line = re.search("GPU Compute Time: " + pattern, text)
    if line is None:
        return None
    lowest, highest, mean, median = (float(value) for value in line.groups())
    queries = re.search(r"Timing trace has (\d+) queries", text)
    return {
        "median_ms": median,
        "min_ms": lowest,
        "max_ms": highest,
        "mean_ms": mean,
        "num_runs": int(queries.group(1)) if queries else None,
    }


def summarise(times: List[float]) -> Json:
    """Median and spread of the runs (ms)."""
    ordered = sorted(times)
    count = len(ordered)
    return {
        "median_ms": statistics.median(ordered),
        "min_ms": ordered[0],
        "max_ms": ordered[-1],
        "mean_ms": sum(ordered) / count,
        "p25_ms": ordered[count // 4],
        "p75_ms": ordered[(3 * count) // 4],
        "num_runs": count,
    }


class Trtexec:
    """Builds an engine of each network and times it, both through `trtexec`."""

    name = "trtexec"
    only_precision = None
    has_cuda_graph = True

    def __init__(self, program: str, precision: str, cuda_graph: bool) -> None:
        self.program = program
        text = self._output([program, "--help"], accept_failure=True)
        self.flags = help_flags(text)
        if "onnx" not in self.flags:
            raise AgentError(f"'{program}' does not look like trtexec: its --help names no --onnx.")
        version = re.search(r"TensorRT[. ]trtexec \[TensorRT v(\d+)\]", text)
        self.version = version.group(1) if version else None
        self.arguments, self.typed = trtexec_arguments(self.flags, precision, cuda_graph)
        self.precision = precision

    def measure(self, network: str, folder: str, keep_engine: bool) -> Json:
        """Build and time; a kept engine is timed again by `repeat`."""
        command = [self.program, "--onnx=" + network]
        if keep_engine and "saveEngine" in self.flags:
            command.append("--saveEngine=" + os.path.join(folder, "reference.engine"))
        if "timingCacheFile" in self.flags:
            command.append("--timingCacheFile=" + os.path.join(folder, "timing.cache"))
        return self._time(command, folder)

    def repeat(self, folder: str) -> Optional[Json]:
        """Time the kept engine again."""
        engine = os.path.join(folder, "reference.engine")
        if not os.path.exists(engine):
            return None
        return self._time([self.program, "--loadEngine=" + engine], folder)

    def _time(self, command: List[str], folder: str) -> Json:
        times = os.path.join(folder, "times.json")
        if os.path.exists(times):
            os.remove(times)
        if "exportTimes" in self.flags:
            command = [*command, "--exportTimes=" + times]
        text = self._output(command + self.arguments, accept_failure=False)
        version = re.search(r"\[TensorRT v(\d+)\]", text)
        result = {"version": version.group(1) if version else self.version}  # type: Json
        runs = parse_times(read_text_whole(times), WARM_UP_MS) if os.path.exists(times) else []
        summary = summarise(runs) if runs else parse_summary(text)
        if summary is None:
            raise RuntimeError("no GPU compute time in trtexec's output: " + tail(text))
        result.update(summary)
        result["warnings"] = re.findall(r"\[W\] (\* .+)", text)
        return result

    def _output(self, command: List[str], accept_failure: bool) -> str:
        try:
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
            )
        except OSError as error:
            raise AgentError(f"Cannot run '{command[0]}': {error}") from error
        try:
            output, _ = process.communicate()
        except BaseException:
            process.kill()
            process.communicate()
            raise
        text = output.decode("utf-8", "replace")
        if process.returncode != 0 and not accept_failure:
            raise RuntimeError(f"trtexec failed ({process.returncode}): {tail(text)}")
        return text


def tail(text: str, num_lines: int = 4) -> str:
    """The lines that say what went wrong, else the last ones."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "[E]" in line]
    return " | ".join((errors or lines)[-num_lines:])
