"""The `net.config` files of the once-for-all repositories, read as layers.

Such a file describes one extracted network layer by layer; it holds no resolution. The network need not be a
member of any space.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from ofa_toolkit.core.errors import FileFormatError
from ofa_toolkit.spaces.layer_builder import Flow, LayerBuilder
from ofa_toolkit.spaces.layer_spec import NETWORK_INPUT, Activation, LayerSpec
from ofa_toolkit.spaces.lowering import IMAGE_CHANNELS
from ofa_toolkit.spaces.rounding import make_divisible

Config = Mapping[str, Any]

FAMILIES = ("MobileNetV3", "ProxylessNASNets", "ResNets")

_LARGEST = 65_536
"""Largest number allowed in a file; what exceeds it is a mistake, and would only fail later."""


def is_network_config(document: Config) -> bool:
    """Whether a parsed JSON object is a `net.config`, not an architecture dictionary."""
    return "blocks" in document and "classifier" in document


def layers_from_config(config: Config, *, resolution: int = 224) -> tuple[LayerSpec, ...]:
    """The layers of the network that a `net.config` describes, old (`mobile_inverted_conv`) or new naming.

    Args:
        config: The parsed file.
        resolution: Input size in pixels to lower for; the network itself runs at any.

    Raises:
        FileFormatError: The file is malformed or holds layers this release does not know.
    """
    try:
        family = config["name"]
        build = LayerBuilder(float(config.get("bn", {}).get("eps", 1e-5)))
        flow = Flow(NETWORK_INPUT, IMAGE_CHANNELS, resolution)
        if family in ("MobileNetV3", "ProxylessNASNets"):
            flow = _lower_mobilenet(build, config, flow)
        elif family == "ResNets":
            flow = _lower_resnet(build, config, flow)
        else:
            raise FileFormatError(f"The net.config is of '{family}'; known: {', '.join(FAMILIES)}.")
        build.linear("classifier", flow, _whole(config["classifier"]["out_features"]))
    except KeyError as error:
        raise FileFormatError(f"The net.config is malformed: it lacks '{error.args[0]}'.") from error
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        raise FileFormatError(f"The net.config is malformed: {error}.") from error
    return tuple(build.layers)


def blocks_of(config: Config) -> list[Config]:
    """The convolutions of a MobileNet's blocks, or the blocks of a ResNet; skipped ones left out."""
    if config["name"] == "ResNets":
        return list(config["blocks"])
    convs = [block.get("conv", block.get("mobile_inverted_conv")) for block in config["blocks"]]
    return [conv for conv in convs if not _is_skipped(conv)]


def activation_of(name: str | None) -> Activation | None:
    """An activation by its official name."""
    if name is None:
        return None
    known: dict[str, Activation] = {activation: activation for activation in get_args(Activation)}
    known["silu"] = "swish"
    if name not in known:
        raise FileFormatError(f"The net.config names the activation '{name}'; known: {', '.join(known)}.")
    return known[name]


def _is_skipped(conv: Config | None) -> bool:
    """A block an old file keeps in place: only its shortcut is left."""
    return conv is None or conv["name"] == "ZeroLayer"


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 1 <= value <= _LARGEST:
        raise ValueError(f"{value!r} is out of range")
    if value != int(value):
        raise ValueError(f"{value!r} is no whole number")
    return int(value)


def _lower_mobilenet(build: LayerBuilder, config: Config, flow: Flow) -> Flow:
    flow = _conv_layer(build, "first_conv", config["first_conv"], flow)
    for number, block in enumerate(config["blocks"]):
        conv = block.get("conv", block.get("mobile_inverted_conv"))
        if _is_skipped(conv):
            continue
        block_input = flow
        flow = _mbconv(build, f"blocks.{number}", conv, flow)
        if block.get("shortcut") is not None:
            flow = build.join(f"blocks.{number}.add", "add", flow, block_input)
    if config["name"] == "MobileNetV3":
        flow = _conv_layer(build, "final_expand_layer", config["final_expand_layer"], flow)
        flow = build.pool("pool", "global_avg_pool", flow, flow.size, 1)
        return _conv_layer(build, "feature_mix_layer", config["feature_mix_layer"], flow)
    if config["feature_mix_layer"] is not None:
        flow = _conv_layer(build, "feature_mix_layer", config["feature_mix_layer"], flow)
    return build.pool("pool", "global_avg_pool", flow, flow.size, 1)


def _mbconv(build: LayerBuilder, name: str, conv: Config, flow: Flow) -> Flow:
    activation = activation_of(conv.get("act_func", "relu6"))
    middle = conv.get("mid_channels") or round(conv["in_channels"] * conv["expand_ratio"])
    if conv["expand_ratio"] != 1:
        flow = build.conv(f"{name}.expand", flow, _whole(middle), 1, 1, activation)
    kernel_size, stride = _whole(conv["kernel_size"]), _whole(conv["stride"])
    flow = build.depthwise(f"{name}.depthwise", flow, kernel_size, stride, activation)
    if conv.get("use_se", False):
        flow = build.squeeze_excite(f"{name}.se", flow)
    return build.conv(f"{name}.project", flow, _whole(conv["out_channels"]), 1, 1, None)


def _lower_resnet(build: LayerBuilder, config: Config, flow: Flow) -> Flow:
    for number, layer in enumerate(config["input_stem"]):
        block_input, name = flow, f"input_stem.{number}"
        flow = _conv_layer(build, name, layer.get("conv", layer), flow)
        if layer.get("shortcut") is not None:
            flow = build.join(f"{name}_add", "add", flow, block_input)
    flow = build.pool("max_pool", "max_pool", flow, 3, 2)
    for number, block in enumerate(config["blocks"]):
        flow = _bottleneck(build, f"blocks.{number}", block, flow)
    return build.pool("pool", "global_avg_pool", flow, flow.size, 1)


def _bottleneck(build: LayerBuilder, name: str, block: Config, flow: Flow) -> Flow:
    activation, stride = activation_of(block["act_func"]), _whole(block["stride"])
    out = _whole(block["out_channels"])
    middle = _whole(block.get("mid_channels") or make_divisible(round(out * block["expand_ratio"])))
    shortcut = flow
    flow = build.conv(f"{name}.conv1", flow, middle, 1, 1, activation)
    flow = build.conv(
        f"{name}.conv2",
        flow,
        middle,
        _whole(block["kernel_size"]),
        stride,
        activation,
        groups=_whole(block.get("groups") or 1),
    )
    flow = build.conv(f"{name}.conv3", flow, out, 1, 1, None)
    if stride > 1 or shortcut.channels != out:
        conv_stride = stride
        if block.get("downsample_mode", "avgpool_conv") == "avgpool_conv":
            if stride > 1:
                shortcut = build.pool(
                    f"{name}.downsample_pool", "avg_pool", shortcut, stride, stride, ceil_mode=True
                )
            conv_stride = 1
        shortcut = build.conv(f"{name}.downsample", shortcut, out, 1, conv_stride, None)
    return build.join(f"{name}.add", "add", flow, shortcut, activation)


def _conv_layer(build: LayerBuilder, name: str, layer: Config, flow: Flow) -> Flow:
    return build.conv(
        name,
        flow,
        _whole(layer["out_channels"]),
        _whole(layer["kernel_size"]),
        _whole(layer["stride"]),
        activation_of(layer["act_func"]),
        groups=_whole(layer.get("groups", 1)),
        batch_norm=bool(layer["use_bn"]),
        bias=bool(layer.get("bias", False)),
    )
