"""Which predictor of a table serves, what is said with it, and what a device states, by hand."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pytest

from ofa_toolkit.core.errors import ConfigError, LatencyTableError, UnknownNameError
from ofa_toolkit.latency.device import UNKNOWN, Device, Error, Peak, Software
from ofa_toolkit.latency.predictors.intervals import ConformalBound
from ofa_toolkit.latency.predictors.predictor import LayersLatency, NotCovered, SizeNote
from ofa_toolkit.latency.stated_error import Asked, StatedError, stated_error
from ofa_toolkit.latency.table import BoundLatency, LatencyTable
from ofa_toolkit.latency.table_file import TableContent
from ofa_toolkit.spaces import Encoding, SearchSpace, get_space, lower, sample_population
from ofa_toolkit.spaces.encoding import Population
from ofa_toolkit.spaces.layer_spec import LayerSpec
from tests.unit.export.samples import device

SPACE = get_space("mobilenet-v3-compact-compound")
TWO_SIZES = SPACE.with_resolutions((32, 64))
LARGEST = lower(SPACE, SPACE.largest())
NINE = ConformalBound(scores=np.log(np.arange(1.0, 10.0)).astype(np.float32))


class Bound:
    """A predictor of a constant, that covers so many of the subnets."""

    fitted_on = "nothing"

    def __init__(
        self, ms: float, share: float, extrapolations: tuple[str, ...], note: SizeNote | None
    ) -> None:
        self.ms, self.share, self.extrapolations, self.note = ms, share, extrapolations, note

    def predict(self, population: Population) -> np.ndarray:
        found = np.full(len(population), float(self.ms))
        found[math.ceil(self.share * len(population)) :] = np.nan
        return found

    def uncovered(self, row: np.ndarray) -> str:
        return f"row {row.tolist()}"

    def size_note(self, resolution: int) -> SizeNote | None:
        return self.note if resolution > 32 else None


@dataclasses.dataclass(frozen=True)
class Constant:
    kind: ClassVar[str] = "constant"
    ms: float
    share: float | None = 1.0
    extrapolations: tuple[str, ...] = ()
    size: SizeNote | None = None

    def bind(self, space: SearchSpace) -> Bound | NotCovered:
        del space
        if self.share is None:
            return NotCovered(reason=f"no {self.ms:g}")
        return Bound(self.ms, self.share, self.extrapolations, self.size)

    def predict_layers(self, layers: Sequence[LayerSpec]) -> LayersLatency | NotCovered:
        del layers
        if self.share is None:
            return NotCovered(reason=f"no {self.ms:g}")
        return LayersLatency(latency_ms=self.ms, extrapolations=self.extrapolations, size=self.size)


def table_of(*predictors: Any, **facts: Any) -> LatencyTable:
    made = device("board", tensorrt="8.2.1", capability=None)
    variant = dataclasses.replace(made.variants[0], **facts)
    return LatencyTable(device=made, variant=variant, content=TableContent(predictors=predictors))


FAR = ("far from it",)


@pytest.mark.parametrize(
    ("predictors", "ms"),
    [
        ([Constant(1), Constant(2)], 1),
        ([Constant(1, 0.5), Constant(2)], 2),
        ([Constant(1, 0.5), Constant(2, 0.75), Constant(3, 0.25)], 2),
        ([Constant(1, 0.5), Constant(2, 0.5)], 1),
        ([Constant(1, extrapolations=FAR), Constant(2)], 2),
        ([Constant(1, extrapolations=FAR), Constant(2, extrapolations=FAR)], 1),
        ([Constant(1, extrapolations=FAR), Constant(2, 0.25)], 2),
        ([Constant(1, extrapolations=FAR), Constant(2, 0.0)], 1),
        ([Constant(1, 0.0)], None),
        ([Constant(1, extrapolations=FAR), Constant(2, 0.5), Constant(3, 0.0)], 2),
        ([Constant(1, None), Constant(2)], 2),
    ],
)
def test_the_exact_predictor_that_covers_most_serves_a_space(
    predictors: list[Constant], ms: float | None
) -> None:
    bound = table_of(*predictors).bind(SPACE)
    rows = sample_population(SPACE, 4, np.random.default_rng(0))
    if ms is None:
        with pytest.raises(LatencyTableError, match=r"does not cover 4 of 4 subnets.*resolution 32: row"):
            bound.predict(rows)
    else:
        if bound.is_covered(rows[:1])[0]:
            assert bound.predict(rows[:1]).tolist() == [ms]
        covered = bound.is_covered(rows)
        share = next(p.share for p in predictors if p.ms == ms)
        assert covered.sum() == 4 * (share or 0)


def test_a_space_without_a_predictor_gets_the_reasons() -> None:
    with pytest.raises(LatencyTableError, match=r"does not cover the space '.*': no 1; no 2"):
        table_of(Constant(1, None), Constant(2, None)).bind(SPACE)
    with pytest.raises(LatencyTableError, match="does not cover the network: no 1"):
        table_of(Constant(1, None)).predict_layers(LARGEST)


NEAR_SIZE, FAR_SIZE = SizeNote(text="a little off", is_far=False), SizeNote(text="off", is_far=True)


@pytest.mark.parametrize(
    ("predictors", "ms", "notes", "warning"),
    [
        ([Constant(1), Constant(2)], 1, (), None),
        ([Constant(1, None), Constant(2)], 2, (), None),
        ([Constant(1, extrapolations=FAR), Constant(2)], 2, (), None),
        (
            [Constant(1, extrapolations=FAR), Constant(2, size=NEAR_SIZE)],
            1,
            FAR,
            "far from it; yours is another network: expect about 7 %",
        ),
        (
            [Constant(1, size=NEAR_SIZE)],
            1,
            ("resolution 32: a little off",),
            "resolution 32: a little off; yours has 32 pixels: expect about 7 %",
        ),
        (
            [Constant(1, size=FAR_SIZE)],
            1,
            ("resolution 32: off",),
            "yours has 32 pixels: how far it is off is unchecked",
        ),
    ],
)
def test_a_network_is_predicted_by_the_first_that_need_not_extrapolate(
    predictors: list[Constant], ms: float, notes: tuple[str, ...], warning: str | None
) -> None:
    error = Error(kind="families", mape_percent=7.0, num_networks=3, split="s")
    found = table_of(*predictors, errors=(error,)).predict_layers(LARGEST)
    assert (found.latency_ms, found.extrapolations) == (ms, notes)
    assert found.error.percent == 7.0
    assert len(found.warnings) == bool(notes)
    if warning is not None:
        assert warning in found.warnings[0]


def test_streams_tell_images_a_second() -> None:
    rows = sample_population(SPACE, 2, np.random.default_rng(0))
    stream = table_of(Constant(4.0), name="made-up-fp32-8", batch_size=8, measures="throughput").bind(SPACE)
    assert stream.is_throughput
    assert stream.throughput(rows).tolist() == [2000.0, 2000.0]  # eight in four ms
    assert not table_of(Constant(4.0)).bind(SPACE).is_throughput


def test_notes_group_the_sizes_of_a_population() -> None:
    table = table_of(Constant(4.0, extrapolations=FAR, size=NEAR_SIZE))
    bound = table.bind(SPACE.with_resolutions((32, 48, 64)))
    rows = sample_population(bound.space, 30, np.random.default_rng(0))
    assert bound.notes(rows) == (*FAR, "resolution 48, 64: a little off")
    assert bound.notes(rows[rows[:, 0] == 0]) == FAR
    (warning,) = bound.warnings(rows)
    assert "fitted on nothing; yours has 48, 64 pixels: " in warning
    (warning,) = bound.warnings(rows[rows[:, 0] == 0])
    assert f"yours is of {bound.space.name}: " in warning
    assert "Ten networks measured there mend it" in warning
    assert table_of(Constant(4.0)).bind(SPACE).warnings(rows[rows[:, 0] == 0]) == ()
    stream = table_of(Constant(4.0, extrapolations=FAR), measures="throughput").bind(SPACE)
    assert "mend it" not in stream.warnings(rows[rows[:, 0] == 0])[0]


@pytest.mark.parametrize(
    ("fall", "error", "is_said"),
    [(0.9, None, False), (1.1, None, True), (4.9, 5.0, False), (5.1, 5.0, True), (0.9, 0.1, False)],
)
def test_a_fall_is_said_beyond_the_error_and_one_percent(
    fall: float, error: float | None, is_said: bool
) -> None:
    class Falling(Bound):
        def predict(self, population: Population) -> np.ndarray:
            """The largest alone takes less than all others."""
            return np.where((population == largest).all(axis=1), 100.0 - fall, 100.0)

    space = get_space("mobilenet-v3-compact")
    largest = Encoding(space).encode([space.largest()])
    smaller = largest.copy()
    smaller[0, 1] = 3  # the first block with a kernel of 3 instead of 5
    errors = () if error is None else (Error(kind="families", mape_percent=error, num_networks=3, split="s"),)
    bound = BoundLatency(table_of(errors=errors), space, Falling(0, 1, (), None))
    assert bound.warnings(largest) == ()
    lines = bound.warnings(np.concatenate([largest, smaller]))
    assert len(lines) == is_said
    if is_said:
        reason = "and its error is unknown" if error is None else f"beyond its error of {error:g} %"
        grown = "with kernel size 5 instead of 3 in stage 1, block 1"
        assert f"{grown} a subnet is predicted {fall:.1f} % faster, {reason}" in lines[0]


def test_a_bound_is_for_its_own_space_and_a_factor_on_the_prediction() -> None:
    rows = sample_population(SPACE, 2, np.random.default_rng(0))

    def bound(
        space: SearchSpace, of: str | None, predictor: Constant, scores: ConformalBound | None = NINE
    ) -> Any:
        content = TableContent(predictors=(predictor,), bound=scores, bound_space=of)  # type: ignore[arg-type]
        return dataclasses.replace(table_of(), content=content).bind(space)

    own = bound(SPACE, SPACE.identity, Constant(2.0))
    assert (own.is_calibrated, own.interval) == (True, "calibrated")
    assert own.upper_bound(rows, 0.5).tolist() == pytest.approx([10.0, 10.0])
    for other, why in (
        (bound(SPACE, TWO_SIZES.identity, Constant(2.0)), "of another space"),
        (bound(SPACE, None, Constant(2.0)), "of another space"),
        (bound(SPACE, SPACE.identity, Constant(2.0, extrapolations=FAR)), "of another space"),
        (bound(SPACE, SPACE.identity, Constant(2.0), None), "fewer than 500"),
    ):
        assert (other.is_calibrated, other.interval) == (False, "uncalibrated")
        with pytest.raises(LatencyTableError, match=why):
            other.upper_bound(rows, 0.5)


def error(**facts: Any) -> Error:
    return Error(**{"mape_percent": 4.0, "num_networks": 2, "split": "s", "space": "x", **facts})


@pytest.mark.parametrize(
    ("deviations", "listed", "worst"),
    [
        (None, (), 4.0),
        ({}, (), 4.0),
        ({"a": -9.0}, (-9.0,), 9.0),
        ({"a": -9.0, "b": 3.0}, (-9.0, 3.0), 9.0),
        ({"a": -9.0, "b": 3.0, "c": 1.0}, (), 4.0),
    ],
)
def test_the_worst_of_few_networks_is_the_error(
    deviations: dict[str, float] | None, listed: tuple[float, ...], worst: float
) -> None:
    made = error(deviations=deviations)
    assert (made.listed, made.worst_percent, made.how_found) == (listed, worst, "s; x")


def test_where_nine_of_ten_lie() -> None:
    made = dataclasses.replace(
        table_of().variant, errors=(error(kind="families", within_percent=(-12.4, 20.6)),)
    )
    found = stated_error(made, Asked(family="ResNet"))
    assert found.text == "mean error 4 %; nine of ten within -12 to +21 %"
    assert found.interval_around(200.0) == pytest.approx((175.2, 241.2))
    assert (
        StatedError(percent=1.0, is_checked=True, how=None, by_device={}, text="").interval_around(2) is None
    )
    assert not made.has_few_networks  # modelled
    assert dataclasses.replace(made, provenance="fitted").has_few_networks
    assert not dataclasses.replace(made, provenance="fitted", errors=(error(),)).has_few_networks


def test_one_device_shows_one_figure_its_worst() -> None:
    errors = (error(device="a", mape_percent=9.0), error(device="a", mape_percent=3.0), error(kind="blocks"))
    found = stated_error(dataclasses.replace(table_of().variant, errors=errors), Asked(family="ResNet"))
    assert (found.text, found.by_device) == ("unchecked here, 9 % on a", {"a": 9.0})
    assert (found.percent, found.is_checked, found.how) == (9.0, False, "s; x")


def made(*names: str, **facts: Any) -> Device:
    one = table_of().variant
    variants = tuple(dataclasses.replace(one, name=f"{name}-fp32-1") for name in names)
    parts = {"name": "board", "title": "board", "kind": "cpu", "chip": UNKNOWN}
    return Device(**{**parts, "default_variant": variants[0].name, "variants": variants, **facts})


def test_a_device_adds_what_another_description_states_beyond_it() -> None:
    full = made(
        *("b", "a"),
        title="A Board",
        chip="X1",
        aliases={"one": "", "two": "slower"},
        compute_capability="5.3",
        memory_gb=4.0,
        software=Software(tensorrt="8.2"),
        peak=Peak(fp32_tflops=1.0),
        links=("l",),
    )
    merged = made("c").over(full)
    assert [variant.name for variant in merged.variants] == ["a-fp32-1", "b-fp32-1", "c-fp32-1"]
    assert merged.default_variant == "c-fp32-1"
    facts = {"variants": full.variants, "default_variant": full.default_variant}
    assert dataclasses.replace(merged, **facts) == full
    own = made("b", title="Mine", chip="X2", aliases={"two": ""}, memory_gb=8.0, compute_capability="7.2")
    own = dataclasses.replace(own, software=Software(python="3.6"), peak=Peak(int8_tops=2.0), links=("m",))
    mixed = own.over(full)
    assert mixed.aliases == {"one": "", "two": ""}
    kept = ("title", "chip", "memory_gb", "compute_capability", "software", "peak", "links")
    assert [getattr(mixed, name) for name in kept] == [getattr(own, name) for name in kept]
    assert made("a").over(made("b")).aliases is None


def test_variants_are_found_by_their_names() -> None:
    two = made("b", "a")
    assert two.variant().name == "b-fp32-1"
    assert two.variant("a-fp32-1").name == "a-fp32-1"
    with pytest.raises(UnknownNameError, match="variant of board 'c'"):
        two.variant("c")
    with pytest.raises(ConfigError, match="'a-fp32-1' appears twice"):
        made("b", "a", "a")
    with pytest.raises(ConfigError, match="'c' is not among the variants: b-fp32-1"):
        made("b", default_variant="c")
    with pytest.raises(ConfigError, match="not a device's name"):
        made("b", name="My Board")


def test_a_name_ends_with_the_power_mode() -> None:
    one = table_of().variant
    assert dataclasses.replace(one, name="made-up-fp32-1-10w", power_mode="10w").power_mode == "10w"
    with pytest.raises(ConfigError, match="must end with '-fp32-1-10w'"):
        dataclasses.replace(one, name="made-up-fp32-1", power_mode="10w")
