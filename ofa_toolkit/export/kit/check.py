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
import io
import json
import os
import re
import shutil
import subprocess
import sys
from typing import Any, Dict, List, Optional, Set, Tuple

Json = Dict[str, Any]

LIMITS = {"fp32": 1e-3, "fp16": 2e-2, "int8": 2.5e-1}
"""Largest difference of a logit over the largest logit, between the engine and the fp32 network."""

MOST_WIDER_PERCENT = 10.0
"""MACs that a builder which chooses by speed may leave in a wider type than was promised."""

WIDTHS = {"int8": 8, "fp16": 16, "bf16": 16, "fp32": 32}


class CheckError(Exception):
    """The engine, the kit or the board is not as it should be: one line."""


# ------------------------------------------------------------------------------------- precision of layers
#
# The inspector tells the type of a tensor as `Format/Datatype` up to TensorRT 10, as `Datatype` from 11 on,
# as `DataType` of the engine's own inputs and outputs. Where the compiler back end made a layer, its type is
# one of `correlation`, `gemm`, `runtime_fusion`, `kgen`, and its name an ONNX node's with a suffix
# (`stem.conv_myl0_4`) or the operations it fused (`__myl_CorrMulAddMinMaxMul_myl0_1`). Sources:
# github.com/NVIDIA/TensorRT .agents/skills/trt-perf-analysis (11.1: the schema, scripts/trt_perf) and
# tools/experimental/trt-engine-explorer (8.6 to 10: recorded lists); a list by TensorRT for RTX 1.7.1.

_MOVES = re.compile(r"^(Reformatting CopyNode|copied_|__myl_((Move|Tran|Resh|Cast|Slic|Conc)+)_)")
_MOVE_TYPES = ("noop", "reformat", "shuffle", "reshape", "cast", "signal", "wait", "shape_call")
_WEIGHTED = re.compile(r"conv|correlation|gemm|mat(rix_?)?mul|matrix_?multiply|fully_?connected|fprop", re.I)
_FUSED = re.compile(r"Corr|Conv|Gemm|Matm|Dot|Fc|MulSum")
_CONVERTS = re.compile(r"^__myl_\w*?(Cast|Quan)\w*?(?:" + _FUSED.pattern + ")")
_SUFFIX = re.compile(r"(_U\d+)?_myl\d+(_\d+)?$")
_TYPES = (
    ("bf16", re.compile(r"bf(loat)?16", re.I)),
    ("int8", re.compile(r"int8|^i8", re.I)),
    ("fp16", re.compile(r"fp16|float16|half|^f16", re.I)),
    ("fp32", re.compile(r"fp32|float(32)?(?!\d)|^f32", re.I)),
)


def precision_of(text: str) -> str:
    """A precision in the words of any generation, or `unknown`."""
    return next((name for name, words in _TYPES if words.search(text)), "unknown")


class EngineLayer:
    """One entry of the engine inspector's list.

    Attributes:
        name: As the builder calls it.
        inputs: Name and precision of every tensor it reads, what it multiplies first.
        outputs: The same of what it writes.
        capacity: Number of layers with weights that it may stand for.
        nodes: Names of the network's nodes that it is said to be made of.
        precision: Precision that it computes in, or `unknown`.
    """

    def __init__(self, entry: Json) -> None:
        self.name = str(entry.get("Name", "?"))
        self.inputs = _tensors(entry, "Inputs")
        self.outputs = _tensors(entry, "Outputs")
        kind, tactic = str(entry.get("LayerType", "")), str(entry.get("TacticName") or "")
        text = " ".join([kind, str(entry.get("ParameterType", "")), tactic])
        weights = entry.get("Weights") or entry.get("ConvWeights")
        is_move = kind.lower() in _MOVE_TYPES or bool(_MOVES.search(self.name))
        if "ForeignNode[" in self.name:
            self.capacity = 10**6
        elif is_move:
            self.capacity = 0
        else:
            fused = len(_FUSED.findall(self.name)) if self.name.startswith("__myl_") else 0
            self.capacity = max(fused, int(bool(weights) or bool(_WEIGHTED.search(text))))
        self.nodes = set() if is_move else _words(self.name)
        if self.capacity:  # what was split off a layer keeps its metadata
            self.nodes |= _words(str(entry.get("Metadata") or ""))
        self.precision = self._precision(entry, weights, tactic)

    def _precision(self, entry: Json, weights: Any, tactic: str) -> str:
        read = [kind for _, kind in self.inputs]
        if "ForeignNode[" in self.name:  # what is inside is not told: the widest that goes in or comes out
            return max(read + [kind for _, kind in self.outputs], key=lambda kind: WIDTHS.get(kind, 99))
        constants = [kind for _, kind in _tensors(entry, "Constants") if kind in WIDTHS]
        if constants and _CONVERTS.search(self.name):  # what it reads is converted before it is multiplied
            return min(constants, key=lambda kind: WIDTHS[kind])
        stored = precision_of(str(weights.get("Type"))) if isinstance(weights, dict) else "unknown"
        kernel = re.search(r"_((?:bf16|i8|f16|f32)(?:bf16|i8|f16|f32))", tactic)
        told = [*read[:1], stored, precision_of(kernel.group(1)) if kernel else "unknown"]
        # Types of tensors of open shapes are not told.
        return next((kind for kind in told if kind != "unknown"), "unknown")


def _tensors(entry: Json, key: str) -> List[Tuple[str, str]]:
    """(name, precision) of an entry's tensors."""
    keys = ("Format/Datatype", "Datatype", "DataType", "Format")
    return [
        (str(tensor.get("Name", "")), precision_of(" ".join(str(tensor.get(k, "")) for k in keys)))
        for tensor in entry.get(key) or []
        if isinstance(tensor, dict)
    ]


def _words(text: str) -> Set[str]:
    """What may be names of nodes in a layer's name, `{ForeignNode[a...b]}` and `[ONNX Layer: a]` included."""
    return {_SUFFIX.sub("", word) for word in re.findall(r"[\w./:-]+", text.replace("...", " "))}


def read_layers(document: Any) -> List[EngineLayer]:
    """The layers that the engine inspector lists."""
    layers = document.get("Layers") if isinstance(document, dict) else document
    if not isinstance(layers, list) or not layers:
        raise CheckError("The engine inspector lists no layers.")
    if not any(isinstance(layer, dict) for layer in layers):
        raise CheckError("The engine inspector gives names only; build with profilingVerbosity=detailed.")
    return [EngineLayer(layer) for layer in layers if isinstance(layer, dict)]


def match_layers(promised: List[Json], layers: List[EngineLayer]) -> Dict[str, EngineLayer]:
    """Which layer of the engine computes each convolution and linear layer of the network.

    By name where the builder gives one; the others follow from order and from what they read.
    """
    found = {}  # type: Dict[str, int]
    for node in promised:
        named = [i for i, layer in enumerate(layers) if node["name"] in layer.nodes]
        if named:  # of parts that one layer was split into the widest counts
            found[node["name"]] = max(
                named, key=lambda i: (layers[i].capacity > 0, WIDTHS.get(layers[i].precision, 99))
            )
    sources = _sources(layers, set(found.values()))
    free = [layer.capacity for layer in layers]
    for index in found.values():
        free[index] -= 1
    has_name = set(found.values())
    unnamed = [node for node in promised if node["name"] not in found]
    furthest = [0]

    def assign(position: int) -> bool:
        furthest[0] = max(furthest[0], position)
        if position == len(unnamed):
            return True
        node = unnamed[position]
        read = {found[name] for name in node["reads"]}
        after = [
            i
            for i in range(len(layers))
            if i not in has_name and i not in read and sources[i] <= read and bool(sources[i]) == bool(read)
        ]
        for index in after + sorted(read):  # last: fused with what it reads
            if free[index] > 0:
                found[node["name"]] = index
                free[index] -= 1
                if assign(position + 1):
                    return True
                free[index] += 1
        found.pop(node["name"], None)
        return False

    if not assign(0):
        raise CheckError(
            "No layer of the engine can be matched with '%s' of the network, by name or by what it reads."
            % unnamed[furthest[0]]["name"]
        )
    return {name: layers[index] for name, index in found.items()}


def _sources(layers: List[EngineLayer], named: Set[int]) -> List[Set[int]]:
    """The layers with weights whose results each layer multiplies, without another one between."""
    written = {}  # type: Dict[str, Set[int]]
    sources = []
    for index, layer in enumerate(layers):
        read = [written.get(name, set()) for name, _ in layer.inputs]
        sources.append(read[0] if read else set())
        is_weighted = layer.capacity > 0 or index in named
        passed = {index} if is_weighted else set().union(*read)  # type: Set[int]
        written.update((name, passed) for name, _ in layer.outputs)
    return sources


def check_precision(document: Any, promised: List[Json], chooses: bool) -> str:
    """Raise `CheckError` unless an engine computes each layer in the precision it was promised in.

    Args:
        document: The engine inspector's answer.
        promised: Of each convolution and linear layer of the network: its name, MACs, precision, the layers
            it reads (`reads`), and whether any precision will do (`is_free`).
        chooses: Whether the builder chooses types by speed, so that single layers may be wider.

    Returns:
        How many layers are in which precision, and which are wider than promised.
    """
    layers = match_layers(promised, read_layers(document))
    counts = {}  # type: Dict[str, int]
    for layer in layers.values():
        counts[layer.precision] = counts.get(layer.precision, 0) + 1
    told = ", ".join("%d in %s" % (counts[kind], kind) for kind in sorted(counts))
    text = "%d layers with weights: %s" % (len(layers), told)
    broken = [
        node
        for node in promised
        if not node["is_free"] and layers[node["name"]].precision != node["precision"]
    ]
    if not broken:
        return text
    names = ", ".join("'%s' in %s" % (n["name"], layers[n["name"]].precision) for n in broken)
    share = 100.0 * sum(n["macs"] for n in broken) / sum(n["macs"] for n in promised)
    text += "; not as promised: %s (%.1f %% of the MACs)" % (names, share)
    is_wider = all(WIDTHS.get(layers[n["name"]].precision, 0) > WIDTHS[n["precision"]] for n in broken)
    if not (chooses and is_wider and share <= MOST_WIDER_PERCENT):
        raise CheckError("'%s' was promised, but the engine has %s." % (broken[0]["precision"], text))
    return text


# ---------------------------------------------------------------------------------------------- the kit


def read_kit(folder: str) -> Json:
    """The kit's description, its files checked."""
    try:
        with open(os.path.join(folder, "kit.json"), encoding="utf-8") as file:
            kit = json.load(file)  # type: Json
    except (OSError, ValueError) as error:
        raise CheckError("No kit here: %s" % error) from error
    if kit.get("format") != "ofa-toolkit/build-kit" or kit.get("version") != 2:
        raise CheckError("kit.json is not of format 'ofa-toolkit/build-kit', version 2.")
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
    with open(os.path.join(folder, log), "w", encoding="utf-8") as file:
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
    with open(path, encoding="utf-8") as file:
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
        with open(layers, encoding="utf-8") as file:
            document = json.load(file)
        result["layers"] = check_precision(document, kit["layers"], kit["builder_chooses"])
    else:
        result["layers"] = "not checked: TensorRT before 8.2 has no engine inspector"
    run([program] + kit["run"], folder, "run.log")
    error = compare_outputs(
        read_outputs(os.path.join(folder, "outputs.json")), kit["expected"], kit["precision"]
    )
    result["max_relative_error"] = error
    return result


def say(text: str, stream: Any) -> None:
    """Print a line also where the terminal has no letters beyond ASCII."""
    encoding = stream.encoding or "ascii"
    print(text.encode(encoding, "backslashreplace").decode(encoding), file=stream)


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
        say("Error: %s" % error, sys.stderr)
        return 1
    with open(os.path.join(folder, "result.json"), "w", encoding="utf-8") as file:
        json.dump(result, file, indent=2)
    say("TensorRT %s; %s" % (result["tensorrt"], result["layers"]), sys.stdout)
    print("outputs differ by %.1e of the largest" % result["max_relative_error"])
    times = result["gpu_compute"]
    print("GPU compute: " + (", ".join("%s %.3f" % item for item in sorted(times.items())) or "not printed"))
    return 0


if __name__ == "__main__":
    # A board without a locale has an ASCII terminal.
    sys.stdout = io.TextIOWrapper(sys.stdout.buffer, sys.stdout.encoding, "backslashreplace")
    sys.exit(main())
