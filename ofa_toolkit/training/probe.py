"""The classifier fitted to the features of a network that knows images already: logistic regression.

Training from a random classifier would send large, random gradients through the pretrained layers first.
Source: Kumar et al. 2022 (arXiv:2202.10054), linear probing before fine-tuning.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ofa_toolkit.core.rng import generator
from ofa_toolkit.spaces import Subnet, lower
from ofa_toolkit.supernets import Supernet

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)
"""Penalties of the squared weights, on features scaled to unit mean square; chosen by cross-validation."""

_FOLDS = 3
_ITERATIONS = 200


@torch.no_grad()
def features(
    supernet: Supernet, subnet: Subnet, batches: Iterable[tuple[Tensor, Tensor]]
) -> tuple[Tensor, Tensor]:
    """What the classifier sees of images, then of their mirrored copies, (2 N, features); labels (2 N,)."""
    layers = lower(supernet.space, subnet)[:-1]
    found: list[list[Tensor]] = [[], []]
    labels = []
    was_training = supernet.training
    supernet.eval()
    try:
        for images, truth in batches:
            for copies, seen in zip(found, (images, images.flip(3)), strict=True):
                copies.append(supernet.run_layers(layers, seen).flatten(1).float())
            labels.append(truth)
    finally:
        supernet.train(was_training)
    return torch.cat([*found[0], *found[1]]), torch.cat(labels).repeat(2)


def fit_classifier(
    supernet: Supernet, subnet: Subnet, batches: Iterable[tuple[Tensor, Tensor]], *, seed: int
) -> float:
    """Fit the classifier to the features of a subnet in evaluation mode; nothing else changes.

    Args:
        supernet: The supernet, whose classifier is changed in place.
        subnet: Whose features.
        batches: Training images (N, 3, R, R) and labels (N,), not augmented.
        seed: Seed of the folds of the cross-validation.

    Returns:
        Share of the images right when they were left out, in percent.
    """
    inputs, labels = features(supernet, subnet, batches)
    scale = inputs.square().mean().sqrt().clamp(min=1e-12)
    inputs = inputs / scale
    classes = supernet.space.num_classes
    # An image and its mirrored copy are in the same fold.
    num_images = len(labels) // 2
    folds = np.arange(num_images) % min(_FOLDS, num_images)
    generator(seed, "probe").shuffle(folds)
    fold_of = torch.from_numpy(np.tile(folds, 2)).to(labels.device)
    scores = {penalty: _left_out_score(inputs, labels, fold_of, classes, penalty) for penalty in PENALTIES}
    best = max(scores, key=lambda penalty: scores[penalty])
    weight, bias = _logistic_regression(inputs, labels, classes, best)
    linear = supernet.layer("classifier").weighted
    with torch.no_grad():
        linear.weight.copy_(weight / scale)
        assert linear.bias is not None
        linear.bias.copy_(bias)
    return scores[best]


def _left_out_score(inputs: Tensor, labels: Tensor, fold_of: Tensor, classes: int, penalty: float) -> float:
    num_right = 0
    for fold in range(int(fold_of.max()) + 1):
        out = fold_of == fold
        weight, bias = _logistic_regression(inputs[~out], labels[~out], classes, penalty)
        num_right += int((functional.linear(inputs[out], weight, bias).argmax(1) == labels[out]).sum())
    return 100 * num_right / len(labels)


def _logistic_regression(
    inputs: Tensor, labels: Tensor, classes: int, penalty: float
) -> tuple[Tensor, Tensor]:
    """Weights (classes, features) and biases (classes,) of least mean cross-entropy plus penalty."""
    linear = nn.Linear(inputs.shape[1], classes, device=inputs.device)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    optimizer = torch.optim.LBFGS(linear.parameters(), max_iter=_ITERATIONS, line_search_fn="strong_wolfe")

    def loss() -> float:
        optimizer.zero_grad()
        value = functional.cross_entropy(linear(inputs), labels) + penalty * linear.weight.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return float(value.detach())

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    return linear.weight.detach(), linear.bias.detach()
