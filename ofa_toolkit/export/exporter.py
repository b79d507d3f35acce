"""From a plain network to an ONNX model that its target takes, checked against the network."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from torch import nn

from ofa_toolkit.complexity import count_macs
from ofa_toolkit.core.errors import ExportError, VerificationError
from ofa_toolkit.core.precision import FilePrecision
from ofa_toolkit.export.choices import CalibrationMethod
from ofa_toolkit.export.comparison import (
    CheckImages,
    Comparison,
    ModelRunner,
    Scores,
    check_comparison,
    compare,
    largest_half_activation,
)
from ofa_toolkit.export.ends import wrap
from ofa_toolkit.export.feature_maps import compare_maps, map_layers
from ofa_toolkit.export.file_values import (
    file_input,
    rounded_to_pixels,
    scores_of_file,
    scores_of_network,
)
from ofa_toolkit.export.lint import check_lint
from ofa_toolkit.export.metadata import ExportMetadata, attach
from ofa_toolkit.export.quantization import quantize
from ofa_toolkit.export.squeeze_excite import gate_convolutions
from ofa_toolkit.export.target_devices import Target
from ofa_toolkit.graphs import (
    FoldedWeights,
    WeightedNode,
    build_onnx,
    count_folded_params,
    count_graph,
    weighted_nodes,
)
from ofa_toolkit.graphs.builder import HARD_SWISH_OPSET
from ofa_toolkit.spaces.layer_spec import LayerSpec
from ofa_toolkit.supernets.backbone import feature_layers

OUTPUT_NAME = "logits"

Images = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class FileForm:
    """How a file is written.

    Attributes:
        target: The device or software that it will run on.
        precision: Arithmetic.
        batch_size: Images a run; None for any number.
        gives_maps: Whether the network is without its classifier, see `feature_maps`.
    """

    target: Target
    precision: FilePrecision = "fp32"
    batch_size: int | None = 1
    gives_maps: bool = False

    def outputs(self, layers: Sequence[LayerSpec]) -> dict[str, str] | None:
        """Output -> layer, where there are several."""
        return map_layers(layers) if self.gives_maps else None


def write_model(
    layers: Sequence[LayerSpec],
    weights: FoldedWeights,
    form: FileForm,
    *,
    calibration: Iterable[Images] | None = None,
    method: CalibrationMethod = "minmax",
    weight_bits: int = 8,
    folds_hard_sigmoid: bool = False,
) -> onnx.ModelProto:
    """Write a network as its target takes it, and check that it does.

    Args:
        layers: Layers of the whole network.
        weights: Folded, as `fold_batchnorm` gives them.
        form: Target, precision, batch size.
        calibration: For int8: batches of images.
        method: For int8: how ranges are found.
        weight_bits: For int8: see `quantize`.
        folds_hard_sigmoid: For int8: see `quantize`.

    Returns:
        A model without metadata.

    Raises:
        ExportError: The target does not take this form; nothing is written in another one instead.
    """
    target, row = form.target, form.target.generation
    target.check_precision(form.precision)
    is_half = form.precision == "fp16"
    has_hard_swish = row.operators is None or "HardSwish" in row.operators
    model = build_onnx(
        layers,
        weights,
        opset=row.export_opset,
        batch_size=form.batch_size,
        precision="fp16" if is_half else "fp32",
        # Quantisers treat the two operators one by one; HardSwish would stay in floating point as a whole.
        use_hard_swish=has_hard_swish and row.export_opset >= HARD_SWISH_OPSET and form.precision != "int8",
        use_clip=row.reads_half_constants or not is_half,
        output_name=OUTPUT_NAME,
        outputs=form.outputs(layers),
    )
    if form.precision == "int8":
        if calibration is None:
            raise ExportError(
                "int8 needs images to find the range of every activation.", hint="--data SOURCE"
            )
        has_half = target.supports("fp16") is not False
        model = quantize(
            model,
            calibration,
            row,
            method=method,
            weight_bits=weight_bits,
            folds_hard_sigmoid=folds_hard_sigmoid,
            has_half=has_half,
        )
    check_form(model, layers, form)
    return model


def check_form(model: onnx.ModelProto, layers: Sequence[LayerSpec], form: FileForm) -> None:
    """Raise unless a model is what its form says: linted, in its opset, precision, shapes and counts."""
    target, row = form.target, form.target.generation
    check_lint(model, target)
    opset = next(o.version for o in model.opset_import if o.domain == "")
    if opset != row.export_opset:
        raise VerificationError(f"The file is of opset {opset}; {row.name} gets {row.export_opset}.")
    check_precision(model, form.precision)
    counts = count_graph(model)
    for what, found, expected in (
        ("MACs", counts.macs, count_macs(layers)),
        ("parameters", counts.params, count_folded_params(layers)),
    ):
        if found != expected:
            raise VerificationError(f"The file has {found:,} {what}; the subnet has {expected:,}.")
    batch = form.batch_size or "batch"
    first, last = layers[0], layers[-1]
    expected_shapes: list[list[int | str]] = [[batch, first.in_channels, first.in_size, first.in_size]]
    if form.gives_maps:
        maps = feature_layers(layers).values()
        expected_shapes += [[batch, map_.out_channels, map_.out_size, map_.out_size] for map_ in maps]
    else:
        expected_shapes.append([batch, last.out_channels])
    shapes = [_shape(value) for value in (*model.graph.input, *model.graph.output)]
    if shapes != expected_shapes:
        raise VerificationError(f"The file takes and gives {shapes}; the subnet {expected_shapes}.")


def check_precision(model: onnx.ModelProto, precision: FilePrecision) -> tuple[WeightedNode, ...]:
    """Make sure that every convolution and linear layer computes in a precision.

    Returns:
        The layers that need not: in int8 those of squeeze-excite gates that are in floating point.

    Raises:
        VerificationError: Another layer is in another precision.
    """
    others = [node for node in weighted_nodes(model) if node.precision != precision]
    exempt = set(gate_convolutions(model.graph)) if precision == "int8" else set()
    for node in others:
        if node.name not in exempt or node.precision not in ("fp32", "fp16"):
            raise VerificationError(
                f"'{precision}' was asked, but layer '{node.name}' is in {node.precision}."
            )
    return tuple(others)


def finish(
    model: onnx.ModelProto,
    network: nn.Module,
    check: CheckImages,
    metadata: ExportMetadata,
    *,
    max_accuracy_drop: float | None = None,
) -> tuple[onnx.ModelProto, ExportMetadata, Comparison]:
    """Put the file's ends around a written network, compare, and add the metadata with the outcome.

    Returns:
        The file, its metadata, and the outcome.

    Raises:
        VerificationError: The outputs are further apart than the precision allows, or fp16 overflows.
    """
    wrapped = wrap(model, metadata.ends, metadata.preprocessing)
    comparison = compare_file(wrapped, model, network, check, metadata)
    check_comparison(comparison, metadata.precision, max_accuracy_drop=max_accuracy_drop)
    metadata = dataclasses.replace(metadata, comparison=dataclasses.asdict(comparison))
    attach(wrapped, metadata)
    return wrapped, metadata, comparison


def compare_file(
    file: onnx.ModelProto,
    model: onnx.ModelProto,
    network: nn.Module,
    check: CheckImages,
    metadata: ExportMetadata,
) -> Comparison:
    """Compare a file with its network, and look for overflow between the nodes of an fp16 one.

    Args:
        file: With its ends.
        model: Without them.
        network: The network.
        check: Images.
        metadata: Metadata of the file, without the comparison.
    """
    ends = metadata.ends
    check = rounded_to_pixels(check, ends, metadata.preprocessing)
    if ends.gives_maps:
        comparison = compare_maps(file_outputs(file, metadata), network, check)
    else:
        run = file_scores(file, metadata)
        comparison = compare(run, network, check, lambda logits: scores_of_network(logits, ends))
    if metadata.precision != "fp16":
        return comparison
    return dataclasses.replace(comparison, largest_activation=largest_half_activation(model, check))


def file_scores(file: onnx.ModelProto, metadata: ExportMetadata, *, num_threads: int = 1) -> Scores:
    """A file as a function from normalised images `(N, 3, R, R)` to a score a class `(N, classes)`.

    Args:
        file: With its ends.
        metadata: Metadata of the file.
        num_threads: Threads of ONNX Runtime.
    """
    outputs = file_outputs(file, metadata, num_threads=num_threads)
    return lambda images: scores_of_file(outputs(images), metadata.ends, metadata.num_classes)


def file_outputs(
    file: onnx.ModelProto, metadata: ExportMetadata, *, num_threads: int = 1
) -> Callable[[Images], list[Images]]:
    """A file as a function from normalised images `(N, 3, R, R)` to its outputs."""
    runner = ModelRunner(file, num_threads=num_threads)
    return lambda images: runner.run_all(file_input(images, metadata.ends, metadata.preprocessing))


def _shape(value: onnx.ValueInfoProto) -> list[int | str]:
    return [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
