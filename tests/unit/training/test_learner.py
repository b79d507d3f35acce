"""What a learner makes of its settings, what it does when a phase begins, and what it goes on from."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ofa_toolkit.spaces import get_space, restrict
from ofa_toolkit.supernets import Supernet
from ofa_toolkit.supernets.batchnorm.recalibration import batch_norms
from ofa_toolkit.training.algorithm import Pass, Phase
from ofa_toolkit.training.config import from_values
from ofa_toolkit.training.distributed import Process
from ofa_toolkit.training.learner import Learner
from ofa_toolkit.training.schedules import constant
from ofa_toolkit.training.shared_batchnorm import shared_batch_norm

SPACE = restrict(get_space("mobilenet-v3-compact"), depths=[1], kernel_sizes=[3]).with_num_classes(3)
SPACE = SPACE.with_resolutions((8,))
LARGEST, SMALLEST = SPACE.largest(), SPACE.smallest()
BATCH = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 1, 2, 0])
PASSES = (Pass(role="largest", subnet=LARGEST),)
PHASE = Phase(
    name="x",
    first_epoch=0,
    epochs=1,
    space=SPACE,
    schedule=constant(0.1),
    schedule_start=0,
    schedule_epochs=1,
)


def made(
    supernet: Supernet | None = None, process: Process | None = None, *, teacher: Any = None, **loop: Any
) -> Learner:
    values = {
        "space": {"name": "mobilenet-v3-compact"},
        "algorithm": {"name": "bignas"},
        "training": {"epochs": 1, "batch_size": 4, **loop},
        "schedule": {"learning_rate": 0.1},
    }
    config = from_values(json.loads(json.dumps(values)))  # as from a file
    if supernet is None:
        torch.manual_seed(0)
        supernet = Supernet(SPACE, dropout=0.5)
    return Learner(config, supernet, process or Process(), label_teacher=teacher)


def phase(**changes: Any) -> Phase:
    return dataclasses.replace(PHASE, **changes)


def weights(learner: Learner) -> Tensor:
    """All of them in a row."""
    return torch.cat([parameter.detach().flatten() for parameter in learner.supernet.parameters()])


def no_images() -> Any:
    raise AssertionError("images are for sorting by activations")


@pytest.mark.parametrize(
    ("is_wanted", "world_size", "is_shared"), [(True, 1, False), (False, 2, False), (True, 2, True)]
)
def test_statistics_are_shared_by_several_processes(
    is_wanted: bool, world_size: int, is_shared: bool
) -> None:
    learner = made(process=Process(world_size=world_size), sync_batchnorm=is_wanted)
    norm = learner.supernet.layer("stem.conv").bn
    assert norm is not None
    assert (norm.normalize is shared_batch_norm) == is_shared
    own = learner.final_supernet().layer("stem.conv").bn
    assert own is not None
    assert own.normalize is not shared_batch_norm


@pytest.mark.parametrize("is_last", [True, False])
def test_channels_are_stored_in_the_order_that_is_asked_for(is_last: bool) -> None:
    weight = made(channels_last=is_last).supernet.layer("stem.conv").weighted.weight
    assert weight.is_contiguous(memory_format=torch.channels_last) == is_last


def test_dropout_is_drawn_from_the_seed_of_the_update_alone() -> None:
    found = []
    for number, seed in enumerate((5, 5, 6)):
        learner = made()
        learner.supernet.eval()
        torch.manual_seed(number)
        before = weights(learner)
        result = learner.update(PASSES, BATCH, rate=0.1, seed=seed)
        assert (result.first_norm, result.total_norm) == (None, None)
        assert not torch.equal(weights(learner), before)
        found.append(weights(learner))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_what_a_user_gets_is_the_moving_average() -> None:
    name = "classifier.linear.bias"
    plain, averaged = made(), made(ema_decay=0.25)
    start = plain.supernet.state_dict()[name].clone()
    for seed in (1, 2):
        for learner in (plain, averaged):
            learner.update(PASSES, BATCH, rate=0.1, seed=seed)
        now = plain.supernet.state_dict()[name]
        torch.testing.assert_close(averaged.supernet.state_dict()[name], now)
        # A decay of 2 / 11 after one update, of 1 / 4 (no more than is asked for) after two.
        kept = 2 / 11 if seed == 1 else 0.25
        start = kept * start + (1 - kept) * now
        torch.testing.assert_close(averaged.final_supernet().state_dict()[name], start)
    final = plain.final_supernet()
    torch.testing.assert_close(final.state_dict(), plain.supernet.state_dict(), rtol=0, atol=0)
    assert (final.dropout, final.bn_momentum, final.use_kernel_transforms) == (0.5, 0.1, False)
    final.layer("stem.conv").weighted.weight.data.zero_()
    assert bool(plain.supernet.layer("stem.conv").weighted.weight.any()), "a copy"


@pytest.mark.parametrize(
    ("alone", "has_teacher", "expected"),
    [
        (None, False, True),
        ("largest", False, False),
        ("smallest", False, False),
        ("largest", True, True),
        (None, True, True),
    ],
)
def test_where_images_without_labels_teach(alone: str | None, has_teacher: bool, expected: bool) -> None:
    learner = made(teacher=object() if has_teacher else None)
    assert learner.uses_unlabelled(phase(alone=alone)) == expected


@pytest.mark.parametrize("is_reset", [False, True])
def test_momentum_is_forgotten_where_a_phase_says_so(is_reset: bool) -> None:
    learner = made()
    learner.update(PASSES, BATCH, rate=0.1, seed=1)
    learner.begin(phase(resets_optimizer=is_reset), no_images)
    assert bool(learner.optimizer.state) != is_reset
    assert learner.teacher is None


def test_sorting_takes_the_moving_average_along() -> None:
    learner = made(ema_decay=0.5)
    before = weights(learner)
    learner.begin(phase(), no_images)
    assert torch.equal(weights(learner), before)
    learner.begin(phase(sort_protected_widths=0), no_images)
    assert not torch.equal(weights(learner), before)
    # No update was made: the average is the network itself.
    torch.testing.assert_close(learner.final_supernet().state_dict(), learner.supernet.state_dict())
    assert learner.average is not None
    assert learner.average.num_updates == 0


def test_sorting_by_activations_sees_images_of_the_phase() -> None:
    by_weights, by_activations = made(), made()
    # All but one channel of a block are silent behind their batch norm, and ReLU leaves them at 0.
    for learner in (by_weights, by_activations):
        layer = learner.supernet.layer("stages.0.0.depthwise")
        assert layer.bn is not None
        with torch.no_grad():
            layer.bn.weight.zero_()
            layer.bn.bias.fill_(-1.0)
            layer.bn.bias[5] = 1.0
            learner.supernet.layer("stages.0.0.project").weighted.weight[:, 5] *= 1e-3
    by_weights.begin(phase(sort_protected_widths=0), no_images)
    by_activations.begin(phase(sort_protected_widths=0, sort_by="activations"), lambda: [BATCH])
    places = []
    for learner in (by_weights, by_activations):
        norm = learner.supernet.layer("stages.0.0.depthwise").bn
        assert norm is not None
        places.append(int(norm.bias.argmax()))
    assert places == [learner.supernet.layer("stages.0.0.depthwise").weighted.weight.shape[0] - 1, 0]


@pytest.mark.parametrize(("batchnorm", "is_training"), [("batch", True), ("stored", False)])
def test_a_teacher_is_frozen_and_its_statistics_stay(batchnorm: Any, is_training: bool) -> None:
    learner = made()
    learner.begin(phase(teacher=SMALLEST, teacher_batchnorm=batchnorm), no_images)
    teacher = learner.teacher
    assert teacher is not None
    assert teacher.training == is_training
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert not [module for module in teacher.modules() if isinstance(module, nn.Dropout)]
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    expected = learner.supernet.train(is_training)(BATCH[0], SMALLEST, use_dropout=False)
    torch.testing.assert_close(teacher(BATCH[0]), expected, rtol=1e-4, atol=1e-5)
    for name, norm in batch_norms(teacher):
        torch.testing.assert_close(norm.running_mean, before[f"{name}.running_mean"], rtol=0, atol=0)
    learner.update(PASSES, BATCH, rate=1.0, seed=1)
    assert learner.take_teacher(phase()) is None
    assert learner.teacher is teacher, "a phase without a teacher of its own keeps the one there is"


def test_a_checkpoint_brings_everything_back() -> None:
    learner = made(ema_decay=0.5)
    taught = phase(teacher=LARGEST)
    learner.begin(taught, no_images)
    learner.update(PASSES, BATCH, rate=0.1, seed=1)
    content = learner.state_dict()
    assert content.keys() == {"supernet", "optimizer", "scaler", "average", "teacher"}
    torch.manual_seed(9)
    other = made(Supernet(SPACE), ema_decay=0.5)
    other.load_state_dict(content, taught)
    torch.testing.assert_close(other.state_dict(), content, rtol=0, atol=0)
    assert other.teacher is not None
    assert not any(parameter.requires_grad for parameter in other.teacher.parameters())
    with pytest.raises(AssertionError, match="the run has no teacher"):
        other.load_state_dict(content, None)
    plain = made()
    assert (plain.state_dict()["average"], plain.state_dict()["teacher"]) == (None, None)
    other.load_state_dict({**plain.state_dict(), "average": content["average"]}, taught)
    assert other.teacher is None
    assert not other.optimizer.state
