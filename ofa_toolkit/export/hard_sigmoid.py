"""HardSigmoid by the range of 8 bits: what it cuts off is what rounding to bytes cuts off.

`HardSigmoid(x) = min(max(alpha x + beta, 0), 1)`, stored as a byte of scale 1/255, is `x` itself stored as a
byte of scale `1 / (255 alpha)` and zero point `255 beta`: both ends saturate where the function does. One
operator in floating point less, of three between a convolution and the product with its gate; ONNX Runtime
has none in 8 bits.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

_LEVELS = 255


def round_to_gates(graph: onnx.GraphProto) -> None:
    """Leave out every HardSigmoid of a quantised graph that is stored as unsigned bytes alone."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in [node for node in graph.node if node.op_type == "HardSigmoid"]:
        readers = [reader for reader in graph.node if node.output[0] in reader.input]
        values = {attribute.name: attribute.f for attribute in node.attribute}
        alpha, beta = values.get("alpha", 0.2), values.get("beta", 0.5)
        if len(readers) != 1 or readers[0].op_type != "QuantizeLinear" or not 0 <= beta <= 1:
            continue
        [quantise] = readers
        _, scale, zero_point = quantise.input
        if constants[zero_point].data_type != onnx.TensorProto.UINT8:
            continue
        width = np.array(1 / (_LEVELS * alpha), np.float32)
        graph.initializer.append(numpy_helper.from_array(width, f"{scale}_before"))
        middle = np.array(round(_LEVELS * beta), np.uint8)
        graph.initializer.append(numpy_helper.from_array(middle, f"{zero_point}_before"))
        quantise.input[:] = [node.input[0], f"{scale}_before", f"{zero_point}_before"]
        # What reads the bytes takes them as shares of 1.
        constants[scale].CopyFrom(numpy_helper.from_array(np.array(1 / _LEVELS, np.float32), scale))
        constants[zero_point].CopyFrom(numpy_helper.from_array(np.array(0, np.uint8), zero_point))
        graph.node.remove(node)
