"""Collects the nodes and initializers of one ONNX graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper


class GraphWriter:
    """Nodes and initializers in the order they are added.

    Args:
        is_half: Store floating-point initializers in half precision.
        use_hard_swish: Whether h-swish is written as one operator.
        use_clip: Whether ReLU6 is written as one operator.

    Attributes:
        names: Layer or graph input -> the tensor that holds it.
    """

    def __init__(self, *, is_half: bool, use_hard_swish: bool, use_clip: bool) -> None:
        self.is_half = is_half
        self.use_hard_swish = use_hard_swish
        self.use_clip = use_clip
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.names: dict[str, str] = {}
        self._constants: set[str] = set()

    def node(self, operator: str, inputs: list[str], output: str, name: str, **attributes: Any) -> str:
        """Add a node with one output, and return the output's name."""
        self.nodes.append(helper.make_node(operator, inputs, [output], name=name, **attributes))
        return output

    def initializer(self, name: str, value: npt.ArrayLike) -> str:
        """Add weights, in the graph's precision, and return their name."""
        array = np.ascontiguousarray(value, dtype=np.float16 if self.is_half else np.float32)
        self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def constant(self, name: str, value: float) -> str:
        """A scalar that all who ask for `name` share."""
        if name not in self._constants:
            self._constants.add(name)
            self.initializer(name, value)
        return name

    def cast(self, source: str, output: str, to: int) -> str:
        """Convert a tensor to another data type."""
        return self.node("Cast", [source], output, f"{output}.cast", to=to)
