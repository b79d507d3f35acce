"""Export a searched subnet: cut out, recalibrate, fold, write for the target, compare, and only then save."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from ofa_toolkit.complexity import count_macs
from ofa_toolkit.core import files
from ofa_toolkit.core.places import portable
from ofa_toolkit.core.precision import FilePrecision
from ofa_toolkit.core.reporting import Reporter
from ofa_toolkit.core.requests import with_fields_of
from ofa_toolkit.datasets import ImageDataset
from ofa_toolkit.export.choices import CalibrationMethod
from ofa_toolkit.export.comparison import CheckImages, Comparison, synthetic_images
from ofa_toolkit.export.exporter import FileForm, check_precision, finish, write_model
from ofa_toolkit.export.feature_maps import described_maps
from ofa_toolkit.export.file_values import rounded_to_pixels
from ofa_toolkit.export.lint import Finding, check_lint
from ofa_toolkit.export.metadata import ExportMetadata, QuantisationSource
from ofa_toolkit.export.target_devices import Target
from ofa_toolkit.export.verify import stored_weights
from ofa_toolkit.graphs import GraphCounts, WeightedNode, count_folded_params, count_graph, identify_weights
from ofa_toolkit.pipelines.export.network import (
    ExportNetwork,
    calibration_batches,
    check_images,
    choose_calibration,
    export_network,
    without_classifier,
)
from ofa_toolkit.pipelines.export.plan import ExportPlan, ExportRequest, plan_export
from ofa_toolkit.spaces.space_file import exact_reference
from ofa_toolkit.spaces.subnet_file import SubnetFile
from ofa_toolkit.zoo.supernet import LoadedSupernet

DEFAULT_ONNX = Path("subnet.onnx")

_OF_THE_WHOLE = (
    "What was predicted is of the whole network; the file, without its classifier, does not carry it on."
)

CHECK_IMAGES: Mapping[FilePrecision, int] = {"fp32": 128, "fp16": 1000, "int8": 1000}
"""Images that outputs are compared on: differences in fp32 show on few, lost accuracy needs many."""

SYNTHETIC_IMAGES: Mapping[FilePrecision, int] = {"fp32": 32, "fp16": 64, "int8": 128}
"""Synthetic images that outputs are compared on where there are no real ones."""


@dataclass(frozen=True, kw_only=True)
class Exported:
    """An exported network, not yet written anywhere.

    Attributes:
        supernet: The supernet that the network was cut out of.
        model: The ONNX model with its metadata.
        metadata: The same, as a value.
        form: Target, precision, batch size.
        network: The network it was made from.
        comparison: Comparison of the file's outputs with the network's.
        counts: MACs and parameters of the model's graph.
        floating: Convolutions and linear layers of an int8 file that compute in floating point.
        warnings: Reservations about what the target does with the file.
        check: The images compared on.
    """

    supernet: LoadedSupernet
    model: onnx.ModelProto
    metadata: ExportMetadata
    form: FileForm
    network: ExportNetwork
    comparison: Comparison
    counts: GraphCounts
    floating: tuple[WeightedNode, ...]
    warnings: tuple[str, ...]
    check: CheckImages

    @property
    def content(self) -> bytes:
        """The file."""
        return bytes(self.model.SerializeToString())


@with_fields_of(ExportRequest)
def export_onnx(request: ExportRequest) -> Exported:
    """Export one subnet to ONNX, checked against the network, and write it if a file is named.

    Returns:
        The model, and everything found out about it.

    Raises:
        ExportError: The target does not take this network in this form, or something to make it is missing.
        VerificationError: The file would not compute what the network computes.
        OfaToolkitError: The supernet, the subnet or the images are missing or do not belong together.
    """
    plan, reporter = plan_export(request), request.reporter
    source, subnet, form, options = plan.source, plan.described.subnet, plan.form, plan.options
    dataset = None if options.data is None else source.open_images(options.data)
    network = _network(plan, dataset, reporter)
    reporter.message(f"Writing the network for {form.target.name}")
    model, quantisation = _write(dataset, network, form, options.method, reporter)
    metadata = dataclasses.replace(
        _metadata(source, network, form, model, quantisation),
        ends=plan.ends,
        predicted={} if form.gives_maps else _own_predictions(plan.described, plan.runtime),
    )
    check = comparison_images(dataset, subnet.resolution, form.precision)
    reporter.message(f"Comparing with the network on {check.description}")
    floating = check_precision(model, form.precision)
    model, metadata, comparison = finish(
        model, network.network, check, metadata, max_accuracy_drop=options.max_accuracy_drop
    )
    findings = check_lint(model, form.target)
    exported = Exported(
        supernet=source,
        model=model,
        metadata=metadata,
        form=form,
        network=network,
        comparison=comparison,
        counts=count_graph(model),
        floating=floating,
        warnings=_warnings(plan, findings),
        check=rounded_to_pixels(check, plan.ends, metadata.preprocessing),
    )
    if request.onnx_file is not None:
        files.write_bytes(request.onnx_file, exported.content)
    return exported


def _network(plan: ExportPlan, dataset: ImageDataset | None, reporter: Reporter) -> ExportNetwork:
    """The network with batch-norm statistics of its own, without its classifier where maps are asked for."""
    subnet, keep = plan.described.subnet, plan.options.keep_batchnorm
    if plan.given is None and not plan.source.has_statistics_of(subnet):
        reporter.message("Recomputing batch-norm statistics")
    network = plan.given or export_network(plan.source, subnet, dataset, keep_batchnorm=keep)
    return without_classifier(network) if plan.form.gives_maps else network


def _warnings(plan: ExportPlan, findings: Iterable[Finding]) -> tuple[str, ...]:
    """Reservations about supernet, target, predictions and batch norm."""
    source, subnet = plan.source, plan.described.subnet
    fits = not plan.options.keep_batchnorm or source.has_statistics_of(subnet)
    kept = "Batch-norm statistics are the supernet's; they fit none of its subnets well."
    predictions = _other_conditions(plan.described, plan.form, plan.runtime)
    if plan.form.gives_maps:
        predictions = [_OF_THE_WHOLE] if plan.described.predicted else []
    return (
        *(plan.described.notes or source.notes),
        *(finding.message for finding in findings),
        *predictions,
        *(() if fits else (kept,)),
    )


def _other_conditions(described: SubnetFile, form: FileForm, runtime: str) -> list[str]:
    """Where the latency was predicted for another runtime, precision or batch size than the file has."""
    predicted = described.predicted.get("latency_ms")
    warnings = [
        f"The latency on {name} was predicted for {_runtime_of(entry)}; this file is for {runtime}, and does "
        "not carry it on."
        for name, entry in (predicted.items() if isinstance(predicted, Mapping) else ())
        if _runtime_of(entry) not in (None, runtime)
    ]
    for name, entry in predicted.items() if isinstance(predicted, Mapping) else ():
        if str(name).partition(":")[0] != form.target.name or not isinstance(entry, Mapping):
            continue
        if _runtime_of(entry) not in (None, runtime):
            continue
        asked = {"precision": form.precision, "batch_size": form.batch_size}
        for key, value in asked.items():
            if value is not None and key in entry and entry[key] != value:
                option = f"--{key.replace('_', '-')} {entry[key]}"
                warnings.append(
                    f"The latency on {name} was predicted for {key.replace('_', ' ')} {entry[key]}, the file "
                    f"has {value}: {option} exports what was searched."
                )
    return warnings


def _runtime_of(entry: Any) -> str | None:
    """What executed the networks a latency was predicted from; None where nobody says."""
    return str(entry["runtime"]) if isinstance(entry, Mapping) and "runtime" in entry else None


def _own_predictions(described: SubnetFile, runtime: str) -> dict[str, Any]:
    """What the search predicted, less the latencies of another runtime than the file's."""
    predicted = dict(described.predicted)
    latencies = predicted.get("latency_ms")
    if isinstance(latencies, Mapping):
        predicted["latency_ms"] = {n: e for n, e in latencies.items() if _runtime_of(e) in (None, runtime)}
    return predicted


def _write(
    dataset: ImageDataset | None,
    network: ExportNetwork,
    form: FileForm,
    method: CalibrationMethod,
    reporter: Reporter,
) -> tuple[onnx.ModelProto, QuantisationSource | None]:
    if form.precision != "int8":
        return write_model(network.layers, network.weights, form), None
    assert dataset is not None
    software = form.target.generation.software
    used = dataclasses.replace(
        choose_calibration(dataset, method),
        weight_bits=software.weight_bits,
        folds_hard_sigmoid=not software.fuses_quantisation,
    )
    return write_quantised(network, form, dataset, used, reporter), used


def write_quantised(
    network: ExportNetwork,
    form: FileForm,
    dataset: ImageDataset,
    recipe: QuantisationSource,
    reporter: Reporter,
) -> onnx.ModelProto:
    """The 8-bit file of a network by a recipe: for its export, and again to verify it."""
    return write_model(
        network.layers,
        network.weights,
        form,
        calibration=calibration_batches(dataset, network.subnet.resolution, recipe, reporter),
        method=recipe.method,
        weight_bits=recipe.weight_bits,
        folds_hard_sigmoid=recipe.folds_hard_sigmoid,
    )


def _metadata(
    source: LoadedSupernet,
    network: ExportNetwork,
    form: FileForm,
    model: onnx.ModelProto,
    quantisation: QuantisationSource | None,
) -> ExportMetadata:
    preprocessing, class_names = describe_images(source, network.subnet.resolution)
    reference = exact_reference(source.space)
    return ExportMetadata(
        space=source.space.name,
        space_table=None if isinstance(reference, str) else reference,
        space_identity=source.space.identity,
        num_classes=source.space.num_classes,
        subnet=network.subnet,
        supernet=portable(source.name),
        supernet_identity=source.identity,
        weights_identity=identify_weights(stored_weights(model, network.layers)),
        batchnorm=dataclasses.replace(network.batchnorm, images=portable(network.batchnorm.images)),
        target=form.target.name,
        generation=form.target.generation.name,
        precision=form.precision,
        batch_size=form.batch_size,
        macs=count_macs(network.layers),
        params=count_folded_params(network.layers),
        quantisation=quantisation,
        preprocessing=preprocessing,
        class_names=class_names,
        features=described_maps(network.layers) if form.gives_maps else None,
    )


def describe_images(source: LoadedSupernet, resolution: int) -> tuple[dict[str, Any], tuple[str, ...]]:
    """How an image of that side becomes network input, and the classes' names; empty where not stated."""
    preprocessing = source.preprocessing
    return {} if preprocessing is None else {**preprocessing, "size": resolution}, source.output_names


def comparison_images(dataset: ImageDataset | None, resolution: int, precision: FilePrecision) -> CheckImages:
    """What outputs are compared on: images of the data set that is open, else made-up ones."""
    if dataset is None:
        return synthetic_images(resolution, SYNTHETIC_IMAGES[precision])
    return check_images(dataset, resolution, CHECK_IMAGES[precision])


def describe_target(target: Target) -> str:
    """The target in a few words."""
    version = f" {target.version}" if target.version else ""
    return f"{target.name} ({target.generation.software.title}{version}, {target.generation.name})"


def describe_batchnorm(exported: Exported) -> str:
    """Where the batch-norm statistics come from, in a few words."""
    source = exported.metadata.batchnorm
    if source.kind == "stored" and exported.supernet.only_subnet is not None:
        return "the network's own statistics, folded"
    if source.kind == "stored":
        return "the supernet's statistics (--keep-batchnorm)"
    where = (
        "images carried by the supernet"
        if source.kind == "carried"
        else f"training images of {source.images}"
    )
    return f"recalibrated on {source.num_images} {where}, folded"
