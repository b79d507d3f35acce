"""Builds TensorRT engines of exported files and looks into them: the promised precision must be there."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import onnx

from ofa_toolkit.core.errors import VerificationError
from ofa_toolkit.core.precision import FilePrecision
from ofa_toolkit.export.kit.check import CheckError, check_precision
from ofa_toolkit.export.squeeze_excite import gate_convolutions
from ofa_toolkit.graphs import weighted_nodes
from ofa_toolkit.tensorrt.engine import EngineOptions, build_plan, chooses_precision, load_engine


@dataclass(frozen=True, kw_only=True)
class Engine:
    """A built engine.

    Attributes:
        plan: Bytes of the engine, good for this GPU and TensorRT version.
        version: Version of TensorRT.
        layers: Numbers of layers with weights by precision, and the wider ones by name, in words.
    """

    plan: bytes
    version: str
    layers: str


def build_engine(library: Any, model: bytes, options: EngineOptions) -> Engine:
    """Parse an ONNX file, build its engine, and make sure the promised precision is in it.

    Args:
        library: The `tensorrt` package.
        model: The ONNX file.
        options: Precision, memory, timing cache.

    Raises:
        EngineError: TensorRT cannot parse or build the network.
        VerificationError: The engine does not compute in the promised precision.
    """
    plan = build_plan(library, model, options)
    layers = inspect_engine(library, plan, onnx.load_model_from_string(model), options.precision)
    return Engine(plan=plan, version=str(library.__version__), layers=layers)


def promised_layers(model: onnx.ModelProto, precision: FilePrecision) -> list[dict[str, Any]]:
    """What an engine of a file must compute each convolution and linear layer in, see `check_precision`."""
    free = set(gate_convolutions(model.graph)) if precision == "int8" else set()
    return [
        {
            "name": node.name,
            "macs": node.macs,
            "precision": precision,
            "reads": list(node.sources),
            "is_free": node.name in free,
        }
        for node in weighted_nodes(model)
    ]


def inspect_engine(library: Any, plan: bytes, model: onnx.ModelProto, precision: FilePrecision) -> str:
    """What an engine's layers compute in; raises `VerificationError` where that is not what was promised."""
    promised = promised_layers(model, precision)
    inspector = load_engine(library, plan).create_engine_inspector()
    text = inspector.get_engine_information(library.LayerInformationFormat.JSON)
    try:
        return check_precision(json.loads(text), promised, chooses_precision(library))
    except (CheckError, ValueError) as error:
        raise VerificationError(f"The engine was not written: {error}") from error
