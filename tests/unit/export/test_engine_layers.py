"""Which layer of an engine computes which of the network, and in what: every generation's lists are read."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest

from ofa_toolkit.core.precision import FilePrecision
from ofa_toolkit.export.kit.check import CheckError, check_precision, match_layers, precision_of, read_layers
from ofa_toolkit.export.tensorrt import promised_layers
from ofa_toolkit.graphs import build_onnx, random_weights, weighted_nodes
from ofa_toolkit.spaces import get_space, lower
from tests.unit.export.engine_lists import engine_list, recorded_list
from tests.unit.export.samples import model, quantised

VERSIONS = ("8.2", "8.6", "10.3", "11.1")


def recorded_network(precision: Any = "fp32") -> onnx.ModelProto:
    """The network of the recorded list."""
    space = get_space("mobilenet-v3-compact")
    largest = space.largest()
    stages = [
        dataclasses.replace(
            stage,
            depth=depth,
            kernel_sizes=stage.kernel_sizes[:depth],
            expand_ratios=stage.expand_ratios[:depth],
        )
        for stage, depth in zip(largest.stages, (3, 3, 3, 2, 1), strict=True)
    ]
    layers = lower(space, dataclasses.replace(largest, stages=tuple(stages)))
    weights = random_weights(layers, np.random.default_rng(0))
    return build_onnx(
        layers, weights, opset=17, precision=precision, use_hard_swish=True, output_name="logits"
    )


def test_recorded_list_is_matched_by_name_order_and_tensors() -> None:
    promised = promised_layers(recorded_network(), "fp32")
    assert check_precision(recorded_list(), promised, False) == "54 layers with weights: 54 in fp32"
    found = match_layers(promised, read_layers(recorded_list()))
    names = {name: layer.name for name, layer in found.items()}
    assert len(set(names.values())) == 54
    fused = {name: layer for name, layer in names.items() if layer.startswith("__myl")}
    assert fused.keys() == {
        "stem.conv",
        *(f"stages.2.{block}.{part}" for block in range(3) for part in ("expand", "depthwise")),
        *(f"stages.{block}.expand" for block in ("3.0", "3.1", "4.0")),
        "head.mix",
        "classifier",
    }
    assert fused["stages.2.1.depthwise"] == "__myl_CorrMulAddMinMaxMul_myl0_38"
    assert fused["classifier"] == "__myl_ReshMulSumAdd_myl0_67"


def test_each_layer_of_the_recorded_list_counts() -> None:
    promised = promised_layers(recorded_network("fp16"), "fp16")
    document = recorded_list("Half")
    assert check_precision(document, promised, False) == "54 layers with weights: 54 in fp16"
    by_layer = {layer.name: name for name, layer in match_layers(promised, read_layers(document)).items()}
    for entry in document["Layers"]:
        for tensor in entry["Inputs"]:
            tensor["Datatype"] = "Float"
        if entry["Name"] in by_layer:
            with pytest.raises(
                CheckError, match=f"1 in fp32; not as promised: '{by_layer[entry['Name']]}' in fp32"
            ):
                check_precision(document, promised, False)
        else:
            check_precision(document, promised, False)
        for tensor in entry["Inputs"]:
            tensor["Datatype"] = "Half"


@pytest.mark.parametrize("name", ["__myl_CorrMulAddMinMaxMul_myl0_34", "stages.0.1.depthwise_myl0_8"])
def test_layer_that_is_missing_is_named(name: str) -> None:
    document = recorded_list()
    document["Layers"] = [entry for entry in document["Layers"] if entry["Name"] != name]
    missing = {"__myl": "stages.2.0.expand"}.get(name[:5], "stages.0.1.depthwise")
    with pytest.raises(CheckError, match=f"can be matched with '{missing}'"):
        check_precision(document, promised_layers(recorded_network(), "fp32"), False)


def file(precision: FilePrecision) -> onnx.ModelProto:
    return quantised("tensorrt-10.0") if precision == "int8" else model(opset=13, precision=precision)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("has_open_shapes", [False, True])
def test_every_generation_is_read(version: str, precision: FilePrecision, has_open_shapes: bool) -> None:
    network = file(precision)
    made = {node.name: node.precision for node in weighted_nodes(network)}
    document = engine_list(network, made, version, has_open_shapes=has_open_shapes)
    text = check_precision(document, promised_layers(network, precision), False)
    assert text == "7 layers with weights: " + (
        "2 in fp16, 5 in int8" if precision == "int8" else f"7 in {precision}"
    )
    # The list of layers alone, as trtexec may write it.
    assert check_precision(document["Layers"], promised_layers(network, precision), False) == text


@pytest.mark.parametrize("version", VERSIONS)
def test_wider_layers_are_named_and_limited_where_the_builder_chooses(version: str) -> None:
    network = file("int8")
    nodes = {node.name: node for node in weighted_nodes(network)}
    promised = promised_layers(network, "int8")

    def check(chooses: bool, **others: str) -> str:
        made = {name: others.get(name, node.precision) for name, node in nodes.items()}
        return check_precision(engine_list(network, made, version), promised, chooses)

    share = 100 * nodes["classifier"].macs / sum(node.macs for node in nodes.values())
    assert 0 < share < 10
    assert f"not as promised: 'classifier' in fp16 ({share:.1f} %" in check(True, classifier="fp16")
    with pytest.raises(CheckError, match=r"'int8' was promised, but .* 'classifier' in fp16"):
        check(False, classifier="fp16")
    with pytest.raises(CheckError, match="'first' in fp32"):
        check(True, first="fp32")


def test_narrower_than_promised_is_never_taken() -> None:
    network = file("fp32")
    made = {node.name: "fp32" for node in weighted_nodes(network)} | {"classifier": "fp16"}
    with pytest.raises(CheckError, match="'classifier' in fp16"):
        check_precision(engine_list(network, made, "10.3"), promised_layers(network, "fp32"), True)


def subgraph(first: str, last: str, datatype: str) -> dict[str, Any]:
    tensors = [{"Name": name, "Format/Datatype": datatype} for name in ("tensor 2", "logits")]
    return {
        "Name": f"{{ForeignNode[{first}...{last}]}}",
        "LayerType": "Myelin",
        "Inputs": tensors[:1],
        "Outputs": tensors[1:],
    }


@pytest.mark.parametrize("datatype", ["Row major linear FP16 format", "Row major linear FP32"])
def test_subgraph_stands_for_all_between_its_ends(datatype: str) -> None:
    network = file("fp16")
    made = {node.name: "fp16" for node in weighted_nodes(network)}
    document = engine_list(network, made, "8.6")
    document["Layers"] = [*document["Layers"][:3], subgraph("pool", "classifier.flatten", datatype)]
    promised = promised_layers(network, "fp16")
    found = match_layers(promised, read_layers(document))
    assert {name for name, layer in found.items() if "ForeignNode" in layer.name} == {
        "se.reduce",
        "se.expand",
        "project",
        "mix",
        "classifier",
    }
    if "FP32" in datatype:
        with pytest.raises(CheckError, match="'project' in fp32"):
            check_precision(document, promised, True)
    else:
        assert "7 in fp16" in check_precision(document, promised, True)


def metadata_on_a_copy(entry: dict[str, Any]) -> None:
    entry.update(
        Name="__myl_MoveMul_myl0_9", LayerType="kgen", TacticName="", Metadata="[ONNX Layer: project]"
    )


def other_name(entry: dict[str, Any]) -> None:
    entry["Name"] = "project.weight + project2 + xproject_myl0_2"


@pytest.mark.parametrize("change", [metadata_on_a_copy, other_name])
def test_what_only_looks_like_a_layer_is_not_taken_for_it(change: Callable[[dict[str, Any]], None]) -> None:
    network = file("fp32")
    made = {node.name: "fp32" for node in weighted_nodes(network)}
    document = engine_list(network, made, "8.2")
    entry = next(layer for layer in document["Layers"] if " project " in layer["Name"])
    entry.pop("Weights")
    entry["ParameterType"] = ""
    entry["TacticName"] = ""
    entry["LayerType"] = "PointWiseV2"
    change(entry)
    with pytest.raises(CheckError, match="'project'"):
        check_precision(document, promised_layers(network, "fp32"), False)


def test_input_that_is_converted_on_the_way_in_does_not_count() -> None:
    network = file("fp16")
    made = {node.name: "fp16" for node in weighted_nodes(network)}
    document = engine_list(network, made, "11.1")
    entry = document["Layers"][1]
    entry.update(Name="__myl_CastCorrAdd_myl0_1", LayerType="runtime_fusion")
    entry["Inputs"][0]["Datatype"] = "Float"
    assert "7 in fp16" in check_precision(document, promised_layers(network, "fp16"), False)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "lists no layers"),
        ({"Layers": []}, "lists no layers"),
        ({"Layers": ["first", "second"]}, "names only"),
        ({"Layers": [{"Name": "copy", "LayerType": "Reformat"}]}, "can be matched with 'first'"),
    ],
)
def test_engine_that_says_nothing_is_not_believed(document: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckError, match=message):
        check_precision(document, promised_layers(file("fp16"), "fp16"), True)


@pytest.mark.parametrize(
    ("text", "precision"),
    [
        ("Row major linear FP32", "fp32"),
        ("Thirty-two wide channel vectorized row major Int8 format.", "int8"),
        ("Channel major FP16 format where channel % 8 == 0", "fp16"),
        ("Half (Linear) Row major linear format", "fp16"),
        ("Float", "fp32"),
        ("BFloat16", "bf16"),
        ("Float16", "fp16"),
        ("Float8", "unknown"),
        ("Int64", "unknown"),
        ("N/A due to dynamic shapes", "unknown"),
        ("", "unknown"),
    ],
)
def test_types_of_every_generation_are_understood(text: str, precision: str) -> None:
    assert precision_of(text) == precision
