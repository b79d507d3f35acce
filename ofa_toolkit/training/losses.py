"""Losses of one pass: labels, and another network's softened predictions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional


def soft_cross_entropy(logits: Tensor, target_logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Cross-entropy with softened predictions, times the squared temperature (Hinton et al. 2014).

    Args:
        logits: Of the student, (N, classes).
        target_logits: Of the teacher, (N, classes); no gradient flows into them.
        temperature: Divides both logits.

    Returns:
        Mean over the images, a scalar.
    """
    soft_labels = functional.softmax(target_logits.detach() / temperature, dim=1)
    log_probabilities = functional.log_softmax(logits / temperature, dim=1)
    return -(soft_labels * log_probabilities).sum(dim=1).mean() * temperature**2


def feature_distance(features: Tensor, target: Tensor) -> Tensor:
    """Mean squared difference of features (N, features) over the variance of the target's entries."""
    target = target.detach()
    return functional.mse_loss(features, target) / target.var().clamp(min=1e-12)


def hard_cross_entropy(
    logits: Tensor, labels: Tensor, label_smoothing: float = 0.0, class_weights: Tensor | None = None
) -> Tensor:
    """Cross-entropy with labels (N,), smoothed as by Szegedy et al. 2016; mean over the images.

    Args:
        logits: (N, classes).
        labels: (N,).
        label_smoothing: Share of the label that goes to all classes alike.
        class_weights: (classes,), multiplies the loss of an image of that class. Unlike torch's `weight` the
            sum is divided by N, so that parts of a batch add up to the whole.
    """
    if class_weights is None:
        return functional.cross_entropy(logits, labels, label_smoothing=label_smoothing)
    losses = functional.cross_entropy(logits, labels, label_smoothing=label_smoothing, reduction="none")
    return (class_weights[labels] * losses).mean()


def balanced_class_weights(counts: Sequence[int]) -> Tensor:
    """Weights inverse to the number of training images of each class, 1 on average over the images."""
    images = torch.tensor(counts, dtype=torch.float64)
    return (images.sum() / (len(images) * images)).float()
