"""Processes, shared statistics and single updates against sums written down plainly."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn import functional

from ofa_toolkit.core.errors import ConfigError, MismatchError, TrainingError
from ofa_toolkit.datasets.transforms import Preprocessing, renormalization
from ofa_toolkit.evaluation.accuracy import Accuracy
from ofa_toolkit.spaces import get_space, lower, restrict
from ofa_toolkit.supernets import Supernet, extract
from ofa_toolkit.training import validation as validation_module
from ofa_toolkit.training.aggregation import count_uses
from ofa_toolkit.training.algorithm import Pass, Phase
from ofa_toolkit.training.config import LoopConfig, RunConfig, ValidationConfig, from_values
from ofa_toolkit.training.distributed import LostProcessError, Process, join, leave
from ofa_toolkit.training.freezing import freeze_layers, frozen_layers
from ofa_toolkit.training.initialization import load_initial_weights, new_supernet
from ofa_toolkit.training.label_teacher import LabelTeacher
from ofa_toolkit.training.losses import feature_distance, hard_cross_entropy, soft_cross_entropy
from ofa_toolkit.training.probe import features
from ofa_toolkit.training.schedules import constant
from ofa_toolkit.training.shared_batchnorm import shared_batch_norm
from ofa_toolkit.training.shared_prefix import SharedPrefix
from ofa_toolkit.training.step import Updater, seen_by
from ofa_toolkit.training.validation import validate

SPACE = get_space("mobilenet-v3-compact").with_num_classes(3).with_resolutions((8,))
LARGEST, SMALLEST = SPACE.largest(), SPACE.smallest()


class TestProcesses:
    """What one of several processes makes of what the others send."""

    @pytest.fixture
    def sends(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], list[Tensor]]:
        """Lets the others add a number to every sum; gives the tensors that were summed."""

        def send(amount: float) -> list[Tensor]:
            seen: list[Tensor] = []

            def reduce(values: Tensor) -> None:
                seen.append(values.clone())
                values += amount

            monkeypatch.setattr(dist, "all_reduce", reduce)
            return seen

        return send

    def test_the_main_one(self) -> None:
        assert [Process(rank=rank, world_size=2).is_main for rank in (0, 1)] == [True, False]
        assert (Process().rank, Process().world_size, Process().device.type) == (0, 1, "cpu")

    def test_means(self, sends: Callable[[float], list[Tensor]]) -> None:
        seen = sends(3.0)
        assert Process(world_size=2).average(torch.tensor([1.0, 4.0])).tolist() == [2, 3.5]
        assert Process().average(torch.tensor([1.0, 5.0])).tolist() == [1, 5]
        assert len(seen) == 1

    @pytest.mark.parametrize(
        ("own", "others", "expected"), [(False, 0.0, False), (False, 1.0, True), (True, 0.0, True)]
    )
    def test_any(
        self, own: bool, others: float, expected: bool, sends: Callable[[float], list[Tensor]]
    ) -> None:
        sends(others)
        pair = Process(rank=1, world_size=2)
        assert pair.any(own) == expected
        assert Process().any(own) == own
        told = pair.agree("it burns" if own else None)
        assert told == ("it burns" if own else "another process has one" if others else None)
        assert Process().agree(None) is None
        assert Process().agree("it burns") == "it burns"

    def test_gradients_are_reduced_in_one_piece(self, sends: Callable[[float], list[Tensor]]) -> None:
        parameters = [
            nn.Parameter(torch.zeros(2)),
            nn.Parameter(torch.zeros(1)),
            nn.Parameter(torch.zeros(1)),
        ]
        parameters[0].grad, parameters[2].grad = torch.tensor([1.0, 2.0]), torch.tensor([7.0])
        seen = sends(1.0)
        Process().average_gradients(parameters)
        assert not seen
        Process(world_size=2).average_gradients(parameters)
        assert [values.tolist() for values in seen] == [[1, 2, 7]]
        assert [p.grad.tolist() for p in parameters if p.grad is not None] == [[1, 1.5], [4]]
        assert parameters[1].grad is None

    def test_statistics_but_for_those_that_are_kept(self, sends: Callable[[float], list[Tensor]]) -> None:
        module = nn.Sequential(nn.BatchNorm2d(1), nn.BatchNorm2d(1, momentum=0.0))
        seen = sends(2.0)
        Process().average_buffers(module)
        assert not seen
        Process(world_size=4).average_buffers(module)
        assert [values.tolist() for values in seen] == [[0, 1]]
        averaged, kept = (dict(child.named_buffers()) for child in module)
        assert (averaged["running_mean"].item(), averaged["running_var"].item()) == (0.5, 0.75)
        assert (kept["running_mean"].item(), kept["running_var"].item()) == (0, 1)
        assert averaged["num_batches_tracked"].item() == 0

    def test_what_the_main_process_does_for_all(self, monkeypatch: pytest.MonkeyPatch) -> None:
        sent: list[Any] = []
        received: list[Any] = []

        def broadcast(outcome: list[Any], src: int) -> None:
            assert src == 0
            sent.append(list(outcome))
            if received:
                outcome[:] = received

        monkeypatch.setattr(dist, "broadcast_object_list", broadcast)
        assert Process().from_main(lambda: 5) == 5
        assert not sent
        main, other = (Process(rank=rank, world_size=2) for rank in (0, 1))
        assert main.from_main(lambda: 5) == 5
        assert sent == [[5, None]]

        def fail() -> int:
            raise ConfigError("no")

        with pytest.raises(ConfigError, match="no"):
            main.from_main(fail)
        assert sent[-1] == [None, "no"]
        received[:] = [7, None]
        assert other.from_main(fail) == 7
        received[:] = [None, "no"]
        with pytest.raises(TrainingError, match="Process 1 stops with the main process: no"):
            other.from_main(lambda: 5)

    def test_others_that_are_gone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: object) -> None:
            raise RuntimeError("reset by peer")

        monkeypatch.setattr(dist, "barrier", fail)
        Process().barrier()
        with pytest.raises(LostProcessError, match="reset by peer"):
            Process(world_size=2).barrier()

    def test_joining(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("WORLD_SIZE", "LOCAL_RANK", "TORCHELASTIC_RUN_ID"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        assert join() == join("cpu") == Process()
        with pytest.raises(TrainingError, match="Device 'nonsense' cannot be used here"):
            join("nonsense")
        monkeypatch.setenv("WORLD_SIZE", "two")
        with pytest.raises(TrainingError, match="WORLD_SIZE is 'two'; it has to be a number"):
            join("cpu")
        monkeypatch.setenv("WORLD_SIZE", "2")
        monkeypatch.setattr(dist, "is_initialized", lambda: True)
        monkeypatch.setattr(dist, "get_rank", lambda: 1)
        assert join("cpu") == Process(rank=1, world_size=2)
        started: list[str] = []
        monkeypatch.setattr(dist, "is_initialized", lambda: False)
        monkeypatch.setattr(dist, "init_process_group", started.append)
        join("cpu")
        assert started == ["gloo"]

        for error, run_id, hint in (
            (ValueError("no address"), None, "torchrun sets what they need"),
            (RuntimeError("no address"), "1", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE"),
        ):

            def fail(_backend: str, error: Exception = error) -> None:
                raise error

            monkeypatch.setattr(dist, "init_process_group", fail)
            if run_id is not None:
                monkeypatch.setenv("TORCHELASTIC_RUN_ID", run_id)
            with pytest.raises(TrainingError, match="The 2 processes cannot find each other") as caught:
                join("cpu")
            assert hint in str(caught.value.hint)

    @pytest.mark.parametrize(("number", "device"), [(None, "cuda:0"), ("2", "cuda:2")])
    def test_the_device_of_a_process(
        self, number: str | None, device: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("LOCAL_RANK", raising=False)
        if number is not None:
            monkeypatch.setenv("LOCAL_RANK", number)
        asked: list[str] = []

        def place(name: str) -> torch.device:
            asked.append(name)
            raise RuntimeError("none here")

        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch, "device", place)
        for chosen in (None, "cuda"):
            with pytest.raises(TrainingError, match="none here"):
                join(chosen)
        assert asked == [device, device]

    @pytest.mark.parametrize("error", [RuntimeError("none here"), AssertionError("none here")])
    def test_a_gpu_that_is_not_there(self, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr(torch, "empty", fail)
        with pytest.raises(TrainingError, match="Device 'cuda:1' cannot be used here: none here") as caught:
            join("cuda:1")
        assert "--device cpu" in str(caught.value.hint)

    def test_processes_with_gpus_meet_by_nccl(self, monkeypatch: pytest.MonkeyPatch) -> None:
        done: list[Any] = []
        monkeypatch.setenv("WORLD_SIZE", "2")
        monkeypatch.setenv("LOCAL_RANK", "1")
        monkeypatch.setattr(torch, "empty", lambda *_, **__: None)
        monkeypatch.setattr(torch.cuda, "set_device", done.append)
        monkeypatch.setattr(dist, "is_initialized", lambda: False)
        monkeypatch.setattr(dist, "get_rank", lambda: 1)
        monkeypatch.setattr(dist, "init_process_group", done.append)
        place = torch.device("cuda", 1)
        assert join("cuda") == Process(rank=1, world_size=2, device=place)
        assert done == [place, "nccl"]

    def test_leaving(self, monkeypatch: pytest.MonkeyPatch) -> None:
        left: list[int] = []
        monkeypatch.setattr(dist, "destroy_process_group", lambda: left.append(1))
        for is_initialized, world_size in ((False, 1), (True, 1), (False, 2), (True, 2)):
            monkeypatch.setattr(dist, "is_initialized", lambda value=is_initialized: value)
            leave(Process(world_size=world_size))
        assert len(left) == 1


def _in_pairs(monkeypatch: pytest.MonkeyPatch, work: Callable[[int], Any]) -> list[Any]:
    """Two threads as two processes, for the collectives that statistics use."""
    own, meeting = threading.local(), threading.Barrier(2, timeout=60)
    slots: list[Any] = [None, None]

    def swap(values: Tensor) -> list[Tensor]:
        slots[own.rank] = values.detach().clone()
        meeting.wait()
        found = list(slots)
        meeting.wait()
        return found

    def gather(parts: Sequence[Tensor], values: Tensor) -> None:
        for part, found in zip(parts, swap(values), strict=True):
            part.copy_(found)

    def reduce(values: Tensor) -> None:
        values.copy_(sum(swap(values)))

    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(dist, "get_rank", lambda: own.rank)
    monkeypatch.setattr(dist, "all_gather", gather)
    monkeypatch.setattr(dist, "all_reduce", reduce)
    results: list[Any] = [None, None]

    def run(rank: int) -> None:
        own.rank = rank
        results[rank] = work(rank)

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_statistics_of_unequal_parts_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    images = 5 + torch.randn(5, 2, 3, 4, generator=generator, dtype=torch.float64)
    pulls = torch.randn(5, 2, 3, 4, generator=generator, dtype=torch.float64)
    weight, bias = torch.tensor([[2.0, 0.5], [-1.0, 3.0]], dtype=torch.float64)
    mean, variance = torch.tensor([1.0, 2.0]).double(), torch.tensor([3.0, 4.0]).double()
    whole = images.clone().requires_grad_()
    expected_mean, expected_variance = mean.clone(), variance.clone()
    options = (weight, bias, True, 0.25, 0.5)
    expected = functional.batch_norm(whole, expected_mean, expected_variance, *options)
    (expected * pulls).sum().backward()
    parts = (slice(0, 1), slice(1, 5))

    def work(rank: int) -> tuple[Tensor, ...]:
        part = images[parts[rank]].clone().requires_grad_()
        running = mean.clone(), variance.clone()
        output = shared_batch_norm(part, *running, *options)
        (output * pulls[parts[rank]]).sum().backward()
        assert part.grad is not None
        return output.detach(), part.grad, *running

    for rank, (output, gradient, own_mean, own_variance) in enumerate(_in_pairs(monkeypatch, work)):
        torch.testing.assert_close(output, expected[parts[rank]])
        assert whole.grad is not None
        torch.testing.assert_close(gradient, whole.grad[parts[rank]])
        torch.testing.assert_close((own_mean, own_variance), (expected_mean, expected_variance))
    evaluated = shared_batch_norm(images, mean, variance, weight, bias, False, 0.25, 0.5)
    torch.testing.assert_close(
        evaluated, functional.batch_norm(images, mean, variance, weight, bias, eps=0.5)
    )


class TestUpdates:
    """Losses and gradients of a step, beside what autograd says of their plain sum."""

    IMAGES = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(1)).double()
    LABELS = torch.tensor([0, 1, 2, 0, 1, 2, 1, 1])
    WEIGHTS = torch.tensor([0.5, 1.0, 2.0]).double()
    PASSES = (
        Pass(role="largest", subnet=LARGEST, hard_labels=0.75),
        Pass(
            role="smallest",
            subnet=SMALLEST,
            gradient_weight=0.3,
            hard_labels=0.25,
            soft_labels=0.5,
            source="first pass",
            temperature=2.0,
        ),
    )

    @staticmethod
    def supernet() -> Supernet:
        torch.manual_seed(0)
        return Supernet(SPACE).double().train()

    def updater(self, supernet: Supernet, accumulation: int = 1, **options: Any) -> Updater:
        optimizer = torch.optim.SGD(supernet.parameters(), lr=0.0)
        config = LoopConfig(epochs=1, batch_size=8, accumulation=accumulation, label_smoothing=0.2)
        return Updater(supernet, optimizer, config, Process(), **options)

    @pytest.mark.parametrize("parts", [1, 2])
    @pytest.mark.parametrize("is_weighted", [False, True])
    def test_two_passes(self, parts: int, is_weighted: bool) -> None:
        plain, supernet = self.supernet(), self.supernet()
        losses, right = torch.zeros(2), 0
        for images, labels in zip(self.IMAGES.chunk(parts), self.LABELS.chunk(parts), strict=True):
            weights = self.WEIGHTS[labels] if is_weighted else None
            first, second = (plain(images, subnet).float() for subnet in (LARGEST, SMALLEST))
            by_hand = (
                0.75 * hard_cross_entropy(first, labels, 0.2, weights),
                0.25 * hard_cross_entropy(second, labels, 0.2, weights)
                + 0.5 * soft_cross_entropy(second, first.detach(), 2.0, weights),
            )
            ((by_hand[0] + 0.3 * by_hand[1]) / parts).backward()
            losses += torch.stack(by_hand).detach().float() / parts
            right += int((first.argmax(1) == labels).sum())
        updater = self.updater(supernet, parts, class_weights=self.WEIGHTS if is_weighted else None)
        found = updater.accumulate(self.IMAGES, self.LABELS, self.PASSES)
        torch.testing.assert_close(found.losses, losses)
        assert int(found.num_correct) == right
        assert found.first_norm is None
        wanted = dict(plain.named_parameters())
        for name, parameter in supernet.named_parameters():
            torch.testing.assert_close(parameter.grad, wanted[name].grad, rtol=1e-5, atol=1e-7, msg=name)

    @pytest.mark.parametrize("is_weighted", [False, True])
    def test_every_second_image_without_a_label(self, is_weighted: bool) -> None:
        plain, supernet, labels = self.supernet(), self.supernet(), self.LABELS[:4]
        first, second = (plain(self.IMAGES, subnet).float() for subnet in (LARGEST, SMALLEST))
        weights = self.WEIGHTS[labels] if is_weighted else None
        all_weights = None
        if is_weighted:
            all_weights = torch.ones(8).double()
            all_weights[::2] = self.WEIGHTS[labels]
        hard, soft = (
            [hard_cross_entropy(logits[::2], labels, 0.2, weights) for logits in (first, second)],
            soft_cross_entropy(second, first.detach(), 2.0, all_weights),
        )
        updater = self.updater(supernet, class_weights=self.WEIGHTS if is_weighted else None)
        found = updater.accumulate(self.IMAGES, labels, self.PASSES)
        expected = torch.stack([0.75 * hard[0], 0.25 * hard[1] + 0.5 * soft]).detach().float()
        torch.testing.assert_close(found.losses, expected)
        assert int(found.num_correct) == int((first[::2].argmax(1) == labels).sum())

    def test_a_teacher_in_the_place_of_labels(self) -> None:
        plain, supernet = self.supernet(), self.supernet()
        said = torch.randn(8, 3, generator=torch.Generator().manual_seed(3))

        class Teacher:
            def __call__(self, images: Tensor) -> Tensor:
                return said[: len(images)]

        teacher: Any = Teacher()
        first, second = (plain(self.IMAGES, subnet).float() for subnet in (LARGEST, SMALLEST))
        found = self.updater(supernet, label_teacher=teacher, class_weights=self.WEIGHTS).accumulate(
            self.IMAGES,
            self.LABELS,
            [self.PASSES[0], Pass(role="smallest", subnet=SMALLEST, hard_labels=0.5)],
        )
        expected = [0.75 * soft_cross_entropy(first, said), 0.5 * soft_cross_entropy(second, said)]
        torch.testing.assert_close(found.losses, torch.stack(expected).detach())
        assert int(found.num_correct) == int((first.argmax(1) == said.argmax(1)).sum())

    def test_a_frozen_teacher_and_its_features(self) -> None:
        plain, supernet = self.supernet(), self.supernet()
        torch.manual_seed(5)
        teacher = extract(Supernet(SPACE).double().eval(), LARGEST)
        classifier = teacher.get_submodule("classifier.linear")
        with seen_by(classifier) as of_teacher, torch.no_grad():
            taught = teacher(self.IMAGES).float()
        with seen_by(plain.layer("classifier")) as own:
            logits = plain(self.IMAGES, SMALLEST).float()
        assert own[0].shape == of_teacher[0].shape
        item = Pass(
            role="smallest",
            subnet=SMALLEST,
            hard_labels=0.0,
            soft_labels=0.5,
            features=0.125,
            source="teacher",
            temperature=3.0,
        )
        found = self.updater(supernet).accumulate(self.IMAGES, self.LABELS, [item], teacher=teacher)
        expected = 0.5 * soft_cross_entropy(logits, taught, 3.0)
        expected = expected + 0.125 * feature_distance(own[0].float(), of_teacher[0].float())
        torch.testing.assert_close(found.losses, expected.detach().view(1))
        with seen_by(classifier) as later:
            pass
        assert not later

    def test_half_precision_needs_a_gpu(self) -> None:
        supernet = self.supernet()
        config = LoopConfig(epochs=1, batch_size=8, precision="fp16")
        with pytest.raises(ConfigError, match="fp16 needs a GPU"):
            Updater(supernet, torch.optim.SGD(supernet.parameters(), lr=0.0), config, Process())

    def test_norms_are_recorded_where_they_are_wanted(self) -> None:
        supernet = self.supernet()
        updater = self.updater(supernet)
        first = updater(self.IMAGES, self.LABELS, self.PASSES[:1], records_norms=True)
        assert first.total_norm == pytest.approx(first.first_norm)
        squares = sum(float(p.grad.square().sum()) for p in supernet.parameters() if p.grad is not None)
        assert first.total_norm == pytest.approx(squares**0.5)
        without = updater(self.IMAGES, self.LABELS, self.PASSES[:1])
        assert (without.total_norm, without.first_norm) == (None, None)


def test_three_networks_move_shared_statistics_three_times() -> None:
    torch.manual_seed(0)
    shared, apart = Supernet(SPACE).train(), Supernet(SPACE).train()
    apart.load_state_dict(shared.state_dict())
    networks = [lower(SPACE, subnet) for subnet in (LARGEST, SMALLEST, LARGEST)]
    images = torch.randn(4, 3, 8, 8)
    SharedPrefix(shared, networks, images)
    for subnet in (LARGEST, SMALLEST, LARGEST):
        apart(images, subnet)
    for own, other in ((shared.layer("stem.conv").bn, apart.layer("stem.conv").bn),):
        assert own is not None
        assert other is not None
        torch.testing.assert_close(dict(own.named_buffers()), dict(other.named_buffers()))
        assert int(own.num_batches_tracked) == 3
        assert own.momentum == 0.1


def test_how_often_entries_are_used() -> None:
    supernet = Supernet(SPACE, use_kernel_transforms=True)
    passes = (
        Pass(role="largest", subnet=LARGEST),
        Pass(role="smallest", subnet=SMALLEST, gradient_weight=0.25),
    )
    uses = count_uses(supernet, passes)
    # Half of the middle channels belong to ratio 3; blocks behind the first of a stage to the largest alone.
    for name in (
        "stages.0.0.expand.conv.weight",
        "stages.0.0.expand.bn.bias",
        "stages.0.0.depthwise.conv.weight",
    ):
        half = len(uses[name]) // 2
        assert set(uses[name][:half].flatten().tolist()) == {1.25}
        assert set(uses[name][half:].flatten().tolist()) == {1}
    project = uses["stages.0.0.project.conv.weight"]
    half = project.shape[1] // 2
    assert set(project[:, :half].flatten().tolist()) == {1.25}
    assert set(project[:, half:].flatten().tolist()) == {1}
    assert set(uses["stages.0.1.expand.conv.weight"].flatten().tolist()) == {1}
    for name in (
        "stages.1.0.se.reduce.conv.weight",
        "stages.1.0.depthwise.conv.matrix_5to3",
        "classifier.linear.weight",
        "stem.conv.conv.weight",
    ):
        assert set(uses[name].flatten().tolist()) == {1.25}, name
    alone = count_uses(supernet, passes[1:])
    assert not alone["stages.0.1.expand.conv.weight"].any()


class TestFreezing:
    """The stem and stages that keep their weights."""

    def test_which(self) -> None:
        names = [layer.name for layer in lower(SPACE, LARGEST) if layer.has_weights]
        assert frozen_layers(SPACE, "none") == ()
        assert frozen_layers(SPACE, "body") == tuple(names[:-1])
        for stages in (1, 2, 5):
            found = frozen_layers(SPACE, stages)
            assert found == tuple(names[: len(found)])
            frozen = [n for n in names if n.startswith(tuple(f"stages.{stage}." for stage in range(stages)))]
            assert set(frozen) <= set(found)
            assert names[len(found)].split(".")[0] in ("stages", "head")
            assert not names[len(found)].startswith(f"stages.{stages - 1}.")
        with pytest.raises(ConfigError, match="6 is out of range; 'mobilenet-v3-compact' has 5 stages"):
            frozen_layers(SPACE, 6)

    def test_they_need_no_gradient(self) -> None:
        supernet = Supernet(SPACE)
        freeze_layers(supernet, ("stem.conv",))
        fixed = {name for name, parameter in supernet.named_parameters() if not parameter.requires_grad}
        assert fixed == {"stem.conv.conv.weight", "stem.conv.bn.weight", "stem.conv.bn.bias"}

    @pytest.mark.parametrize("has_one_subnet", [True, False])
    def test_statistics_of_the_only_network_are_used(self, has_one_subnet: bool) -> None:
        space = SPACE
        if has_one_subnet:
            space = restrict(SPACE, depths=[1], kernel_sizes=[3], expand_ratios=[3])
        supernet = Supernet(space).train()
        freeze_layers(supernet, ("stem.conv", "classifier"))
        norms = {name: module for name, module in supernet.named_modules() if name.endswith(".bn")}
        assert norms["stem.conv.bn"].training != has_one_subnet
        before = norms["stem.conv.bn"].running_mean.clone()
        supernet(torch.randn(2, 3, 8, 8), space.largest())
        assert torch.equal(norms["stem.conv.bn"].running_mean, before)
        assert norms["head.expand.bn"].training
        assert bool(norms["head.expand.bn"].running_mean.any())


class TestInitialWeights:
    """Where a run starts from."""

    @staticmethod
    def config(method: str, **algorithm: Any) -> RunConfig:
        return from_values(
            {
                "space": {"name": "mobilenet-v3-compact", "resolutions": [8]},
                "algorithm": {"name": method, **algorithm},
                "training": {"epochs": 6, "batch_size": 8, "dropout": 0.25, "bn_momentum": 0.3, "seed": 4},
                "schedule": {"learning_rate": 0.1},
            }
        )

    def test_they_are_drawn_from_the_seed_alone(self) -> None:
        supernets = []
        for seed in (1, 2):
            torch.manual_seed(seed)
            supernets.append(new_supernet(self.config("deps"), SPACE))
        assert (supernets[0].dropout, supernets[0].bn_momentum) == (0.25, 0.3)
        torch.testing.assert_close(supernets[0].state_dict(), supernets[1].state_dict(), rtol=0, atol=0)

    def test_residual_branches_of_bignas_begin_at_zero(self) -> None:
        supernet = new_supernet(self.config("bignas"), SPACE)
        norms = {name: p for name, p in supernet.named_parameters() if name.endswith("bn.weight")}
        # A block that halves its input, or has more channels than it, has no branch around it.
        blocks = ["stem.block", *(f"stages.{stage}.{block}" for stage in range(5) for block in (1, 2))]
        assert {name for name, scale in norms.items() if not scale.any()} == {
            f"{block}.project.bn.weight" for block in blocks
        }
        plain = new_supernet(self.config("bignas", zero_gamma=False), SPACE)
        assert all(bool(p.any()) for name, p in plain.named_parameters() if name.endswith("bn.weight"))

    def test_what_is_told_of_them(self) -> None:
        torch.manual_seed(0)
        source, elastic = Supernet(SPACE), Supernet(SPACE, use_kernel_transforms=True)
        options: Any = {"space_option": "x", "classifier_seed": 1}
        count = len(source.state_dict())
        own = Supernet(SPACE)
        told = load_initial_weights(own, source, "it", has_same_classes=True, **options)
        assert told == f"Loaded {count} tensors from 'it'; nothing is fresh."
        torch.testing.assert_close(own.state_dict(), source.state_dict(), rtol=0, atol=0)
        told = load_initial_weights(elastic, source, "it", has_same_classes=False, **options)
        assert told == (
            f"Loaded {count - 2} tensors from 'it'; fresh: classifier, kernel matrices for 3 classes."
        )
        told = load_initial_weights(elastic, source, "it", has_same_classes=True, **options)
        assert told == f"Loaded {count} tensors from 'it'; fresh: kernel matrices."
        with pytest.raises(MismatchError, match="has kernel matrices"):
            load_initial_weights(own, elastic, "it", has_same_classes=True, **options)
        other = Supernet(get_space("mobilenet-v3-compact").with_num_classes(4))
        with pytest.raises(MismatchError, match="'it' is a supernet of 'deps-mobilenet-v3-cifar'") as caught:
            load_initial_weights(
                other, Supernet(get_space("deps-mobilenet-v3-cifar")), "it", has_same_classes=False, **options
            )
        assert "--space x" in str(caught.value.hint)


class RedAndGreen(nn.Module):
    """Logits are the mean red and the mean green."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2, bias=False)
        with torch.no_grad():
            self.linear.weight.copy_(torch.tensor([[1.0, 0, 0], [0, 1, 0]]))
        self.sizes: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        assert not self.training
        self.sizes.append(images.shape[-1])
        return cast(Tensor, self.linear(images.mean((2, 3))))


def test_a_label_teacher_sees_images_normalised_as_its_own_were() -> None:
    pixels = torch.tensor([0.5, 0.25, 0.75]).view(1, 3, 1, 1).expand(2, 3, 4, 4)
    given = Preprocessing(
        size=4, mean=[0.5, 0.75, 0.5], std=[0.25, 0.5, 0.25], interpolation="bilinear", crop=1.0
    )
    own = Preprocessing(
        size=8, mean=[0.25, 0.5, 0.0], std=[0.125, 0.25, 1.0], interpolation="bicubic", crop=0.875
    )
    images = (pixels - torch.tensor(given["mean"]).view(3, 1, 1)) / torch.tensor(given["std"]).view(3, 1, 1)
    for resolution in (None, 6):
        teacher = LabelTeacher(
            RedAndGreen(), resolution, torch.device("cpu"), renormalization=renormalization(given, own)
        )
        torch.testing.assert_close(teacher(images), torch.tensor([[2.0, -1.0]] * 2))


def test_a_label_teacher_sees_images_at_its_size() -> None:
    network = RedAndGreen()
    images = torch.tensor([[3.0, 1, 0], [1, 2, 0]]).view(2, 3, 1, 1).expand(2, 3, 4, 4)
    for resolution, size in ((None, 4), (6, 6)):
        teacher = LabelTeacher(network.train(), resolution, torch.device("cpu"))
        assert teacher.labels(images).tolist() == [0, 1]
        assert network.sizes.pop() == size
        torch.testing.assert_close(teacher(images), torch.tensor([[3.0, 1], [1, 2]]))
    assert not any(parameter.requires_grad for parameter in network.parameters())


@torch.no_grad()
def test_features_are_of_images_then_of_their_mirrored_copies() -> None:
    torch.manual_seed(0)
    supernet = Supernet(SPACE).train()
    images, labels = torch.randn(5, 3, 8, 8), torch.tensor([2, 0, 1, 1, 0])
    found, truth = features(supernet, SMALLEST, [(images[:2], labels[:2]), (images[2:], labels[2:])])
    assert supernet.training
    assert truth.tolist() == [2, 0, 1, 1, 0, 2, 0, 1, 1, 0]
    layers = lower(SPACE, SMALLEST)[:-1]
    supernet.eval()
    for part, seen in ((found[:5], images), (found[5:], images.flip(3))):
        torch.testing.assert_close(part, supernet.run_layers(layers, seen).flatten(1))


class TestValidation:
    """Which subnets are judged."""

    @pytest.fixture
    def judged(self, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
        seen: list[Any] = []

        def judge(_supernet: object, subnet: Any, _dataset: object, **options: Any) -> Accuracy:
            seen.append((subnet, options))
            return Accuracy(top1_percent=len(seen), loss=0.0, num_images=10)

        monkeypatch.setattr(validation_module, "evaluate_subnet", judge)
        return seen

    @pytest.mark.parametrize(
        ("alone", "only", "names", "count"),
        [
            (None, None, ["smallest", "largest", "mine", "again"], 3),
            ("largest", None, ["largest"], 1),
            ("smallest", None, ["smallest"], 1),
            (None, SMALLEST, ["subnet", "mine", "again"], 3),
        ],
    )
    def test_each_once(self, alone: Any, only: Any, names: list[str], count: int, judged: list[Any]) -> None:
        phase = Phase(
            name="x",
            first_epoch=0,
            epochs=1,
            space=SPACE,
            schedule=constant(0.1),
            schedule_start=0,
            schedule_epochs=1,
            alone=alone,
        )
        other = get_space("mobilenet-v3-compact").smallest(32)
        supernet: Any = None
        dataset: Any = None
        config = ValidationConfig(images=7, batch_size=5, recalibration_images=9)
        named = {"mine": other, "again": LARGEST}
        found = validate(supernet, dataset, phase, named, config, torch.device("cpu"), only)
        assert list(found) == names
        assert len(judged) == count
        assert judged[0][1] == {
            "batch_size": 5,
            "limit": 7,
            "recalibration_images": 9,
            "device": torch.device("cpu"),
        }
        if alone is None and only is None:
            assert found["again"] is found["largest"]
        validate(supernet, dataset, phase, {}, config, torch.device("cpu"), SMALLEST, recalibrates=False)
        assert judged[-1][1]["recalibration_images"] == 0
