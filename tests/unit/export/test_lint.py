"""The linter: rejects what each target refuses, for the reason given, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ofa_toolkit.core.errors import ExportError
from ofa_toolkit.export.lint import check_lint, group, lint
from ofa_toolkit.export.target_devices import Target, resolve_target, target_of_device
from ofa_toolkit.export.targets import GENERATIONS, generation
from tests.unit.export.samples import NANO, VOLTA, model, quantised

TENSORRT = [row.name for row in GENERATIONS if row.software.builds_engines]


def rules(file: onnx.ModelProto, target: Target) -> set[str]:
    return {finding.rule for finding in lint(file, target) if finding.severity == "error"}


def test_what_is_written_for_a_nano_passes_there() -> None:
    nano = target_of_device(NANO)
    assert lint(model(opset=13), nano) == []
    assert lint(model(opset=13, precision="fp16"), nano) == []


@pytest.mark.parametrize(
    ("file", "rule", "message"),
    [
        (lambda: model(opset=17, use_hard_swish=True), "operator", "no HardSwish; HardSigmoid and Mul"),
        (lambda: model(opset=14), "opset", "opset 14; nano reads up to 13"),
        (lambda: model(opset=13, batch_size=None), "static-shape", "need fixed shapes"),
        (lambda: quantised("tensorrt-8.2"), "precision", "nano has no int8"),
        (lambda: model("relu6", opset=13, precision="fp16"), "constant", "misreads the fp16 bounds"),
    ],
)
def test_nano_rejects(file: Callable[[], onnx.ModelProto], rule: str, message: str) -> None:
    nano = target_of_device(NANO)
    findings = [finding for finding in lint(file(), nano) if finding.rule == rule]
    assert findings
    assert message in findings[0].message
    with pytest.raises(ExportError, match="nano would not take the file"):
        check_lint(file(), nano)


@pytest.mark.parametrize("name", TENSORRT)
def test_generations_take_what_their_row_says(name: str) -> None:
    row, target = generation(name), resolve_target(name)
    takes_hard_swish = "HardSwish" in (row.operators or ())
    for opset in range(11, 22):
        expected = set() if opset <= row.max_opset else {"opset"}
        file = model(opset=opset)
        assert rules(file, target) == expected
        if opset >= 14:
            file = model(opset=opset, use_hard_swish=True)
            expected_with = expected | (set() if takes_hard_swish else {"operator"})
            assert rules(file, target) == expected_with
    assert rules(model(opset=row.export_opset, batch_size=None), target) == set()


@pytest.mark.parametrize("name", [name for name in TENSORRT if generation(name).int8])
def test_quantised_files_pass_where_they_are_meant_for(name: str) -> None:
    opset = generation(name).export_opset
    assert rules(quantised(name, opset=opset), resolve_target(name)) == set()


def test_int8_constants_are_refused_before_tensorrt_10() -> None:
    file = quantised("tensorrt-10.0")
    assert rules(file, resolve_target("tensorrt-10.0")) == set()
    assert rules(file, resolve_target("tensorrt-8.6")) == {"quantisation"}
    assert rules(file, target_of_device(VOLTA)) == set()


def test_files_for_processors_are_refused_by_tensorrt() -> None:
    file = quantised("onnxruntime", opset=17)
    assert rules(file, resolve_target("onnxruntime-cpu")) == set()
    messages = " ".join(f.message for f in lint(file, resolve_target("tensorrt-10.0")))
    assert "quantised to UINT8; TensorRT takes INT8" in messages
    assert "INT32" in messages


def one_node(
    operator: str, inputs: list[str], *, constants: dict[str, Any], rank: int = 4, **attributes: Any
) -> onnx.ModelProto:
    shape = [1, 3, 8, 8]
    names = [name for name in dict.fromkeys(inputs) if name and name not in constants]
    node = helper.make_node(operator, inputs, ["y"], name="node", **attributes)
    graph = helper.make_graph(
        [node],
        "graph",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in names],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * rank)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=6)


WEIGHT = np.zeros((4, 3, 1, 1), np.float32)
RESIZE = {"roi": np.zeros(0, np.float32), "scales": np.array([1, 1, 2, 2], np.float32)}
PADS = {"pads": np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64)}


@pytest.mark.parametrize(
    ("file", "refused", "taken"),
    [
        (one_node("Det", ["x"], constants={}), "tensorrt-11.0", None),
        # An input left out is read; only the upper bound of a Clip is not, up to 8.0.
        (one_node("Clip", ["x", "", "high"], constants={"high": np.float32(6)}), None, "tensorrt-7.1"),
        (
            one_node("Clip", ["x", "low", ""], constants={"low": np.float32(6)}),
            "tensorrt-8.0",
            "tensorrt-8.2",
        ),
        (
            one_node("Clip", ["x", "low", "x"], constants={"low": np.float32(6)}),
            "tensorrt-8.0",
            "tensorrt-8.2",
        ),
        (one_node("CumSum", ["x", "x"], constants={}), "tensorrt-10.0", None),
        (
            one_node("Resize", ["x", "roi", "scales"], constants=RESIZE, mode="linear"),
            "tensorrt-7.1",  # half_pixel is what ONNX takes where nothing is said
            "tensorrt-8.0",
        ),
        (
            one_node(
                "Resize",
                ["x", "roi", "scales"],
                constants=RESIZE,
                coordinate_transformation_mode="asymmetric",
                nearest_mode="floor",
            ),
            None,
            "tensorrt-7.1",
        ),
        (one_node("Resize", ["x", "roi", "scales"], constants=RESIZE, mode="cubic"), "tensorrt-10.0", None),
        (one_node("Pad", ["x", "pads"], constants=PADS, mode="reflect"), "tensorrt-8.0", "tensorrt-8.2"),
        (
            one_node("MaxPool", ["x"], constants={}, kernel_shape=[2, 2], dilations=[2, 2]),
            "tensorrt-10.0",
            "onnxruntime-cpu",
        ),
        (one_node("Conv", ["x", "w"], constants={"w": WEIGHT}), None, "tensorrt-7.1"),
        (one_node("Conv", ["x", "x"], constants={}), "tensorrt-8.4", None),
        (one_node("Add", ["x", "b"], constants={"b": np.int16(1)}), "tensorrt-10.0", None),
    ],
)
def test_foreign_files(file: onnx.ModelProto, refused: str | None, taken: str | None) -> None:
    if refused:
        assert rules(file, resolve_target(refused))
    if taken:
        assert rules(file, resolve_target(taken)) == set()


def test_quantisation_that_tensorrt_cannot_read_is_named() -> None:
    target = resolve_target("tensorrt-8.6")
    file = quantised("tensorrt-8.6")
    zero_point = next(t for t in file.graph.initializer if t.name.endswith("zero_point"))
    zero_point.CopyFrom(
        numpy_helper.from_array(numpy_helper.to_array(zero_point) + np.int8(3), zero_point.name)
    )
    assert any("the zero point is not 0" in finding.message for finding in lint(file, target))
    file = quantised("tensorrt-8.6")
    for node in file.graph.node:
        for attribute in node.attribute:
            if node.op_type == "QuantizeLinear" and attribute.name == "axis":
                attribute.i = 1
    assert any("along axis 0" in finding.message for finding in lint(file, target))


def test_int64_constants_are_a_warning_before_tensorrt_9() -> None:
    constants = {"shape": np.array([1, -1], np.int64)}
    file = one_node("Reshape", ["x", "shape"], constants=constants, rank=2)
    findings = lint(file, resolve_target("tensorrt-8.2"))
    assert [finding.severity for finding in findings] == ["warning"]
    assert check_lint(file, resolve_target("tensorrt-8.2")) == findings
    assert lint(file, resolve_target("tensorrt-10.0")) == []


def test_broken_model_is_reported_as_such() -> None:
    file = model(opset=13)
    file.graph.node[0].input[0] = "nowhere"
    assert "valid" in rules(file, resolve_target("onnxruntime-cpu"))


def test_foreign_domain_is_refused() -> None:
    file = model(opset=13)
    file.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    file.graph.node[-1].domain = "com.microsoft"
    target = resolve_target("onnxruntime-cpu")
    assert "domain" in rules(file, target)
    # ONNX Runtime has operators of its own; whether this one is among them it says itself.
    assert [finding.rule for finding in lint(file, target, loads=True)] == ["loads"]
    file.graph.node[-1].op_type = "FusedGemm"
    del file.graph.node[-1].attribute[:]
    file.graph.node[-1].attribute.extend(
        [helper.make_attribute("activation", "Relu"), helper.make_attribute("transB", 1)]
    )
    assert lint(file, target, loads=True) == []


def saved(
    node: onnx.NodeProto, kind: int, constants: dict[str, Any], *, opset: int = 13, ir_version: int = 7
) -> onnx.ModelProto:
    """One input `x` of a type, one node after it, and the result as float `y`."""
    nodes = [node] if "y" in node.output else [node, helper.make_node("Mul", [node.output[0], "x"], ["y"])]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", kind, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 8, 8])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)


def test_double_constants_are_cast_down_from_tensorrt_8_on() -> None:
    cast = helper.make_node("Cast", ["d"], ["c"], to=TensorProto.FLOAT)
    file = saved(cast, TensorProto.FLOAT, {"d": np.array(1 / 255)})
    findings = lint(file, resolve_target("tensorrt-10.0"))
    assert [(finding.severity, finding.node) for finding in findings] == [("warning", "d")]
    assert rules(file, resolve_target("tensorrt-7.1")) == {"opset", "data-type"}


def test_bytes_go_in_from_tensorrt_8_5_on_and_are_cast_first() -> None:
    cast = helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT, name="cast")
    file = saved(cast, TensorProto.UINT8, {})
    assert rules(file, resolve_target("tensorrt-8.4")) == {"data-type"}
    for name in ("tensorrt-8.5", "tensorrt-9.0", "tensorrt-11.0", "onnxruntime-cpu"):
        assert lint(file, resolve_target(name)) == []
    turned = helper.make_node("Transpose", ["x"], ["t"], perm=[0, 2, 3, 1], name="turn")
    file.graph.node.insert(0, turned)
    file.graph.node[1].input[0] = "t"
    del file.graph.output[0].type.tensor_type.shape.dim[:]
    for size in (1, 8, 8, 3):
        file.graph.output[0].type.tensor_type.shape.dim.add(dim_value=size)
    assert rules(file, resolve_target("tensorrt-10.0")) == {"data-type"}


def test_newer_file_formats_are_told_not_refused() -> None:
    file = saved(helper.make_node("Mul", ["x", "c"], ["y"]), TensorProto.FLOAT, {"c": np.float32(2)})
    file.ir_version = 11
    for name in ("tensorrt-8.2", "tensorrt-11.0", "onnxruntime-cpu"):
        assert [(f.severity, f.rule) for f in lint(file, resolve_target(name))] == [("warning", "ir-version")]


def test_stored_tensors_need_not_be_inputs_in_old_formats() -> None:
    multiply = helper.make_node("Mul", ["x", "c"], ["y"])
    file = saved(multiply, TensorProto.FLOAT, {"c": np.float32(2)}, opset=7, ir_version=3)
    assert lint(file, resolve_target("tensorrt-8.2")) == []
    assert lint(file, resolve_target("onnxruntime-cpu"), loads=True) == []
    assert [f.rule for f in lint(file, resolve_target("tensorrt-11.0"))] == ["opset"]
    assert rules(file, resolve_target("tensorrt-11.0")) == set()


@pytest.mark.parametrize("name", ["tensorrt-7.1", "tensorrt-11.0", "onnxruntime-cpu"])
def test_operators_from_before_opset_7_are_refused_where_they_broadcast(name: str) -> None:
    multiply = helper.make_node("Mul", ["x", "c"], ["y"], broadcast=1)
    file = saved(multiply, TensorProto.FLOAT, {"c": np.ones(8, np.float32)}, opset=6, ir_version=4)
    target = resolve_target(name)
    assert rules(file, target) == {"opset"}
    pad = helper.make_node("Relu", ["x"], ["y"])
    assert rules(saved(pad, TensorProto.FLOAT, {}, opset=6, ir_version=4), target) == set()


def reshaped(shape: list[int], batch: str | int = "N") -> onnx.ModelProto:
    """Pool, Reshape `named`, linear layer."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["p"], name="pool"),
        helper.make_node("Reshape", ["p", "s"], ["f"], name="named"),
        helper.make_node("Gemm", ["f", "w"], ["y"], name="linear", transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 4, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 10])],
        [
            numpy_helper.from_array(np.array(shape, np.int64), "s"),
            numpy_helper.from_array(np.zeros((10, 4), np.float32), "w"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)


@pytest.mark.parametrize("name", ["tensorrt-8.2", "tensorrt-11.0", "onnxruntime-cpu"])
@pytest.mark.parametrize(
    ("shape", "fixed"), [([1, 4], 1), ([1, -1], 1), ([2, 4], 2), ([-1, 4], 0), ([0, -1], 0)]
)
def test_reshape_to_a_fixed_batch_in_an_open_one_is_named(name: str, shape: list[int], fixed: int) -> None:
    found = [f for f in lint(reshaped(shape), resolve_target(name)) if f.rule == "open-batch"]
    assert [f.node for f in found] == (["named"] if fixed else [])
    assert all(f"fixes it at {fixed};" in f.message for f in found)
    if fixed:
        assert [f for f in lint(reshaped(shape, fixed), resolve_target(name)) if f.rule == "open-batch"] == []


def test_batch_that_a_reshape_puts_elsewhere_and_back_is_open() -> None:
    file = reshaped([1, -1])
    back = helper.make_node("Reshape", ["f", "t"], ["g"])
    file.graph.initializer.append(numpy_helper.from_array(np.array([-1, 4], np.int64), "t"))
    file.graph.node.insert(2, back)
    file.graph.node[3].input[0] = "g"
    assert rules(file, resolve_target("tensorrt-11.0")) == set()


def test_findings_are_told_once_for_each_rule() -> None:
    findings = lint(quantised("onnxruntime", opset=17), resolve_target("tensorrt-10.0"))
    groups = group(findings)
    assert len({(found.severity, found.rule) for found in groups}) == len(groups) < 5
    assert sum(found.count for found in groups) == len(findings) > 30
    assert all(len(found.places) <= 3 for found in groups)
    assert groups[0].severity == "error"
    message = next(found.message for found in groups if found.rule == "quantisation")
    assert message.count("quantised to UINT8; TensorRT takes INT8") == 1
