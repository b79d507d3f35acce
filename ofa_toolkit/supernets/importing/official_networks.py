"""Plain networks in the format of the once-for-all repositories: a `net.config` and its weights.

These are extracted, often fine-tuned networks. They need not be members of any of our spaces.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, fx

from ofa_toolkit.core.documents import read_object
from ofa_toolkit.core.errors import MismatchError
from ofa_toolkit.spaces.layer_spec import LayerSpec
from ofa_toolkit.spaces.network_config import layers_from_config
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
        found = given.pop(names[name], None)
        if found is None and name.endswith("num_batches_tracked"):
            found = tensor  # nothing depends on it
        if found is None or found.shape != tensor.shape:
            problem = "lack" if found is None else "have another shape for"
            raise MismatchError(f"The weights {problem} '{names[name]}', which the net.config asks for.")
        loaded[name] = found
    if given:
        raise MismatchError(f"The weights hold '{next(iter(given))}', which the net.config does not have.")
    network.load_state_dict(loaded)
