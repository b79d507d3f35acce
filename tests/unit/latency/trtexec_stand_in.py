# ruff: noqa: E501 (lines of a log are as long as they are)
"""A program that behaves like `trtexec` of a generation: the same options, the same output, made-up times.

Layouts are those of `samples/common/sampleReporting.cpp` and `sampleOptions.cpp` in github.com/NVIDIA/TensorRT:
- 8.2: summary with "End-to-End Host Latency" and one percentile (commit 052281f0); the banner of 8.2.1 is
  `[TensorRT v8201]`, as in many public logs.
- 8.6 and 10: no end-to-end line, three percentiles (issue 4177 of NVIDIA/TensorRT shows a summary,
  issue 4036 the banner `[TensorRT v100200]`).
- 11: banner `[TensorRT v110000] [b114]`; precision flags are gone, CUDA graphs on and transfers off unless
  `--noCudaGraph` and `--includeDataTransfers` say otherwise ("Migrating trtexec Usage from TensorRT 10.x to
  11.x", docs.nvidia.com/deeplearning/tensorrt/11.0.0).
"""

from __future__ import annotations

import stat
import sys
from pathlib import Path
from typing import Literal

Version = Literal["8.2", "8.6", "10", "11"]
VERSIONS: tuple[Version, ...] = ("8.2", "8.6", "10", "11")

BANNERS = {"8.2": "v8201", "8.6": "v8603", "10": "v100200", "11": "v110000] [b114"}

_COMMON = (
    "onnx saveEngine loadEngine warmUp duration iterations exportTimes exportProfile timingCacheFile noTF32"
)
_OLD = f"{_COMMON} fp16 int8 useCudaGraph noDataTransfers useSpinWait"
FLAGS = {
    "8.2": f"{_OLD} workspace minTiming buildOnly",
    "8.6": f"{_OLD} memPoolSize skipInference",
    "10": f"{_OLD} memPoolSize skipInference stronglyTyped",
    "11": f"{_COMMON} noCudaGraph includeDataTransfers noSpinWait memPoolSize skipInference",
}

_SUMMARY_82 = """\
[06/12/2022-22:34:00] [I] Warmup completed 12 queries over 500 ms
[06/12/2022-22:34:00] [I] Timing trace has 60 queries over 3.01 s
[06/12/2022-22:34:00] [I]
[06/12/2022-22:34:00] [I] === Trace details ===
[06/12/2022-22:34:00] [I] Trace averages of 10 runs:
[06/12/2022-22:34:00] [I] Average on 10 runs - GPU latency: {ms} ms - Host latency: 99 ms (end to end 99 ms)
[06/12/2022-22:34:00] [I]
[06/12/2022-22:34:00] [I] === Performance summary ===
[06/12/2022-22:34:00] [I] Throughput: 88.3 qps
[06/12/2022-22:34:00] [I] Latency: min = 90 ms, max = 99 ms, mean = 95 ms, median = 95 ms, percentile(99%) = 98 ms
[06/12/2022-22:34:00] [I] End-to-End Host Latency: min = 91 ms, max = 99 ms, mean = 96 ms, median = 96 ms, percentile(99%) = 98 ms
[06/12/2022-22:34:00] [I] Enqueue Time: min = 1.1 ms, max = 2 ms, mean = 1.3 ms, median = 1.2 ms, percentile(99%) = 1.9 ms
[06/12/2022-22:34:00] [I] H2D Latency: min = 0.1 ms, max = 0.2 ms, mean = 0.1 ms, median = 0.1 ms, percentile(99%) = 0.2 ms
[06/12/2022-22:34:00] [I] GPU Compute Time: min = {low} ms, max = {high} ms, mean = {ms} ms, median = {ms} ms, percentile(99%) = {high} ms
[06/12/2022-22:34:00] [I] D2H Latency: min = 0.01 ms, max = 0.1 ms, mean = 0.02 ms, median = 0.02 ms, percentile(99%) = 0.1 ms
[06/12/2022-22:34:00] [I] Total Host Walltime: 3.01 s
[06/12/2022-22:34:00] [I] Total GPU Compute Time: 2.99 s
[06/12/2022-22:34:00] [W] * Throughput may be bound by Enqueue Time rather than GPU Compute and the GPU may be under-utilized.
[06/12/2022-22:34:00] [I] Explanations of the performance metrics are printed in the verbose logs.
"""

_SUMMARY = """\
[10/03/2024-10:47:59] [I] Warmup completed 12 queries over 500 ms
[10/03/2024-10:47:59] [I] Timing trace has 60 queries over 3.01 s
[10/03/2024-10:47:59] [I]
[10/03/2024-10:47:59] [I] === Performance summary ===
[10/03/2024-10:47:59] [I] Throughput: 130.298 qps
[10/03/2024-10:47:59] [I] Latency: min = 90 ms, max = 99 ms, mean = 95 ms, median = 95 ms, percentile(90%) = 97 ms, percentile(95%) = 98 ms, percentile(99%) = 98 ms
[10/03/2024-10:47:59] [I] Enqueue Time: min = 1 ms, max = 2 ms, mean = 1 ms, median = 1 ms, percentile(90%) = 1 ms, percentile(95%) = 1 ms, percentile(99%) = 2 ms
[10/03/2024-10:47:59] [I] H2D Latency: min = 0.1 ms, max = 0.1 ms, mean = 0.1 ms, median = 0.1 ms, percentile(90%) = 0.1 ms, percentile(95%) = 0.1 ms, percentile(99%) = 0.1 ms
[10/03/2024-10:47:59] [I] GPU Compute Time: min = {low} ms, max = {high} ms, mean = {ms} ms, median = {ms} ms, percentile(90%) = {high} ms, percentile(95%) = {high} ms, percentile(99%) = {high} ms
[10/03/2024-10:47:59] [I] D2H Latency: min = 0.1 ms, max = 0.1 ms, mean = 0.1 ms, median = 0.1 ms, percentile(90%) = 0.1 ms, percentile(95%) = 0.1 ms, percentile(99%) = 0.1 ms
[10/03/2024-10:47:59] [I] Total Host Walltime: 3.00082 s
[10/03/2024-10:47:59] [I] Total GPU Compute Time: 2.96536 s
[10/03/2024-10:47:59] [I] Explanations of the performance metrics are printed in the verbose logs.
"""


def summary(version: Version, ms: float) -> str:
    """What is printed after timing."""
    text = _SUMMARY_82 if version == "8.2" else _SUMMARY
    return text.format(ms=ms, low=round(0.9 * ms, 6), high=round(1.5 * ms, 6))


def write_stand_in(path: Path, version: Version, *, exports_times: bool = True, fails_on: str = "") -> Path:
    """Write the program.

    A network takes 1 ms for each 100,000 bytes of its file; under CUDA graphs 0.1 ms less. Options that
    the generation does not know are refused, as trtexec does.

    Args:
        path: Where.
        version: Generation.
        exports_times: Whether it has `--exportTimes`.
        fails_on: A network whose name or content holds this text cannot be parsed.
    """
    flags = FLAGS[version].split()
    if not exports_times:
        flags.remove("exportTimes")
    path.write_text(
        f"""#!{sys.executable}
import json, os, sys
FLAGS = {flags!r}
BANNER = "[TensorRT {BANNERS[version]}]"
print("&&&& RUNNING TensorRT.trtexec " + BANNER + " # " + " ".join(sys.argv))
if "--help" in sys.argv:
    print("=== Model Options ===")
    for flag in FLAGS:
        print("  --" + flag + "=<value>    Does what it says (default = disabled)")
    sys.exit(0)
options = {{}}
for argument in sys.argv[1:]:
    name, _, value = argument.lstrip("-").partition("=")
    if name not in FLAGS:
        print("[E] Unknown option: " + argument)
        print("&&&& FAILED TensorRT.trtexec " + BANNER)
        sys.exit(1)
    options[name] = value
with open(os.path.join(os.path.dirname(sys.argv[0]), "calls.jsonl"), "a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + chr(10))
source = options.get("onnx") or options["loadEngine"]
content = open(source, "rb").read()
if {fails_on!r} and {fails_on!r}.encode() in content:
    print("[E] [TRT] ModelImporter.cpp:780: ERROR: Assertion failed: unsupported")
    print("[E] Failed to parse onnx file")
    print("&&&& FAILED TensorRT.trtexec " + BANNER)
    sys.exit(1)
ms = round(len(content) / 1e5, 4)
has_graph = "useCudaGraph" in options if {version != "11"} else "noCudaGraph" not in options
ms = round(ms - 0.1, 4) if has_graph else ms
if "saveEngine" in options:
    open(options["saveEngine"], "wb").write(content)
if "exportTimes" in options:
    runs = [{{"startComputeMs": 40.0 * i, "endComputeMs": 40.0 * i + ms, "h2dMs": 0.1,
              "computeMs": 50.0 if 40 * i < 500 else ms, "d2hMs": 0.1, "latencyMs": 99.0}} for i in range(60)]
    open(options["exportTimes"], "w").write(json.dumps(runs))
text = {summary(version, 1.0).replace("1.0 ms", "@MS@ ms")!r}
print(text.replace("@MS@", str(ms)))
print("&&&& PASSED TensorRT.trtexec " + BANNER)
""",
        encoding="utf-8",
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path
