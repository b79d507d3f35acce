"""A network cut out of a supernet: a graph module that also gives its maps."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, fx

from ofa_toolkit.spaces.layer_spec import LayerSpec
from ofa_toolkit.supernets.backbone import STRIDES, check_strides, map_layers

_STRIDE = "ofa_toolkit_stride"


class ExtractedNetwork(fx.GraphModule):
    """A plain network of `torch.nn` modules, as `extract` gives it.

    Calling it gives logits; `features` gives what detection and segmentation build on. Copies keep both;
    what `torch.save` wrote loads as a plain graph module without `features`.
    """

    def features(self, images: Tensor, strides: Sequence[int] = STRIDES) -> dict[str, Tensor]:
        """The maps inside the network, which stops behind the last of them.

        They are computed from the network's own modules, in its mode, and gradients flow through them.

        Args:
            images: Normalised, `(N, 3, R, R)`.
            strides: How many times smaller than the images the maps are, in ascending order.

        Returns:
            `"8"`, `"16"`, `"32"` (the strides) to maps `(N, channels, R / stride, R / stride)`, as
            torchvision's FPN and SSD take them.

        Raises:
            ConfigError: The network has no map of a stride.
        """
        nodes = {node.meta[_STRIDE]: node for node in self.graph.nodes if _STRIDE in node.meta}
        check_strides(strides, nodes)
        interpreter = fx.Interpreter(self)
        interpreter.args_iter = iter([images])
        left = {nodes[stride] for stride in strides}
        for node in self.graph.nodes:
            interpreter.env[node] = interpreter.run_node(node)
            left.discard(node)
            if not left:
                break
        return {str(stride): interpreter.env[nodes[stride]] for stride in strides}


def mark_maps(network: fx.GraphModule, layers: Sequence[LayerSpec]) -> None:
    """Note at the nodes of a network which of them give maps, for `features`.

    Args:
        network: From `build_network`.
        layers: Its layers.
    """
    strides = {layer.name: stride for stride, layer in map_layers(layers).items()}
    for node in network.graph.nodes:
        if node.meta.get("layer") in strides:
            node.meta[_STRIDE] = strides[node.meta["layer"]]
