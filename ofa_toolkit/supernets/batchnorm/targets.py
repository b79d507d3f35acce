"""Batch-norm statistics of one subnet on real images, and what those of other images are off by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from ofa_toolkit.core.errors import DataError
from ofa_toolkit.spaces.subnet import Subnet
from ofa_toolkit.supernets.batchnorm.recalibration import batch_norms, recalibrate_batchnorm
from ofa_toolkit.supernets.extraction import extract
from ofa_toolkit.supernets.supernet import Supernet

# Of a layer's mean sensitivity, for channels that happened not to matter on the few images judged.
_LEAST_SENSITIVITY = 0.1


@dataclass(frozen=True, kw_only=True)
class NormTarget:
    """Statistics of the input that one batch norm should see, each `(channels,)`.

    Attributes:
        mean: Mean of the layer's input on real images.
        variance: Biased variance of the same input.
        shift_sensitivity: Fisher information of the predicted label about a shift of the normalised input.
        scale_sensitivity: The same about the logarithm of its scale.
    """

    mean: Tensor
    variance: Tensor
    shift_sensitivity: Tensor
    scale_sensitivity: Tensor


@dataclass(frozen=True, kw_only=True)
class StatisticsTarget:
    """What all batch norms of one subnet should see.

    Attributes:
        subnet: The subnet.
        norms: By their names in the extracted network.
    """

    subnet: Subnet
    norms: Mapping[str, NormTarget]


def measure_target(
    supernet: Supernet,
    subnet: Subnet,
    batches: Iterable[Tensor | tuple[Tensor, ...]],
    generator: torch.Generator,
) -> StatisticsTarget:
    """Recalibrate a subnet on real images; the first batch also tells which channels matter.

    Args:
        supernet: Left unchanged.
        subnet: A member of its space.
        batches: Real, normalised images `(N, 3, R, R)`, R the subnet's resolution.
        generator: Draws labels from the network's predictions.

    Raises:
        DataError: There was no image.
    """
    images = [batch if isinstance(batch, Tensor) else batch[0] for batch in batches]
    if not images:
        raise DataError("There are no images to take statistics from.")
    network = extract(supernet, subnet).eval().requires_grad_(False)
    network.to(memory_format=torch.channels_last)
    recalibrate_batchnorm(network, images)
    sensitivities = _sensitivities(network, images[0], generator)
    norms = {}
    for (name, norm), (shift, scale) in zip(batch_norms(network), sensitivities, strict=True):
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norms[name] = NormTarget(
            mean=norm.running_mean.clone(),
            variance=norm.running_var.clone(),
            shift_sensitivity=shift,
            scale_sensitivity=scale,
        )
    return StatisticsTarget(subnet=subnet, norms=norms)


def statistics_error(found: tuple[Tensor, Tensor], wanted: tuple[Tensor, Tensor], eps: float) -> Tensor:
    """Amounts to add to statistics to have the wanted ones.

    Args:
        found: Mean and variance of one batch norm's input, each `(channels,)`.
        wanted: Mean and variance to reach, each `(channels,)`.
        eps: Epsilon of the batch norm.

    Returns:
        `(2, channels)`: to the mean, in wanted standard deviations, and to the logarithm of the deviation.
    """
    (mean, variance), (wanted_mean, wanted_variance) = found, wanted
    shift = (wanted_mean - mean) / (wanted_variance + eps).sqrt()
    return torch.stack([shift, ((wanted_variance + eps) / (variance + eps)).log() / 2])


def statistics_errors(supernet: Supernet, target: StatisticsTarget, images: Tensor) -> dict[str, Tensor]:
    """What has to be added to the statistics of other images to have those of the target.

    Args:
        supernet: Left unchanged.
        target: Statistics of one subnet.
        images: Normalised, `(N, 3, R, R)`; the result can be differentiated with respect to them.

    Returns:
        `statistics_error` by name of the batch norm.
    """
    network = extract(supernet, target.subnet).eval().requires_grad_(False)
    network.to(memory_format=torch.channels_last)
    errors: dict[str, Tensor] = {}

    def compare(name: str, norm: nn.BatchNorm2d, x: Tensor) -> None:
        wanted = target.norms[name]
        variance, mean = torch.var_mean(x, (0, 2, 3), correction=0)
        errors[name] = statistics_error((mean, variance), (wanted.mean, wanted.variance), norm.eps)

    for name, norm in batch_norms(network):
        # In training mode, as in a recalibration: it normalises with the statistics of the images themselves.
        norm.train()
        norm.register_forward_pre_hook(lambda norm, inputs, name=name: compare(name, norm, *inputs))
    network(images.contiguous(memory_format=torch.channels_last))
    return errors


def mismatch(target: StatisticsTarget, errors: Mapping[str, Tensor]) -> Tensor:
    """What errors of the statistics cost, in nats.

    It is the Kullback-Leibler divergence between the predictions with the right statistics and with the
    wrong ones, to second order and without the interplay of channels: half the squared error of each
    normalised mean and log deviation times its Fisher information, summed.

    Args:
        target: Statistics of one subnet.
        errors: As `statistics_errors` gives them.
    """
    terms = []
    for name, wanted in target.norms.items():
        sensitivity = torch.stack([wanted.shift_sensitivity, wanted.scale_sensitivity])
        terms.append((errors[name].square() * sensitivity).sum() / 2)
    return torch.stack(terms).sum()


def _sensitivities(
    network: fx.GraphModule, images: Tensor, generator: torch.Generator
) -> list[tuple[Tensor, Tensor]]:
    """Fisher information about shift and log scale of each batch norm's normalised input, per channel."""
    normalized: dict[nn.Module, Tensor] = {}

    def capture(norm: nn.Module, inputs: tuple[Tensor, ...], _output: Tensor) -> Tensor:
        assert isinstance(norm, nn.BatchNorm2d)
        x = functional.batch_norm(inputs[0], norm.running_mean, norm.running_var, eps=norm.eps)
        if not x.requires_grad:
            x.requires_grad_()
        x.retain_grad()
        normalized[norm] = x
        return x * norm.weight.view(1, -1, 1, 1) + norm.bias.view(1, -1, 1, 1)

    for _, norm in batch_norms(network):
        norm.register_forward_hook(capture)
    logits = network(images.contiguous(memory_format=torch.channels_last))
    labels = torch.multinomial(logits.detach().softmax(1), 1, generator=generator).squeeze(1)
    functional.cross_entropy(logits, labels, reduction="sum").backward()  # type: ignore[no-untyped-call]
    found = []
    for x in (normalized[norm] for _, norm in batch_norms(network)):
        assert x.grad is not None
        shift = x.grad.sum((2, 3)).square().mean(0)
        scale = (x.grad * x.detach()).sum((2, 3)).square().mean(0)
        found.append((_at_least(shift), _at_least(scale)))
    # The network's hooks hold this, and the network is a reference cycle: gigabytes would linger.
    normalized.clear()
    return found


def _at_least(sensitivity: Tensor) -> Tensor:
    return sensitivity.clamp(min=_LEAST_SENSITIVITY * float(sensitivity.mean()))
