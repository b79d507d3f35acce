"""The parts of the agent that a board runs, one by one: figures, options, files of the system, its loop."""

from __future__ import annotations

import argparse
import glob
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from ofa_toolkit.latency.kit.board import agent, conditions
from ofa_toolkit.latency.kit.board.journal import AgentError, Journal
from ofa_toolkit.latency.kit.board.onnxruntime import OnnxRuntime
from ofa_toolkit.latency.kit.board.trtexec import (
    help_flags,
    parse_summary,
    parse_times,
    summarise,
    tail,
    trtexec_arguments,
)


def test_figures_of_runs() -> None:
    assert summarise([8.0, 1.0, 7.0, 2.0, 6.0, 3.0, 5.0, 4.0]) == {
        "median_ms": 4.5,
        "min_ms": 1.0,
        "max_ms": 8.0,
        "mean_ms": 4.5,
        "p25_ms": 3.0,
        "p75_ms": 7.0,
        "num_runs": 8,
    }
    twelve = summarise([float(number) for number in range(12)])
    assert (twelve["p25_ms"], twelve["p75_ms"]) == (3.0, 9.0)
    assert summarise([3.0])["p75_ms"] == summarise([3.0])["p25_ms"] == 3.0
    runs = [
        {"computeMs": 9.0, "startComputeMs": 499.0},
        {"computeMs": 5.0, "startComputeMs": 500.0},
        {"x": 1},
    ]
    assert parse_times(json.dumps(runs), 500) == [5.0]
    assert parse_times(json.dumps(runs[:1]), 500) == [9.0]  # all of them warm up
    assert parse_times(json.dumps([{"computeMs": 4.0}]), 500) == [4.0]
    line = "GPU Compute Time: min = 1 ms, max = 4 ms, mean = 2 ms, median = 3 ms"
    found = {"min_ms": 1, "max_ms": 4, "mean_ms": 2, "median_ms": 3, "num_runs": None}
    assert parse_summary(line) == found
    assert parse_summary(f"Timing trace has 60 queries\n{line}") == {**found, "num_runs": 60}
    assert parse_summary("Latency: min = 1 ms") is None


@pytest.mark.parametrize(
    ("flags", "precision", "cuda_graph", "added", "is_typed"),
    [
        ([], "fp32", False, [], False),
        (["noTF32"], "fp32", False, ["--noTF32"], False),
        (["fp16", "noTF32"], "fp16", False, ["--fp16"], False),
        (["int8", "noTF32"], "int8", False, ["--int8"], False),
        (["noTF32"], "fp16", False, [], True),
        (["useCudaGraph"], "fp32", False, [], False),
        (["useCudaGraph"], "fp32", True, ["--useCudaGraph"], False),
        (["noCudaGraph"], "fp32", False, ["--noCudaGraph"], False),
        (["noCudaGraph"], "fp32", True, [], False),
        (["noDataTransfers", "useSpinWait"], "fp32", False, ["--noDataTransfers", "--useSpinWait"], False),
    ],
)
def test_options_that_mean_the_same_on_every_generation(
    flags: list[str], precision: str, cuda_graph: bool, added: list[str], is_typed: bool
) -> None:
    found, typed = trtexec_arguments(flags, precision, cuda_graph)
    assert found == ["--warmUp=500", "--duration=3", "--iterations=50", *added]
    assert typed == is_typed


def test_words_of_a_program() -> None:
    assert help_flags("  --onnx=<file>  Model\n  --fp16 (default)\n -x --b2 a--c --onnx") == [
        "b2",
        "fp16",
        "onnx",
    ]
    lines = [f"line {n}" for n in range(6)]
    assert tail("\n\n".join(lines)) == "line 2 | line 3 | line 4 | line 5"
    assert tail("\n".join(["[E] bad", *lines, " [E] worse "])) == "[E] bad | [E] worse"


@pytest.mark.parametrize(
    ("seconds", "num_left", "said"),
    [
        ([], 9, ""),
        ([60, 60], 9, ""),
        ([60, 60, 60], 3, ", about 3 min left"),
        ([1, 60, 600], 1, ", about 1 min left"),
        ([59, 59, 59], 1, ", less than a minute left"),
        ([60, 60, 60], 0, ", less than a minute left"),
    ],
)
def test_time_that_is_left(seconds: list[float], num_left: int, said: str) -> None:
    assert agent.remaining_time(seconds, num_left) == said


def test_programs_that_may_be_absent(tmp_path: Path) -> None:
    assert conditions.run_quietly(["sh", "-c", "echo ' a b '; echo c >&2"]) == "a b"
    for end in ("exit 1", "kill -9 $$"):
        assert conditions.run_quietly(["sh", "-c", f"echo a; {end}"]) is None
    assert conditions.run_quietly([str(tmp_path / "nothing")]) is None
    assert conditions.run_quietly(["sleep", "9"], timeout=0.05) is None
    path = tmp_path / "model"
    path.write_bytes(b" Jetson Nano\0\n")
    assert conditions.read_text(str(path)) == "Jetson Nano"
    assert conditions.read_text(str(tmp_path / "nothing")) is None


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Files of a board by path, and what programs print by their first word."""
    told: dict[str, str] = {}
    monkeypatch.setattr(conditions, "read_text", told.get)
    monkeypatch.setattr(conditions, "run_quietly", lambda command: told.get(command[0]))

    def found(pattern: str) -> list[str]:
        names = {name for name in told if Path(name).match(pattern)}
        return sorted(names | {str(Path(name).parent) for name in told if Path(name).parent.match(pattern)})

    monkeypatch.setattr(glob, "glob", found)
    monkeypatch.setattr(os, "getloadavg", lambda: (1.5, 9.0, 9.0))
    return told


def test_what_a_board_is(system: dict[str, str]) -> None:
    bare = conditions.board()
    assert [bare[name] for name in ("model", "l4t", "gpu", "power_mode", "governors", "jetson_clocks")] == [
        None
    ] * 6
    assert bare["cpu"]
    system |= {
        "/proc/device-tree/model": "Nano",
        "/etc/nv_tegra_release": "# R32\nmore",
        "/proc/cpuinfo": "processor : 0\nmodel name\t: ARMv8 \nHardware : x\n",
        "nvidia-smi": "V100, 470",
        "/usr/sbin/nvpmodel": "NV Power Mode: MODE_10W\n1",
    }
    for core, governor in enumerate(("schedutil", "ondemand", "schedutil")):
        system[f"/sys/devices/system/cpu/cpu{core}/cpufreq/scaling_governor"] = governor
    told = conditions.board()
    assert (told["model"], told["l4t"], told["cpu"], told["gpu"]) == ("Nano", "# R32", "ARMv8", "V100, 470")
    assert (told["power_mode"], told["governors"]) == ("MODE_10W", "ondemand, schedutil")
    system["nvpmodel"] = "NV Power Mode: MAXN"
    assert conditions.power_mode() == "MAXN"


def test_the_state_of_a_board(system: dict[str, str]) -> None:
    system |= {
        "/sys/class/devfreq/57000000.gpu/cur_freq": "921600000",
        "/sys/class/devfreq/none/cur_freq": "idle",
        "/sys/devices/system/cpu/cpu3/cpufreq/scaling_cur_freq": "1479000",
        "/sys/devices/system/cpu/cpu4/cpufreq/scaling_cur_freq": "<unknown>",
        "/sys/class/thermal/thermal_zone0/type": "CPU-therm",
        "/sys/class/thermal/thermal_zone0/temp": "45500",
        "/sys/class/thermal/thermal_zone1/type": "cold",
        "/sys/class/thermal/thermal_zone1/temp": "-2000",
        "/sys/class/thermal/thermal_zone2/type": "broken",
        "/sys/class/thermal/thermal_zone2/temp": "hot",
        "/sys/class/thermal/thermal_zone3/type": "silent",
    }
    told = conditions.state()
    assert told["clocks_hz"] == {"57000000.gpu": 921600000, "cpu3": 1479000000}
    assert told["temperatures_c"] == {"CPU-therm": 45.5, "cold": -2.0}
    assert (told["nvidia_smi"], told["load"]) == (None, 1.5)


def test_a_journal_is_gone_on_with_under_its_conditions(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    journal = Journal(str(path))
    assert journal.lines == []
    session = {"type": "session", "precision": "fp16", "batch_size": 1}
    journal.append(session)
    assert path.read_text() == '{"batch_size": 1, "precision": "fp16", "type": "session"}\n'
    path.write_text(path.read_text() + '[3]\n{"type": "res')
    torn = path.read_text()
    assert Journal(str(path), read_only=True).lines == [session]
    assert path.read_text() == torn
    again = Journal(str(path))
    assert path.read_text() == torn + "\n"
    again.append({"type": "result"})
    assert [line["type"] for line in Journal(str(path)).lines] == ["session", "result"]
    again.check_conditions({**session, "batch_size": 1, "time": "later"})
    with pytest.raises(AgentError, match="begun with precision = fp16, now it is fp32"):
        again.check_conditions({**session, "precision": "fp32"})


class Timed:
    """A back end that fails on some networks."""

    def __init__(self, failing: dict[int, Exception] | None = None, typed: bool = False) -> None:
        self.typed, self.kept, self.contents, self.failing = typed, [], [], failing or {}  # type: ignore[var-annotated]

    def measure(self, network: str, folder: str, keep_engine: bool) -> dict[str, Any]:
        assert network == os.path.join(folder, "network.onnx")
        self.kept.append(keep_engine)
        self.contents.append(Path(network).read_text())
        if len(self.kept) - 1 in self.failing:
            raise self.failing[len(self.kept) - 1]
        return {"median_ms": float(len(self.kept))}

    def repeat(self, folder: str) -> dict[str, Any] | None:
        if 99 in self.failing:
            raise self.failing[99]
        return {"median_ms": 0.5} if Path(folder).is_dir() else None


def kit_of(folder: Path, count: int) -> agent.Kit:
    probes = []
    for number in range(count):
        files = {}
        for kind in ("fp32", "fp16"):
            content = f"{number} {kind}"
            (folder / content).write_text(content)
            files[kind] = {"name": content, "sha256": hashlib.sha256(content.encode()).hexdigest()}
        probes.append({"id": f"{number:03d}", "subnet": {"n": number}, "files": files})
    (folder / "kit.json").write_text(json.dumps({"format": "ofa-toolkit/kit", "probes": probes}))
    return agent.Kit(str(folder))


def test_every_network_is_timed_once_and_the_first_again_after_each_ten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kit, journal, timed = kit_of(tmp_path, 13), Journal(str(tmp_path / "r.jsonl")), Timed()
    journal.append({"type": "result", "probe": "001"})
    assert agent.measure_all(kit, timed, "fp16", journal, 12) == 0
    assert timed.contents == [f"{n} fp32" for n in range(12) if n != 1]
    assert timed.kept == [True, *[False] * 10]
    results = journal.of_type("result")[1:]
    assert [(line["probe"], line["median_ms"]) for line in results[:2]] == [("000", 1.0), ("002", 2.0)]
    assert results[1]["subnet"] == {"n": 2}
    kinds = [line["type"] for line in journal.lines[1:]]
    assert kinds == ["result"] * 10 + ["reference", "result", "reference"]
    assert {line["probe"] for line in journal.of_type("reference")} == {"000"}
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "1 of 12 networks are measured."
    assert said[1].startswith("[2/12] 000: 1.000 ms")
    assert said[-1].startswith("[12/12] 011: 11.000 ms")
    assert agent.measure_all(kit, Timed(), "fp16", journal, 12) == 0
    assert agent.measure_all(kit, typed := Timed(typed=True), "fp16", journal, None) == 0
    assert typed.contents == ["12 fp16"]
    plain = Timed(typed=True)
    agent.measure_all(kit, plain, "fp32", Journal(str(tmp_path / "other")), 1)
    assert plain.contents == ["0 fp32"]


def test_how_long_networks_take_and_how_long_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A minute each, and 12.34 ms more from one to the next."""
    now = [0.0]

    class Slow(Timed):
        def measure(self, network: str, folder: str, keep_engine: bool) -> dict[str, Any]:
            now[0] += 60 + 0.01234 * len(self.kept)
            return super().measure(network, folder, keep_engine)

    monkeypatch.setattr(agent.time, "time", lambda: now[0])
    kit, journal = kit_of(tmp_path, 21), Journal(str(tmp_path / "r.jsonl"))
    assert agent.measure_all(kit, Slow(), "fp32", journal, None) == 0
    took = [line["seconds"] for line in journal.of_type("result")]
    assert took[:3] == [60.0, 60.012, 60.025]
    assert took[20] == 60.247
    assert [line["type"] for line in journal.lines].index("reference") == 10
    assert len(journal.of_type("reference")) == 3  # after ten, twenty and the last
    said = capsys.readouterr().err.splitlines()[1:]
    assert [line.partition(" ms")[2] for line in said[1:4]] == [
        "",
        ", about 18 min left",
        ", about 17 min left",
    ]
    assert said[-1].endswith(", less than a minute left")


def test_failures_are_written_down_and_the_user_s_mistakes_end_it(tmp_path: Path) -> None:
    kit, journal = kit_of(tmp_path, 4), Journal(str(tmp_path / "r.jsonl"))
    failing = {0: RuntimeError("x" * 3000), 2: ValueError("y" * 3000), 99: RuntimeError("z" * 3000)}
    assert agent.measure_all(kit, Timed(failing), "fp32", journal, None) == 2
    failures = journal.of_type("failure")
    assert [(line["probe"], line["error"]) for line in failures] == [
        ("000", "x" * 2000),
        ("002", f"ValueError: {'y' * 1988}"),
    ]
    assert [line["probe"] for line in journal.of_type("result")] == ["001", "003"]
    assert [line["error"] for line in journal.of_type("reference")] == ["z" * 2000]
    with pytest.raises(AgentError, match="stop"):
        agent.measure_all(kit, Timed({1: AgentError("stop")}), "fp32", Journal(str(tmp_path / "b")), None)
    with pytest.raises(AgentError, match="no --int8"):
        agent.measure_all(kit, Timed(typed=True), "int8", Journal(str(tmp_path / "c")), None)
    (tmp_path / "0 fp32").write_text("damaged")
    with pytest.raises(AgentError, match="'0 fp32' is damaged"):
        agent.measure_all(kit, Timed(), "fp32", Journal(str(tmp_path / "d")), None)


def test_what_is_no_kit(tmp_path: Path) -> None:
    with pytest.raises(AgentError, match="No kit in"):
        agent.Kit(str(tmp_path))
    with pytest.raises(AgentError, match="No kit in"):
        agent.Kit(str(tmp_path / "nothing.zip"))
    (tmp_path / "kit.json").write_text('{"format": "x"}')
    with pytest.raises(AgentError, match=r"holds no kit\.json of ofa-toolkit"):
        agent.Kit(str(tmp_path))


@pytest.mark.parametrize("cuda_graph", ["on", "off"])
@pytest.mark.parametrize(
    ("backend", "given", "is_there", "chosen"),
    [
        ("auto", None, True, "trtexec"),
        ("auto", None, False, "onnxruntime"),
        ("auto", "path", False, None),
        ("trtexec", None, True, "trtexec"),
        ("trtexec", None, False, None),
        ("onnxruntime", None, True, "onnxruntime"),
    ],
)
def test_the_back_end_that_is_there(
    backend: str,
    given: str | None,
    is_there: bool,
    chosen: str | None,
    cuda_graph: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    made: list[Any] = []

    class Made:
        name = "trtexec"

        def __init__(self, *arguments: Any) -> None:
            made.append(arguments)

    monkeypatch.setattr(agent, "find_trtexec", lambda _given: "program" if is_there else None)
    monkeypatch.setattr(agent, "Trtexec", Made)
    options = argparse.Namespace(
        backend=backend, trtexec=given, cuda_graph=cuda_graph, threads=3, provider=None
    )
    if chosen is None:
        with pytest.raises(AgentError, match="trtexec was not found"):
            agent.choose_backend(options, "fp16")
    else:
        found = agent.choose_backend(options, "fp16")
        assert found.name == chosen
        assert made == ([("program", "fp16", cuda_graph == "on")] if chosen == "trtexec" else [])
        is_second_choice = backend == "auto" and chosen == "onnxruntime"
        assert ("trying onnxruntime" in capsys.readouterr().err) == is_second_choice
        if chosen == "onnxruntime":
            assert found.arguments == ["provider=CPUExecutionProvider", "threads=3"]
    with pytest.raises(AgentError, match="has no 'Nothing' here; it has "):
        OnnxRuntime(1, "Nothing")
