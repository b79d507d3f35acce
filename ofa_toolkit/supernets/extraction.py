"""Cut one subnet out of a supernet."""

from __future__ import annotations

import torch

from ofa_toolkit.modules import ElasticLayer
from ofa_toolkit.spaces.layer_spec import LayerSpec
from ofa_toolkit.spaces.lowering import lower
from ofa_toolkit.spaces.subnet import Subnet
from ofa_toolkit.supernets.extracted import ExtractedNetwork, mark_maps
from ofa_toolkit.supernets.network import Tensors, build_network
from ofa_toolkit.supernets.supernet import Supernet


@torch.no_grad()
def extract(supernet: Supernet, subnet: Subnet, *, dropout: float = 0.0) -> ExtractedNetwork:
    """Copy one subnet out of the supernet as a plain network.

    Output equals `supernet(images, subnet)` in evaluation mode to float32 rounding. Batch-norm statistics
    are the supernet's: call `recalibrate_batchnorm` before judging accuracy.
    Source: OFA (Cai et al. 2020), section 3; kernel transforms are applied once, here.

    Args:
        supernet: Left unchanged; no storage is shared with the result.
        subnet: A member of `supernet.space`.
        dropout: Probability before the classifier, for fine-tuning; 0 adds none.

    Returns:
        Network from `(N, 3, R, R)` images to `(N, num_classes)` logits, R = `subnet.resolution`, in the
        supernet's mode, on its device. It holds `torch.nn` modules only; `network.features(images)` gives
        its maps at strides 8, 16 and 32.

    Raises:
        SubnetNotInSpaceError: `subnet` holds a choice the space does not offer.
    """
    layers = lower(supernet.space, subnet)
    network = build_network(
        layers,
        dropout=dropout,
        bn_momentum=supernet.bn_momentum,
        tensors_of=lambda layer: _copied(supernet.layer(layer.name), layer),
        module_class=ExtractedNetwork,
    )
    assert isinstance(network, ExtractedNetwork)
    mark_maps(network, layers)
    return network if supernet.training else network.eval()


def _copied(source: ElasticLayer, layer: LayerSpec) -> tuple[Tensors, Tensors | None]:
    """Copies of the slices a layer uses: of its weighted part, and of its batch norm."""
    part = source.weighted
    bias = part.active_bias(layer)
    weighted = {"weight": part.active_weight(layer).clone(memory_format=torch.contiguous_format)}
    if bias is not None:
        weighted["bias"] = bias.clone()
    if source.bn is None:
        return weighted, None
    norm = source.bn
    channels = slice(layer.out_channels)
    return weighted, {
        "weight": norm.weight[channels].clone(),
        "bias": norm.bias[channels].clone(),
        "running_mean": norm.running_mean[channels].clone(),
        "running_var": norm.running_var[channels].clone(),
        "num_batches_tracked": norm.num_batches_tracked.clone(),
    }
