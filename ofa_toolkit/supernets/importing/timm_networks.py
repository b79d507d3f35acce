"""Pretrained networks of timm, which names the layers of the same networks in its own way."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ofa_toolkit.core.errors import CheckpointError, MismatchError, first_line, unknown_name

SPACE_OF: Mapping[str, str] = {
    "mobilenetv2_100": "mobilenet-v2",
    "mobilenetv3_small_100": "mobilenet-v3-small",
    "mobilenetv3_large_100": "mobilenet-v3-large",
    "mnasnet_100": "mnasnet-w1.0",
    "efficientnet_b0": "efficientnet-b0",
    "tf_efficientnet_lite0": "efficientnet-lite0",
    "tf_efficientnet_lite1": "efficientnet-lite1",
    "tf_efficientnet_lite2": "efficientnet-lite2",
}


def timm_network(name: str, *, is_pretrained: bool = True) -> tuple[nn.Module, dict[str, object]]:
    """A network of timm's, from its cache or the network, and how images are prepared for it.

    Args:
        name: Such as `mobilenetv3_large_100`, or with a tag, `mobilenetv3_large_100.ra_in1k`.
        is_pretrained: Whether it has pretrained weights; otherwise random ones.

    Raises:
        UnknownNameError: It is the largest subnet of no space here.
        MissingDependencyError: timm is not installed.
        CheckpointError: The weights are not here and cannot be had.
    """
    architecture = name.partition(".")[0]
    if architecture not in SPACE_OF:
        raise unknown_name("network of timm with a space", architecture, SPACE_OF)
    import timm

    try:
        network: nn.Module = timm.create_model(name, pretrained=is_pretrained)
    except (OSError, RuntimeError, ValueError) as error:
        raise CheckpointError(
            f"The weights of timm's '{name}' are not here and cannot be fetched: {first_line(error)}",
            hint=f"Save its state_dict() elsewhere: --init FILE --space {SPACE_OF[architecture]}",
        ) from error
    from timm.data.config import resolve_model_data_config

    how = resolve_model_data_config(network)
    return network.eval(), {
        "size": how["input_size"][-1],
        "mean": list(how["mean"]),
        "std": list(how["std"]),
        "interpolation": how["interpolation"],
        "crop": how["crop_pct"],
    }


def epsilon_of(network: nn.Module) -> float:
    """The epsilon of all batch norms of a network.

    Raises:
        MismatchError: They have several.
    """
    found = {module.eps for module in network.modules() if isinstance(module, nn.BatchNorm2d)}
    if len(found) != 1:
        raise MismatchError(f"Its batch norms have the epsilons {sorted(found)}; one is expected.")
    return float(found.pop())


@torch.no_grad()
def check_same_output(network: nn.Module, other: nn.Module, images: Tensor, what: str) -> None:
    """Refuse a network that has the same shapes but computes something else (padding, activations).

    Raises:
        MismatchError: Logits differ by more than 1e-4 of the largest.
    """
    expected, found = network(images), other(images)
    difference = float((found - expected).abs().max() / expected.abs().max())
    if not difference <= 1e-4:
        raise MismatchError(f"{what} computes something else than the space's largest subnet.")
