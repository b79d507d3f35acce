"""`ofa-tk spaces`: which search spaces there are, and what may be chosen in them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from ofa_tk import options, output
from ofa_toolkit.core import quantities

if TYPE_CHECKING:
    from ofa_toolkit.pipelines.spaces import SpaceSummary, StageSummary, SubnetCost


@click.group()
def command() -> None:
    """List search spaces and show their choices."""


@command.command("list")
@options.json_option
def list_command(as_json: bool) -> None:
    """List the registered search spaces."""
    from ofa_toolkit.pipelines.spaces import summarize_spaces

    summaries = summarize_spaces()
    if as_json:
        output.print_json(summaries)
        return
    numbers = output.numbers("networks", "input", "smallest", "largest", "params")
    output.print_table(["space", *numbers], [_list_row(summary) for summary in summaries])
    output.note("params: those of the largest network, classifier included.")
    output.note("CompOFA's restriction of an MBConv space is named <space>-compound.")


def _list_row(summary: SpaceSummary) -> tuple[object, ...]:
    return (
        summary.name,
        _count(summary.num_architectures, 1),
        _range(summary.resolutions),
        quantities.MACS.format(summary.smallest.macs, digits=4),
        quantities.MACS.format(summary.largest.macs, digits=4),
        quantities.PARAMS.format(summary.largest.params),
    )


@command.command("show")
@click.argument("name", metavar="NAME|FILE.toml|DIR")
@click.option(
    "--num-classes", type=click.IntRange(min=1), help="Outputs of the classifier.  [default: the space's]"
)
@click.option("--toml", "as_toml", is_flag=True, help="Print the table, to start a space of your own from.")
@options.json_option
def show_command(name: str, num_classes: int | None, as_toml: bool, as_json: bool) -> None:
    """Show a space's choices and the cost of its extremes: by name, of a file, or of a supernet's folder.

    A changed table is a space of your own: `--space FILE.toml` takes it in every command.
    """
    from ofa_toolkit.pipelines.spaces import summarize_space
    from ofa_toolkit.spaces.space_file import dumps_space, open_space

    space = open_space(name)
    if num_classes is not None:
        space = space.with_num_classes(num_classes)
    if as_toml:
        output.line(dumps_space(space).rstrip())
        return
    summary = summarize_space(space)
    if as_json:
        output.print_json(summary)
        return
    output.print_fields(
        {
            "space": summary.name,
            "source": summary.source,
            "networks": _count(summary.num_architectures, 3),
            "resolutions": _resolutions(summary.resolutions),
            "classes": summary.num_classes,
            **({"padding": 'TensorFlow\'s "same"'} if summary.padding == "same" else {}),
        }
    )
    output.line()
    output.print_table(
        ["stage", "block", "width", "stride", "depth", "kernel size", "expand ratio", "activation", "SE"],
        [_stage_row(number, stage) for number, stage in enumerate(summary.stages, start=1)],
    )
    output.line()
    output.print_table(
        ["subnet", *output.numbers("resolution", "MACs", "params", "peak activations (fp32)")],
        [_cost_row("smallest", summary.smallest), _cost_row("largest", summary.largest)],
    )


def _stage_row(number: int, stage: StageSummary) -> tuple[object, ...]:
    ratios = _join(stage.expand_ratios)
    if stage.depth_to_expand_ratio is not None:
        ratios = ", ".join(f"{ratio:g} at depth {depth}" for depth, ratio in stage.depth_to_expand_ratio)
    if stage.expand_scales:
        ratios += f" (times {', '.join(f'{scale:.3g}' for scale in stage.expand_scales)} by block)"
    return (
        number,
        stage.block,
        _join(stage.widths),
        stage.stride,
        _join(stage.depths),
        _join(stage.kernel_sizes),
        ratios,
        stage.activation,
        "yes" if stage.use_se else "no",
    )


def _cost_row(name: str, cost: SubnetCost) -> tuple[object, ...]:
    return (
        name,
        cost.resolution,
        quantities.MACS.format(cost.macs, digits=4),
        quantities.PARAMS.format(cost.params, digits=4),
        quantities.MEMORY.format(cost.peak_activation_bytes),
    )


def _count(number: int, digits: int) -> str:
    """As `1.5e+19`; a space may hold more networks than a float reaches."""
    exponent = math.floor(math.log10(number))
    mantissa = 10 ** (math.log10(number) - exponent)
    return f"{mantissa:.{digits}f}e+{exponent:02d}"


def _join(values: Iterable[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _resolutions(values: tuple[int, ...]) -> str:
    steps = {after - before for before, after in itertools.pairwise(values)}
    if len(values) > 3 and len(steps) == 1:
        return f"{values[0]} to {values[-1]} in steps of {steps.pop()}"
    return _join(values)


def _range(values: tuple[int, ...]) -> str:
    return f"{values[0]}" if len(values) == 1 else f"{values[0]}..{values[-1]}"
