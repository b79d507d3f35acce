"""What is read of a kit's results, by files written out by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ofa_toolkit.core.errors import FileFormatError, MismatchError, SubnetNotInSpaceError
from ofa_toolkit.latency.importing.kit_results import is_kit_results, read_kit_results
from ofa_toolkit.latency.importing.measurements import Conditions, ImportContext
from ofa_toolkit.spaces import get_space
from ofa_toolkit.spaces.space_file import space_reference
from ofa_toolkit.spaces.subnet_file import SubnetFile, to_document

SPACE = get_space("mobilenet-v3-compact")
SUBNETS = (SPACE.smallest(), SPACE.largest())
CONTEXT = ImportContext(space=SPACE, subnets=SUBNETS[:1])
SPACE = get_space("mobilenet-v3-compact")
SUBNETS = (SPACE.smallest(), SPACE.largest())
CONTEXT = ImportContext(space=SPACE, subnets=SUBNETS[:1])
SESSION: dict[str, Any] = {
    "type": "session",
    "format": "ofa-toolkit/kit-results",
    "version": 1,
    "target": "tensorrt-8.2",
    "space": space_reference(SPACE),
    "num_classes": SPACE.num_classes,
    "batch_size": 4,
    "backend": "trtexec",
    "backend_version": "8201",
    "precision": "fp16",
}
DOCUMENTS = [to_document(SubnetFile(space=SPACE, supernet=None, subnet=subnet)) for subnet in SUBNETS]


def result(probe: str, median: float, subnet: int = 0, **facts: Any) -> dict[str, Any]:
    return {"type": "result", "probe": probe, "subnet": DOCUMENTS[subnet], "median_ms": median, **facts}


def written(path: Path, *lines: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_results_of_a_kit(tmp_path: Path) -> None:
    board = {"power_mode": "MAXN", "governors": "performance", "gpu": "X1", "model": "Nano", "cpu": "A57"}
    path = written(
        tmp_path / "r.jsonl",
        {**SESSION, "board": board, "cuda_graph": True, "arguments": ["--x", "threads=3"]},
        result("000", 4.0, p25_ms=3.5, p75_ms=4.5, num_runs=50),
        {"type": "failure", "probe": "000"},
        {"type": "failure", "probe": "002"},
        {"type": "failure", "probe": "002"},
        result("001", 8.0, 1),
        {"type": "reference", "probe": "000", "median_ms": 4.16},
        {"type": "reference", "probe": "000"},
        {"type": "reference", "probe": "009", "median_ms": 9.0},
    )
    found = read_kit_results([path], ImportContext())
    assert [network.subnet for network in found.networks] == list(SUBNETS)
    assert [(n.latency_ms, n.spread, n.num_runs) for n in found.networks] == [
        (4.0, 0.25, 50),
        (8.0, None, None),
    ]
    assert (found.space, found.target) == (SPACE, "tensorrt-8.2")
    assert found.conditions == Conditions(
        runtime="tensorrt",
        runtime_version="8.2.1",
        precision="fp16",
        batch_size=4,
        clocks="power mode MAXN; CPU governor performance; GPU X1; CUDA graphs",
        power_mode="MAXN",
        threads=3,
        processor="X1",
    )
    assert found.caveats == ("1 network of the kit could not be timed.",)
    assert is_kit_results(path)
    assert not is_kit_results(written(tmp_path / "other", {"type": "session", "format": "x"}))
    assert not is_kit_results(written(tmp_path / "other", {"type": "result"}))


@pytest.mark.parametrize(("ratio", "said"), [(1.04, None), (0.96, None), (1.06, "6%"), (0.94, "6%")])
def test_a_reference_that_differs(ratio: float, said: str | None, tmp_path: Path) -> None:
    again = {"type": "reference", "probe": "000", "median_ms": 4.0 * ratio}
    steady = {"type": "reference", "probe": "000", "median_ms": 4.0}
    path = written(tmp_path / "r.jsonl", SESSION, result("000", 4.0), again, steady)
    caveats = read_kit_results([path], ImportContext()).caveats
    assert len(caveats) == (said is not None)
    alone = written(tmp_path / "alone.jsonl", SESSION, result("000", 4.0))
    assert read_kit_results([alone], ImportContext()).caveats == ()
    assert said is None or f"differed by up to {said}." in caveats[0]


@pytest.mark.parametrize(
    ("board", "facts"),
    [
        (
            {"governors": "ondemand", "model": "Nano", "cpu": "A57"},
            ("CPU governor ondemand", "ondemand", "Nano"),
        ),
        ({"cpu": "A57"}, (None, None, "A57")),
        ({}, (None, None, None)),
    ],
)
def test_what_a_board_tells_of_itself(
    board: dict[str, str], facts: tuple[str | None, ...], tmp_path: Path
) -> None:
    session = {**SESSION, "board": board, "backend": "another", "backend_version": None}
    path = written(tmp_path / "r.jsonl", session, result("000", 4.0, version="1.2"))
    found = read_kit_results([path], ImportContext()).conditions
    assert (found.clocks, found.power_mode, found.processor) == facts
    assert (found.runtime, found.runtime_version, found.threads) == ("another", "1.2", None)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([SESSION], "holds no result yet"),
        ([], "holds no results of a measuring kit"),
        ([{**SESSION, "format": "x"}, result("0", 1.0)], "holds no results of a measuring kit"),
        ([{**SESSION, "version": 2}, result("0", 1.0)], "is of version 2, not 1"),
        ([SESSION, {**SESSION, "precision": "fp32"}, result("0", 1.0)], "precision 'fp16' and 'fp32'"),
        ([SESSION, {**SESSION, "power_mode": "5W"}, result("0", 1.0)], "power_mode 'None' and '5W'"),
        ([SESSION, result("7", 0.0)], "network 7: 0.0 is not a positive time"),
    ],
)
def test_results_that_cannot_be_used(lines: list[dict[str, Any]], message: str, tmp_path: Path) -> None:
    path = written(tmp_path / "r.jsonl", *lines)
    with pytest.raises(FileFormatError, match=message):
        read_kit_results([path], ImportContext())


def test_results_belong_to_one_space_and_one_file(tmp_path: Path) -> None:
    path = written(tmp_path / "r.jsonl", SESSION, {**SESSION, "kit": None}, result("0", 1.0))
    assert len(read_kit_results([path], CONTEXT).networks) == 1
    with pytest.raises(FileFormatError, match="one file at a time"):
        read_kit_results([path, path], CONTEXT)
    with pytest.raises(MismatchError, match="is of space 'mobilenet-v3-compact', not of 'ofa-resnet50'"):
        read_kit_results([path], ImportContext(space=get_space("ofa-resnet50")))


def test_results_for_a_supernet_with_fewer_input_sizes(tmp_path: Path) -> None:
    space = get_space("efficientnet-lite0")
    part = space.with_resolutions((128,))
    document = to_document(SubnetFile(space=part, supernet=None, subnet=part.largest()))
    session = {**SESSION, "space": space_reference(part), "num_classes": 5}
    path = written(tmp_path / "r.jsonl", session, {**result("0", 1.0), "subnet": document})
    found = read_kit_results([path], ImportContext(space=part))
    assert (found.space, found.networks[0].subnet) == (space.with_num_classes(5), part.largest())
    with pytest.raises(SubnetNotInSpaceError, match="resolution 128"):
        read_kit_results([path], ImportContext(space=space.with_resolutions((160,))))
