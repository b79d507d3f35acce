"""Losses of one pass: labels, and another network's softened predictions."""

from __future__ import annotations

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


def hard_cross_entropy(logits: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Cross-entropy with labels (N,), smoothed as by Szegedy et al. 2016; mean over the images."""
    return functional.cross_entropy(logits, labels, label_smoothing=label_smoothing)
