"""What happens to images before the network sees them, for training and for judging.

Small images are augmented as batches of tensors (`augment_batch`): with a CIFAR-sized network one
Python call an image would cost more than the forward pass. Large photos go through torchvision's v2
transforms one by one (`photo_transform`).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypedDict

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from ofa_toolkit.core.config import Bounds
from ofa_toolkit.core.errors import ConfigError
from ofa_toolkit.datasets.picture import fit_picture

if TYPE_CHECKING:  # torchvision takes seconds to import, and most commands do without it
    from torchvision.transforms import v2

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Preprocessing(TypedDict):
    """How an image becomes network input; plain values, stored beside the weights.

    Attributes:
        size: Side of the square input in pixels.
        mean: Per-channel mean of pixels scaled to 0..1, subtracted first.
        std: Per-channel divisor.
        interpolation: Interpolation that images are resized with.
        crop: Share of the resized image that the centre crop keeps, per side; 1 keeps all of it.
    """

    size: int
    mean: list[float]
    std: list[float]
    interpolation: Literal["bilinear", "bicubic"]
    crop: float


@dataclass(frozen=True, kw_only=True)
class TransformConfig:
    """Augmentation of training images: of small ones, held in memory, and of photos, decoded when needed."""

    crop_padding: Annotated[float, Bounds(at_least=0, at_most=0.5)] = 0.125
    "Small images: reflected border before the random crop, as a share of the side (0.125 is 4 of 32 pixels)."
    resized_crop: Annotated[float, Bounds(above=0, at_most=1)] = 1.0
    """Least share of the area that a random crop keeps, stretched back to the full side; at 1 small images
    are cropped from the reflected border, and photos by crop_scale."""
    flip: bool = True
    "Mirror half of the images left to right."
    cutout: Annotated[float, Bounds(at_least=0, below=1)] = 0.0
    "Side of a square that is blanked at a random place, as a share of the side."
    crop_scale: Annotated[float, Bounds(above=0, at_most=1)] = 0.08
    "Photos: least share of the area that the random resized crop keeps."
    auto_augment: Literal["none", "imagenet", "trivial"] = "none"
    "Learned policy (AutoAugment for ImageNet) or TrivialAugmentWide; small images take longer with it."
    color_jitter: Literal["none", "torch", "tf"] = "none"
    """torch jitters brightness, contrast, saturation by 0.4 and hue by 0.1; tf brightness by 32/255 and
    saturation by 0.5."""
    erasing: Annotated[float, Bounds(at_least=0, at_most=1)] = 0.0
    "Probability that a random rectangle of an image is blanked."

    def __post_init__(self) -> None:
        for name in ("crop_padding", "crop_scale"):
            if self.resized_crop < 1 and getattr(self, name) != getattr(TransformConfig, name):
                raise ConfigError(f"{name}: has no use beside resized_crop, which takes its place.")


@dataclass(frozen=True)
class AugmentationDraw:
    """The random numbers of one batch of small images, each of length `batch_size`.

    Attributes:
        top: First row of the crop in the padded image.
        left: First column of the crop.
        flip: Whether the image is mirrored.
        patches: Blanked rectangles (top, left, bottom, right), shape (batch_size, 2, 4); empty ones are zero.
        boxes: Rectangles (top, left, height, width) in pixels that are stretched to the whole image, shape
            (batch_size, 4); none where crops come from the border.
    """

    top: npt.NDArray[np.int64]
    left: npt.NDArray[np.int64]
    flip: npt.NDArray[np.bool_]
    patches: npt.NDArray[np.int64]
    boxes: npt.NDArray[np.float64] | None = None

    def part(self, rows: slice) -> AugmentationDraw:
        """The numbers of some images of the batch, for one process of several."""
        boxes = None if self.boxes is None else self.boxes[rows]
        return AugmentationDraw(self.top[rows], self.left[rows], self.flip[rows], self.patches[rows], boxes)


def draw_augmentation(
    config: TransformConfig, generator: np.random.Generator, batch_size: int, size: int
) -> AugmentationDraw:
    """Draw what happens to each image of a batch.

    Args:
        config: Augmentations and their strength.
        generator: Source of randomness.
        batch_size: Images of the whole batch, over all processes.
        size: Side of the images in pixels, without padding.
    """
    padding = padding_pixels(config, size)
    top, left = generator.integers(0, 2 * padding + 1, size=(2, batch_size))
    flip = (
        generator.integers(0, 2, size=batch_size).astype(bool) if config.flip else np.zeros(batch_size, bool)
    )
    patches = np.zeros((batch_size, 2, 4), dtype=np.int64)
    if config.cutout:
        side = max(1, round(config.cutout * size))
        centre = generator.integers(0, size, size=(batch_size, 2))
        patches[:, 0, :2] = np.clip(centre - side // 2, 0, size)
        patches[:, 0, 2:] = np.clip(centre - side // 2 + side, 0, size)
    if config.erasing:
        patches[:, 1] = _erased_rectangles(config.erasing, generator, batch_size, size)
    boxes = _crop_boxes(config.resized_crop, generator, batch_size, size) if config.resized_crop < 1 else None
    return AugmentationDraw(top, left, flip, patches, boxes)


def _crop_boxes(
    least_area: float, generator: np.random.Generator, batch_size: int, size: int
) -> npt.NDArray[np.float64]:
    """Rectangles of at least this share of the area and aspect 3/4 to 4/3 (Szegedy et al. 2015), inside."""
    area = generator.uniform(least_area, 1.0, batch_size)
    aspect = np.exp(generator.uniform(math.log(3 / 4), math.log(4 / 3), batch_size))
    sides = np.minimum(np.sqrt(np.stack([area * aspect, area / aspect], axis=1)), 1.0)
    corner = generator.uniform(size=(batch_size, 2)) * (1.0 - sides)
    return np.concatenate([corner, sides], axis=1) * size


def _erased_rectangles(
    probability: float, generator: np.random.Generator, batch_size: int, size: int
) -> npt.NDArray[np.int64]:
    """Rectangles of 2 to 33 % of the area and aspect 0.3 to 3.3 (Zhong et al. 2020, table of defaults)."""
    area = generator.uniform(0.02, 0.33, batch_size) * size * size
    aspect = np.exp(generator.uniform(math.log(0.3), math.log(3.3), batch_size))
    height = np.clip(np.sqrt(area * aspect).round(), 1, size).astype(np.int64)
    width = np.clip(np.sqrt(area / aspect).round(), 1, size).astype(np.int64)
    top = (generator.uniform(size=batch_size) * (size - height + 1)).astype(np.int64)
    left = (generator.uniform(size=batch_size) * (size - width + 1)).astype(np.int64)
    erased = generator.uniform(size=batch_size) < probability
    return np.stack([top, left, top + height, left + width], axis=1) * erased[:, None]


def padding_pixels(config: TransformConfig, size: int) -> int:
    """Border in pixels that random crops of images of side `size` need."""
    return round(config.crop_padding * size) if config.resized_crop == 1 else 0


def augment_batch(padded: Tensor, rows: Tensor, draw: AugmentationDraw, size: int) -> Tensor:
    """Cut, mirror and copy images out of a padded store in one indexing step.

    Args:
        padded: All images with their border, uint8 (N, size + 2 p, size + 2 p, 3).
        rows: Numbers of the images, int64 (B,).
        draw: Random numbers for B images.
        size: Side of the result in pixels.

    Returns:
        uint8 (B, size, size, 3), a copy.
    """
    device = padded.device
    steps = np.arange(size)
    columns = np.where(draw.flip[:, None], steps[::-1], steps) + draw.left[:, None]
    lines = draw.top[:, None] + steps
    return padded[
        rows[:, None, None],
        torch.from_numpy(lines).to(device)[:, :, None],
        torch.from_numpy(columns).to(device)[:, None, :],
    ]


def normalize(images: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Turn uint8 (B, H, W, 3) into normalised float32 (B, 3, H, W) in channels-last memory order."""
    mean = torch.tensor(preprocessing["mean"], device=images.device) * 255
    scale = 1 / (torch.tensor(preprocessing["std"], device=images.device) * 255)
    # The trailing channel axis keeps the layout; permute only renames the axes.
    return images.to(torch.float32).sub_(mean).mul_(scale).permute(0, 3, 1, 2)


def renormalization(given: Preprocessing, wanted: Preprocessing) -> tuple[Tensor, Tensor]:
    """Factor and offset, each (3, 1, 1), between the same pixels normalised as given and as wanted."""
    given_mean, given_std, wanted_mean, wanted_std = (
        torch.tensor(values).view(3, 1, 1)
        for values in (given["mean"], given["std"], wanted["mean"], wanted["std"])
    )
    return given_std / wanted_std, (given_mean - wanted_mean) / wanted_std


def stretch_boxes(images: Tensor, boxes: npt.NDArray[np.float64]) -> Tensor:
    """Stretch a rectangle of each image over the whole of it, bilinearly.

    Args:
        images: Float (B, 3, S, S).
        boxes: (B, 4): top, left, height, width in pixels.

    Returns:
        (B, 3, S, S) in channels-last memory order.
    """
    size = images.shape[2]
    top, left, height, width = (boxes / size).T
    # An affine map from output to input positions, both from -1 to 1.
    theta = np.zeros((len(boxes), 2, 3))
    theta[:, 0, 0], theta[:, 0, 2] = width, 2 * left + width - 1
    theta[:, 1, 1], theta[:, 1, 2] = height, 2 * top + height - 1
    matrices = torch.from_numpy(theta).to(images.device, images.dtype)
    grid = functional.affine_grid(matrices, list(images.shape), align_corners=False)
    stretched = functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
    return stretched.contiguous(memory_format=torch.channels_last)


def blank_patches(images: Tensor, draw: AugmentationDraw) -> None:
    """Set the drawn rectangles of normalised images (B, 3, H, W) to zero, the mean colour, in place."""
    height, width = images.shape[2:]
    rows, columns = np.arange(height), np.arange(width)
    for patch in range(draw.patches.shape[1]):
        top, left, bottom, right = draw.patches[:, patch].T[:, :, None]
        if not (bottom > top).any():
            continue
        inside = ((rows >= top) & (rows < bottom))[:, :, None] & ((columns >= left) & (columns < right))[
            :, None, :
        ]
        images.masked_fill_(torch.from_numpy(inside).to(images.device)[:, None], 0.0)


def resize_batch(images: Tensor, resolution: int, interpolation: Literal["bilinear", "bicubic"]) -> Tensor:
    """Resize float images (B, 3, H, W) to a square of `resolution` pixels, antialiased."""
    if images.shape[2:] == (resolution, resolution):
        return images
    resized = functional.interpolate(
        images, size=(resolution, resolution), mode=interpolation, align_corners=False, antialias=True
    )
    return resized.contiguous(memory_format=torch.channels_last)


def photo_transform(
    preprocessing: Preprocessing, resolution: int, augmentation: TransformConfig | None
) -> v2.Transform:
    """The v2 transform from a PIL image to a normalised float32 (3, R, R) tensor.

    Args:
        preprocessing: Normalisation, interpolation and centre crop.
        resolution: Side R in pixels.
        augmentation: For training images; None for the deterministic resize and centre crop.
    """
    from torchvision.transforms import v2

    steps: list[Callable[[Any], Any]] = []
    if augmentation is None:
        steps.append(square(preprocessing, resolution))
    else:
        crop = augmentation.resized_crop if augmentation.resized_crop < 1 else augmentation.crop_scale
        interpolation = v2.InterpolationMode(preprocessing["interpolation"])
        steps.append(v2.RandomResizedCrop(resolution, scale=(crop, 1.0), interpolation=interpolation))
        if augmentation.flip:
            steps.append(v2.RandomHorizontalFlip())
        steps += _policies(augmentation)
    steps += [
        v2.ToImage(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(preprocessing["mean"], preprocessing["std"]),
    ]
    if augmentation is not None and augmentation.cutout:
        area = augmentation.cutout**2
        steps.append(v2.RandomErasing(1.0, scale=(area, area), ratio=(1.0, 1.0)))
    if augmentation is not None and augmentation.erasing:
        steps.append(v2.RandomErasing(augmentation.erasing))
    return v2.Compose(steps)


def square(preprocessing: Preprocessing, resolution: int) -> Callable[[Image.Image], Image.Image]:
    """What a network is judged on: the resized central square of a picture, `resolution` pixels wide."""
    return functools.partial(
        fit_picture,
        size=resolution,
        crop=preprocessing["crop"],
        interpolation=preprocessing["interpolation"],
    )


def has_policies(config: TransformConfig) -> bool:
    """Whether `apply_policies` changes anything."""
    return config.auto_augment != "none" or config.color_jitter != "none"


def apply_policies(images: Tensor, config: TransformConfig, seeds: Iterable[int]) -> Tensor:
    """Apply the learned policy and the colour jitter to small images one by one.

    Args:
        images: uint8 (B, H, W, 3).
        config: Augmentations and their strength.
        seeds: One seed an image, B in all.
    """
    from torchvision.transforms import v2

    policies = v2.Compose(_policies(config))
    changed = []
    for image, seed in zip(images.permute(0, 3, 1, 2), seeds, strict=True):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            changed.append(policies(image))
    return torch.stack(changed).permute(0, 2, 3, 1).contiguous()


def _policies(config: TransformConfig) -> list[v2.Transform]:
    if not has_policies(config):
        return []
    from torchvision.transforms import v2

    steps: list[v2.Transform] = []
    if config.auto_augment == "imagenet":
        steps.append(v2.AutoAugment(v2.AutoAugmentPolicy.IMAGENET, v2.InterpolationMode.BILINEAR))
    elif config.auto_augment == "trivial":
        steps.append(v2.TrivialAugmentWide(interpolation=v2.InterpolationMode.BILINEAR))
    if config.color_jitter == "torch":
        steps.append(v2.ColorJitter(0.4, 0.4, 0.4, 0.1))
    elif config.color_jitter == "tf":
        steps.append(v2.ColorJitter(brightness=32 / 255, saturation=0.5))
    return steps
