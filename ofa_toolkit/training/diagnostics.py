"""How shrinking changes the gradient: the measurements behind Figures 3 and 4 of the DϵpS paper.

With G the full network's gradient, G_shrink the sum over k sampled networks (equation 3) and
G_shrink(epsilon) = G + epsilon times the sum over k - 1 others (equation 4): per layer, the norms of the
three, and the cosines of the latter two with G.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ofa_toolkit.spaces import SearchSpace, Subnet, sample_subnets
from ofa_toolkit.supernets import Supernet
from ofa_toolkit.training.algorithm import Pass
from ofa_toolkit.training.config import LoopConfig
from ofa_toolkit.training.distributed import Process
from ofa_toolkit.training.step import Updater

Gradients = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class LayerGradients:
    """Gradients of one convolution or linear layer's weight.

    Attributes:
        layer: Name of the layer.
        norm_full: Norm of the full network's gradient.
        norm_shrinking: Norm of the sum over k sampled networks.
        norm_epsilon_shrinking: Norm of the full network's gradient plus epsilon times the others'.
        cosine_shrinking: Between the second and the first.
        cosine_epsilon_shrinking: Between the third and the first.
    """

    layer: str
    norm_full: float
    norm_shrinking: float
    norm_epsilon_shrinking: float
    cosine_shrinking: float
    cosine_epsilon_shrinking: float


def compare_gradients(
    supernet: Supernet,
    space: SearchSpace,
    batches: Sequence[tuple[Tensor, Tensor]],
    *,
    epsilon: float,
    num_networks: int,
    config: LoopConfig,
    generator: np.random.Generator,
) -> list[LayerGradients]:
    """Compare the three gradients, each averaged over the batches. No weight changes.

    The smaller networks learn from the full one's predictions, as in training; in equation 3 all networks
    are drawn uniformly, so that the full one may be absent.

    Args:
        supernet: The supernet; its batch-norm statistics are restored.
        space: The search space that networks are drawn from.
        batches: Images and labels.
        epsilon: The factor of equation 4 (0.001 in Figure 3).
        num_networks: k.
        config: Label smoothing and precision.
        generator: Draws the networks.
    """
    optimizer = torch.optim.SGD(supernet.parameters(), lr=0.0)
    updater = Updater(supernet, optimizer, dataclasses.replace(config, accumulation=1), Process())
    full: Gradients = {}
    others: Gradients = {}
    shrinking: Gradients = {}
    with _left_as_it_was(supernet):
        for images, labels in batches:
            resolution = images.shape[-1]
            largest = Pass(role="largest", subnet=space.largest(resolution), use_dropout=False)
            drawn = sample_subnets(space, 2 * num_networks - 1, generator, resolution=resolution)
            small = [_distilled(subnet) for subnet in drawn]
            _add(full, _gradients(updater, images, labels, [largest]))
            # The full network leads each group at weight 0: it provides the predictions to learn from.
            silent = dataclasses.replace(largest, gradient_weight=0.0)
            _add(others, _gradients(updater, images, labels, [silent, *small[: num_networks - 1]]))
            _add(shrinking, _gradients(updater, images, labels, [silent, *small[num_networks - 1 :]]))
    for gradient in (*full.values(), *others.values(), *shrinking.values()):
        gradient.div_(len(batches))
    return [
        _compare(name, full[name], shrinking[name], full[name] + epsilon * others[name])
        for name in full
        if full[name].ndim > 1
    ]


@contextmanager
def _left_as_it_was(supernet: Supernet) -> Iterator[None]:
    """Train for a while, and leave neither gradients nor other statistics behind."""
    saved = {name: buffer.clone() for name, buffer in supernet.named_buffers()}
    was_training = supernet.training
    supernet.train()
    try:
        yield
    finally:
        supernet.zero_grad(set_to_none=True)
        supernet.train(was_training)
        with torch.no_grad():
            for name, buffer in supernet.named_buffers():
                buffer.copy_(saved[name])


def _distilled(subnet: Subnet) -> Pass:
    return Pass(
        role="random",
        subnet=subnet,
        hard_labels=0.0,
        soft_labels=1.0,
        source="first pass",
        use_dropout=False,
    )


def _gradients(updater: Updater, images: Tensor, labels: Tensor, passes: Sequence[Pass]) -> Gradients:
    updater.optimizer.zero_grad(set_to_none=True)
    updater.accumulate(images, labels, passes)
    return {
        name: torch.zeros_like(p) if p.grad is None else p.grad.detach().clone()
        for name, p in updater.supernet.named_parameters()
    }


def _add(total: Gradients, gradients: Gradients) -> None:
    for name, gradient in gradients.items():
        total[name] = total[name] + gradient if name in total else gradient


def _compare(name: str, full: Tensor, shrinking: Tensor, epsilon_shrinking: Tensor) -> LayerGradients:
    return LayerGradients(
        layer=name.removesuffix(".weight").removesuffix(".conv").removesuffix(".linear"),
        norm_full=float(full.norm()),
        norm_shrinking=float(shrinking.norm()),
        norm_epsilon_shrinking=float(epsilon_shrinking.norm()),
        cosine_shrinking=_cosine(full, shrinking),
        cosine_epsilon_shrinking=_cosine(full, epsilon_shrinking),
    )


def _cosine(first: Tensor, second: Tensor) -> float:
    norms = float(first.norm() * second.norm())
    return float((first * second).sum()) / norms if norms else 0.0
