"""Kits, their results and journals against the schemas of the formats page."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ofa_toolkit.latency.kit.board import agent
from ofa_toolkit.latency.measuring.effort import Effort
from ofa_toolkit.pipelines.latency import measure as pipeline
from ofa_toolkit.pipelines.latency.kit import make_kit
from ofa_toolkit.pipelines.latency.measure import measure_latency
from ofa_toolkit.pipelines.latency.request import KitRequest, MeasureRequest
from ofa_toolkit.pipelines.schemas import SCHEMAS
from tests.unit.latency.made_up_runtime import MadeUpRuntime
from tests.unit.latency.trtexec_stand_in import write_stand_in

SPACE = "mobilenet-v3-compact-compound"


def validator(name: str) -> jsonschema.Draft202012Validator:
    schema = SCHEMAS[name]()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_kits_and_their_results(tmp_path: Path) -> None:
    kit, results = tmp_path / "kit.zip", tmp_path / "results.jsonl"
    make_kit(KitRequest(out=kit, target="tensorrt-11.0", space=SPACE, num_probes=3))
    with zipfile.ZipFile(kit) as archive:
        validator("kit").validate(json.loads(archive.read("kit.json")))
    program = write_stand_in(tmp_path / "trtexec", "11", fails_on="stages.0.1.")
    agent.main(["--kit", str(kit), "--trtexec", str(program), "--out", str(results)])
    checked = validator("kit-results")
    for line in lines(results):
        checked.validate(line)
    assert {line["type"] for line in lines(results)} == {"session", "result", "failure", "reference"}


def test_journals(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pipeline, "RUNTIMES", {"made-up": lambda _options: MadeUpRuntime()})
    effort = Effort(num_passes=1, num_rounds=1, num_network_rounds=1, burst_ms=0.1)
    report = measure_latency(
        MeasureRequest(space=SPACE, runtime="made-up", folder=tmp_path, num_fit=3, num_check=3, effort=effort)
    )
    checked = validator("measurements")
    for line in lines(report.journal):
        checked.validate(line)
    assert {line["type"] for line in lines(report.journal)} == {"header", "result", "reference"}
