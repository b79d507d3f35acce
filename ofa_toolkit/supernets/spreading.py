"""Spread what one subnet has learned over the whole supernet, so that all larger ones begin as good as it.

Source: SuperFast (Thoma et al., DAC 2025) says in its abstract that the knowledge of a trained subnet is
distributed within the supernet before that is trained; how is our choice. Channels, kernels and blocks that
the subnet lacks are added as in Net2Net (Chen et al., ICLR 2016), so that the function stays what it is;
unlike there, copies of channels are not read until training wants them, so that the subnet stays what it is
as well.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ofa_toolkit.modules import ElasticLayer
from ofa_toolkit.spaces.layer_spec import LayerSpec
from ofa_toolkit.spaces.lowering import lower
from ofa_toolkit.spaces.subnet import Subnet
from ofa_toolkit.supernets.supernet import Supernet


@torch.no_grad()
def spread(supernet: Supernet, subnet: Subnet) -> None:
    """Give the weights that a subnet lacks values made of those it has.

    Every larger subnet that contains it computes its function afterwards, in evaluation mode and in training
    mode, since copies have the statistics of what they are copied from. Channels are copies of the subnet's,
    in turn, with a weight of zero where they are read; kernels grow a rim of zeros; blocks take the weights
    of the block before where these have their shape, and begin as the identity.

    Args:
        supernet: Changed in place; without kernel matrices, which make smaller kernels more than centres.
        subnet: The subnet that was trained.

    Raises:
        SubnetNotInSpaceError: The subnet is not the space's.
    """
    assert not supernet.use_kernel_transforms
    own = {layer.name: layer for layer in lower(supernet.space, subnet) if layer.has_weights}
    largest = lower(supernet.space, supernet.space.largest(subnet.resolution))
    for layer in largest:
        if layer.name in own:
            _grow(supernet.layer(layer.name), own[layer.name])
    for layer in largest:
        if layer.has_weights and layer.name not in own:
            _take_from_block_before(supernet, layer)
    for layer in largest:
        if layer.kind == "add" and layer.inputs[0] not in own:
            norm = supernet.layer(layer.inputs[0]).bn
            assert norm is not None
            nn.init.zeros_(norm.weight)
            nn.init.zeros_(norm.bias)


def _grow(module: ElasticLayer, own: LayerSpec) -> None:
    """Fill a layer beyond what the subnet's has of it."""
    weight = module.weighted.weight
    read, rows = own.in_channels // own.groups, own.out_channels
    weight[:, read:] = 0
    if own.kind == "conv":
        rim = torch.ones(weight.shape[-2:], dtype=torch.bool, device=weight.device)
        start = (weight.shape[-1] - own.kernel_size) // 2
        rim[start : start + own.kernel_size, start : start + own.kernel_size] = False
        weight[..., rim] = 0
    copied = torch.arange(len(weight), device=weight.device) % rows
    for tensor in _by_channel(module):
        tensor.copy_(tensor[copied])


def _by_channel(module: ElasticLayer) -> list[Tensor]:
    """Tensors whose first dimension is the layer's output channels."""
    found: list[Tensor | None] = [module.weighted.weight, module.weighted.bias]
    if module.bn is not None:
        found += [module.bn.weight, module.bn.bias, module.bn.running_mean, module.bn.running_var]
    return [tensor for tensor in found if tensor is not None]


def _take_from_block_before(supernet: Supernet, layer: LayerSpec) -> None:
    """Copy a layer of the block before where it has the same shape; blocks are met in order."""
    first, stage, block, rest = layer.name.split(".", 3)
    before = supernet.layer(f"{first}.{stage}.{int(block) - 1}.{rest}")
    pairs = list(zip(_by_channel(supernet.layer(layer.name)), _by_channel(before), strict=True))
    if all(tensor.shape == other.shape for tensor, other in pairs):
        for tensor, other in pairs:
            tensor.copy_(other)
