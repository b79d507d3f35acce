"""Table files and look-ups: what is written is read, what is missing is named, nothing is silent."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from ofa_toolkit.core.errors import (
    ConfigError,
    FileFormatError,
    LatencyTableError,
    MismatchError,
    UnknownNameError,
)
from ofa_toolkit.latency import Device, LatencyTable, Variant, load_table, read_table, write_table
from ofa_toolkit.latency.predictors.entries import EntryPredictor
from ofa_toolkit.latency.predictors.intervals import ConformalBound
from ofa_toolkit.latency.predictors.signature import unit_signature
from ofa_toolkit.latency.table_file import TableContent, write_content
from ofa_toolkit.spaces import get_space, lower, restrict, sample_population
from ofa_toolkit.spaces.encoding import Encoding
from ofa_toolkit.spaces.units import UnitTables

SPACE = get_space("mobilenet-v3-compact")


def unit_times() -> dict[str, float]:
    times: dict[str, float] = {}
    for _, layers in UnitTables(SPACE).combinations():
        for unit_layers in layers.values():
            signature = unit_signature(unit_layers)
            times[signature] = 0.01 * len(signature)
    return times


def table_of(predictor: EntryPredictor, bound: ConformalBound | None = None) -> LatencyTable:
    content = TableContent(
        predictors=(predictor,), bound=bound, bound_space=SPACE.identity if bound else None
    )
    variant = Variant(
        name="own-onnxruntime-fp32-1",
        source="this machine",
        source_licence="own measurement",
        date="2026-01-31",
        runtime="onnxruntime",
        precision="fp32",
        batch_size=1,
        provenance="measured",
        method="each unit on its own",
        networks="units of the space",
        identity=content.identity,
    )
    device = Device(
        name="board",
        title="A board",
        kind="cpu",
        chip="x",
        default_variant=variant.name,
        variants=(variant,),
    )
    return LatencyTable(device=device, variant=variant, content=content)


@pytest.fixture(scope="module")
def predictor() -> EntryPredictor:
    return EntryPredictor(times_ms=unit_times(), bias_ms=0.5)


def test_a_written_table_is_read_back_and_found_by_name(predictor: EntryPredictor, tmp_path: Path) -> None:
    bound = ConformalBound(scores=np.linspace(-0.1, 0.1, 600, dtype=np.float32))
    table = table_of(predictor, bound)
    write_table(tmp_path / "board", table)
    for read in (read_table(tmp_path / "board"), load_table("board:own-onnxruntime-fp32-1", [tmp_path])):
        assert read.device == table.device
        assert read.identity == table.identity
        assert read.content.predictors == table.content.predictors
        assert read.content.bound is not None
        assert np.array_equal(read.content.bound.scores, bound.scores)


def test_a_population_gets_what_its_layers_get(predictor: EntryPredictor) -> None:
    table = table_of(predictor)
    population = sample_population(SPACE, 20, np.random.default_rng(0))
    predicted = table.bind(SPACE).predict(population)
    for latency, subnet in zip(predicted, Encoding(SPACE).decode(population), strict=True):
        assert table.predict_layers(lower(SPACE, subnet)).latency_ms == pytest.approx(latency, rel=1e-5)


def test_entries_serve_a_restricted_space(predictor: EntryPredictor) -> None:
    narrow = restrict(SPACE, kernel_sizes=[3], expand_ratios=[4])
    subnet = narrow.largest()
    table = table_of(predictor)
    in_narrow = table.bind(narrow).predict(Encoding(narrow).encode([subnet]))
    in_whole = table.bind(SPACE).predict(Encoding(SPACE).encode([subnet]))
    assert in_narrow == pytest.approx(in_whole)


def test_a_missing_unit_is_an_error_that_names_it(predictor: EntryPredictor) -> None:
    largest = lower(SPACE, SPACE.largest())
    block = [layer for layer in largest if layer.name.startswith("stages.2.1.")]
    times = dict(predictor.times_ms)
    del times[unit_signature(block)]
    bound = table_of(dataclasses.replace(predictor, times_ms=times)).bind(SPACE)
    population = Encoding(SPACE).encode([SPACE.smallest(), SPACE.largest()])
    assert bound.is_covered(population).tolist() == [True, False]
    with pytest.raises(LatencyTableError, match=r"1 of 2 subnets.*resolution 32.*stages\.2\.1"):
        bound.predict(population)


def test_a_space_without_any_entry_is_refused(predictor: EntryPredictor) -> None:
    with pytest.raises(LatencyTableError, match="does not cover the space 'ofa-resnet50'"):
        table_of(predictor).bind(get_space("ofa-resnet50"))


def test_bounds_are_claimed_only_where_held_out_subnets_back_them(predictor: EntryPredictor) -> None:
    few = np.ones(499)
    assert ConformalBound.from_held_out(few, few) is None
    population = sample_population(SPACE, 3, np.random.default_rng(1))
    with pytest.raises(LatencyTableError, match="uncalibrated"):
        table_of(predictor).bind(SPACE).upper_bound(population, 0.9)
    rng = np.random.default_rng(2)
    predicted = np.full(1000, 10.0)
    bound = ConformalBound.from_held_out(predicted * np.exp(rng.normal(0, 0.02, 1000)), predicted)
    assert bound is not None
    fresh = 10.0 * np.exp(rng.normal(0, 0.02, 20_000))
    for confidence in (0.5, 0.8, 0.9, 0.95):
        assert np.mean(fresh <= 10.0 * bound.factor(confidence)) == pytest.approx(confidence, abs=0.03)
    calibrated = table_of(predictor, bound).bind(SPACE)
    assert calibrated.is_calibrated
    ratio = calibrated.upper_bound(population, 0.9) / calibrated.predict(population)
    assert ratio == pytest.approx(np.full(3, bound.factor(0.9)))
    assert table_of(predictor, bound).bind(restrict(SPACE, kernel_sizes=[3])).is_calibrated
    elsewhere = table_of(predictor, bound)
    content = dataclasses.replace(elsewhere.content, bound_space=get_space("ofa-resnet50").identity)
    assert not dataclasses.replace(elsewhere, content=content).bind(SPACE).is_calibrated


@pytest.mark.parametrize("confidence", [0.0, 1.0, -1.0, 0.9999])
def test_a_confidence_out_of_reach_is_refused(confidence: float) -> None:
    bound = ConformalBound(scores=np.zeros(600, dtype=np.float32))
    with pytest.raises(LatencyTableError, match="confidence"):
        bound.factor(confidence)


def test_a_changed_table_is_refused(predictor: EntryPredictor, tmp_path: Path) -> None:
    table = table_of(predictor)
    write_table(tmp_path / "board", table)
    other = dataclasses.replace(predictor, bias_ms=0.6)
    write_content(tmp_path / "board" / f"{table.variant.name}.safetensors", TableContent(predictors=(other,)))
    with pytest.raises(MismatchError, match="identity"):
        read_table(tmp_path / "board")


def test_a_damaged_table_is_refused(predictor: EntryPredictor, tmp_path: Path) -> None:
    table = table_of(predictor)
    write_table(tmp_path / "board", table)
    path = tmp_path / "board" / f"{table.variant.name}.safetensors"
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(FileFormatError, match="damaged"):
        read_table(tmp_path / "board")


def test_unknown_names_get_the_nearest(predictor: EntryPredictor, tmp_path: Path) -> None:
    write_table(tmp_path / "board", table_of(predictor))
    with pytest.raises(UnknownNameError) as raised:
        load_table("bord", [tmp_path])
    assert "board" in (raised.value.hint or "")
    with pytest.raises(UnknownNameError, match="own-onnxruntime-fp32-1"):
        load_table("board:own-onnxruntime-fp16-1", [tmp_path])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "Own-x-fp32-1"}, "lower-case"),
        ({"name": "own-onnxruntime-fp32-8"}, "batch size"),
        ({"date": "31.1.2026"}, "YYYY-MM-DD"),
        ({"is_inferred": ("clock",)}, "not a field"),
    ],
)
def test_a_variant_must_state_its_conditions(
    predictor: EntryPredictor, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(table_of(predictor).variant, **changes)
