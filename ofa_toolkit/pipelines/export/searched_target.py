"""The device a subnet was searched for, and the line that exports it (no torch)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ofa_toolkit.core.command_line import command_line
from ofa_toolkit.core.documents import parse_json, read_object
from ofa_toolkit.core.errors import ExportError, UnknownNameError
from ofa_toolkit.core.precision import FILE_PRECISIONS, FilePrecision
from ofa_toolkit.export.target_devices import ONNXRUNTIME_CPU, Target, format_of, resolve_target
from ofa_toolkit.latency.device_names import find_device
from ofa_toolkit.spaces.subnet_file import SubnetFile, SubnetLike


def searched_target(predicted: Mapping[str, Any]) -> str:
    """The device that a subnet's latency was predicted on.

    Args:
        predicted: Predictions of a subnet file.

    Raises:
        ExportError: It was searched for none, or for several.
    """
    targets = _targets(predicted)
    if len(targets) != 1:
        reason = f"was searched for {', '.join(targets)}" if targets else "was searched for no device"
        raise ExportError(
            f"The subnet {reason}: name the target.",
            hint=f"--target {targets[0] if targets else ONNXRUNTIME_CPU}; `ofa-tk latency list` has devices.",
        )
    return targets[0]


def searched_precision(predicted: Mapping[str, Any], target: Target) -> FilePrecision:
    """The precision that a subnet's latency on a target was predicted for; fp32 where nobody says one.

    Args:
        predicted: Predictions of a subnet file.
        target: Only latencies on this device and in its runtime count.
    """
    latencies = predicted.get("latency_ms")
    stated = {
        entry.get("precision")
        for name, entry in (latencies.items() if isinstance(latencies, Mapping) else ())
        if str(name).partition(":")[0] == target.name
        and isinstance(entry, Mapping)
        and entry.get("runtime", target.generation.runtime) == target.generation.runtime
    }
    found = [precision for precision in FILE_PRECISIONS if precision in stated]
    return found[0] if len(stated) == 1 and found else "fp32"


def default_format(
    subnet: Path | None, target: str | None, tables: Iterable[str | os.PathLike[str]] = ()
) -> str:
    """The format for a device: LiteRT for phones, ONNX for all others and where none is known.

    Args:
        subnet: File of the subnet; `./subnet.json` where None.
        target: A device by name; the one searched for where None.
        tables: Further folders of devices.
    """
    return _format_for([target] if target is not None else _searched(subnet), tables) or "onnx"


def _format_for(devices: Iterable[str], tables: Iterable[str | os.PathLike[str]]) -> str | None:
    """The format beside ONNX that all of some devices get; None for ONNX."""
    try:
        kinds = {find_device(name.partition(":")[0], tables).device.kind for name in devices}
    except UnknownNameError:  # software, or a mistake that is told where the target is resolved
        return None
    forms = {format_of(kind) for kind in kinds}
    return forms.pop() if len(forms) == 1 else None


def format_target(
    subnet: SubnetLike | None, target: str | None, tables: Iterable[str | os.PathLike[str]] = ()
) -> Target:
    """The target of a format beside ONNX and TensorRT: phones count, and any processor where none is known.

    Args:
        subnet: File or content of the subnet; `./subnet.json` where None.
        target: A device by name; the one searched for where None.
        tables: Further folders of devices.
    """
    tables = list(tables)
    if target is not None:
        return resolve_target(target, tables, other_formats=True)
    names = _searched(subnet)
    if len(names) == 1 and find_device(names[0], tables).device.kind in ("cpu", "phone"):
        return resolve_target(names[0], tables, other_formats=True)
    return resolve_target(ONNXRUNTIME_CPU)


def _searched(subnet: SubnetLike | None) -> list[str]:
    """Devices that a subnet was searched for; none where it is no file of ours."""
    document: Any = subnet
    if isinstance(subnet, SubnetFile):
        document = {"predicted": subnet.predicted}
    elif subnet is None or isinstance(subnet, str | os.PathLike):
        file = Path("subnet.json" if subnet is None else subnet)
        document = parse_json(file.read_text(encoding="utf-8"), f"'{file}'") if file.is_file() else {}
    predicted = document.get("predicted") if isinstance(document, Mapping) else None
    return _targets(predicted if isinstance(predicted, Mapping) else {})


def export_command(
    predicted: Mapping[str, Any], *more: object, tables: Iterable[str | os.PathLike[str]] = ()
) -> str:
    """`ofa-tk export` in the format of the first device a subnet was searched for, or else ONNX for a CPU.

    Args:
        predicted: Predictions of a subnet file.
        more: Further words.
        tables: Further folders of devices.
    """
    tables, targets = list(tables), _targets(predicted)
    form = _format_for(targets, tables)
    words = ["export", *(("--onnx",) if form is None else ("--format", form)), *more]
    for folder in tables:
        words += ["--tables", folder]
    if form is not None:
        return command_line(*words, *(("--target", targets[0]) if len(targets) > 1 else ()))
    if len(targets) == 1 and _reads_onnx(targets[0], tables):
        return command_line(*words)
    readers = [name for name in targets if _reads_onnx(name, tables)]
    return command_line(*words, "--target", readers[0] if readers else ONNXRUNTIME_CPU)


def export_file_command(subnet: Path, *more: object) -> str:
    """The command that exports a subnet file of ours; see `export_command`."""
    document = read_object(subnet, "a subnet file")
    return export_command(document.get("predicted") or {}, "--subnet", subnet, *more)


def _targets(predicted: Mapping[str, Any]) -> list[str]:
    latencies = predicted.get("latency_ms")
    names = latencies if isinstance(latencies, Mapping) else {}
    return list(dict.fromkeys(str(name).partition(":")[0] for name in names))


def _reads_onnx(name: str, tables: Iterable[str | os.PathLike[str]]) -> bool:
    try:
        resolve_target(name, tables)
    except ExportError:
        return False
    return True
