"""Write an extracted MBConv network as the once-for-all repositories do.

`net.config` describes the layers, `init` holds the weights, `run.config` states the resolution.
"""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ofa_toolkit.core import files
from ofa_toolkit.core.errors import ExportError
from ofa_toolkit.spaces.layer_spec import LayerSpec
from ofa_toolkit.spaces.lowering import lower
from ofa_toolkit.spaces.official_files import CONFIG_FILE, RUN_FILE, WEIGHTS_FILE
from ofa_toolkit.spaces.space import SearchSpace, SqueezeExcite
from ofa_toolkit.spaces.subnet import Subnet
from ofa_toolkit.supernets.importing.official_checkpoints import official_subnet_weights


def save_official_network(folder: str | Path, network: nn.Module, space: SearchSpace, subnet: Subnet) -> None:
    """Write `net.config`, `run.config` and `init`, each replaced whole.

    Args:
        folder: Made if missing.
        network: From `extract(supernet, subnet)`.
        space: The space of the subnet.
        subnet: The subnet that the network is.

    Raises:
        ExportError: The space is not of the MobileNet families.
    """
    config = official_config(space, subnet)
    weights = io.BytesIO()
    torch.save({"state_dict": official_subnet_weights(network, space, subnet)}, weights)
    Path(folder).mkdir(parents=True, exist_ok=True)
    files.write_bytes(Path(folder) / WEIGHTS_FILE, weights.getvalue())
    files.write_text(Path(folder) / RUN_FILE, json.dumps({"image_size": subnet.resolution}, indent=4))
    files.write_text(Path(folder) / CONFIG_FILE, json.dumps(config, indent=4))


def official_config(space: SearchSpace, subnet: Subnet) -> dict[str, Any]:
    """The content of a subnet's `net.config`.

    Raises:
        ExportError: The space is not of the MobileNet families, or has what such a file cannot say.
    """
    if space.stem is None:
        raise ExportError(f"'{space.name}' has no net.config here: only spaces of MBConv blocks do.")
    layers = {layer.name: layer for layer in lower(space, subnet)}
    _check_expressible(space)
    prefixes = ["stem.block"] + [
        f"stages.{stage}.{block}"
        for stage, choice in enumerate(subnet.stages)
        for block in range(choice.depth)
    ]
    ratios = [1, *(ratio for choice in subnet.stages for ratio in choice.expand_ratios)]
    config: dict[str, Any] = {
        "name": "ProxylessNASNets" if space.head.mix_width is None else "MobileNetV3",
        "bn": {"momentum": 0.1, "eps": space.bn_eps, "ws_eps": None},
        "first_conv": _conv_layer(layers["stem.conv"]),
        "blocks": [_block(layers, prefix, ratio) for prefix, ratio in zip(prefixes, ratios, strict=True)],
    }
    if space.head.mix_width is None:
        config["feature_mix_layer"] = _conv_layer(layers["head.expand"])
    else:
        config["final_expand_layer"] = _conv_layer(layers["head.expand"])
        config["feature_mix_layer"] = _conv_layer(layers["head.mix"])
    classifier = layers["classifier"]
    config["classifier"] = {
        "name": "LinearLayer",
        "in_features": classifier.in_channels,
        "out_features": classifier.out_channels,
        "bias": True,
        **_order(None, use_bn=False),
    }
    return config


def _check_expressible(space: SearchSpace) -> None:
    """Refuse what these files have no word for, and would be read as something else."""
    plain = dataclasses.replace(
        space,
        stem=dataclasses.replace(space.stem, block_use_se=False) if space.stem is not None else None,
        head=dataclasses.replace(space.head, mix_bias=False),
        padding="symmetric",
        squeeze_excite=SqueezeExcite(),
    )
    if plain != space:
        raise ExportError(
            f"A net.config cannot say what '{space.name}' pads, squeezes or adds to its head.",
            hint="Write the network without --layout official.",
        )


def _order(activation: str | None, *, use_bn: bool) -> dict[str, Any]:
    return {"use_bn": use_bn, "act_func": activation, "dropout_rate": 0, "ops_order": "weight_bn_act"}


def _conv_layer(layer: LayerSpec) -> dict[str, Any]:
    return {
        "name": "ConvLayer",
        "kernel_size": layer.kernel_size,
        "stride": layer.stride,
        "dilation": 1,
        "groups": 1,
        "bias": False,
        "has_shuffle": False,
        "use_se": False,
        "in_channels": layer.in_channels,
        "out_channels": layer.out_channels,
        **_order(layer.activation, use_bn=layer.batch_norm),
    }


def _block(layers: dict[str, LayerSpec], prefix: str, expand_ratio: float) -> dict[str, Any]:
    expand, depthwise = layers.get(f"{prefix}.expand"), layers[f"{prefix}.depthwise"]
    project = layers[f"{prefix}.project"]
    conv: dict[str, Any] = {
        "name": "MBConvLayer",
        "in_channels": depthwise.in_channels if expand is None else expand.in_channels,
        "out_channels": project.out_channels,
        "kernel_size": depthwise.kernel_size,
        "stride": depthwise.stride,
        "expand_ratio": expand_ratio,
        "mid_channels": None if expand is None else depthwise.out_channels,
        "act_func": depthwise.activation,
        "use_se": f"{prefix}.se.reduce" in layers,
    }
    if expand is None:
        conv["groups"] = None
    shortcut = None
    if f"{prefix}.add" in layers:
        channels = {"in_channels": project.out_channels, "out_channels": project.out_channels}
        shortcut = {"name": "IdentityLayer", **channels, **_order(None, use_bn=False)}
    return {"name": "ResidualBlock", "conv": conv, "shortcut": shortcut}
