"""Which words of a device's name matter, what is a misspelling, and what a board over ssh answers."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from ofa_toolkit.core.errors import FileFormatError, MeasurementError
from ofa_toolkit.latency.audit.files import file_rows
from ofa_toolkit.latency.device_names import how_to_make, misspelt, software_of
from ofa_toolkit.latency.kit.back_ends import BACK_ENDS, dotted_version
from ofa_toolkit.latency.kit.probes import choose_probes
from ofa_toolkit.latency.kit.ssh import Board, ConnectionBrokenError
from ofa_toolkit.latency.measuring.measured_table import draw_networks
from ofa_toolkit.latency.predictors.entries import EntryPredictor
from ofa_toolkit.latency.predictors.intervals import ConformalBound
from ofa_toolkit.latency.runtimes import RuntimeOptions
from ofa_toolkit.latency.runtimes.torch import TorchRuntime
from ofa_toolkit.latency.table_file import TableContent, read_content, write_content
from ofa_toolkit.spaces import get_space, lower
from ofa_toolkit.spaces.space_file import space_reference
from ofa_toolkit.spaces.subnet_file import SubnetFile, to_document

SPACE = get_space("mobilenet-v3-compact-compound")


@pytest.mark.parametrize(
    ("typed", "known", "is_meant"),
    [
        ("jetson-nan", "jetson-nano", True),
        ("jetsen-nano", "jetson-nano", True),
        ("abcx", "abcd", True),  # three of four letters
        ("abxd5", "abcd5", True),
        ("axyd", "abcd", False),  # two of four
        ("dcba", "abcd", True),  # the same letters
        ("abx", "abc", False),  # too short to tell
        ("acb", "abc", False),
        ("abc", "abcd", True),
        ("pixel2", "pixel1", False),
        ("pixel", "pixel1", False),
        ("Pixel-1", "pixel1", True),
        ("pixel1-pro", "pixel1", False),
    ],
)
def test_letters_of_a_word_are_misspelt_and_numbers_are_not(typed: str, known: str, is_meant: bool) -> None:
    assert misspelt(typed, ["zzz", known]) == (known if is_meant else None)


@pytest.mark.parametrize(
    ("name", "is_nvidia"),
    [
        *((name, True) for name in ("h100", "rtx-4090", "GTX 1080", "a10", "t4", "l40s", "gh200", "b200")),
        *((name, True) for name in ("orin nx", "xavier", "jetson-tx1", "tx2", "titan-v", "p4", "a1000")),
        *(
            (name, False)
            for name in ("pixel-2", "epyc", "raspberry pi 4", "m1", "a12345", "note10", "note-9")
        ),
    ],
)
def test_software_of_an_unknown_device(name: str, is_nvidia: bool) -> None:
    assert software_of(name) == ("tensorrt-10.3" if is_nvidia else "onnxruntime-cpu")
    hint = how_to_make(name, "s")
    assert (" --runtime torch --processor cuda" in hint) == is_nvidia
    assert f"--space s --target {software_of(name)}" in hint


def test_commands_that_make_a_table() -> None:
    assert how_to_make("this-gpu") == "ofa-tk latency measure --space ofa-mobilenet-v3-w1.0 --device this-gpu"
    assert "--device my-device" in how_to_make("???")
    assert "--plan 10 --space ofa-mobilenet-v3-w1.0 --device my-board" in how_to_make("My Board")


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("board", "board"),
        ("user@board", "board"),
        ("user@board.local", "board.local"),
        ("ssh://user@board:2222", "board"),
        ("a@b@board", "board"),
    ],
)
def test_a_board_is_called_by_its_host(host: str, name: str) -> None:
    assert Board(host=host).plain_name == name


@pytest.mark.parametrize("host", ["", "-oProxyCommand=x", "a b", " a"])
def test_what_is_no_host(host: str) -> None:
    with pytest.raises(MeasurementError, match="is no host"):
        Board(host=host)


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program `ssh` that does what its last argument says, here."""
    program = tmp_path / "bin" / "ssh"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\necho "$@" >> "$0.calls"\nfor last; do :; done\neval "$last"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    return program


def test_programs_on_a_board(ssh: Path, tmp_path: Path) -> None:
    board = Board(host="user@board", config=tmp_path / "config")
    assert board.run(["cat"], content=b"one\ntwo\n") == "one\ntwo\n"
    assert board.run(["echo", "a b"]) == "a b\n"
    call = ssh.with_name("ssh.calls").read_text().splitlines()[0]
    assert call.startswith(f"-F {tmp_path / 'config'} -o BatchMode=yes")
    assert call.endswith("user@board cat")
    with pytest.raises(MeasurementError, match=r"'sh' failed on user@board \(3\): no such thing"):
        board.run(["sh", "-c", "echo no such thing >&2; exit 3"])
    with pytest.raises(ConnectionBrokenError, match="Cannot reach 'user@board': timed out"):
        board.run(["sh", "-c", "echo banner >&2; echo timed out >&2; exit 255"])
    with pytest.raises(ConnectionBrokenError, match="no reason given"):
        board.run(["sh", "-c", "exit 255"])
    assert Board(host="board").stream(["exit", "7"], print)[0] == 7
    ssh.write_text("#!/bin/sh\nkill -9 $$\n")
    assert board.stream(["true"], print) == (255, "")


def test_a_machine_without_ssh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MeasurementError, match="no program 'ssh' here"):
        Board(host="board").run(["true"])


@pytest.mark.parametrize(
    ("told", "meant"),
    [(None, None), ("8.2.1", "8.2.1"), ("7103", "7.1.3"), ("8412", "8.4.12"), ("101302", "10.13.2")],
)
def test_versions(told: str | None, meant: str | None) -> None:
    assert dotted_version(told) == meant


def test_what_a_board_lacks_and_what_suits_it() -> None:
    trtexec, onnxruntime = BACK_ENDS["trtexec"], BACK_ENDS["onnxruntime"]
    assert [*BACK_ENDS] == ["trtexec", "onnxruntime"]
    has = {"trtexec": "/usr/bin/trtexec", "trtexec_version": "8201", "onnxruntime": "1.2"}
    lacks = {"trtexec_version": None, "onnxruntime": None}
    assert (trtexec.lack(has), onnxruntime.lack(has)) == (None, None)
    assert (trtexec.lack(lacks), onnxruntime.lack({**lacks, "onnxruntime_error": "gone"})) == (
        "no trtexec",
        "gone",
    )
    assert trtexec.lack({**lacks, "trtexec_error": "no library"}) == "no library"
    assert (trtexec.target(has), onnxruntime.target(has)) == ("tensorrt-8.2", "onnxruntime-cpu")
    with pytest.raises(MeasurementError, match="does not tell its version"):
        trtexec.target({**has, "trtexec_version": None})


def test_as_many_networks_as_there_are() -> None:
    """Three depths in five stages are 243 subnets."""
    fit, check = draw_networks(SPACE, 200, 43, seed=0)
    assert (len(fit), len(check)) == (200, 43)
    assert len(np.unique(np.concatenate([fit, check]), axis=0)) == 243
    with pytest.raises(MeasurementError, match="too few subnets for 200 networks to fit and 44 to check"):
        draw_networks(SPACE, 200, 44, seed=0)
    rows = np.array([[3], [1], [2], [1]], dtype=np.uint8)
    assert sorted(choose_probes(rows, rows[:, 0], 3)[:, 0].tolist()) == [1, 2, 3]
    with pytest.raises(MeasurementError, match="4 probes were asked for; there are only 3 candidates") as few:
        choose_probes(rows, rows[:, 0], 4)
    with pytest.raises(MeasurementError, match=r"there are only 1 candidate\.") as one:
        choose_probes(rows[:1], rows[:1, 0], 3)
    assert [caught.value.hint for caught in (few, one)] == ["Ask for fewer with --num-probes.", None]


def test_torch_is_timed_with_its_own_threads_where_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    layers = lower(SPACE, SPACE.smallest())
    seen: list[int] = []
    monkeypatch.setattr(torch, "get_num_threads", lambda: 5)
    monkeypatch.setattr(torch, "set_num_threads", seen.append)
    times = TorchRuntime(RuntimeOptions(num_threads=2)).prepare(layers, seed=0).time_runs(2)
    assert (seen, times.cpu_ms, len(times.wall_ms)) == ([2, 5], None, 2)
    assert TorchRuntime(RuntimeOptions()).prepare(layers, seed=0).time_runs(1).cpu_ms is not None
    with pytest.raises(MeasurementError, match="in fp32 only"):
        TorchRuntime(RuntimeOptions(precision="fp16"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(MeasurementError, match="finds no CUDA device"):
        TorchRuntime(RuntimeOptions(processor="cuda"))


def test_an_identity_is_of_everything_in_a_table(tmp_path: Path) -> None:
    one = EntryPredictor(times_ms={"a": 1.0, "b": 2.0})
    scores = ConformalBound(scores=np.zeros(3, dtype=np.float32))
    contents = [
        TableContent(predictors=(one,)),
        TableContent(predictors=(one, one)),
        TableContent(predictors=(EntryPredictor(times_ms={"a": 1.0, "b": 2.5}),)),
        TableContent(predictors=(EntryPredictor(times_ms={"a": 1.0, "c": 2.0}),)),
        TableContent(predictors=(EntryPredictor(times_ms={"a": 1.0, "b": 2.0}, bias_ms=0.1),)),
        TableContent(predictors=(one,), bound=scores),
        TableContent(predictors=(one,), bound=scores, bound_space="s"),
    ]
    assert len({content.identity for content in contents}) == len(contents)
    for content in contents:
        write_content(tmp_path / "t.safetensors", content)
        assert read_content(tmp_path / "t.safetensors").identity == content.identity
        assert len(content.identity) == 16
    save_file({"a": np.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(FileFormatError, match="its header describes none"):
        read_content(tmp_path / "other.safetensors")
    with pytest.raises(FileFormatError, match="No such file"):
        read_content(tmp_path / "nothing.safetensors")


def written(path: Path, *lines: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_journals_are_audited_by_their_rows(tmp_path: Path) -> None:
    subnets = [
        to_document(SubnetFile(space=SPACE, supernet=None, subnet=SPACE.smallest())),
        {"resolution": 1},
    ]
    session = {"type": "session", "format": "ofa-toolkit/kit-results", "space": space_reference(SPACE)}
    session |= {"num_classes": SPACE.num_classes}
    results = [{"type": "result", "probe": f"00{n}", "subnet": subnet} for n, subnet in enumerate(subnets)]
    results[0] |= {"median_ms": 2.5, "num_runs": 9}
    found = [
        file_rows(written(tmp_path / "k.jsonl", {**session, "batch_size": batch}, *results), None)[0]
        for batch in (1, 3)
    ]
    ((one,), (three,)) = (each.rows for each in found)
    assert (one.name, one.time_ms, one.num_runs, one.is_whole) == ("network 000", 2.5, 9, True)
    assert three.macs == 3 * one.macs > 0
    header = {"type": "header", "format": "ofa-toolkit/measurements", "batch_size": 2}
    unit = {"type": "result", "item": "unit linear 10x1 7x1 <^0>"}
    path = written(
        tmp_path / "m.jsonl",
        header,
        {**unit, "wall_ms": [0.5, 0.3], "num_runs": 4},
        {**unit, "wall_ms": [0.1], "cpu_ms": [0.4, 0.2], "num_runs": 5},
        {"type": "result", "item": "fit 0", "wall_ms": [9.0], "num_runs": 5},
    )
    ((row,),) = (each.rows for each in file_rows(path, None, kind="kit"))
    assert (row.name, row.time_ms, row.num_runs, row.macs) == ("linear 10x1 7x1 <^0>", 0.2, 9, 140)
    with pytest.raises(FileFormatError, match="neither results of a kit nor a journal"):
        file_rows(written(tmp_path / "x.jsonl", {"type": "header", "format": "x"}), None, kind="kit")
    with pytest.raises(FileFormatError, match="is nothing an audit can read"):
        file_rows(path, None, kind="trtexec-log")
