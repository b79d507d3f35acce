"""`ofa-tk search`: the best subnet for a budget."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ofa_tk import options, output
from ofa_tk.launching import Launching, launching_options
from ofa_tk.reporter import TerminalReporter
from ofa_tk.request_options import request_options
from ofa_toolkit.core import files
from ofa_toolkit.core.config import apply_overrides
from ofa_toolkit.pipelines.search.request import FrontRequest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ofa_toolkit.pipelines.search.answer import Candidate
    from ofa_toolkit.pipelines.search.find import FoundSubnet
    from ofa_toolkit.pipelines.search.front import Front
    from ofa_toolkit.pipelines.search.verify import Verified
    from ofa_toolkit.zoo.supernet import LoadedSupernet


@click.command()
@request_options(FrontRequest)
@click.option(
    "--pareto",
    "front_files",
    multiple=True,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Also write the front of accuracy against cost as .csv, .json or .png. Repeatable.",
)
@click.option(
    "--verify-top",
    type=click.IntRange(min=1),
    metavar="K",
    help="Measure the K best on held-out training images and rank by that; needs --supernet and --data.",
)
@click.option("--data", metavar="SOURCE", help="Images for --verify-top, such as npz:FILE.")
@click.option(
    "--measure",
    "runtime",
    type=click.Choice(["onnxruntime", "torch", "tensorrt"]),
    help="With --verify-top: also time them on this machine, and leave out those beyond --latency.",
)
@launching_options("With --verify-top: processes that measure at the same time.", has_shards=True)
@options.set_option
@options.out_option("subnet.json", "Where the subnet goes.")
@options.force_option
@options.json_option
@click.pass_context
def command(
    ctx: click.Context,
    *,
    request: FrontRequest,
    front_files: tuple[Path, ...],
    verify_top: int | None,
    data: str | None,
    runtime: str | None,
    launching: Launching,
    overrides: tuple[str, ...],
    out: Path,
    force: bool,
    as_json: bool,
) -> None:
    """Find the most accurate subnet for a budget.

    Example: ofa-tk search --device jetson-nano --latency 20ms
    """
    from ofa_toolkit.pipelines.export.searched_target import export_command
    from ofa_toolkit.pipelines.search.find import search
    from ofa_toolkit.zoo.supernet import load_supernet

    supernet = None if request.supernet is None else load_supernet(request.supernet)
    request = dataclasses.replace(
        request,
        supernet=supernet,
        effort=apply_overrides({}, overrides),
        num_best=max(request.num_best, verify_top or 0),
    )
    files.check_output(out, is_default=options.is_default_out(ctx), force=force)
    if front_files:
        _check_front_files(front_files, request, force=force)
    if verify_top is None:
        _refuse_without_verifying(data, runtime, launching)
    elif data is None or supernet is None:
        raise click.UsageError("--verify-top needs --supernet and --data.")
    found = search(request)
    verified: tuple[Verified, ...] = ()
    if verify_top is not None and data is not None and supernet is not None:
        answer = _verify(found, supernet, request, data, verify_top, runtime, launching, out)
        if answer is None:
            return
        found, verified = answer
    found.write(out)
    front = _write_front(request, front_files)
    if as_json:
        document = found.document() | ({"front": front.document()} if front else {})
        output.print_json(document | ({"verified": [v.document() for v in verified]} if verified else {}))
    else:
        _print_verified(verified)
        _print(found, out)
    for path in front_files:
        output.note(f"Front: {path}")
    if found.supernet is not None:
        chosen = [] if options.is_default_out(ctx) else ["--subnet", out]
        images = (supernet or load_supernet(found.supernet)).images_to_type
        if images is not None:
            chosen += ["--data", data or images]
        place = (images or "").rpartition(":")[2]
        if data is None and place in ("DIR", "FILE"):
            output.note(f"{place}: its training images, which the subnet's batch-norm statistics come from.")
        output.next_step(export_command(found.predicted, *chosen, tables=request.table_folders))


def _refuse_without_verifying(data: str | None, runtime: str | None, launching: Launching) -> None:
    if data is not None or runtime is not None:
        raise click.UsageError("--data and --measure belong to --verify-top K.")
    if launching.is_asked_for:
        raise click.UsageError("--jobs, --launcher and --shard belong to --verify-top K.")


def _verify(
    found: FoundSubnet,
    supernet: LoadedSupernet,
    request: FrontRequest,
    data: str,
    num_subnets: int,
    runtime: str | None,
    launching: Launching,
    out: Path,
) -> tuple[FoundSubnet, tuple[Verified, ...]] | None:
    """The answer after measuring; None where only a shard was measured."""
    from ofa_toolkit.pipelines.evaluation.evaluator import open_evaluator
    from ofa_toolkit.pipelines.evaluation.request import EvaluationRequest
    from ofa_toolkit.pipelines.search.verify import measure_top, measurements_folder, verify_top

    limits = [device.latency_ms for device in request.devices if device.latency_ms is not None]
    evaluator = open_evaluator(supernet, EvaluationRequest(data=data))
    folder = measurements_folder(found, num_subnets, out)
    with TerminalReporter() as reporter:
        if launching.shard is not None:
            measure_top(found, evaluator, num_subnets, folder, shard=launching.shard, reporter=reporter)
            return None
        launching.launch_shards(folder / "logs", reporter)
        answer = verify_top(
            found,
            evaluator,
            num_subnets=num_subnets,
            runtime=runtime,
            most_latency_ms=min(limits) if runtime is not None and limits else None,
            folder=folder,
            reporter=reporter,
        )
    shutil.rmtree(folder)
    return answer


def _print_verified(verified: Sequence[Verified]) -> None:
    if not verified:
        return
    from ofa_toolkit.evaluation.sampling import accuracy_text

    has_latency = verified[0].latency_ms is not None
    latency = ["measured ms"] if has_latency else []
    columns = output.numbers("predicted rank", "predicted top-1 %", "measured top-1 %", *latency)
    rows = [
        (
            v.predicted_rank,
            _percent_text(v.candidate.top1_percent),
            accuracy_text(v.top1_percent, v.num_images),
            *([f"{v.latency_ms:.3f}"] if v.latency_ms is not None else []),
        )
        for v in verified
    ]
    output.print_table(columns, rows, title=f"Measured on {verified[0].num_images} held-out training images")
    output.line()


def _check_front_files(paths: Sequence[Path], request: FrontRequest, *, force: bool) -> None:
    from ofa_toolkit.pipelines.search.front import front_suffix

    for path in paths:
        front_suffix(path)
        files.check_output(path, is_default=False, force=force)
    if request.objective != "accuracy":
        raise click.UsageError("--pareto is of accuracy against cost; it does not go with --maximize.")


def _write_front(request: FrontRequest, paths: Sequence[Path]) -> Front | None:
    if not paths:
        return None
    from ofa_toolkit.pipelines.search.front import search_front

    front = search_front(request)
    for path in paths:
        front.write(path)
    return front


def _print(found: FoundSubnet, out: Path) -> None:
    lines = {"supernet": found.supernet or f"none, space {found.space.name}", "predicted top-1": "unknown"}
    if accuracy := found.predicted.get("top1_percent"):
        low, high = accuracy["interval"]
        lines["predicted top-1"] = (
            f"{accuracy['value']:.2f} % ({low:.2f} to {high:.2f} in {100 * accuracy['confidence']:.0f} % of "
            f"cases; {accuracy['provenance']}{', extrapolated' if accuracy['is_extrapolation'] else ''}"
            f"{'' if accuracy['calibrated_for_search'] else ', unchecked for searched subnets'})"
        )
    for quantity, unit, digits in (("latency", "ms", 2), ("throughput", "images/s", 0)):
        figures = found.predicted.get("latency_ms" if quantity == "latency" else "throughput_per_s", {})
        for name, figure in figures.items():
            label, where = (quantity, f" on {name}") if len(figures) == 1 else (f"{quantity} on {name}", "")
            lines[label] = f"{figure['value']:.{digits}f} {unit}{where} ({_came_about(figure)})"
    lines["searched"] = f"{found.search['num_evaluations']:,} subnets in {found.search['seconds']:.2f} s"
    output.print_fields(lines, title="Found")
    output.line()
    _print_candidates(found.candidates)
    output.line()
    _print_stages(found)
    for line in found.not_binding:
        output.note(line)
    for line in found.warnings:
        output.warn(line)
    output.note(f"Wrote {out}")


def _came_about(figure: Mapping[str, Any]) -> str:
    parts = [figure["provenance"], figure["interval"], figure["error"]]
    if "upper_bound" in figure:
        parts.append(f"below {figure['upper_bound']:.2f} ms in {100 * figure['confidence']:.0f} % of cases")
    return ", ".join(parts) + (f": {figure['mape_of']}" if "mape_of" in figure else "")


def _print_candidates(candidates: Sequence[Candidate]) -> None:
    numbers = output.numbers(
        "resolution",
        "top-1 %",
        *(f"ms on {name.partition(':')[0]}" for name in candidates[0].latency_ms),
        *(f"images/s on {name.partition(':')[0]}" for name in candidates[0].throughput_per_s),
        "MMACs",
        "M params",
    )
    rows = [
        (
            candidate.name,
            candidate.subnet.resolution,
            _percent_text(candidate.top1_percent),
            *(f"{value:.2f}" for value in candidate.latency_ms.values()),
            *(f"{value:.0f}" for value in candidate.throughput_per_s.values()),
            f"{candidate.macs / 1e6:.0f}",
            f"{candidate.params / 1e6:.2f}",
            "yes" if candidate.is_feasible else "no",
        )
        for candidate in candidates
    ]
    output.print_table(["subnet", *numbers, "within limits"], rows)


def _percent_text(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f}"


def _print_stages(found: FoundSubnet) -> None:
    rows = []
    for index, stage in enumerate(found.subnet.stages):
        kernels = " ".join(str(k) for k in stage.kernel_sizes)
        ratios = " ".join(f"{e:g}" for e in stage.expand_ratios)
        rows.append((index + 1, stage.depth, kernels, ratios, *([stage.width] if stage.width else [])))
    has_width = any(stage.width for stage in found.subnet.stages)
    columns = ["stage", "depth", "kernel sizes", "expand ratios", *(["width"] if has_width else [])]
    output.print_table(columns, rows)
