"""What an audit looks at: times, and what is known of the work behind each."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ofa_toolkit.complexity import layer_macs
from ofa_toolkit.core import rng
from ofa_toolkit.core.errors import LatencyTableError
from ofa_toolkit.latency.device import Device, Peak
from ofa_toolkit.latency.entries import EntryPredictor
from ofa_toolkit.latency.space_table import SpaceTable
from ofa_toolkit.latency.table import LatencyTable
from ofa_toolkit.spaces import Encoding, SearchSpace, Subnet, get_space, list_spaces, lower, sample_population
from ofa_toolkit.spaces.layer_spec import LayerSpec
from ofa_toolkit.spaces.units import UnitTables

_NUM_BASES = 12
_CONV = re.compile(
    r"(?P<kind>conv|linear) (?P<cin>\d+)x(?P<sin>\d+) (?P<cout>\d+)x(?P<sout>\d+)"
    r"(?: k(?P<k>\d+))?(?: s\d+)?(?: p\d+)?(?: g(?P<g>\d+))?"
)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One time. Rows of a family differ in one choice only.

    Attributes:
        name: As its file calls it.
        time_ms: The time; in a bad file it may be anything.
        macs: Multiply-accumulates behind it, of the whole batch; 0 if unknown. A 3x3 convolution over all
            channels counts 1 / 2.25 of them, since Winograd's algorithm saves that much.
        kernel_family: What it shares with rows of other kernel sizes; empty for none.
        kernel_size: Side of its kernels.
        width_family: What it shares with rows of other widths; empty for none.
        width: Middle channels, or expand ratio.
        num_runs: Repeats; None if unknown.
        is_whole: Whether it is a whole network.
    """

    name: str
    time_ms: float
    macs: float = 0.0
    kernel_family: str = ""
    kernel_size: int = 0
    width_family: str = ""
    width: float = 0.0
    num_runs: int | None = None
    is_whole: bool = False


@dataclass(frozen=True, kw_only=True)
class AuditTable:
    """Rows that were timed under the same conditions.

    Attributes:
        name: Of the table or file.
        rows: Its times.
        kind: Kind of the device, None if unknown.
        peak: Data sheet of the device.
        precision: Arithmetic; None if unknown.
        has_tf32: Whether fp32 convolutions may run on tensor cores in TF32.
        is_prediction: Whether the rows are predictions of a fitted table, not measurements.
    """

    name: str
    rows: tuple[Row, ...]
    kind: str | None = None
    peak: Peak = dataclasses.field(default_factory=Peak)
    precision: str | None = None
    has_tf32: bool = False
    is_prediction: bool = False


def table_rows(table: LatencyTable) -> list[AuditTable]:
    """A latency table as rows: its stored entries, and its predictions of related subnets."""
    found = []
    batch = table.variant.batch_size
    for predictor in table.content.predictors:
        if isinstance(predictor, EntryPredictor):
            found.append(_audit_table(table, entry_rows(predictor.times_ms, batch), is_prediction=False))
        elif isinstance(predictor, SpaceTable) and predictor.head == "sum":
            times = _stored_units(predictor)
            found.append(_audit_table(table, entry_rows(times, batch), is_prediction=True))
    for name in list_spaces():
        space = get_space(name)
        try:
            bound = table.bind(space)
        except LatencyTableError:
            continue
        if bound.extrapolations:
            continue
        found.append(_audit_table(table, list(_predicted_rows(table, space)), is_prediction=True))
    return [each for each in found if each.rows]


def entry_rows(times_ms: Mapping[str, float], batch_size: int) -> list[Row]:
    """Rows of entries that are named by the signature of their layer or unit."""
    rows = []
    for text, time_ms in times_ms.items():
        kernels = [int(k) for k in re.findall(r"k(\d+)(?: s\d+)?(?: p\d+)? g\d", text)]
        kernel = max(kernels, default=0)
        widths = [int(m["cout"]) for m in _CONV.finditer(text)]
        middle = max(widths, default=0)
        rows.append(
            Row(
                name=text,
                time_ms=time_ms,
                macs=batch_size * signature_macs(text),
                kernel_family=re.sub(r"k\d+((?: s\d+)?(?: p\d+)? g\d)", r"k*\1", text) if kernel > 1 else "",
                kernel_size=kernel,
                width_family=_without_middle(text) if kernel > 1 else "",
                width=middle,
            )
        )
    return rows


def signature_macs(text: str) -> float:
    """MACs of a layer's or unit's signature for one image."""
    total = 0.0
    for match in _CONV.finditer(text):
        kernel, groups = int(match["k"] or 1), int(match["g"] or 1)
        area = 1 if match["kind"] == "linear" else int(match["sout"]) ** 2
        macs = kernel**2 * int(match["cin"]) / groups * int(match["cout"]) * area
        total += macs / (2.25 if kernel == 3 and groups == 1 else 1)
    return total


def network_macs(layers: Iterable[LayerSpec]) -> float:
    """MACs of one image, 3x3 convolutions over all channels at what Winograd's algorithm leaves of them."""
    return sum(
        layer_macs(layer) / (2.25 if layer.kernel_size == 3 and layer.groups == 1 else 1) for layer in layers
    )


def _audit_table(table: LatencyTable, rows: Sequence[Row], *, is_prediction: bool) -> AuditTable:
    return AuditTable(
        name=table.name,
        rows=tuple(rows),
        kind=table.device.kind,
        peak=table.device.peak,
        precision=table.variant.precision,
        has_tf32=_has_tf32(table.device),
        is_prediction=is_prediction,
    )


def _has_tf32(device: Device) -> bool:
    return device.compute_capability is not None and float(device.compute_capability) >= 8.0


def _without_middle(text: str) -> str:
    """A block's signature with the channels between its first and last convolution left open."""
    found = list(_CONV.finditer(text))
    if len(found) < 2:
        return ""
    first, last = found[0], found[-1]
    groups = next((m["g"] for m in found if m["g"]), None)
    if groups is None:
        return ""
    # What a squeeze-excite branch narrows to follows from the middle width and is left open with it.
    kernels = "-".join(m["k"] or "1" for m in found)
    ends = f"{first['cin']}x{first['sin']} {last['cout']}x{last['sout']}"
    activations = " ".join(re.findall(r"relu6?|h_swish|swish", text))
    return f"{ends} k{kernels} {activations} {text.count(';')}"


def _stored_units(predictor: SpaceTable) -> dict[str, float]:
    """Entries of a table of units by their signature."""
    from ofa_toolkit.latency.signature import unit_signature

    units = UnitTables(predictor.space)
    times: dict[str, float] = {}
    for row, by_unit in units.combinations():
        for unit, index, table in zip(units.units, units.indices(row[None]), predictor.tables, strict=True):
            if by_unit[unit.name]:
                times.setdefault(unit_signature(by_unit[unit.name]), float(table[index[0], 0]))
    return times


def _predicted_rows(table: LatencyTable, space: SearchSpace) -> Iterator[Row]:
    """Predictions for random subnets, each with one kernel size or one expand ratio everywhere."""
    encoding = Encoding(space)
    bases = encoding.decode(sample_population(space, _NUM_BASES, rng.generator(0, "audit")))
    rows: list[tuple[Subnet, Row]] = []
    for number, base in enumerate(bases):
        size = f"{space.name}, random subnet {number} at {base.resolution}"
        for kernel in sorted({k for stage in space.stages for k in stage.kernel_sizes}):
            subnet = _everywhere(space, base, kernel_size=kernel)
            row = Row(name=f"{size}, kernels {kernel}", time_ms=0.0, kernel_family=size, kernel_size=kernel)
            rows.append((subnet, row))
        for ratio in sorted({e for stage in space.stages for e in stage.expand_ratios}):
            subnet = _everywhere(space, base, expand_ratio=ratio)
            rows.append(
                (subnet, Row(name=f"{size}, ratios {ratio:g}", time_ms=0.0, width_family=size, width=ratio))
            )
    rows = [(subnet, row) for subnet, row in rows if subnet in space]
    population = encoding.encode([subnet for subnet, _ in rows])
    bound = table.bind(space)
    population_is_covered = bound.is_covered(population)
    if not population_is_covered.any():
        return
    times = np.full(len(rows), np.nan)
    times[population_is_covered] = bound.predict(population[population_is_covered])
    for (subnet, row), time_ms, is_covered in zip(rows, times, population_is_covered, strict=True):
        if is_covered:
            macs = table.variant.batch_size * network_macs(lower(space, subnet))
            yield dataclasses.replace(row, time_ms=float(time_ms), macs=macs, is_whole=True)


def _everywhere(
    space: SearchSpace, base: Subnet, *, kernel_size: int | None = None, expand_ratio: float | None = None
) -> Subnet:
    """A subnet with one choice in every block that offers it."""
    stages = []
    for stage, choice in zip(space.stages, base.stages, strict=True):
        kernels, ratios = choice.kernel_sizes, choice.expand_ratios
        if kernel_size in stage.kernel_sizes and kernel_size is not None:
            kernels = (kernel_size,) * choice.depth
        if expand_ratio in stage.allowed_expand_ratios(choice.depth) and expand_ratio is not None:
            ratios = (expand_ratio,) * choice.depth
        stages.append(dataclasses.replace(choice, kernel_sizes=kernels, expand_ratios=ratios))
    return Subnet(base.resolution, tuple(stages))
