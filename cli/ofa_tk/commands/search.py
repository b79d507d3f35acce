"""`ofa-tk search`: the best subnet for a budget."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from ofa_tk import options, output
from ofa_toolkit.core import files, quantities
from ofa_toolkit.core.errors import QuantityError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ofa_toolkit.pipelines.search.answer import Candidate
    from ofa_toolkit.pipelines.search.find import FoundSubnet
    from ofa_toolkit.pipelines.search.front import Front
    from ofa_toolkit.pipelines.search.request import SearchRequest
    from ofa_toolkit.pipelines.search.verify import Verified


class _Choice(click.ParamType[tuple[str, tuple[float, ...]]]):
    """`name=value` or `name=value,value`."""

    name = "choice"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, tuple[float, ...]]:
        """Split and read the numbers."""
        name, equals, numbers = str(value).partition("=")
        try:
            parsed = tuple(float(number) for number in numbers.split(","))
        except ValueError:
            parsed = ()
        if not equals or not parsed:
            self.fail(f"'{value}' is not NAME=VALUE, such as resolution=160.", param, ctx)
        return name.replace("-", "_"), parsed


class _Percent(click.ParamType[float]):
    """A percentage with its sign."""

    name = "percentage"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read `75%` as 75."""
        try:
            return 100 * quantities.parse_share(str(value))
        except QuantityError as error:
            self.fail(f"{error.message} {error.hint or ''}".strip(), param, ctx)


@click.command()
@click.option("--supernet", metavar="NAME|DIR", help="Whose subnets. Default: OFA's MobileNetV3 w1.0.")
@options.space_option("Search space, where no supernet is named.")
@click.option(
    "--predictor",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Another accuracy predictor than the supernet's.",
)
@click.option(
    "--device",
    "devices",
    multiple=True,
    metavar="NAME[:VARIANT]",
    help="A device with a latency table. Repeatable.",
)
@click.option(
    "--latency",
    "latencies",
    multiple=True,
    type=options.Quantity("latency"),
    metavar="TIME",
    help="Longest time of a batch, such as 20ms. One for all devices, or one each in their order.",
)
@click.option(
    "--throughput",
    "throughputs",
    multiple=True,
    type=options.Quantity("throughput"),
    metavar="RATE",
    help="Least images per second, such as 500/s; with a variant that has a batch. Like --latency.",
)
@click.option("--macs", type=options.Quantity("macs"), metavar="COUNT", help="Most MACs, such as 200M.")
@click.option(
    "--params", type=options.Quantity("params"), metavar="COUNT", help="Most parameters, such as 5M."
)
@click.option(
    "--memory", type=options.Quantity("memory"), metavar="SIZE", help="Most activation memory, such as 4MB."
)
@click.option("--accuracy", type=_Percent(), metavar="SHARE", help="Least predicted top-1, such as 75%.")
@click.option(
    "--minimize",
    metavar="FIGURE",
    help="latency[:DEVICE], macs, params or memory, instead of the best accuracy.",
)
@click.option(
    "--maximize",
    type=click.Choice(["accuracy", "macs"]),
    default="accuracy",
    show_default=True,
    help="What to make large; MACs need no accuracy predictor.",
)
@click.option(
    "--fix",
    multiple=True,
    type=_Choice(),
    metavar="NAME=VALUE",
    help="Allowed values, such as resolution=160.",
)
@click.option(
    "--max", "maximum", multiple=True, type=_Choice(), metavar="NAME=VALUE", help="Such as kernel_size=5."
)
@click.option(
    "--min", "minimum", multiple=True, type=_Choice(), metavar="NAME=VALUE", help="Such as depth=3."
)
@click.option(
    "--confidence",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    metavar="SHARE",
    help="Keep latency below the limit with this probability, such as 0.9, not on average.",
)
@click.option(
    "--pareto",
    "front_files",
    multiple=True,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Also write the front of accuracy against cost as .csv, .json or .png. Repeatable.",
)
@click.option(
    "--against",
    "costs",
    multiple=True,
    metavar="FIGURE",
    help="Costs of the front. Default: latency on the first device, or macs.",
)
@click.option(
    "--method",
    type=click.Choice(["evolution", "random", "exhaustive"]),
    default="evolution",
    show_default=True,
    help="How to search.",
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
@options.set_option
@options.tables_option
@options.out_option("subnet.json", "Where the subnet goes.")
@options.force_option
@options.seed_option
@options.json_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    devices: tuple[str, ...],
    latencies: tuple[float, ...],
    throughputs: tuple[float, ...],
    fix: tuple[tuple[str, tuple[float, ...]], ...],
    maximum: tuple[tuple[str, tuple[float, ...]], ...],
    minimum: tuple[tuple[str, tuple[float, ...]], ...],
    front_files: tuple[Path, ...],
    costs: tuple[str, ...],
    method: Literal["evolution", "random", "exhaustive"],
    overrides: tuple[str, ...],
    out: Path,
    force: bool,
    seed: int,
    as_json: bool,
    supernet: str | None,
    memory: float | None,
    verify_top: int | None,
    data: str | None,
    runtime: str | None,
    **limits: Any,
) -> None:
    """Find the most accurate subnet for a budget.

    Example: ofa-tk search --device jetson-nano --latency 20ms
    """
    from ofa_toolkit.pipelines.export.searched_target import export_command
    from ofa_toolkit.pipelines.search.find import device_requests, search
    from ofa_toolkit.pipelines.search.request import SearchRequest
    from ofa_toolkit.zoo.supernet import load_supernet

    request = SearchRequest(
        supernet=None if supernet is None else load_supernet(supernet),
        devices=device_requests(devices, latencies, throughputs),
        fix=dict(fix),
        maximum={name: max(values) for name, values in maximum},
        minimum={name: min(values) for name, values in minimum},
        memory_bytes=memory,
        **limits,
    )
    files.check_output(out, is_default=options.is_default_out(ctx), force=force)
    for path in front_files:
        files.check_output(path, is_default=False, force=force)
    effort = _effort(overrides)
    if front_files and request.maximize != "accuracy":
        raise click.UsageError("--pareto is of accuracy against cost; it does not go with --maximize.")
    if verify_top is None and (data is not None or runtime is not None):
        raise click.UsageError("--data and --measure belong to --verify-top K.")
    if verify_top is not None and (data is None or request.supernet is None):
        raise click.UsageError("--verify-top needs --supernet and --data.")
    found = search(request, method=method, effort=effort, seed=seed, num_best=max(8, verify_top or 0))
    verified: tuple[Verified, ...] = ()
    if verify_top is not None and data is not None:
        found, verified = _verify(found, request, data, verify_top, runtime)
    found.write(out)
    front = _write_front(request, front_files, costs, method=method, effort=effort, seed=seed)
    if as_json:
        document = found.document() | ({"front": front.document()} if front else {})
        output.print_json(document | ({"verified": [v.document() for v in verified]} if verified else {}))
    else:
        _print_verified(verified)
        _print(found, out)
    for path in front_files:
        output.note(f"Front: {path}")
    if found.supernet is not None:
        chosen = () if options.is_default_out(ctx) else ("--subnet", out)
        output.next_step(export_command(found.predicted, *chosen, tables=request.tables))


def _verify(
    found: FoundSubnet, request: SearchRequest, data: str, num_subnets: int, runtime: str | None
) -> tuple[FoundSubnet, tuple[Verified, ...]]:
    from ofa_toolkit.pipelines.evaluation.evaluator import open_evaluator
    from ofa_toolkit.pipelines.search.verify import verify_top

    assert request.supernet is not None
    limits = [device.latency_ms for device in request.devices if device.latency_ms is not None]
    with output.progress_bar("Measuring subnets", num_subnets) as show:
        return verify_top(
            found,
            open_evaluator(request.supernet, data),
            num_subnets=num_subnets,
            runtime=runtime,
            most_latency_ms=min(limits) if runtime is not None and limits else None,
            on_step=lambda done, _total: show(done),
        )


def _print_verified(verified: Sequence[Verified]) -> None:
    if not verified:
        return
    from ofa_toolkit.evaluation.sampling import accuracy_text

    has_latency = verified[0].latency_ms is not None
    columns: list[output.Column | str] = [
        output.Column(name=name, is_number=True)
        for name in (
            "predicted rank",
            "predicted top-1 %",
            "measured top-1 %",
            *(["measured ms"] if has_latency else []),
        )
    ]
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


def _write_front(
    request: SearchRequest,
    paths: Sequence[Path],
    costs: Sequence[str],
    *,
    method: Literal["evolution", "random", "exhaustive"],
    effort: dict[str, Any],
    seed: int,
) -> Front | None:
    if not paths:
        return None
    from ofa_toolkit.pipelines.search.front import find_front

    chosen = list(costs) or ["latency" if request.devices else "macs"]
    front = find_front(request, chosen, method=method, effort=effort, seed=seed)
    for path in paths:
        front.write(path)
    return front


def _effort(overrides: tuple[str, ...]) -> dict[str, Any]:
    from ofa_toolkit.core.config import apply_overrides

    return dict(apply_overrides({}, overrides))


def _print(found: FoundSubnet, out: Path) -> None:
    lines = {"supernet": found.supernet or f"none, space {found.space.name}", "predicted top-1": "unknown"}
    if accuracy := found.predicted.get("top1_percent"):
        low, high = accuracy["interval"]
        lines["predicted top-1"] = (
            f"{accuracy['value']:.2f} % ({low:.2f} to {high:.2f} in {100 * accuracy['confidence']:.0f} % of "
            f"cases; {accuracy['provenance']}{', extrapolated' if accuracy['is_extrapolation'] else ''})"
        )
    latencies = found.predicted.get("latency_ms", {})
    for name, latency in latencies.items():
        bound = (
            f", below {latency['upper_bound']:.2f} ms in {100 * latency['confidence']:.0f} % of cases"
            if "upper_bound" in latency
            else ""
        )
        error = "error unknown"
        if "mape_percent" in latency:
            error = f"mean error {latency['mape_percent']:g} %"
            error += " on other networks" if "extrapolations" in latency else ""
        came_about = f"{latency['provenance']}, {latency['interval']}, {error}"
        lines[f"latency on {name}"] = f"{latency['value']:.2f} ms ({came_about}{bound})"
        if "mape_of" in latency:
            lines["that error" if len(latencies) == 1 else f"error on {name}"] = latency["mape_of"]
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


def _print_candidates(candidates: Sequence[Candidate]) -> None:
    columns: list[output.Column | str] = ["subnet", output.Column(name="resolution", is_number=True)]
    columns.append(output.Column(name="top-1 %", is_number=True))
    columns += [
        output.Column(name=f"ms on {name.partition(':')[0]}", is_number=True)
        for name in candidates[0].latency_ms
    ]
    columns += [output.Column(name="MMACs", is_number=True), output.Column(name="M params", is_number=True)]
    columns.append("within limits")
    rows = [
        (
            candidate.name,
            candidate.subnet.resolution,
            _percent_text(candidate.top1_percent),
            *(f"{value:.2f}" for value in candidate.latency_ms.values()),
            f"{candidate.macs / 1e6:.0f}",
            f"{candidate.params / 1e6:.2f}",
            "yes" if candidate.is_feasible else "no",
        )
        for candidate in candidates
    ]
    output.print_table(columns, rows)


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
