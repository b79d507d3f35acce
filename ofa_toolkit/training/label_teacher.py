"""A trained network whose predictions take the place of the labels: distillation without any label.

Source: Hinton et al. 2014 (arXiv:1503.02531), with the teacher's predictions as the only target.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ofa_toolkit.datasets.transforms import Preprocessing, resize_batch
from ofa_toolkit.supernets.folding import fold_batchnorm_in_place


class Normalizations(NamedTuple):
    """Two ways to normalise the same pixels.

    Attributes:
        given: How the images of the steps are normalised.
        own: How those were that the teacher was trained on.
    """

    given: Preprocessing
    own: Preprocessing

    def factor_and_offset(self) -> tuple[Tensor, Tensor]:
        """What makes images as given the teacher's own, each (3, 1, 1)."""
        given_mean, given_std, own_mean, own_std = (
            torch.tensor(values).view(3, 1, 1)
            for values in (self.given["mean"], self.given["std"], self.own["mean"], self.own["std"])
        )
        return given_std / own_std, (given_mean - own_mean) / own_std


class LabelTeacher:
    """Gives the logits that a network predicts for the images of a step.

    Args:
        network: From `extract`; kept in evaluation mode, with the statistics it has.
        resolution: Side in pixels of the images that it sees, enlarged from those of the step; None for
            the same images.
        device: Device to compute on.
        normalizations: How the images are normalised, and how the network expects them; None where it
            expects them as they are.
    """

    def __init__(
        self,
        network: nn.Module,
        resolution: int | None,
        device: torch.device,
        *,
        normalizations: Normalizations | None = None,
    ) -> None:
        fold_batchnorm_in_place(network.eval())
        network.requires_grad_(False)
        self.network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.resolution = resolution
        self._normalize: tuple[Tensor, Tensor] | None = None
        if normalizations is not None:
            factor, offset = normalizations.factor_and_offset()
            self._normalize = factor.to(device), offset.to(device)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Logits (B, classes) of images (B, 3, R, R)."""
        if self._normalize is not None:
            factor, offset = self._normalize
            images = images * factor + offset
        if self.resolution is not None:
            images = resize_batch(images, self.resolution, "bicubic")
        logits: Tensor = self.network(images)
        return logits.float()

    def labels(self, images: Tensor) -> Tensor:
        """The class that the network names for each image, (B,)."""
        return self(images).argmax(1)
