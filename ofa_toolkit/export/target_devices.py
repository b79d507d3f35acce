"""From the name of a device to what an exported file may hold there."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ofa_toolkit.core import resources
from ofa_toolkit.core.errors import ExportError, UnknownNameError
from ofa_toolkit.core.precision import FILE_PRECISIONS, FilePrecision
from ofa_toolkit.export.targets import (
    TENSORRT_GENERATIONS,
    Generation,
    generation,
    generation_of,
    is_tensorrt,
    version_of,
)
from ofa_toolkit.latency.device import Device, Kind
from ofa_toolkit.latency.device_names import find_device, misspelt, software_of

ONNXRUNTIME_CPU = "onnxruntime-cpu"

_FORMATS: Mapping[Kind, str] = {"phone": "litert"}


def format_of(kind: Kind) -> str | None:
    """The format beside ONNX that a kind of device gets unless the user says otherwise; None for ONNX."""
    return _FORMATS.get(kind)


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where an exported file will run.

    Attributes:
        name: As the user names it: a device, a generation, or `onnxruntime-cpu`.
        title: For people.
        generation: Row of its software.
        version: Version of its TensorRT where the device is known, such as `8.2.1`.
        max_opset: Newest operator set, the stricter one of generation and device.
        compute_capability: Compute capability of its NVIDIA GPU, None where unknown.
        takes_dynamic_batch: Whether files may leave the batch size open.
        workspace_mib: Memory the engine builder may use, in MiB.
        python: Python on the device, `unknown` where that is so.
    """

    name: str
    title: str
    generation: Generation
    version: str | None = None
    max_opset: int
    compute_capability: str | None = None
    takes_dynamic_batch: bool = True
    workspace_mib: int = 1024
    python: str = "unknown"

    def supports(self, precision: FilePrecision) -> bool | None:
        """Whether software and GPU compute in a precision; None where the GPU is not known."""
        if precision == "fp32":
            return True
        if precision == "int8" and self.generation.int8 is None:
            return False
        if not self.generation.software.needs_gpu:
            return True
        if self.compute_capability is None:
            return None
        return gpu_supports(self.compute_capability, precision)

    def check_precision(self, precision: FilePrecision) -> None:
        """Raise `ExportError` where the target does not compute in a precision."""
        if self.supports(precision) is not False:
            return
        possible = ", ".join(p for p in FILE_PRECISIONS if self.supports(p))
        if precision == "int8" and self.generation.int8 is None:
            reason = f"{self.generation.name} reads no per-channel quantisation"
        else:
            reason = f"its GPU (compute capability {self.compute_capability}) has no {precision} arithmetic"
        raise ExportError(
            f"'{precision}' is not possible on {self.name}: {reason}; it takes {possible}.",
            hint="--precision fp16" if self.supports("fp16") else "--precision fp32",
        )


def gpu_supports(compute_capability: str, precision: FilePrecision) -> bool:
    """Whether NVIDIA GPUs of a compute capability compute in a precision.

    Source: TensorRT support matrix, "Hardware and Precision" (8.2 to 10.x agree): fp16 on 5.3, 6.0, 6.2 and
    from 7.0 on, int8 on 6.1 and from 7.0 on.
    """
    major, minor = (int(number) for number in compute_capability.split("."))
    if (major, minor) >= (7, 0) or precision == "fp32":
        return True
    return compute_capability in {"fp16": ("5.3", "6.0", "6.2"), "int8": ("6.1",)}[precision]


def target_names(tables: Iterable[str | os.PathLike[str]] = ()) -> list[str]:
    """Every name `resolve_target` takes: `onnxruntime-cpu`, devices, generations."""
    devices = resources.entries("latency_tables", tables)
    return [ONNXRUNTIME_CPU, *devices, *(row.name for row in TENSORRT_GENERATIONS)]


def is_software(name: str) -> bool:
    """Whether a target's name is that of software on any device, not of a device."""
    return _is_onnxruntime(name) or is_tensorrt(name)


def resolve_target(
    name: str, tables: Iterable[str | os.PathLike[str]] = (), *, other_formats: bool = False
) -> Target:
    """The target of that name.

    Args:
        name: `onnxruntime-cpu`, a device (`jetson-nano`, by any name of it; a variant behind a colon is
            ignored), or a version of TensorRT (`tensorrt-10.3`), for which nothing is known about the GPU.
        tables: Further folders of devices.
        other_formats: Whether phones count, for formats that are neither ONNX nor TensorRT.

    Raises:
        UnknownNameError: No such target.
        ExportError: The device runs no software that reads ONNX files, or it is not known which.
    """
    tables = list(tables)
    name = name.partition(":")[0]
    if _is_onnxruntime(name):
        return _onnxruntime(ONNXRUNTIME_CPU, "ONNX Runtime on a CPU")
    version = version_of(name)
    if version is not None:
        row = generation_of(version)
        title = f"TensorRT {version}, any GPU"
        return Target(name=f"tensorrt-{version}", title=title, generation=row, max_opset=row.max_opset)
    try:
        return target_of_device(find_device(name, tables).device, other_formats=other_formats)
    except UnknownNameError:
        names = target_names(tables)
        meant = misspelt(name, names)
        hint = f"Did you mean '{meant}'?" if meant else f"Name what it runs: --target {software_of(name)}"
        message = f"Unknown target '{name}'. Known: {', '.join(sorted(names))}."
        raise UnknownNameError(message, hint=hint) from None


def target_of_device(device: Device, *, other_formats: bool = False) -> Target:
    """The target a described device is; phones are one for `other_formats` than ONNX and TensorRT."""
    if device.kind == "cpu" or (device.kind == "phone" and other_formats):
        return _onnxruntime(device.name, device.title)
    version = device.software.tensorrt
    if version in ("none", "unknown"):
        reason = "runs no TensorRT" if version == "none" else "does not say which TensorRT it runs"
        compiler = device.software.compiler
        if device.kind == "phone":
            hint = f"--format {format_of(device.kind)}"
        elif compiler is not None:
            reason, hint = f"{reason}; {compiler}", f"--target {ONNXRUNTIME_CPU} writes an ONNX file."
        else:
            hint = f"--target {ONNXRUNTIME_CPU}, or a generation such as tensorrt-8.6."
        raise ExportError(f"Cannot export for {device.name}: it {reason}.", hint=hint)
    row = generation_of(version)
    is_small = device.kind == "embedded-gpu"
    # JetPack 4 boards share their memory with the system: what is fixed beforehand need not be planned for.
    is_old_board = is_small and row.since <= (8, 2)
    return Target(
        name=device.name,
        title=device.title,
        generation=row,
        version=version,
        max_opset=min(row.max_opset, device.software.opset or row.max_opset),
        compute_capability=device.compute_capability,
        takes_dynamic_batch=not is_old_board,
        workspace_mib=512 if is_old_board else 1024 if is_small else 4096,
        python=device.software.python,
    )


def _is_onnxruntime(name: str) -> bool:
    """Whether a name is that of ONNX Runtime on a CPU, in any case and punctuation."""
    return re.sub(r"[\s_-]", "", name.lower()) == ONNXRUNTIME_CPU.replace("-", "")


def _onnxruntime(name: str, title: str) -> Target:
    row = generation("onnxruntime")
    return Target(name=name, title=title, generation=row, max_opset=row.max_opset)
