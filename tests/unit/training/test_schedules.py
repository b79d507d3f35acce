"""Schedules, epsilon, phases: figures worked out by hand or published."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch

from ofa_toolkit.core.errors import ConfigError, UnknownNameError
from ofa_toolkit.pipelines.training.recipes import list_recipes, load_recipe
from ofa_toolkit.training.algorithm import Phase, Position
from ofa_toolkit.training.config import RunConfig, from_values
from ofa_toolkit.training.deps import Deps
from ofa_toolkit.training.divergence import DivergenceWatch
from ofa_toolkit.training.initialization import load_initial_weights, new_supernet
from ofa_toolkit.training.losses import balanced_class_weights, hard_cross_entropy, soft_cross_entropy
from ofa_toolkit.training.phased import share_out_epochs
from ofa_toolkit.training.schedules import (
    ScheduleConfig,
    constant_increment,
    cosine,
    exponential,
    linear_warmup,
)


def config(algorithm: dict[str, Any], **training: Any) -> RunConfig:
    return from_values(
        {
            "space": {"name": "mobilenet-v3-compact"},
            "algorithm": algorithm,
            "training": {"epochs": 270, "batch_size": 8, **training},
            "schedule": {"learning_rate": 0.1, "floor": 0.025},
        }
    )


def phases(algorithm: dict[str, Any], epochs: int = 270) -> tuple[Phase, ...]:
    run = config(algorithm, epochs=epochs)
    return run.algorithm.build(run, run.space.trained(10)).phases


def test_cosine_is_cut_off_not_lifted() -> None:
    schedule = cosine(0.1, 0.0025)
    assert schedule(0.0) == pytest.approx(0.1)
    assert schedule(0.5) == pytest.approx(0.05)
    assert schedule(0.99) == 0.0025
    assert schedule(0.8) == pytest.approx(0.05 * (1 + math.cos(0.8 * math.pi)))


def test_exponential_ends_constant() -> None:
    schedule = exponential(0.256, 0.97, 2.4 / 400, 0.05 * 0.256)
    assert schedule(0.0) == 0.256
    assert schedule(2.3 / 400) == 0.256
    assert schedule(2.4 / 400) == pytest.approx(0.256 * 0.97)
    assert schedule(1.0) == pytest.approx(0.05 * 0.256)


def test_warmup_is_linear() -> None:
    schedule = linear_warmup(cosine(1.0), 0.1, 0.2)
    assert [schedule(p) for p in (0.0, 0.05)] == pytest.approx([0.2, 0.6])
    assert schedule(0.1) == pytest.approx(1.0)
    assert schedule(1.0) == pytest.approx(0.0)


def test_schedule_scales() -> None:
    schedule = ScheduleConfig(kind="cosine", learning_rate=0.1, floor=0.025).build(0.5)
    assert schedule(0.0) == pytest.approx(0.05)
    assert schedule(1.0) == pytest.approx(0.025 * 0.05)


def test_epsilon_rises_by_a_constant_amount_to_one() -> None:
    epsilon = constant_increment(1e-4, 100)
    values = [epsilon(step) for step in range(102)]
    assert values[0] == 1e-4
    assert values[100:] == [1.0, 1.0]
    steps = {round(b - a, 12) for a, b in itertools.pairwise(values[:101])}
    assert len(steps) == 1


def test_deps_phases_are_the_papers() -> None:
    warmup, shrinking = phases({"name": "deps"})
    assert (warmup.first_epoch, warmup.epochs) == (0, 135)
    assert (shrinking.first_epoch, shrinking.epochs) == (135, 135)
    assert warmup.alone == "largest"
    assert shrinking.alone is None
    # One less than the reduced ratios of [3, 4, 6], as in the authors' code.
    assert shrinking.sort_protected_widths == 1
    # The authors' ramp ends where the warm-up does.
    early, late = phases({"name": "deps", "epsilon_ramp": "effective_rate"})
    assert (early.epochs, late.first_epoch) == (130, 130)


def test_epsilon_is_one_after_five_of_270_epochs() -> None:
    run = config({"name": "deps"})
    deps = run.algorithm.build(run, run.space.trained(10))
    assert isinstance(deps, Deps)

    def epsilon(epoch: int, step: int) -> float:
        return deps.epsilon(
            deps.phases[1], Position(epoch=epoch, step=step, steps_per_epoch=10, resolution=32)
        )

    assert epsilon(135, 0) == 1e-4
    assert epsilon(137, 5) == pytest.approx(0.5, abs=1e-3)
    assert epsilon(139, 9) < 1.0
    assert epsilon(140, 0) == 1.0


def test_epsilon_is_recorded_for_deps_and_is_0_in_the_warm_up() -> None:
    run = config({"name": "deps"})
    deps = run.algorithm.build(run, run.space.trained(10))
    recorded = [
        deps.figures(phase, Position(epoch=epoch, step=0, steps_per_epoch=10, resolution=32))
        for phase, epoch in ((deps.phases[0], 134), (deps.phases[1], 135), (deps.phases[1], 200))
    ]
    assert recorded == [{"epsilon": 0.0}, {"epsilon": 1e-4}, {"epsilon": 1.0}]
    for name in ("ofa", "bignas", "compofa"):
        run = config({"name": name}, epochs=605)
        other = run.algorithm.build(run, run.space.trained(10))
        phase = other.phases[0]
        assert other.figures(phase, Position(epoch=0, step=0, steps_per_epoch=10, resolution=32)) == {}


@pytest.mark.parametrize(
    ("algorithm", "epochs", "expected"),
    [
        ({}, 270, None),
        ({}, 1, "Epsilon is 1 at once: algorithm.ramp_share = 0.0185185 comes to 0.19 updates here."),
        ({"ramp_share": 0.9}, 10, "Epsilon only reaches 0.54: the run ends before its ramp"),
        (
            {"ramp_share": 0.9, "epsilon_ramp": "effective_rate"},
            10,
            "Epsilon rises over 50 updates, not 90 (algorithm.ramp_share = 0.9): only the warm-up's.",
        ),
        ({"epsilon_ramp": "none"}, 1, None),
        (
            {"warmup_share": 1.0},
            1,
            "Only the largest subnet is trained by these settings; a search offers the",
        ),
        ({"ramp_share": 0.0}, 1, None),
    ],
)
def test_what_is_not_as_asked_is_told(algorithm: dict[str, Any], epochs: int, expected: str | None) -> None:
    run = config({"name": "deps", **algorithm}, epochs=epochs)
    notes = run.algorithm.build(run, run.space.trained(10)).notes(10)
    assert len(notes) == (expected is not None)
    if expected is not None:
        assert notes[0].startswith(expected)


def test_a_fresh_classifier_is_not_the_one_the_pretraining_began_with() -> None:
    first, other = config({"name": "deps"}), config({"name": "deps"})
    # At another resolution too: weights fit at any.
    pretrained = new_supernet(first, first.space.trained(4).with_resolutions((24,)))
    beginning = pretrained.layer("classifier").weighted.weight.detach().clone()
    fresh = []
    for seed in (1, 2, 1):
        supernet = new_supernet(other, other.space.trained(4))
        told = load_initial_weights(
            supernet,
            pretrained,
            "before",
            has_same_classes=False,
            classifier_seed=seed,
            space_option="before",
        )
        assert told.endswith("fresh: classifier for 4 classes.")
        fresh.append(supernet.layer("classifier").weighted.weight.detach())
    assert torch.equal(fresh[0], fresh[2])
    for weight in fresh[:2]:
        assert abs(float(torch.corrcoef(torch.stack([weight.flatten(), beginning.flatten()]))[0, 1])) < 0.1
    assert not torch.equal(fresh[0], fresh[1])


@pytest.mark.parametrize(("share", "expected"), [(0.0, ["shrinking"]), (1.0, ["warm-up"])])
def test_deps_extremes(share: float, expected: list[str]) -> None:
    assert [phase.name for phase in phases({"name": "deps", "warmup_share": share})] == expected


def test_ofa_phases_are_the_authors() -> None:
    found = phases({"name": "ofa"}, epochs=605)
    assert [(phase.name, phase.epochs) for phase in found] == [
        ("teacher", 180),
        ("kernel", 125),
        ("depth 1", 25),
        ("depth 2", 125),
        ("expand 1", 25),
        ("expand 2", 125),
    ]
    depths = [found[i].space.stages[0].depths for i in range(6)]
    assert depths == [(3,), (3,), (2, 3), (1, 2, 3), (1, 2, 3), (1, 2, 3)]
    assert [found[i].space.stages[0].expand_ratios for i in (3, 4, 5)] == [(6,), (4, 6), (3, 4, 6)]
    assert [phase.sort_protected_widths for phase in found] == [None, None, None, None, 0, 1]
    assert [phase.teacher is not None for phase in found] == [False, True, False, False, False, False]
    rates = [phase.learning_rate(phase.first_epoch, 0, 10) / 0.1 * 2.6 for phase in found]
    assert rates == pytest.approx([2.6, 0.96, 0.08, 0.24, 0.08, 0.24])


def test_compofa_phases_are_the_authors() -> None:
    found = phases({"name": "compofa"}, epochs=330)
    assert [phase.epochs for phase in found] == [180, 25, 125]
    assert found[1].space.num_architectures == 3**5


def test_epochs_are_shared_out_completely() -> None:
    for total in range(6, 60):
        shared = share_out_epochs(total, [180, 125, 25, 125, 25, 125])
        assert sum(shared) == total
        assert min(shared) >= 1
    with pytest.raises(ConfigError, match="too few for 6 phases"):
        share_out_epochs(5, [1] * 6)


def test_soft_cross_entropy_at_temperatures() -> None:
    logits, target = torch.tensor([[1.0, 2.0, 0.0]]), torch.tensor([[0.5, 0.0, 3.0]])
    for temperature in (1.0, 4.0):
        soft = torch.softmax(target / temperature, 1)
        wanted = -(soft * torch.log_softmax(logits / temperature, 1)).sum() * temperature**2
        torch.testing.assert_close(soft_cross_entropy(logits, target, temperature), wanted)
    one_hot = torch.tensor([[0.0, 80.0, 0.0]])
    torch.testing.assert_close(
        soft_cross_entropy(logits, one_hot), hard_cross_entropy(logits, torch.tensor([1]))
    )


def test_balanced_weights_make_classes_count_alike_and_batches_add_up() -> None:
    weights = balanced_class_weights([90, 6, 4])
    torch.testing.assert_close(weights, torch.tensor([100 / 270, 100 / 18, 100 / 12]))
    labels = torch.repeat_interleave(torch.arange(3), torch.tensor([90, 6, 4]))
    logits = torch.randn(100, 3, generator=torch.Generator().manual_seed(0))
    whole = hard_cross_entropy(logits, labels, 0.1, weights[labels])
    by_class = [
        hard_cross_entropy(logits[labels == label], labels[labels == label], 0.1) for label in range(3)
    ]
    torch.testing.assert_close(whole, torch.stack(by_class).mean())
    parts = [
        hard_cross_entropy(logits[rows], labels[rows], 0.1, weights[labels[rows]])
        for rows in torch.arange(100).split(20)
    ]
    torch.testing.assert_close(torch.stack(parts).mean(), whole)
    teacher = torch.randn(100, 3, generator=torch.Generator().manual_seed(1))
    soft_by_class = [
        soft_cross_entropy(logits[labels == label], teacher[labels == label], 2.0) for label in range(3)
    ]
    torch.testing.assert_close(
        soft_cross_entropy(logits, teacher, 2.0, weights[labels]), torch.stack(soft_by_class).mean()
    )


def test_divergence_is_a_jump_to_chance_or_no_number() -> None:
    watch = DivergenceWatch(num_classes=10, window=5)
    assert all(watch.check((2.3,)) is None for _ in range(20)), "a loss that never fell has not jumped"
    assert all(watch.check((1.0, 9.0)) is None for _ in range(20))
    assert watch.check((2.6,)) is None, "one bad batch is noise"
    problems = [watch.check((2.6,)) for _ in range(10)]
    assert "guessing" in str(problems[-1])
    assert "nan" in str(watch.check((1.0, float("nan"))))


def test_networks_of_a_new_phase_may_start_at_chance() -> None:
    watch = DivergenceWatch(num_classes=10, window=5)
    assert all(watch.check((1.0,)) is None for _ in range(20))
    watch.reset()
    # Labels and teacher, each at chance.
    assert all(watch.check((4.6,), 2.0) is None for _ in range(20))
    assert all(watch.check((3.0,), 2.0) is None for _ in range(20)), "1.5 for each of both"
    assert any(watch.check((4.6,), 2.0) for _ in range(20))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"algorithm": {"name": "deps", "warm_up": 1}}, "Unknown setting 'algorithm.warm_up'"),
        ({"algorithm": {"name": "deps", "hard_labels": 0.0, "soft_labels": 0.0}}, "would learn nothing"),
        ({"algorithm": {}}, r"algorithm\.name is missing"),
        ({"algorithm": {"name": "ofa", "phase_epochs": [1.0]}}, "expected 6 positive numbers"),
        ({"training": {"epochs": 1, "batch_size": 8, "accumulation": 3}}, "does not divide"),
    ],
)
def test_bad_settings_are_named(change: dict[str, Any], message: str) -> None:
    values: dict[str, Any] = {
        "space": {"name": "mobilenet-v3-compact"},
        "algorithm": {"name": "deps"},
        "training": {"epochs": 1, "batch_size": 8},
        "schedule": {"learning_rate": 0.1},
    }
    with pytest.raises(ConfigError, match=message):
        from_values({**values, **change})
    with pytest.raises(UnknownNameError):
        from_values({**values, "algorithm": {"name": "depps"}})


@pytest.mark.parametrize("name", [recipe.name for recipe in list_recipes()])
def test_every_recipe_builds_its_phases(name: str) -> None:
    run = load_recipe(name)
    found = run.algorithm.build(run, run.space.trained(10)).phases
    assert found[0].first_epoch == 0
    assert found[-1].end_epoch == run.training.epochs
    rates = [p.learning_rate(e, 0, 10) for p in found for e in range(p.first_epoch, p.end_epoch)]
    assert all(0 <= rate <= run.schedule.learning_rate for rate in rates)
    assert max(rates) > 0.5 * run.schedule.learning_rate


def test_recipes_cover_the_runs_of_the_paper() -> None:
    names = {recipe.name for recipe in list_recipes()}
    for method in ("deps", "ofa", "bignas", "compofa"):
        for images in ("cifar10", "cifar100", "imagenet100", "imagenet"):
            assert f"{method}-mobilenet-v3-{images}" in names
        assert f"{method}-compact-cifar10" in names
    assert {"deps-proxyless-imagenet", "ofa-proxyless-imagenet"} <= names
