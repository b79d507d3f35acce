"""The start from pretrained weights: classifier probe, frozen teacher, matched features."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ofa_toolkit.core.errors import ConfigError
from ofa_toolkit.spaces import get_space
from ofa_toolkit.supernets import Supernet, recalibrate_batchnorm
from ofa_toolkit.training import probe
from ofa_toolkit.training.algorithm import Position
from ofa_toolkit.training.config import RunConfig, from_values
from ofa_toolkit.training.distributed import Process
from ofa_toolkit.training.learner import Learner
from ofa_toolkit.training.losses import feature_distance
from ofa_toolkit.training.probe import fit_classifier

SPACE = get_space("mobilenet-v3-compact").with_num_classes(3).with_resolutions((8,))
DEPS = {"name": "deps", "warmup_share": 0.0, "ramp_share": 0.0, "teacher": "frozen", "features": 2.0}


def config(algorithm: dict[str, Any], **tables: Any) -> RunConfig:
    return from_values(
        {
            "space": {"name": "mobilenet-v3-compact", "resolutions": [8]},
            "algorithm": algorithm,
            "training": {"epochs": 2, "batch_size": 6},
            "schedule": {"learning_rate": 0.05},
            **tables,
        }
    )


def test_the_probe_separates_what_the_features_separate() -> None:
    torch.manual_seed(0)
    supernet = Supernet(SPACE)
    random = torch.Generator().manual_seed(1)
    labels = torch.arange(90) % 3
    colours = torch.eye(3)[:, :, None, None]
    images = colours[labels] + 0.3 * torch.randn(90, 3, 8, 8, generator=random)
    before = {name: value.clone() for name, value in supernet.state_dict().items()}
    supernet.train()
    right = fit_classifier(
        supernet, SPACE.largest(), [(images[:50], labels[:50]), (images[50:], labels[50:])], seed=0
    )
    assert supernet.training
    assert right > 95
    assert all(
        torch.equal(before[name], value) or name.startswith("classifier.")
        for name, value in supernet.state_dict().items()
    )
    with torch.no_grad():
        predicted = supernet.eval()(images, SPACE.largest()).argmax(1)
    assert (predicted == labels).all()


class TestProbe:
    """Twelve images of noise, of which eight and their mirrored copies are fitted each time."""

    IMAGES = torch.randn(12, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    LABELS = torch.tensor([0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2])

    @pytest.fixture
    def supernet(self) -> Supernet:
        torch.manual_seed(0)
        return Supernet(SPACE)

    @pytest.mark.parametrize(("count", "left_in"), [(12, 8), (4, None), (2, 1)])
    def test_an_image_and_its_copy_are_left_out_together(
        self, count: int, left_in: int | None, supernet: Supernet, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fitted: list[tuple[Tensor, Tensor]] = []
        penalties: list[float] = []

        def fit(inputs: Tensor, labels: Tensor, classes: int, penalty: float) -> tuple[Tensor, Tensor]:
            fitted.append((inputs, labels))
            penalties.append(penalty)
            # Whatever it sees, the first class; but for one penalty nothing is right.
            answer = 0 if penalty == 0.01 else 2
            return torch.zeros(classes, inputs.shape[1]), torch.eye(classes)[answer]

        monkeypatch.setattr(probe, "_logistic_regression", fit)
        images, labels = self.IMAGES[-count:], self.LABELS[:count]
        score = fit_classifier(supernet, SPACE.largest(), [(images, labels)], seed=0)
        # Nine of twelve are of the first class; 0.01 is best, and taken for the fit to all.
        assert score == pytest.approx(100 * min(count, 9) / count)
        folds = min(3, count)
        assert sorted(set(penalties)) == [1e-4, 1e-3, 1e-2, 1e-1]
        assert (len(fitted), penalties[-1]) == (4 * folds + 1, 0.01)
        for inputs, _ in fitted[:-1]:
            assert left_in is None or len(inputs) == 2 * left_in
        everything, truth = fitted[-1]
        assert truth.tolist() == [*labels.tolist(), *labels.tolist()]
        assert float(everything.square().mean()) == pytest.approx(1)
        pairs = {tuple(image.tolist()): number % count for number, image in enumerate(everything)}
        left_out = []
        for inputs, _ in fitted[:folds]:
            numbers = [pairs[tuple(image.tolist())] for image in inputs]
            assert numbers[: len(numbers) // 2] == numbers[len(numbers) // 2 :]
            left_out.append(set(range(count)) - set(numbers))
        assert set.union(*left_out) == set(range(count))
        assert sum(map(len, left_out)) == count
        weight = supernet.layer("classifier").weighted
        assert not bool(weight.weight.any())
        assert weight.bias is not None
        assert weight.bias.tolist() == [1, 0, 0]

    def test_the_classifier_is_where_loss_and_penalty_balance(self, supernet: Supernet) -> None:
        fit_classifier(supernet, SPACE.largest(), [(self.IMAGES, self.LABELS)], seed=0)
        inputs, labels = probe.features(supernet, SPACE.largest(), [(self.IMAGES, self.LABELS)])
        linear = supernet.layer("classifier").weighted
        assert linear.bias is not None
        weight, bias = (value.detach().double().requires_grad_() for value in (linear.weight, linear.bias))
        loss = nn.functional.cross_entropy(inputs.double() @ weight.T + bias, labels)
        of_weight, of_bias = torch.autograd.grad(loss, (weight, bias))
        assert float(of_bias.abs().max()) < 1e-3
        # d(penalty * |w s|^2) / dw, s the root mean square of the features.
        pull = 2 * inputs.double().square().mean() * weight.detach()
        penalty = -float((of_weight * pull).sum() / pull.square().sum())
        assert min(abs(penalty / each - 1) for each in probe.PENALTIES) < 0.02
        assert float((of_weight + penalty * pull).norm()) < 0.02 * float(of_weight.norm())


def test_all_learn_from_the_frozen_teacher() -> None:
    run = config(DEPS)
    method = run.algorithm.build(run, SPACE)
    [phase] = method.phases
    assert (phase.teacher, phase.teacher_batchnorm) == (SPACE.largest(), "stored")
    position = Position(epoch=0, step=0, steps_per_epoch=4, resolution=8)
    passes = method.plan(phase, position, np.random.default_rng(0))
    assert [item.role for item in passes] == ["largest", "smallest", "random", "random"]
    for item in passes:
        assert (item.source, item.soft_labels, item.hard_labels, item.features) == ("teacher", 1, 0, 2)
    assert [item.use_dropout for item in passes] == [True, False, False, False]


def test_a_step_pulls_the_small_network_towards_the_frozen_one() -> None:
    run = config(DEPS)
    torch.manual_seed(0)
    images = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    supernet = Supernet(SPACE)
    recalibrate_batchnorm(supernet, [images], subnet=SPACE.largest())
    learner = Learner(run, supernet, Process())
    method = run.algorithm.build(run, SPACE)
    [phase] = method.phases
    batch = images, torch.zeros(6, dtype=torch.int64)
    learner.begin(phase, lambda: [batch])
    frozen = copy.deepcopy(learner.teacher)
    assert frozen is not None
    position = Position(epoch=0, step=0, steps_per_epoch=4, resolution=8)
    passes = method.plan(phase, position, np.random.default_rng(0))
    losses = [learner.update(passes, batch, rate=0.02, seed=step).losses[1].item() for step in range(12)]
    assert losses[-1] < 0.8 * losses[0]
    assert learner.teacher is not None
    for name, value in learner.teacher.state_dict().items():
        assert torch.equal(value, frozen.state_dict()[name]), name


def test_feature_distance_has_no_unit() -> None:
    random = torch.Generator().manual_seed(0)
    target, features = torch.randn(2, 50, 40, generator=random)
    distance = feature_distance(features, target)
    torch.testing.assert_close(feature_distance(7 * features, 7 * target), distance)
    assert float(distance) == pytest.approx(2, rel=0.1)
    assert float(feature_distance(target, target)) == 0


@pytest.mark.parametrize(
    ("algorithm", "tables", "message"),
    [
        ({"name": "deps", "features": 1.0}, {}, "only a frozen teacher's are matched"),
        (
            {"name": "deps", "sort_by": "activations", "sort_channels": False},
            {},
            "sort_by: 'activations' has no use",
        ),
        ({"name": "deps"}, {"start": {"probe": True}}, "start.probe: there are no weights to start from"),
        ({"name": "deps"}, {"start": {"fit_batchnorm": True}}, "start.fit_batchnorm: there are no weights"),
    ],
)
def test_settings_that_make_no_sense_together(
    algorithm: dict[str, Any], tables: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        config(algorithm, **tables)
