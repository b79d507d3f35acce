"""Pretrained networks of torchvision: which space each is the largest subnet of, and their weights."""

from __future__ import annotations

import urllib.error
from collections.abc import Mapping

from torch import Tensor

from ofa_toolkit.core.errors import CheckpointError, unknown_name

SPACE_OF: Mapping[str, str] = {
    "mobilenet_v2": "mobilenet-v2",
    "mobilenet_v3_small": "mobilenet-v3-small",
    "mobilenet_v3_large": "mobilenet-v3-large",
    "mnasnet1_0": "mnasnet-w1.0",
    "efficientnet_b0": "efficientnet-b0",
}


def torchvision_weights(name: str) -> tuple[dict[str, Tensor], dict[str, object]]:
    """Pretrained weights by torchvision's API, from its cache or the network, and how images are prepared.

    Args:
        name: Such as `mobilenet_v3_large` for its best weights, or `mobilenet_v3_large:IMAGENET1K_V1`.

    Returns:
        The state dictionary, and the preprocessing.

    Raises:
        UnknownNameError: No such network here, or no such weights.
        CheckpointError: The weights are not here and cannot be had.
    """
    from torchvision.models import get_model_weights

    network, _, which = name.partition(":")
    if network not in SPACE_OF:
        raise unknown_name("network of torchvision with a space", network, SPACE_OF)
    offered = {weights.name: weights for weights in get_model_weights(network)}
    if which and which not in offered:
        raise unknown_name(f"weights of {network}", which, offered)
    chosen = offered[which] if which else get_model_weights(network)["DEFAULT"]
    try:
        weights = chosen.get_state_dict(progress=False, check_hash=True)
    except (urllib.error.URLError, OSError, RuntimeError) as error:
        file = chosen.url.rpartition("/")[2]
        raise CheckpointError(
            f"The weights '{file}' of torchvision's {network} are not here and cannot be fetched: {error}.",
            hint=f"Fetch {chosen.url} elsewhere and name the file: --init {file} --space {SPACE_OF[network]}",
        ) from error
    how = chosen.transforms()
    (size,), (resize,) = how.crop_size, how.resize_size
    return dict(weights), {
        "size": size,
        "mean": list(how.mean),
        "std": list(how.std),
        "interpolation": how.interpolation.value,
        "crop": round(size / resize, 4),
    }
