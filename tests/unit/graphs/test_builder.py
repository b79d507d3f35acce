"""The ONNX writer against a direct reading of `LayerSpec` in torch, over every opset and precision."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F

from ofa_toolkit.complexity import count_macs
from ofa_toolkit.core.errors import ExportError, MismatchError
from ofa_toolkit.core.rng import generator
from ofa_toolkit.graphs import build_onnx, count_folded_params, count_graph, random_weights
from ofa_toolkit.graphs.weights import FoldedWeights
from ofa_toolkit.spaces import get_space, lower, sample_subnets
from ofa_toolkit.spaces.layer_builder import Flow, LayerBuilder
from ofa_toolkit.spaces.layer_spec import ACTIVATIONS, LAYER_KINDS, NETWORK_INPUT, LayerSpec
from ofa_toolkit.spaces.lowering import BlockChoice, lower_block
from tests.every_space import EVERY_SPACE

ACTIVATION_FUNCTIONS = {
    "relu": F.relu,
    "relu6": F.relu6,
    "h_swish": F.hardswish,
    "h_sigmoid": F.hardsigmoid,
    "swish": F.silu,
    "sigmoid": torch.sigmoid,
}


def run_torch(
    layers: Sequence[LayerSpec], weights: FoldedWeights, inputs: Mapping[str, np.ndarray]
) -> np.ndarray:
    """What the layers compute, in double precision, as `LayerSpec` describes them."""
    values = {name: torch.from_numpy(value).double() for name, value in inputs.items()}
    for layer in layers:
        values[layer.name] = apply_layer(layer, weights, [values[name] for name in layer.inputs])
    return values[layers[-1].name].numpy()


def apply_layer(layer: LayerSpec, weights: FoldedWeights, inputs: list[torch.Tensor]) -> torch.Tensor:
    first, k, s = inputs[0], layer.kernel_size, layer.stride
    weight, bias = (
        None if array is None else torch.from_numpy(array).double()
        for array in weights.get(layer.name, (None, None))
    )
    match layer.kind:
        case "conv":
            first = F.pad(first, (0, layer.extra_padding, 0, layer.extra_padding))
            result = F.conv2d(first, weight, bias, s, layer.padding, groups=layer.groups)
        case "linear":
            result = F.linear(first.flatten(1), weight, bias)
        case "global_avg_pool":
            result = first.mean((2, 3), keepdim=True)
        case "avg_pool":
            result = F.avg_pool2d(first, k, s, layer.padding, ceil_mode=layer.ceil_mode)
        case "max_pool":
            result = F.max_pool2d(first, k, s, layer.padding, ceil_mode=layer.ceil_mode)
        case "add":
            result = first + inputs[1]
        case "scale":
            result = first * inputs[1]
        case "concat":
            result = torch.cat(inputs, dim=1)
        case "activation":
            result = first
    return ACTIVATION_FUNCTIONS[layer.activation](result) if layer.activation else result


def run_onnx(model: onnx.ModelProto, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, dict(inputs))[0]


def relative_error(value: np.ndarray, expected: np.ndarray) -> float:
    assert value.shape == expected.shape
    return float(np.abs(value - expected).max() / np.abs(expected).max())


def every_kind_and_activation() -> list[LayerSpec]:
    """A made-up network in which each kind of layer and each activation appears."""
    build = LayerBuilder(1e-5)
    flow = build.conv("first", Flow(NETWORK_INPUT, 3, 15), 8, 3, 2, "h_swish")
    left = build.conv("left", flow, 4, 1, 1, "relu6", batch_norm=False)
    right = build.conv("right", flow, 4, 3, 1, "sigmoid", groups=2, bias=True, batch_norm=False)
    build.layers.append(
        LayerSpec(
            name="joined",
            kind="concat",
            inputs=(left.layer, right.layer),
            in_channels=8,
            out_channels=8,
            in_size=8,
            out_size=8,
        )
    )
    flow = Flow("joined", 8, 8)
    flow = build.squeeze_excite("se", build.depthwise("depthwise", flow, 5, 1, "swish"))
    flow = build.join("residual", "add", flow, Flow("joined", 8, 8), "relu")
    flow = build.pool("max", "max_pool", flow, 3, 2)
    build.layers.append(
        dataclasses.replace(
            build.layers[-1],
            name="alone",
            kind="activation",
            inputs=("max",),
            in_size=4,
            activation="h_sigmoid",
        )
    )
    flow = build.conv("odd", Flow("alone", 8, 4), 8, 3, 1, None)
    flow = build.pool("average", "avg_pool", flow, 2, 2)
    flow = build.pool("global", "global_avg_pool", flow, flow.size, 1)
    build.linear("classifier", flow, 5)
    return build.layers


def test_made_up_network_has_every_kind_and_activation() -> None:
    layers = every_kind_and_activation()
    assert {layer.kind for layer in layers} == set(LAYER_KINDS)
    assert {layer.activation for layer in layers} - {None} == set(ACTIVATIONS)


@pytest.mark.parametrize("opset", range(11, 22))
def test_every_operator_equals_torch_in_every_opset(opset: int) -> None:
    rng = generator(0, "graphs", opset)
    layers = every_kind_and_activation()
    weights = random_weights(layers, rng)
    inputs = {"input": rng.standard_normal((2, 3, 15, 15), dtype=np.float32)}
    expected = run_torch(layers, weights, inputs)
    for use_hard_swish in (False, True) if opset >= 14 else (False,):
        use_clip = not use_hard_swish
        model = build_onnx(
            layers, weights, opset=opset, batch_size=2, use_hard_swish=use_hard_swish, use_clip=use_clip
        )
        onnx.checker.check_model(model, full_check=True)
        operators = count_graph(model).operators
        assert ("HardSwish" in operators) == use_hard_swish
        assert ("Clip" in operators) == use_clip
        assert relative_error(run_onnx(model, inputs), expected) < 1e-5


@pytest.mark.parametrize("name", EVERY_SPACE)
def test_random_subnet_of_every_space_equals_torch(name: str) -> None:
    rng = generator(1, "graphs", name)
    space = get_space(name)
    [subnet] = sample_subnets(space, 1, rng, resolution=space.resolutions[0])
    layers = lower(space, subnet)
    weights = random_weights(layers, rng)
    inputs = {"input": rng.standard_normal((1, 3, subnet.resolution, subnet.resolution), dtype=np.float32)}
    model = build_onnx(layers, weights)
    assert relative_error(run_onnx(model, inputs), run_torch(layers, weights, inputs)) < 1e-4
    counts = count_graph(model)
    assert counts.macs == count_macs(layers)
    assert counts.params == count_folded_params(layers)


@pytest.mark.parametrize("size", [7, 8])
def test_average_pool_that_rounds_up_ignores_what_is_not_there(size: int) -> None:
    build = LayerBuilder(1e-5)
    build.pool("pool", "avg_pool", Flow("before", 3, size), 2, 2, ceil_mode=True)
    inputs = {"before": np.random.default_rng(0).standard_normal((1, 3, size, size), dtype=np.float32)}
    model = build_onnx(build.layers, {})
    assert relative_error(run_onnx(model, inputs), run_torch(build.layers, {}, inputs)) < 1e-6


def test_half_precision_keeps_single_precision_ends() -> None:
    rng = np.random.default_rng(0)
    layers = every_kind_and_activation()
    weights = random_weights(layers, rng)
    inputs = {"input": rng.standard_normal((1, 3, 15, 15), dtype=np.float32)}
    model = build_onnx(layers, weights, precision="fp16")
    onnx.checker.check_model(model, full_check=True)
    assert {tensor.data_type for tensor in model.graph.initializer} == {onnx.TensorProto.FLOAT16}
    ends = [*model.graph.input, *model.graph.output]
    assert {end.type.tensor_type.elem_type for end in ends} == {onnx.TensorProto.FLOAT}
    error = relative_error(run_onnx(model, inputs), run_torch(layers, weights, inputs))
    assert 0 < error < 2e-2
    counts = count_graph(model)
    assert (counts.macs, counts.params) == (count_macs(layers), count_folded_params(layers))


def test_block_takes_what_flows_into_it() -> None:
    space = get_space("mobilenet-v3-compact")
    choice = BlockChoice(stage=1, block=1, width=24, kernel_size=3, expand_ratio=4)
    layers, _ = lower_block(space, choice, Flow("stages.1.0.project", 24, 8))
    model = build_onnx(layers, random_weights(layers, np.random.default_rng(0)), batch_size=None)
    [block_input], [output] = model.graph.input, model.graph.output
    assert block_input.name == "stages.1.0.project"
    assert [d.dim_param or d.dim_value for d in block_input.type.tensor_type.shape.dim] == ["batch", 24, 8, 8]
    value = np.random.default_rng(1).standard_normal((3, 24, 8, 8), dtype=np.float32)
    assert output.name == "output"
    assert run_onnx(model, {block_input.name: value}).shape == (3, 24, 8, 8)


def test_single_gate_and_classifier_get_their_input_shapes() -> None:
    build = LayerBuilder(1e-5)
    build.join("scale", "scale", Flow("map", 4, 6), Flow("gate", 4, 1))
    shapes = {
        value.name: [d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in build_onnx(build.layers, {}).graph.input
    }
    assert shapes == {"map": [1, 4, 6, 6], "gate": [1, 4, 1, 1]}
    build = LayerBuilder(1e-5)
    build.linear("classifier", Flow("pooled", 4, 1), 3)
    model = build_onnx(build.layers, random_weights(build.layers, np.random.default_rng(0)))
    assert run_onnx(model, {"pooled": np.ones((1, 4, 1, 1), np.float32)}).shape == (1, 3)


def test_same_weights_give_the_same_bytes_and_names_are_never_empty() -> None:
    layers = every_kind_and_activation()
    weights = random_weights(layers, np.random.default_rng(0))
    model = build_onnx(layers, weights, metadata={"a": "b"})
    assert model.SerializeToString() == build_onnx(layers, weights, metadata={"a": "b"}).SerializeToString()
    for node in model.graph.node:
        assert all([node.name, *node.input, *node.output])
    assert len({node.name for node in model.graph.node}) == len(model.graph.node)
    assert [(p.key, p.value) for p in model.metadata_props] == [("a", "b")]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"opset": 10}, "Opset 10 is not written"),
        ({"opset": 22}, "Opset 22 is not written"),
        ({"opset": 13, "use_hard_swish": True}, "HardSwish needs opset 14"),
        ({"opset": 17, "ir_version": 7}, "needs IR version 8"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: dict[str, int], message: str) -> None:
    layers = every_kind_and_activation()
    weights = random_weights(layers, np.random.default_rng(0))
    with pytest.raises(ExportError, match=message):
        build_onnx(layers, weights, **options)


def test_layers_without_one_output_are_refused() -> None:
    layers = every_kind_and_activation()[:3]
    with pytest.raises(ExportError, match="nobody reads 'left', 'right'"):
        build_onnx(layers, random_weights(layers, np.random.default_rng(0)))


def test_weights_that_do_not_fit_are_refused() -> None:
    layers = every_kind_and_activation()
    weights = random_weights(layers, np.random.default_rng(0))
    with pytest.raises(MismatchError, match="No weights for layer 'first'"):
        build_onnx(layers, {})
    with pytest.raises(MismatchError, match="no such layer"):
        build_onnx(layers, {**weights, "extra": weights["first"]})
    weight, bias = weights["first"]
    with pytest.raises(MismatchError, match=r"has shape \(8, 3, 3, 2\)"):
        build_onnx(layers, {**weights, "first": (weight[..., :2], bias)})
    with pytest.raises(MismatchError, match="takes a bias"):
        build_onnx(layers, {**weights, "first": (weight, None)})
    with pytest.raises(MismatchError, match="Bias of layer 'first'"):
        build_onnx(layers, {**weights, "first": (weight, bias[:4])})
