"""Search spaces: which subnets exist, how they are encoded, sampled and lowered to layers (no torch)."""

from __future__ import annotations

from ofa_toolkit.core.errors import unknown_name
from ofa_toolkit.core.registry import Registry
from ofa_toolkit.spaces.compound import (
    COMPOUND_ELASTIC_KERNEL_SUFFIX,
    COMPOUND_SUFFIX,
    compound,
    restrict,
)
from ofa_toolkit.spaces.encoding import Encoding, Population
from ofa_toolkit.spaces.layer_spec import LayerSpec
from ofa_toolkit.spaces.lowering import lower
from ofa_toolkit.spaces.sampling import sample_population, sample_subnets
from ofa_toolkit.spaces.space import SearchSpace, Stage
from ofa_toolkit.spaces.subnet import StageChoice, Subnet

SPACES: Registry[SearchSpace] = Registry(
    "search space",
    {
        "ofa-mobilenet-v3-w1.0": "ofa_toolkit.spaces.ofa_mobilenet_v3:W10",
        "ofa-mobilenet-v3-w1.2": "ofa_toolkit.spaces.ofa_mobilenet_v3:W12",
        "ofa-proxyless-w1.3": "ofa_toolkit.spaces.ofa_proxyless:W13",
        "ofa-resnet50": "ofa_toolkit.spaces.ofa_resnet50:SPACE",
        "deps-mobilenet-v3-cifar": "ofa_toolkit.spaces.deps_mobilenet_v3_cifar:SPACE",
        "mobilenet-v3-compact": "ofa_toolkit.spaces.mobilenet_v3_compact:SPACE_32",
        "mobilenet-v3-compact-96": "ofa_toolkit.spaces.mobilenet_v3_compact:SPACE_96",
        "proxyless-compact": "ofa_toolkit.spaces.proxyless_compact:SPACE_32",
        "mobilenet-v2": "ofa_toolkit.spaces.mobilenet_v2:SPACE",
        "mobilenet-v3-small": "ofa_toolkit.spaces.mobilenet_v3:SMALL",
        "mobilenet-v3-large": "ofa_toolkit.spaces.mobilenet_v3:LARGE",
        "mnasnet-w1.0": "ofa_toolkit.spaces.mnasnet:W10",
        "efficientnet-b0": "ofa_toolkit.spaces.efficientnet:B0",
        "efficientnet-lite0": "ofa_toolkit.spaces.efficientnet_lite:LITE0",
        "efficientnet-lite1": "ofa_toolkit.spaces.efficientnet_lite:LITE1",
        "efficientnet-lite2": "ofa_toolkit.spaces.efficientnet_lite:LITE2",
    },
)


def get_space(name: str) -> SearchSpace:
    """A registered space, or the compound restriction of one (`<name>-compound[-elastic-kernel]`).

    Raises:
        UnknownNameError: No such space.
        ConfigError: The space has no compound restriction.
    """
    if name in SPACES:
        return SPACES[name]
    for suffix, elastic_kernel in ((COMPOUND_ELASTIC_KERNEL_SUFFIX, True), (COMPOUND_SUFFIX, False)):
        base = name.removesuffix(suffix)
        if base != name and base in SPACES:
            return compound(SPACES[base], elastic_kernel=elastic_kernel)
    raise unknown_name("search space", name, SPACES)


def list_spaces() -> list[str]:
    """Names of the registered spaces."""
    return list(SPACES)


__all__ = [
    "SPACES",
    "Encoding",
    "LayerSpec",
    "Population",
    "SearchSpace",
    "Stage",
    "StageChoice",
    "Subnet",
    "compound",
    "get_space",
    "list_spaces",
    "lower",
    "restrict",
    "sample_population",
    "sample_subnets",
]
