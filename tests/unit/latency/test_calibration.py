"""Calibration: recovers what the probes follow, spreads them, and refuses what cannot be fitted."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from ofa_tk.app import run
from ofa_toolkit.complexity import PopulationComplexity
from ofa_toolkit.core.errors import FileFormatError, LatencyTableError
from ofa_toolkit.latency.calibration import (
    Calibration,
    Prior,
    calibrate,
    expected_errors,
    spread_probes,
    spread_rows,
)
from ofa_toolkit.latency.kit.probes_file import Probes, read_probes, write_probes
from ofa_toolkit.latency.table import LatencyTable, load_table
from ofa_toolkit.latency.table_file import TableContent
from ofa_toolkit.spaces import get_space, sample_population
from ofa_toolkit.spaces.space_file import dumps_space

SPACE = get_space("ofa-mobilenet-v3-w1.2").with_resolutions((160, 224))


@pytest.fixture(scope="module")
def prior() -> Prior:
    return Prior(SPACE, [load_table(name) for name in ("v100", "titan-xp", "tesla-p40")])


def test_ten_probes_recover_a_mixture(prior: Prior) -> None:
    weights = np.array([0.4, 0.0, 0.2, 0.01, 1.5])
    probes = spread_probes(prior, 10, np.random.default_rng(0))
    found = calibrate(prior, probes, prior.columns(probes) @ weights)
    assert found.fitted_mape_percent < 0.1
    assert found.held_out_mape_percent is not None
    assert found.held_out_mape_percent < 0.5
    fresh = sample_population(SPACE, 50, np.random.default_rng(1))
    bound = found.predictor.bind(SPACE)
    assert bound.predict(fresh) == pytest.approx(prior.columns(fresh) @ weights, rel=0.01)


def test_a_table_that_covers_a_part_of_the_space_is_left_out() -> None:
    base = get_space("mobilenet-v3-compact")
    stages = tuple(dataclasses.replace(stage, expand_ratios=(2.5, 5)) for stage in base.stages)
    space = dataclasses.replace(base, name="mine", stages=stages)
    prior = Prior(space, [load_table(name) for name in ("epyc-zen5", "titan-xp")])
    assert [table.device.name for table in prior.tables] == ["titan-xp"]
    assert [name.partition(":")[0] for name in prior.left_out] == ["epyc-zen5"]
    assert np.isfinite(prior.columns(sample_population(space, 50, np.random.default_rng(1)))).all()


def test_a_space_of_a_file_is_calibrated_by_the_printed_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    space = dataclasses.replace(get_space("mobilenet-v3-compact"), name="mine", bn_eps=1e-3, num_classes=7)
    Path("mine.toml").write_text(dumps_space(space))
    plan = ["latency", "calibrate", "--plan", "4", "--space", "mine.toml", "--device", "jetson-nano"]
    assert run(plan) == 0
    assert "kit build --probes probes.json --target jetson-nano\n" in capsys.readouterr().err
    document = json.loads(Path("probes.json").read_text())
    assert read_probes("probes.json").space == space
    for number, probe in enumerate(document["probes"]):
        probe["latency_ms"] = 1.0 + number
    Path("probes.json").write_text(json.dumps(document))
    conditions = ["--device", "my-dev", "--runtime", "tensorrt", "--precision", "fp16", "--out", "tables"]
    assert run(["latency", "calibrate", "probes.json", *conditions]) == 0
    assert "Next: ofa-tk search --space FILE.toml --maximize macs --device my-dev" in capsys.readouterr().err


def test_no_weight_is_negative(prior: Prior) -> None:
    probes = spread_probes(prior, 8, np.random.default_rng(3))
    odd = np.random.default_rng(4).uniform(5, 50, 8)
    found = calibrate(prior, probes, odd).predictor
    assert all(member.weight > 0 for member in found.members)
    assert found.bias_ms >= 0
    assert found.ms_per_million_macs >= 0


def test_probes_spread_over_the_range() -> None:
    predicted = np.random.default_rng(0).normal(size=2000)
    chosen = spread_rows(predicted, 10, np.random.default_rng(1))
    assert len(set(chosen)) == 10
    values = np.sort(predicted[chosen])
    assert values[0] < np.quantile(predicted, 0.05)
    assert values[-1] > np.quantile(predicted, 0.95)
    assert np.diff(values).max() < 3 * (values[-1] - values[0]) / 10


def test_what_cannot_be_fitted_is_refused(prior: Prior) -> None:
    probes = spread_probes(prior, 4, np.random.default_rng(0))
    good = np.full(4, 10.0)
    with pytest.raises(LatencyTableError, match="too few"):
        calibrate(prior, probes[:2], good[:2])
    with pytest.raises(LatencyTableError, match="not a positive number"):
        calibrate(prior, probes, np.array([10.0, 0.0, 10.0, 10.0]))
    with pytest.raises(LatencyTableError, match="twice"):
        calibrate(prior, probes[[0, 1, 2, 2]], good)
    with pytest.raises(LatencyTableError, match="covers the space 'ofa-resnet50'"):
        Prior(get_space("ofa-resnet50"), [load_table("v100")])


def test_more_probes_promise_no_larger_error(prior: Prior) -> None:
    errors = expected_errors(prior, (4, 40), np.random.default_rng(0), num_draws=4)
    assert [error.num_probes for error in errors] == [4, 40]
    assert errors[1].mape_percent < errors[0].mape_percent
    assert all(error.worst_mape_percent >= error.mape_percent for error in errors)


def test_probes_survive_their_file(tmp_path: Path) -> None:
    space = get_space("ofa-mobilenet-v3-w1.2")
    population = sample_population(space, 4, np.random.default_rng(0))
    latencies = np.array([1.5, np.nan, 3.0, np.nan])
    write_probes(tmp_path / "p.json", Probes(space=space, population=population, latencies_ms=latencies))
    read = read_probes(tmp_path / "p.json")
    assert np.array_equal(read.population, population)
    assert read.measured().latencies_ms.tolist() == [1.5, 3.0]


@pytest.mark.parametrize("latency", [0, -1, "3", True])
def test_a_bad_latency_is_named(tmp_path: Path, latency: object) -> None:
    space = get_space("mobilenet-v3-compact")
    population = sample_population(space, 2, np.random.default_rng(0))
    path = tmp_path / "p.json"
    write_probes(path, Probes(space=space, population=population, latencies_ms=np.array([1.0, 2.0])))
    document = json.loads(path.read_text())
    document["probes"][1]["latency_ms"] = latency
    path.write_text(json.dumps(document))
    with pytest.raises(FileFormatError, match="probe 2"):
        read_probes(path)


def test_results_of_a_kit_are_no_probes_file(tmp_path: Path) -> None:
    for name in ("r.jsonl", "r.json", "r.txt"):
        (tmp_path / name).write_text('{"type": "session"}\n{"type": "result"}\n')
        with pytest.raises(FileFormatError) as caught:
            read_probes(tmp_path / name)
        assert ("reads the results of a kit" in str(caught.value.hint)) == (name == "r.jsonl")


def test_the_commands_lead_from_a_plan_to_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OFA_TK_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    like = ["--like", "v100", "--like", "titan-xp", "--batch-size", "64"]
    assert run(["latency", "calibrate", "--plan", "6", "--space", "ofa-mobilenet-v3-w1.2", *like]) == 0
    probes = read_probes("probes.json")
    truth = PopulationComplexity(probes.space).macs(probes.population) / 1e7 + 3
    write_probes("probes.json", Probes(space=probes.space, population=probes.population, latencies_ms=truth))
    filled_in = Path("probes.json").read_bytes()
    assert run(["latency", "calibrate", "--plan", "6", "--space", "ofa-mobilenet-v3-w1.2", *like]) == 1
    assert "'probes.json' holds times that were filled in" in capsys.readouterr().err
    assert Path("probes.json").read_bytes() == filled_in
    command = ["latency", "calibrate", "probes.json", "--device", "my-board", "--runtime", "tensorrt"]
    assert run([*command, "--precision", "fp16", *like, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["provenance"] == "transferred"
    table = load_table("my-board")
    assert table.identity == report["identity"]
    assert table.bind(probes.space).predict(probes.population) == pytest.approx(truth, rel=0.02)
    assert run([*command, "--precision", "fp16", *like]) == 0  # the same again
    others = Probes(space=probes.space, population=probes.population, latencies_ms=truth * 2)
    write_probes("probes.json", others)
    assert run([*command, "--precision", "fp16", *like]) == 1
    assert "--force" in capsys.readouterr().err
    assert run([*command, "--precision", "fp16", *like, "--force"]) == 0


def test_a_plan_becomes_networks_to_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    space = "mobilenet-v3-compact-compound"
    plan = ["calibrate", "--plan", "4", "--space", space, "--like", "jetson-nano", "--device", "rtx-4090"]
    assert run(["latency", *plan]) == 0
    shown = capsys.readouterr().err
    assert "calibrate probes.json --device rtx-4090 --runtime tensorrt --precision fp16" in shown
    assert shown.endswith("Next: ofa-tk latency kit build --probes probes.json --target tensorrt-10.3\n")
    assert run(["latency", *shown.splitlines()[-1].split()[3:]]) == 0
    with zipfile.ZipFile("kit.zip") as kit:
        packed = json.loads(kit.read("kit.json"))["probes"]
        assert sum(name.endswith(".onnx") for name in kit.namelist()) == 4
    assert sorted(probe["row"] for probe in packed) == sorted(read_probes("probes.json").population.tolist())
    assert (
        run(["latency", "kit", "build", "--probes", "probes.json", "--space", space, "--target", "v100"]) == 2
    )


@pytest.mark.parametrize(
    "arguments", [[], ["--plan", "5"], ["--samples", "--plan", "5"], ["p.json", "--device", "x"]]
)
def test_incomplete_requests_are_usage_errors(arguments: list[str]) -> None:
    assert run(["latency", "calibrate", *arguments]) == 2


def test_networks_of_its_own_space_are_no_other_networks(tmp_path: Path) -> None:
    """The table's members know nothing of the space; the combination was fitted to networks of it."""
    space = get_space("mobilenet-v3-compact")
    prior = Prior(space, [load_table("jetson-nano")])
    probes = sample_population(space, 6, np.random.default_rng(0))
    table = calibrated_table(calibrate(prior, probes, prior.columns(probes)[:, 0] * 2))
    assert prior._bound[0].extrapolations
    for own in (space, get_space("mobilenet-v3-compact-compound")):
        assert table.bind(own).extrapolations == ()
        assert table.bind(own).notes(sample_population(own, 3, np.random.default_rng(1))) == ()
    other = table.bind(get_space("mobilenet-v3-compact-96"))
    assert other.extrapolations[0] == "calibrated with networks of mobilenet-v3-compact"


def calibrated_table(calibration: Calibration) -> LatencyTable:
    content = TableContent(predictors=(calibration.predictor,))
    made = load_table("jetson-nano")
    variant = dataclasses.replace(made.variant, identity=content.identity)
    return LatencyTable(device=made.device, variant=variant, content=content)
