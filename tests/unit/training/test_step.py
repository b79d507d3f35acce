"""An update with compiled networks, in other precisions, and with teachers of several kinds."""

from __future__ import annotations

import functools
import json
from typing import Any

import pytest
import torch
from torch import Tensor

from ofa_toolkit.spaces import get_space, restrict
from ofa_toolkit.supernets import Supernet, extract
from ofa_toolkit.training.algorithm import Pass
from ofa_toolkit.training.config import LoopConfig
from ofa_toolkit.training.distributed import Process
from ofa_toolkit.training.losses import feature_distance, hard_cross_entropy, soft_cross_entropy
from ofa_toolkit.training.step import Updater, seen_by

SPACE = restrict(get_space("mobilenet-v3-compact"), depths=(1,), kernel_sizes=(3,)).with_num_classes(3)
SPACE = SPACE.with_resolutions((8,))
LARGEST, SMALLEST = SPACE.largest(), SPACE.smallest()
MIDDLE = restrict(SPACE, expand_ratios=(4,)).largest()
IMAGES = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(1))
LABELS = torch.tensor([0, 1, 2, 0, 1, 2, 1, 1])
SAID = torch.randn(8, 3, generator=torch.Generator().manual_seed(3))


def made(seed: int = 0) -> Supernet:
    torch.manual_seed(seed)
    return Supernet(SPACE).train()


def updater(supernet: Supernet, *, label_teacher: Any = None, **loop: Any) -> Updater:
    told = {"epochs": 1, "batch_size": 8, "label_smoothing": 0.2, **loop}
    config = LoopConfig(**json.loads(json.dumps(told)))  # as from a file
    optimizer = torch.optim.SGD(supernet.parameters(), lr=0.0)
    return Updater(supernet, optimizer, config, Process(), label_teacher=label_teacher)


def updated(*, is_compiled: bool) -> tuple[list[tuple[float, ...]], dict[str, torch.Tensor]]:
    """Losses of an update at each of two resolutions, and the weights and statistics after them."""
    torch.manual_seed(0)
    space = restrict(get_space("mobilenet-v3-compact-96"), depths=(1,), kernel_sizes=(3,))
    supernet = Supernet(space)
    config = LoopConfig(epochs=1, batch_size=4, compile=is_compiled)
    updater = Updater(supernet, torch.optim.SGD(supernet.parameters(), lr=0.1), config, Process())
    losses = []
    for resolution in (48, 64):
        passes = (
            Pass(role="largest", subnet=space.largest(resolution)),
            Pass(
                role="smallest",
                subnet=space.smallest(resolution),
                hard_labels=0.0,
                soft_labels=1.0,
                source="first pass",
            ),
        )
        images = torch.randn(4, 3, resolution, resolution)
        losses.append(updater(images, torch.arange(4), passes).losses.tolist())
    return losses, supernet.state_dict()


@pytest.mark.slow
def test_compiled_networks_make_the_same_update(monkeypatch: pytest.MonkeyPatch) -> None:
    # This backend compiles nothing but takes the same path through torch.compile, without a C++ compiler.
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    losses, state = updated(is_compiled=False)
    compiled_losses, compiled_state = updated(is_compiled=True)
    torch.testing.assert_close(compiled_losses, losses, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(compiled_state, state, rtol=1e-4, atol=1e-5)


def test_the_largest_and_the_smallest_are_compiled_once_for_each_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compiled: list[Any] = []

    def compile_it(run: Any, **options: Any) -> Any:
        assert options == {"fullgraph": True, "dynamic": False}
        compiled.append(run)
        return run

    monkeypatch.setattr(torch, "compile", compile_it)
    passes = [
        Pass(role=role, subnet=subnet)
        for role, subnet in (("largest", LARGEST), ("smallest", SMALLEST), ("random", MIDDLE))
    ]
    plain, ours = made(), made()
    expected = updater(plain).accumulate(IMAGES, LABELS, passes)
    assert not compiled
    update = updater(ours, compile=True)
    torch.testing.assert_close(update.accumulate(IMAGES, LABELS, passes).losses, expected.losses)
    torch.testing.assert_close(
        {name: parameter.grad for name, parameter in ours.named_parameters()},
        {name: parameter.grad for name, parameter in plain.named_parameters()},
        rtol=1e-4,
        atol=1e-6,
    )
    update.accumulate(IMAGES, LABELS, passes)
    assert len(compiled) == 2
    # torch gives up on a code object that it has compiled for several networks.
    assert compiled[0].__code__ is not compiled[1].__code__


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_the_arithmetic_is_that_of_the_precision(precision: str, dtype: torch.dtype) -> None:
    supernet, seen = made(), []
    supernet.layer("stem.conv").register_forward_hook(lambda *given: seen.append(given[2].dtype))
    supernet.layer("head.expand").register_forward_hook(lambda *given: seen.append(given[2].dtype))
    found = updater(supernet, precision=precision).accumulate(
        IMAGES, LABELS, [Pass(role="largest", subnet=LARGEST), Pass(role="smallest", subnet=SMALLEST)]
    )
    assert set(seen) == {dtype}
    assert found.losses.dtype == torch.float32
    assert {p.grad.dtype for p in supernet.parameters() if p.grad is not None} == {torch.float32}


@pytest.mark.filterwarnings("ignore")
def test_half_precision_on_a_gpu() -> None:
    supernet = made()
    gpu = Process(device=torch.device("cuda"))
    config = LoopConfig(epochs=1, batch_size=8, precision="fp16")
    assert Updater(supernet, torch.optim.SGD(supernet.parameters(), lr=0.0), config, gpu)


def test_the_first_norm_is_of_the_first_pass() -> None:
    passes = [Pass(role="largest", subnet=LARGEST), Pass(role="smallest", subnet=SMALLEST)]
    alone = updater(made())(IMAGES, LABELS, passes[:1], records_norms=True)
    both = updater(made())(IMAGES, LABELS, passes, records_norms=True)
    assert both.first_norm == pytest.approx(alone.total_norm)
    assert both.total_norm != pytest.approx(alone.total_norm, rel=1e-3)
    # The first part of a batch says nothing of the whole.
    parts = updater(made(), accumulation=2)(IMAGES, LABELS, passes, records_norms=True)
    assert parts.first_norm is None
    assert parts.total_norm is not None


def test_passes_of_one_step_may_learn_from_different_networks() -> None:
    teacher = extract(made(5).eval(), LARGEST)
    classifier = teacher.get_submodule("classifier.linear")
    with seen_by(classifier) as of_teacher, torch.no_grad():
        taught = teacher(IMAGES)
    plain = made()
    logits, own = [], []
    for subnet in (LARGEST, SMALLEST, MIDDLE):
        with seen_by(plain.layer("classifier")) as seen:
            logits.append(plain(IMAGES, subnet))
        own.append(seen[0])
    passes = [
        Pass(role="largest", subnet=LARGEST),
        Pass(role="smallest", subnet=SMALLEST, hard_labels=0.0, soft_labels=0.5, source="teacher"),
        Pass(role="random", subnet=MIDDLE, hard_labels=0.0, soft_labels=0.5, source="first pass"),
    ]
    found = updater(made()).accumulate(IMAGES, LABELS, passes, teacher=teacher).losses
    expected = [
        hard_cross_entropy(logits[0], LABELS, 0.2),
        0.5 * soft_cross_entropy(logits[1], taught),
        0.5 * soft_cross_entropy(logits[2], logits[0]),
    ]
    torch.testing.assert_close(found, torch.stack(expected).detach())
    # Features alone, of a pass that learns from labels otherwise.
    [found] = (
        updater(made())
        .accumulate(IMAGES, LABELS, [Pass(role="largest", subnet=LARGEST, features=0.25)], teacher=teacher)
        .losses
    )
    distance = feature_distance(own[0], of_teacher[0])
    torch.testing.assert_close(found, (expected[0] + 0.25 * distance).detach())


class _Teacher:
    """Says the same of every batch, and counts how often it is asked."""

    asked = 0

    def __call__(self, images: Tensor) -> Tensor:
        self.asked += 1
        return SAID[: len(images)]


def test_images_without_labels_have_a_teachers_word_for_them() -> None:
    teacher, plain = _Teacher(), made()
    logits = plain(IMAGES, LARGEST)
    passes = [Pass(role="largest", subnet=LARGEST)]
    found = updater(made(), label_teacher=teacher).accumulate(IMAGES, LABELS[:4], passes)
    torch.testing.assert_close(found.losses[0], soft_cross_entropy(logits, SAID).detach())
    assert int(found.num_correct) == int((logits[::2].argmax(1) == SAID[::2].argmax(1)).sum())
    assert teacher.asked == 1


def test_a_teacher_of_labels_is_not_asked_where_no_pass_learns_from_them() -> None:
    teacher, frozen = _Teacher(), extract(made(5).eval(), LARGEST)
    item = Pass(role="largest", subnet=LARGEST, hard_labels=0.0, soft_labels=1.0, source="teacher")
    found = updater(made(), label_teacher=teacher).accumulate(IMAGES, LABELS, [item], teacher=frozen)
    assert teacher.asked == 0
    assert int(found.num_correct) == int((made()(IMAGES, LARGEST).argmax(1) == LABELS).sum())


def test_entries_that_no_network_of_a_step_uses_stay_as_they_are() -> None:
    supernet = made()
    passes = [Pass(role="smallest", subnet=SMALLEST, gradient_weight=0.5, aggregation="average")]
    updater(supernet)(IMAGES, LABELS, passes)
    plain = made()
    updater(plain)(IMAGES, LABELS, [Pass(role="smallest", subnet=SMALLEST)])
    name = "stages.0.0.expand.conv.weight"
    own, other = (dict(net.named_parameters())[name].grad for net in (supernet, plain))
    torch.testing.assert_close(own, other)
    assert own is not None
    assert not bool(own[len(own) // 2 :].any())
