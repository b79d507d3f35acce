"""Cut one subnet out of a supernet."""

from __future__ import annotations

from torch import Tensor, fx, nn

from ofa_toolkit.modules import ElasticBatchNorm
from ofa_toolkit.spaces.layer_spec import LayerSpec
from ofa_toolkit.spaces.lowering import lower
from ofa_toolkit.spaces.subnet import Subnet
from ofa_toolkit.supernets.network import build_network
from ofa_toolkit.supernets.supernet import Supernet


def extract(supernet: Supernet, subnet: Subnet, *, dropout: float = 0.0) -> fx.GraphModule:
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
        supernet's mode, on its device. It holds `torch.nn` modules only.

    Raises:
        SubnetNotInSpaceError: `subnet` holds a choice the space does not offer.
    """
    layers = lower(supernet.space, subnet)

    def weights(layer: LayerSpec) -> tuple[Tensor, Tensor | None]:
        source = supernet.layer(layer.name).weighted
        bias = source.active_bias(layer)
        weight = source.active_weight(layer).detach()
        return weight.contiguous().clone(), None if bias is None else bias.detach().clone()

    network = build_network(layers, dropout=dropout, weights=weights)
    for layer in layers:
        if layer.batch_norm:
            source = supernet.layer(layer.name).bn
            target = network.get_submodule(f"{layer.name}.bn")
            assert source is not None
            assert isinstance(target, nn.BatchNorm2d)
            _copy_batch_norm(source, target, layer.out_channels)
    network.train(supernet.training)
    return network


def _copy_batch_norm(source: ElasticBatchNorm, target: nn.BatchNorm2d, channels: int) -> None:
    target.momentum = source.momentum
    target.weight = nn.Parameter(source.weight[:channels].detach().clone())
    target.bias = nn.Parameter(source.bias[:channels].detach().clone())
    target.running_mean = source.running_mean[:channels].clone()
    target.running_var = source.running_var[:channels].clone()
    target.num_batches_tracked = source.num_batches_tracked.clone()
