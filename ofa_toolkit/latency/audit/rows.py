"""What an audit looks at: times, and what is known of the work behind each."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ofa_toolkit.complexity import layer_macs
from ofa_toolkit.core import rng
from ofa_toolkit.core.errors import LatencyTableError
from ofa_toolkit.latency.device import Device, Peak
from ofa_toolkit.latency.predictors.entries import EntryPredictor
from ofa_toolkit.latency.predictors.signature import unit_signature
from ofa_toolkit.latency.predictors.space_table import SpaceTable
from ofa_toolkit.latency.table import LatencyTable
from ofa_toolkit.spaces import Encoding, SearchSpace, Subnet, get_space, lower, sample_population
from ofa_toolkit.spaces.layer_spec import LayerSpec
from ofa_toolkit.spaces.units import UnitTables

_NUM_BASES = 12
_GENERAL_RESOLUTIONS = (160, 224)
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
        kernel_family: Text that it shares with rows of other kernel sizes; empty for none.
        kernel_size: Side of its kernels.
        width_family: Text that it shares with rows of other widths; empty for none.
        width: Middle channels, or expand ratio.
        num_runs: Repeats; None if unknown.
        is_whole: Whether it is a whole network.
        cell: The timed network, to find it in other tables; empty where that is its name.
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
    cell: str = ""


@dataclass(frozen=True, kw_only=True)
class AuditTable:
    """Rows that were timed under the same conditions.

    Attributes:
        name: Name of the table or file.
        rows: Times of the table.
        kind: Kind of the device, None if unknown.
        peak: Data sheet of the device.
        precision: Arithmetic; None if unknown.
        has_tf32: Whether fp32 convolutions may run on tensor cores in TF32.
        is_prediction: Whether the rows are predictions of a fitted table, not measurements.
        is_for_copies: Whether the rows only serve to find copies: what a unit adds to a network, as fitted,
            is no time that could be judged by itself.
        shared_fit: Source of a table of few networks: devices of one source share its fit, and so are alike.
    """

    name: str
    rows: tuple[Row, ...]
    kind: str | None = None
    peak: Peak = dataclasses.field(default_factory=Peak)
    precision: str | None = None
    has_tf32: bool = False
    is_prediction: bool = False
    is_for_copies: bool = False
    shared_fit: str | None = None


def table_rows(table: LatencyTable, *, has_predictions: bool = True) -> list[AuditTable]:
    """A latency table as rows: its stored entries, or its predictions of related subnets.

    Args:
        table: The latency table to read.
        has_predictions: Whether to make predictions, which takes longest; stored entries are always read.
    """
    found = []
    batch = table.variant.batch_size
    is_general = False
    for predictor in table.content.predictors:
        if isinstance(predictor, EntryPredictor):
            found.append(_audit_table(table, entry_rows(predictor.times_ms, batch)))
        elif isinstance(predictor, SpaceTable):
            if predictor.head == "sum":
                rows = [Row(name=name, time_ms=time) for name, time in _stored_units(predictor).items()]
                found.append(_audit_table(table, rows, is_for_copies=True))
            if has_predictions:
                rows = _predicted_rows(table, predictor.space)
                found.append(_audit_table(table, rows, is_prediction=True))
        else:
            is_general = True
    if is_general and has_predictions:
        space = get_space("ofa-mobilenet-v3-w1.0").with_resolutions(_GENERAL_RESOLUTIONS)
        found.append(_audit_table(table, _predicted_rows(table, space), is_prediction=True))
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


def _audit_table(
    table: LatencyTable, rows: Sequence[Row], *, is_prediction: bool = False, is_for_copies: bool = False
) -> AuditTable:
    return AuditTable(
        name=table.name,
        rows=tuple(rows),
        kind=table.device.kind,
        peak=table.device.peak,
        precision=table.variant.precision,
        has_tf32=_has_tf32(table.device),
        is_prediction=is_prediction,
        is_for_copies=is_for_copies,
        shared_fit=table.variant.source if table.variant.has_few_networks else None,
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
    return {
        signature: float(predictor.tables[unit][index, 0])
        for signature, (unit, index) in _unit_places(predictor.space).items()
    }


@functools.lru_cache(maxsize=8)
def _unit_places(space: SearchSpace) -> Mapping[str, tuple[int, int]]:
    """Where a table of a space holds each distinct unit: number of the unit, row of its table."""
    units = UnitTables(space)
    places: dict[str, tuple[int, int]] = {}
    for row, by_unit in units.combinations():
        for number, (unit, index) in enumerate(zip(units.units, units.indices(row[None]), strict=True)):
            if by_unit[unit.name]:
                places.setdefault(unit_signature(by_unit[unit.name]), (number, int(index[0])))
    return places


def _predicted_rows(table: LatencyTable, space: SearchSpace) -> list[Row]:
    """Predictions for random subnets, each with one kernel size or one expand ratio everywhere."""
    try:
        bound = table.bind(space)
    except LatencyTableError:
        return []
    related = [(subnet, row) for subnet, row in _related_subnets(space) if subnet in space]
    population = Encoding(space).encode([subnet for subnet, _ in related])
    is_covered = bound.is_covered(population)
    if not is_covered.any():
        return []
    times = iter(bound.predict(population[is_covered]).tolist())
    return [
        dataclasses.replace(
            row,
            time_ms=next(times),
            macs=table.variant.batch_size * network_macs(lower(space, subnet)),
            is_whole=True,
        )
        for (subnet, row), known in zip(related, is_covered, strict=True)
        if known
    ]


def _related_subnets(space: SearchSpace) -> Iterator[tuple[Subnet, Row]]:
    """Random subnets, and for each those with one kernel size, or one expand ratio, everywhere."""
    kernel_sizes = sorted({k for stage in space.stages for k in stage.kernel_sizes})
    ratios = sorted({e for stage in space.stages for e in stage.expand_ratios})
    rows = sample_population(space, _NUM_BASES, rng.generator(0, "audit"))
    for number, base in enumerate(Encoding(space).decode(rows)):
        name = f"{space.name}, random subnet {number} at {base.resolution}"
        for kernel in kernel_sizes:
            yield (
                _everywhere(space, base, kernel_size=kernel),
                Row(name=f"{name}, kernels {kernel}", time_ms=0.0, kernel_family=name, kernel_size=kernel),
            )
        for ratio in ratios:
            yield (
                _everywhere(space, base, expand_ratio=ratio),
                Row(name=f"{name}, ratios {ratio:g}", time_ms=0.0, width_family=name, width=ratio),
            )


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
