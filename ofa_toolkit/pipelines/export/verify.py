"""Check an exported file against its metadata: from the file alone, and from the supernet it came from."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import onnx

from ofa_toolkit.core.errors import (
    DataError,
    FileFormatError,
    OfaToolkitError,
    StoreError,
    UnknownNameError,
    VerificationError,
)
from ofa_toolkit.core.reporting import Reporter
from ofa_toolkit.core.requests import with_fields_of
from ofa_toolkit.datasets import ImageDataset
from ofa_toolkit.export.comparison import MAX_RELATIVE_ERROR, CheckImages, check_comparison
from ofa_toolkit.export.ends import strip
from ofa_toolkit.export.exporter import OUTPUT_NAME, FileForm, compare_file
from ofa_toolkit.export.feature_maps import described_maps
from ofa_toolkit.export.metadata import ExportMetadata, QuantisationSource, read_metadata
from ofa_toolkit.export.model_file import check_model, load_model
from ofa_toolkit.export.target_devices import Target, resolve_target
from ofa_toolkit.export.verify import (
    Check,
    attempt,
    judge,
    skip,
    verify_ends,
    verify_file,
    verify_ranges,
    verify_weights,
)
from ofa_toolkit.pipelines.export.network import (
    ExportNetwork,
    choose_calibration,
    export_network,
    without_classifier,
)
from ofa_toolkit.pipelines.export.onnx_file import comparison_images, describe_images, write_quantised
from ofa_toolkit.pipelines.export.options import VerifyRequest
from ofa_toolkit.pipelines.export.verify_predictions import verify_predicted_accuracy, verify_predictions
from ofa_toolkit.spaces import SearchSpace, lower
from ofa_toolkit.spaces.layer_spec import LayerSpec
from ofa_toolkit.spaces.space_file import space_document, space_from_reference, space_reference
from ofa_toolkit.supernets.backbone import without_head
from ofa_toolkit.zoo.entries import is_hub_name
from ofa_toolkit.zoo.supernet import LoadedSupernet, load_supernet

_TOP1_TOLERANCE = 0.5
"""Points by which another processor's rounding may move the accuracy of a file."""


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What became of each claim of the metadata.

    Attributes:
        metadata: The file's.
        checks: In the order made.
    """

    metadata: ExportMetadata
    checks: tuple[Check, ...]

    @property
    def failed(self) -> tuple[Check, ...]:
        """Claims that do not hold."""
        return tuple(check for check in self.checks if check.status == "failed")


@with_fields_of(VerifyRequest)
def verify_export(request: VerifyRequest) -> Verification:
    """Derive everything in a file's metadata again, and compare.

    What cannot be derived here (the supernet or the images are not on this machine) is reported as not
    checked, with the reason.

    Raises:
        FileFormatError: Not an ONNX file of ours.
        OfaToolkitError: The file's search space or target is unknown here.
    """
    whole = load_model(request.file)
    metadata = read_metadata(whole)
    check_model(whole, request.file)
    model = strip(whole, metadata.ends, OUTPUT_NAME, metadata.num_classes)
    space, space_check = stated_space(metadata)
    layers = lower(space, metadata.subnet)
    if metadata.ends.gives_maps:
        layers = without_head(layers)
    form = FileForm(
        target=_stated_target(metadata.target, request.tables),
        precision=metadata.precision,
        batch_size=metadata.batch_size,
        gives_maps=metadata.ends.gives_maps,
    )
    checks = [
        space_check,
        judge(
            "target's software",
            form.target.generation.name == metadata.generation,
            f"{form.target.name} runs {form.target.generation.name}",
        ),
        verify_ends(whole, model, metadata, form),
        *verify_file(model, metadata, layers, form),
        *_maps(metadata, layers),
        *verify_predictions(metadata, space, request.tables),
        *_from_supernet(request, _Parts(whole, model, metadata, form)),
    ]
    return Verification(metadata=metadata, checks=tuple(checks))


def _maps(metadata: ExportMetadata, layers: Sequence[LayerSpec]) -> list[Check]:
    """Are the maps of a file without classifier those it states?"""
    expected = described_maps(layers) if metadata.ends.gives_maps else None
    if expected is None and metadata.features is None:
        return []
    told = ", ".join(f"{name}: {entry['channels']} channels" for name, entry in (expected or {}).items())
    return [judge("maps", metadata.features == expected, f"the subnet has {told or 'none'}")]


def stated_space(metadata: ExportMetadata) -> tuple[SearchSpace, Check]:
    """The search space that the metadata states, and whether it is the one that goes by this name here.

    Raises:
        OfaToolkitError: It is unknown here, or the subnet is not a member.
    """
    space = space_from_reference(metadata.space_table or metadata.space)
    space = space.with_num_classes(metadata.num_classes)
    one_size = space.with_resolutions((metadata.subnet.resolution,))
    if metadata.space_table is None and one_size.identity == metadata.space_identity:
        space = one_size  # files of before name a space with one input size, too
    if metadata.subnet.resolution not in (*space.resolutions, *space.single_resolutions):
        space = space.with_resolutions((*space.resolutions, metadata.subnet.resolution))
    space.check(metadata.subnet)
    is_same = (space.identity, space.name) == (metadata.space_identity, metadata.space)
    return space, judge("search space", is_same, f"'{space.name}' here has identity {space.identity}")


def _stated_target(name: str, tables: Sequence[Path]) -> Target:
    try:
        return resolve_target(name, tables)
    except UnknownNameError as error:
        raise UnknownNameError(
            f"The file was written for '{name}', which no folder of latency tables here describes.",
            hint="Name the folder that holds its table: --tables DIR",
        ) from error


def check_supernet(source: LoadedSupernet, metadata: ExportMetadata) -> Check:
    """Are the weights those that the file was made from?"""
    return judge(
        "supernet",
        source.identity == metadata.supernet_identity,
        f"'{source.name}' has SHA-256 {source.identity[:16]}",
    )


class _Parts(NamedTuple):
    """A file, its graph without the ends of our own, what it says, and its form."""

    whole: onnx.ModelProto
    model: onnx.ModelProto
    metadata: ExportMetadata
    form: FileForm


def _from_supernet(request: VerifyRequest, file: _Parts) -> list[Check]:
    """What the supernet and the images prove, where they are here."""
    metadata, data = file.metadata, request.data
    claims = _claims_of_supernet(metadata)
    if metadata.batchnorm.kind == "own":
        reason = "made from a network that was trained in Python; compared with it when the file was written"
        return [skip(claim, reason) for claim in ("supernet", *claims)]
    try:
        source, dataset, missing = open_source(request, metadata)
        source.network.eval()  # reads the weights: what is wrong with them is told here
        supernet_check = check_supernet(source, metadata)
    except FileFormatError:
        raise
    except OfaToolkitError as error:
        if data is not None:
            raise
        return [skip(claim, error.message) for claim in ("supernet", *claims)]
    if supernet_check.status == "failed":
        missing = "another supernet lies there"
    checks = [supernet_check]
    if supernet_check.status == "passed":
        checks += [check_description(source, metadata), *verify_predicted_accuracy(metadata, source)]
    if missing is not None:
        return [*checks, *(skip(claim, missing) for claim in claims)]
    request.reporter.message("Cutting the subnet out again and recomputing batch-norm statistics")
    network = _cut_out_again(source, metadata, dataset)
    if data is None and metadata.batchnorm != network.batchnorm:
        checks.append(judge("batch norm", False, f"it comes from {network.batchnorm} here"))
    found, stated = network.batchnorm, metadata.batchnorm
    if (found.kind, found.num_images) != (stated.kind, stated.num_images):
        reason = f"batch norm came from {stated.num_images} images of {stated.images}, not from these"
        return [*checks, *(skip(claim, reason) for claim in claims)]
    return [*checks, *_from_network(request, file, network, dataset)]


def _from_network(
    request: VerifyRequest, file: _Parts, network: ExportNetwork, dataset: ImageDataset | None
) -> Iterator[Check]:
    """Weights, 8-bit ranges and outputs beside the network that was cut out again."""
    metadata, stated = file.metadata, file.metadata.quantisation
    yield verify_weights(file.model, network.layers, network.weights, file.form)
    if stated is not None:
        request.reporter.message("Finding the 8-bit ranges again")
        if dataset is not None and request.data is None:
            recipe = dataclasses.replace(
                choose_calibration(dataset, stated.method),
                weight_bits=stated.weight_bits,
                folds_hard_sigmoid=stated.folds_hard_sigmoid,
            )
            yield judge("8-bit calibration", recipe == stated, f"on {recipe}")
        yield _ranges(file, network, dataset, stated, request.reporter)
    check = comparison_images(dataset, metadata.subnet.resolution, metadata.precision)
    request.reporter.message(f"Comparing with the network on {check.description}")
    yield _outputs(file, network, check)


def _cut_out_again(
    source: LoadedSupernet, metadata: ExportMetadata, dataset: ImageDataset | None
) -> ExportNetwork:
    stored = metadata.batchnorm.kind == "stored"
    network = export_network(source, metadata.subnet, dataset, keep_batchnorm=stored)
    return without_classifier(network) if metadata.ends.gives_maps else network


def check_description(source: LoadedSupernet, metadata: ExportMetadata) -> Check:
    """Does the supernet say the same of images and classes?"""
    preprocessing, names = describe_images(source, metadata.subnet.resolution)
    # Files of before name a space with fewer input sizes than the registered one, too.
    find_reference = space_reference if metadata.space_table is None else space_document
    reference = find_reference(source.space)
    stated = (metadata.preprocessing, metadata.class_names, metadata.space_table or metadata.space)
    same = stated == (preprocessing, names, reference)
    return judge(
        "space's table, preprocessing and class names",
        same,
        f"{'as' if same else 'not as'} '{source.name}' has them: {len(names)} names",
    )


def _claims_of_supernet(metadata: ExportMetadata) -> list[str]:
    """Claims that only the supernet and the images can prove."""
    ranges = ["graph and 8-bit ranges"] if metadata.quantisation is not None else []
    return ["weights from the supernet", *ranges, "outputs"]


def open_source(
    request: VerifyRequest, metadata: ExportMetadata
) -> tuple[LoadedSupernet, ImageDataset | None, str | None]:
    """Supernet and images, and why what depends on images cannot be checked, or None where they are here."""
    source = load_supernet(request.supernet) if request.supernet else _stated_supernet(metadata)
    data, origin = request.data, metadata.batchnorm
    if data is None and origin.kind != "data":
        return source, None, None
    try:
        return source, source.open_images(data or origin.images), None
    except DataError as error:
        if data is not None:
            raise
        return source, None, f"needs the images the file was made with, --data SOURCE: {error.message}"


def _stated_supernet(metadata: ExportMetadata) -> LoadedSupernet:
    """The supernet that the file names, which is often in a folder of another machine."""
    try:
        return load_supernet(metadata.supernet)
    except (StoreError, UnknownNameError) as error:
        if is_hub_name(metadata.supernet):
            raise
        raise StoreError(
            f"The supernet '{metadata.supernet}', which the file was made from, is not here.",
            hint="Say where it is: --supernet NAME|DIR",
        ) from error


def _ranges(
    file: _Parts,
    network: ExportNetwork,
    dataset: ImageDataset | None,
    recipe: QuantisationSource,
    reporter: Reporter,
) -> Check:
    if dataset is None:
        return skip("graph and 8-bit ranges", f"needs {recipe.num_images} images of {recipe.images}")
    again = write_quantised(network, file.form, dataset, recipe, reporter)
    return verify_ranges(file.model, again, recipe.method)


def _outputs(file: _Parts, network: ExportNetwork, check: CheckImages) -> Check:
    metadata = file.metadata

    def compare_again() -> str:
        comparison = compare_file(file.whole, file.model, network.network, check, metadata)
        # The file was accepted with the drop it states; it may not have become worse.
        top1 = metadata.comparison.get("file_top1_percent")
        before = metadata.comparison.get("network_top1_percent")
        allowed = None if top1 is None or before is None else max(0.0, before - top1) + _TOP1_TOLERANCE
        check_comparison(comparison, metadata.precision, max_accuracy_drop=allowed)
        if metadata.comparison.get("images") == comparison.images:
            check_figures(metadata.comparison, dataclasses.asdict(comparison))
        agreement = comparison.agreement_percent
        same = "" if agreement is None else f", same class {agreement:.1f} %"
        return f"largest difference {comparison.max_relative_error:.1e}{same} on {comparison.images}"

    return attempt("outputs", compare_again)


def check_figures(claimed: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """Raise where the same images give other figures than the metadata says."""
    for name, value in claimed.items():
        again = found.get(name)
        is_same = value == again
        if isinstance(value, float) and isinstance(again, float):
            if name.endswith("_percent"):
                is_same = abs(again - value) <= _TOP1_TOLERANCE
            else:  # what is rounding alone may be several times as large on another processor
                low, high = sorted((abs(value), abs(again)))
                is_same = high <= (10 if high < MAX_RELATIVE_ERROR else 1.2) * low
        if not is_same:
            raise VerificationError(f"{name} is {again}, the metadata says {value}")
