"""A device as data: chip, software generation, and the conditions of every latency table it has.

A device is a folder `latency_tables/<name>/` with a `device.toml` and one table file per variant, named
source-runtime-precision-batch. A number carries its conditions, so a variant says how it came about and
how wrong it is on networks it has not seen; what is not known is the text `unknown`, never left to guess.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from ofa_toolkit.core import config, files, toml
from ofa_toolkit.core.config import Bounds
from ofa_toolkit.core.errors import ConfigError, FileFormatError, unknown_name
from ofa_toolkit.core.precision import Precision

DEVICE_FILE = "device.toml"
UNKNOWN = "unknown"

Provenance = Literal["measured", "fitted", "transferred", "modelled"]
"""`measured`: every layer or block was timed on the device. `fitted`: from measurements of whole networks
or operators of the device. `transferred`: from neighbouring devices plus a few measurements of this one.
`modelled`: from specifications and published figures, without a fit to MBConv networks of the device."""

Kind = Literal["gpu", "embedded-gpu", "phone", "npu", "cpu"]

_MOST_LISTED = 2
_NAME = re.compile(r"[a-z0-9]+([.-][a-z0-9]+)*")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True, kw_only=True)
class Software:
    """The newest software generation the device can run; decides what an export for it may use."""

    tensorrt: str = UNKNOWN
    "Newest TensorRT version, `none` where there is no TensorRT."
    opset: Annotated[int, Bounds(at_least=1)] | None = None
    "Highest ONNX operator set that version parses; absent where nothing parses ONNX."
    python: str = UNKNOWN
    "Python version of the device's image, `none` where there is no Python."
    compiler: str | None = None
    "Input of the vendor's own compiler, in words, where files for the device are made by it."


@dataclass(frozen=True, kw_only=True)
class Peak:
    """Figures of the data sheet, dense, without sparsity; absent where there is none."""

    fp32_tflops: Annotated[float, Bounds(above=0)] | None = None
    "Trillion floating point operations per second (2 per MAC) in fp32 outside tensor cores."
    fp16_tflops: Annotated[float, Bounds(above=0)] | None = None
    "Trillion floating point operations per second in fp16, with tensor cores where the chip has them."
    int8_tops: Annotated[float, Bounds(above=0)] | None = None
    "Trillion int8 operations per second, with tensor cores where the chip has them."
    memory_gb_per_s: Annotated[float, Bounds(above=0)] | None = None
    "Memory bandwidth in 10^9 bytes per second."


ErrorKind = Literal["networks", "families", "blocks", "anchors"]
"""What an error is of. `networks`: whole networks that took no part in the fit, of the named space or family.
`families`: whole networks of families that took no part, so that it holds for networks of any family.
`blocks`: single blocks, or sums of them. `anchors`: the very networks that were fitted."""


@dataclass(frozen=True, kw_only=True)
class Error:
    """How wrong a table is, and on what."""

    kind: ErrorKind = "networks"
    "Networks it is of: unseen `networks` of the space, unseen `families`, `blocks`, or fitted `anchors`."
    device: str | None = None
    "Other device it was found on by the same procedure; absent where it is this device's own."
    mape_percent: Annotated[float, Bounds(at_least=0)]
    "Mean absolute error relative to the measurement, in percent."
    spearman: Annotated[float, Bounds(at_least=-1, at_most=1)] | None = None
    "Rank correlation; absent where there are too few networks for one."
    num_networks: Annotated[int, Bounds(at_least=1)]
    "Number of networks that were held out, over all splits."
    split: str
    "Held-out part: random subnets, whole models, whole families, a whole device."
    space: str = UNKNOWN
    "The networks: the name of a search space or of a family (MobileNetV3), or a description."
    within_percent: tuple[float, float] | None = None
    "Range of nine of ten measured times relative to the prediction, in percent."
    deviations: Mapping[str, float] | None = None
    "Signed errors of single networks in percent, where they are few."

    @property
    def listed(self) -> tuple[float, ...]:
        """Signed errors in percent of so few networks that a mean would say less; empty for more."""
        values = tuple((self.deviations or {}).values())
        return values if len(values) <= _MOST_LISTED else ()

    @property
    def worst_percent(self) -> float:
        """The mean, or the largest where each network is listed."""
        return max(map(abs, self.listed), default=self.mape_percent)

    @property
    def how_found(self) -> str:
        """What was held out, and which networks: for the reader of the error."""
        return f"{self.split}; {self.space}"


@dataclass(frozen=True, kw_only=True)
class Variant:
    """The conditions under which a table holds."""

    name: str
    "source-runtime-precision-batch[-power mode]; also the name of the table file."
    source: str
    "Person or project that measured, and the publication; `this machine` for own measurements."
    source_licence: str
    "Licence of the source, SPDX where possible, `none stated` where there is none."
    date: str
    "When the table was made, YYYY-MM-DD."
    runtime: str
    "Software that executed the networks: onnxruntime, pytorch, tensorrt, tensorflow, tflite."
    runtime_version: str = UNKNOWN
    "Version of the runtime."
    precision: Precision
    "Arithmetic of the convolutions: fp32, fp16 or int8."
    batch_size: Annotated[int, Bounds(at_least=1)]
    "Images per run; latencies are those of a whole batch."
    measures: Literal["latency", "throughput"] = "latency"
    "Measured quantity: the time of a batch, or only how many batches a pipelined chip finishes in a stream."
    clocks: str = UNKNOWN
    "Power mode and clocks."
    power_mode: str | None = None
    "Power mode, such as `10w`, with which the name ends; absent where it is unknown or there are none."
    threads: Annotated[int, Bounds(at_least=1)] | None = None
    "CPU threads; absent on other devices."
    provenance: Provenance
    "Whether the table was measured, fitted, transferred or modelled."
    method: str
    "In one sentence how the measurements became a table."
    networks: str
    "In words, which networks were measured."
    is_inferred: tuple[str, ...] = ()
    "Names of the fields that the source does not state and that were inferred."
    errors: tuple[Error, ...] = ()
    "Errors on networks it has not seen; empty means unknown."
    caveats: tuple[str, ...] = ()
    "Reservations that a user must know before trusting it."
    identity: str
    "Hash of the table's content, see `table.LatencyTable`."

    @property
    def has_few_networks(self) -> bool:
        """Whether a fit rests on so few networks that it states where nine of ten lie, not a bound."""
        return self.provenance == "fitted" and any(error.within_percent for error in self.errors)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigError(
                f"name: '{self.name}' is not a variant's name; use lower-case letters, digits, dots and "
                "dashes, as in source-runtime-precision-batch."
            )
        ending = "-".join(["", self.precision, str(self.batch_size), *filter(None, [self.power_mode])])
        if not self.name.endswith(ending):
            raise ConfigError(
                f"name: '{self.name}' must end with '{ending}', the variant's precision, batch size and "
                "power mode."
            )
        if not _DATE.fullmatch(self.date):
            raise ConfigError(f"date: '{self.date}' is not a date; write YYYY-MM-DD.")
        unknown = sorted(set(self.is_inferred) - set(config.to_dict(self)))
        if unknown:
            raise ConfigError(f"is_inferred: '{unknown[0]}' is not a field of a variant.")


@dataclass(frozen=True, kw_only=True)
class Device:
    """A device and the variants of its latency tables."""

    format: Literal["ofa-toolkit/device"] = "ofa-toolkit/device"
    "Tag of the file format."
    version: Literal[1] = 1
    "Version of the file format."
    name: str
    "Name of the folder."
    title: str
    "Name as people write it."
    aliases: Mapping[str, str] | None = None
    "Other names it goes by, each with what then differs from its figures, or an empty text."
    kind: Kind
    "Whether it is a GPU, an embedded GPU, a phone, an NPU or a CPU."
    chip: str
    "Processor that executes the networks."
    compute_capability: str | None = None
    "Compute capability of an NVIDIA GPU, such as 5.3."
    memory_gb: Annotated[float, Bounds(above=0)] | None = None
    "Memory that networks can use, in 10^9 bytes."
    default_variant: str
    "The variant used where none is named."
    software: Software = field(default_factory=Software)
    "Newest software that the device runs."
    peak: Peak = field(default_factory=Peak)
    "Peak figures of the data sheet."
    links: tuple[str, ...] = ()
    "Documents that the figures come from."
    variants: tuple[Variant, ...]
    "Latency tables of the device."

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigError(
                f"name: '{self.name}' is not a device's name; use lower-case letters, digits and dashes."
            )
        names = [variant.name for variant in self.variants]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ConfigError(f"variants: '{repeated[0]}' appears twice.")
        if self.default_variant not in names:
            raise ConfigError(
                f"default_variant: '{self.default_variant}' is not among the variants: {', '.join(names)}."
            )

    def variant(self, name: str | None = None) -> Variant:
        """The variant of that name, the default one for None.

        Raises:
            UnknownNameError: There is none; names the nearest.
        """
        wanted = name or self.default_variant
        for variant in self.variants:
            if variant.name == wanted:
                return variant
        raise unknown_name(f"variant of {self.name}", wanted, [variant.name for variant in self.variants])

    def over(self, base: Device) -> Device:
        """This device with what `base`, another description of it, states beyond it: facts and variants."""
        variants = {variant.name: variant for variant in (*base.variants, *self.variants)}
        return dataclasses.replace(
            self,
            title=base.title if self.title == self.name else self.title,
            aliases={**(base.aliases or {}), **(self.aliases or {})} or None,
            chip=base.chip if self.chip == UNKNOWN else self.chip,
            compute_capability=self.compute_capability or base.compute_capability,
            memory_gb=self.memory_gb or base.memory_gb,
            software=base.software if self.software == Software() else self.software,
            peak=base.peak if self.peak == Peak() else self.peak,
            links=self.links or base.links,
            variants=tuple(variants[name] for name in sorted(variants)),
        )


def read_device(folder: str | os.PathLike[str], below: Iterable[Path] = ()) -> Device:
    """Read `<folder>/device.toml`.

    Args:
        folder: Folder of the device.
        below: Less important folders of the same device (`resources.Entry.below`): their facts and variants
            are added.

    Raises:
        FileFormatError: The file is missing, malformed, or named after another device.
    """
    path = Path(folder) / DEVICE_FILE
    try:
        device = config.from_dict(Device, toml.load(path), source=str(path))
    except ConfigError as error:
        raise FileFormatError(error.message, hint=error.hint) from error
    if device.name != path.parent.resolve().name:
        raise FileFormatError(f"{path}: the device is named '{device.name}', its folder is not.")
    for lower in below:
        device = device.over(read_device(lower))
    return device


def write_device(folder: str | os.PathLike[str], device: Device) -> None:
    """Write `<folder>/device.toml` atomically."""
    header = "# A device and the conditions of its latency tables. Written by ofa-toolkit.\n"
    files.write_text(Path(folder) / DEVICE_FILE, header + config.dumps_toml(device))
