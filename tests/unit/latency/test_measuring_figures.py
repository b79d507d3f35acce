"""What becomes of clocks, bursts and timed networks, by figures worked out by hand."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from ofa_toolkit.complexity import count_params
from ofa_toolkit.core.errors import MeasurementError
from ofa_toolkit.core.journal import Journal
from ofa_toolkit.latency.measuring.effort import Effort
from ofa_toolkit.latency.measuring.measure import (
    Estimate,
    TimedItem,
    estimates,
    measure,
    open_journal,
    pinned,
    reference_drift,
)
from ofa_toolkit.latency.measuring.measured_table import (
    MeasuredSpace,
    TableAccuracy,
    UnitCorrection,
    build_table,
    corrected_predictor,
    fit_correction,
    network_items,
    networks,
    unit_items,
    unit_times,
)
from ofa_toolkit.latency.measuring.own_table import file_table, journal_header, journal_path, variant_name
from ofa_toolkit.latency.predictors.entries import EntryPredictor
from ofa_toolkit.latency.predictors.signature import unit_signature
from ofa_toolkit.latency.runtimes import RuntimeOptions, RunTimes
from ofa_toolkit.latency.runtimes.runtime import input_shape, time_calls
from ofa_toolkit.spaces import Encoding, get_space, lower, restrict, sample_population
from ofa_toolkit.spaces.layer_spec import LayerSpec
from ofa_toolkit.spaces.units import unit_of
from tests.heard import Heard
from tests.unit.latency.made_up_runtime import MadeUpRuntime

SPACE = get_space("mobilenet-v3-compact-compound")
LAYERS = lower(SPACE, SPACE.smallest())


class CountingSession:
    """The n-th of its runs in a row takes n ms by the clock, half of which others had."""

    def __init__(self, *, has_cpu: bool = True) -> None:
        self.asked: list[int] = []
        self._has_cpu = has_cpu

    def time_runs(self, num_runs: int) -> RunTimes:
        self.asked.append(num_runs)
        wall = np.arange(1.0, num_runs + 1)
        return RunTimes(wall_ms=wall, cpu_ms=wall / 2 if self._has_cpu else None)


class CountingRuntime:
    name: ClassVar[str] = "counting"
    version = "1"
    device_name = "none"

    def __init__(self, options: RuntimeOptions | None = None, *, has_cpu: bool = True) -> None:
        self.options = options or RuntimeOptions(processor="cuda")
        self.sessions: list[CountingSession] = []
        self._has_cpu = has_cpu

    def prepare(self, layers: Sequence[LayerSpec], seed: int) -> CountingSession:
        del layers, seed
        self.sessions.append(CountingSession(has_cpu=self._has_cpu))
        return self.sessions[-1]


ITEMS = (
    TimedItem(key="unit a", layers=LAYERS),
    TimedItem(key="unit b", layers=LAYERS),
    TimedItem(key="fit 0", layers=LAYERS, row=(1, 2)),
)


def effort(**changes: Any) -> Effort:
    return Effort(
        **{
            "num_passes": 2,
            "num_rounds": 1,
            "num_network_rounds": 3,
            "burst_ms": 3.5,
            "chunk_size": 2,
            **changes,
        }
    )


def test_bursts_of_a_measurement(tmp_path: Path) -> None:
    """The fastest of three runs takes half a ms, so seven fill a burst of 3.5 ms; one run before it."""
    runtime, journal, heard = CountingRuntime(), Journal(tmp_path / "j.jsonl"), Heard()
    measure(runtime, ITEMS, ITEMS[0], journal, effort(), seed=0, reporter=heard)
    asked = sorted(session.asked for session in runtime.sessions[1:])
    assert asked == [[3, 1, 7]] * 4 + [[3, 1, 7, 1, 7, 1, 7]] * 2
    results = journal.of_type("result")
    assert sorted((line["item"], line["pass"]) for line in results) == sorted(
        (item.key, number) for item in ITEMS for number in (0, 1)
    )
    for line in results:
        num_bursts = 3 if line["item"] == "fit 0" else 1
        assert line["wall_ms"] == [4.0] * num_bursts
        assert line["cpu_ms"] == [2.0] * num_bursts
        assert (line["min_ms"], line["num_runs"], line["waiting"]) == (0.5, 7 * num_bursts, 0.5)
        assert line.get("row") == ([1, 2] if line["item"] == "fit 0" else None)
    # Timed with each chunk of two or one, as often as the item that is timed most often.
    references = journal.of_type("reference")
    assert sorted(len(line["wall_ms"]) for line in references) == [1, 1, 3, 3]
    assert [(step.done, step.total) for step in heard.steps] == [(0, 6), (2, 6), (3, 6), (5, 6), (6, 6)]
    assert heard.messages == []


@pytest.mark.parametrize(("burst_ms", "num_runs"), [(0.1, 5), (2.4, 5), (3.0, 6), (100.0, 200), (1e9, 200)])
def test_a_burst_has_five_to_two_hundred_runs(burst_ms: float, num_runs: int, tmp_path: Path) -> None:
    runtime = CountingRuntime()
    measure(
        runtime, ITEMS[:1], ITEMS[0], Journal(tmp_path / "j"), effort(burst_ms=burst_ms, num_passes=1), seed=0
    )
    assert runtime.sessions[1].asked == [3, 1, num_runs]


def test_what_is_there_is_not_timed_again(tmp_path: Path) -> None:
    runtime, journal, heard = CountingRuntime(has_cpu=False), Journal(tmp_path / "j.jsonl"), Heard()
    done = {"type": "result", "wall_ms": [1.0], "num_runs": 5}
    journal.append(
        *({**done, "item": "unit a", "pass": n} for n in (0, 1)), {**done, "item": "fit 0", "pass": 1}
    )
    measure(runtime, ITEMS, ITEMS[0], journal, effort(), seed=0, reporter=heard)
    fresh = journal.of_type("result")[3:]
    assert sorted((line["item"], line["pass"]) for line in fresh) == [
        ("fit 0", 0),
        ("unit b", 0),
        ("unit b", 1),
    ]
    assert not any({"cpu_ms", "waiting"} & set(line) for line in fresh)
    assert fresh[0]["min_ms"] == 1.0
    assert heard.messages == ["3 of 6 results are there from before."]
    assert [step.done for step in heard.steps] == [3, 5, 6]


def test_a_journal_goes_on_under_its_own_conditions(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    journal = open_journal(path, {"batch_size": 1, "num_fit": 3})
    assert [line["type"] for line in journal.lines] == ["header"]
    assert len(open_journal(path, {"batch_size": 1, "num_fit": 3}).lines) == 1
    journal.append({"type": "result"})
    with pytest.raises(MeasurementError, match="begun with num_fit = 3; now it is 4"):
        open_journal(path, {"batch_size": 1, "num_fit": 4})
    message = r"begun with space = another 'mine'; now it is 'mine'\."
    table = open_journal(tmp_path / "table.jsonl", {"space": {"name": "mine"}}).path
    with pytest.raises(MeasurementError, match=message):
        open_journal(table, {"space": "mine"})


def test_spaces_of_one_name_have_journals_of_their_own(tmp_path: Path) -> None:
    runtime, whole = MadeUpRuntime(RuntimeOptions()), get_space("mobilenet-v3-compact")
    others = (whole.with_num_classes(5), whole.with_resolutions((40,)), restrict(whole, kernel_sizes=[3]))
    paths = []
    for space in (whole, *others):
        path = journal_path(tmp_path, runtime, space)
        assert not path.exists()
        path.parent.mkdir(exist_ok=True)
        open_journal(path, journal_header(space, runtime))
        paths.append(path)
    assert [journal_path(tmp_path, runtime, space) for space in (whole, *others)] == paths
    assert len(set(paths)) == 4


def test_an_item_is_its_quietest_burst_over_all_passes(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.jsonl")
    shared = {"type": "result", "num_runs": 7}
    journal.append(
        {
            **shared,
            "item": "a",
            "wall_ms": [9.0] * 3,
            "cpu_ms": [5.0, 2.0, 3.0],
            "waiting": 0.1,
            "row": [1, 2],
        },
        {**shared, "item": "b", "wall_ms": [4.0, 6.0, 5.0]},
        {**shared, "item": "a", "wall_ms": [9.0] * 2, "cpu_ms": [4.0, 6.0], "waiting": 0.4, "row": [1, 2]},
        {"type": "reference", "wall_ms": [0.1]},
    )
    # Quartiles of 2, 3, 4, 5, 6 are 3 and 5; of 4, 5, 6 they are 4.5 and 5.5.
    assert estimates(journal) == {
        "a": Estimate(time_ms=2.0, median_ms=4.0, spread=1.0, waiting=0.25, num_runs=14, row=(1, 2)),
        "b": Estimate(time_ms=4.0, median_ms=5.0, spread=0.25, waiting=None, num_runs=7, row=None),
    }


def test_drift_is_told_from_four_bursts_on(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.jsonl")
    journal.append({"type": "reference", "wall_ms": [1.0, 2.0, 3.0]}, {"type": "result", "wall_ms": [9.0]})
    assert reference_drift(journal) is None
    journal.append({"type": "reference", "wall_ms": [9.0], "cpu_ms": [4.0]})
    # Quartiles of 1, 2, 3, 4: 1.75, 2.5, 3.25.
    assert reference_drift(journal) == pytest.approx(1.5 / 2.5)


@pytest.mark.parametrize(("processor", "bound_to"), [("cpu", [[2, 5], {0, 1, 2, 5}]), ("cuda", [])])
def test_threads_of_the_cpu_are_kept_on_the_last_cores(
    processor: Any, bound_to: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(os, "sched_getaffinity", {0: {0, 1, 2, 5}}.__getitem__)  # of this process
    monkeypatch.setattr(os, "sched_setaffinity", lambda pid, cores: calls.append(cores if pid == 0 else pid))
    with (
        contextlib.suppress(KeyError),
        pinned(CountingRuntime(RuntimeOptions(processor=processor, num_threads=2))),
    ):
        assert calls == bound_to[:1]
        raise KeyError
    assert calls == bound_to


def test_calls_are_timed_by_the_clock_and_by_their_processor_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "perf_counter_ns", iter([100, 2_000_100, 5_000_000, 9_000_000] * 2).__next__)
    monkeypatch.setattr(time, "thread_time_ns", iter([0, 1_500_000, 1_600_000, 2_600_000] * 2).__next__)
    called: list[int] = []
    times = time_calls(lambda: called.append(1), 2, is_one_thread=True)
    assert len(called) == 2
    assert times.cpu_ms is not None
    assert times.wall_ms.tolist() == pytest.approx([2.0, 4.0])
    assert times.own_ms.tolist() == times.cpu_ms.tolist() == pytest.approx([1.5, 1.0])
    several = time_calls(lambda: None, 2, is_one_thread=False)
    assert several.cpu_ms is None
    assert several.own_ms.tolist() == pytest.approx([2.0, 4.0])
    assert input_shape(LAYERS, 4) == (4, 3, 32, 32)


def test_a_correction_is_a_factor_a_time_per_unit_and_one_per_byte() -> None:
    correction = UnitCorrection(scale=2.0, per_unit_ms=0.1, per_megabyte_ms=0.3)
    assert correction.apply(0.5, 2.0) == pytest.approx(2 * 0.5 + 0.1 + 0.3 * 2)
    assert UnitCorrection().apply(0.5, 2.0) == 0.5
    assert UnitCorrection(scale=0.0).apply(0.5, 2.0) == pytest.approx(0.1)  # a fifth
    times = unit_times({item.key: estimate(0.5) for item in unit_items(SPACE)})
    for item in unit_items(SPACE):
        signature = unit_signature(item.layers)
        entry = corrected_predictor(SPACE, times, correction).times_ms[signature]
        assert entry == pytest.approx(1.1 + 0.3 * 4 * count_params(item.layers) / 1e6)
        break
    assert corrected_predictor(SPACE, {signature: 0.5}, correction).times_ms.keys() == {signature}


def test_accuracy_is_relative_to_the_measurement() -> None:
    accuracy = TableAccuracy.of(np.array([2.0, 3.0]), np.array([1.0, 4.0]))
    assert accuracy == TableAccuracy(mape_percent=62.5, spearman=None, num_networks=2)
    three = TableAccuracy.of(np.array([1.0, 3.0, 2.0]), np.array([1.0, 2.0, 3.0]))
    assert three.spearman == pytest.approx(0.5)  # 1 - 6 x 2 / (3 x 8)
    error = TableAccuracy(mape_percent=1.23456, spearman=0.987654, num_networks=3).as_error("split", "space")
    assert (error.mape_percent, error.spearman, error.num_networks) == (1.23, 0.9877, 3)
    assert (error.split, error.space) == ("split", "space")
    assert accuracy.as_error("split", "space").spearman is None


def estimate(time_ms: float, row: tuple[int, ...] | None = None, **known: Any) -> Estimate:
    facts = {"median_ms": time_ms, "spread": 0.0, "waiting": None, "num_runs": 30, **known}
    return Estimate(time_ms=time_ms, row=row, **facts)


def test_networks_of_a_kind() -> None:
    found = {"fit 0": estimate(2.0, (1, 2)), "fit 1": estimate(3.0), "fitted": estimate(4.0, (1, 2))}
    rows, times = networks(found, "fit")
    assert (rows.tolist(), times.tolist()) == ([[1, 2]], [2.0])
    assert unit_times({"unit a b": estimate(2.0), "unite": estimate(3.0), "fit 0": estimate(4.0)}) == {
        "a b": 2.0
    }


def test_a_law_of_three_numbers_is_found_again() -> None:
    """Networks that take 0.9 of their units' times, 0.01 ms a unit and 2 ms per 10^6 bytes of weights."""
    rows = np.unique(sample_population(SPACE, 300, np.random.default_rng(0)), axis=0)
    times = {
        item.key.removeprefix("unit "): 0.05 + 0.03 * (number % 5)
        for number, item in enumerate(unit_items(SPACE))
    }
    measured = []
    for item in network_items(SPACE, "fit", rows):
        units: dict[str, list[LayerSpec]] = {}
        for layer in item.layers:
            units.setdefault(unit_of(layer.name), []).append(layer)
        total = sum(times[unit_signature(own)] for own in units.values())
        measured.append(0.9 * total + 0.01 * len(units) + 2.0 * 4e-6 * count_params(item.layers))
    found = fit_correction(SPACE, times, rows, np.array(measured))
    assert found.scale == pytest.approx(0.9, abs=0.02)
    assert found.per_unit_ms == pytest.approx(0.01, abs=0.003)
    assert found.per_megabyte_ms == pytest.approx(2.0, abs=0.2)
    assert fit_correction(SPACE, times, rows[:0], np.array([])) == UnitCorrection()
    # One network decides nothing by itself: where the plain sum is its time, nothing is corrected.
    (item,) = network_items(SPACE, "fit", Encoding(SPACE).encode([SPACE.smallest()]))
    units = {
        unit_of(layer.name): [each for each in item.layers if unit_of(each.name) == unit_of(layer.name)]
        for layer in item.layers
    }
    total = sum(times[unit_signature(own)] for own in units.values())
    one = fit_correction(SPACE, times, np.array([item.row], dtype=np.uint8), np.array([total]))
    found = (one.scale, one.per_unit_ms, one.per_megabyte_ms)
    assert found == pytest.approx((1.0, 0.0, 0.0), abs=1e-6)


def test_a_table_needs_every_unit_and_a_network_to_check() -> None:
    units = {
        item.key: estimate(0.5, waiting=0.1 * (n % 2), spread=0.1) for n, item in enumerate(unit_items(SPACE))
    }
    rows = sample_population(SPACE, 3, np.random.default_rng(0))
    checked = {item.key: estimate(4.0, item.row, spread=9.0) for item in network_items(SPACE, "check", rows)}
    table = build_table(SPACE, units | checked)
    assert (table.num_units, table.num_fit, table.space) == (len(units), 0, SPACE.name)
    assert table.waiting == pytest.approx(0.05)
    assert table.spread == pytest.approx(0.1)  # at the median
    assert table.correction == UnitCorrection()
    assert table.accuracy.mape_percent == table.uncorrected.mape_percent > 0
    assert table.accuracy.num_networks == 3
    assert table.bound is None
    silent = {key: estimate(each.time_ms, each.row) for key, each in (units | checked).items()}
    assert build_table(SPACE, silent).waiting is None
    _first, *others = units
    for found in ({key: units[key] for key in others} | checked, units):
        with pytest.raises(MeasurementError, match="is not finished"):
            build_table(SPACE, found)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (RuntimeOptions(), "this-machine-made-up-fp32-1"),
        (RuntimeOptions(num_threads=2, batch_size=8), "this-machine-made-up-2-threads-fp32-8"),
        (RuntimeOptions(processor="cuda", num_threads=2, precision="fp16"), "this-machine-made-up-fp16-1"),
    ],
)
def test_a_variant_is_named_by_its_conditions(options: RuntimeOptions, name: str) -> None:
    runtime = MadeUpRuntime(options)
    assert variant_name(runtime) == name
    assert journal_path(Path("d"), runtime, SPACE) == Path(f"d/measurements/{name}.{SPACE.name}.jsonl")


@pytest.mark.parametrize(
    ("waiting", "drift", "words"),
    [
        (None, None, []),
        (0.03, 0.05, []),
        (0.031, 0.04, ["for 3% of"]),
        (0.0, 0.052, ["varied by 5%"]),
        (0.5, 0.5, ["for 50% of", "varied by 50%"]),
    ],
)
def test_load_and_drift_are_told_where_they_are_seen(
    waiting: float | None, drift: float | None, words: list[str], tmp_path: Path
) -> None:
    accuracy = TableAccuracy(mape_percent=1.0, spearman=None, num_networks=2)
    measured = MeasuredSpace(
        space=SPACE.name,
        predictor=EntryPredictor(times_ms={"stem": 1.0}),
        correction=UnitCorrection(),
        accuracy=accuracy,
        uncorrected=accuracy,
        bound=None,
        num_units=5,
        num_fit=7,
        waiting=waiting,
        spread=0.0,
    )
    table = file_table(tmp_path, "board", MadeUpRuntime(), measured, drift, SPACE)
    assert len(table.variant.caveats) == len(words)
    for word, caveat in zip(words, table.variant.caveats, strict=True):
        assert word in caveat
    assert (table.device.kind, table.variant.threads) == ("cpu", 1)
    assert "(processor time, " in table.variant.method
    assert table.variant.clocks.startswith("governor ")
    assert table.variant.networks == f"{SPACE.name}: 5 units, 7 random subnets for the correction"
    assert (table.content.bound, table.content.bound_space) == (None, None)
    for name, options in (
        ("threads", RuntimeOptions(num_threads=2)),
        ("gpu", RuntimeOptions(processor="cuda")),
    ):
        other = file_table(tmp_path, name, MadeUpRuntime(options), measured, drift, SPACE)
        assert "(time, " in other.variant.method
        assert other.device.kind == ("gpu" if name == "gpu" else "cpu")
        assert other.variant.threads == (None if name == "gpu" else 2)
        assert (other.variant.clocks == "unknown") == (name == "gpu")
