"""A calibration by hand: which weights, which probes, which error on a network that was left out."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from ofa_toolkit.complexity import PopulationComplexity
from ofa_toolkit.core.errors import LatencyTableError
from ofa_toolkit.latency import calibration
from ofa_toolkit.latency.calibration import (
    Prior,
    calibrate,
    expected_errors,
    fit_weights,
    spread_probes,
    spread_rows,
)
from ofa_toolkit.latency.device import Error
from ofa_toolkit.latency.predictors.entries import EntryPredictor
from ofa_toolkit.latency.predictors.signature import unit_signature
from ofa_toolkit.latency.table import LatencyTable
from ofa_toolkit.latency.table_file import TableContent
from ofa_toolkit.spaces import Encoding, get_space
from ofa_toolkit.spaces.units import UnitTables
from tests.unit.export.samples import device

SPACE = get_space("mobilenet-v3-compact-compound")
PROBES = Encoding(SPACE).encode([SPACE.smallest(), SPACE.largest()])
MIDDLE = PROBES[1].copy()
MIDDLE[4:] = PROBES[0][4:]  # the first stage at its largest
PROBES = np.concatenate([PROBES, MIDDLE[None]])
MMACS = PopulationComplexity(SPACE).macs(PROBES) / 1e6


def table(name: str, ms: float, *, errors: tuple[Error, ...] = (), variant: str = "made-up") -> LatencyTable:
    """So many ms for each layer of a network."""
    times: dict[str, float] = {}
    for _, by_unit in UnitTables(SPACE).combinations():
        times |= {unit_signature(layers): ms * len(layers) for layers in by_unit.values() if layers}
    content = TableContent(predictors=(EntryPredictor(times_ms=times),))
    made = device(name, tensorrt="8.2.1", capability=None)
    one = dataclasses.replace(
        made.variants[0], name=f"{variant}-fp32-1", errors=errors, identity=content.identity
    )
    return LatencyTable(device=made, variant=one, content=content)


@pytest.mark.parametrize(
    ("columns", "latencies", "weights"),
    [
        ([[1, 1], [2, 1], [3, 1]], [3, 5, 7], [2, 1]),
        ([[1, 0], [2, 0], [3, 0]], [3, 6, 9], [3, 0]),
        # 3 x - 1 without a negative weight: w = sum(r) / sum(r^2) of r = x / y = 1/2, 2/5, 3/8.
        ([[1, 1], [2, 1], [3, 1]], [2, 5, 8], [1.275 / 0.550625, 0]),
    ],
)
def test_weights_are_least_squares_on_relative_errors_and_not_negative(
    columns: Any, latencies: Any, weights: list[float]
) -> None:
    found = fit_weights(np.array(columns, dtype=float), np.array(latencies, dtype=float))
    assert found.tolist() == pytest.approx(weights, abs=1e-9)


def test_one_row_of_each_bin_and_the_nearest_for_an_empty_one() -> None:
    """Of 0 to 9 the outer half per cent is left out: five bins of 1.782 from 0.045 to 8.955."""
    for seed in range(5):
        chosen = spread_rows(np.arange(10.0), 5, np.random.default_rng(seed)).tolist()
        assert [chosen[0], chosen[4]] == [1, 8]
        assert (chosen[1] in (2, 3), chosen[2] in (4, 5), chosen[3] in (6, 7)) == (True, True, True)
        # Four bins over two crowds: the middles of the empty ones are 3.83 and 6.37.
        gap = np.array([0.0, 0.1, 0.2, 10.0, 10.1, 10.2])
        chosen = spread_rows(gap, 4, np.random.default_rng(seed)).tolist()
        assert (sorted(chosen[:2]), chosen[2:]) == ([1, 2], [3, 4])
    # Rows that are all alike lie in every bin, and none is taken twice.
    chosen = spread_rows(np.zeros(100), 5, np.random.default_rng(0)).tolist()
    assert len({*chosen, *range(5)}) == 10


def test_probes_are_chosen_from_fast_to_slow() -> None:
    prior = Prior(SPACE, [table("a", 0.1), table("b", 0.3)])
    probes = spread_probes(prior, 6, np.random.default_rng(0))
    times = prior.columns(probes)[:, 0]
    assert len(probes) == 6
    assert (np.diff(times) >= 0).all()


def test_columns_of_a_prior() -> None:
    elsewhere = dataclasses.replace(table("d", 0.1), content=TableContent(predictors=()))
    tables = [table("a", 0.1), elsewhere, table("b", 0.2), table("a", 0.3, variant="other")]
    prior = Prior(SPACE, tables)
    assert [each.name for each in prior.tables] == ["a:made-up-fp32-1", "b:made-up-fp32-1", "a:other-fp32-1"]
    assert prior.left_out == ["d:made-up-fp32-1"]
    columns = prior.columns(PROBES)
    assert columns.shape == (3, 5)
    assert columns[:, 1] == pytest.approx(2 * columns[:, 0], rel=1e-5)
    assert columns[:, 3] == pytest.approx(MMACS)
    assert columns[:, 4].tolist() == [1, 1, 1]
    # Without a table go those of its device; MACs and the constant stay.
    assert (prior.without(0), prior.without(1)) == ([1, 3, 4], [0, 2, 3, 4])
    with pytest.raises(LatencyTableError, match="No latency table to learn from covers"):
        Prior(SPACE, [elsewhere])


def test_three_probes_without_a_table_determine_a_line_through_the_two_that_are_left() -> None:
    prior = Prior(SPACE, [])
    latencies = 0.5 + 0.02 * MMACS
    found = calibrate(prior, PROBES, latencies)
    assert found.predictor.bias_ms == pytest.approx(0.5)
    assert found.predictor.ms_per_million_macs == pytest.approx(0.02)
    assert (found.members, found.predictor.num_probes) == ("none", 3)
    assert found.fitted_mape_percent == pytest.approx(0, abs=1e-6)
    assert found.held_out_mape_percent == pytest.approx(0, abs=1e-6)
    bent = latencies * [1, 1, 1.02]
    errors = []
    for out in range(3):
        (m1, y1), (m2, y2) = ((MMACS[n], bent[n]) for n in range(3) if n != out)
        line = y1 + (y2 - y1) / (m2 - m1) * (MMACS[out] - m1)
        errors.append(abs(line / bent[out] - 1))
    found = calibrate(prior, PROBES, bent)
    assert found.held_out_mape_percent == pytest.approx(100 * float(np.mean(errors)), rel=1e-4)
    (error,) = found.errors("each left out")
    assert error.mape_percent == round(100 * float(np.mean(errors)), 2)
    assert (error.num_networks, error.split, error.space) == (3, "each left out", SPACE.name)


def test_a_table_that_says_all_is_found() -> None:
    own = table("a", 0.1)
    prior = Prior(SPACE, [own])
    latencies = 2.5 * prior.columns(PROBES)[:, 0]
    found = calibrate(prior, PROBES, latencies)
    (member,) = found.predictor.members
    assert (member.table, member.identity, found.members) == (own.name, own.identity, own.name)
    assert member.weight == pytest.approx(2.5, rel=1e-3)
    assert (found.held_out_mape_percent, found.errors("x")) == (None, ())
    more = np.concatenate([PROBES, PROBES[:1]])
    more[3, 4:] = PROBES[1, 4:]
    four = calibrate(prior, more, 2.5 * prior.columns(more)[:, 0])
    assert four.held_out_mape_percent == pytest.approx(0, abs=0.01)
    for latency in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(LatencyTableError, match="not a positive number"):
            calibrate(prior, PROBES, np.array([1.0, 2.0, latency]))
    for count in (0, 2):
        with pytest.raises(LatencyTableError, match=f"{count} measured networks") as caught:
            calibrate(prior, PROBES[:count], latencies[:count])
        assert "calibrate --samples" in str(caught.value.hint)
    with pytest.raises(LatencyTableError) as caught:
        calibrate(Prior(SPACE, []), PROBES[:2], latencies[:2])
    assert caught.value.hint is None


def test_a_stand_in_s_probes_spread_over_what_the_others_predict(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[np.ndarray] = []

    def spread(predicted: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
        seen.append(predicted)
        return spread_rows(predicted, count, generator)

    monkeypatch.setattr(calibration, "spread_rows", spread)
    prior = Prior(SPACE, [table("a", 0.1), table("b", 0.2), table("c", 0.4)])
    expected_errors(prior, (3,), np.random.default_rng(0), num_draws=1)
    spread_probes(prior, 3, np.random.default_rng(0))
    # The mean logarithm, of which the three know each other's by their factors: (0.2, 0.4), (0.1, 0.4), ...
    middles = [np.log(np.array(pair)).mean() for pair in ((0.2, 0.4), (0.1, 0.4), (0.1, 0.2))]
    assert np.ptp([each - middle for each, middle in zip(seen, middles, strict=False)], axis=0).max() < 1e-5
    assert len(seen[3]) == len(seen[0]) > 1000


def test_devices_that_are_alike_without_noise_expect_no_error() -> None:
    exact = (
        Error(mape_percent=0.0, num_networks=3, split="s"),
        Error(mape_percent=9.0, num_networks=3, split="s"),
    )
    prior = Prior(SPACE, [table("a", 0.1, errors=exact), table("b", 0.2, errors=exact)])
    found = expected_errors(prior, (3, 5), np.random.default_rng(0), num_draws=3)
    assert [(error.num_probes, error.num_draws) for error in found] == [(3, 6), (5, 6)]
    for error in found:
        assert error.mape_percent == pytest.approx(0, abs=1e-3)
        assert error.worst_mape_percent == pytest.approx(0, abs=1e-3)
    # Of unknown error: disturbed by one per cent, which many probes average.
    unknown = Prior(SPACE, [table("a", 0.1), table("b", 0.2)])
    (few,) = expected_errors(unknown, (3,), np.random.default_rng(0))
    assert 0.1 < few.mape_percent < few.worst_mape_percent < 20
    assert few.num_draws == 2 * 10
    stated = (Error(mape_percent=1.0, num_networks=3, split="s"),)
    known = Prior(SPACE, [table("a", 0.1, errors=stated), table("b", 0.2, errors=stated)])
    assert expected_errors(known, (3,), np.random.default_rng(0)) == [few]
    for alone in ([table("a", 0.1)], [table("a", 0.1), table("a", 0.2, variant="other")]):
        with pytest.raises(LatencyTableError, match="at least two devices"):
            expected_errors(Prior(SPACE, alone), (3,), np.random.default_rng(0))
