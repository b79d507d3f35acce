"""Export to formats beside ONNX: converted, run in the format's own runtime, compared with the network."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ofa_toolkit.core.errors import ExportError
from ofa_toolkit.core.output_folder import check_output_folder, output_folder
from ofa_toolkit.core.precision import FilePrecision
from ofa_toolkit.core.reporting import SILENT, Reporter
from ofa_toolkit.export.comparison import CheckImages, Comparison, check_comparison, compare
from ofa_toolkit.export.ends import factors
from ofa_toolkit.export.file_values import file_input, rounded_to_pixels, scores_of_file, scores_of_network
from ofa_toolkit.export.formats import FORMATS
from ofa_toolkit.export.formats.folder import STEM, FormatFolder, describe
from ofa_toolkit.export.formats.format import (
    Array,
    Format,
    FormatSource,
    Runner,
    check_installed,
    convert,
    in_batches,
    open_runner,
)
from ofa_toolkit.export.formats.network import NetworkWithEnds
from ofa_toolkit.export.metadata import ExportMetadata, QuantisationSource
from ofa_toolkit.export.target_devices import Target
from ofa_toolkit.pipelines.export.network import ExportNetwork, calibration_batches, choose_calibration
from ofa_toolkit.pipelines.export.onnx_file import Exported, comparison_images, export_onnx
from ofa_toolkit.pipelines.export.options import ExportOptions
from ofa_toolkit.pipelines.export.searched_target import format_target
from ofa_toolkit.spaces.subnet_file import SubnetLike
from ofa_toolkit.zoo.supernet import SupernetLike

_CALIBRATION_IMAGES = 128


def folder_kind(form: Format) -> str:
    """What `output_folder` calls such a folder."""
    return f"{form.title} network"


def default_folder(name: str) -> Path:
    """Where a format goes unless the user says otherwise."""
    return Path(f"subnet-{name}")


def export_format(
    name: str,
    subnet: SubnetLike | None = None,
    folder: str | Path | None = None,
    *,
    supernet: SupernetLike | None = None,
    options: ExportOptions | None = None,
    force: bool = False,
    reporter: Reporter = SILENT,
) -> tuple[FormatFolder, Exported]:
    """Export one subnet to another format, compared with the network in the format's own runtime.

    Args:
        name: Name of the format, see `FORMATS`.
        subnet: As in `export_onnx`.
        folder: Folder to write; by default `subnet-<format>`, which a former output of ours may hold.
        supernet: As in `export_onnx`.
        options: As in `export_onnx`; without a target the file is for any processor.
        force: Replace any former output of ours.
        reporter: Hears what is being done.

    Returns:
        The folder, and the ONNX export it was made beside.

    Raises:
        MissingDependencyError: A package of the format is not installed.
        ExportError: The format has no such precision, or does not take such ends.
        VerificationError: The file does not compute what the network computes.
    """
    form, chosen = FORMATS[name], options or ExportOptions()
    precision: FilePrecision = chosen.precision or "fp32"
    check_format(form, precision, has_data=chosen.data is not None)
    out = default_folder(name) if folder is None else Path(folder)
    check_output_folder(out, folder_kind(form), replace=folder is None, force=force)
    target = chosen.target
    if not isinstance(target, Target):
        target = format_target(subnet, target, chosen.tables)
    base: FilePrecision = "int8" if precision == "int8" and form.reads_quantised else "fp32"
    exported = export_onnx(
        subnet,
        supernet=supernet,
        options=dataclasses.replace(chosen, target=target, precision=base, runtime=form.runtime),
        reporter=reporter,
    )
    form.check(exported.metadata.ends)
    if chosen.batch_size is None:
        raise ExportError(f"{form.title} files get a fixed batch size.", hint="--batch-size N")
    source = _source(exported, form, precision, chosen, reporter)
    with output_folder(out, folder_kind(form), replace=folder is None, force=force) as temporary:
        reporter.message(f"Converting to {form.title}")
        convert(form, source, temporary / f"{STEM}{form.suffix}")
        metadata = dataclasses.replace(exported.metadata, precision=precision, comparison={})
        if precision == "int8" and not form.reads_quantised:
            metadata = dataclasses.replace(metadata, quantisation=_calibration(exported, chosen))
        if form.runs_here:
            run = open_runner(form, temporary / f"{STEM}{form.suffix}", 1)
            found = _checked(run, form, exported, metadata, chosen, reporter)
            metadata = dataclasses.replace(metadata, comparison=dataclasses.asdict(found))
        made = describe(temporary, form, metadata)
    return dataclasses.replace(made, folder=out), exported


def _checked(
    run: Runner,
    form: Format,
    exported: Exported,
    metadata: ExportMetadata,
    options: ExportOptions,
    reporter: Reporter,
) -> Comparison:
    """Compare the converted file with the network; raise where it computes something else."""
    data = None if options.data is None else exported.supernet.open_images(options.data)
    check = comparison_images(data, metadata.subnet.resolution, metadata.precision)
    reporter.message(f"Comparing in {form.title} with the network on {check.description}")
    found = compare_format(run, exported.network, metadata, check)
    check_comparison(found, metadata.precision, max_accuracy_drop=options.max_accuracy_drop)
    return found


def check_format(form: Format, precision: FilePrecision, *, has_data: bool) -> None:
    """Refuse what a format cannot do, before any work."""
    if precision not in form.precisions:
        raise ExportError(
            f"{form.title} files are not written in '{precision}'; {', '.join(form.precisions)} are.",
            hint="--precision fp32",
        )
    if precision == "int8" and not has_data:
        raise ExportError(
            "int8 needs real images, to find the range of every activation and to judge what it costs.",
            hint="--data SOURCE, such as imagefolder:DIR",
        )
    check_installed(form)


def compare_format(
    run: Runner, network: ExportNetwork, metadata: ExportMetadata, check: CheckImages
) -> Comparison:
    """Outputs of a file in its runtime beside those of the network."""
    ends, settings = metadata.ends, metadata.preprocessing
    run_all = in_batches(run, metadata.batch_size or 1)

    def scores(images: Array) -> Array:
        return scores_of_file(run_all(file_input(images, ends, settings)), ends, metadata.num_classes)

    check = rounded_to_pixels(check, ends, settings)
    return compare(scores, network.network, check, lambda logits: scores_of_network(logits, ends))


def _source(
    exported: Exported,
    form: Format,
    precision: FilePrecision,
    options: ExportOptions,
    reporter: Reporter,
) -> FormatSource:
    metadata = exported.metadata
    ends, settings, size = metadata.ends, metadata.preprocessing, options.batch_size or 1
    scale, shift = factors(settings) if ends.takes_pixels else (None, None)

    def inputs(images: Array) -> Array:
        return file_input(images[np.arange(size) % len(images)], ends, settings)

    calibration: tuple[Array, ...] = ()
    if precision == "int8" and not form.reads_quantised:
        calibration = tuple(inputs(images) for images in _one_by_one(exported, options, reporter))
    return FormatSource(
        model=exported.model,
        network=NetworkWithEnds(exported.network.network, ends, scale, shift).eval(),
        example=inputs(next(iter(exported.check.batches()))[0]),
        ends=ends,
        precision=precision,
        calibration=calibration,
    )


def _calibration(exported: Exported, options: ExportOptions) -> QuantisationSource:
    assert options.data is not None
    recipe = choose_calibration(exported.supernet.open_images(options.data), options.method)
    return dataclasses.replace(recipe, num_images=min(recipe.num_images, _CALIBRATION_IMAGES))


def _one_by_one(exported: Exported, options: ExportOptions, reporter: Reporter) -> Iterator[Array]:
    assert options.data is not None
    dataset, recipe = exported.supernet.open_images(options.data), _calibration(exported, options)
    for batch in calibration_batches(dataset, exported.metadata.subnet.resolution, recipe, reporter):
        yield from (batch[index : index + 1] for index in range(len(batch)))
