"""Tables of a study: Markdown to read, CSV and JSON to work with."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from ofa_toolkit.core.csv_table import csv_table
from ofa_toolkit.pipelines.studies.results import RunResult, share_hardware, space_names
from ofa_toolkit.pipelines.studies.statistics import ACCURACIES, COSTS, DEVICE_HOURS, Estimate, Row, summarize


def markdown(results: Sequence[RunResult], labels: Sequence[str], reference: str) -> str:
    """Means over seeds, then differences to the reference, one pair of tables for each space."""
    parts = []
    for space in space_names(results):
        rows = summarize(results, space, labels, reference)
        heads = ["", "seeds", *ACCURACIES, *COSTS]
        parts += [f"## Subnets of {space}", _table(heads, [_values(row) for row in rows])]
        untrained = [row.label for row in rows if not row.is_trained]
        if untrained:
            parts.append(f"Not trained on all subnets of this space: {', '.join(untrained)}.")
        compared = [row for row in rows if row.differences]
        if compared:
            parts += [
                f"Difference to {reference}, paired by seed; bold where the 95 % interval leaves out zero:",
                _table(
                    ["", "pairs", *ACCURACIES, *(f"{name.split(' (')[0]} (x {reference})" for name in COSTS)],
                    [_differences(row) for row in compared],
                ),
            ]
    if not share_hardware(results):
        parts.append(_hardware(results))
    return "\n\n".join(parts) + "\n"


def runs_csv(results: Sequence[RunResult]) -> str:
    """One line for each run and space."""
    rows: list[list[Any]] = []
    for result in results:
        for curve in result.curves:
            numbers = [f"{metric(result, curve.space):.6g}" for metric in {**ACCURACIES, **COSTS}.values()]
            head = [result.label, result.seed, curve.space, curve.is_trained, result.epochs]
            rows.append([*head, *numbers, result.hardware, result.command])
    header = ["label", "seed", "space", "is_trained", "epochs", *ACCURACIES, *COSTS, "hardware", "command"]
    return csv_table(header, rows)


def points_csv(results: Sequence[RunResult]) -> str:
    """One line for each point of each curve."""
    rows = (
        (result.label, result.seed, curve.space, *dataclasses.astuple(point))
        for result in results
        for curve in result.curves
        for point in curve.points
    )
    header = ["label", "seed", "space", "mmacs", "validation_top1_percent", "test_top1_percent"]
    return csv_table(header, rows)


def summary_document(results: Sequence[RunResult], labels: Sequence[str], reference: str) -> dict[str, Any]:
    """The rows of the tables as plain JSON values."""
    return {
        "format": "ofa-toolkit/study-summary",
        "version": 1,
        "reference": reference,
        "spaces": {
            space: [dataclasses.asdict(row) for row in summarize(results, space, labels, reference)]
            for space in space_names(results)
        },
    }


def _values(row: Row) -> list[str]:
    return [row.label, ", ".join(map(str, row.seeds)), *map(_text, row.values.values())]


def _differences(row: Row) -> list[str]:
    estimates = list(row.differences.values())
    texts = [f"**{_text(e, sign='+')}**" if e.is_clear else _text(e, sign="+") for e in estimates]
    costs = ["unknown" if ratio is None else _text(ratio) for ratio in row.cost_ratios.values()]
    return [row.label, str(estimates[0].count), *texts, *costs]


def _hardware(results: Sequence[RunResult]) -> str:
    """Which runs were trained on what, where not all were on the same."""
    runs: dict[str, list[str]] = {}
    for result in results:
        runs.setdefault(result.hardware, []).append(f"{result.label} {result.seed}")
    listed = "; ".join(f"{name}: {', '.join(own)}" for name, own in runs.items())
    return (
        f"The runs (label and seed) were not all trained on the same hardware: {listed}. Hours of one are "
        f"not those of another, so ratios of {DEVICE_HOURS} are of pairs on the same hardware; MACs are the "
        "same on all."
    )


def _text(estimate: Estimate, sign: str = "") -> str:
    text = f"{estimate.mean:{sign}.2f}"
    return text if estimate.half_width is None else f"{text} ± {estimate.half_width:.2f}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
