"""Predictions, bounds and choices among predictors, by figures worked out by hand."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from ofa_toolkit.complexity import count_macs
from ofa_toolkit.core.errors import LatencyTableError
from ofa_toolkit.latency.predictors.combination import Combination, WeighedTable
from ofa_toolkit.latency.predictors.entries import EntryPredictor
from ofa_toolkit.latency.predictors.intervals import ConformalBound
from ofa_toolkit.latency.predictors.layer_features import LAYER_FEATURES, layer_features
from ofa_toolkit.latency.predictors.layer_model import (
    CORRECTION_FEATURES,
    KernelCorrection,
    LayerModel,
    correction_inputs,
    matern,
)
from ofa_toolkit.latency.predictors.predictor import LayersLatency, NotCovered, SizeNote
from ofa_toolkit.latency.predictors.signature import layer_signature, unit_at, unit_signature
from ofa_toolkit.latency.predictors.space_table import SpaceTable
from ofa_toolkit.spaces import Encoding, SearchSpace, get_space, lower
from ofa_toolkit.spaces.layer_spec import LayerSpec
from ofa_toolkit.spaces.units import Unit, UnitTables
from tests.unit.latency.test_table_choices import Constant

SPACE = get_space("mobilenet-v3-compact-compound")
TWO_SIZES = SPACE.with_resolutions((32, 64))
SMALLEST, LARGEST = lower(SPACE, SPACE.smallest()), lower(SPACE, SPACE.largest())


def layer(kind: Any = "conv", **facts: Any) -> LayerSpec:
    shape = {"in_channels": 4, "out_channels": 4, "in_size": 8, "out_size": 8}
    return LayerSpec(**{"name": "x", "kind": kind, "inputs": ("input",), **shape, **facts})


NINE = ConformalBound(scores=np.log(np.arange(1.0, 10.0)).astype(np.float32))


@pytest.mark.parametrize(
    ("confidence", "factor"), [(0.05, 1), (0.1, 1), (0.11, 2), (0.5, 5), (0.8, 8), (0.85, 9), (0.9, 9)]
)
def test_a_bound_is_the_score_of_rank_n_plus_one_times_the_confidence(
    confidence: float, factor: float
) -> None:
    assert NINE.factor(confidence) == pytest.approx(factor, rel=1e-6)


def test_a_bound_says_what_it_can_support() -> None:
    with pytest.raises(LatencyTableError, match="more than this table's 9 held-out") as caught:
        NINE.factor(0.91)
    assert caught.value.hint == "Ask for at most 0.9."
    with pytest.raises(LatencyTableError) as caught:
        ConformalBound(scores=np.zeros(2, dtype=np.float32)).factor(0.7)
    assert caught.value.hint == "Ask for at most 0.666."
    for outside in (0.0, 1.0, -0.5, 1.5):
        with pytest.raises(LatencyTableError, match="not between 0 and 1"):
            NINE.factor(outside)


def test_scores_are_logarithms_of_measured_by_predicted_in_order() -> None:
    measured = np.linspace(900.0, 400.0, 501)
    bound = ConformalBound.from_held_out(measured, np.full(501, 200.0))
    assert bound is not None
    assert bound.scores[[0, -1]].tolist() == pytest.approx([math.log(2), math.log(4.5)])
    assert ConformalBound.from_held_out(measured[:500], np.ones(500)) is not None
    assert ConformalBound.from_held_out(measured[:499], np.ones(499)) is None


@pytest.mark.parametrize(
    ("one", "features"),
    [
        (
            layer(out_channels=6, out_size=4),
            {"pointwise_macs": 384, "pointwise_in": 256, "pointwise_out": 96, "pointwise_weights": 24},
        ),
        (
            layer(kernel_size=3, groups=4, activation="h_swish"),
            {"depthwise_macs": 2304, "depthwise_in": 256, "depthwise_out": 256, "depthwise_weights": 36}
            | {"smooth_out": 256},
        ),
        (
            layer(kernel_size=3, activation="relu"),
            {"dense_macs": 9216, "dense_in": 256, "dense_out": 256, "dense_weights": 144},
        ),
        (layer(groups=2), {"dense_macs": 512, "dense_in": 256, "dense_out": 256, "dense_weights": 8}),
        (layer(in_size=1, out_size=1, out_channels=6, activation="swish"), {"vector_weights": 24}),
        (layer("linear", in_size=1, out_size=1, out_channels=10), {"vector_weights": 40}),
        (layer("add", activation="sigmoid"), {"add_out": 256, "smooth_out": 256}),
        (layer("scale", activation="relu6"), {"scale_out": 256}),
        (layer("global_avg_pool", out_size=1), {"pool_in": 256}),
        (layer("max_pool", out_size=4), {"pool_in": 256}),
        (layer("avg_pool", out_size=4), {"pool_in": 256}),
        (layer("concat"), {}),
    ],
)
def test_features_of_a_layer(one: LayerSpec, features: dict[str, float]) -> None:
    """In millions; launches in units."""
    launches = {
        "num_convolutions": one.kind == "conv" and one.in_size > 1,
        "num_vector_layers": one.has_weights and one.in_size == 1,
        "num_scales": one.kind == "scale",
        "num_adds": one.kind == "add",
    }
    expected = {name: 1e-6 * amount for name, amount in features.items()}
    expected |= {name: 1.0 for name, is_so in launches.items() if is_so}
    found = dict(zip(LAYER_FEATURES, layer_features([one]), strict=True))
    assert {name: amount for name, amount in found.items() if amount} == pytest.approx(expected)
    assert layer_features([one, one]) == pytest.approx(2 * layer_features([one]))


@pytest.mark.parametrize(
    ("one", "text"),
    [
        (layer(batch_norm=True), "conv 4x8 4x8 k1"),
        (layer(), "conv 4x8 4x8 k1 nobias"),
        (layer(bias=True, activation="relu"), "conv 4x8 4x8 k1 relu"),
        (layer(bias=True, kernel_size=3, padding=1, stride=2, out_size=4), "conv 4x8 4x4 k3 s2"),
        (layer(bias=True, kernel_size=3, padding=0, out_size=6), "conv 4x8 4x6 k3 p0"),
        (layer(bias=True, kernel_size=3, padding=0, extra_padding=1, stride=2), "conv 4x8 4x8 k3 s2 p0+1"),
        (layer(batch_norm=True, kernel_size=5, padding=2, groups=4), "conv 4x8 4x8 k5 g4"),
        (layer("max_pool", kernel_size=3, padding=1, stride=2, out_size=4), "max_pool 4x8 4x4 k3 s2"),
        (layer("global_avg_pool", kernel_size=8, out_size=1), "global_avg_pool 4x8 4x1"),
        (layer("linear", in_size=1, out_size=1, bias=True), "linear 4x1 4x1"),
        (layer("add"), "add 4x8 4x8"),
    ],
)
def test_signatures_of_layers(one: LayerSpec, text: str) -> None:
    assert layer_signature(one) == text


def test_signatures_of_units_tell_how_layers_are_connected() -> None:
    unit = [
        layer(name="a", inputs=("before",), bias=True),
        layer(name="b", inputs=("a",), bias=True),
        layer("add", name="c", inputs=("b", "before", "other")),
        layer("scale", name="d", inputs=("c", "a")),
    ]
    conv = "conv 4x8 4x8 k1"
    assert unit_signature(unit) == (
        f"{conv} <^0>; {conv} <-1>; add 4x8 4x8 <-1,^0,^1>; scale 4x8 4x8 <-1,-3>"
    )
    assert unit_at(np.array([9, 2, 9, 1]), Unit("u", (1, 3), (5, 4))) == 2 * 4 + 1


def model(features: np.ndarray, low: float = 1.0, high: float = 1.0, **facts: Any) -> LayerModel:
    """Fitted on networks of these features, times two factors."""
    parts = {
        "coefficients": np.arange(len(LAYER_FEATURES), dtype=float),
        "bias_ms": 0.25,
        "correction": None,
        "fitted_on": "two networks",
        "smallest": low * features,
        "largest": high * features,
        "smallest_resolution": 32,
        "largest_resolution": 64,
    }
    return LayerModel(**{**parts, **facts})


FEATURES = layer_features(LARGEST)


def test_a_layer_model_is_a_weighted_sum() -> None:
    answer = model(FEATURES).predict_layers(LARGEST)
    assert isinstance(answer, LayersLatency)
    assert answer.latency_ms == pytest.approx(0.25 + sum(n * amount for n, amount in enumerate(FEATURES)))
    assert answer.size is None
    assert answer.extrapolations == ("predicted from layer features fitted on two networks",)


@pytest.mark.parametrize(
    ("low", "high", "is_outside"),
    [(1.0, 1.0, False), (1.4, 1.0, False), (1.6, 2.0, True), (0.5, 1 / 1.4, False), (0.5, 1 / 1.6, True)],
)
def test_half_as_much_again_is_outside(low: float, high: float, is_outside: bool) -> None:
    answer = model(FEATURES, low, high).predict_layers(LARGEST)
    assert isinstance(answer, LayersLatency)
    assert len(answer.extrapolations) == 1 + is_outside
    if is_outside:
        (names,) = (note.partition(": ")[2].split(", ") for note in answer.extrapolations[1:])
        assert names == [
            name.replace("_", " ") for name, amount in zip(LAYER_FEATURES, FEATURES, strict=True) if amount
        ]


def test_work_that_neither_it_nor_the_fitted_networks_have_is_not_outside() -> None:
    one = [layer(in_size=40, out_size=40)]
    answer = model(layer_features(one)).predict_layers(one)
    assert isinstance(answer, LayersLatency)
    assert len(answer.extrapolations) == 1


@pytest.mark.parametrize(("share", "is_refused"), [(0.099, True), (0.101, False)])
def test_ten_times_the_dense_weights_are_another_kind_of_network(share: float, is_refused: bool) -> None:
    one = model(FEATURES, 0.01, share)
    assert isinstance(one.predict_layers(LARGEST), NotCovered) == is_refused
    assert isinstance(one.bind(SPACE), NotCovered) == is_refused


def test_a_space_whose_largest_subnet_has_too_many_dense_weights_is_refused() -> None:
    resnet = get_space("ofa-resnet50")
    small, large = (layer_features(lower(resnet, each)) for each in (resnet.smallest(), resnet.largest()))
    column = LAYER_FEATURES.index("dense_weights")
    share = (small[column] / large[column] + 1) / 2
    assert share < 0.9
    assert isinstance(model(large, 0.01, 0.1 * share).bind(resnet), NotCovered)


@pytest.mark.parametrize(
    ("size", "note"),
    [
        (32, None),
        (48, None),
        (64, None),
        (31, SizeNote(text="outside the fitted range 32-64", is_far=False)),
        (65, SizeNote(text="outside the fitted range 32-64", is_far=False)),
        (16, SizeNote(text="outside the fitted range 32-64", is_far=False)),
        (128, SizeNote(text="outside the fitted range 32-64", is_far=False)),
        (15, SizeNote(text="far outside the fitted range 32-64", is_far=True)),
        (129, SizeNote(text="far outside the fitted range 32-64", is_far=True)),
    ],
)
def test_sizes_outside_the_fitted_ones(size: int, note: SizeNote | None) -> None:
    assert model(FEATURES).size_note(size) == note


def test_the_size_of_a_network_is_that_of_its_image() -> None:
    for first, second, is_outside in ((80, 40, True), (40, 20, False)):
        layers = [layer(in_size=first, out_size=second), layer(in_size=second, out_size=second)]
        answer = model(FEATURES).predict_layers(layers)
        assert isinstance(answer, LayersLatency)
        assert (answer.size is not None) == is_outside


def test_the_kernel_is_matern_three_halves() -> None:
    """At distance d: (1 + sqrt(3) d / l) exp(-sqrt(3) d / l)."""
    points = np.array([[0.0, 0.0], [3.0, 4.0]], dtype=np.float32)
    scaled = math.sqrt(3) * 5 / 2
    far = (1 + scaled) * math.exp(-scaled)
    assert matern(points, points, 2.0).tolist() == pytest.approx(np.array([[1, far], [far, 1]]), rel=1e-5)
    # Squared distances of nothing that rounding makes negative are none.
    many = np.random.default_rng(0).normal(scale=50, size=(200, 12)).astype(np.float32)
    assert np.isfinite(matern(many, many, 2.0)).all()


def test_a_correction_multiplies_by_the_exponential_of_the_weighed_kernel() -> None:
    """Its inputs are logarithms: of MACs with a hundredth of a million, the others relative to these."""
    amounts = np.zeros((1, len(LAYER_FEATURES)))
    for name, amount in (("pointwise_macs", 0.99), ("pointwise_in", 1.99), ("num_convolutions", 3.0)):
        amounts[0, LAYER_FEATURES.index(name)] = amount
    expected = [0.0, math.log(2.0), *[math.log(0.01)] * (len(CORRECTION_FEATURES) - 3), math.log(4.0)]
    assert correction_inputs(amounts)[0].tolist() == pytest.approx(expected, abs=1e-6)
    size = len(CORRECTION_FEATURES)
    correction = KernelCorrection(
        mean=correction_inputs(amounts)[0] - 2,
        scale=np.full(size, 4, dtype=np.float32),
        centres=np.full((1, size), 0.5, dtype=np.float32),  # (x - mean) / scale
        weights=np.array([0.3], dtype=np.float32),
        length=1.0,
    )
    assert correction.factor(correction_inputs(amounts))[0] == pytest.approx(math.exp(0.3), rel=1e-5)
    corrected = model(amounts[0], correction=correction)
    plain = 0.25 + float(amounts[0] @ np.arange(len(LAYER_FEATURES)))
    assert corrected.predict_features(amounts)[0] == pytest.approx(plain * math.exp(0.3), rel=1e-5)


def test_parts_of_another_program_are_refused() -> None:
    description, tensors = model(FEATURES).to_parts()
    with pytest.raises(ValueError, match="features differ"):
        LayerModel.from_parts({**description, "features": [*LAYER_FEATURES[1:]]}, tensors)
    description, tensors = EntryPredictor(times_ms={"a": 1.0, "b": 2.0}, bias_ms=0.5).to_parts()
    assert EntryPredictor.from_parts(description, tensors) == EntryPredictor(
        times_ms={"a": 1.0, "b": 2.0}, bias_ms=0.5
    )
    for name, value in (("granularity", "layer"), ("scale", 2.0)):
        with pytest.raises(ValueError, match="not units that are added up"):
            EntryPredictor.from_parts({**description, name: value}, tensors)
    for times in ([1.0], [1.0, math.nan]):
        with pytest.raises(ValueError, match="do not match"):
            EntryPredictor.from_parts(description, {**tensors, "times_ms": np.array(times)})


def space_table(
    space: SearchSpace = SPACE, resolutions: tuple[int, ...] = (32,), head: Any = "sum"
) -> SpaceTable:
    """A ms for each unit that has layers, and a tenth of a second figure."""
    tables = UnitTables(space).tables(lambda _layers: np.array([1.0, 0.1][: 1 if head == "sum" else 2]))
    return SpaceTable(
        space=space, head=head, tables=tuple(t.astype(np.float32) for t in tables), resolutions=resolutions
    )


@pytest.mark.parametrize(
    ("size", "text", "is_far"),
    [
        (128, None, False),
        (192, None, False),
        (160, "not measured, interpolated from 128-192", False),
        (96, "not measured, extrapolated from 128-192", False),
        (384, "not measured, extrapolated from 128-192", False),
        (63, "far outside the measured range 128-192", True),
        (385, "far outside the measured range 128-192", True),
    ],
)
def test_sizes_between_and_beyond_the_measured_ones(size: int, text: str | None, is_far: bool) -> None:
    bound = space_table(resolutions=(192, 128)).bind(SPACE)
    assert not isinstance(bound, NotCovered)
    assert bound.size_note(size) == (None if text is None else SizeNote(text=text, is_far=is_far))
    assert bound.fitted_on == f"subnets of {SPACE.name} at 128 to 192 pixels"
    one = space_table(resolutions=(32,)).bind(SPACE)
    assert not isinstance(one, NotCovered)
    assert one.fitted_on.endswith(" at 32 pixels")


def test_damaged_space_tables_are_refused() -> None:
    description, tensors = space_table(head="max").to_parts()
    assert SpaceTable.from_parts(description, tensors).head == "max"
    cases = [
        ({**description, "head": "mean"}, tensors, "unknown head 'mean'"),
        ({**description, "space_identity": "0"}, tensors, "stated identity"),
        ({**description, "head": "sum"}, tensors, "the table of stem has the shape"),
    ]
    for parts, arrays, message in cases:
        with pytest.raises(ValueError, match=message):
            SpaceTable.from_parts(parts, arrays)


def test_another_number_of_stages_shares_nothing() -> None:
    fewer = dataclasses.replace(SPACE, name="fewer", stages=SPACE.stages[:4])
    assert isinstance(space_table().bind(fewer), NotCovered)
    assert isinstance(space_table().predict_layers(LARGEST), NotCovered)


def entries(
    space: SearchSpace = SPACE, left_out: str = "", ms: float = 0.5, bias: float = 0.25
) -> EntryPredictor:
    """Half a ms for each unit, but for those with the shapes of the one that is left out."""
    units = [pair for _, by_unit in UnitTables(space).combinations() for pair in by_unit.items() if pair[1]]
    without = {unit_signature(layers) for name, layers in units if name == left_out}
    times = {unit_signature(layers): ms for _, layers in units}
    return EntryPredictor(
        times_ms={key: time for key, time in times.items() if key not in without}, bias_ms=bias
    )


def test_units_that_were_measured_are_added_up() -> None:
    """The smallest has a stem, five blocks and a head; the largest fifteen blocks."""
    for layers, num_units in ((SMALLEST, 7), (LARGEST, 17)):
        answer = entries().predict_layers(layers)
        assert isinstance(answer, LayersLatency)
        assert answer.latency_ms == pytest.approx(0.25 + 0.5 * num_units)
    missing = entries(left_out="stages.0.2").predict_layers(LARGEST)
    assert isinstance(missing, NotCovered)
    assert missing.reason.startswith("not measured: stages.0.1 (conv ")


def combination(*members: Any, space: SearchSpace = SPACE, **facts: Any) -> Combination:
    return Combination(
        **{
            "members": tuple(
                WeighedTable(table="a:b", identity="0", predictors=tuple(predictors), weight=weight)
                for weight, *predictors in members
            ),
            "bias_ms": 0.5,
            "ms_per_million_macs": 0.01,
            "probes_space": space.identity,
            "probes_space_name": space.name,
            "num_probes": 5,
            **facts,
        }
    )


def test_a_combination_is_a_weighted_sum_with_macs_and_a_constant() -> None:
    mixed = combination((2.0, entries()), (3.0, space_table(), entries(ms=1.0)))
    answer = mixed.predict_layers(LARGEST)
    assert isinstance(answer, LayersLatency)
    own, other = 0.25 + 0.5 * 17, 0.25 + 17
    assert answer.latency_ms == pytest.approx(0.5 + 0.01e-6 * count_macs(LARGEST) + 2 * own + 3 * other)
    assert answer.extrapolations == (f"calibrated with networks of {SPACE.name}",)
    assert answer.size is None
    row = Encoding(SPACE).encode([SPACE.largest()])
    bound = mixed.bind(SPACE)
    assert not isinstance(bound, NotCovered)
    assert bound.predict(row)[0] == pytest.approx(0.5 + 0.01e-6 * count_macs(LARGEST) + 2 * own + 3 * 17)
    without_macs = combination((1.0, entries()), ms_per_million_macs=0.0).bind(SPACE)
    assert not isinstance(without_macs, NotCovered)
    assert without_macs.predict(row)[0] == pytest.approx(0.5 + own)
    description, tensors = mixed.to_parts()
    again = Combination.from_parts(description, tensors).predict_layers(LARGEST)
    assert again == answer


@pytest.mark.parametrize(
    ("predictors", "ms"),
    [
        ([Constant(1), Constant(2)], 1),
        ([Constant(1, None), Constant(2)], 2),
        ([Constant(1, extrapolations=("far",)), Constant(2)], 2),
        ([Constant(1, extrapolations=("far",)), Constant(2, extrapolations=("far",))], 1),
        ([Constant(1, None)], None),
        ([], None),
    ],
)
def test_a_member_serves_by_the_first_predictor_that_need_not_extrapolate(
    predictors: list[Constant], ms: float | None
) -> None:
    member = WeighedTable(table="a:b", identity="0", predictors=tuple(predictors), weight=1.0)  # type: ignore[arg-type]
    bound = member.bind(SPACE)
    if ms is None:
        assert bound == NotCovered(reason=f"a:b does not cover {SPACE.name}")
        assert member.predict_layers(LARGEST) == NotCovered(reason="a:b does not cover the network")
    else:
        assert not isinstance(bound, NotCovered)
        assert bound.predict(Encoding(SPACE).encode([SPACE.smallest()])).tolist() == [ms]


def test_a_combination_covers_what_every_member_covers() -> None:
    mixed = combination((2.0, entries()), (3.0, entries(left_out="stages.0.2")))
    assert isinstance(mixed.predict_layers(LARGEST), NotCovered)
    bound = mixed.bind(SPACE)
    assert not isinstance(bound, NotCovered)
    rows = Encoding(SPACE).encode([SPACE.smallest(), SPACE.largest()])
    assert np.isfinite(bound.predict(rows)).tolist() == [True, False]
    assert bound.uncovered(rows[1]).startswith("not measured: stages.0.1")
    other = get_space("ofa-resnet50")
    assert isinstance(combination((2.0, entries()), space=other).bind(other), NotCovered)


def test_members_tell_of_sizes_elsewhere_only() -> None:
    near, far = model(FEATURES, 0.01, 5.0), model(FEATURES, 0.01, 5.0, smallest_resolution=40)
    own, elsewhere = (
        combination((1.0, near), (1.0, far)),
        combination((1.0, near), (1.0, far), space=TWO_SIZES),
    )
    bound = own.bind(SPACE)
    assert not isinstance(bound, NotCovered)
    assert (bound.size_note(32), bound.extrapolations) == (None, ())
    bound = dataclasses.replace(elsewhere, probes_space="another").bind(SPACE)
    assert not isinstance(bound, NotCovered)
    assert bound.size_note(32) == SizeNote(text="outside the fitted range 40-64", is_far=False)
    assert bound.extrapolations == (
        f"calibrated with networks of {TWO_SIZES.name}",
        "predicted from layer features fitted on two networks",
    )
    answer = own.predict_layers(SMALLEST)
    assert isinstance(answer, LayersLatency)
    assert answer.size == SizeNote(text="outside the fitted range 40-64", is_far=False)
