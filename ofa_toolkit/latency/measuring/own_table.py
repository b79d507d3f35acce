"""A table of what this machine measured: where its raw results lie, and its variant's conditions."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ofa_toolkit.core.errors import MeasurementError, MismatchError
from ofa_toolkit.core.journal import Journal
from ofa_toolkit.latency.device import UNKNOWN, Device, Variant
from ofa_toolkit.latency.filing import device_folder, file_variant, known_device, today
from ofa_toolkit.latency.measuring.measure import estimates
from ofa_toolkit.latency.measuring.measured_table import MeasuredSpace, build_table
from ofa_toolkit.latency.measuring.system import governor, is_this_processor, system_state
from ofa_toolkit.latency.runtimes import Runtime
from ofa_toolkit.latency.table import LatencyTable
from ofa_toolkit.latency.table_file import TableContent
from ofa_toolkit.spaces import SearchSpace
from ofa_toolkit.spaces.space_file import exact_reference, space_from_reference

JOURNALS = "measurements"
"""Folder of raw results beside the tables."""

SOURCE = "this machine"
_LOAD_SEEN, _DRIFT_SEEN = 0.03, 0.05
_OF_SPACE = ("space", "num_classes", "resolutions", "space_identity")


def variant_name(runtime: Runtime) -> str:
    """Name of the variant these conditions belong to."""
    options = runtime.options
    has_many = options.processor == "cpu" and options.num_threads > 1
    threads = f"-{options.num_threads}-threads" if has_many else ""
    return f"this-machine-{runtime.name}{threads}-{options.precision}-{options.batch_size}"


def journal_path(folder: Path, runtime: Runtime, space: SearchSpace) -> Path:
    """Where the raw results of one space under these conditions lie.

    The file has the space's name. Where one lies there that was measured for another space of that name, for
    other input sizes or another number of classes, it has the space's identity as well.
    """
    path = folder / JOURNALS / f"{variant_name(runtime)}.{space.name}.jsonl"
    header = next(iter(Journal(path).lines), {})
    wanted = journal_header(space, runtime)
    if all(header.get(name, wanted[name]) == wanted[name] for name in _OF_SPACE):
        return path
    classes = f"-{space.num_classes}-classes"
    return path.with_name(f"{variant_name(runtime)}.{space.name}-{space.identity[:8]}{classes}.jsonl")


def journal_header(space: SearchSpace, runtime: Runtime) -> dict[str, Any]:
    """The conditions that all results of a journal share."""
    return {
        "space": exact_reference(space, with_resolutions=False),
        "num_classes": space.num_classes,
        "resolutions": list(space.resolutions),
        "space_identity": space.identity,
        "runtime": runtime.name,
        "runtime_version": runtime.version,
        "device_name": runtime.device_name,
        **dataclasses.asdict(runtime.options),
    }


def check_machine(parent: Path | None, name: str, runtime: Runtime) -> None:
    """Refuse to file this machine under the name of another one.

    Args:
        parent: Folder of devices; None for the user's own.
        name: Name of the device.
        runtime: Tells which machine this is.

    Raises:
        MismatchError: The device is another processor, or holds measurements of another machine.
    """
    here, known = runtime.device_name, known_device(parent, name)
    others = set()
    if (
        known is not None
        and known.kind == "cpu"
        and known.chip != UNKNOWN
        and not is_this_processor(known.chip)
    ):
        others.add(known.chip)
    for path in (device_folder(parent, name) / JOURNALS).glob("*.jsonl"):
        others.update(header["device_name"] for header in Journal(path).lines[:1])
    for other in sorted(others - {here}):
        raise MismatchError(
            f"'{name}' is '{other}'; this machine is '{here}'.",
            hint="File this machine under another name: --device NAME.",
        )


def file_table(
    parent: Path | None,
    name: str,
    runtime: Runtime,
    measured: MeasuredSpace,
    drift: float | None,
    space: SearchSpace,
) -> LatencyTable:
    """Write the variant; spaces measured before under the same conditions stay in it.

    Args:
        parent: Folder of devices; None for the user's own.
        name: Name of the device.
        runtime: The conditions.
        measured: The space that was measured now.
        drift: From `measure.reference_drift`.
        space: The measured space, for its identity.
    """
    spaces = [measured, *_other_spaces(device_folder(parent, name), runtime, space)]
    content = TableContent(
        predictors=tuple(each.predictor for each in spaces),
        bound=measured.bound,
        bound_space=None if measured.bound is None else space.identity,
    )
    variant = _variant(runtime, spaces, content.identity, _caveats(measured, drift))
    device = Device(
        name=name,
        title=runtime.device_name,
        kind="cpu" if runtime.options.processor == "cpu" else "gpu",
        chip=runtime.device_name,
        default_variant=variant.name,
        variants=(variant,),
    )
    # Measured anew, it takes the place of what was measured before; the journals keep both.
    return file_variant(parent, device, content, keep_default=True, force=True)


def _other_spaces(folder: Path, runtime: Runtime, space: SearchSpace) -> list[MeasuredSpace]:
    """What finished journals of other spaces give."""
    own, found = journal_path(folder, runtime, space), []
    for path in sorted(own.parent.glob(f"{variant_name(runtime)}.*.jsonl")):
        journal = Journal(path)
        if path == own or not journal.lines:
            continue
        header = journal.lines[0]
        other = space_from_reference(header["space"]).with_num_classes(header["num_classes"])
        other = other.with_resolutions(tuple(header["resolutions"]))
        if any(header[name] != value for name, value in journal_header(other, runtime).items()):
            continue
        try:
            found.append(build_table(other, estimates(journal)))
        except MeasurementError:
            continue  # not finished yet: running its command again adds it
    return found


def _caveats(measured: MeasuredSpace, drift: float | None) -> tuple[str, ...]:
    caveats = []
    if measured.waiting is not None and measured.waiting > _LOAD_SEEN:
        caveats.append(
            f"The machine was busy: other processes had the processor for {measured.waiting:.0%} of the "
            "time. Times are processor times of the quietest bursts."
        )
    if drift is not None and drift > _DRIFT_SEEN:
        caveats.append(f"The speed of the machine drifted: a reference network varied by {drift:.0%}.")
    return tuple(caveats)


def _variant(
    runtime: Runtime, spaces: Sequence[MeasuredSpace], identity: str, caveats: tuple[str, ...]
) -> Variant:
    options = runtime.options
    clock = system_state().clock_mhz
    is_cpu = options.processor == "cpu"
    times = "processor time" if is_cpu and options.num_threads == 1 else "time"
    return Variant(
        name=variant_name(runtime),
        source=SOURCE,
        source_licence="own measurements",
        date=today(),
        runtime=runtime.name,
        runtime_version=runtime.version,
        precision=options.precision,
        batch_size=options.batch_size,
        clocks=f"governor {governor()}" + (f", {clock:.0f} MHz" if clock else "") if is_cpu else UNKNOWN,
        threads=options.num_threads if is_cpu else None,
        provenance="measured",
        method=(
            f"Every distinct unit was timed on its own ({times}, median of the quietest of interleaved "
            "bursts); a linear correction from sums of units to whole networks was fitted on random subnets."
        ),
        networks="; ".join(
            f"{each.space}: {each.num_units} units, {each.num_fit} random subnets for the correction"
            for each in spaces
        ),
        errors=tuple(each.accuracy.as_error("random subnets", each.space) for each in spaces),
        caveats=caveats,
        identity=identity,
    )
