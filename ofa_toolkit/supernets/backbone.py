"""The maps of a network that detection and segmentation build on, without its head and classifier."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from torch import Tensor, fx

from ofa_toolkit.core.errors import ConfigError
from ofa_toolkit.spaces.layer_spec import NETWORK_INPUT, LayerSpec
from ofa_toolkit.supernets.network import Tensors, build_network

STRIDES = (8, 16, 32)


def feature_layers(layers: Sequence[LayerSpec], strides: Sequence[int] = STRIDES) -> dict[int, LayerSpec]:
    """For each stride the last layer of the stages whose map is so many times smaller than the image.

    Args:
        layers: Layers of a subnet, as `lower` gives them.
        strides: Ascending.

    Raises:
        ConfigError: The network has no map of a stride.
    """
    found = map_layers(layers)
    check_strides(strides, found)
    return {stride: found[stride] for stride in sorted(strides)}


def map_layers(layers: Sequence[LayerSpec]) -> dict[int, LayerSpec]:
    """As `feature_layers`, of every stride there is."""
    reached = {NETWORK_INPUT: 1}
    blocks: dict[str, LayerSpec] = {}
    for layer in layers:
        reached[layer.name] = reached[layer.inputs[0]] * layer.stride
        if layer.name.startswith("stages."):
            blocks[".".join(layer.name.split(".")[:3])] = layer  # in the end its last one
    return {reached[layer.name]: layer for layer in blocks.values()}


def check_strides(strides: Sequence[int], found: Collection[int]) -> None:
    """Raise `ConfigError` for a stride that is not among those of a network's maps."""
    missing = [stride for stride in strides if stride not in found]
    if missing:
        offered = ", ".join(map(str, sorted(found)))
        raise ConfigError(
            f"The network has no map of stride {missing[0]}; it has {offered}.",
            hint=f"In Python features(images, strides=({offered})), or a supernet for larger images, such as "
            "--supernet efficientnet-lite0.",
        )


def without_head(layers: Sequence[LayerSpec], strides: Sequence[int] = STRIDES) -> tuple[LayerSpec, ...]:
    """The layers up to the last map. Arguments and errors as of `feature_layers`."""
    wanted = {layer.name for layer in feature_layers(layers, strides).values()}
    return tuple(layers[: 1 + max(index for index, layer in enumerate(layers) if layer.name in wanted)])


def backbone(
    network: fx.GraphModule, layers: Sequence[LayerSpec], strides: Sequence[int] = STRIDES
) -> fx.GraphModule:
    """The part of an extracted network up to its last map; it shares the network's tensors.

    Args:
        network: From `extract`, with batch-norm statistics of its own.
        layers: Layers of the network.
        strides: Strides of the maps, in input pixels.

    Returns:
        Network from images `(N, 3, R, R)` to a dictionary: `"8"`, `"16"`, `"32"` (the strides) to maps
        `(N, channels, R / stride, R / stride)`, as torchvision's FPN and SSD take them.

    Raises:
        ConfigError: The network has no map of a stride.
    """
    wanted = feature_layers(layers, strides)
    state = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    made = build_network(
        without_head(layers, strides),
        tensors_of=lambda layer: (_of(state, f"{layer.name}.conv."), _of(state, f"{layer.name}.bn.") or None),
        outputs={str(stride): layer.name for stride, layer in wanted.items()},
    )
    return made.train(network.training)


def _of(state: Mapping[str, Tensor], prefix: str) -> Tensors:
    return {name[len(prefix) :]: tensor for name, tensor in state.items() if name.startswith(prefix)}
