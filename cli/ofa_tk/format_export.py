"""`ofa-tk export --format`: one folder a format, and what is told of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ofa_tk import output
from ofa_tk.reporter import TerminalReporter
from ofa_toolkit.core.command_line import command_line

if TYPE_CHECKING:
    from ofa_toolkit.export.formats.folder import FormatFolder
    from ofa_toolkit.pipelines.export.options import ExportOptions


def export_to_format(
    name: str,
    subnet: Path | None,
    folder: Path | None,
    *,
    supernet: str | None,
    options: ExportOptions,
    force: bool,
    as_json: bool,
) -> None:
    """Write the folder of a format and print what was done."""
    from ofa_toolkit.pipelines.export.formats import export_format

    made, exported = export_format(
        name, subnet, folder, supernet=supernet, options=options, force=force, reporter=TerminalReporter()
    )
    form = made.form
    for warning in exported.warnings:
        output.warn(warning)
    if not form.runs_here:
        output.warn(f"{form.title} files do not run on this machine: checked in structure, and not run.")
    if as_json:
        output.print_json(
            {
                "folder": made.folder,
                "file": made.file,
                "converters": made.converters,
                "num_bytes": made.num_bytes,
                "was_run": form.runs_here,
                "metadata": made.metadata.to_document(),
                "warnings": exported.warnings,
            }
        )
    else:
        output.print_fields(_fields(made))
    output.next_step(command_line("benchmark" if form.runs_here else "verify", made.folder))


def _fields(made: FormatFolder) -> dict[str, Any]:
    title, metadata, comparison = made.form.title, made.metadata, made.metadata.comparison
    fields: dict[str, Any] = {
        "format": f"{title} ({', '.join(f'{k} {v}' for k, v in made.converters.items())})",
        "target": metadata.target,
        "precision": metadata.precision,
        "input": metadata.ends.told_input(),
        "output": metadata.ends.told_output(),
        "size": f"{made.num_bytes / 1e6:.2f} MB",
    }
    if comparison:
        fields["compared on"] = f"{comparison['images']}, in {title}"
        fields["largest difference"] = f"{comparison['max_relative_error']:.1e} of the largest value"
        fields["same class"] = f"{comparison['agreement_percent']:.1f} %"
    if comparison.get("file_top1_percent") is not None:
        top1, before = comparison["file_top1_percent"], comparison["network_top1_percent"]
        fields["top-1 %"] = f"{top1:.2f}, network {before:.2f}"
    return {**fields, "folder": made.folder}
