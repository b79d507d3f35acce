"""Batch-norm statistics for users without images: what a supernet's folder carries to compute them from.

It holds synthetic images (`batchnorm_images`) and, per channel and resolution, what their statistics are off
by on average over subnets (`batchnorm_corrections`). Run through a subnet, the images tell what is particular
to it; the corrections take away what is wrong in every subnet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional

from ofa_toolkit.core import files
from ofa_toolkit.core.command_line import command_line
from ofa_toolkit.core.errors import FileFormatError, MismatchError
from ofa_toolkit.core.sealed import is_as_saved, seal
from ofa_toolkit.spaces.supernet_description import CARRIED_IMAGES, WEIGHTS_FILE
from ofa_toolkit.supernets.batchnorm.recalibration import batch_norms, recalibrate_batchnorm

FORMAT = "ofa-toolkit/batchnorm-images"
_SHIFT, _LOG_SCALE = "shift.", "log_scale."
_WEIGHTS = "weights_sha256"


@dataclass(frozen=True, kw_only=True)
class Corrections:
    """Errors of statistics from synthetic images, to be added to them.

    Attributes:
        resolutions: The R sides of images in pixels.
        shifts: Amounts to add to the mean, in standard deviations, `(R, channels)` by name of the batch norm
            in an extracted network. A narrower subnet's batch norm takes the leading channels.
        log_scales: Amounts to add to the logarithm of the standard deviation, shaped alike.
    """

    resolutions: tuple[int, ...]
    shifts: Mapping[str, Tensor]
    log_scales: Mapping[str, Tensor]

    @torch.no_grad()
    def apply(self, network: nn.Module, resolution: int) -> None:
        """Put the running statistics of an extracted network right, which are those of the images.

        Raises:
            MismatchError: There is nothing known of a batch norm or of the resolution.
        """
        if resolution not in self.resolutions:
            raise MismatchError(
                f"'{CARRIED_IMAGES}' knows nothing of {resolution} pixels: it is another supernet's."
            )
        row = self.resolutions.index(resolution)
        for name, norm in batch_norms(network):
            if name not in self.shifts or self.shifts[name].shape[1] < norm.num_features:
                raise MismatchError(
                    f"'{CARRIED_IMAGES}' knows nothing of '{name}': it is another supernet's."
                )
            assert norm.running_mean is not None
            assert norm.running_var is not None
            channels = slice(norm.num_features)
            # The scale first: shifts were measured in standard deviations of real images, which is what the
            # corrected variance stands for. Epsilon counts as variance, as in the layer's own division, so a
            # dead channel has no enormous correction.
            variance = norm.running_var + norm.eps
            variance = variance * (2 * self.log_scales[name][row, channels].float()).exp()
            norm.running_mean += self.shifts[name][row, channels].float() * variance.sqrt()
            norm.running_var.copy_((variance - norm.eps).clamp(min=0))


@dataclass(frozen=True, kw_only=True)
class CarriedStatistics:
    """Images, and what their statistics are off by.

    Attributes:
        images: Normalised, `(N, 3, R, R)`.
        corrections: None where nothing is known.
    """

    images: Tensor = field(repr=False)
    corrections: Corrections | None = None

    def lack(self, resolution: int) -> str | None:
        """Why nothing is known at an input size (pixels); None where something is."""
        if self.corrections is None or resolution in self.corrections.resolutions:
            return None
        sizes = ", ".join(map(str, self.corrections.resolutions))
        return f"its images are for {sizes} pixels, not for {resolution}"

    def recalibrate(self, network: nn.Module, resolution: int) -> int:
        """Give an extracted network statistics of its own.

        Returns:
            Number of images used, counting each corner as one.

        Raises:
            MismatchError: The corrections are another supernet's.
        """
        used = recalibrate_batchnorm(network, [at_resolution(self.images, resolution)])
        if self.corrections is not None:
            self.corrections.apply(network, resolution)
        return used


def at_resolution(images: Tensor, resolution: int) -> Tensor:
    """Images `(N, 3, R, R)` for a subnet of another resolution; made and used in the same way.

    Late layers see a few pixels of a small image only, so that its channels' statistics would rest on too few
    values: up to three quarters of the size, the four corners are taken, which makes `(4 N, 3, r, r)`.
    """
    size = images.shape[-1]
    if size == resolution:
        return images
    if 4 * resolution <= 3 * size:
        ends = (slice(None, resolution), slice(size - resolution, None))
        return torch.cat([images[:, :, rows, columns] for rows in ends for columns in ends])
    return functional.interpolate(images, size=resolution, mode="bilinear", antialias=True)


def normalized(pixels: Tensor, preprocessing: Mapping[str, Any]) -> Tensor:
    """uint8 pixels `(N, 3, R, R)` as a network's input."""
    mean, std = (torch.tensor(preprocessing[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    images: Tensor = (pixels.float() / 255 - mean) / std
    return images


def write_carried_statistics(folder: str | Path, pixels: Tensor, corrections: Corrections | None) -> Path:
    """Write them beside a supernet, where export finds them.

    Args:
        folder: The supernet's.
        pixels: uint8, `(N, 3, R, R)`.
        corrections: Corrections of these images; stored as float16, and bound to the weights in the folder.
    """
    path = Path(folder) / CARRIED_IMAGES
    tensors = {"images": pixels.contiguous()}
    if corrections is not None:
        # A tensor like the others, where older readers look for it.
        identity = bytes.fromhex(files.sha256(path.parent / WEIGHTS_FILE))
        tensors[_WEIGHTS] = torch.tensor(list(identity), dtype=torch.uint8)
        tensors["resolutions"] = torch.tensor(corrections.resolutions)
        for prefix, tables in ((_SHIFT, corrections.shifts), (_LOG_SCALE, corrections.log_scales)):
            tensors |= {prefix + name: table.half().contiguous() for name, table in tables.items()}
    files.write_bytes(path, seal(safetensors.torch.save(tensors, metadata={"format": FORMAT})))
    return path


def read_carried_statistics(
    folder: str | Path, preprocessing: Mapping[str, Any] | None
) -> CarriedStatistics | None:
    """What a supernet's folder carries for batch-norm statistics; None where it carries nothing.

    Args:
        folder: The supernet's.
        preprocessing: How pixels are normalised. Images stored as floating-point values are normalised
            already.

    Raises:
        FileFormatError: The file is damaged.
        MismatchError: The corrections were measured on other weights than those in the folder.
    """
    path = Path(folder) / CARRIED_IMAGES
    if not path.is_file():
        return None
    try:
        content = path.read_bytes()
        tensors = safetensors.torch.load(content)
        if not is_as_saved(content):
            raise FileFormatError(f"'{path}' is damaged: its tensors are not the ones that were saved.")
        images = tensors.pop("images")
        corrections, weights = None, None
        if tensors:
            weights = bytes(tensors[_WEIGHTS].tolist()).hex()
            corrections = Corrections(
                resolutions=tuple(tensors["resolutions"].tolist()),
                shifts=_with_prefix(tensors, _SHIFT),
                log_scales=_with_prefix(tensors, _LOG_SCALE),
            )
    except (safetensors.SafetensorError, OSError, KeyError) as error:
        raise FileFormatError(f"'{path}' is damaged: {error}.") from error
    if weights is not None and weights != files.sha256(path.parent / WEIGHTS_FILE):
        raise MismatchError(
            f"'{path}' was made for other weights than those beside it.",
            hint=f"Make it for these weights: {command_line('zoo', 'package', path.parent)} "
            "--name NAME --data DATA --out DIR",
        )
    if images.dtype == torch.uint8:
        if preprocessing is None:
            raise FileFormatError(
                f"'{folder}' does not say how the pixels in {CARRIED_IMAGES} are normalised."
            )
        images = normalized(images, preprocessing)
    return CarriedStatistics(images=images.float(), corrections=corrections)


def _with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
