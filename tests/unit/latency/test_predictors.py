"""Predictors: written and read back, bound and unbound alike, never silent about what they do not cover."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ofa_toolkit.core.errors import LatencyTableError
from ofa_toolkit.latency.device import Device, Variant
from ofa_toolkit.latency.predictors.combination import Combination, WeighedTable
from ofa_toolkit.latency.predictors.layer_features import LAYER_FEATURES, layer_features
from ofa_toolkit.latency.predictors.layer_model import CORRECTION_FEATURES, KernelCorrection, LayerModel
from ofa_toolkit.latency.predictors.predictor import NotCovered, Predictor, SizeNote
from ofa_toolkit.latency.predictors.space_table import SpaceTable
from ofa_toolkit.latency.table import LatencyTable, load_table, read_table, write_table
from ofa_toolkit.latency.table_file import TableContent
from ofa_toolkit.spaces import (
    Encoding,
    SearchSpace,
    compound,
    get_space,
    lower,
    restrict,
    sample_population,
)
from ofa_toolkit.spaces.units import UnitTables

SPACE = get_space("mobilenet-v3-compact")
WIDE = get_space("ofa-mobilenet-v3-w1.0").with_resolutions((128, 160))


def rows(space: SearchSpace, count: int = 20) -> np.ndarray:
    return sample_population(space, count, np.random.default_rng(0))


def layer_model(space: SearchSpace = SPACE, *, corrected: bool = True) -> LayerModel:
    rng = np.random.default_rng(1)
    features = np.array([layer_features(lower(space, s)) for s in Encoding(space).decode(rows(space))])
    size = len(CORRECTION_FEATURES)
    correction = KernelCorrection(
        mean=np.zeros(size, dtype=np.float32),
        scale=np.full(size, 5, dtype=np.float32),
        centres=rng.normal(size=(8, size)).astype(np.float32),
        weights=rng.normal(scale=0.05, size=8).astype(np.float32),
        length=4.0,
    )
    return LayerModel(
        coefficients=rng.uniform(size=len(LAYER_FEATURES)),
        bias_ms=0.25,
        correction=correction if corrected else None,
        fitted_on="made-up networks",
        smallest=features.min(axis=0),
        largest=features.max(axis=0),
        smallest_resolution=min(space.resolutions),
        largest_resolution=max(space.resolutions),
    )


def space_table(space: SearchSpace = WIDE, *, figures: int = 2) -> SpaceTable:
    rng = np.random.default_rng(2)
    tables = UnitTables(space).tables(lambda layers: np.full(figures, float(len(layers))))
    disturbed = [table * rng.uniform(0.5, 1.5, table.shape) for table in tables]
    return SpaceTable(
        space=space,
        head="max" if figures == 2 else "sum",
        tables=tuple(table.astype(np.float32) for table in disturbed),
        resolutions=(space.resolutions[0],),
    )


def table_of(*predictors: Predictor) -> LatencyTable:
    content = TableContent(predictors=predictors)
    variant = Variant(
        name="made-up-fp32-1",
        source="none",
        source_licence="none stated",
        date="2026-01-01",
        runtime="none",
        precision="fp32",
        batch_size=1,
        provenance="modelled",
        method="made up",
        networks="none",
        identity=content.identity,
    )
    device = Device(
        name="board", title="B", kind="cpu", chip="x", default_variant=variant.name, variants=(variant,)
    )
    return LatencyTable(device=device, variant=variant, content=content)


def combination() -> Combination:
    member = WeighedTable(
        table="a:b", identity="0" * 16, predictors=(space_table(), layer_model(WIDE)), weight=0.5
    )
    return Combination(
        members=(member,),
        bias_ms=0.5,
        ms_per_million_macs=0.01,
        probes_space=WIDE.identity,
        probes_space_name=WIDE.name,
        num_probes=10,
    )


@pytest.mark.parametrize(
    "predictor",
    [layer_model(), layer_model(corrected=False), space_table(), space_table(figures=1), combination()],
    ids=["corrected", "additive", "max", "sum", "combination"],
)
def test_predictors_survive_their_file(predictor: Predictor, tmp_path: Path) -> None:
    table = table_of(predictor)
    write_table(tmp_path / "board", table)
    read = read_table(tmp_path / "board")
    assert read.identity == table.identity
    space = SPACE if isinstance(predictor, LayerModel) else WIDE
    population = rows(space)
    assert np.array_equal(read.bind(space).predict(population), table.bind(space).predict(population))


@pytest.mark.parametrize("corrected", [True, False])
def test_a_layer_model_says_the_same_of_populations_and_of_layers(corrected: bool) -> None:
    table = table_of(layer_model(corrected=corrected))
    population = rows(SPACE)
    bound = table.bind(SPACE)
    assert any("fitted on made-up networks" in note for note in bound.extrapolations)
    alone = [table.predict_layers(lower(SPACE, s)).latency_ms for s in Encoding(SPACE).decode(population)]
    assert bound.predict(population) == pytest.approx(np.array(alone), rel=1e-4)


def test_an_additive_layer_model_never_gets_faster_by_growing() -> None:
    bound = table_of(layer_model(corrected=False)).bind(SPACE)
    smallest, largest = Encoding(SPACE).encode([SPACE.smallest(), SPACE.largest()])
    between = rows(SPACE)
    low, high = bound.predict(smallest[None])[0], bound.predict(largest[None])[0]
    assert ((low <= bound.predict(between)) & (bound.predict(between) <= high)).all()


def test_a_layer_model_names_what_lies_outside() -> None:
    model = layer_model()
    answer = model.predict_layers(lower(WIDE, WIDE.largest()))
    assert not isinstance(answer, NotCovered)
    notes = " ".join(answer.extrapolations)
    assert "outside the fitted range" in notes
    assert "pointwise macs" in notes
    assert answer.size == SizeNote(text="far outside the fitted range 32-32", is_far=True)


@pytest.mark.parametrize(("resolution", "is_far"), [(15, True), (16, False), (64, False), (65, True)])
def test_sizes_below_half_and_above_twice_the_fitted_ones_are_far(resolution: int, is_far: bool) -> None:
    note = layer_model().size_note(resolution)
    assert note == SizeNote(text=f"{'far ' * is_far}outside the fitted range 32-32", is_far=is_far)


def test_a_layer_model_refuses_other_kinds_of_layers() -> None:
    with pytest.raises(
        LatencyTableError, match=r"does not cover the space 'ofa-resnet50'.*dense convolutions"
    ):
        table_of(layer_model()).bind(get_space("ofa-resnet50"))


def test_a_table_of_two_sums_takes_the_larger() -> None:
    two = space_table()
    units, population = UnitTables(WIDE), rows(WIDE)
    sums = units.sum(population, [table.astype(np.float64) for table in two.tables])
    assert table_of(two).bind(WIDE).predict(population) == pytest.approx(sums.max(axis=1), rel=1e-5)
    assert len(set(sums.argmax(axis=1))) == 2


@pytest.mark.parametrize(
    "narrow", [restrict(WIDE, kernel_sizes=[5]), compound(WIDE), WIDE.with_resolutions((160,))]
)
def test_a_space_table_serves_spaces_that_share_its_units(narrow: SearchSpace) -> None:
    table = table_of(space_table(), layer_model(WIDE))
    population = rows(narrow)
    whole = Encoding(WIDE).encode(Encoding(narrow).decode(population))
    bound = table.bind(narrow)
    assert bound.extrapolations == ()
    assert bound.predict(population) == pytest.approx(table.bind(WIDE).predict(whole), rel=1e-5)


def test_a_larger_subnet_predicted_faster_is_named() -> None:
    space = WIDE.with_resolutions((128,))
    table = space_table(space, figures=1)
    for one_sum in table.tables:
        one_sum[:] = 1.0
    row = Encoding(space).encode([space.smallest()])
    assert table_of(table).bind(space).warnings(row) == ()
    code = 1 + 2 * len(space.stages[1].expand_ratios)  # kernel 7 in the first block of the second stage
    index = next(i for i, unit in enumerate(UnitTables(space).units) if unit.name == "stages.1.0")
    table.tables[index][code - len(space.stages[1].expand_ratios)] = 0.5  # kernel 5 instead of 3
    (line,) = table_of(table).bind(space).warnings(row)
    assert "with kernel size 5 instead of 3 in stage 2, block 1 a subnet is predicted" in line
    assert line.endswith("% faster, and its error is unknown: measure both")


def test_another_classifier_is_named() -> None:
    ten = WIDE.with_num_classes(10)
    table = table_of(space_table())
    assert table.bind(ten).extrapolations == ("classifier of 10 classes; fitted on 1000",)
    population = rows(ten)
    assert np.array_equal(table.bind(ten).predict(population), table.bind(WIDE).predict(population))


def test_resolutions_that_were_not_measured_are_named() -> None:
    bound = table_of(space_table()).bind(WIDE)
    population = rows(WIDE)
    assert {0, 1} == set(population[:, 0])
    assert bound.notes(population) == ("resolution 160: not measured, extrapolated from 128-128",)
    assert bound.notes(population[population[:, 0] == 0]) == ()


def test_a_resolution_without_units_is_refused() -> None:
    with pytest.raises(LatencyTableError, match="its units are not those of"):
        table_of(space_table()).bind(WIDE.with_resolutions((200,)))


def test_the_general_model_steps_in_where_the_table_has_no_place() -> None:
    table = table_of(space_table(), layer_model(WIDE))
    other = WIDE.with_resolutions((200,))
    bound = table.bind(other)
    assert any("fitted on made-up networks" in note for note in bound.extrapolations)
    assert np.isfinite(bound.predict(rows(other))).all()


def test_a_combination_adds_up_its_members() -> None:
    mixed, population = combination(), rows(WIDE)
    bound = table_of(mixed).bind(WIDE)
    inner = table_of(space_table()).bind(WIDE).predict(population)
    from ofa_toolkit.complexity import PopulationComplexity

    macs = PopulationComplexity(WIDE).macs(population) / 1e6
    assert bound.predict(population) == pytest.approx(0.5 + 0.01 * macs + 0.5 * inner, rel=1e-5)
    assert bound.extrapolations == ()


def test_a_combination_elsewhere_says_where_it_was_calibrated() -> None:
    assert any("calibrated with networks of" in n for n in table_of(combination()).bind(SPACE).extrapolations)


def test_features_of_nothing_are_zero_and_layers_without_a_feature_are_none() -> None:
    assert not layer_features([]).any()
    layers = lower(WIDE, WIDE.largest())
    total = layer_features(layers)
    column = dict(zip(LAYER_FEATURES, total, strict=True))
    from ofa_toolkit.complexity import count_macs

    macs = (
        column["pointwise_macs"] + column["depthwise_macs"] + column["dense_macs"] + column["vector_weights"]
    )
    assert macs * 1e6 == pytest.approx(count_macs(layers), rel=1e-9)


def test_predicting_imports_no_torch_and_no_fitting_library() -> None:
    code = (
        "import sys, numpy as np\n"
        "from ofa_toolkit.latency import load_table\n"
        "from ofa_toolkit.spaces import get_space, sample_population\n"
        "space = get_space('ofa-mobilenet-v3-w1.0')\n"
        "bound = load_table('jetson-nano').bind(space)\n"
        "bound.predict(sample_population(space, 10, np.random.default_rng(0)))\n"
        "print(sorted({'torch', 'scipy', 'sklearn'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_restricted_space_is_predicted_as_the_whole_one() -> None:
    """Stages of neighbouring input sizes share shapes, but not the times fitted for them."""
    space = get_space("ofa-mobilenet-v3-w1.2")
    part = space.with_resolutions((208,))
    rows = sample_population(part, 20, np.random.default_rng(0))
    table = load_table("titan-xp")
    whole = table.bind(space).predict(Encoding(space).encode(Encoding(part).decode(rows)))
    assert table.bind(part).predict(rows) == pytest.approx(whole, rel=1e-6)
