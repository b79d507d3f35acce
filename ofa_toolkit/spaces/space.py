"""A search space as data: fixed parts, and the choices of every stage."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar

from ofa_toolkit.core.errors import SubnetNotInSpaceError
from ofa_toolkit.spaces import space_rules as rules
from ofa_toolkit.spaces.layer_spec import Activation, Padding
from ofa_toolkit.spaces.subnet import StageChoice, Subnet

BlockKind = Literal["mbconv", "bottleneck", "resnet_stem"]

# Fields that came later: left out of documents and identities where they say what all spaces did before.
_LATER: dict[str, Any] = {"is_later": True}

Number = TypeVar("Number", int, float)


class _Pick(Protocol):
    """`min` or `max`."""

    def __call__(self, values: Iterable[Number], /) -> Number: ...


@dataclass(frozen=True, kw_only=True)
class Stem:
    """The fixed start of the MobileNet spaces: a 3x3 convolution and one MBConv block without expansion.

    Attributes:
        width: Output channels of the first convolution.
        stride: Stride of the stem convolution.
        activation: Activation of the stem convolution.
        block_width: Output channels of the block (3x3 depthwise, then 1x1).
        block_activation: Activation after the block's depthwise convolution.
        block_shortcut: Whether the block adds its input (only possible at stride 1, where the widths agree).
        block_stride: Stride of the block's depthwise convolution.
        block_use_se: Whether the block has squeeze-excite.
    """

    width: int
    stride: int
    activation: Activation
    block_width: int
    block_activation: Activation
    block_shortcut: bool
    block_stride: int = field(default=1, metadata=_LATER)
    block_use_se: bool = field(default=False, metadata=_LATER)

    def __post_init__(self) -> None:
        rules.check_numbers(width=self.width, block_width=self.block_width, stride=self.stride)
        rules.check_numbers(block_stride=self.block_stride)
        rules.check_shortcut(self.block_shortcut, self.width, self.block_width, self.block_stride)


@dataclass(frozen=True, kw_only=True)
class SqueezeExcite:
    """What the squeeze-excite branches of a space are like. Defaults: MobileNetV3's.

    Attributes:
        reduces: Of what the hidden width is a quarter: of the `middle` channels that the branch scales,
            rounded to a multiple of 8, or of the block's `input`, rounded down (EfficientNet).
        activation: After the first layer.
        gate: After the second.
    """

    reduces: Literal["middle", "input"] = "middle"
    activation: Activation = "relu"
    gate: Activation = "h_sigmoid"


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A run of blocks of equal width, and what may be chosen in it. Choices are sorted ascending.

    Attributes:
        block: `mbconv` (inverted residual; expand ratio of the block's input), `bottleneck`
            (ResNet-D; ratio of the output), or `resnet_stem` (3x3 convolutions; ratio unused).
        widths: Output channels offered; a single entry means the width is not elastic.
        stride: Stride of the first block; the others have 1.
        activation: Activation inside the blocks.
        use_se: Whether the blocks have squeeze-excite.
        depths: Numbers of active blocks offered.
        kernel_sizes: Kernel sizes offered, for each block on its own.
        expand_ratios: Expand ratios offered, for each block on its own.
        compound: Pairs (depth, expand ratio) that tie every block's ratio to the stage's depth
            (CompOFA, section 3), or None where they are independent.
        max_pool: Whether a 3x3 max pool of stride 2 follows the stage.
        expand_scales: Factor on the expand ratio of each block, for networks whose published ratios differ
            within a stage; empty where all are 1.
    """

    block: BlockKind = "mbconv"
    widths: tuple[int, ...]
    stride: int
    activation: Activation
    use_se: bool = False
    depths: tuple[int, ...]
    kernel_sizes: tuple[int, ...]
    expand_ratios: tuple[float, ...]
    compound: tuple[tuple[int, float], ...] | None = None
    max_pool: bool = False
    expand_scales: tuple[float, ...] = field(default=(), metadata=_LATER)

    def __post_init__(self) -> None:
        rules.check_numbers(stride=self.stride)
        for name in ("widths", "depths", "kernel_sizes", "expand_ratios"):
            object.__setattr__(self, name, rules.choices(name, getattr(self, name)))
        if self.compound is not None:
            pairs = rules.compound_pairs(self.compound, self.depths, self.expand_ratios)
            object.__setattr__(self, "compound", pairs)
        rules.check_block_choices(self.kernel_sizes, self.expand_ratios)
        scales = rules.expand_scales(self.expand_scales, self.max_depth)
        object.__setattr__(self, "expand_scales", scales)

    @property
    def max_depth(self) -> int:
        """Number of blocks the supernet holds."""
        return max(self.depths)

    @property
    def has_elastic_width(self) -> bool:
        """Whether more than one width is offered."""
        return len(self.widths) > 1

    def expand_scale(self, block: int) -> float:
        """Factor on the expand ratio of one block, counted from 0."""
        return self.expand_scales[block] if self.expand_scales else 1

    def allowed_expand_ratios(self, depth: int) -> tuple[float, ...]:
        """Expand ratios a block may take when the stage has `depth` active blocks."""
        if self.compound is None:
            return self.expand_ratios
        return tuple(ratio for d, ratio in self.compound if d == depth)

    def num_choices(self) -> int:
        """Number of distinct choices of this stage."""
        free_ratios = 1 if self.compound is not None else len(self.expand_ratios)
        per_block = len(self.kernel_sizes) * free_ratios
        return len(self.widths) * sum(int(per_block**depth) for depth in self.depths)


@dataclass(frozen=True, kw_only=True)
class Head:
    """The fixed end of a space, before the classifier.

    Attributes:
        expand_width: Channels of a 1x1 convolution with batch norm before the global pool, or None.
        mix_width: Channels of a 1x1 convolution after the pool, without batch norm, or None.
        activation: Activation of both.
        mix_bias: Whether that convolution after the pool has a bias.
    """

    expand_width: int | None = None
    mix_width: int | None = None
    activation: Activation = "relu"
    mix_bias: bool = field(default=False, metadata=_LATER)

    def __post_init__(self) -> None:
        widths = {"expand_width": self.expand_width, "mix_width": self.mix_width}
        rules.check_numbers(**{name: width for name, width in widths.items() if width is not None})


@dataclass(frozen=True, kw_only=True)
class SearchSpace:
    """All subnets of one elastic network family, as a frozen value.

    What cannot be built is refused on construction (`ConfigError` names the field).

    Attributes:
        name: Name in the table of spaces; derived spaces carry a suffix.
        source: Publication of the space.
        stem: Fixed start, or None where the first stage reads the image.
        stages: The elastic stages.
        head: Fixed end.
        resolutions: Input sizes offered, in pixels, ascending.
        num_classes: Outputs of the classifier; a property of the use, not of the space's identity.
        bn_eps: Epsilon of every batch norm.
        single_resolutions: Input sizes, in pixels, of single published networks beyond the offered ones.
            Such a subnet can be built and run; it is neither sampled nor encoded, and tables and
            predictors say nothing of it. Not part of the identity.
        padding: Zeros around the input of every convolution.
        squeeze_excite: Form of squeeze-excite branches, where there are any.
    """

    name: str
    source: str = ""
    stem: Stem | None = None
    stages: tuple[Stage, ...]
    head: Head = field(default_factory=Head)
    resolutions: tuple[int, ...]
    num_classes: int = 1000
    bn_eps: float = 1e-5
    single_resolutions: tuple[int, ...] = ()
    padding: Padding = field(default="symmetric", metadata=_LATER)
    squeeze_excite: SqueezeExcite = field(default=SqueezeExcite(), metadata=_LATER)

    def __post_init__(self) -> None:
        rules.check_name(self.name)
        rules.check_numbers(num_classes=self.num_classes)
        rules.check_bn_eps(self.bn_eps)
        object.__setattr__(self, "stages", tuple(self.stages))
        rules.check_depths(stage.max_depth for stage in self.stages)
        for name in ("resolutions", "single_resolutions"):
            object.__setattr__(self, name, rules.choices(name, getattr(self, name), may_be_empty=True))
            rules.check_least(name, getattr(self, name), self.least_resolution)

    @property
    def identity(self) -> str:
        """Hash of everything that decides which subnets exist and how they are built.

        Name, source and number of classes do not enter: a predictor for ten classes still
        describes the same architectures.
        """
        fields = plain_values(self)
        for neutral in ("name", "source", "num_classes", "single_resolutions"):
            del fields[neutral]
        text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def num_architectures(self) -> int:
        """Number of distinct networks, resolutions not counted."""
        return math.prod(stage.num_choices() for stage in self.stages)

    @property
    def least_resolution(self) -> int:
        """The smallest input, in pixels, of which the last layer with a stride sees more than one pixel."""
        strides = [] if self.stem is None else [self.stem.stride, self.stem.block_stride]
        for stage in self.stages:
            strides += [stage.stride, 2 if stage.max_pool else 1]
        *before, _ = [stride for stride in strides if stride > 1] or [1]
        return math.prod(before) + 1 if max(strides) > 1 else 1

    def with_num_classes(self, num_classes: int) -> SearchSpace:
        """The same space for another number of classes."""
        return dataclasses.replace(self, num_classes=num_classes)

    def with_resolutions(self, resolutions: tuple[int, ...]) -> SearchSpace:
        """The same architectures at other input sizes (pixels)."""
        return dataclasses.replace(self, resolutions=tuple(sorted(resolutions)))

    def largest(self, resolution: int | None = None) -> Subnet:
        """Every choice at its maximum; the largest resolution unless one is given."""
        return self._extreme(max, resolution)

    def smallest(self, resolution: int | None = None) -> Subnet:
        """Every choice at its minimum; the smallest resolution unless one is given."""
        return self._extreme(min, resolution)

    def _extreme(self, pick: _Pick, resolution: int | None) -> Subnet:
        stages = []
        for stage in self.stages:
            depth = pick(stage.depths)
            stages.append(
                StageChoice(
                    depth=depth,
                    kernel_sizes=(pick(stage.kernel_sizes),) * depth,
                    expand_ratios=(pick(stage.allowed_expand_ratios(depth)),) * depth,
                    width=pick(stage.widths) if stage.has_elastic_width else None,
                )
            )
        return Subnet(pick(self.resolutions) if resolution is None else resolution, tuple(stages))

    @property
    def has_one_architecture(self) -> bool:
        """Whether nothing is elastic but the resolution."""
        return self.num_architectures == 1

    @property
    def has_one_subnet(self) -> bool:
        """Whether nothing is elastic: one network, at one resolution."""
        return self.has_one_architecture and len(self.resolutions) == 1

    def check(self, subnet: Subnet) -> None:
        """Raise `SubnetNotInSpaceError` naming the first choice this space does not offer."""
        if subnet.resolution not in (*self.resolutions, *self.single_resolutions):
            self._refuse("resolution", subnet.resolution, self.resolutions)
        self.check_architecture(subnet)

    def check_size(self, resolution: int) -> None:
        """Raise `SubnetNotInSpaceError` for an input too small for any network of this space."""
        if resolution < self.least_resolution:
            raise SubnetNotInSpaceError(
                f"{rules.too_few(resolution, self.name)} The least is {self.least_resolution}."
            )

    def check_architecture(self, subnet: Subnet) -> None:
        """As `check`, at any resolution: the layers do not depend on it, so the network can be built."""
        if len(subnet.stages) != len(self.stages):
            raise SubnetNotInSpaceError(
                f"The subnet has {len(subnet.stages)} stages; {self.name} has {len(self.stages)}."
            )
        for index, (stage, choice) in enumerate(zip(self.stages, subnet.stages, strict=True)):
            self._check_stage(f"Stage {index + 1}", stage, choice)

    def __contains__(self, subnet: object) -> bool:
        if not isinstance(subnet, Subnet):
            return False
        try:
            self.check(subnet)
        except SubnetNotInSpaceError:
            return False
        return True

    def _check_stage(self, where: str, stage: Stage, choice: StageChoice) -> None:
        if choice.depth not in stage.depths:
            self._refuse(f"{where}: depth", choice.depth, stage.depths)
        for what, values in (("kernel sizes", choice.kernel_sizes), ("expand ratios", choice.expand_ratios)):
            if len(values) != choice.depth:
                raise SubnetNotInSpaceError(
                    f"{where}: {len(values)} {what} for {choice.depth} blocks; give one per active block."
                )
        for kernel_size in choice.kernel_sizes:
            if kernel_size not in stage.kernel_sizes:
                self._refuse(f"{where}: kernel size", kernel_size, stage.kernel_sizes)
        allowed = stage.allowed_expand_ratios(choice.depth)
        for ratio in choice.expand_ratios:
            if ratio not in allowed:
                self._refuse(f"{where}: expand ratio", ratio, allowed)
        if stage.has_elastic_width:
            if choice.width not in stage.widths:
                self._refuse(f"{where}: width", choice.width, stage.widths)
        elif choice.width is not None and choice.width != stage.widths[0]:
            self._refuse(f"{where}: width", choice.width, stage.widths)

    def _refuse(self, what: str, value: object, allowed: tuple[float, ...]) -> None:
        offered = ", ".join(f"{v:g}" for v in allowed)
        raise SubnetNotInSpaceError(
            f"{what} {value} is not offered; {self.name} offers {offered}.",
            hint=f"`ofa-tk spaces show {self.name}` lists every choice.",
        )


def plain_values(value: Any) -> Any:
    """A space, or a part of one, as plain values, without later fields at their default."""
    if isinstance(value, tuple):
        return [plain_values(item) for item in value]
    if not dataclasses.is_dataclass(value):
        return value
    kept = (
        each
        for each in dataclasses.fields(value)
        if not (each.metadata.get("is_later") and getattr(value, each.name) == each.default)
    )
    return {each.name: plain_values(getattr(value, each.name)) for each in kept}
