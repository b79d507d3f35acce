"""A session of the agent in this process: its back ends, its exit statuses, and runs in the background."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ofa_toolkit.latency.kit.board import agent
from ofa_toolkit.latency.kit.board import onnxruntime as board_onnxruntime
from ofa_toolkit.latency.kit.board.journal import AgentError, Journal
from ofa_toolkit.latency.kit.board.onnxruntime import OnnxRuntime
from ofa_toolkit.latency.kit.board.trtexec import Trtexec, find_trtexec
from tests.unit.latency.trtexec_stand_in import write_stand_in


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def calls(folder: Path) -> list[list[str]]:
    return [json.loads(line) for line in (folder / "calls.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("exports_times", [True, False])
def test_an_engine_is_built_timed_and_timed_again(tmp_path: Path, exports_times: bool) -> None:
    program = str(write_stand_in(tmp_path / "trtexec", "8.2", exports_times=exports_times))
    backend = Trtexec(program, "fp16", False)
    assert (backend.version, backend.typed, backend.only_precision) == ("8201", False, None)
    assert backend.has_cuda_graph
    network, folder = tmp_path / "n.onnx", tmp_path / "work"
    network.write_bytes(b"x" * 250_000)
    folder.mkdir()
    assert backend.repeat(str(folder)) is None
    (folder / "times.json").write_text('[{"computeMs": 77.0}]')  # of a run before
    for keep_engine in (False, True):
        told = backend.measure(str(network), str(folder), keep_engine=keep_engine)
        assert (told["version"], told["median_ms"]) == ("8201", 2.5)
        assert told["num_runs"] == (47 if exports_times else 60)  # 60, of which 13 began in the warm-up
        assert len(told["warnings"]) == 1
        assert told["warnings"][0].startswith("* Throughput may be bound by Enqueue Time")
    again = backend.repeat(str(folder))
    assert again is not None
    assert again["median_ms"] == 2.5
    engine = f"Engine={folder}/reference.engine"
    first, second, third = (call for call in calls(tmp_path))
    assert f"--timingCacheFile={folder}/timing.cache" in first
    assert [f"--save{engine}" in call for call in (first, second, third)] == [False, True, False]
    assert third[0] == f"--load{engine}"
    for call in (first, second, third):
        assert "--fp16" in call
        assert (f"--exportTimes={folder}/times.json" in call) == exports_times


def test_options_that_a_trtexec_does_not_have_are_left_out(tmp_path: Path) -> None:
    summary = "GPU Compute Time: min = 1 ms, max = 4 ms, mean = 2 ms, median = 3 ms"
    text = f'case "$1" in --help) echo "--onnx";; *) echo "$@" > {tmp_path}/args; echo "{summary}";; esac'
    backend = Trtexec(script(tmp_path / "old", text), "fp32", True)
    assert (backend.version, backend.flags) == (None, ["onnx"])
    told = backend.measure("n.onnx", str(tmp_path), keep_engine=True)
    assert (told["median_ms"], told["version"], told["warnings"]) == (3.0, None, [])
    assert (tmp_path / "args").read_text().split() == ["--onnx=n.onnx", *backend.arguments]


def test_what_a_trtexec_that_fails_says(tmp_path: Path) -> None:
    with pytest.raises(AgentError, match=r"Cannot run '.*nothing'"):
        Trtexec(str(tmp_path / "nothing"), "fp32", False)
    with pytest.raises(AgentError, match="does not look like trtexec"):
        Trtexec(script(tmp_path / "other", "echo --help --one"), "fp32", False)
    silent = Trtexec(script(tmp_path / "silent", "echo --onnx; [ $1 != --help ]"), "fp32", False)
    with pytest.raises(RuntimeError, match="no GPU compute time in trtexec's output: --onnx"):
        silent.measure("n.onnx", str(tmp_path), keep_engine=False)
    broken = Trtexec(script(tmp_path / "broken", "echo --onnx; exit 7"), "fp32", False)
    with pytest.raises(RuntimeError, match=r"trtexec failed \(7\): --onnx"):
        broken.measure("n.onnx", str(tmp_path), keep_engine=False)


def test_the_trtexec_that_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    given = script(tmp_path / "mine", "")
    there = os.path.exists("/usr/src/tensorrt/bin/trtexec")
    assert find_trtexec(given) == given
    assert (find_trtexec(None) is None) == (not there)
    assert (find_trtexec(str(tmp_path / "nothing")) is None) == (not there)
    on_path = script(tmp_path / "trtexec", "")
    assert find_trtexec(None) == on_path


class Clock:
    """Seconds that pass with every run, as many as each takes."""

    def __init__(self, *first: float, then: float) -> None:
        self.now, self.first, self.then = 0.0, list(first), then

    def perf_counter(self) -> float:
        return self.now

    def run(self, *_arguments: Any) -> None:
        self.now += self.first.pop(0) if self.first else self.then


@pytest.mark.parametrize(
    ("first", "then", "num_runs"),
    [
        (1 / 64, 1 / 64, 64),  # a second
        (1 / 4, 1 / 4, 30),  # at least so many
        (1 / 4096, 1 / 4096, 2000),  # at most
        (1.0, 1 / 8, 80),  # twice as long as the first five took
    ],
)
def test_runs_of_an_installed_onnxruntime(
    first: float, then: float, num_runs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(*[first] * 5, then=then)
    monkeypatch.setattr(board_onnxruntime, "time", clock)
    made: list[Any] = []

    class Session:
        def __init__(self, network: str, options: Any, providers: list[str]) -> None:
            made.append((network, vars(options), providers))

        def get_inputs(self) -> list[Any]:
            whole = SimpleNamespace(name="images", type="tensor(float)", shape=["batch", 3, 4])
            return [whole, SimpleNamespace(name="halves", type="tensor(float16)", shape=[2])]

        def run(self, _outputs: None, feed: dict[str, Any]) -> None:
            clock.run()
            assert {name: (value.shape, value.dtype) for name, value in feed.items()} == {
                "images": ((1, 3, 4), np.float32),
                "halves": ((2,), np.float16),
            }

    backend = OnnxRuntime(3, None)
    backend.onnxruntime = SimpleNamespace(SessionOptions=SimpleNamespace, InferenceSession=Session)
    assert backend.repeat("") is None
    told = backend.measure("n.onnx", "", keep_engine=False)
    assert (told["num_runs"], told["median_ms"]) == (num_runs, 1000 * then)
    assert backend.repeat("") is None
    options = {"intra_op_num_threads": 3, "inter_op_num_threads": 1, "log_severity_level": 3}
    assert made == [("n.onnx", options, ["CPUExecutionProvider"])]
    backend.measure("n.onnx", "", keep_engine=True)
    again = backend.repeat("")
    assert again is not None
    assert again["median_ms"] == 1000 * then


def test_what_a_machine_can_time_networks_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(agent, "board", lambda: {"model": "Nano"})
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    program = str(write_stand_in(tmp_path / "trtexec", "8.6"))
    assert agent.main(["--describe", "--trtexec", program]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["model"], told["trtexec"], told["trtexec_version"]) == ("Nano", program, "8603")
    assert re.match(r"\d+\.\d+", told["onnxruntime"])
    other = script(tmp_path / "other", "echo nothing")
    told = agent.describe_board(other)
    assert told["trtexec_version"] is None
    assert "does not look like trtexec" in told["trtexec_error"]
    monkeypatch.setattr(agent, "find_trtexec", lambda _given: None)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    told = agent.describe_board(None)
    assert (told["trtexec"], told["trtexec_version"], told["onnxruntime"]) == (None, None, None)
    assert "onnxruntime cannot be used here" in told["onnxruntime_error"]


class Backend:
    """Times every network as 2 ms, or fails on all of them."""

    name, version, arguments, typed = "made-up", "1.0", ["x"], False

    def __init__(
        self, failure: BaseException | None = None, only: str | None = None, has_cuda_graph: bool = True
    ) -> None:
        self.failure, self.only_precision, self.has_cuda_graph = failure, only, has_cuda_graph

    def measure(self, _network: str, _folder: str, keep_engine: bool) -> dict[str, Any]:
        del keep_engine
        if self.failure is not None:
            raise self.failure
        return {"median_ms": 2.0}

    def repeat(self, _folder: str) -> None:
        return None


@pytest.fixture
def kit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kit of three networks; results go to `results.jsonl` beside it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(agent, "board", lambda: {"power_mode": "5W", "governors": "ondemand"})
    monkeypatch.setattr(agent, "state", lambda: {"load": 0.5})
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    folder = tmp_path / "kit"
    folder.mkdir()
    (folder / "n").write_text("")
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # SHA-256 of nothing
    files = {"fp32": {"name": "n", "sha256": empty}}
    probes = [{"id": f"{number:03d}", "subnet": {}, "files": files} for number in range(3)]
    facts = {"id": "k", "target": "t", "space": "s", "num_classes": 10, "batch_size": 2, "precision": "fp16"}
    manifest = {"format": "ofa-toolkit/kit", "probes": probes, **facts}
    (folder / "kit.json").write_text(json.dumps(manifest))
    return folder


def run(kit: Path, backend: Backend, monkeypatch: pytest.MonkeyPatch, *options: str) -> int:
    monkeypatch.setattr(agent, "choose_backend", lambda *_: backend)
    return agent.main(["--kit", str(kit), *options])


def test_a_session_begins_with_its_conditions(kit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(signal, "signal", lambda *given: asked.append(given))
    assert run(kit, Backend(), monkeypatch, "--num-probes", "2") == 0
    assert asked == [(signal.SIGTERM, signal.default_int_handler)]
    (session,) = Journal("results.jsonl").of_type("session")
    assert len(Journal("results.jsonl").of_type("result")) == 2
    assert {key: value for key, value in session.items() if key != "time"} == {
        "type": "session",
        "format": "ofa-toolkit/kit-results",
        "version": 1,
        "kit": "k",
        "target": "t",
        "space": "s",
        "num_classes": 10,
        "batch_size": 2,
        "backend": "made-up",
        "backend_version": "1.0",
        "precision": "fp16",
        "arguments": ["x"],
        "cuda_graph": False,
        "power_mode": "5W",
        "governors": "ondemand",
        "board": {"power_mode": "5W", "governors": "ondemand"},
        "state": {"load": 0.5},
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", session["time"])
    monkeypatch.setattr(agent, "board", lambda: {"power_mode": "MAXN", "governors": "ondemand"})
    assert run(kit, Backend(), monkeypatch) == 1
    for backend, options, cuda_graph in (
        (Backend(), ["--cuda-graph", "on"], True),
        (Backend(has_cuda_graph=False), [], None),
    ):
        assert run(kit, backend, monkeypatch, "--out", "other", *options, "--num-probes", "0") == 0
        assert Journal("other").of_type("session")[-1]["cuda_graph"] is cuda_graph


@pytest.mark.parametrize(
    ("backend", "options", "status", "said"),
    [
        (Backend(), [], 0, "Next, on your workstation: ofa-tk latency import results.jsonl"),
        (Backend(RuntimeError("odd")), [], 1, "Next, on your workstation: "),
        (Backend(AgentError("copy it again")), [], 1, "Error: copy it again"),
        (Backend(KeyboardInterrupt()), [], 130, "Interrupted; run the same command again to go on."),
        (Backend(only="fp32"), ["--precision", "fp16"], 1, "Error: made-up is timed in fp32 only."),
        (Backend(only="fp32"), ["--precision", "fp32"], 0, "Next, on your workstation: "),
        (Backend(only="fp32"), [], 0, "Next, on your workstation: "),
    ],
)
def test_how_a_session_ends(
    backend: Backend,
    options: list[str],
    status: int,
    said: str,
    kit: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(kit, backend, monkeypatch, *options) == status
    assert capsys.readouterr().err.splitlines()[-1].startswith(said)
    precisions = {line["precision"] for line in Journal("results.jsonl").of_type("session")}
    assert precisions <= {backend.only_precision or "fp16"}


@pytest.mark.parametrize(
    ("changes", "options", "command"),
    [
        ({}, [], "results.jsonl"),  # kits of before do not say it
        ({"is_for_device": True}, [], "results.jsonl"),
        ({"is_for_device": False}, [], "results.jsonl --device NAME"),
        ({"is_for_device": False}, ["--out", "my results"], "'my results' --device NAME"),
    ],
)
def test_times_of_software_on_any_device_are_imported_under_a_name(
    changes: dict[str, bool],
    options: list[str],
    command: str,
    kit: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    manifest = json.loads((kit / "kit.json").read_text())
    (kit / "kit.json").write_text(json.dumps(manifest | changes))
    assert run(kit, Backend(), monkeypatch, *options) == 0
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == f"Next, on your workstation: ofa-tk latency import {command}"


def test_a_lock_is_held_by_one_or_shared(tmp_path: Path) -> None:
    with open(tmp_path / "lock", "a") as one, open(tmp_path / "lock", "a") as two:
        assert agent.hold(one, fcntl.LOCK_SH)
        assert agent.hold(two, fcntl.LOCK_SH)
        assert not agent.hold(one, fcntl.LOCK_EX)
        fcntl.flock(two, fcntl.LOCK_UN)
        assert agent.hold(one, fcntl.LOCK_EX)
        assert not agent.hold(two, fcntl.LOCK_SH)


def test_a_growing_file_is_followed_to_the_end_of_its_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, slept = tmp_path / "r", []
    agent.follow(str(tmp_path / "nothing"))
    path.write_text("one\ntwo\nthr")

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 1:
            path.write_text("one\ntwo\nthree\nfo")
        else:
            path.write_text("one\ntwo\nthree\nfour\nfi")
            lock.close()

    monkeypatch.setattr(agent.time, "sleep", sleep)
    with open(tmp_path / "r.lock", "a") as lock:
        assert agent.hold(lock, fcntl.LOCK_EX)
        agent.follow(str(path))
    assert (capsys.readouterr().out, slept) == ("one\ntwo\nthree\nfour\n", [0.5, 0.5])


@pytest.mark.parametrize(
    ("lines", "log", "options", "status", "said"),
    [
        (["result 000", "failure 001", "result 002"], "a\nb\nc\nd\n", [], 0, "b\nc\nd"),
        (["result 000", "result 001"], "a\n", [], 4, "a"),
        (["result 000", "result 001"], "a\n", ["--num-probes", "2"], 0, "a"),
        (["result 000", "reference 001", "result 002"], "", [], 4, ""),
        (["result 000", "result 001", "result 002"], "a\nError: no\nb\n", [], 1, "Error: no"),
    ],
)
def test_measuring_outlives_its_connection(
    lines: list[str],
    log: str,
    options: list[str],
    status: int,
    said: str,
    kit: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    started: list[tuple[list[str], dict[str, Any]]] = []
    entries = [dict(zip(("type", "probe"), line.split(), strict=True)) for line in lines]
    written = "".join(json.dumps(entry) + "\n" for entry in entries)

    def start(command: list[str], **facts: Any) -> None:
        started.append((command, facts))
        facts["stdout"].write(log.encode())
        Path("results.jsonl").write_text(f'{written}{{"typ')

    monkeypatch.setattr(agent.subprocess, "Popen", start)
    arguments = ["--kit", str(kit), "--background", *options]
    monkeypatch.setattr(sys, "argv", ["measure.py", *arguments])
    assert agent.main() == status
    assert Path("results.jsonl").read_text() == f'{written}{{"typ'  # left to the process that writes it
    ((command, facts),) = started
    assert command == [sys.executable, os.path.abspath("measure.py"), "--kit", str(kit), *options]
    assert facts["start_new_session"] is True
    assert (facts["stderr"], len(facts["pass_fds"])) == (facts["stdout"], 1)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == (written, f"{said}\n")
    # While another measures, its results are waited for and nothing is started.
    with open("results.jsonl.lock", "a") as other:
        assert agent.hold(other, fcntl.LOCK_EX)
        monkeypatch.setattr(agent.time, "sleep", lambda _seconds: other.close())
        assert agent.main(arguments) == status
    assert len(started) == 1


def test_what_nothing_is_said_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "measure.py"), "--threads"])
    assert vars(agent.parse_arguments([])) == {
        "kit": str(tmp_path),
        "out": "results.jsonl",
        "backend": "auto",
        "trtexec": None,
        "precision": None,
        "cuda_graph": "off",
        "threads": 1,
        "provider": None,
        "num_probes": None,
        "background": False,
        "describe": False,
    }
