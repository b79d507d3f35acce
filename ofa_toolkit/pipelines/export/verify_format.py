"""Check a folder of another format: its files, and what they compute, against the supernet."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from ofa_toolkit.complexity import count_macs
from ofa_toolkit.core.errors import OfaToolkitError
from ofa_toolkit.core.requests import with_fields_of
from ofa_toolkit.export.comparison import check_comparison
from ofa_toolkit.export.formats.folder import FormatFolder, read_format_folder
from ofa_toolkit.export.formats.format import check_installed, open_runner
from ofa_toolkit.export.verify import Check, attempt, judge, skip
from ofa_toolkit.graphs import count_folded_params
from ofa_toolkit.pipelines.export.formats import compare_format
from ofa_toolkit.pipelines.export.network import export_network
from ofa_toolkit.pipelines.export.onnx_file import comparison_images
from ofa_toolkit.pipelines.export.options import VerifyRequest
from ofa_toolkit.pipelines.export.verify import (
    Verification,
    check_description,
    check_figures,
    check_supernet,
    open_source,
    stated_space,
)
from ofa_toolkit.pipelines.export.verify_predictions import verify_predicted_accuracy, verify_predictions
from ofa_toolkit.spaces import lower


@with_fields_of(VerifyRequest)
def verify_format(request: VerifyRequest) -> Verification:
    """As `verify_export` for a folder that `export_format` wrote.

    Raises:
        FileFormatError: It is no such folder.
    """
    made = read_format_folder(Path(request.file))
    metadata = made.metadata
    space, space_check = stated_space(metadata)
    layers, changed = lower(space, metadata.subnet), made.changed()
    macs, params = count_macs(layers), count_folded_params(layers)
    checks = [
        judge("files", not changed, f"changed: {', '.join(changed)}" if changed else "as they were written"),
        space_check,
        judge(
            "MACs and parameters",
            (macs, params) == (metadata.macs, metadata.params),
            f"the subnet has {macs:,} and {params:,}, the metadata {metadata.macs:,} and {metadata.params:,}",
        ),
        *verify_predictions(metadata, space, request.tables),
        *_from_supernet(request, made),
    ]
    return Verification(metadata=metadata, checks=tuple(checks))


def _from_supernet(request: VerifyRequest, made: FormatFolder) -> list[Check]:
    metadata, form = made.metadata, made.form
    try:
        source, dataset, missing = open_source(request, metadata)
        checks = [check_supernet(source, metadata)]
    except OfaToolkitError as error:
        if request.data is not None:
            raise
        return [skip(claim, error.message) for claim in ("supernet", "outputs")]
    checks += [check_description(source, metadata), *verify_predicted_accuracy(metadata, source)]
    if missing is None and not form.runs_here:
        missing = f"{form.title} files do not run on this machine"
    if missing is not None:
        return [*checks, skip("outputs", missing)]
    try:
        check_installed(form)
    except OfaToolkitError as error:
        return [*checks, skip("outputs", error.message)]
    network = export_network(
        source, metadata.subnet, dataset, keep_batchnorm=metadata.batchnorm.kind == "stored"
    )
    check = comparison_images(dataset, metadata.subnet.resolution, metadata.precision)
    request.reporter.message(f"Comparing in {form.title} with the network on {check.description}")

    def compare_again() -> str:
        found = compare_format(open_runner(form, made.file, 1), network, metadata, check)
        check_comparison(found, metadata.precision, max_accuracy_drop=100.0)
        if metadata.comparison.get("images") == found.images:
            check_figures(metadata.comparison, dataclasses.asdict(found))
        return (
            f"largest difference {found.max_relative_error:.1e}, same class {found.agreement_percent:.1f} %"
        )

    return [*checks, attempt("outputs", compare_again)]
