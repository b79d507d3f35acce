"""What a file takes and gives in place of normalised images and logits: pixels, probabilities, top classes.

The nodes stand before and behind the network's own, which they leave as they are: `strip` undoes `wrap`, so
that all that is checked of a network is checked of the same nodes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from ofa_toolkit.core.errors import ExportError
from ofa_toolkit.export.choices import Layout
from ofa_toolkit.export.target_devices import Target
from ofa_toolkit.spaces.layer_spec import NETWORK_INPUT
from ofa_toolkit.supernets.backbone import STRIDES

Images = npt.NDArray[np.float32]
Input = Literal["normalised", "uint8", "float255"]
Output = Literal["logits", "probabilities", "topk", "features"]

PIXELS = "pixels"
_PREFIX = "ends."
_TO_FIRST = (0, 3, 1, 2)


@dataclass(frozen=True, kw_only=True)
class Ends:
    """Both ends of a file.

    Attributes:
        input: `normalised` images in single precision; pixels 0 to 255 as `uint8`, or in single precision
            (`float255`) for targets that take no bytes. Pixels are scaled and normalised inside.
        layout: Layout of the input: `(N, 3, R, R)` or `(N, R, R, 3)`.
        output: `logits` `(N, classes)`; their softmax as `probabilities`; or the `topk` largest of these:
            `values` and `indices`, `(N, k)` each, largest first. Or, of a network without its classifier,
            its maps as `features`, see `feature_maps`.
        k: For `topk`.
    """

    input: Input = "normalised"
    layout: Layout = "NCHW"
    output: Output = "logits"
    k: int | None = None

    def __post_init__(self) -> None:
        fields: tuple[tuple[str, Any], ...] = (("input", Input), ("layout", Layout), ("output", Output))
        for name, kind in fields:
            if getattr(self, name) not in get_args(kind):
                known = ", ".join(get_args(kind))
                raise ValueError(f"{name} '{getattr(self, name)}'; known: {known}")
        if (self.output == "topk") != (self.k is not None):
            raise ValueError("k belongs to topk, and topk needs it")

    @property
    def takes_pixels(self) -> bool:
        """Whether pictures go in as they are."""
        return self.input != "normalised"

    @property
    def is_plain(self) -> bool:
        """Whether nothing stands before or behind the network."""
        return not self.takes_pixels and self.layout == "NCHW" and self.output in ("logits", "features")

    @property
    def gives_maps(self) -> bool:
        """Whether the network is without its classifier."""
        return self.output == "features"

    def input_shape(self, batch: Any, size: int) -> list[Any]:
        """Shape of the input."""
        return [batch, 3, size, size] if self.layout == "NCHW" else [batch, size, size, 3]

    def told_input(self) -> str:
        """For people."""
        kinds = {"normalised": "normalised", "uint8": "0 to 255 as bytes", "float255": "0 to 255 as float32"}
        return f"{kinds[self.input]}, {self.layout}"

    def told_output(self) -> str:
        """For people."""
        if self.gives_maps:
            return f"maps {', '.join(self.output_names())}"
        return self.output if self.k is None else f"values and indices of the {self.k} likeliest classes"

    def output_names(self) -> list[str]:
        """Names of the outputs."""
        if self.gives_maps:
            return [map_name(stride) for stride in STRIDES]
        return ["values", "indices"] if self.output == "topk" else [self.output]


def map_name(stride: int) -> str:
    """Of the output with the map of a stride."""
    return f"stride{stride}"


def ends_for(target: Target, num_classes: int, *, pixels: bool, layout: Layout, output: str) -> Ends:
    """The ends that a user asks for, as the target takes them.

    Args:
        target: Gets pixels as bytes where its software reads them.
        num_classes: Outputs of the network.
        pixels: Whether pictures go in as they are.
        layout: Layout of the input.
        output: `logits`, `probabilities`, `topk=K` or `features`.

    Raises:
        ExportError: There is no such output.
    """
    takes_bytes = "UINT8" in target.generation.data_types
    taken: Input = "normalised" if not pixels else "uint8" if takes_bytes else "float255"
    if output == "features":
        return Ends(input=taken, layout=layout, output="features")
    match = re.fullmatch(r"topk=(\d+)", output)
    if output not in ("logits", "probabilities") and match is None:
        raise ExportError(
            f"'{output}' is no output; logits, probabilities and topk=K are, such as topk=5.",
            hint="--output probabilities",
        )
    k = None if match is None else int(match[1])
    if k is not None and not 1 <= k <= num_classes:
        raise ExportError(
            f"'{output}' is not possible: the network has {num_classes} classes.",
            hint=f"--output topk={min(5, num_classes)}",
        )
    return Ends(
        input=taken,
        layout=layout,
        output="topk" if match else "probabilities" if output == "probabilities" else "logits",
        k=k,
    )


def factors(preprocessing: Mapping[str, Any]) -> tuple[Images, Images]:
    """Scale and shift a channel, `(1, 3, 1, 1)` each, that turn pixels 0 to 255 into network input.

    Raises:
        ExportError: Mean and standard deviation are not known.
    """
    missing = [key for key in ("mean", "std") if key not in preprocessing]
    if missing:
        raise ExportError(
            f"A file that takes pixels needs the network's {' and '.join(missing)}, which are not known.",
            hint="Leave out --input: the file takes normalised images.",
        )
    mean, std = (np.asarray(preprocessing[key], np.float64).reshape(1, 3, 1, 1) for key in ("mean", "std"))
    return (1 / (255 * std)).astype(np.float32), (-mean / std).astype(np.float32)


def wrap(model: onnx.ModelProto, ends: Ends, preprocessing: Mapping[str, Any]) -> onnx.ModelProto:
    """A written network with the nodes of its ends around it.

    Args:
        model: With one input of normalised images and one output of logits; left unchanged.
        ends: Input and output of the file.
        preprocessing: Preprocessing of the network's images.
    """
    wrapped = onnx.ModelProto()
    wrapped.CopyFrom(model)
    if ends.is_plain:
        return wrapped
    graph = wrapped.graph
    [source], logits = graph.input, graph.output[0]
    batch, _, size, _ = (d.dim_param or d.dim_value for d in source.type.tensor_type.shape.dim)
    before, constants = _input_nodes(ends, source.name, preprocessing)
    after = _output_nodes(ends, logits.name, constants)
    network = list(graph.node)
    del graph.node[:]
    graph.node.extend([*before, *network, *after])
    graph.initializer.extend(constants)
    if before:
        kind = TensorProto.UINT8 if ends.input == "uint8" else TensorProto.FLOAT
        shape = ends.input_shape(batch, int(size))
        source.CopyFrom(helper.make_tensor_value_info(before[0].input[0], kind, shape))
    if after:
        width = ends.k or logits.type.tensor_type.shape.dim[1].dim_value
        del graph.output[:]
        for name in ends.output_names():
            kind = TensorProto.INT64 if name == "indices" else TensorProto.FLOAT
            graph.output.append(helper.make_tensor_value_info(name, kind, [batch, width]))
    return wrapped


def strip(model: onnx.ModelProto, ends: Ends, logits: str, num_classes: int) -> onnx.ModelProto:
    """The network that `wrap` put its nodes around.

    Args:
        model: With these ends; left unchanged.
        ends: Input and output of the model.
        logits: Name of the network's own output.
        num_classes: Width of the output.
    """
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    graph = bare.graph
    for nodes in (graph.node, graph.initializer):
        own = [node for node in nodes if not node.name.startswith(_PREFIX)]
        del nodes[:]
        nodes.extend(own)
    if ends.is_plain or not graph.input or not graph.output:
        return bare
    dims = [d.dim_param or d.dim_value for d in graph.input[0].type.tensor_type.shape.dim]
    batch, side = dims[0], dims[-2]
    if ends.takes_pixels or ends.layout == "NHWC":
        shape = [batch, 3, side, side]
        graph.input[0].CopyFrom(helper.make_tensor_value_info(NETWORK_INPUT, TensorProto.FLOAT, shape))
    if ends.output in ("probabilities", "topk"):
        del graph.output[:]
        graph.output.append(helper.make_tensor_value_info(logits, TensorProto.FLOAT, [batch, num_classes]))
    return bare


def _input_nodes(
    ends: Ends, network_input: str, preprocessing: Mapping[str, Any]
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    steps: list[tuple[str, list[str], dict[str, Any]]] = []
    constants: list[onnx.TensorProto] = []
    if ends.input == "uint8":
        steps.append(("Cast", [], {"to": TensorProto.FLOAT}))
    if ends.layout == "NHWC":
        steps.append(("Transpose", [], {"perm": _TO_FIRST}))
    if ends.takes_pixels:
        for operator, name, value in zip(
            ("Mul", "Add"), ("scale", "shift"), factors(preprocessing), strict=True
        ):
            constants.append(numpy_helper.from_array(value, _PREFIX + name))
            steps.append((operator, [_PREFIX + name], {}))
    nodes, tensor = [], PIXELS if ends.takes_pixels else "images"
    for number, (operator, more, attributes) in enumerate(steps):
        output = network_input if number == len(steps) - 1 else f"{_PREFIX}{operator.lower()}"
        name = f"{_PREFIX}input.{operator.lower()}"
        nodes.append(helper.make_node(operator, [tensor, *more], [output], name=name, **attributes))
        tensor = output
    return nodes, constants


def _output_nodes(ends: Ends, logits: str, constants: list[onnx.TensorProto]) -> list[onnx.NodeProto]:
    if ends.output in ("logits", "features"):
        return []
    shares = "probabilities" if ends.output == "probabilities" else f"{_PREFIX}probabilities"
    nodes = [helper.make_node("Softmax", [logits], [shares], name=f"{_PREFIX}softmax", axis=1)]
    if ends.k is not None:
        constants.append(numpy_helper.from_array(np.array([ends.k], np.int64), f"{_PREFIX}k"))
        inputs = [shares, f"{_PREFIX}k"]
        nodes.append(helper.make_node("TopK", inputs, ends.output_names(), name=f"{_PREFIX}topk", axis=1))
    return nodes
