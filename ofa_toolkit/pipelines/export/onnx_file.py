"""Export a searched subnet: cut out, recalibrate, fold, write for the target, compare, and only then save."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from torch import nn

from ofa_toolkit.complexity import count_macs
from ofa_toolkit.core import files
from ofa_toolkit.core.errors import ExportError
from ofa_toolkit.core.places import portable
from ofa_toolkit.core.precision import FilePrecision
from ofa_toolkit.datasets import ImageDataset
from ofa_toolkit.export.choices import CalibrationMethod
from ofa_toolkit.export.comparison import CheckImages, Comparison, synthetic_images
from ofa_toolkit.export.ends import ends_for, factors
from ofa_toolkit.export.exporter import FileForm, check_precision, finish, write_model
from ofa_toolkit.export.file_values import rounded_to_pixels
from ofa_toolkit.export.lint import check_lint, lint
from ofa_toolkit.export.metadata import ExportMetadata, QuantisationSource
from ofa_toolkit.export.target_devices import Target, resolve_target
from ofa_toolkit.export.verify import stored_weights
from ofa_toolkit.graphs import GraphCounts, WeightedNode, count_folded_params, count_graph, identify_weights
from ofa_toolkit.pipelines.export.given_network import EXPORTABLE, given_network
from ofa_toolkit.pipelines.export.network import (
    ExportNetwork,
    calibration_batches,
    check_images,
    choose_calibration,
    export_network,
)
from ofa_toolkit.pipelines.export.options import ExportOptions
from ofa_toolkit.pipelines.export.searched_target import searched_precision, searched_target
from ofa_toolkit.spaces.space_file import space_reference
from ofa_toolkit.spaces.subnet import Subnet
from ofa_toolkit.spaces.subnet_file import SubnetFile, SubnetLike, stated_supernet, subnet_file
from ofa_toolkit.zoo.supernet import LoadedSupernet, SupernetLike, load_supernet

DEFAULT_SUBNET = Path("subnet.json")
DEFAULT_ONNX = Path("subnet.onnx")

CHECK_IMAGES: Mapping[FilePrecision, int] = {"fp32": 128, "fp16": 1000, "int8": 1000}
"""Images that outputs are compared on: differences in fp32 show on few, lost accuracy needs many."""

SYNTHETIC_IMAGES: Mapping[FilePrecision, int] = {"fp32": 32, "fp16": 64, "int8": 128}
"""The same, where there are no real ones."""


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


def export_onnx(
    subnet: SubnetLike | tuple[SupernetLike, SubnetLike] | nn.Module | None = None,
    onnx_file: str | Path | None = None,
    *,
    supernet: SupernetLike | None = None,
    options: ExportOptions | None = None,
    on_step: Callable[[str], None] | None = None,
    **keywords: Any,
) -> Exported:
    """Export one subnet to ONNX, checked against the network, and write it if a file is named.

    Args:
        subnet: A found subnet, its file, a file of the once-for-all repositories, a supernet and a subnet, or
            a network as `LoadedSupernet.extract` gave it, also trained since; None for the only subnet of
            `supernet`, or for `./subnet.json`.
        onnx_file: File to write; nothing is written until every check has passed.
        supernet: Name or folder of the supernet; the one searched where None.
        options: Target, precision, batch size, images.
        on_step: Told what is being done.
        keywords: Fields of `ExportOptions`, in place of `options`.

    Returns:
        The model, and everything found out about it.

    Raises:
        ExportError: The target does not take this network in this form, or something to make it is missing.
        VerificationError: The file would not compute what the network computes.
        OfaToolkitError: The supernet, the subnet or the images are missing or do not belong together.
    """
    options, say = dataclasses.replace(options or ExportOptions(), **keywords), on_step or silent
    if isinstance(options.target, str):  # A mistake in it is told before anything is fetched.
        options = dataclasses.replace(options, target=resolve_target(options.target, options.tables))
    given: ExportNetwork | None = None
    if isinstance(subnet, nn.Module):
        known_as = given_network(subnet, options)
        given, options, subnet = known_as.network, known_as.options, (known_as.supernet, known_as.found)
    if isinstance(subnet, Subnet) and supernet is not None:
        subnet = (supernet, subnet)
    if isinstance(subnet, tuple):
        source = load_supernet(subnet[0])
        described = subnet_file(subnet[1], source.space, resolution=options.resolution)
    elif subnet is None or isinstance(subnet, str | os.PathLike | Mapping | SubnetFile):
        known = getattr(subnet, "source", None) if supernet is None else supernet
        described, source = open_subnet(subnet, known, options.resolution)
    else:
        raise ExportError(f"A '{type(subnet).__name__}' cannot be exported: {EXPORTABLE}.")
    named = options.target or searched_target(described.predicted)
    target = named if isinstance(named, Target) else resolve_target(named, options.tables)
    precision = options.precision or searched_precision(described.predicted, target)
    form = FileForm(target=target, precision=precision, batch_size=options.batch_size)
    if options.precision is None and precision != "fp32":
        say(f"Precision {precision}, which the latency on {target.name} was predicted for")
    # Refused before the work starts, where it can be known.
    check_options(form, has_data=options.data is not None)
    if options.engine:
        check_runs_tensorrt(target)
    ends = ends_for(
        target,
        source.space.num_classes,
        pixels=options.pixels,
        layout=options.layout,
        output=options.output,
    )
    if options.engine and ends.output == "topk":
        raise ExportError(
            "An engine is checked by one value a class, which topk does not give.",
            hint="--output probabilities",
        )
    if ends.takes_pixels:
        factors(source.preprocessing or {})
    dataset = None if options.data is None else source.open_images(options.data)
    if given is None and not source.has_statistics_of(described.subnet):
        say("Recomputing batch-norm statistics")
    network = given or export_network(
        source, described.subnet, dataset, keep_batchnorm=options.keep_batchnorm
    )
    say(f"Writing the network for {target.name}")
    model, quantisation = _write(dataset, network, form, options.method, say)
    metadata = _metadata(source, network, form, model, quantisation)
    runtime = options.runtime or target.generation.runtime
    metadata = dataclasses.replace(metadata, ends=ends, predicted=_own_predictions(described, runtime))
    check = comparison_images(dataset, described.subnet.resolution, precision)
    say(f"Comparing with the network on {check.description}")
    floating = check_precision(model, form.precision)
    model, metadata, comparison = finish(
        model, network.network, check, metadata, max_accuracy_drop=options.max_accuracy_drop
    )
    check_lint(model, target)
    exported = Exported(
        supernet=source,
        model=model,
        metadata=metadata,
        form=form,
        network=network,
        comparison=comparison,
        counts=count_graph(model),
        floating=floating,
        warnings=(
            *(described.notes or source.notes),
            *(finding.message for finding in lint(model, target)),
            *_other_conditions(described, form, runtime),
            *_kept(options, source, described.subnet),
        ),
        check=rounded_to_pixels(check, ends, metadata.preprocessing),
    )
    if onnx_file is not None:
        files.write_bytes(onnx_file, exported.content)
    return exported


def open_subnet(
    subnet: SubnetLike | None, supernet: SupernetLike | None, resolution: int | None = None
) -> tuple[SubnetFile, LoadedSupernet]:
    """The subnet, and the supernet it is cut from.

    It is read as a member of the supernet's own space, which may offer other resolutions than the
    registered one.

    Args:
        subnet: A subnet, its file or content; None for a single network, or for `./subnet.json`.
        supernet: Supernet that holds its weights; None for the one that the file names.
        resolution: Input size in pixels, in place of what the file says.

    Raises:
        ExportError: Nobody says which supernet.
        OfaToolkitError: One of them is missing or damaged, or they do not belong together.
    """
    if subnet is None and supernet is not None and load_supernet(supernet).trained_space.has_one_architecture:
        subnet = load_supernet(supernet).trained_space.largest(resolution)
    subnet = DEFAULT_SUBNET if subnet is None else subnet
    name = supernet or _stated_supernet(subnet)
    if name is None:
        raise ExportError(
            "The subnet does not say which supernet its weights come from.", hint="--supernet NAME|DIR"
        )
    source = load_supernet(name)
    return subnet_file(subnet, source.space, resolution=resolution), source


def _stated_supernet(subnet: SubnetLike) -> str | None:
    if isinstance(subnet, Subnet):
        return None
    return subnet.supernet if isinstance(subnet, SubnetFile) else stated_supernet(subnet)


def check_options(form: FileForm, *, has_data: bool) -> None:
    """Raise `ExportError` for what cannot be written, before any work."""
    target = form.target
    target.check_precision(form.precision)
    if form.batch_size is None and not target.takes_dynamic_batch:
        raise ExportError(
            f"Engines for {target.name} need a fixed batch size.",
            hint="Use --batch-size N, not --dynamic-batch.",
        )
    if form.precision == "int8" and not has_data:
        raise ExportError(
            "int8 needs real images, to find the range of every activation and to judge what it costs.",
            hint="--data SOURCE, such as imagefolder:DIR",
        )


def check_runs_tensorrt(target: Target) -> None:
    """Raise `ExportError` where no engine can be built for a target."""
    if target.generation.runtime != "tensorrt":
        raise ExportError(
            f"{target.name} does not run TensorRT.",
            hint="--target DEVICE, or a generation such as tensorrt-8.6",
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


def _kept(options: ExportOptions, supernet: LoadedSupernet, subnet: Subnet) -> list[str]:
    if not options.keep_batchnorm or supernet.has_statistics_of(subnet):
        return []
    return ["Batch-norm statistics are the supernet's; they fit none of its subnets well."]


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
    say: Callable[[str], None],
) -> tuple[onnx.ModelProto, QuantisationSource | None]:
    if form.precision != "int8":
        return write_model(network.layers, network.weights, form), None
    assert dataset is not None
    used = choose_calibration(dataset, method)
    batches = calibration_batches(dataset, network.subnet.resolution, used, say)
    model = write_model(network.layers, network.weights, form, calibration=batches, method=used.method)
    return model, used


def _metadata(
    source: LoadedSupernet,
    network: ExportNetwork,
    form: FileForm,
    model: onnx.ModelProto,
    quantisation: QuantisationSource | None,
) -> ExportMetadata:
    preprocessing, class_names = describe_images(source, network.subnet.resolution)
    reference = space_reference(source.space)
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
    kind = "TensorRT" if target.generation.runtime == "tensorrt" else "ONNX Runtime"
    return f"{target.name} ({kind}{version}, {target.generation.name})"


def silent(_: str) -> None:
    """Hears of a step and says nothing."""
    return
