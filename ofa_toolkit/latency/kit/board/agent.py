"""Times the networks of a measuring kit on the board it lies on; Python 3.6, standard library only.

    python3 measure.py            # everything; run it again after a crash or a reboot, it goes on
    python3 measure.py --help

It drives NVIDIA's `trtexec`, or an installed `onnxruntime`. Every result is one line appended to
`results.jsonl`; any prefix of that file is worth importing: `ofa-tk latency import results.jsonl`.
"""

# No `from __future__ import annotations`, no dataclass, no `subprocess.run(text=...)` in any of the parts:
# boards with JetPack 4 have Python 3.6. Nothing outside the standard library may be imported except, when it
# is asked for, onnxruntime (and the NumPy that comes with it). See `program` for what the parts may import.
import argparse
import hashlib
import json
import os
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from typing import Any, List, Optional

from ofa_toolkit.latency.kit.board.conditions import board, state
from ofa_toolkit.latency.kit.board.journal import (
    FORMAT_VERSION,
    RESULTS_FORMAT,
    AgentError,
    Journal,
    Json,
    read_text_whole,
)
from ofa_toolkit.latency.kit.board.onnxruntime import OnnxRuntime
from ofa_toolkit.latency.kit.board.trtexec import Trtexec, find_trtexec

REFERENCE_EVERY = 10


class Kit:
    """The networks to time: an unpacked folder, or the zip as it was downloaded."""

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self.archive = None if os.path.isdir(path) else zipfile.ZipFile(path)
            self.manifest = json.loads(self.read("kit.json").decode("utf-8"))  # type: Json
        except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise AgentError(f"No kit in '{path}': {error}") from error
        if self.manifest.get("format") != "ofa-toolkit/kit":
            raise AgentError(f"'{path}' holds no kit.json of ofa-toolkit.")

    def read(self, name: str) -> bytes:
        """Content of one file of the kit."""
        if self.archive is not None:
            return self.archive.read(name)
        with open(os.path.join(self.path, name), "rb") as file:
            return file.read()

    def network(self, probe: Json, precision: str, typed: bool, folder: str) -> str:
        """Put a probe's ONNX file into `folder`; `typed` asks for the one whose tensors have `precision`."""
        wanted = precision if typed and precision != "fp32" else "fp32"
        entry = probe["files"].get(wanted)
        if entry is None:
            raise AgentError(
                f"This trtexec has no --{precision} (TensorRT 11 takes the precision from the network) "
                f"and the kit holds no {precision} networks. Add --typed to: ofa-tk latency kit build"
            )
        content = self.read(entry["name"])
        if hashlib.sha256(content).hexdigest() != entry["sha256"]:
            raise AgentError("'{}' is damaged: copy the kit again.".format(entry["name"]))
        path = os.path.join(folder, "network.onnx")
        with open(path, "wb") as file:
            file.write(content)
        return path


def describe_board(given: Optional[str]) -> Json:
    """What this machine is and what it can time networks with."""
    description = board()
    description["trtexec"] = program = find_trtexec(given)
    try:
        description["trtexec_version"] = Trtexec(program, "fp32", False).version if program else None
    except AgentError as error:
        description["trtexec_version"], description["trtexec_error"] = None, str(error)
    try:
        description["onnxruntime"] = OnnxRuntime(1, None).version
    except AgentError as error:
        description["onnxruntime"], description["onnxruntime_error"] = None, str(error)
    return description


def choose_backend(options: argparse.Namespace, precision: str) -> Any:
    """The back end that was asked for, or the first that is there."""
    if options.backend in ("auto", Trtexec.name):
        program = find_trtexec(options.trtexec)
        if program is not None:
            return Trtexec(program, precision, options.cuda_graph == "on")
        if options.backend != "auto" or options.trtexec:
            raise AgentError("trtexec was not found; give its path with --trtexec.")
    if options.backend == "auto":
        print("trtexec was not found; trying onnxruntime.", file=sys.stderr)
    return OnnxRuntime(options.threads, options.provider)


def remaining_time(seconds: List[float], num_left: int) -> str:
    """ETA, from the third probe on."""
    if len(seconds) < 3:
        return ""
    minutes = statistics.median(seconds) * num_left / 60.0
    return f", about {minutes:.0f} min left" if minutes >= 1 else ", less than a minute left"


def describe_session(kit: Kit, backend: Any, precision: str, options: argparse.Namespace) -> Json:
    """The line that opens each run."""
    machine = board()
    return {
        "type": "session",
        "format": RESULTS_FORMAT,
        "version": FORMAT_VERSION,
        "kit": kit.manifest["id"],
        "target": kit.manifest["target"],
        "space": kit.manifest["space"],
        "num_classes": kit.manifest["num_classes"],
        "batch_size": kit.manifest["batch_size"],
        "backend": backend.name,
        "backend_version": backend.version,
        "precision": precision,
        "arguments": backend.arguments,
        "cuda_graph": options.cuda_graph == "on" if backend.has_cuda_graph else None,
        "power_mode": machine["power_mode"],
        "governors": machine["governors"],
        "board": machine,
        "state": state(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def measure_all(kit: Kit, backend: Any, precision: str, journal: Journal, num_probes: Optional[int]) -> int:
    """Time every probe that has no result yet; returns the number of failures."""
    probes = kit.manifest["probes"][:num_probes]
    done = {entry["probe"] for entry in journal.of_type("result")}
    todo = [probe for probe in probes if probe["id"] not in done]
    print(f"{len(probes) - len(todo)} of {len(probes)} networks are measured.", file=sys.stderr)
    folder, seconds, num_failures = tempfile.mkdtemp(prefix="ofa-kit-"), [], 0  # type: str, List[float], int
    try:
        for position, probe in enumerate(todo):
            begin = time.time()
            entry = {"probe": probe["id"], "subnet": probe["subnet"], "precision": precision}  # type: Json
            try:
                network = kit.network(probe, precision, backend.typed, folder)
                entry.update(backend.measure(network, folder, keep_engine=position == 0))
                entry["type"] = "result"
            except RuntimeError as error:
                entry.update({"type": "failure", "error": str(error)[:2000]})
                num_failures += 1
            except AgentError:
                raise
            except Exception as error:  # onnxruntime raises its own classes for what it cannot load
                entry.update({"type": "failure", "error": f"{type(error).__name__}: {error}"[:2000]})
                num_failures += 1
            seconds.append(time.time() - begin)
            entry.update({"seconds": round(seconds[-1], 3), "state": state()})
            journal.append(entry)
            report = f"{entry['median_ms']:.3f} ms" if "median_ms" in entry else entry["error"]
            left = remaining_time(seconds, len(todo) - position - 1)
            number = len(probes) - len(todo) + position + 1
            print(f"[{number}/{len(probes)}] {probe['id']}: {report}{left}", file=sys.stderr)
            if (position + 1) % REFERENCE_EVERY == 0 or position + 1 == len(todo):
                repeat_reference(backend, folder, todo[0]["id"], journal)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return num_failures


def repeat_reference(backend: Any, folder: str, probe: str, journal: Journal) -> None:
    """Time the session's first network again, to see drift."""
    try:
        again = backend.repeat(folder)
    except RuntimeError as error:
        again = {"error": str(error)[:2000]}
    if again is not None:
        again.update({"type": "reference", "probe": probe, "state": state()})
        journal.append(again)


def hold(file: Any, kind: int) -> bool:
    """Lock a file unless another process has it; the system lets go of it when its holder dies."""
    import fcntl

    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def measure_in_background(options: argparse.Namespace, arguments: List[str]) -> int:
    """Start measuring in a process that outlives this one, or join the one that runs; print its results.

    Returns:
        0 once every network has a result or a failure, 1 after an error of ours (printed on stderr), 4 when
        the process ended before.
    """
    import fcntl

    wanted = [probe["id"] for probe in Kit(options.kit).manifest["probes"][: options.num_probes]]
    log_path = options.out + ".log"
    with open(options.out + ".lock", "a") as lock:
        if hold(lock, fcntl.LOCK_EX):
            command = [sys.executable, os.path.abspath(sys.argv[0])]
            with open(log_path, "wb") as log:
                subprocess.Popen(
                    command + [word for word in arguments if word != "--background"],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    pass_fds=[lock.fileno()],
                )
    follow(options.out)
    journal = Journal(options.out, read_only=True)
    timed = {line["probe"] for kind in ("result", "failure") for line in journal.of_type(kind)}
    log_lines = read_text_whole(log_path).splitlines()
    errors = [line for line in log_lines if line.startswith("Error: ")]
    print("\n".join(errors or log_lines[-3:]), file=sys.stderr)
    if errors:
        return 1
    return 0 if timed.issuperset(wanted) else 4


def follow(path: str) -> None:
    """Print the lines of a growing file until the process that writes them has ended."""
    import fcntl

    position, is_running = 0, True
    while is_running:
        with open(path + ".lock", "a") as lock:
            is_running = not hold(lock, fcntl.LOCK_SH)
        if os.path.exists(path):
            with open(path, "rb") as file:
                file.seek(position)
                content = file.read()
            whole = content[: content.rfind(b"\n") + 1]
            position += len(whole)
            sys.stdout.write(whole.decode("utf-8", "replace"))
            sys.stdout.flush()
        if is_running:
            time.sleep(0.5)


def parse_arguments(arguments: Optional[List[str]]) -> argparse.Namespace:
    """Command line."""
    own_folder = os.path.dirname(os.path.abspath(sys.argv[0]))
    parser = argparse.ArgumentParser(description="Time the networks of this measuring kit on this machine.")
    add = parser.add_argument
    add("--kit", default=own_folder, help="folder or zip of the kit (default: this file's folder)")
    add("--out", default="results.jsonl", help="file to append to (default: %(default)s)")
    add("--backend", choices=["auto", "trtexec", "onnxruntime"], default="auto")
    add("--trtexec", help="path of trtexec")
    add("--precision", choices=["fp32", "fp16", "int8"], help="default: what the kit was built for")
    add("--cuda-graph", choices=["on", "off"], default="off", help="default: %(default)s")
    add("--threads", type=int, default=1, help="threads of onnxruntime (default: %(default)s)")
    add("--provider", help="provider of onnxruntime (default: CPUExecutionProvider)")
    add("--num-probes", type=int, help="stop after that many networks")
    add("--background", action="store_true", help="outlive this connection; print the lines of the results")
    add("--describe", action="store_true", help="print what this machine can time networks with, and stop")
    return parser.parse_args(arguments)


def main(arguments: Optional[List[str]] = None) -> int:
    """Run; 0 when every network was timed, 1 otherwise, 130 when interrupted."""
    options = parse_arguments(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if options.describe:
            print(json.dumps(describe_board(options.trtexec)))
            return 0
        if options.background:
            return measure_in_background(options, sys.argv[1:] if arguments is None else arguments)
        kit = Kit(options.kit)
        precision = options.precision or kit.manifest["precision"]
        backend = choose_backend(options, precision)
        if backend.only_precision and precision != backend.only_precision:
            if options.precision:
                raise AgentError(f"{backend.name} is timed in {backend.only_precision} only.")
            precision = backend.only_precision
        journal = Journal(options.out)
        session = describe_session(kit, backend, precision, options)
        journal.check_conditions(session)
        journal.append(session)
        num_failures = measure_all(kit, backend, precision, journal, options.num_probes)
    except AgentError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted; run the same command again to go on.", file=sys.stderr)
        return 130
    device = "" if kit.manifest.get("is_for_device", True) else " --device NAME"
    results = shlex.quote(options.out)
    print(f"Next, on your workstation: ofa-tk latency import {results}{device}", file=sys.stderr)
    return 1 if num_failures else 0


if __name__ == "__main__":
    sys.exit(main())
