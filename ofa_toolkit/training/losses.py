"""Losses of one pass: labels, and another network's softened predictions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional


def soft_cross_entropy(
    logits: Tensor,
    target_logits: Tensor,
    temperature: float = 1.0,
    image_weights: Tensor | None = None,
) -> Tensor:
    """Cross-entropy with softened predictions, times the squared temperature (Hinton et al. 2014).

    Args:
        logits: Logits of the student, (N, classes).
        target_logits: Logits of the teacher, (N, classes); no gradient flows into them.
        temperature: Divides both logits.
        image_weights: (N,), multiplies the loss of each image.

    Returns:
        Mean over the images, a scalar.
    """
    soft_labels = functional.softmax(target_logits.detach() / temperature, dim=1)
    log_probabilities = functional.log_softmax(logits / temperature, dim=1)
    losses = -(soft_labels * log_probabilities).sum(dim=1)
    return _mean(losses, image_weights) * temperature**2


def feature_distance(features: Tensor, target: Tensor) -> Tensor:
    """Mean squared difference of features (N, features) over the variance of the target's entries."""
    target = target.detach()
    return functional.mse_loss(features, target) / target.var().clamp(min=1e-12)


def hard_cross_entropy(
    logits: Tensor, labels: Tensor, label_smoothing: float = 0.0, image_weights: Tensor | None = None
) -> Tensor:
    """Cross-entropy with labels (N,), smoothed as by Szegedy et al. 2016; mean over the images.

    Args:
        logits: (N, classes).
        labels: (N,).
        label_smoothing: Share of the label that goes to all classes alike.
        image_weights: (N,), multiplies the loss of each image. Unlike with torch's `weight` the sum is
            divided by N, so that parts of a batch add up to the whole.
    """
    losses = functional.cross_entropy(logits, labels, label_smoothing=label_smoothing, reduction="none")
    return _mean(losses, image_weights)


def _mean(losses: Tensor, image_weights: Tensor | None) -> Tensor:
    return losses.mean() if image_weights is None else (image_weights * losses).mean()


def balanced_class_weights(counts: Sequence[int]) -> Tensor:
    """Weights inverse to the number of training images of each class, 1 on average over the images."""
    images = torch.tensor(counts, dtype=torch.float64)
    return (images.sum() / (len(images) * images)).float()
