"""Build a measuring kit for a target."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from ofa_toolkit.complexity import PopulationComplexity
from ofa_toolkit.core import rng
from ofa_toolkit.core.errors import ConfigError, LatencyTableError, MeasurementError, UnknownNameError
from ofa_toolkit.export.target_devices import Target, is_software, resolve_target
from ofa_toolkit.latency.kit.build import KitSpec, build_kit
from ofa_toolkit.latency.kit.probes import choose_probes
from ofa_toolkit.latency.kit.probes_file import read_probes
from ofa_toolkit.latency.table import load_table
from ofa_toolkit.spaces import Population, SearchSpace, sample_population
from ofa_toolkit.spaces.space_file import open_space

KitPrecision = Literal["fp32", "fp16", "int8"]
_CANDIDATES = 4000
_ONNXRUNTIME_OPSET = 14  # the first with HardSwish: also for the old ONNX Runtime of a board with Python 3.6


@dataclass(frozen=True, kw_only=True)
class KitReport:
    """A kit that was written.

    Attributes:
        path: The zip file.
        target: Device or software generation.
        space: Search space of the probes.
        num_probes: Networks in it.
        num_bytes: Its size.
        opset: ONNX operator set of the networks.
        ir_version: File format version of the networks.
        precision: What is timed by default.
        spread_over: What the probes were spread over: predicted latency, or MACs.
        is_device: Whether the target is a device, under whose name results can be filed.
    """

    path: Path
    target: str
    space: str
    num_probes: int
    num_bytes: int
    opset: int
    ir_version: int
    precision: str
    spread_over: str
    is_device: bool


def make_kit(
    path: Path,
    target_name: str,
    space_name: str | None = None,
    *,
    probes_path: Path | None = None,
    num_probes: int = 40,
    precision: KitPrecision | None = None,
    batch_size: int = 1,
    num_classes: int | None = None,
    has_typed_networks: bool = False,
    seed: int = 0,
    tables: Iterable[Path] = (),
    on_progress: Callable[[int], None] = lambda _done: None,
) -> KitReport:
    """Choose probes and pack them.

    Args:
        path: The zip file to write.
        target_name: A device, a software generation (`tensorrt-8.2`), or `onnxruntime-cpu`.
        space_name: Search space the probes come from; None for that of `probes_path`.
        probes_path: A probes file whose networks are timed, instead of networks chosen here.
        num_probes: Networks to time; all of a probes file.
        precision: What is timed by default; None for fp16 under TensorRT where the target has it.
        batch_size: Images per run.
        num_classes: Outputs of the classifier; None for the space's own.
        has_typed_networks: Also pack fp16 networks where trtexec may have no `--fp16`.
        seed: Start of all random streams.
        tables: Further folders of devices.
        on_progress: Called with the number of networks written.
    """
    tables = list(tables)
    target = resolve_target(target_name, tables)
    planned = None if probes_path is None else read_probes(probes_path)
    if planned is not None:
        space = planned.space
    elif space_name is not None:
        space = open_space(space_name)
    else:
        raise ConfigError("A kit needs a search space or a probes file.")
    if num_classes is not None:
        space = space.with_num_classes(num_classes)
    spec = _spec(target, precision, batch_size, has_typed_networks)
    if planned is None:
        candidates = sample_population(space, _CANDIDATES, rng.generator(seed, "probes"))
    else:
        candidates, num_probes = planned.population, len(planned.population)
    cost, spread_over = _cost(target, space, candidates, tables)
    probes = choose_probes(candidates, cost, num_probes)
    build_kit(path, spec, space, probes, seed=seed, on_progress=on_progress)
    return KitReport(
        path=path,
        target=target.name,
        space=space.name,
        num_probes=len(probes),
        num_bytes=path.stat().st_size,
        opset=spec.opset,
        ir_version=spec.ir_version,
        precision=spec.precision,
        spread_over=spread_over,
        is_device=not is_software(target.name),
    )


def _spec(
    target: Target, precision: KitPrecision | None, batch_size: int, has_typed_networks: bool
) -> KitSpec:
    row = target.generation
    is_onnxruntime = row.runtime == "onnxruntime"
    if precision is None:
        precision = "fp32" if is_onnxruntime or target.supports("fp16") is False else "fp16"
    target.check_precision(precision)
    if is_onnxruntime and precision != "fp32":
        raise MeasurementError("A kit for ONNX Runtime is timed in fp32.", hint="Leave out --precision.")
    if precision == "int8" and not row.precision_flags:
        raise MeasurementError(
            f"{row.name} takes int8 from quantised networks only, which a kit does not hold.",
            hint="--precision fp16",
        )
    opset = _ONNXRUNTIME_OPSET if is_onnxruntime else min(row.export_opset, target.max_opset)
    return KitSpec(
        target=target.name,
        opset=opset,
        ir_version=_ir_version(opset, row.max_ir_version),
        operators=row.operators,
        precision=precision,
        has_typed_networks=has_typed_networks or (not row.precision_flags and not is_onnxruntime),
        batch_size=batch_size,
        is_onnxruntime=is_onnxruntime,
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
