"""What a supernet carries for batch-norm statistics: corrections take away what its images get wrong."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor, fx

from ofa_toolkit.core import rng
from ofa_toolkit.core.errors import FileFormatError, MismatchError
from ofa_toolkit.core.sealed import seal
from ofa_toolkit.spaces import Subnet, get_space, restrict, sample_subnets
from ofa_toolkit.spaces.supernet_description import CARRIED_IMAGES, WEIGHTS_FILE
from ofa_toolkit.supernets import Supernet, extract, recalibrate_batchnorm
from ofa_toolkit.supernets.batchnorm.carried_statistics import (
    CarriedStatistics,
    Corrections,
    at_resolution,
    read_carried_statistics,
    write_carried_statistics,
)
from ofa_toolkit.supernets.batchnorm.corrections import largest_size, measure_corrections
from ofa_toolkit.supernets.batchnorm.recalibration import batch_norms

SPACE = restrict(
    get_space("mobilenet-v3-compact").with_num_classes(4).with_resolutions((8, 16)),
    depths=[1, 2],
    expand_ratios=[3, 4],
)
PREPROCESSING = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.25, 0.3]}


@pytest.fixture(scope="module")
def supernet() -> Supernet:
    torch.manual_seed(0)
    return Supernet(SPACE).eval()


def real_images(resolution: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(300, 3, resolution, resolution, generator=generator).square() * 4 - 1


def other_images() -> Tensor:
    """Few, brighter and with less contrast."""
    return torch.rand(12, 3, 16, 16, generator=torch.Generator().manual_seed(2)) * 2


def real_network(supernet: Supernet, subnet: Subnet) -> fx.GraphModule:
    network = extract(supernet, subnet)
    recalibrate_batchnorm(network, [real_images(subnet.resolution)])
    return network


def pool(number: int, stream: str) -> list[Subnet]:
    random = rng.generator(0, stream)
    return [subnet for size in (8, 16) for subnet in sample_subnets(SPACE, number, random, resolution=size)]


@pytest.fixture(scope="module")
def corrections(supernet: Supernet) -> Corrections:
    """Made up, some of them large."""
    generator = torch.Generator().manual_seed(3)

    def table(channels: int) -> Tensor:
        return torch.randn(2, channels, generator=generator) / 2

    norms = {name: norm.num_features for name, norm in batch_norms(extract(supernet, SPACE.largest()))}
    return Corrections(
        resolutions=SPACE.resolutions,
        shifts={name: table(channels) for name, channels in norms.items()},
        log_scales={name: table(channels) for name, channels in norms.items()},
    )


def errors(network: fx.GraphModule, wanted: fx.GraphModule, only: str | None = None) -> Tensor:
    """Of means, in standard deviations, and of log deviations, `(2, channels)`."""
    found = []
    for (name, norm), (_, right) in zip(batch_norms(network), batch_norms(wanted), strict=True):
        assert isinstance(norm.running_mean, Tensor)
        assert isinstance(norm.running_var, Tensor)
        assert isinstance(right.running_mean, Tensor)
        assert isinstance(right.running_var, Tensor)
        variance = right.running_var + right.eps
        if only in (None, name):
            shift = (norm.running_mean - right.running_mean) / variance.sqrt()
            found.append(torch.stack([shift, ((norm.running_var + norm.eps) / variance).log() / 2]))
    return torch.cat(found, 1)


def test_without_corrections_the_statistics_are_those_of_the_images(supernet: Supernet) -> None:
    subnet = SPACE.largest(16)
    carried, direct = extract(supernet, subnet), extract(supernet, subnet)
    assert CarriedStatistics(images=other_images()).recalibrate(carried, 16) == 12
    recalibrate_batchnorm(direct, [other_images()])
    assert errors(carried, direct).abs().max() < 1e-4


def test_what_all_subnets_have_in_common_is_found_and_put_right(
    supernet: Supernet, corrections: Corrections
) -> None:
    """The real statistics are made up too: everywhere those of the images, corrected."""
    truth = CarriedStatistics(images=other_images(), corrections=corrections)
    plain = CarriedStatistics(images=other_images())

    def networks() -> Iterator[tuple[int, fx.GraphModule]]:
        for subnet in [SPACE.largest(8), SPACE.largest(16), *pool(9, "measured")]:
            network = extract(supernet, subnet)
            truth.recalibrate(network, subnet.resolution)
            yield subnet.resolution, network

    found = measure_corrections(other_images(), networks(), SPACE.resolutions)
    corrected = CarriedStatistics(images=other_images(), corrections=found)
    for subnet in pool(3, "others"):
        wanted, before, after = (extract(supernet, subnet) for _ in range(3))
        truth.recalibrate(wanted, subnet.resolution)
        plain.recalibrate(before, subnet.resolution)
        assert corrected.recalibrate(after, subnet.resolution) == (12 if subnet.resolution == 16 else 48)
        # A tenth and a little more is left where every subnet of the pool has the channel, more elsewhere.
        left = errors(after, wanted).square().mean() / errors(before, wanted).square().mean()
        assert left < 0.03


def test_corrections_are_shrunken_means_of_the_subnets_that_have_the_channel(supernet: Supernet) -> None:
    """From one subnet, half of its error is corrected, and nothing where it has no channel."""
    images, name = other_images(), "stages.0.0.expand.bn"
    real, carried = real_network(supernet, SPACE.smallest(16)), extract(supernet, SPACE.smallest(16))
    CarriedStatistics(images=images).recalibrate(carried, 16)
    difference = errors(carried, real, name)
    pool = [(16, real), (8, real_network(supernet, SPACE.largest(8)))]
    found = measure_corrections(images, pool, (8, 16))
    channels = difference.shape[1]
    torch.testing.assert_close(found.shifts[name][1, :channels], -difference[0] / 2)
    torch.testing.assert_close(found.log_scales[name][1, :channels], -difference[1] / 2)
    assert found.shifts[name].shape[1] > channels
    assert not found.shifts[name][1, channels:].any()
    assert found.shifts[name][0, channels:].all()


def test_they_arrive_as_they_were_written(
    supernet: Supernet, corrections: Corrections, tmp_path: Path
) -> None:
    pixels = torch.randint(0, 256, (5, 3, 16, 16), dtype=torch.uint8)
    (tmp_path / WEIGHTS_FILE).write_bytes(b"weights")
    path = write_carried_statistics(tmp_path, pixels, corrections)
    first = path.read_bytes()
    assert path.stat().st_size - pixels.numel() < largest_size(extract(supernet, SPACE.largest()), 2) + 1000
    read = read_carried_statistics(tmp_path, PREPROCESSING)
    assert read is not None
    assert read.corrections is not None
    mean, std = (torch.tensor(PREPROCESSING[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    torch.testing.assert_close(read.images * std + mean, pixels / 255)
    assert read.corrections.resolutions == (8, 16)
    assert read.corrections.shifts.keys() == corrections.shifts.keys()
    for name, shift in corrections.shifts.items():
        assert torch.equal(read.corrections.shifts[name], shift.half())
        assert torch.equal(read.corrections.log_scales[name], corrections.log_scales[name].half())
    write_carried_statistics(tmp_path, pixels, read.corrections)
    assert path.read_bytes() == first


def test_what_is_missing_damaged_or_anothers_is_refused(
    supernet: Supernet, corrections: Corrections, tmp_path: Path
) -> None:
    assert read_carried_statistics(tmp_path, PREPROCESSING) is None
    weights = tmp_path / WEIGHTS_FILE
    weights.write_bytes(b"weights")
    path = write_carried_statistics(tmp_path, torch.zeros(1, 3, 16, 16, dtype=torch.uint8), corrections)
    weights.write_bytes(b"others")
    with pytest.raises(MismatchError, match="made for other weights"):
        read_carried_statistics(tmp_path, PREPROCESSING)
    weights.write_bytes(b"weights")
    for damaged in (path.read_bytes()[:-1], b"", path.read_bytes().replace(b"resolutions", b"revolutions")):
        path.write_bytes(damaged)
        with pytest.raises(FileFormatError, match="damaged"):
            read_carried_statistics(tmp_path, PREPROCESSING)
    carried = CarriedStatistics(images=other_images(), corrections=corrections)
    network = extract(supernet, SPACE.largest(16))
    with pytest.raises(MismatchError, match="knows nothing of 12 pixels"):
        carried.recalibrate(network, 12)
    others = extract(Supernet(get_space("ofa-resnet50")).eval(), get_space("ofa-resnet50").smallest(128))
    with pytest.raises(MismatchError, match="knows nothing of '"):
        corrections.apply(others, 16)


def test_images_that_are_normalised_already(tmp_path: Path) -> None:
    images = torch.randn(2, 3, 4, 4).half()
    (tmp_path / CARRIED_IMAGES).write_bytes(seal(safetensors.torch.save({"images": images})))
    read = read_carried_statistics(tmp_path, None)
    assert read is not None
    assert read.corrections is None
    torch.testing.assert_close(read.images, images.float(), rtol=0, atol=0)
    write_carried_statistics(tmp_path, torch.zeros(1, 3, 4, 4, dtype=torch.uint8), None)
    with pytest.raises(FileFormatError, match="does not say how the pixels in"):
        read_carried_statistics(tmp_path, None)


def test_a_file_that_was_changed_or_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_carried_statistics(tmp_path, torch.zeros(1, 3, 4, 4, dtype=torch.uint8), None)
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"\x01")
    with pytest.raises(FileFormatError, match="its tensors are not the ones that were saved"):
        read_carried_statistics(tmp_path, PREPROCESSING)

    def fail(_path: Path) -> bytes:
        raise OSError("Input/output error")

    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(FileFormatError, match="damaged: Input/output error"):
        read_carried_statistics(tmp_path, PREPROCESSING)


def test_room_for_corrections() -> None:
    network = torch.nn.Sequential(torch.nn.BatchNorm2d(3), torch.nn.BatchNorm2d(5))
    # Shifts and scales as half floats at each of two resolutions, and a line of the header for each tensor.
    values, tensors = 2 * 2 * (3 + 5), 2 * 2
    assert largest_size(network, 2) == 2 * values + 150 * tensors


@pytest.mark.parametrize("size", [14, 20])
def test_images_are_resized_by_triangles(size: int) -> None:
    images = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)).double()
    # Each pixel is a mean of those around its place, as wide as it covers, one at least.
    step = 16 / size
    places = (torch.arange(size).double()[:, None] + 0.5) * step - 0.5
    weights = (1 - (torch.arange(16).double() - places).abs() / max(1.0, step)).clamp(min=0)
    weights /= weights.sum(1, keepdim=True)
    torch.testing.assert_close(at_resolution(images, size), weights @ images @ weights.T)


def test_corners_stand_in_for_small_images() -> None:
    images = torch.arange(2 * 3 * 16 * 16).view(2, 3, 16, 16).float()
    assert at_resolution(images, 16) is images
    assert at_resolution(images, 8).shape == (8, 3, 8, 8)
    assert at_resolution(images, 14).shape == (2, 3, 14, 14)
    assert math.prod(at_resolution(images, 12).shape) == 8 * 3 * 12 * 12
