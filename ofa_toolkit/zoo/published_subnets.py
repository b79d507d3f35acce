"""Subnets that others searched, fine-tuned and published, as ready architectures.

An entry's `subnets.toml` lists those of its space. Their accuracy is that of the fine-tuned networks; the
same architecture cut out of the supernet, without fine-tuning, has less. A subnet keeps the resolution it
was published with, also where the space does not offer it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from ofa_toolkit.core import config
from ofa_toolkit.core.config import Bounds
from ofa_toolkit.core.errors import ConfigError, FileFormatError
from ofa_toolkit.spaces.subnet import StageChoice, Subnet
from ofa_toolkit.zoo.entries import ZooEntry

SUBNETS_FILE = "subnets.toml"
FORMAT: Literal["ofa-toolkit/published-subnets"] = "ofa-toolkit/published-subnets"


@dataclass(frozen=True, kw_only=True)
class PublishedSubnet:
    """One published network."""

    name: str
    "Published name of the subnet."
    resolution: Annotated[int, Bounds(at_least=1)]
    "Side of the input images in pixels."
    depths: tuple[int, ...]
    "Active blocks of each stage."
    kernel_sizes: tuple[tuple[int, ...], ...]
    "Per stage, the kernel size of each active block."
    expand_ratios: tuple[tuple[float, ...], ...]
    "Per stage, the expand ratio of each active block."
    macs: Annotated[int, Bounds(at_least=1)]
    "Multiply-accumulates of one image."
    top1_percent: Annotated[float, Bounds(at_least=0, at_most=100)]
    "Published ImageNet top-1 accuracy, after fine-tuning."
    finetune_epochs: Annotated[int, Bounds(at_least=1)]
    "Epochs it was fine-tuned for."
    latency_ms: Annotated[float, Bounds(above=0)] | None = None
    "Published latency in milliseconds, rounded by its authors; none where MACs were the target."
    device: str | None = None
    "Device that the latency was measured on."
    batch_size: Annotated[int, Bounds(at_least=1)] | None = None
    "Images a batch of that measurement."
    runtime: str = "unknown"
    "Software of that measurement."
    precision: str = "unknown"
    "Number format of that measurement."

    def __post_init__(self) -> None:
        for field in ("kernel_sizes", "expand_ratios"):
            if tuple(map(len, getattr(self, field))) != self.depths:
                raise ConfigError(f"{field}: needs one value for each active block, stage by stage.")

    @property
    def subnet(self) -> Subnet:
        """The architecture, with its own resolution."""
        choices = zip(self.depths, self.kernel_sizes, self.expand_ratios, strict=True)
        return Subnet(self.resolution, tuple(StageChoice(*choice) for choice in choices))


@dataclass(frozen=True, kw_only=True)
class PublishedSubnets:
    """The content of `subnets.toml`."""

    format: Literal["ofa-toolkit/published-subnets"] = FORMAT
    "The tag of the format."
    version: Literal[1] = 1
    "Version of the format."
    source: str
    "Document that the architectures and figures were read in."
    licence: str
    "Terms of use, as the source states them."
    subnets: tuple[PublishedSubnet, ...]
    "The networks."


@dataclass(frozen=True, kw_only=True)
class ListedSubnet:
    """A published subnet and the entry whose space it belongs to."""

    published: PublishedSubnet
    entry: ZooEntry
    source: str

    def figures(self) -> dict[str, Any]:
        """The subnet's published figures by field name, without the architecture."""
        values = dataclasses.asdict(self.published)
        return {
            name: value
            for name, value in values.items()
            if name not in ("depths", "kernel_sizes", "expand_ratios")
        }


def read_published_subnets(folder: Path) -> PublishedSubnets | None:
    """The published subnets of an entry's folder, or None where it has none.

    Raises:
        FileFormatError: The file breaks its schema.
    """
    path = folder / SUBNETS_FILE
    if not path.is_file():
        return None
    try:
        return config.load_toml(PublishedSubnets, path)
    except ConfigError as error:
        raise FileFormatError(error.message, hint=error.hint) from error


def list_published_subnets(entries: Iterable[ZooEntry]) -> tuple[ListedSubnet, ...]:
    """All published subnets of these entries, cheapest first."""
    found = [
        ListedSubnet(published=subnet, entry=entry, source=content.source)
        for entry in entries
        if (content := read_published_subnets(entry.folder)) is not None
        for subnet in content.subnets
    ]
    return tuple(sorted(found, key=lambda each: each.published.macs))
