"""Batch-norm statistics, corrections and the images for them, by a few pixels worked out by hand."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ofa_toolkit.core.errors import DataError, MismatchError
from ofa_toolkit.spaces import get_space, sample_subnets
from ofa_toolkit.spaces.layer_spec import LayerSpec
from ofa_toolkit.supernets import (
    Supernet,
    build_network,
    fold_batchnorm,
    fold_batchnorm_in_place,
    recalibrate_batchnorm,
)
from ofa_toolkit.supernets.batchnorm import images as images_module
from ofa_toolkit.supernets.batchnorm import targets as targets_module
from ofa_toolkit.supernets.batchnorm.carried_statistics import (
    CarriedStatistics,
    Corrections,
    at_resolution,
    normalized,
)
from ofa_toolkit.supernets.batchnorm.corrections import measure_corrections
from ofa_toolkit.supernets.batchnorm.images import largest_number, synthesize_batchnorm_images
from ofa_toolkit.supernets.batchnorm.targets import (
    NormTarget,
    StatisticsTarget,
    measure_target,
    mismatch,
    statistics_error,
    statistics_errors,
)

SPACE = get_space("mobilenet-v3-compact").with_num_classes(3).with_resolutions((8,))


def norm(mean: Sequence[float], variance: Sequence[float], eps: float = 1.0) -> nn.Sequential:
    """A network of one batch norm with some statistics."""
    layer = nn.BatchNorm2d(len(mean), eps=eps)
    layer.running_mean, layer.running_var = torch.tensor(mean), torch.tensor(variance)
    return nn.Sequential(layer).eval()


class TestRecalibration:
    """One image of the pixels 0 and 2, three of the pixels 5 and 5: mean 4, variance 26 / 8."""

    BATCHES = (torch.tensor([0.0, 2.0]).view(1, 1, 1, 2), torch.full((3, 1, 1, 2), 5.0))

    @pytest.mark.parametrize(
        ("options", "variance"),
        [({}, 3.25), ({"method": "pooled"}, 3.25), ({"method": "mean_of_batches"}, 0.25)],
    )
    def test_statistics_of_all_images(self, options: Any, variance: float) -> None:
        network = norm([7.0], [9.0]).train()
        layer: Any = network[0]
        layer.momentum = 0.3
        layer.num_batches_tracked.fill_(11)
        assert recalibrate_batchnorm(network, self.BATCHES, **options) == 4
        assert (float(layer.running_mean), float(layer.running_var)) == (4, variance)
        assert (layer.momentum, layer.training, int(layer.num_batches_tracked)) == (0.3, True, 11)

    def test_layers_that_keep_theirs(self) -> None:
        class Pair(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.first = nn.ModuleDict({"bn": norm([1.0], [3.0])[0]})
                self.second = nn.ModuleDict({"bn": norm([7.0], [9.0])[0]})

            def forward(self, x: Tensor) -> Tensor:
                return self.second["bn"](self.first["bn"](x))

        network = Pair()
        recalibrate_batchnorm(network, self.BATCHES, keeps=["first"])
        kept, found = network.first["bn"], network.second["bn"]
        assert (float(kept.running_mean), float(kept.running_var)) == (1, 3)
        # The first one subtracts 1 and halves.
        assert (float(found.running_mean), float(found.running_var)) == (1.5, 3.25 / 4)
        with pytest.raises(DataError, match="got no images"):
            recalibrate_batchnorm(network, [])

    def test_a_supernet_writes_the_channels_of_the_subnet(self) -> None:
        torch.manual_seed(0)
        supernet = Supernet(SPACE).eval()
        wide = supernet.layer("stages.0.0.expand").bn
        assert wide is not None
        with torch.no_grad():
            wide.running_mean.fill_(99.0)
        recalibrate_batchnorm(supernet, [torch.randn(4, 3, 8, 8)], subnet=SPACE.smallest())
        # Half of six times as many channels as the stem has.
        used = len(wide.running_mean) // 2
        assert bool((wide.running_mean[:used] != 99).all())
        assert bool((wide.running_mean[used:] == 99).all())


class TestFolding:
    """Scale 3, variance 3 and epsilon 1 make a factor of 1.5; mean 1, shift 5."""

    @pytest.mark.parametrize(("bias", "expected"), [(None, 3.5), (2.0, 6.5)])
    def test_weights_and_biases(self, bias: float | None, expected: float) -> None:
        conv, batch_norm = nn.Conv2d(1, 1, 1, bias=bias is not None), norm([1.0], [3.0])[0]
        with torch.no_grad():
            conv.weight.fill_(2.0)
            batch_norm.weight.fill_(3.0)
            batch_norm.bias.fill_(5.0)
            if conv.bias is not None:
                conv.bias.fill_(bias or 0.0)
        layer = nn.Sequential()
        layer.add_module("conv", conv)
        layer.add_module("bn", batch_norm)
        head = nn.Sequential()
        head.add_module("linear", nn.Linear(1, 1, bias=False))
        network = nn.ModuleDict({"a": layer, "b": head})
        folded = fold_batchnorm(network)
        assert list(folded) == ["a", "b"]
        assert (folded["a"][0].item(), folded["b"][1]) == (3, None)
        assert folded["a"][1] == pytest.approx([expected])
        fold_batchnorm_in_place(network)
        assert list(dict(layer.named_children())) == ["conv"]
        assert layer(torch.tensor([[[[10.0]]]])).item() == pytest.approx(30 + expected)
        assert list(dict(head.named_children())) == ["linear"]


class TestCorrections:
    """Statistics of images, and what they are off by."""

    def test_what_has_to_be_added(self) -> None:
        found = statistics_error(
            (torch.tensor([1.0, 0.0]), torch.tensor([3.0, 3.0])),
            (torch.tensor([5.0, -1.0]), torch.tensor([15.0, 0.0])),
            eps=1.0,
        )
        expected = torch.tensor([[1.0, -1.0], [math.log(2), -math.log(2)]])
        torch.testing.assert_close(found, expected)

    def test_what_it_costs(self) -> None:
        def wanted(shift: Sequence[float], scale: Sequence[float]) -> NormTarget:
            zeros = torch.zeros(len(shift))
            return NormTarget(
                mean=zeros,
                variance=zeros,
                shift_sensitivity=torch.tensor(shift),
                scale_sensitivity=torch.tensor(scale),
            )

        target = StatisticsTarget(
            subnet=SPACE.largest(), norms={"a": wanted([2.0, 4.0], [1.0, 3.0]), "b": wanted([8.0], [0.0])}
        )
        errors = {"a": torch.tensor([[1.0, -2.0], [3.0, 0.0]]), "b": torch.tensor([[0.5], [9.0]])}
        assert float(mismatch(target, errors)) == (2 + 16 + 9) / 2 + 1

    def test_they_are_added(self) -> None:
        corrections = Corrections(
            resolutions=(24, 32),
            shifts={"0": torch.tensor([[9.0, 9.0, 9.0], [0.5, -1.0, 9.0]])},
            log_scales={"0": torch.tensor([[9.0, 9.0, 9.0], [math.log(2), -9.0, 9.0]])},
        )
        network = norm([1.0, 2.0], [3.0, 3.0])
        corrections.apply(network, 32)
        layer: Any = network[0]
        # 4 with epsilon becomes 16, half of whose root is added to the mean; hardly anything leaves 0.
        assert layer.running_mean.tolist() == pytest.approx([3, 2 - 2 * math.exp(-9)])
        assert layer.running_var.tolist() == pytest.approx([15, 0])
        with pytest.raises(MismatchError, match="knows nothing of 28 pixels"):
            corrections.apply(network, 28)
        with pytest.raises(MismatchError, match="knows nothing of '0'"):
            corrections.apply(norm([0.0] * 4, [1.0] * 4), 32)
        corrections.apply(norm([0.0] * 3, [1.0] * 3), 32)
        carried = CarriedStatistics(images=torch.zeros(1, 2, 32, 32), corrections=corrections)
        assert (carried.lack(24), carried.lack(32)) == (None, None)
        assert carried.lack(28) == "its images are for 24, 32 pixels, not for 28"
        assert CarriedStatistics(images=torch.zeros(1, 2, 32, 32)).lack(28) is None

    def test_they_are_the_mean_errors_and_one_of_nothing(self) -> None:
        # Made-up images of mean 0 and variance 3 in every channel.
        images = math.sqrt(3) * torch.tensor([1.0, -1.0]).repeat(2 * 3 * 32).view(2, 3, 8, 8)
        found = measure_corrections(
            images,
            [
                (8, norm([4.0, 0.0, 0.0], [15.0, 3.0, 3.0])),
                (8, norm([8.0, 0.0, 0.0], [15.0, 3.0, 3.0])),
            ],
            (6, 8),
        )
        assert found.resolutions == (6, 8)
        # Errors of 1 and 2 deviations, and of the logarithm of 2 twice, over three.
        assert found.shifts["0"].tolist() == [[0, 0, 0], pytest.approx([1, 0, 0])]
        assert found.log_scales["0"].tolist() == [
            [0, 0, 0],
            pytest.approx([math.log(2) * 2 / 3, 0, 0], abs=1e-6),
        ]


def test_corners_of_an_image() -> None:
    images = torch.arange(2 * 3 * 16 * 16).view(2, 3, 16, 16).float()
    found = at_resolution(images, 12)
    parts = [images[:, :, y : y + 12, x : x + 12] for y in (0, 4) for x in (0, 4)]
    assert torch.equal(found, torch.cat(parts))
    assert at_resolution(images, 13).shape == (2, 3, 13, 13)
    assert at_resolution(images, 20).shape == (2, 3, 20, 20)
    flat = at_resolution(torch.ones(1, 3, 16, 16), 14)
    torch.testing.assert_close(flat, torch.ones(1, 3, 14, 14))


def test_pixels_are_normalised() -> None:
    pixels = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 3, 1, 1)
    found = normalized(pixels, {"mean": [0.5, 0.4, 0.0], "std": [0.25, 0.1, 2.0]})
    assert found.flatten().tolist() == pytest.approx([-2, -2, 0.5])


@pytest.mark.parametrize(
    ("size", "num_bytes", "number"),
    [
        # 619,000 bytes are left for images of 3 * 100^2.
        (100, 0, 20),
        (100, 19_000, 20),
        (100, 19_001, 19),
        (100, 620_000, 1),
        (10, 0, 128),
        (1000, 0, 1),
    ],
)
def test_images_that_fit_beside_corrections(size: int, num_bytes: int, number: int) -> None:
    assert largest_number(size, num_bytes) == number


class TestTargets:
    """Two channels of four images, a scale and a shift of their own, and two classes."""

    IMAGES = torch.randn(4, 3, 2, 2, generator=torch.Generator().manual_seed(1))
    KERNEL = torch.tensor([[1.0, 0.5, 0.0], [0.0, -1.0, 2.0], [0.0, 0.0, 0.1]]).view(3, 3, 1, 1)
    SCALE, SHIFT = torch.tensor([2.0, -0.5, 1.5]), torch.tensor([0.5, 1.0, -1.0])
    # Nothing reads the third channel.
    READER = torch.tensor([[1.0, 2.0, 0.0], [-1.0, 0.5, 0.0]])

    @pytest.fixture
    def channels(self, monkeypatch: pytest.MonkeyPatch) -> Tensor:
        """What the batch norm sees, `(3, 16)`, of a network that takes the place of every subnet."""
        shape = {"in_size": 2, "out_size": 2, "in_channels": 3, "out_channels": 3}
        pooled = {"in_channels": 3, "in_size": 1, "out_size": 1}
        layers = [
            LayerSpec(name="a", kind="conv", inputs=("input",), batch_norm=True, bn_eps=0.5, **shape),
            LayerSpec(name="p", kind="global_avg_pool", inputs=("a",), **{**shape, "out_size": 1}),
            LayerSpec(name="c", kind="linear", inputs=("p",), out_channels=2, **pooled),
        ]

        def tensors_of(layer: LayerSpec) -> Any:
            if layer.kind == "linear":
                return {"weight": self.READER.clone()}, None
            return {"weight": self.KERNEL.clone()}, {
                "weight": self.SCALE.clone(),
                "bias": self.SHIFT.clone(),
                "running_mean": torch.zeros(3),
                "running_var": torch.ones(3),
                "num_batches_tracked": torch.tensor(0),
            }

        monkeypatch.setattr(
            targets_module, "extract", lambda *_: build_network(layers, tensors_of=tensors_of)
        )
        return torch.einsum("oi,nihw->onhw", self.KERNEL[:, :, 0, 0], self.IMAGES).flatten(1)

    def test_statistics_and_what_they_matter(self, channels: Tensor) -> None:
        supernet: Any = None
        found = measure_target(
            supernet, SPACE.largest(), [self.IMAGES], torch.Generator().manual_seed(3)
        ).norms["a.bn"]
        variance, mean = torch.var_mean(channels, 1, correction=0)
        torch.testing.assert_close((found.mean, found.variance), (mean, variance))
        x = ((channels - mean[:, None]) / (variance[:, None] + 0.5).sqrt()).view(3, 4, 4).mean(2)
        scores = (self.SCALE * x.T + self.SHIFT) @ self.READER.T
        said = scores.softmax(1)
        labels = torch.multinomial(said, 1, generator=torch.Generator().manual_seed(3)).squeeze(1)
        pull = ((said - torch.eye(2)[labels]) @ self.READER) * self.SCALE
        shift, scale = pull.square().mean(0), (pull * x.T).square().mean(0)
        # A channel of no use counts as a tenth of the mean.
        assert (float(shift[2]), float(scale[2])) == (0, 0)
        shift[2], scale[2] = shift.mean() / 10, scale.mean() / 10
        torch.testing.assert_close(found.shift_sensitivity, shift.clamp(min=float(shift[2])))
        torch.testing.assert_close(found.scale_sensitivity, scale.clamp(min=float(scale[2])))

    def test_errors_of_other_images(self, channels: Tensor) -> None:
        supernet: Any = None
        generator = torch.Generator().manual_seed(3)
        target = measure_target(supernet, SPACE.largest(), [self.IMAGES], generator)
        # Twice as bright and by 1: means and deviations of all channels follow.
        others = (2 * self.IMAGES + 1).requires_grad_()
        found = statistics_errors(supernet, target, others)["a.bn"]
        variance, mean = torch.var_mean(channels, 1, correction=0)
        brighter = 2 * mean + self.KERNEL.sum((1, 2, 3))
        expected = torch.stack(
            [
                (mean - brighter) / (variance + 0.5).sqrt(),
                ((variance + 0.5) / (4 * variance + 0.5)).log() / 2,
            ]
        )
        torch.testing.assert_close(found, expected)
        mismatch(target, {"a.bn": found}).backward()
        assert others.grad is not None
        assert bool(others.grad.any())


class TestSynthesis:
    """Images whose statistics are made up, so that each step can be followed."""

    SUBNETS = tuple(dict.fromkeys(sample_subnets(SPACE, 4, np.random.default_rng(0))))

    @pytest.fixture
    def asked(self, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
        """Errors are the images' mean, or 1 where `fixed`; keeps which subnets were asked for."""
        asked: list[Any] = []

        def errors(_supernet: object, target: StatisticsTarget, images: Tensor) -> dict[str, Tensor]:
            assert images.shape[-1] == target.subnet.resolution
            asked.append(target.subnet)
            value = images.mean() * 0 + 1 if self.is_fixed else images.mean()
            return {"a": torch.stack([value, value * 0]).view(2, 1)}

        monkeypatch.setattr(images_module, "statistics_errors", errors)
        return asked

    is_fixed = False

    def made(self, num_steps: int, targets: int = 4, **options: Any) -> Tensor:
        ones = torch.ones(1)
        known = NormTarget(mean=ones, variance=ones, shift_sensitivity=2 * ones, scale_sensitivity=ones)
        pool = [StatisticsTarget(subnet=subnet, norms={"a": known}) for subnet in self.SUBNETS[:targets]]
        supernet: Any = None
        return synthesize_batchnorm_images(
            supernet,
            pool,
            **{
                "mean": [0.5] * 3,
                "std": [0.25] * 3,
                "size": 8,
                "num_images": 2,
                "num_steps": num_steps,
                **options,
            },
        )

    def test_noise_has_as_much_energy_at_each_scale(self) -> None:
        # So narrow that nothing is cut off; of five scales, from one value an image to one a pixel.
        pixels = self.made(0, size=16, num_images=128, std=[0.05] * 3)
        noise = (pixels.float() / 255 - 0.5) / 0.05
        assert abs(float(noise.mean())) < 0.1
        sides = (1, 2, 4, 8, 16)
        for side in sides:
            blocks = nn.functional.avg_pool2d(noise, 16 // side)
            # In a mean over blocks finer scales average out.
            expected = sum(min(1.0, (side / other) ** 2) for other in sides) / 5
            assert float(blocks.square().mean()) == pytest.approx(expected, rel=0.2)

    def test_every_pass_asks_each_subnet_once(self, asked: list[Any]) -> None:
        assert len(self.SUBNETS) == 4
        self.made(12)
        passes = [asked[start : start + 4] for start in (0, 4, 8)]
        assert all(set(each) == set(self.SUBNETS) for each in passes)
        assert any(first != second for first, second in itertools.pairwise(passes))

    def test_a_step_moves_every_pixel_by_the_rate(self, asked: list[Any]) -> None:
        before = self.made(0)
        assert not asked
        assert (before.dtype, tuple(before.shape)) == (torch.uint8, (2, 3, 8, 8))
        assert len(before.unique()) > 20
        assert not torch.equal(self.made(0, seed=1), before)
        inside = (before > 40) & (before < 215)
        # 0.1 of a normalised unit is 0.1 * 0.25 * 255 of a pixel's; of two steps the second is half as long.
        for steps, moved in ((1, 6.375), (2, 1.5 * 6.375)):
            change = (self.made(steps, 1).int() - before.int())[inside]
            assert change.float().abs().sub(moved).abs().max() <= 1.1
            assert len(change.sign().unique()) == 1

    @pytest.mark.usefixtures("asked")
    def test_usual_errors_are_taken_away(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(TestSynthesis, "is_fixed", True)
        told: list[tuple[int, float]] = []
        self.made(3, 2, progress=lambda step, cost: told.append((step, cost)))
        # Of an error of 1 that costs 2 / 2; a tenth of what is left becomes usual each time.
        assert [step for step, _ in told] == [1, 2, 3]
        assert [cost for _, cost in told] == pytest.approx([1, 0.9**2, 0.81**2])

    @pytest.mark.usefixtures("asked")
    def test_it_goes_on_where_it_was_stopped(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(images_module, "_CHECKPOINT_STEPS", 2)
        whole = self.made(6)
        path = tmp_path / "images.pt"

        def stop(step: int, _cost: float) -> None:
            if step == 5:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            self.made(6, checkpoint=path, progress=stop)
        steps: list[int] = []
        assert torch.equal(self.made(6, checkpoint=path, progress=lambda step, _: steps.append(step)), whole)
        assert steps == [5, 6]
        # Other settings begin anew.
        steps.clear()
        self.made(5, checkpoint=path, progress=lambda step, _: steps.append(step))
        assert steps == [1, 2, 3, 4, 5]
