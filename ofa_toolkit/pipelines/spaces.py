"""Summaries of search spaces: what may be chosen, how many subnets there are, and what the extremes cost."""

from __future__ import annotations

from dataclasses import dataclass

from ofa_toolkit.complexity import count_macs, count_params, peak_activation_elements
from ofa_toolkit.spaces import SearchSpace, Subnet, get_space, list_spaces, lower

_FP32_BYTES = 4


@dataclass(frozen=True, kw_only=True)
class SubnetCost:
    """What one subnet costs for one image.

    Attributes:
        resolution: Side of the input image in pixels.
        macs: Multiply-accumulates of convolutions and linear layers.
        params: Weights and biases, batch norm's scale and shift included.
        peak_activation_bytes: Largest sum of activations alive at once, in fp32.
    """

    resolution: int
    macs: int
    params: int
    peak_activation_bytes: int


@dataclass(frozen=True, kw_only=True)
class StageSummary:
    """The choices of one stage, as the space's table has them."""

    block: str
    widths: tuple[int, ...]
    stride: int
    depths: tuple[int, ...]
    kernel_sizes: tuple[int, ...]
    expand_ratios: tuple[float, ...]
    expand_scales: tuple[float, ...]
    depth_to_expand_ratio: tuple[tuple[int, float], ...] | None
    activation: str
    use_se: bool


@dataclass(frozen=True, kw_only=True)
class SpaceSummary:
    """One space in numbers.

    Attributes:
        name: As in `get_space`.
        source: Publication of the space.
        identity: Hash of everything that decides which subnets exist.
        num_classes: Outputs of the classifier that `params` counts.
        num_architectures: Distinct networks, resolutions not counted.
        resolutions: Input sizes offered, in pixels.
        padding: Padding of every convolution, `symmetric` or `same`.
        stages: First stage first.
        smallest: Cost with every choice and the resolution at its minimum.
        largest: Cost with every choice and the resolution at its maximum.
    """

    name: str
    source: str
    identity: str
    num_classes: int
    num_architectures: int
    resolutions: tuple[int, ...]
    padding: str
    stages: tuple[StageSummary, ...]
    smallest: SubnetCost
    largest: SubnetCost


def summarize_spaces() -> tuple[SpaceSummary, ...]:
    """Summaries of all registered spaces, in the order of their table."""
    return tuple(summarize_space(get_space(name)) for name in list_spaces())


def summarize_space(space: SearchSpace) -> SpaceSummary:
    """Put a space into numbers."""
    return SpaceSummary(
        name=space.name,
        source=space.source,
        identity=space.identity,
        num_classes=space.num_classes,
        num_architectures=space.num_architectures,
        resolutions=space.resolutions,
        padding=space.padding,
        stages=tuple(
            StageSummary(
                block=stage.block,
                widths=stage.widths,
                stride=stage.stride,
                depths=stage.depths,
                kernel_sizes=stage.kernel_sizes,
                expand_ratios=stage.expand_ratios,
                expand_scales=stage.expand_scales,
                depth_to_expand_ratio=stage.compound,
                activation=stage.activation,
                use_se=stage.use_se,
            )
            for stage in space.stages
        ),
        smallest=_cost(space, space.smallest()),
        largest=_cost(space, space.largest()),
    )


def _cost(space: SearchSpace, subnet: Subnet) -> SubnetCost:
    layers = lower(space, subnet)
    return SubnetCost(
        resolution=subnet.resolution,
        macs=count_macs(layers),
        params=count_params(layers),
        peak_activation_bytes=_FP32_BYTES * peak_activation_elements(layers),
    )
