"""`ofa-tk lint`: would the target take this ONNX file?"""

from __future__ import annotations

from pathlib import Path

import click

from ofa_tk import options, output
from ofa_toolkit.core.errors import VerificationError


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
    target's row; `docs/reference/targets` shows the rows. Any ONNX file can be checked. Exits 1 at errors.
    """
    from ofa_toolkit.export.lint import lint
    from ofa_toolkit.export.passport import load_model
    from ofa_toolkit.export.target_devices import resolve_target

    place = resolve_target(target, tables)
    findings = lint(load_model(file), place)
    errors = [finding for finding in findings if finding.severity == "error"]
    if as_json:
        output.print_json(
            {"file": file, "target": place.name, "generation": place.generation.name, "findings": findings}
        )
    else:
        output.print_table(
            ["severity", "rule", "where", "what"],
            [
                (finding.severity, finding.rule, finding.node or "file", finding.message)
                for finding in findings
            ],
        )
    if errors:
        raise VerificationError(f"{place.name} would not take '{file}': {len(errors)} errors.")
    output.note(f"{place.name} takes '{file}' ({place.generation.name}).")
