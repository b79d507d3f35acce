"""What a rule of the linter looks at, and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt
import onnx
import onnx.shape_inference
from onnx import numpy_helper

from ofa_toolkit.export.target_devices import Target
from ofa_toolkit.graphs import without_weights

ONNX_DOMAINS = ("", "ai.onnx")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing the target would refuse, or do differently from what the file says.

    Attributes:
        severity: `error` where the file is refused or computes something else, `warning` where not.
        rule: Short name of the rule.
        message: The fault, and what the target takes; the same for every place it is found at.
        node: Name of the node or tensor, or None for the whole file.
    """

    severity: Literal["error", "warning"]
    rule: str
    message: str
    node: str | None = None


class ModelFile:
    """An ONNX model with what several rules look up.

    Args:
        model: Weights stored in other files already read in.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self.producers = {name: node for node in model.graph.node for name in node.output}

    @property
    def opset(self) -> int:
        """Version of the standard operator set."""
        return max((o.version for o in self.model.opset_import if o.domain in ONNX_DOMAINS), default=0)

    @property
    def inputs(self) -> list[onnx.ValueInfoProto]:
        """What must be given at every run: up to IR version 3 stored tensors are listed as inputs too."""
        return [value for value in self.model.graph.input if value.name not in self.constants]

    @cached_property
    def types(self) -> Mapping[str, int]:
        """Element type of every tensor."""
        graph = onnx.shape_inference.infer_shapes(without_weights(self.model)).graph
        values = [*graph.input, *graph.value_info, *graph.output]
        types = {value.name: value.type.tensor_type.elem_type for value in values}
        return types | {name: tensor.data_type for name, tensor in self.constants.items()}

    def value(self, name: str) -> npt.NDArray[np.generic] | None:
        """What a stored tensor holds, in the file's list or in a Constant node; None where it is computed."""
        if name in self.constants:
            return numpy_helper.to_array(self.constants[name])
        node = self.producers.get(name)
        if node is None or node.op_type != "Constant":
            return None
        return next((numpy_helper.to_array(a.t) for a in node.attribute if a.name == "value"), None)

    def is_constant(self, name: str) -> bool:
        """Whether a tensor is stored, or computed from stored ones by quantisation or a cast."""
        while name not in self.constants:
            node = self.producers.get(name)
            if node is not None and node.op_type == "Constant":
                return True
            if node is None or node.op_type not in ("QuantizeLinear", "DequantizeLinear", "Cast", "Identity"):
                return False
            name = node.input[0]
        return True


Rule = Callable[[ModelFile, Target], Iterator[Finding]]


def error(rule: str, message: str, node: str | None = None) -> Finding:
    """Something that is refused."""
    return Finding(severity="error", rule=rule, message=message, node=node)


def warning(rule: str, message: str, node: str | None = None) -> Finding:
    """Something that is taken, but one should know."""
    return Finding(severity="warning", rule=rule, message=message, node=node)
