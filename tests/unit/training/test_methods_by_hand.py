"""Rates, epsilon, phases and passes at the points where they turn, worked out by hand."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ofa_toolkit.core.errors import ConfigError
from ofa_toolkit.spaces.subnet_file import subnet_file, write_subnet
from ofa_toolkit.training.algorithm import Algorithm, Pass, Phase, Position
from ofa_toolkit.training.compofa import CompofaConfig
from ofa_toolkit.training.config import RunConfig, from_values
from ofa_toolkit.training.deps import Deps
from ofa_toolkit.training.ofa import OfaConfig
from ofa_toolkit.training.phased import share_out_epochs
from ofa_toolkit.training.schedules import (
    constant,
    constant_increment,
    cosine,
    effective_rate_ramp,
    exponential,
    linear_warmup,
)


def run(algorithm: dict[str, Any], *, epochs: int = 10, **tables: Any) -> RunConfig:
    values = {
        "space": {"name": "mobilenet-v3-compact", "resolutions": [24, 32], **tables.pop("space", {})},
        "algorithm": algorithm,
        "training": {"epochs": epochs, "batch_size": 8},
        "schedule": {"learning_rate": 0.1},
        **tables,
    }
    # As from a file, whose texts are equal to those of the program and not the same objects.
    return from_values(json.loads(json.dumps(values)))


def built(algorithm: dict[str, Any], **tables: Any) -> Algorithm:
    config = run(algorithm, **tables)
    return config.algorithm.build(config, config.space.trained(10))


def at(epoch: int, step: int = 0, *, steps_per_epoch: int = 4, resolution: int = 32) -> Position:
    return Position(epoch=epoch, step=step, steps_per_epoch=steps_per_epoch, resolution=resolution)


def passes(method: Algorithm, phase: Phase, position: Position) -> list[Pass]:
    return list(method.plan(phase, position, np.random.default_rng(0)))


def test_a_pass_and_a_phase_of_which_nothing_is_said() -> None:
    config = run({"name": "bignas"})
    space = config.space.trained(10)
    item = Pass(role="x", subnet=space.largest())
    assert (item.gradient_weight, item.hard_labels, item.soft_labels, item.features) == (1, 1, 0, 0)
    assert (item.source, item.temperature, item.use_dropout, item.aggregation) == (None, 1, True, "sum")
    phase = Phase.of_whole_run("x", config, space)
    assert (phase.alone, phase.resets_optimizer, phase.teacher) == (None, False, None)
    assert (phase.sort_protected_widths, phase.sort_by, phase.teacher_batchnorm) == (None, "weights", "batch")
    assert not any(phase.resets_optimizer for phase in built({"name": "deps"}).phases)


def test_curves_at_their_ends() -> None:
    assert [cosine(4.0)(p) for p in (0.0, 1 / 3, 0.5, 1.0, 1.5)] == pytest.approx([4, 3, 2, 0, 0])
    stairs = exponential(8.0, 0.5, 0.1, 0.75)
    # 0.3 / 0.1 is a hair less than 3 in floating point.
    assert [stairs(p) for p in (0.0, 0.09, 0.1, 0.29, 0.3, 0.4, 1.0)] == [8, 8, 4, 2, 1, 0.75, 0.75]
    assert [constant(3.0)(p) for p in (0.0, 1.0)] == [3, 3]
    rising = linear_warmup(cosine(4.0), 0.2, 1.0)
    # 0.6 is half of what is left behind the warm-up.
    assert [rising(p) for p in (0.0, 0.1, 0.15, 0.2, 0.6, 1.0)] == pytest.approx([1, 2.5, 3.25, 4, 2, 0])
    assert [linear_warmup(cosine(4.0), 0.0, 1.0)(p) for p in (0.0, 0.5)] == pytest.approx([4, 2])


@pytest.mark.parametrize(
    ("kind", "rates"),
    [
        ("cosine", [0.0125, 0.03125, 0.05, 0.025, 0.01]),
        ("exponential", [0.0125, 0.03125, 0.05, 0.0125, 0.01]),
        ("constant", [0.0125, 0.03125, 0.05, 0.05, 0.05]),
    ],
)
def test_a_schedule_as_a_recipe_says_it(kind: Any, rates: list[float]) -> None:
    told = {"kind": kind, "learning_rate": 0.1, "floor": 0.2, "warmup_share": 0.2, "warmup_start": 0.25}
    told |= {"decay": 0.5, "decay_every_share": 0.25}
    schedule = run({"name": "bignas"}, schedule=told).schedule.build(0.5)
    assert [schedule(p) for p in (0.0, 0.1, 0.2, 0.6, 1.0)] == pytest.approx(rates)


def test_epsilon_of_either_ramp() -> None:
    assert [constant_increment(0.2, 4)(step) for step in range(6)] == pytest.approx(
        [0.2, 0.4, 0.6, 0.8, 1, 1]
    )
    rates = [0.4, 0.2, 0.5, 0.1, 0.1]
    ramp = effective_rate_ramp(rates.__getitem__, 0.6, 3)
    # Times the rate: a third, two thirds and all of 0.6.
    assert [ramp(step) for step in range(5)] == pytest.approx([0.5, 2.0, 1.2, 1, 1])


def test_a_ramp_by_constant_increments_lasts_its_share_of_the_run() -> None:
    method = built({"name": "deps", "ramp_share": 0.3, "epsilon_start": 0.1})
    assert isinstance(method, Deps)
    warmup, shrinking = method.phases
    assert [(p.name, p.first_epoch, p.end_epoch) for p in method.phases] == [
        ("warm-up", 0, 5),
        ("shrinking", 5, 10),
    ]
    # Three of ten epochs with four steps each.
    found = [method.epsilon(shrinking, at(*place)) for place in ((5, 0), (6, 2), (7, 3), (8, 0), (9, 3))]
    assert found == pytest.approx([0.1, 0.1 + 0.9 * 6 / 12, 0.1 + 0.9 * 11 / 12, 1, 1])
    assert method.figures(warmup, at(4, 3)) == {"epsilon": 0}
    assert method.figures(shrinking, at(6, 2)) == {"epsilon": pytest.approx(0.55)}


def test_a_ramp_by_the_effective_rate_ends_with_the_warm_up() -> None:
    method = built({"name": "deps", "ramp_share": 0.11, "epsilon_ramp": "effective_rate"})
    assert isinstance(method, Deps)
    # 1.1 epochs count as two, the last ones of the five.
    assert [(p.first_epoch, p.end_epoch) for p in method.phases] == [(0, 3), (3, 10)]
    assert [p.schedule_start for p in method.phases] == [0, 0]

    def rate(epoch: float) -> float:
        return 0.05 * (1 + math.cos(math.pi * epoch / 10))

    shrinking = method.phases[1]
    assert shrinking.learning_rate(4, 2, 4) == pytest.approx(rate(4.5))
    found = [method.epsilon(shrinking, at(*place)) for place in ((3, 0), (4, 2), (4, 3), (5, 0))]
    assert found == pytest.approx(
        [rate(6) / 8 / rate(3), rate(6) * 7 / 8 / rate(4.5), rate(6) / rate(4.75), 1],
    )


@pytest.mark.parametrize("changes", [{"ramp_share": 0.0}, {"epsilon_ramp": "none"}])
def test_without_a_ramp_epsilon_is_one_at_once(changes: dict[str, Any]) -> None:
    method = built({"name": "deps", **changes})
    assert isinstance(method, Deps)
    assert method.epsilon(method.phases[1], at(5)) == 1
    assert method.notes(4) == ()


@pytest.mark.parametrize(
    ("changes", "ratios", "protected"),
    [
        ({}, [3, 4, 6], 1),
        ({}, [3, 6], 0),
        ({}, [6], 0),
        ({"sort_protected_widths": 0}, [3, 4, 6], 0),
        ({"sort_protected_widths": 2}, [3, 4, 6], 2),
        ({"sort_channels": False}, [3, 4, 6], None),
    ],
)
def test_protected_widths(changes: dict[str, Any], ratios: list[float], protected: int | None) -> None:
    method = built({"name": "deps", **changes}, space={"expand_ratios": ratios})
    assert [phase.sort_protected_widths for phase in method.phases] == [None, protected]


def test_passes_of_shrinking() -> None:
    method = built(
        {
            "name": "deps",
            "ramp_share": 0.3,
            "epsilon_start": 0.1,
            "temperature": 2.0,
            "hard_labels": 0.25,
            "soft_labels": 0.5,
            "aggregation": "average",
        }
    )
    warmup, shrinking = method.phases
    space = shrinking.space
    assert passes(method, warmup, at(0, resolution=24)) == [
        Pass(role="largest", subnet=space.largest(24)),
    ]
    found = passes(method, shrinking, at(6, 2, resolution=24))
    assert [item.role for item in found] == ["largest", "smallest", "random", "random"]
    assert found[0] == Pass(role="largest", subnet=space.largest(24), aggregation="average")
    assert found[1].subnet == space.smallest(24)
    for item in found[1:]:
        assert item.subnet.resolution == 24
        assert item.gradient_weight == pytest.approx(0.55)
        assert (item.hard_labels, item.soft_labels, item.features) == (0.25, 0.5, 0)
        assert (item.source, item.temperature) == ("first pass", 2)
        assert (item.use_dropout, item.aggregation) == (False, "average")
    assert found[1].label_weight == 0.75


def test_the_other_samplings_of_shrinking() -> None:
    method = built(
        {
            "name": "deps",
            "sampling": "largest_and_random",
            "num_networks": 3,
            "soft_labels": 0,
            "hard_labels": 1,
            "dropout_on_largest_only": False,
        }
    )
    found = passes(method, method.phases[1], at(9))
    assert [item.role for item in found] == ["largest", "random", "random"]
    assert [(item.source, item.use_dropout, item.hard_labels) for item in found] == [(None, True, 1)] * 3
    method = built({"name": "deps", "num_networks": 2})
    assert [item.role for item in passes(method, method.phases[1], at(9))] == ["largest", "smallest"]


@pytest.mark.parametrize("is_compiled", [False, True])
def test_features_are_not_matched_while_networks_are_compiled(is_compiled: bool) -> None:
    training = {"epochs": 2, "batch_size": 8, "compile": is_compiled}
    matching = {"name": "deps", "teacher": "frozen", "features": 1.0}
    if is_compiled:
        with pytest.raises(ConfigError, match=r"not with training\.compile"):
            built(matching, training=training)
        assert built({**matching, "features": 0.0}, training=training)
    else:
        phase = built(matching, training=training).phases[1]
        assert (phase.teacher, phase.teacher_batchnorm) == (phase.space.largest(), "stored")


def test_passes_of_bignas() -> None:
    method = built({"name": "bignas", "num_networks": 3, "temperature": 3.0, "aggregation": "avg_sqrt"})
    [phase] = method.phases
    assert (phase.first_epoch, phase.epochs, phase.schedule_start, phase.schedule_epochs) == (0, 10, 0, 10)
    found = passes(method, phase, at(2, resolution=24))
    assert [item.role for item in found] == ["largest", "smallest", "random"]
    assert found[0] == Pass(role="largest", subnet=phase.space.largest(24), aggregation="avg_sqrt")
    assert found[1] == Pass(
        role="smallest",
        subnet=phase.space.smallest(24),
        hard_labels=0,
        soft_labels=1,
        source="first pass",
        temperature=3,
        use_dropout=False,
        aggregation="avg_sqrt",
    )
    method = built({"name": "bignas", "dropout_on_largest_only": False})
    assert all(item.use_dropout for item in passes(method, method.phases[0], at(2)))
    assert not method.figures(method.phases[0], at(2))
    assert not method.notes(4)


@pytest.mark.parametrize(
    ("total", "proportions", "expected"),
    [
        (10, [1, 1], [5, 5]),
        (7, [1, 2], [2, 5]),
        (8, [5, 3, 2], [4, 2, 2]),
        (3, [1, 5, 9], [1, 1, 1]),
        (5, [1, 1, 1, 10], [1, 1, 1, 2]),
        # Rounded up to one where less is due; what is over comes from where least is missing.
        (7, [4, 3, 0.1, 0.1, 0.1], [2, 2, 1, 1, 1]),
    ],
)
def test_epochs_are_shared_by_largest_remainders(
    total: int, proportions: list[float], expected: list[int]
) -> None:
    assert share_out_epochs(total, proportions) == expected


def test_phases_follow_each_other_and_have_rates_of_their_own() -> None:
    method = built({"name": "compofa", "phase_epochs": [4, 1, 5], "phase_rates": [2, 0.5, 1]})
    names = CompofaConfig.phase_names
    assert [(p.name, p.first_epoch, p.end_epoch) for p in method.phases] == [
        (names[0], 0, 4),
        (names[1], 4, 5),
        (names[2], 5, 10),
    ]
    assert [p.learning_rate(p.first_epoch, 0, 4) for p in method.phases] == pytest.approx([0.2, 0.05, 0.1])
    # Half way through each: half of a cosine.
    assert [
        method.phases[0].learning_rate(2, 0, 4),
        method.phases[1].learning_rate(4, 2, 4),
    ] == pytest.approx([0.1, 0.025])
    assert [p.alone for p in method.phases] == ["largest", None, None]
    assert [p.sort_protected_widths for p in method.phases] == [None, 0, None]
    assert [p.teacher for p in method.phases] == [None, method.phases[0].space.largest(), None]
    assert all(p.resets_optimizer for p in method.phases)


def test_rates_of_compofa_are_the_authors() -> None:
    method = built({"name": "compofa"}, epochs=330)
    rates = [p.learning_rate(p.first_epoch, 0, 4) / 0.1 * 2.6 for p in method.phases]
    assert rates == pytest.approx([2.6, 0.08, 0.24])
    sizes = {len(stage.kernel_sizes) for stage in method.phases[1].space.stages}
    assert sizes == {1}
    elastic = built({"name": "compofa", "elastic_kernel": True}, epochs=330)
    assert {len(stage.kernel_sizes) for stage in elastic.phases[1].space.stages} == {2}


def test_passes_of_phases() -> None:
    method = built({"name": "compofa", "distillation": 0.5, "temperature": 2.0})
    teacher, first, second = method.phases
    assert passes(method, teacher, at(0, resolution=24)) == [
        Pass(role="largest", subnet=teacher.space.largest(24))
    ]
    for phase in (first, second):
        found = passes(method, phase, at(phase.first_epoch, resolution=24))
        assert len(found) == 4
        for item in found:
            assert (item.role, item.source, item.subnet.resolution) == ("random", "teacher", 24)
            assert (item.hard_labels, item.soft_labels, item.temperature) == (1, 0.5, 2)
    alone = built({"name": "compofa", "distillation": 0})
    assert {item.source for item in passes(alone, alone.phases[1], at(9))} == {None}
    ofa = built({"name": "ofa"})
    assert [len(passes(ofa, phase, at(phase.first_epoch))) for phase in ofa.phases] == [1, 1, 2, 2, 4, 4]


@pytest.mark.parametrize("name", ["ofa", "compofa"])
def test_a_run_without_a_teacher_phase(name: str) -> None:
    with pytest.raises(ConfigError, match="--init must name weights"):
        built({"name": name, "skip_teacher": True})
    whole = built({"name": name})
    method = built({"name": name, "skip_teacher": True}, init="weights")
    assert [p.name for p in method.phases] == [p.name for p in whole.phases][1:]
    assert not any(p.alone for p in method.phases)
    assert [p.teacher is not None for p in method.phases] == [True] + [False] * (len(method.phases) - 1)
    assert method.phases[0].first_epoch == 0
    assert method.phases[-1].end_epoch == 10


@pytest.mark.parametrize(
    ("choices", "left_out"),
    [
        ({"kernel_sizes": [3]}, {"kernel"}),
        ({"depths": [2, 3]}, {"depth 2"}),
        ({"depths": [3]}, {"depth 1", "depth 2"}),
        ({"expand_ratios": [3, 6]}, {"expand 2"}),
        ({"expand_ratios": [6]}, {"expand 1", "expand 2"}),
    ],
)
def test_phases_that_would_offer_nothing_are_left_out(choices: dict[str, Any], left_out: set[str]) -> None:
    names = [phase.name for phase in built({"name": "ofa"}, space=choices).phases]
    assert names == [name for name in OfaConfig.phase_names if name not in left_out]


def test_kernels_of_progressive_shrinking() -> None:
    found = built({"name": "ofa"}).phases
    sizes = [phase.space.stages[0].kernel_sizes for phase in found]
    all_sizes = found[-1].space.stages[0].kernel_sizes
    assert len(all_sizes) > 1
    assert sizes == [all_sizes[-1:]] + [all_sizes] * 5


def test_the_smallest_trains_first_and_spreads() -> None:
    method = built({"name": "subnet_first", "first_share": 0.3})
    first, then = method.phases
    smallest, largest = first.space.smallest(32), first.space.largest(32)
    assert [(p.first_epoch, p.epochs, p.alone) for p in method.phases] == [(0, 3, "smallest"), (3, 7, None)]
    assert (first.spread_from, then.spread_from) == (None, first.space.smallest())
    assert (first.resets_optimizer, then.resets_optimizer) == (False, True)
    assert first.learning_rate(4, 0, 5) == then.learning_rate(4, 0, 5), "one schedule over both"
    assert passes(method, first, at(2)) == [Pass(role="smallest", subnet=smallest)]
    found = passes(method, then, at(3))
    assert [(p.role, p.hard_labels, p.soft_labels) for p in found] == [
        ("largest", 1.0, 0.0),
        ("smallest", 0.0, 1.0),
        *[("random", 0.0, 1.0)] * 2,
    ]
    assert [p.subnet for p in found[:2]] == [largest, smallest]
    [only] = built({"name": "subnet_first", "first_share": 0}).phases
    assert (only.alone, only.spread_from, only.epochs) == (None, None, 10)
    assert [p.epochs for p in built({"name": "subnet_first", "first_share": 0.99}).phases] == [9, 1]
    with pytest.raises(ConfigError, match=r"init: the smallest subnet's weights would replace"):
        built({"name": "subnet_first"}, init="deps-compact-cifar10")


def test_a_single_subnet_learns_from_labels() -> None:
    choices = {"kernel_sizes": [3], "depths": [1], "expand_ratios": [3]}
    with pytest.raises(ConfigError, match=r"algorithm\.subnet: missing"):
        built({"name": "single"})
    method = built({"name": "single"}, space={**choices, "resolutions": [32]})
    [phase] = method.phases
    assert method.only_subnet == phase.space.largest()
    assert (phase.first_epoch, phase.end_epoch, phase.alone) == (0, 10, None)
    assert passes(method, phase, at(3)) == [Pass(role="subnet", subnet=phase.space.largest())]


def test_phases_of_ofa_are_the_authors() -> None:
    """The table of `train_ofa_net.py`, whose rates are those of one of 32 GPUs, behind 180 epochs at 2.6."""
    table = [
        ("teacher", [7], [4], [6], 1, 180, 2.6, None),
        ("kernel", [3, 5, 7], [4], [6], 1, 120 + 5, 32 * 3e-2, None),
        ("depth 1", [3, 5, 7], [3, 4], [6], 2, 25, 32 * 2.5e-3, None),
        ("depth 2", [3, 5, 7], [2, 3, 4], [6], 2, 120 + 5, 32 * 7.5e-3, None),
        ("expand 1", [3, 5, 7], [2, 3, 4], [4, 6], 4, 25, 32 * 2.5e-3, 0),
        ("expand 2", [3, 5, 7], [2, 3, 4], [3, 4, 6], 4, 120 + 5, 32 * 7.5e-3, 1),
    ]
    method = built({"name": "ofa"}, epochs=605, space={"name": "ofa-mobilenet-v3-w1.0"})
    for phase, (name, kernels, depths, ratios, num_networks, epochs, rate, sort) in zip(
        method.phases, table, strict=True
    ):
        stage = phase.space.stages[0]
        found = [stage.kernel_sizes, stage.depths, stage.expand_ratios]
        assert [sorted(values) for values in found] == [kernels, depths, ratios], name
        assert (phase.name, phase.epochs, phase.sort_protected_widths) == (name, epochs, sort)
        assert len(passes(method, phase, at(phase.first_epoch))) == num_networks
        assert phase.learning_rate(phase.first_epoch, 0, 4) / 0.1 * 2.6 == pytest.approx(rate)


def test_the_subnet_of_a_file_learns_alone(tmp_path: Path) -> None:
    space = run({"name": "single"}).space.trained(10)
    subnet = space.smallest(24)
    write_subnet(tmp_path / "subnet.json", subnet_file(subnet, space))
    method = built({"name": "single", "subnet": str(tmp_path / "subnet.json")})
    assert method.only_subnet == subnet
    assert passes(method, method.phases[0], at(3)) == [Pass(role="subnet", subnet=subnet)]
    (tmp_path / "subnet.json").unlink()
    itself = {"name": "single", "architecture": dataclasses.asdict(subnet)}
    assert built(itself).only_subnet == subnet
    with pytest.raises(ConfigError, match="the subnet is given already"):
        built({**itself, "subnet": str(tmp_path / "subnet.json")})
