"""Builds the engine of a kit on the board it lies on and checks it; Python 3.6, standard library only.

    python3 check.py                 # build, check the precision of every layer, compare outputs, time
    python3 check.py --print         # only print the commands
    python3 check.py --trtexec PATH  # where trtexec is not on the PATH

Writes `result.json`; exits 1 when the engine is not what the kit promises.
"""

# No `from __future__ import annotations`, no dataclass, no `subprocess.run(text=...)`: boards with JetPack 4
# have Python 3.6. Nothing outside the standard library may be imported here.
import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from typing import Any, Dict, List, Optional, Tuple

Json = Dict[str, Any]

WEIGHTED = ("conv", "gemm", "matrixmultiply", "matmul", "fullyconnected", "fc")
LIMITS = {"fp32": 1e-3, "fp16": 2e-2, "int8": 2.5e-1}
"""Largest difference of a logit over the largest logit, between the engine and the fp32 network."""

LEAST_SHARE = 0.5
"""Share of weighted layers that must compute in the promised precision. The builder may keep single ones
in a wider type where that is faster; if most of them are, the promise is broken."""


class CheckError(Exception):
    """The engine, the kit or the board is not as it should be: one line."""


# ------------------------------------------------------------------------------------- precision of layers


def layer_precisions(document: Json) -> List[Tuple[str, str]]:
    """(name, precision) of every layer with weights, from what the engine inspector says.

    Reads the JSON of TensorRT 8.2 to 10 (`Format/Datatype`) and of 11 (`DataType` and `Format` apart).
    """
    layers = document.get("Layers")
    if not isinstance(layers, list) or not layers:
        raise CheckError("The engine inspector lists no layers.")
    if not any(isinstance(layer, dict) for layer in layers):
        raise CheckError("The engine inspector gives names only; build with profilingVerbosity=detailed.")
    weighted = [layer for layer in layers if isinstance(layer, dict) and _is_weighted(layer)]
    found = [(str(layer.get("Name", "?")), _precision_of(layer)) for layer in weighted]
    if not found:
        raise CheckError("The engine inspector lists no layer with weights.")
    return found


def check_precision(document: Json, precision: str) -> str:
    """Raise `CheckError` unless most layers with weights compute in a precision; says how many do."""
    found = layer_precisions(document)
    counts = {}  # type: Dict[str, int]
    for _, kind in found:
        counts[kind] = counts.get(kind, 0) + 1
    told = ", ".join("%d in %s" % (counts[kind], kind) for kind in sorted(counts))
    text = "%d layers with weights: %s" % (len(found), told)
    if counts.get(precision, 0) < LEAST_SHARE * len(found):
        raise CheckError("'%s' was promised, but the engine has %s." % (precision, text))
    return text


def _is_weighted(layer: Json) -> bool:
    kind = " ".join(str(layer.get(key, "")) for key in ("LayerType", "ParameterType")).lower()
    if "reformat" in kind or "shuffle" in kind:
        return False
    if "Weights" in layer or any(word in kind.replace("_", "") for word in WEIGHTED):
        return True
    tactic = str(layer.get("TacticName", "")).lower()
    return any(word in tactic for word in ("gemm", "conv", "fprop"))


def _precision_of(layer: Json) -> str:
    """What a layer computes in: the type of what it reads, which decides the arithmetic."""
    read = [_type_text(tensor) for tensor in layer.get("Inputs", []) if isinstance(tensor, dict)]
    first = read[0] if read else ""
    for name, words in (("int8", ("int8",)), ("fp16", ("fp16", "half")), ("bf16", ("bf16", "bfloat16"))):
        if any(word in first for word in words):
            return name
    if any(word in first for word in ("fp32", "float")):
        return "fp32"
    return "unknown"


def _type_text(tensor: Json) -> str:
    return " ".join(str(tensor.get(key, "")) for key in ("Format/Datatype", "DataType", "Format")).lower()


# ---------------------------------------------------------------------------------------------- the kit


def read_kit(folder: str) -> Json:
    """The kit's description, its files checked."""
    try:
        with open(os.path.join(folder, "kit.json")) as file:
            kit = json.load(file)  # type: Json
    except (OSError, ValueError) as error:
        raise CheckError("No kit here: %s" % error) from error
    if kit.get("format") != "ofa-toolkit/build-kit" or kit.get("version") != 1:
        raise CheckError("kit.json is not of format 'ofa-toolkit/build-kit', version 1.")
    for name, digest in kit["files"].items():
        with open(os.path.join(folder, name), "rb") as binary:
            if hashlib.sha256(binary.read()).hexdigest() != digest:
                raise CheckError("'%s' was changed since the kit was written; copy the kit again." % name)
    return kit


def find_trtexec(given: Optional[str]) -> str:
    """Path of trtexec: given, on the PATH, or where JetPack puts it."""
    candidates = [given] if given else [shutil.which("trtexec"), "/usr/src/tensorrt/bin/trtexec"]
    for candidate in candidates:
        if candidate and os.access(candidate, os.X_OK):
            return candidate
    raise CheckError("trtexec was not found; give its path with --trtexec.")


def run(command: List[str], folder: str, log: str) -> str:
    """Run a command in the kit's folder; its output goes to a file too."""
    try:
        process = subprocess.Popen(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
        )
    except OSError as error:
        raise CheckError("Cannot run '%s': %s" % (command[0], error)) from error
    output, _ = process.communicate()
    text = output.decode("utf-8", "replace")
    with open(os.path.join(folder, log), "w") as file:
        file.write(text)
    if process.returncode != 0:
        lines = [line.strip() for line in text.splitlines() if "[E]" in line] or text.splitlines()
        raise CheckError(
            "trtexec failed (%d), see %s: %s" % (process.returncode, log, " | ".join(lines[-3:]))
        )
    return text


def check_version(kit: Json, text: str) -> str:
    """The TensorRT version trtexec prints; it must be of the generation the commands are for."""
    match = re.search(r"TensorRT v(\d+)\]", text)
    if match is None:
        return "unknown"
    digits = match.group(1)
    # 8201 is 8.2.1, 100300 is 10.3.0: one digit a number up to 8, two from 9 on.
    numbers = (
        (int(digits[0]), int(digits[1]), int(digits[2:]))
        if len(digits) == 4
        else (int(digits[:-4]), int(digits[-4:-2]), int(digits[-2:]))
    )
    found = ".".join(str(number) for number in numbers)
    low, high = kit["trtexec_versions"]
    if list(numbers[:2]) < low or (high is not None and list(numbers[:2]) >= high):
        raise CheckError(
            "This board has TensorRT %s, the kit is for %s: export again for its generation."
            % (found, kit["generation"])
        )
    return found


# ---------------------------------------------------------------------------------------------- results


def read_outputs(path: str) -> List[float]:
    """Values that `trtexec --exportOutput` wrote."""
    with open(path) as file:
        document = json.load(file)
    return [float(value) for value in document[0]["values"]]


def compare_outputs(found: List[float], expected: List[float], precision: str) -> float:
    """Largest difference over the largest expected value; raises `CheckError` beyond the limit."""
    if len(found) != len(expected):
        raise CheckError("The engine gives %d values; the network gives %d." % (len(found), len(expected)))
    scale = max(abs(value) for value in expected) or 1.0
    error = max(abs(one - other) for one, other in zip(found, expected)) / scale
    if not error <= LIMITS[precision]:
        raise CheckError(
            "The engine's outputs differ from the network's by %.1e of the largest; %s allows %.0e."
            % (error, precision, LIMITS[precision])
        )
    return error


def parse_times(text: str) -> Json:
    """GPU compute time in ms from trtexec's summary."""
    line = re.search(r"GPU Compute(?: Time)?: ([^\n]*)", text)
    pairs = re.findall(r"(min|max|mean|median) = ([0-9.eE+-]+) ms", line.group(1)) if line else []
    return {name + "_ms": float(value) for name, value in pairs}


def check(folder: str, trtexec: Optional[str]) -> Json:
    """Build, look into the engine, run it on the kit's input, and time it."""
    kit = read_kit(folder)
    program = find_trtexec(trtexec)
    text = run([program] + kit["build"], folder, "build.log")
    result = {"format": "ofa-toolkit/build-kit-result", "version": 1, "kit": kit["files"]}  # type: Json
    result["tensorrt"] = check_version(kit, text)
    result["gpu_compute"] = parse_times(text)
    layers = os.path.join(folder, "layers.json")
    if kit["has_inspector"]:
        with open(layers) as file:
            result["layers"] = check_precision(json.load(file), kit["precision"])
    else:
        result["layers"] = "not checked: TensorRT before 8.2 has no engine inspector"
    run([program] + kit["run"], folder, "run.log")
    error = compare_outputs(
        read_outputs(os.path.join(folder, "outputs.json")), kit["expected"], kit["precision"]
    )
    result["max_relative_error"] = error
    return result


def main(arguments: Optional[List[str]] = None) -> int:
    """Run the check and print what it found."""
    parser = argparse.ArgumentParser(description="Build the engine of this kit and check it.")
    parser.add_argument("--trtexec", help="path of trtexec")
    parser.add_argument("--print", action="store_true", dest="only_print", help="only print the commands")
    options = parser.parse_args(arguments)
    folder = os.path.dirname(os.path.abspath(__file__))
    try:
        if options.only_print:
            kit = read_kit(folder)
            print("trtexec " + " ".join(kit["build"]))
            print("trtexec " + " ".join(kit["run"]))
            return 0
        result = check(folder, options.trtexec)
    except CheckError as error:
        print("Error: %s" % error, file=sys.stderr)
        return 1
    with open(os.path.join(folder, "result.json"), "w") as file:
        json.dump(result, file, indent=2)
    print("TensorRT %s; %s" % (result["tensorrt"], result["layers"]))
    print("outputs differ by %.1e of the largest" % result["max_relative_error"])
    times = result["gpu_compute"]
    print("GPU compute: " + (", ".join("%s %.3f" % item for item in sorted(times.items())) or "not printed"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
