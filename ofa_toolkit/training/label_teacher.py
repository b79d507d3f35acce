"""A trained network whose predictions take the place of the labels: distillation without any label.

Source: Hinton et al. 2014 (arXiv:1503.02531), with the teacher's predictions as the only target.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ofa_toolkit.datasets.transforms import resize_batch
from ofa_toolkit.supernets.folding import fold_batchnorm_in_place


class LabelTeacher:
    """Gives the logits that a network predicts for the images of a step.

    Args:
        network: From `extract`; kept in evaluation mode, with the statistics it has.
        resolution: Side in pixels of the images that it sees, enlarged from those of the step; None for
            the same images.
        device: Device to compute on.
        renormalization: What makes the step's images those that the network expects (`renormalization`);
            None where it expects them as they are.
    """

    def __init__(
        self,
        network: nn.Module,
        resolution: int | None,
        device: torch.device,
        *,
        renormalization: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        fold_batchnorm_in_place(network.eval())
        network.requires_grad_(False)
        self.network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.resolution = resolution
        self._renormalization = renormalization and tuple(values.to(device) for values in renormalization)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Logits (B, classes) of images (B, 3, R, R)."""
        if self._renormalization is not None:
            factor, offset = self._renormalization
            images = images * factor + offset
        if self.resolution is not None:
            images = resize_batch(images, self.resolution, "bicubic")
        logits: Tensor = self.network(images)
        return logits.float()

    def labels(self, images: Tensor) -> Tensor:
        """The class that the network names for each image, (B,)."""
        return self(images).argmax(1)
