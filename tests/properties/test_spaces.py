"""What must hold for every registered space and its compound restriction."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ofa_toolkit.complexity import (
    PopulationComplexity,
    count_macs,
    count_params,
    peak_activation_elements,
)
from ofa_toolkit.core.errors import ConfigError, SubnetNotInSpaceError, UnknownNameError
from ofa_toolkit.spaces import (
    Encoding,
    StageChoice,
    Subnet,
    compound,
    get_space,
    list_spaces,
    lower,
    restrict,
    sample_population,
    sample_subnets,
)
from ofa_toolkit.spaces.layer_spec import NETWORK_INPUT
from tests.every_space import EVERY_SPACE

NAMES = [*list_spaces(), "ofa-mobilenet-v3-w1.0-compound", "mobilenet-v3-compact-compound-elastic-kernel"]
every_space = pytest.mark.parametrize("name", [*EVERY_SPACE, *NAMES[-2:]])


@every_space
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_samples_are_members_and_survive_encoding(name: str, seed: int) -> None:
    space = get_space(name)
    encoding = Encoding(space)
    rows = sample_population(space, 8, np.random.default_rng(seed))
    assert encoding.is_member(rows).all()
    subnets = encoding.decode(rows)
    assert all(subnet in space for subnet in subnets)
    np.testing.assert_array_equal(encoding.encode(subnets), rows)


@every_space
def test_the_least_input_leaves_two_pixels_to_the_last_layer_with_a_stride(name: str) -> None:
    space = get_space(name)
    least = space.least_resolution
    layers = lower(space, space.largest(least))
    assert min(layer.in_size for layer in layers if layer.stride > 1) == 2
    with pytest.raises(
        SubnetNotInSpaceError, match=f"{least - 1} pixels are too few .* The least is {least}"
    ):
        lower(space, space.largest(least - 1))
    with pytest.raises(ConfigError, match=rf"resolutions\[0\]: {least - 1} pixels are too few"):
        space.with_resolutions((least - 1, 224))


@every_space
@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_membership_of_arbitrary_rows_agrees_with_the_checks(name: str, data: st.DataObject) -> None:
    space = get_space(name)
    encoding = Encoding(space)
    row = np.array([[data.draw(st.integers(0, gene.cardinality - 1)) for gene in encoding.genes]])
    gaps = [np.any(np.diff((row[0, columns] > 0).astype(int)) > 0) for columns in encoding.block_columns]
    subnet = encoding.decode_unchecked(row[0])
    assert encoding.is_member(row)[0] == (subnet in space and not any(gaps))


@every_space
def test_population_counts_equal_those_of_each_subnet(name: str) -> None:
    space = get_space(name)
    # More rows than are counted one by one: tables count them.
    rows = sample_population(space, 24, np.random.default_rng(1))
    counts = PopulationComplexity(space)
    networks = [lower(space, subnet) for subnet in Encoding(space).decode(rows)]
    assert counts.macs(rows).tolist() == [count_macs(layers) for layers in networks]
    assert counts.params(rows).tolist() == [count_params(layers) for layers in networks]
    peaks = [peak_activation_elements(layers) for layers in networks]
    assert counts.peak_activation_elements(rows).tolist() == peaks


@every_space
def test_growing_one_choice_never_lowers_the_cost(name: str) -> None:
    space = get_space(name)
    generator = np.random.default_rng(2)
    for subnet in sample_subnets(space, 5, generator, resolution=space.resolutions[0]):
        base = count_macs(lower(space, subnet))
        for grown in grown_by_one_choice(subnet):
            if grown in space:
                assert count_macs(lower(space, grown)) >= base


def grown_by_one_choice(subnet: Subnet) -> list[Subnet]:
    """Neighbours with one kernel or ratio at a larger value (some may lie outside the space)."""
    grown = []
    for index, stage in enumerate(subnet.stages):
        for block in range(stage.depth):
            for field, values in (("kernel_sizes", (5, 7)), ("expand_ratios", (4, 6, 0.35))):
                current = getattr(stage, field)
                for value in values:
                    if value > current[block]:
                        changed = (*current[:block], value, *current[block + 1 :])
                        stages = list(subnet.stages)
                        stages[index] = dataclasses.replace(stage, **{field: changed})
                        grown.append(Subnet(subnet.resolution, tuple(stages)))
    return grown


@every_space
def test_layers_form_a_graph_in_execution_order(name: str) -> None:
    space = get_space(name)
    for subnet in (space.largest(), space.smallest()):
        shapes = {NETWORK_INPUT: (3, subnet.resolution)}
        for layer in lower(space, subnet):
            assert layer.name not in shapes
            assert shapes[layer.inputs[0]] == (layer.in_channels, layer.in_size)
            shapes[layer.name] = (layer.out_channels, layer.out_size)
        assert shapes[layer.name] == (space.num_classes, 1)


@every_space
def test_largest_and_smallest_bound_every_sample(name: str) -> None:
    space = get_space(name)
    resolution = space.resolutions[-1]
    rows = sample_population(space, 100, np.random.default_rng(3), resolution=resolution)
    macs = PopulationComplexity(space).macs(rows)
    assert macs.max() <= count_macs(lower(space, space.largest(resolution)))
    if space.stages[0].compound is None:
        assert macs.min() >= count_macs(lower(space, space.smallest(resolution)))


def test_compact_space_is_what_it_promises() -> None:
    space = get_space("mobilenet-v3-compact")
    largest = count_macs(lower(space, space.largest(32)))
    smallest = count_macs(lower(space, space.smallest(32)))
    assert largest <= 30_000_000
    assert largest >= 5 * smallest
    assert space.num_architectures >= 10**9


def test_compofa_has_243_networks_all_distinct() -> None:
    space = get_space("ofa-mobilenet-v3-w1.0-compound")
    assert space.num_architectures == 243
    rows = sample_population(space, 20_000, np.random.default_rng(0), resolution=224)
    assert len(np.unique(rows, axis=0)) == 243
    kernel_sizes = [stage.kernel_sizes for stage in space.stages]
    assert kernel_sizes == [(3,), (5,), (3,), (3,), (5,)]


def test_restricting_keeps_members_and_refuses_the_impossible() -> None:
    space = get_space("deps-mobilenet-v3-cifar")
    sevens = restrict(space, kernel_sizes=(7,))
    assert all(subnet in space for subnet in sample_subnets(sevens, 10, np.random.default_rng(0)))
    assert sevens.num_architectures < space.num_architectures
    with pytest.raises(ConfigError, match="none of 9"):
        restrict(space, kernel_sizes=(9,))


def test_compound_needs_mbconv() -> None:
    with pytest.raises(ConfigError, match="only MBConv"):
        compound(get_space("ofa-resnet50"))


def test_identity_ignores_classes_and_sees_choices() -> None:
    space = get_space("mobilenet-v3-compact")
    assert space.with_num_classes(7).identity == space.identity
    assert restrict(space, kernel_sizes=(3,)).identity != space.identity
    assert len({get_space(name).identity for name in NAMES}) == len(NAMES)


def test_an_unknown_space_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"ofa-mobilenet-v3-w1\.0") as caught:
        get_space("ofa-mobilenet-v3")
    assert caught.value.hint is not None
    assert "ofa-mobilenet-v3" in caught.value.hint


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"depth": 5, "kernel_sizes": (3,) * 5, "expand_ratios": (3,) * 5},
            "Stage 2: depth 5 is not offered",
        ),
        ({"kernel_sizes": (3, 9)}, "Stage 2: kernel size 9 is not offered"),
        ({"expand_ratios": (3, 5)}, "Stage 2: expand ratio 5 is not offered"),
        ({"kernel_sizes": (3,)}, "Stage 2: 1 kernel sizes for 2 blocks"),
        ({"width": 7}, "Stage 2: width 7 is not offered"),
    ],
)
def test_a_choice_outside_the_space_is_named(change: dict[str, object], message: str) -> None:
    space = get_space("ofa-mobilenet-v3-w1.0")
    smallest = space.smallest()
    stages = list(smallest.stages)
    stages[1] = dataclasses.replace(StageChoice(2, (3, 3), (3, 3)), **change)  # type: ignore[arg-type]
    with pytest.raises(SubnetNotInSpaceError, match=message):
        lower(space, Subnet(smallest.resolution, tuple(stages)))


def test_a_foreign_resolution_is_built_but_no_member() -> None:
    space = get_space("ofa-resnet50")
    subnet = space.largest(240)
    assert lower(space, subnet)[0].in_size == 240
    with pytest.raises(SubnetNotInSpaceError, match="resolution 240 is not offered"):
        space.check(subnet)
    with pytest.raises(SubnetNotInSpaceError, match="resolution 240 is not offered"):
        Encoding(space).encode([subnet])
