"""Layer features of networks of torchvision and timm, from the operators that one image runs through.

Nothing is computed: the networks live on torch's `meta` device. Batch norm folds into the convolution before
it and counts nothing; what these features cannot express (attention, layer norm) is named.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ofa_toolkit.latency.predictors.layer_features import LAYER_FEATURES

_MILLION = 1e6
_SMOOTH = ("hardswish", "silu", "hardsigmoid", "sigmoid", "gelu")
_POOLS = ("max_pool2d", "avg_pool2d", "mean", "_adaptive_avg_pool2d", "adaptive_avg_pool2d")
_NOT_EXPRESSED = {"_softmax": "attention", "native_layer_norm": "layer norm", "bmm": "attention"}


@dataclass(frozen=True, kw_only=True)
class TracedNetwork:
    """A network at one input size.

    Attributes:
        features: In the order of `LAYER_FEATURES`.
        num_params: Parameters.
        not_expressed: What it does beside, such as attention.
    """

    features: npt.NDArray[np.float64]
    num_params: int
    not_expressed: frozenset[str]


class _Counter(TorchDispatchMode):
    """Adds up what each operator does."""

    def __init__(self) -> None:
        super().__init__()
        self.sums = dict.fromkeys(LAYER_FEATURES, 0.0)
        self.not_expressed: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func._schema.name.removeprefix("aten::").removesuffix("_")
        if name == "convolution":
            self._convolution(args[0].shape, args[1].shape, result.shape, args[8])
        elif name in ("addmm", "mm"):
            first, second = args[-2:]
            self._linear(first.shape[0], *second.shape)
        elif name in _SMOOTH:
            if _is_map(result):
                self._add("smooth_out", result.numel())
        elif name == "add" and _is_map(result) and isinstance(args[1], torch.Tensor):
            self._add("add_out", result.numel())
            self.sums["num_adds"] += 1
        elif name == "mul" and _is_map(result) and isinstance(args[1], torch.Tensor):
            self._add("scale_out", result.numel())
            self.sums["num_scales"] += 1
        elif name.startswith(_POOLS):
            self._add("pool_in", args[0].numel())
        elif name in _NOT_EXPRESSED:
            self.not_expressed.add(_NOT_EXPRESSED[name])
        return result

    def _add(self, name: str, amount: float) -> None:
        self.sums[name] += amount / _MILLION

    def _convolution(self, read: Any, weight: Any, written: Any, groups: int) -> None:
        positions = prod(written[2:])
        if prod(read[2:]) == 1:
            self._add("vector_weights", prod(weight))
            self.sums["num_vector_layers"] += 1
            return
        kind = "pointwise" if prod(weight[2:]) == 1 and groups == 1 else "dense"
        kind = "depthwise" if groups == read[1] > 1 else kind
        self._work(kind, prod(weight), positions, prod(read), prod(written))

    def _linear(self, positions: int, num_in: int, num_out: int) -> None:
        if positions == 1:
            self._add("vector_weights", num_in * num_out)
            self.sums["num_vector_layers"] += 1
        else:
            self._work("pointwise", num_in * num_out, positions, positions * num_in, positions * num_out)

    def _work(self, kind: str, weights: int, positions: int, read: int, written: int) -> None:
        self._add(f"{kind}_macs", weights * positions)
        self._add(f"{kind}_weights", weights)
        self._add(f"{kind}_in", read)
        self._add(f"{kind}_out", written)
        self.sums["num_convolutions"] += 1


def _is_map(value: torch.Tensor) -> bool:
    """Whether a value has more than one position: not a vector of squeeze-excite."""
    return value.ndim == 4 and prod(value.shape[2:]) > 1


def trace(build: Callable[[], torch.nn.Module], resolution: int) -> TracedNetwork:
    """Features of one image of `(3, resolution, resolution)`."""
    with torch.device("meta"), torch.no_grad():
        network = build().eval()
        counter = _Counter()
        with counter:
            network(torch.empty(1, 3, resolution, resolution))
    return TracedNetwork(
        features=np.array([counter.sums[name] for name in LAYER_FEATURES]),
        num_params=sum(parameter.numel() for parameter in network.parameters()),
        not_expressed=frozenset(counter.not_expressed),
    )


def _torchvision(name: str, **options: Any) -> Callable[[], torch.nn.Module]:
    def build() -> torch.nn.Module:
        import torchvision.models

        return torchvision.models.get_model(name, weights=None, **options)

    return build


def _timm(name: str) -> Callable[[], torch.nn.Module]:
    def build() -> torch.nn.Module:
        import timm

        return timm.create_model(name, pretrained=False)

    return build


QUALCOMM_NETWORKS: Mapping[str, tuple[Callable[[], torch.nn.Module], int]] = {
    "dla102x": (_timm("dla102x"), 224),
    "efficientnet_b4": (_torchvision("efficientnet_b4"), 380),
    "efficientnet_lite4": (_timm("tf_efficientnet_lite4"), 300),
    "efficientnet_v2_s": (_torchvision("efficientnet_v2_s"), 384),
    "googlenet": (_torchvision("googlenet", init_weights=False, aux_logits=False), 224),
    "inception_v3": (_torchvision("inception_v3", init_weights=False, aux_logits=False), 299),
    "inception_v4": (_timm("inception_v4"), 299),
    "mobilenet_v2": (_torchvision("mobilenet_v2"), 224),
    "mobilenet_v3_small": (_torchvision("mobilenet_v3_small"), 224),
    "nasnet": (_timm("nasnetalarge"), 331),
    "repvit": (_timm("repvit_m2_3"), 224),
    "resnet18": (_torchvision("resnet18"), 224),
    "resnet50": (_torchvision("resnet50"), 224),
    "resnet101": (_torchvision("resnet101"), 224),
    "resnext50": (_torchvision("resnext50_32x4d"), 224),
    "resnext101": (_torchvision("resnext101_32x8d"), 224),
    "shufflenet_v2": (_torchvision("shufflenet_v2_x0_5"), 224),
    "squeezenet1_1": (_torchvision("squeezenet1_1"), 224),
    "wideresnet50": (_torchvision("wide_resnet50_2"), 224),
}
"""Networks of Qualcomm's AI Hub Models 0.65.0 with the input sizes its model definitions state. Left out:
networks with attention or layer norm (ConvNeXt, EfficientFormer, EfficientViT, LeViT, MobileViT, and
transformers), DenseNet, whose batch norms fold into nothing, GPUNet, which neither torchvision nor timm has,
and InternImage."""

HAILO_NETWORKS: Mapping[str, tuple[Callable[[], torch.nn.Module], int]] = {
    "efficientnet_lite0": (_timm("tf_efficientnet_lite0"), 224),
    "efficientnet_lite2": (_timm("tf_efficientnet_lite2"), 260),
    "efficientnet_lite3": (_timm("tf_efficientnet_lite3"), 280),
    "efficientnet_lite4": (_timm("tf_efficientnet_lite4"), 300),
    "efficientnet_s": (_timm("tf_efficientnet_es"), 224),
    "efficientnet_l": (_timm("tf_efficientnet_el"), 300),
    "inception_v1": (_torchvision("googlenet", init_weights=False, aux_logits=False), 224),
    "mobilenet_v1": (_timm("mobilenetv1_100"), 224),
    "mobilenet_v2_1.0": (_torchvision("mobilenet_v2"), 224),
    "regnetx_800mf": (_timm("regnetx_008"), 224),
    "repghost_1_0x": (_timm("repghostnet_100"), 224),
    "repghost_2_0x": (_timm("repghostnet_200"), 224),
    "repvgg_a1": (_timm("repvgg_a1"), 224),
    "repvgg_a2": (_timm("repvgg_a2"), 224),
    "resnet_v1_18": (_torchvision("resnet18"), 224),
    "resnet_v1_34": (_torchvision("resnet34"), 224),
    "resnet_v1_50": (_torchvision("resnet50"), 224),
    "resnext50_32x4d": (_torchvision("resnext50_32x4d"), 224),
    "squeezenet_v1.1": (_torchvision("squeezenet1_1"), 224),
}
"""Convolutional networks of Hailo's model zoo with their input sizes. Left out: networks with attention, and
HarDNet68 and ResNeXt26 32x4d, which neither torchvision nor timm has in that form."""

NCNN_NETWORKS: Mapping[str, tuple[Callable[[], torch.nn.Module], int]] = {
    "squeezenet": (_torchvision("squeezenet1_1"), 227),
    "mobilenet": (_timm("mobilenetv1_100"), 224),
    "mobilenet_v2": (_torchvision("mobilenet_v2"), 224),
    "mobilenet_v3": (_torchvision("mobilenet_v3_large"), 224),
    "shufflenet_v2": (_torchvision("shufflenet_v2_x1_0"), 224),
    "mnasnet": (_torchvision("mnasnet1_0"), 224),
    "efficientnet_b0": (_torchvision("efficientnet_b0"), 224),
    "efficientnetv2_b0": (_timm("tf_efficientnetv2_b0"), 224),
    "regnety_400m": (_timm("regnety_004"), 224),
    "googlenet": (_torchvision("googlenet", init_weights=False, aux_logits=False), 224),
    "resnet18": (_torchvision("resnet18"), 224),
    "resnet50": (_torchvision("resnet50"), 224),
}
"""Convolutional networks of ncnn's list with the input sizes of its program, recognised by their numbers of
weights. Left out: AlexNet, VGG-16, ShuffleNet V1, ProxylessNAS, detectors, and int8 files."""
