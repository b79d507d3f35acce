"""8-bit quantisation: right form for each runtime, and close to the fp32 network."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, numpy_helper

from ofa_toolkit.core.errors import DataError
from ofa_toolkit.core.rng import generator
from ofa_toolkit.export.exporter import FileForm, write_model
from ofa_toolkit.export.hard_sigmoid import round_to_gates
from ofa_toolkit.export.quantization import quantize
from ofa_toolkit.export.squeeze_excite import find_gates, gate_convolutions
from ofa_toolkit.export.target_devices import resolve_target
from ofa_toolkit.export.targets import generation
from ofa_toolkit.graphs import build_onnx, count_folded_params, count_graph, random_weights, weighted_nodes
from ofa_toolkit.spaces import SPACES, get_space, lower
from tests.unit.export.samples import layers, model, quantised

IMAGES = generator(0, "quantization").standard_normal((4, 2, 3, 8, 8), dtype=np.float32)


def fp32() -> onnx.ModelProto:
    network = layers()
    return build_onnx(
        network,
        random_weights(network, np.random.default_rng(0)),
        opset=13,
        batch_size=2,
        metadata={"k": "v"},
    )


def run(model: onnx.ModelProto) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return np.concatenate([session.run(None, {"input": images})[0] for images in IMAGES])


def node(model: onnx.ModelProto, name: str) -> onnx.NodeProto:
    return next(node for node in model.graph.node if node.name == name)


def producer(model: onnx.ModelProto, tensor: str) -> str | None:
    return next((node.op_type for node in model.graph.node if tensor in node.output), None)


@pytest.mark.parametrize("row", ["tensorrt-8.2", "tensorrt-11.0", "onnxruntime"])
@pytest.mark.parametrize("method", ["minmax", "percentile"])
def test_outputs_stay_close(row: str, method: str, capfd: pytest.CaptureFixture[str]) -> None:
    expected = run(fp32())
    folds = not generation(row).software.fuses_quantisation
    result = run(quantize(fp32(), IMAGES, generation(row), method=method, folds_hard_sigmoid=folds))
    assert 0 < np.abs(result - expected).max() < 0.15 * np.abs(expected).max()
    assert capfd.readouterr().out == ""  # stdout is for results


@pytest.mark.parametrize("row", ["tensorrt-8.2", "tensorrt-10.0"])
def test_form_for_tensorrt(row: str) -> None:
    model = quantize(fp32(), IMAGES, generation(row))
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for name in ("first", "depthwise", "project", "mix", "classifier"):
        weighted = node(model, name)
        assert producer(model, weighted.input[0]) == "DequantizeLinear"
        assert producer(model, weighted.input[1]) == "DequantizeLinear"
        assert all(constants[bias].data_type == TensorProto.FLOAT for bias in weighted.input[2:])
        # Nothing but the next layer's own quantisation stands between a layer and what follows it.
        readers = {n.op_type for n in graph.node if weighted.output[0] in n.input}
        assert not readers & {"QuantizeLinear"}
    assert producer(model, node(model, "se.reduce").input[0]) == "Cast"
    for name in ("se.reduce", "se.expand"):
        stored = {constants[tensor].data_type for tensor in node(model, name).input[1:]}
        assert stored == {TensorProto.FLOAT16}
    assert sorted(str(producer(model, name)) for name in node(model, "add").input) == [
        "Conv",
        "DequantizeLinear",
    ]
    zero_points = [numpy_helper.to_array(t) for t in graph.initializer if t.name.endswith("zero_point")]
    assert zero_points
    assert all(point.dtype == np.int8 and not point.any() for point in zero_points)
    stored = {t.data_type for t in graph.initializer if len(t.dims) >= 2}
    assert (TensorProto.INT8 in stored) == (row == "tensorrt-10.0")


def test_gates_stay_in_single_precision_where_there_is_no_half() -> None:
    model = quantize(fp32(), IMAGES, generation("tensorrt-8.2"), has_half=False)
    assert TensorProto.FLOAT16 not in {tensor.data_type for tensor in model.graph.initializer}
    assert "Cast" not in count_graph(model).operators


@pytest.mark.parametrize("activation", ["h_swish", "swish", "relu"])
def test_a_gate_is_known_by_the_map_it_scales(activation: str) -> None:
    """After the last pool h-swish is a product of a convolution with itself, not with the pooled map."""
    assert gate_convolutions(model(activation).graph) == ["se.reduce", "se.expand"]
    assert gate_convolutions(quantised("tensorrt-8.2").graph) == ["se.reduce", "se.expand"]
    [gate] = find_gates(model(activation).graph)
    assert (gate.entry, gate.result) == ("se.pool", "se.expand")


def test_map_that_another_pool_gave_is_no_gate() -> None:
    file = model("relu")
    scale = node(file, "se.scale")
    scale.input[0] = "first"
    assert find_gates(file.graph) == []


def test_form_for_processors_keeps_everything_in_8_bits() -> None:
    source, row = fp32(), generation("onnxruntime")
    assert "HardSigmoid" in count_graph(quantize(source, IMAGES, row)).operators  # files of before
    model = quantize(source, IMAGES, row, folds_hard_sigmoid=True)
    assert not {"Relu", "HardSigmoid"} & count_graph(model).operators.keys()
    points = [t for t in model.graph.initializer if t.name.endswith("zero_point") and not t.dims]
    assert {TensorProto.UINT8} == {t.data_type for t in points}


@pytest.mark.parametrize(("alpha", "beta"), [(1 / 6, 0.5), (0.2, 0.5), (0.25, 0.0), (0.5, 1.0)])
def test_bytes_cut_off_what_hard_sigmoid_does(alpha: float, beta: float) -> None:
    """From -8 to 8, in 1,000 steps: to half a step of a byte, and half a step of the zero point."""
    made = onnx.helper.make_node("HardSigmoid", ["input"], ["gate"], alpha=alpha, beta=beta)
    into = onnx.helper.make_node("QuantizeLinear", ["gate", "s", "z"], ["bytes"])
    back = onnx.helper.make_node("DequantizeLinear", ["bytes", "s", "z"], ["output"])
    ends = [onnx.helper.make_tensor_value_info(n, TensorProto.FLOAT, [1000]) for n in ("input", "output")]
    stored = [numpy_helper.from_array(np.array(0.7 / 255, np.float32), "s")]
    stored += [numpy_helper.from_array(np.array(0, np.uint8), "z")]
    graph = onnx.helper.make_graph([made, into, back], "gate", ends[:1], ends[1:], stored)
    round_to_gates(graph)
    assert [node.op_type for node in graph.node] == ["QuantizeLinear", "DequantizeLinear"]
    file = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(file.SerializeToString(), providers=["CPUExecutionProvider"])
    x = np.linspace(-8, 8, 1000, dtype=np.float32)
    [found] = session.run(None, {"input": x})
    assert np.abs(found - np.clip(alpha * x + beta, 0, 1)).max() <= 1.01 / 255
    assert (found.min(), found.max()) == (0, 1)


def test_weights_are_counted_and_metadata_kept() -> None:
    source = fp32()
    for row in ("tensorrt-8.2", "onnxruntime"):
        model = quantize(source, IMAGES, generation(row))
        assert count_graph(model).params == count_folded_params(layers())
        assert count_graph(model).macs == count_graph(source).macs
        assert [(p.key, p.value) for p in model.metadata_props] == [("k", "v")]
        assert model.ir_version == source.ir_version
        assert model.opset_import == source.opset_import
    assert source == fp32()


def test_without_images_nothing_is_quantised() -> None:
    with pytest.raises((DataError, ValueError), match=r"(?i)image|data"):
        quantize(fp32(), [], generation("tensorrt-8.2"))


def test_calibration_takes_any_number_of_images_at_a_time() -> None:
    """The ranges are those of the images, however they are divided; the file keeps its batch size."""
    one = quantize(fp32(), IMAGES, generation("onnxruntime"))
    many = quantize(fp32(), [np.concatenate(list(IMAGES))], generation("onnxruntime"))
    assert one == many
    assert one.graph.input == fp32().graph.input
    assert one.graph.output == fp32().graph.output


def half_and_int8(space: str, target: str, end: str) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    table = get_space(space)
    network = lower(table, getattr(table, end)(min(table.resolutions)))
    weights, size = random_weights(network, generator(0, "sizes")), network[0].in_size
    images = generator(0, "images").standard_normal((2, 3, size, size), dtype=np.float32)
    where = resolve_target(target)
    half = write_model(network, weights, FileForm(target=where, precision="fp16"))
    eighth = write_model(network, weights, FileForm(target=where, precision="int8"), calibration=[images])
    return half, eighth


def test_a_mobilenet_for_tensorrt_is_int8_but_for_its_gates() -> None:
    half, eighth = half_and_int8("mobilenet-v3-compact", "tensorrt-11.0", "smallest")
    precisions = {node.name: node.precision for node in weighted_nodes(eighth)}
    assert precisions["head.mix"] == precisions["classifier"] == "int8"
    assert all((".se." in name) == (precision == "fp16") for name, precision in precisions.items())
    assert eighth.ByteSize() <= 0.75 * half.ByteSize()


@pytest.mark.slow
@pytest.mark.parametrize("space", [name for name in SPACES if "mobilenet-v3" in name])
@pytest.mark.parametrize("target", ["tensorrt-10.0", "onnxruntime-cpu"])
@pytest.mark.parametrize("end", ["smallest", "largest"])
def test_int8_files_are_smaller_than_half_precision_ones(space: str, target: str, end: str) -> None:
    half, eighth = half_and_int8(space, target, end)
    assert eighth.ByteSize() <= 0.75 * half.ByteSize()


def test_weights_of_seven_bits_keep_sums_of_two_products_within_sixteen() -> None:
    def largest_weight(bits: int) -> int:
        made = quantize(fp32(), IMAGES, generation("onnxruntime"), weight_bits=bits)
        weights = [
            numpy_helper.to_array(tensor)
            for tensor in made.graph.initializer
            if tensor.data_type == TensorProto.INT8 and len(tensor.dims) >= 2
        ]
        return max(int(np.abs(values.astype(int)).max()) for values in weights)

    assert largest_weight(8) == 127
    assert largest_weight(7) <= 64
    assert 2 * 255 * 64 < 2**15 <= 2 * 255 * 127
