"""Build a measuring kit for a target."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ofa_toolkit.complexity import PopulationComplexity
from ofa_toolkit.core import rng
from ofa_toolkit.core.errors import ConfigError, LatencyTableError, MeasurementError, UnknownNameError
from ofa_toolkit.core.precision import FILE_PRECISIONS, FilePrecision
from ofa_toolkit.core.reporting import SILENT, Reporter
from ofa_toolkit.export.target_devices import Target, is_software, resolve_target
from ofa_toolkit.latency.kit.build import KitSpec, build_kit
from ofa_toolkit.latency.kit.probes import choose_probes
from ofa_toolkit.latency.kit.probes_file import read_probes
from ofa_toolkit.latency.table import load_table
from ofa_toolkit.pipelines.latency.request import KitRequest
from ofa_toolkit.spaces import Population, SearchSpace, sample_population
from ofa_toolkit.spaces.space_file import open_space

DEFAULT_PROBES = 40
_CANDIDATES = 4000


@dataclass(frozen=True, kw_only=True)
class KitReport:
    """A kit that was written.

    Attributes:
        path: The zip file.
        target: Device or software generation.
        space: Search space of the probes.
        num_probes: Networks in it.
        num_bytes: Size of the zip.
        opset: ONNX operator set of the networks.
        ir_version: File format version of the networks.
        precision: Precision that is timed by default.
        spread_over: Quantity that the probes were spread over: predicted latency, or MACs.
        is_device: Whether the target is a device, under whose name results can be filed.
    """

    path: Path
    target: str
    space: str
    num_probes: int
    num_bytes: int
    opset: int
    ir_version: int
    precision: FilePrecision
    spread_over: str
    is_device: bool


def make_kit(request: KitRequest, reporter: Reporter = SILENT) -> KitReport:
    """Choose probes and pack them.

    Args:
        request: For a device, a software generation (`tensorrt-8.2`), or `onnxruntime-cpu`.
        reporter: Hears how far it is.
    """
    tables, num_probes = list(request.tables), request.num_probes or DEFAULT_PROBES
    target = resolve_target(request.target, tables)
    planned = None if request.probes is None else read_probes(request.probes)
    if planned is not None:
        space = planned.space
    elif request.space is not None:
        space = open_space(request.space)
    else:
        raise ConfigError("A kit needs a search space or a probes file.")
    if request.num_classes is not None:
        space = space.with_num_classes(request.num_classes)
    spec = _spec(target, request.precision, request.batch_size, request.has_typed_networks)
    if planned is None:
        candidates = sample_population(space, _CANDIDATES, rng.generator(request.seed, "probes"))
    else:
        candidates, num_probes = planned.population, len(planned.population)
    cost, spread_over = _cost(target, space, candidates, tables)
    probes = choose_probes(candidates, cost, num_probes)
    build_kit(request.out, spec, space, probes, seed=request.seed, reporter=reporter)
    return KitReport(
        path=request.out,
        target=target.name,
        space=space.name,
        num_probes=len(probes),
        num_bytes=request.out.stat().st_size,
        opset=spec.opset,
        ir_version=spec.ir_version,
        precision=spec.precision,
        spread_over=spread_over,
        is_device=spec.is_for_device,
    )


def _spec(
    target: Target, precision: FilePrecision | None, batch_size: int, has_typed_networks: bool
) -> KitSpec:
    row, software = target.generation, target.generation.software
    timed = software.kit_precisions or FILE_PRECISIONS
    if precision is None:
        precision = "fp16" if "fp16" in timed and target.supports("fp16") is not False else "fp32"
    target.check_precision(precision)
    if precision not in timed:
        message = f"A kit for {software.title} is timed in {', '.join(timed)}."
        raise MeasurementError(message, hint="Leave out --precision.")
    if precision == "int8" and not row.precision_flags:
        raise MeasurementError(
            f"{row.name} takes int8 from quantised networks only, which a kit does not hold.",
            hint="--precision fp16",
        )
    opset = software.kit_opset or min(row.export_opset, target.max_opset)
    return KitSpec(
        target=target.name,
        opset=opset,
        ir_version=_ir_version(opset, row.max_ir_version),
        operators=row.operators,
        precision=precision,
        has_typed_networks=has_typed_networks or (software.builds_engines and not row.precision_flags),
        batch_size=batch_size,
        has_clocks=software.needs_gpu,
        is_for_device=not is_software(target.name),
    )


def _ir_version(opset: int, newest: int) -> int:
    """The oldest file format that holds the operator set; never newer than the target reads."""
    from onnx import helper

    oldest = int(helper.find_min_ir_version_for([helper.make_opsetid("", opset)]))
    return min(oldest, newest)


def _cost(
    target: Target, space: SearchSpace, candidates: Population, tables: list[Path]
) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.floating]], str]:
    """Predicted latency where the target has a table that covers the space, else MACs."""
    try:
        return load_table(target.name, tables).bind(space).predict(candidates), "predicted latency"
    except (LatencyTableError, UnknownNameError):
        return PopulationComplexity(space).macs(candidates).astype(np.float64), "MACs"
