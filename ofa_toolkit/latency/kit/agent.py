"""Times the networks of a measuring kit on the board it lies on; Python 3.6, standard library only.

    python3 measure.py            # everything; run it again after a crash or a reboot, it goes on
    python3 measure.py --help

It drives NVIDIA's `trtexec`, or an installed `onnxruntime`. Every result is one line appended to
`results.jsonl`; any prefix of that file is worth importing: `ofa-tk latency import results.jsonl`.
"""

# No `from __future__ import annotations`, no dataclass, no `subprocess.run(text=...)`: boards with JetPack 4
# have Python 3.6. This file must not import anything outside the standard library except, when it is asked
# to use it, onnxruntime (and the NumPy that comes with it).
import argparse
import glob
import hashlib
import json
import os
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from typing import Any, Callable, Dict, List, Optional, Tuple

RESULTS_FORMAT = "ofa-toolkit/kit-results"
FORMAT_VERSION = 1
REFERENCE_EVERY = 10
WARM_UP_MS = 500
FIXED_CONDITIONS = (
    "kit",
    "backend",
    "backend_version",
    "precision",
    "batch_size",
    "arguments",
    "power_mode",
    "governors",
)
Json = Dict[str, Any]


class AgentError(Exception):
    """What the user can mend: one line."""


# ---------------------------------------------------------------------------------------------- the kit


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


# ------------------------------------------------------------------------------------------- conditions


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


# --------------------------------------------------------------------------------------------- trtexec


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


def read_text_whole(path: str) -> str:
    """A text file of any size."""
    with open(path, "r", encoding="utf-8", errors="replace") as file:
        return file.read()


def tail(text: str, num_lines: int = 4) -> str:
    """The lines that say what went wrong, else the last ones."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "[E]" in line]
    return " | ".join((errors or lines)[-num_lines:])


# ----------------------------------------------------------------------------------------- onnxruntime


class OnnxRuntime:
    """Times each network in an installed onnxruntime."""

    name = "onnxruntime"
    typed = False

    def __init__(self, num_threads: int, provider: Optional[str]) -> None:
        try:
            import numpy as np
            import onnxruntime
        except ImportError as error:
            raise AgentError(f"onnxruntime cannot be used here: {error}.") from error
        self.numpy, self.onnxruntime = np, onnxruntime
        self.version = onnxruntime.__version__
        self.num_threads = num_threads
        available = onnxruntime.get_available_providers()
        self.provider = provider or "CPUExecutionProvider"
        if self.provider not in available:
            raise AgentError(
                "onnxruntime has no '{}' here; it has {}.".format(self.provider, ", ".join(available))
            )
        self.arguments = ["provider=" + self.provider, f"threads={num_threads}"]
        self._reference = None  # type: Optional[Callable[[], Any]]

    def measure(self, network: str, folder: str, keep_engine: bool) -> Json:
        """Load and time; a kept session is timed again by `repeat`."""
        options = self.onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.num_threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        session = self.onnxruntime.InferenceSession(network, options, providers=[self.provider])
        feed = {}
        for value in session.get_inputs():
            kind = self.numpy.float16 if "float16" in value.type else self.numpy.float32
            shape = [size if isinstance(size, int) else 1 for size in value.shape]
            feed[value.name] = self.numpy.random.RandomState(0).standard_normal(shape).astype(kind)

        def run() -> Any:
            return session.run(None, feed)

        if keep_engine:
            self._reference = run
        return self._time(run)

    def repeat(self, folder: str) -> Optional[Json]:
        """Time the kept session again."""
        return self._time(self._reference) if self._reference is not None else None

    def _time(self, run: Callable[[], Any]) -> Json:
        times = []  # type: List[float]
        start = time.perf_counter()
        for _ in range(5):
            run()
        deadline = time.perf_counter() + max(1.0, 2.0 * (time.perf_counter() - start))
        while len(times) < 30 or (time.perf_counter() < deadline and len(times) < 2000):
            begin = time.perf_counter()
            run()
            times.append(1e3 * (time.perf_counter() - begin))
        return summarise(times)


# ------------------------------------------------------------------------------------------- the journal


class Journal:
    """An append-only file of JSON lines: what is in it survives a crash, and is not measured again."""

    def __init__(self, path: str, read_only: bool = False) -> None:
        self.path = path
        self.lines = []  # type: List[Json]
        content = ""
        if os.path.exists(path):
            content = read_text_whole(path)
            for line in content.splitlines():
                try:
                    entry = json.loads(line)
                except (ValueError, RecursionError):
                    continue  # the line that was being written when the power went
                if isinstance(entry, dict):
                    self.lines.append(entry)
        if content and not content.endswith("\n") and not read_only:
            with open(path, "a", encoding="utf-8") as file:
                file.write("\n")

    def append(self, entry: Json) -> None:
        """Write one line and see it to the disk."""
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(entry, sort_keys=True) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.lines.append(entry)

    def of_type(self, kind: str) -> List[Json]:
        """The entries of one type."""
        return [line for line in self.lines if line.get("type") == kind]

    def check_conditions(self, session: Json) -> None:
        """Refuse to go on under conditions that make old and new lines incomparable."""
        for earlier in self.of_type("session"):
            for key in FIXED_CONDITIONS:
                if earlier.get(key) != session.get(key):
                    raise AgentError(
                        f"'{self.path}' was begun with {key} = {earlier.get(key)}, now it is "
                        f"{session.get(key)}. Restore it, or start another file with --out."
                    )


# ----------------------------------------------------------------------------------------------- the run


def find_trtexec(given: Optional[str]) -> Optional[str]:
    """Path of trtexec: the given one, that on PATH, or where NVIDIA's packages put it; None without."""
    candidates = [given, shutil.which("trtexec"), "/usr/src/tensorrt/bin/trtexec"]
    return next((path for path in candidates if path and os.path.exists(path)), None)


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
    if options.backend in ("auto", "trtexec"):
        program = find_trtexec(options.trtexec)
        if program is not None:
            return Trtexec(program, precision, options.cuda_graph == "on")
        if options.backend == "trtexec" or options.trtexec:
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
        "cuda_graph": options.cuda_graph == "on" if backend.name == "trtexec" else None,
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


# ------------------------------------------------------------------------------- over a broken connection


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
        if backend.name == "onnxruntime" and precision != "fp32":
            if options.precision:
                raise AgentError("onnxruntime is timed in fp32 only.")
            precision = "fp32"
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
    print(f"Next, on your workstation: ofa-tk latency import {options.out}", file=sys.stderr)
    return 1 if num_failures else 0


if __name__ == "__main__":
    sys.exit(main())
