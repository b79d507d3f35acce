"""Plain networks in the format of the once-for-all repositories: a `net.config` and its weights.

These are extracted, often fine-tuned networks. They need not be members of any of our spaces.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from torch import Tensor, fx

from ofa_toolkit.core.documents import read_object
from ofa_toolkit.core.errors import FileFormatError, MismatchError
from ofa_toolkit.spaces.layer_builder import Flow, LayerBuilder
from ofa_toolkit.spaces.layer_spec import NETWORK_INPUT, Activation, LayerSpec
from ofa_toolkit.spaces.lowering import IMAGE_CHANNELS
from ofa_toolkit.spaces.rounding import make_divisible
from ofa_toolkit.supernets.importing.official_names import modern_name
from ofa_toolkit.supernets.network import build_network

Config = Mapping[str, Any]


def network_from_config(
    config: Config | str | Path, *, weights: Mapping[str, Tensor] | None = None, resolution: int = 224
) -> fx.GraphModule:
    """The network a `net.config` describes, in evaluation mode.

    Args:
        config: The parsed file, or its path. Old (`mobile_inverted_conv`) and new naming are read.
        weights: State dictionary under official names; torch's initialisation where None.
        resolution: Input size in pixels to lower for; the network itself runs at any.

    Raises:
        FileFormatError: The file is malformed or holds layers this release does not know.
        MismatchError: The weights do not fit.
    """
    if not isinstance(config, Mapping):
        config = read_object(config, "a net.config")
    layers = layers_from_config(config, resolution=resolution)
    network = build_network(layers).eval()
    if weights is not None:
        _load(network, weights, dict(_official_names(layers)))
    return network


def layers_from_config(config: Config, *, resolution: int = 224) -> tuple[LayerSpec, ...]:
    """Lower a `net.config` to layers; see `network_from_config`."""
    try:
        family = config["name"]
        build = LayerBuilder(float(config.get("bn", {}).get("eps", 1e-5)))
        flow = Flow(NETWORK_INPUT, IMAGE_CHANNELS, resolution)
        if family in ("MobileNetV3", "ProxylessNASNets"):
            flow = _lower_mobilenet(build, config, flow)
        elif family == "ResNets":
            flow = _lower_resnet(build, config, flow)
        else:
            raise FileFormatError(
                f"The net.config is of '{family}'; known: MobileNetV3, ProxylessNASNets, ResNets."
            )
        build.linear("classifier", flow, int(config["classifier"]["out_features"]))
    except (KeyError, TypeError, AttributeError) as error:
        raise FileFormatError(f"The net.config is malformed: {error!r}.") from error
    return tuple(build.layers)


def _lower_mobilenet(build: LayerBuilder, config: Config, flow: Flow) -> Flow:
    flow = _conv_layer(build, "first_conv", config["first_conv"], flow)
    for number, block in enumerate(config["blocks"]):
        conv = block.get("conv", block.get("mobile_inverted_conv"))
        if conv is None or conv["name"] == "ZeroLayer":
            continue  # a skipped block of an old file: only its shortcut is left
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
    activation = _activation(conv.get("act_func", "relu6"))
    middle = conv.get("mid_channels") or round(conv["in_channels"] * conv["expand_ratio"])
    if conv["expand_ratio"] != 1:
        flow = build.conv(f"{name}.expand", flow, middle, 1, 1, activation)
    flow = build.depthwise(f"{name}.depthwise", flow, conv["kernel_size"], conv["stride"], activation)
    if conv.get("use_se", False):
        flow = build.squeeze_excite(f"{name}.se", flow)
    return build.conv(f"{name}.project", flow, conv["out_channels"], 1, 1, None)


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
    activation, stride, out = _activation(block["act_func"]), block["stride"], block["out_channels"]
    middle = block.get("mid_channels") or make_divisible(round(out * block["expand_ratio"]))
    shortcut = flow
    flow = build.conv(f"{name}.conv1", flow, middle, 1, 1, activation)
    flow = build.conv(
        f"{name}.conv2",
        flow,
        middle,
        block["kernel_size"],
        stride,
        activation,
        groups=block.get("groups") or 1,
    )
    flow = build.conv(f"{name}.conv3", flow, out, 1, 1, None)
    if stride > 1 or shortcut.channels != out:
        conv_stride = stride
        if block.get("downsample_mode", "avgpool_conv") == "avgpool_conv":
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
        layer["out_channels"],
        layer["kernel_size"],
        layer["stride"],
        _activation(layer["act_func"]),
        groups=layer.get("groups", 1),
        batch_norm=layer["use_bn"],
        bias=layer.get("bias", False),
    )


def _activation(name: str | None) -> Activation | None:
    if name is None:
        return None
    known: dict[str, Activation] = {activation: activation for activation in get_args(Activation)}
    known["silu"] = "swish"
    if name not in known:
        raise FileFormatError(f"The net.config names the activation '{name}'; known: {', '.join(known)}.")
    return known[name]


_MBCONV_PARTS = {
    "expand": "conv.inverted_bottleneck.conv",
    "depthwise": "conv.depth_conv.conv",
    "project": "conv.point_linear.conv",
    "se.reduce": "conv.depth_conv.se.fc.reduce",
    "se.expand": "conv.depth_conv.se.fc.expand",
}


def _official_names(layers: tuple[LayerSpec, ...]) -> Iterator[tuple[str, str]]:
    """Our tensor names and the official ones."""
    residual_stems = {layer.name.removesuffix("_add") for layer in layers if layer.name.endswith("_add")}
    for layer in layers:
        if not layer.has_weights:
            continue
        part = "linear" if layer.kind == "linear" else "conv"
        rest = ".".join(layer.name.split(".")[2:])
        official = f"{layer.name}.conv.conv" if layer.name in residual_stems else f"{layer.name}.{part}"
        if layer.name.startswith("blocks.") and rest in _MBCONV_PARTS:
            official = f"{layer.name.removesuffix(rest)}{_MBCONV_PARTS[rest]}"
        yield f"{layer.name}.{part}.weight", f"{official}.weight"
        if layer.bias:
            yield f"{layer.name}.{part}.bias", f"{official}.bias"
        if layer.batch_norm:
            for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
                yield f"{layer.name}.bn.{name}", f"{official.removesuffix('conv')}bn.{name}"


def _load(network: fx.GraphModule, weights: Mapping[str, Tensor], names: Mapping[str, str]) -> None:
    given = {modern_name(name): tensor for name, tensor in weights.items()}
    loaded = {}
    for name, tensor in network.state_dict().items():
        found = given.get(names[name])
        if found is None or found.shape != tensor.shape:
            problem = "lack" if found is None else "have another shape for"
            raise MismatchError(f"The weights {problem} '{names[name]}', which the net.config asks for.")
        loaded[name] = found
    network.load_state_dict(loaded)
