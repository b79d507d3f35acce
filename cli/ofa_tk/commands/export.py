"""`ofa-tk export`: from a searched subnet to files for deployment."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ofa_tk import options, output
from ofa_tk.reporter import TerminalReporter
from ofa_tk.request_options import request_options
from ofa_toolkit.core.command_line import command_line
from ofa_toolkit.core.places import leads_back
from ofa_toolkit.export.formats import FORMATS
from ofa_toolkit.pipelines.export.options import ExportOptions

if TYPE_CHECKING:
    from ofa_toolkit.export.metadata import ExportMetadata
    from ofa_toolkit.pipelines.export.onnx_file import Exported
    from ofa_toolkit.pipelines.export.tensorrt import TensorRtOutcome

_DEFAULT = "(default)"
_FILES = {"onnx": "onnx_file", "tensorrt": "engine_file"}
"""Formats that are one file, and the option that names it."""


@click.command()
@options.subnet_option("What to export; `ofa-tk search` writes it.")
@options.supernet_option
@options.offline_option
@click.option(
    "--onnx",
    "onnx_file",
    is_flag=False,
    flag_value=_DEFAULT,
    metavar="[FILE]",
    help="Write an ONNX file; without a name subnet.onnx.",
)
@click.option(
    "--tensorrt",
    "engine_file",
    is_flag=False,
    flag_value=_DEFAULT,
    metavar="[FILE]",
    help="Build a TensorRT engine where TensorRT is, elsewhere a kit that builds it; without a name "
    "subnet.engine.",
)
@click.option(
    "--bundle",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write a folder with model, labels, preprocessing, a short runner and the card.",
)
@click.option(
    "--format",
    "form",
    metavar="NAME",
    help=f"One of onnx, tensorrt, {', '.join(FORMATS)}. Default: litert for phones, else onnx.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Where --format writes. Default: subnet-NAME.",
)
@click.option(
    "--front",
    type=options.InputPath(dir_okay=False),
    metavar="FILE",
    help="For --pack: what `ofa-tk search --pareto front.json` wrote.",
)
@click.option(
    "--pack",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write several subnets of the front that share weights, and a runtime that chooses among them.",
)
@click.option("--count", type=click.IntRange(min=2), default=4, show_default=True, help="Subnets of a pack.")
@request_options(ExportOptions)
@click.option("--dynamic-batch", is_flag=True, help="Leave the batch size open.")
@click.option(
    "--input",
    "input_kind",
    type=click.Choice(["normalised", "uint8"]),
    help="What the file takes: normalised images, or pixels 0 to 255 that it scales and normalises itself "
    "(as float32 where the target takes no bytes). Default: normalised; uint8 for a bundle.",
)
@click.option(
    "--layout",
    type=click.Choice(["NCHW", "NHWC"], case_sensitive=False),
    help="Of the input. Default: NHWC for pixels, else NCHW.",
)
@click.option(
    "--output",
    "output_kind",
    metavar="KIND",
    help="logits, probabilities, or topk=K. Default: logits; probabilities for a bundle.",
)
@click.option(
    "--features",
    is_flag=True,
    help="Leave the classifier out: ONNX outputs stride8, stride16, stride32, for detection.",
)
@options.force_option
@options.json_option
@click.pass_context
def command(
    ctx: click.Context,
    *,
    subnet: Path | None,
    supernet: str | None,
    onnx_file: str | None,
    engine_file: str | None,
    bundle: Path | None,
    form: str | None,
    out: Path | None,
    front: Path | None,
    pack: Path | None,
    count: int,  # noqa: ARG001 - read by `export_pack`
    request: ExportOptions,
    dynamic_batch: bool,
    input_kind: str | None,
    layout: Any,
    output_kind: str | None,
    features: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Export a subnet to ONNX, TensorRT or another format, checked against the network it was cut from.

    Batch norm is recalibrated and folded, the file is linted for its target, and its outputs are compared
    with the network's; nothing is written unless all of that succeeds. What was done is in the file, and
    `ofa-tk verify` checks it again.
    """
    if front is not None or pack is not None:
        from ofa_tk.pack_export import export_pack

        export_pack(ctx)
        return
    if dynamic_batch and ctx.get_parameter_source("batch_size") is not click.core.ParameterSource.DEFAULT:
        raise click.UsageError("--dynamic-batch leaves the batch size open; leave out --batch-size.")
    form = _with_features(ctx) if features else form
    if onnx_file is None and engine_file is None and bundle is None:
        form, onnx_file, engine_file = _asked(form, out, subnet, request)
    elif form is not None or out is not None:
        raise click.UsageError(
            "Leave out --format and --out: --onnx FILE, --tensorrt FILE and --bundle DIR say what is written."
        )
    from ofa_toolkit.pipelines.export.onnx_file import (
        describe_target,
        export_onnx,
    )

    written = _onnx_path(onnx_file, force=force)
    if bundle is not None and engine_file is None:
        input_kind, output_kind = input_kind or "uint8", output_kind or "probabilities"
    engine = _engine_path(engine_file, force=force)
    _check_bundle(bundle, force=force)
    chosen = dataclasses.replace(
        request,
        batch_size=None if dynamic_batch else request.batch_size,
        engine=engine is not None,
        pixels=input_kind == "uint8",
        layout=layout or ("NHWC" if input_kind == "uint8" else "NCHW"),
        output="features" if features else output_kind or "logits",
    )
    if form is not None:
        from ofa_tk.format_export import export_to_format

        export_to_format(form, subnet, out, supernet=supernet, options=chosen, force=force, as_json=as_json)
        return
    exported = export_onnx(subnet, written, supernet=supernet, options=chosen, reporter=TerminalReporter())
    outcome = None
    if engine is not None:
        from ofa_toolkit.pipelines.export.tensorrt import export_tensorrt

        is_default = engine_file == _DEFAULT
        outcome = export_tensorrt(exported, engine, replace=is_default, force=force)
    if bundle is not None:
        from ofa_toolkit.pipelines.export.bundle import write_bundle

        write_bundle(exported, bundle, force=force)
    for warning in exported.warnings:
        output.warn(warning)
    if as_json:
        output.print_json(_document(exported, written, outcome, bundle))
    else:
        output.print_fields(_fields(exported, describe_target(exported.form.target)))
        _print_paths(written, outcome, bundle)
    output.next_step(_next(exported, written, outcome, bundle, request.data))


def _with_features(ctx: click.Context) -> str | None:
    """The format of a network without its classifier, once the other options go with that."""
    given = ctx.params
    form = given["form"]
    is_other = form is not None and _FILES.get(form) != "onnx_file"
    if given["bundle"] is not None or given["output_kind"] is not None or is_other:
        raise click.UsageError("--features goes with --onnx, not with --bundle, --output or other formats.")
    return None if given["onnx_file"] or given["engine_file"] else "onnx"


def _asked(
    form: str | None, out: Path | None, subnet: Path | None, request: ExportOptions
) -> tuple[str | None, str | None, str | None]:
    """A format beside ONNX and TensorRT, or else the file of one of these two."""
    if out is not None and form is None:
        raise click.UsageError("--out goes with --format NAME.")
    from ofa_toolkit.pipelines.export.searched_target import default_format

    target = None if request.target is None else str(request.target)
    form = form or default_format(subnet, target, request.tables)
    if form not in _FILES:
        return form, None, None
    named = {_FILES[form]: _DEFAULT if out is None else str(out)}
    return None, named.get("onnx_file"), named.get("engine_file")


def _onnx_path(onnx_file: str | None, *, force: bool) -> Path | None:
    """Where the ONNX file goes, once it would not destroy anything."""
    if onnx_file is None:
        return None
    from ofa_toolkit.core import files
    from ofa_toolkit.export.metadata import has_metadata
    from ofa_toolkit.pipelines.export.onnx_file import DEFAULT_ONNX

    is_default = onnx_file == _DEFAULT
    path = DEFAULT_ONNX if is_default else Path(onnx_file)
    return files.check_output(path, is_default=is_default, force=force, is_ours=has_metadata)


def _check_bundle(bundle: Path | None, *, force: bool) -> None:
    if bundle is not None:
        from ofa_toolkit.core.output_folder import check_output_folder
        from ofa_toolkit.pipelines.export.bundle import KIND

        check_output_folder(bundle, KIND, force=force)


def _engine_path(engine_file: str | None, *, force: bool) -> Path | None:
    """Where the engine goes, once neither it nor the kit in its place would destroy anything."""
    if engine_file is None:
        return None
    from ofa_toolkit.core import files
    from ofa_toolkit.core.output_folder import check_output_folder
    from ofa_toolkit.export.build_kit import KIND
    from ofa_toolkit.pipelines.export.tensorrt import DEFAULT_ENGINE, kit_folder

    is_default = engine_file == _DEFAULT
    engine = DEFAULT_ENGINE if is_default else Path(engine_file)
    check_output_folder(kit_folder(engine), KIND, replace=is_default, force=force)
    return files.check_output(engine, is_default=False, force=force)


def _fields(exported: Exported, target: str) -> dict[str, object]:
    from ofa_toolkit.complexity import count_params
    from ofa_toolkit.evaluation.sampling import accuracy_text
    from ofa_toolkit.pipelines.export.onnx_file import describe_batchnorm

    comparison, metadata = exported.comparison, exported.metadata
    fields: dict[str, object] = {
        "target": target,
        "precision": metadata.precision,
        "input": _input(metadata),
        "output": metadata.ends.told_output(),
        "size": f"{len(exported.content) / 1e6:.2f} MB, {exported.counts.num_nodes} nodes",
        "MACs, parameters": f"{metadata.macs:,}, {metadata.params:,} (counted in the file; "
        f"{count_params(exported.network.layers):,} with batch norm, which is folded here)",
        "batch norm": describe_batchnorm(exported),
        "compared on": comparison.images,
        "largest difference": f"{comparison.max_relative_error:.1e} of the largest "
        + ("value of its map" if metadata.features else "logit"),
    }
    for name, entry in (metadata.features or {}).items():
        fields[name] = (
            f"{entry['channels']} channels, {entry['size']} x {entry['size']}, after {entry['layer']}"
        )
    if comparison.agreement_percent is not None:
        fields["same class"] = f"{comparison.agreement_percent:.1f} %"
    if exported.floating:
        fields["floating point"] = _floating(exported)
    if comparison.largest_activation is not None:
        fields["largest activation"] = f"{comparison.largest_activation:.4g} (fp16 ends at 65,504)"
    if comparison.file_top1_percent is not None and comparison.network_top1_percent is not None:
        fields["top-1 %"] = (
            f"{accuracy_text(comparison.file_top1_percent, comparison.num_images)}, "
            f"network {comparison.network_top1_percent:.2f}"
        )
    return fields


def _input(metadata: ExportMetadata) -> str:
    shape = metadata.ends.input_shape(metadata.batch_size or "N", metadata.subnet.resolution)
    told = metadata.ends.told_input()
    return f"{' x '.join(str(size) for size in shape)}, {told}"


def _floating(exported: Exported) -> str:
    """What of an int8 file is not in 8 bits, and its share."""
    nodes, counts = exported.floating, exported.counts
    params, macs = sum(node.params for node in nodes), sum(node.macs for node in nodes)
    precisions = " and ".join(sorted({node.precision for node in nodes}))
    return (
        f"{len(nodes)} squeeze-excite layers in {precisions}, {params / counts.params:.1%} of the weights, "
        f"{macs / counts.macs:.2%} of the MACs: {', '.join(node.name for node in nodes)}"
    )


def _print_paths(out: Path | None, outcome: TensorRtOutcome | None, bundle: Path | None) -> None:
    paths: dict[str, object] = {}
    if out is not None:
        paths["ONNX file"] = out
    if outcome is not None:
        paths |= outcome.fields()
    if bundle is not None:
        paths["bundle"] = bundle
    output.print_fields(paths)


def _document(
    exported: Exported, out: Path | None, outcome: TensorRtOutcome | None, bundle: Path | None
) -> dict[str, Any]:
    return {
        "onnx": out,
        "tensorrt": outcome,
        "bundle": bundle,
        "metadata": exported.metadata.to_document(),
        "num_bytes": len(exported.content),
        "num_nodes": exported.counts.num_nodes,
        "operators": exported.counts.operators,
        "floating_point": exported.floating,
        "warnings": exported.warnings,
    }


def _unnamed(exported: Exported, data: str | None) -> list[str]:
    """Options for what the file does not name as one finds it: files carry no absolute paths."""
    words = [] if leads_back(exported.supernet.name) else ["--supernet", exported.supernet.name]
    return words if data is None or leads_back(data) else [*words, "--data", data]


def _next(
    exported: Exported,
    out: Path | None,
    outcome: TensorRtOutcome | None,
    bundle: Path | None,
    data: str | None,
) -> str:
    if outcome is not None:
        return outcome.next_command()
    if out is not None:
        builds_engines = exported.form.target.generation.software.builds_engines
        words = ("verify", out, *_unnamed(exported, data)) if builds_engines else ("benchmark", out)
        return command_line(*words)
    return shlex.join(["python", f"{bundle}/run.py"]) + " IMAGE"
