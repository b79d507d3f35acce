"""Packs a measuring kit: networks that the target can parse, and the one file that times them.

The weights are random and repeat after a few kilobytes. Times do not depend on them, and a kit of forty
networks shrinks to a few megabytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from ofa_toolkit.complexity import count_macs
from ofa_toolkit.core import files, rng
from ofa_toolkit.core.errors import MeasurementError
from ofa_toolkit.core.file_format import FileFormat
from ofa_toolkit.core.precision import FilePrecision, FloatPrecision
from ofa_toolkit.core.reporting import SILENT, Progress, Reporter
from ofa_toolkit.core.version import __version__
from ofa_toolkit.graphs import build_onnx, random_weights
from ofa_toolkit.latency.kit.program import agent_program
from ofa_toolkit.spaces import Encoding, LayerSpec, Population, SearchSpace, lower
from ofa_toolkit.spaces.space_file import space_reference
from ofa_toolkit.spaces.subnet_file import SubnetFile, to_document

if TYPE_CHECKING:
    from ofa_toolkit.latency.kit.documents import KitDocument, KitProbe, NetworkFile

FORMAT = FileFormat("ofa-toolkit/kit", 1, "a measuring kit")
MANIFEST = "kit.json"
AGENT = "measure.py"
_PATTERN = 1021
_EARLIEST = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, kw_only=True)
class KitSpec:
    """What a kit is for.

    Attributes:
        target: Name of the device or software generation.
        opset: ONNX operator set of the networks.
        ir_version: File format version of the networks.
        operators: Operators the target parses; None for all.
        precision: Precision that is timed by default: fp32, fp16 or int8.
        has_typed_networks: Also pack networks whose tensors are fp16, for trtexec without `--fp16`.
        batch_size: Images per run.
        has_clocks: Whether the README says how to fix the clocks of a GPU.
        is_for_device: Whether the target is a device, whose name its times get, and not software on any.
    """

    target: str
    opset: int
    ir_version: int
    operators: frozenset[str] | None
    precision: FilePrecision
    has_typed_networks: bool
    batch_size: int
    has_clocks: bool = True
    is_for_device: bool = True


def build_kit(
    path: str | os.PathLike[str],
    spec: KitSpec,
    space: SearchSpace,
    probes: Population,
    *,
    seed: int,
    reporter: Reporter = SILENT,
) -> dict[str, Any]:
    """Write a kit and return its manifest.

    Args:
        path: The zip file.
        spec: Form of the networks that the target takes.
        space: Whose encoding `probes` have.
        probes: Subnets in the order of timing, `(N, genes)`.
        seed: Start of the random weights.
        reporter: Hears how far it is.

    Raises:
        MeasurementError: A network needs an operator the target does not parse.
    """
    subnets = Encoding(space).decode(probes)
    entries: list[KitProbe] = []
    with (
        files.atomic_path(path) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for index, (row, subnet) in enumerate(zip(probes, subnets, strict=True)):
            layers = lower(space, subnet)
            document = to_document(SubnetFile(space=space, supernet=None, subnet=subnet))
            entries.append(
                {
                    "id": f"{index:03d}",
                    "row": [int(code) for code in row],
                    "subnet": document,
                    "macs": count_macs(layers),
                    "files": _write_networks(archive, spec, layers, f"{index:03d}", seed),
                }
            )
            reporter.progress(Progress("building networks", index + 1, len(subnets)))
        manifest = {**FORMAT.header, **_manifest(spec, space, entries)}
        _write(archive, AGENT, agent_program().encode())
        _write(archive, MANIFEST, json.dumps(manifest, indent=1).encode())
        _write(archive, "README.txt", _readme(spec, len(entries)).encode())
    return manifest


def is_kit(path: os.PathLike[str]) -> bool:
    """Whether an existing file is a kit of ours, so that a new one may replace it."""
    try:
        with zipfile.ZipFile(path) as archive:
            manifest = json.loads(archive.read(MANIFEST))
    except Exception:  # damaged bytes can raise anything in the readers of archives
        return False
    return FORMAT.is_of(manifest)


def _write_networks(
    archive: zipfile.ZipFile, spec: KitSpec, layers: Sequence[LayerSpec], name: str, seed: int
) -> dict[FloatPrecision, NetworkFile]:
    """The network in every precision that is needed; where each lies, with its hash."""
    weights = _repeating_weights(layers, rng.generator(seed, "kit", name))
    written: dict[FloatPrecision, NetworkFile] = {}
    precisions: tuple[FloatPrecision, ...] = ("fp32", "fp16") if spec.has_typed_networks else ("fp32",)
    for precision in precisions:
        model = build_onnx(
            layers,
            weights,
            opset=spec.opset,
            ir_version=spec.ir_version,
            batch_size=spec.batch_size,
            precision=precision,
        )
        _check_operators(model, spec)
        content = model.SerializeToString()
        path = f"networks/{name}.{precision}.onnx"
        _write(archive, path, content)
        written[precision] = {"name": path, "sha256": hashlib.sha256(content).hexdigest()}
    return written


def _check_operators(model: onnx.ModelProto, spec: KitSpec) -> None:
    if spec.operators is None:
        return
    missing = sorted({node.op_type for node in model.graph.node} - spec.operators)
    if missing:
        raise MeasurementError(f"{spec.target} parses no operator '{missing[0]}', which this space needs.")


def _repeating_weights(
    layers: Sequence[LayerSpec], generator: np.random.Generator
) -> Mapping[str, tuple[Any, Any]]:
    """Weights of the right size and spread that compress well: the first values of each, over and over."""
    repeated = {}
    for name, (weight, bias) in random_weights(layers, generator).items():
        pattern = weight.reshape(-1)[:_PATTERN]
        repeated[name] = (np.resize(pattern, weight.shape), bias)
    return repeated


def _manifest(spec: KitSpec, space: SearchSpace, entries: list[KitProbe]) -> KitDocument:
    hashes = json.dumps([spec.target, spec.precision, [entry["files"] for entry in entries]], sort_keys=True)
    return {
        "id": hashlib.sha256(hashes.encode()).hexdigest()[:16],
        "made_by": f"ofa-toolkit {__version__}",
        "target": spec.target,
        "is_for_device": spec.is_for_device,
        "space": space_reference(space),
        "space_identity": space.identity,
        "num_classes": space.num_classes,
        "batch_size": spec.batch_size,
        "precision": spec.precision,
        "opset": spec.opset,
        "ir_version": spec.ir_version,
        "probes": entries,
    }


def _readme(spec: KitSpec, num_probes: int) -> str:
    clocks = (
        "On a Jetson, set the power mode and fix the clocks first, as you will use the board:\n\n"
        "    sudo nvpmodel -m 0 && sudo jetson_clocks\n\n"
        if spec.has_clocks
        else ""
    )
    return (
        f"Measuring kit of ofa-toolkit for {spec.target}: {num_probes} networks.\n\n"
        f"{clocks}"
        "Then, in this folder (Python 3.6 or newer, nothing else to install):\n\n"
        f"    python3 {AGENT}\n\n"
        "After an interruption or a reboot run it again; it goes on where it stopped. Any part of the\n"
        "result can be used. Copy results.jsonl back and type there:\n\n"
        f"    ofa-tk latency import results.jsonl{'' if spec.is_for_device else ' --device NAME'}\n"
    )


def _write(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    """Add a file with a fixed date, so that equal kits are equal bytes."""
    info = zipfile.ZipInfo(name, _EARLIEST)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = 0o644 << 16
    archive.writestr(info, content)
