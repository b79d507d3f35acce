"""The supernet: the weights of the largest subnet, run as any subnet."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ofa_toolkit.modules import ElasticLayer, activate
from ofa_toolkit.spaces.layer_spec import NETWORK_INPUT, LayerSpec
from ofa_toolkit.spaces.lowering import lower
from ofa_toolkit.spaces.space import SearchSpace
from ofa_toolkit.spaces.subnet import Subnet


class Supernet(nn.Module):
    """Elastic network of a search space. There is no hidden active subnet: every call names one.

    Parameters carry the names of the layers they belong to (`stages.0.1.expand.conv.weight`), the same in
    the supernet and in every network extracted from it. The supernet executes the very `LayerSpec` list
    that costs, extraction and export are made from.

    Args:
        space: The subnets that exist, and the number of classes.
        use_kernel_transforms: Whether smaller kernels pass through learned matrices (OFA) instead of
            being plain centre crops.
        dropout: Probability before the classifier, in training mode.
        bn_momentum: Share of the new batch in the running statistics (PyTorch's sense).
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        use_kernel_transforms: bool = False,
        dropout: float = 0.0,
        bn_momentum: float = 0.1,
    ) -> None:
        super().__init__()
        self.space = space
        self.use_kernel_transforms = use_kernel_transforms
        self.dropout = dropout
        self.bn_momentum = bn_momentum
        self._layers: dict[str, ElasticLayer] = {}
        for layer in lower(space, space.largest()):
            if layer.has_weights:
                module = ElasticLayer(
                    layer,
                    transform_sizes=self._transform_sizes(layer),
                    bn_momentum=bn_momentum,
                )
                add_module_at(self, layer.name, module)
                self._layers[layer.name] = module

    def layer(self, name: str) -> ElasticLayer:
        """The elastic layer behind a `LayerSpec` name."""
        return self._layers[name]

    def forward(self, images: Tensor, subnet: Subnet, *, use_dropout: bool = True) -> Tensor:
        """Run one subnet.

        Args:
            images: `(N, 3, R, R)`; R may differ from `subnet.resolution`: of the layers only TensorFlow's
                "same" padding depends on it.
            subnet: A member of `space`.
            use_dropout: Whether dropout acts in training mode; DϵpS and BigNAS regularise only the
                largest subnet.

        Returns:
            Logits `(N, num_classes)`.

        Raises:
            SubnetNotInSpaceError: The subnet holds a choice the space does not offer.
        """
        return self.run_layers(lower(self.space, subnet), images, use_dropout=use_dropout)

    def run_layers(self, layers: Sequence[LayerSpec], images: Tensor, *, use_dropout: bool = True) -> Tensor:
        """Run one subnet given as `lower` made it; as `forward` otherwise. This part can be compiled."""
        last = layers[-1].name
        return self.run_part(layers, {NETWORK_INPUT: images}, {last}, use_dropout=use_dropout)[last]

    def run_part(
        self,
        layers: Sequence[LayerSpec],
        tensors: Mapping[str, Tensor],
        wanted: Collection[str],
        *,
        use_dropout: bool = True,
    ) -> dict[str, Tensor]:
        """Run some consecutive layers of a subnet.

        Args:
            layers: In order.
            tensors: Outputs of earlier layers that they read, or `NETWORK_INPUT`, by name.
            wanted: Names to return: of these layers or of `tensors`.
            use_dropout: As of `forward`.
        """
        last_reader = {name: index for index, layer in enumerate(layers) for name in layer.inputs}
        outputs = dict(tensors)
        for index, layer in enumerate(layers):
            inputs = [outputs[name] for name in layer.inputs]
            for name in layer.inputs:
                if last_reader[name] == index and name not in wanted:
                    outputs.pop(name, None)
            outputs[layer.name] = self._run(layer, inputs, use_dropout)
        return {name: outputs[name] for name in wanted}

    def _run(self, layer: LayerSpec, inputs: Sequence[Tensor], use_dropout: bool) -> Tensor:
        x = inputs[0]
        if layer.kind == "linear":
            x = F.dropout(x.flatten(1), self.dropout, self.training and use_dropout)
            return self._layers[layer.name](x, layer)  # type: ignore[no-any-return]
        if layer.kind == "conv":
            return self._layers[layer.name](x, layer)  # type: ignore[no-any-return]
        return activate(run_weightless(layer, inputs), layer.activation)

    def _transform_sizes(self, layer: LayerSpec) -> tuple[int, ...]:
        """Kernel sizes to connect by matrices: those of the stage, for the kernel that is elastic."""
        if not (self.use_kernel_transforms and layer.is_depthwise and layer.name.startswith("stages.")):
            return ()
        return self.space.stages[int(layer.name.split(".")[1])].kernel_sizes


def run_weightless(layer: LayerSpec, inputs: Sequence[Tensor]) -> Tensor:
    """Apply a pool, sum, product or concatenation (activation not included)."""
    x = inputs[0]
    if layer.kind == "global_avg_pool":
        return x.mean((2, 3), keepdim=True)
    if layer.kind == "avg_pool":
        return F.avg_pool2d(x, layer.kernel_size, layer.stride, layer.padding, ceil_mode=layer.ceil_mode)
    if layer.kind == "max_pool":
        return F.max_pool2d(x, layer.kernel_size, layer.stride, layer.padding, ceil_mode=layer.ceil_mode)
    if layer.kind == "add":
        return x + inputs[1]
    if layer.kind == "scale":
        return x * inputs[1]
    if layer.kind == "concat":
        return torch.cat(list(inputs), dim=1)
    assert layer.kind == "activation", layer.kind
    return x


def add_module_at(root: nn.Module, name: str, module: nn.Module) -> None:
    """Register `module` under a dotted name, making the containers on the way."""
    *path, last = name.split(".")
    for part in path:
        child = root._modules.get(part)
        if child is None:
            child = nn.Module()
            root.add_module(part, child)
        root = child
    root.add_module(last, module)
