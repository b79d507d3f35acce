"""Subnets that are larger by one step."""

import numpy as np
import pytest

from ofa_toolkit.complexity import PopulationComplexity
from ofa_toolkit.spaces import Encoding, get_space, sample_population
from ofa_toolkit.spaces.growth import growths


@pytest.mark.parametrize("name", ["mobilenet-v3-compact-96", "ofa-resnet50"])
def test_a_grown_subnet_is_in_the_space_and_costs_no_less(name: str) -> None:
    space = get_space(name)
    encoding, macs = Encoding(space), PopulationComplexity(space).macs
    for row in sample_population(space, 10, np.random.default_rng(0)):
        larger = np.stack([growth.row for growth in growths(space, row)])
        assert encoding.is_member(larger).all()
        assert (macs(larger) >= macs(row[None])).all()
        assert (larger != row).any(axis=1).all()
    assert growths(space, encoding.encode([space.largest()])[0]) == []


def test_ratios_tied_to_the_depth_stay_out() -> None:
    space = get_space("mobilenet-v3-compact-compound")
    assert growths(space, Encoding(space).encode([space.smallest()])[0]) == []


def test_what_has_grown_is_told_in_words() -> None:
    space = get_space("mobilenet-v3-compact-96")
    smallest = Encoding(space).encode([space.smallest()])[0]
    told = {growth.text: growth.row for growth in growths(space, smallest)}
    assert list(told)[:6] == [
        "resolution 64 instead of 48",
        "resolution 80 instead of 48",
        "resolution 96 instead of 48",
        "depth 2 instead of 1 in stage 1",
        "kernel size 5 instead of 3 in stage 1, block 1",
        "expand ratio 4 instead of 3 in stage 1, block 1",
    ]
    assert list(told)[-3:] == [
        "kernel size 5 everywhere",
        "expand ratio 4 everywhere",
        "expand ratio 6 everywhere",
    ]
    (everywhere,) = Encoding(space).decode(told["kernel size 5 everywhere"][None])
    assert {stage.kernel_sizes for stage in everywhere.stages} == {(5,)}
    assert {stage.expand_ratios for stage in everywhere.stages} == {(3,)}
