"""How each kind of layer is written: one function a kind, one a activation, two tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ofa_toolkit.graphs.weights import FoldedWeights
from ofa_toolkit.graphs.writer import GraphWriter
from ofa_toolkit.spaces.layer_spec import Activation, LayerKind, LayerSpec

# The slope of hard sigmoid and hard swish in MobileNetV3: relu6(x + 3) / 6. ONNX defaults to 0.2.
HARD_SIGMOID = {"alpha": 1.0 / 6.0, "beta": 0.5}

LayerWriter = Callable[[GraphWriter, LayerSpec, FoldedWeights], None]


def _conv(writer: GraphWriter, layer: LayerSpec, weights: FoldedWeights) -> None:
    _with_activation(
        writer,
        layer,
        "Conv",
        [writer.names[layer.inputs[0]], *_initializers(writer, layer, weights)],
        kernel_shape=[layer.kernel_size] * 2,
        strides=[layer.stride] * 2,
        pads=[layer.padding] * 2 + [layer.padding + layer.extra_padding] * 2,
        dilations=[1, 1],
        group=layer.groups,
    )


def _linear(writer: GraphWriter, layer: LayerSpec, weights: FoldedWeights) -> None:
    source = writer.names[layer.inputs[0]]
    flat = writer.node("Flatten", [source], f"{layer.name}.flat", f"{layer.name}.flatten", axis=1)
    _with_activation(writer, layer, "Gemm", [flat, *_initializers(writer, layer, weights)], transB=1)


def _global_avg_pool(writer: GraphWriter, layer: LayerSpec, _: FoldedWeights) -> None:
    _with_activation(writer, layer, "GlobalAveragePool", [writer.names[layer.inputs[0]]])


def _avg_pool(writer: GraphWriter, layer: LayerSpec, _: FoldedWeights) -> None:
    # count_include_pad=0: every mean is over the pixels that exist, as torch's ceil_mode has it.
    _with_activation(
        writer,
        layer,
        "AveragePool",
        [writer.names[layer.inputs[0]]],
        **_window(layer),
        count_include_pad=0,
    )


def _max_pool(writer: GraphWriter, layer: LayerSpec, _: FoldedWeights) -> None:
    _with_activation(writer, layer, "MaxPool", [writer.names[layer.inputs[0]]], **_window(layer))


def _add(writer: GraphWriter, layer: LayerSpec, _: FoldedWeights) -> None:
    _with_activation(writer, layer, "Add", [writer.names[name] for name in layer.inputs])


def _scale(writer: GraphWriter, layer: LayerSpec, _: FoldedWeights) -> None:
    _with_activation(writer, layer, "Mul", [writer.names[name] for name in layer.inputs])


def _concat(writer: GraphWriter, layer: LayerSpec, _: FoldedWeights) -> None:
    _with_activation(writer, layer, "Concat", [writer.names[name] for name in layer.inputs], axis=1)


def _activation(writer: GraphWriter, layer: LayerSpec, _: FoldedWeights) -> None:
    assert layer.activation is not None
    source = writer.names[layer.inputs[0]]
    ACTIVATION_WRITERS[layer.activation](writer, source, writer.names[layer.name], layer.name)


def _initializers(writer: GraphWriter, layer: LayerSpec, weights: FoldedWeights) -> list[str]:
    weight, bias = weights[layer.name]
    names = [writer.initializer(f"{layer.name}.weight", weight)]
    if bias is not None:
        names.append(writer.initializer(f"{layer.name}.bias", bias))
    return names


def _window(layer: LayerSpec) -> dict[str, Any]:
    """Attributes of a pool; `ceil_mode` only where it changes the result."""
    leftover = (layer.in_size + 2 * layer.padding - layer.kernel_size) % layer.stride
    rounding = {"ceil_mode": 1} if layer.ceil_mode and leftover else {}
    return {
        "kernel_shape": [layer.kernel_size] * 2,
        "strides": [layer.stride] * 2,
        "pads": [layer.padding] * 4,
        **rounding,
    }


def _with_activation(
    writer: GraphWriter, layer: LayerSpec, operator: str, inputs: list[str], **attributes: Any
) -> None:
    output = writer.names[layer.name]
    if layer.activation is None:
        writer.node(operator, inputs, output, layer.name, **attributes)
        return
    source = writer.node(operator, inputs, f"{layer.name}.linear_output", layer.name, **attributes)
    ACTIVATION_WRITERS[layer.activation](writer, source, output, f"{layer.name}.{layer.activation}")


def _relu(writer: GraphWriter, source: str, output: str, name: str) -> None:
    writer.node("Relu", [source], output, name)


def _relu6(writer: GraphWriter, source: str, output: str, name: str) -> None:
    six = writer.constant("relu6.max", 6.0)
    if writer.use_clip:
        writer.node("Clip", [source, writer.constant("relu6.min", 0.0), six], output, name)
        return
    positive = writer.node("Relu", [source], f"{name}.positive", f"{name}.relu")
    writer.node("Min", [positive, six], output, f"{name}.min")


def _h_sigmoid(writer: GraphWriter, source: str, output: str, name: str) -> None:
    writer.node("HardSigmoid", [source], output, name, **HARD_SIGMOID)


def _h_swish(writer: GraphWriter, source: str, output: str, name: str) -> None:
    if writer.use_hard_swish:
        writer.node("HardSwish", [source], output, name)
        return
    gate = writer.node("HardSigmoid", [source], f"{name}.gate", f"{name}.hard_sigmoid", **HARD_SIGMOID)
    writer.node("Mul", [source, gate], output, f"{name}.mul")


def _sigmoid(writer: GraphWriter, source: str, output: str, name: str) -> None:
    writer.node("Sigmoid", [source], output, name)


def _swish(writer: GraphWriter, source: str, output: str, name: str) -> None:
    gate = writer.node("Sigmoid", [source], f"{name}.gate", f"{name}.sigmoid")
    writer.node("Mul", [source, gate], output, f"{name}.mul")


WRITERS: Mapping[LayerKind, LayerWriter] = {
    "conv": _conv,
    "linear": _linear,
    "global_avg_pool": _global_avg_pool,
    "avg_pool": _avg_pool,
    "max_pool": _max_pool,
    "add": _add,
    "scale": _scale,
    "concat": _concat,
    "activation": _activation,
}

ACTIVATION_WRITERS: Mapping[Activation, Callable[[GraphWriter, str, str, str], None]] = {
    "relu": _relu,
    "relu6": _relu6,
    "h_swish": _h_swish,
    "h_sigmoid": _h_sigmoid,
    "swish": _swish,
    "sigmoid": _sigmoid,
}
