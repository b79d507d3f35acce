"""What statistics of synthetic images are off by, per channel and resolution, averaged over subnets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from ofa_toolkit.supernets.batchnorm.carried_statistics import CarriedStatistics, Corrections
from ofa_toolkit.supernets.batchnorm.recalibration import batch_norms
from ofa_toolkit.supernets.batchnorm.targets import statistics_error

# Bytes at most that a tensor takes in the file's header.
_HEADER = 150


def measure_corrections(
    images: Tensor, networks: Iterable[tuple[int, nn.Module]], resolutions: Sequence[int]
) -> Corrections:
    """Compare statistics of synthetic images with real ones in a pool of subnets.

    A channel's correction is its mean error over the subnets that have it, as if there were one more subnet
    without any, so that a channel few subnets have is corrected with caution.

    Args:
        images: Synthetic and normalised, `(N, 3, R, R)`.
        networks: Resolution and extracted network of each subnet, with running statistics of real images;
            they are replaced. The subnets should be others than those the images were optimised on, where
            the images' statistics are closer than elsewhere.
        resolutions: All that corrections are wanted for.
    """
    carried = CarriedStatistics(images=images)
    errors: dict[str, list[tuple[int, Tensor]]] = defaultdict(list)
    for resolution, network in networks:
        real = {name: _statistics(norm) for name, norm in batch_norms(network)}
        carried.recalibrate(network, resolution)
        for name, norm in batch_norms(network):
            error = statistics_error(_statistics(norm), real[name], norm.eps)
            errors[name].append((resolutions.index(resolution), error))
    means = {name: _means(found, len(resolutions)) for name, found in errors.items()}
    return Corrections(
        resolutions=tuple(resolutions),
        shifts={name: mean[:, 0] for name, mean in means.items()},
        log_scales={name: mean[:, 1] for name, mean in means.items()},
    )


def largest_size(network: nn.Module, num_resolutions: int) -> int:
    """Bytes that corrections take in the file, of a supernet whose largest subnet is `network`."""
    bytes_per_channel = num_resolutions * torch.half.itemsize
    return 2 * sum(norm.num_features * bytes_per_channel + _HEADER for _, norm in batch_norms(network))


def _statistics(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Running mean and variance, kept."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return norm.running_mean.clone(), norm.running_var.clone()


def _means(errors: Sequence[tuple[int, Tensor]], num_rows: int) -> Tensor:
    """Shrunken means `(rows, 2, channels)` of errors `(2, leading channels)`."""
    total = torch.zeros(num_rows, 2, max(error.shape[1] for _, error in errors))
    # Counts start at one for the subnet without an error: a channel that only one subnet has is corrected by
    # half of what was seen there, which may be that subnet's own; with many subnets the one does not matter.
    count = torch.ones(num_rows, 1, total.shape[2])
    for row, error in errors:
        total[row, :, : error.shape[1]] += error
        count[row, :, : error.shape[1]] += 1
    return total / count
