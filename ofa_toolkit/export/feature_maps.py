"""Files of a network without its classifier: its maps as outputs, and how they compare with the network's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from ofa_toolkit.core.errors import DataError, VerificationError
from ofa_toolkit.export.comparison import CheckImages, Comparison, Images, in_evaluation, largest_magnitude
from ofa_toolkit.export.ends import map_name
from ofa_toolkit.spaces.layer_spec import LayerSpec
from ofa_toolkit.supernets.backbone import feature_layers


def map_layers(layers: Sequence[LayerSpec]) -> dict[str, str]:
    """Name of each output, and the layer that gives it. Errors as of `feature_layers`."""
    return {map_name(stride): layer.name for stride, layer in feature_layers(layers).items()}


def described_maps(layers: Sequence[LayerSpec]) -> dict[str, dict[str, Any]]:
    """What a file says of its maps: stride, channels, side in pixels, and the layer."""
    return {
        map_name(stride): {
            "stride": stride,
            "channels": layer.out_channels,
            "size": layer.out_size,
            "layer": layer.name,
        }
        for stride, layer in feature_layers(layers).items()
    }


def compare_maps(
    run: Callable[[Images], Sequence[Images]], network: nn.Module, check: CheckImages
) -> Comparison:
    """Maps of a file beside those of the network in torch, on the same images.

    Args:
        run: The file, from normalised images `(N, 3, R, R)` to its maps, as `map_layers` orders them.
        network: From `backbone`, in any mode; judged in evaluation mode and put back.
        check: The images.

    Returns:
        The comparison, with the largest difference relative to the largest value of the same map, and no
        classes.

    Raises:
        DataError: There are no images.
        VerificationError: The network's own maps are not finite.
    """
    errors: dict[int, float] = {}
    scales: dict[int, float] = {}
    num_images = 0
    for images, _ in check.batches():
        with in_evaluation(network), torch.inference_mode():
            wanted = [value.float().numpy() for value in network(torch.from_numpy(images)).values()]
        for index, (found, expected) in enumerate(zip(run(images), wanted, strict=True)):
            if not np.isfinite(expected).all():
                raise VerificationError(f"The network's own maps are not finite on {check.description}.")
            errors[index] = max(errors.get(index, 0.0), largest_magnitude(found - expected))
            scales[index] = max(scales.get(index, 0.0), largest_magnitude(expected))
        num_images += len(images)
    if num_images == 0:
        raise DataError(f"There are no images to compare on: {check.description}.")
    return Comparison(
        images=check.description,
        num_images=num_images,
        max_relative_error=max(errors[index] / (scales[index] or 1.0) for index in errors),
        agreement_percent=None,
    )
