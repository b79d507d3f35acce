"""`ofa-tk lint`: would the target take this ONNX file?"""

from __future__ import annotations

from pathlib import Path

import click

from ofa_tk import options, output
from ofa_toolkit.core.errors import VerificationError
from ofa_toolkit.core.quantities import counted


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--target",
    required=True,
    metavar="DEVICE",
    help="A device, a generation (tensorrt-8.6), or onnxruntime-cpu.",
)
@options.tables_option
@options.json_option
def command(file: Path, target: str, tables: tuple[Path, ...], as_json: bool) -> None:
    """Check an ONNX file against what its target accepts, without the target.

    Opset, file format, operators, attributes, data types, shapes and quantisation are compared with the
    target's row; `docs/reference/targets` shows the rows. For onnxruntime-cpu the ONNX Runtime installed here
    has the last word. Any ONNX file can be checked. Exits 1 at errors.
    """
    from ofa_toolkit.export.lint import group, lint
    from ofa_toolkit.export.model_file import load_model
    from ofa_toolkit.export.target_devices import resolve_target

    place = resolve_target(target, tables)
    findings = lint(load_model(file), place, loads=True)
    groups = group(findings)
    count = sum(finding.severity == "error" for finding in findings)
    if as_json:
        output.print_json(
            {
                "file": file,
                "target": place.name,
                "generation": place.generation.name,
                "groups": groups,
                "findings": findings,
            }
        )
    elif groups:
        output.print_table(
            ["severity", "rule", *output.numbers("count"), "first places", "what"],
            [
                (found.severity, found.rule, str(found.count), ", ".join(found.places), found.message)
                for found in groups
            ],
        )
    if count:
        rules = ", ".join(found.rule for found in groups if found.severity == "error")
        raise VerificationError(f"{place.name} would not take '{file}': {counted(count, 'error')} ({rules}).")
    output.note(f"{place.name} takes '{file}' ({place.generation.name}).")
