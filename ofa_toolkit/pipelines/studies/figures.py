"""Figures of a study, as PNG: Pareto curves, accuracy against cost, the largest network over the epochs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ofa_toolkit.core.figures import finish_axes, new_figure, png
from ofa_toolkit.pipelines.studies.results import RunResult, share_hardware, space_names
from ofa_toolkit.pipelines.studies.statistics import DEVICE_HOURS, FORWARD_MACS, MEAN_PARETO, Row, summarize

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_figures(results: Sequence[RunResult], labels: Sequence[str], reference: str) -> dict[str, bytes]:
    """PNG files by name; equal results give equal files with one version of matplotlib."""
    present = [label for label in labels if any(result.label == label for result in results)]
    figures = {
        "epochs.png": _png(
            lambda axes: _draw_epochs(axes, results, present),
            "Epoch (▾: a phase begins)",
            "Largest network, held-out top-1 (%)",
        )
    }
    measure = DEVICE_HOURS if share_hardware(results) else FORWARD_MACS
    for number, space in enumerate(space_names(results)):
        rows = summarize(results, space, labels, reference)
        suffix = f"-{number + 1}" if number else ""

        def pareto(axes: Axes, space: str = space) -> None:
            _draw_pareto(axes, results, present, space)

        def cost(axes: Axes, rows: Sequence[Row] = rows) -> None:
            _draw_cost(axes, rows, measure)

        figures[f"pareto{suffix}.png"] = _png(pareto, "10⁶ MACs", "Test top-1 (%)")
        figures[f"cost{suffix}.png"] = _png(cost, measure, "Mean Pareto top-1 on test images (%)")
    return figures


def _draw_pareto(axes: Axes, results: Sequence[RunResult], labels: Sequence[str], space: str) -> None:
    """Mean over seeds of each bucket's best subnet; every seed as a thin line behind."""
    for number, label in enumerate(labels):
        curves = [result.curve(space) for result in results if result.label == label]
        # Candidates are the same for all seeds, so every curve has a point in the same buckets.
        points = np.array(
            [[(point.mmacs, point.test_top1_percent) for point in curve.points] for curve in curves],
            dtype=np.float64,
        )
        for own in points:
            axes.plot(*own.T, color=_color(number), alpha=0.3, linewidth=0.8)
        dashes = "-" if curves[0].is_trained else "--"
        axes.plot(*points.mean(axis=0).T, dashes, color=_color(number), marker="o", markersize=4, label=label)
    axes.set_title(f"Subnets of {space}", fontsize=10)


def _draw_cost(axes: Axes, rows: Sequence[Row], measure: str) -> None:
    for number, row in enumerate(rows):
        cost, accuracy = row.values[measure], row.values[MEAN_PARETO]
        axes.errorbar(
            cost.mean,
            accuracy.mean,
            xerr=cost.half_width,
            yerr=accuracy.half_width,
            fmt="o",
            color=_color(number),
            label=row.label,
            capsize=3,
        )


def _draw_epochs(axes: Axes, results: Sequence[RunResult], labels: Sequence[str]) -> None:
    """The largest network's mean over seeds; the first epoch of a later phase is marked."""
    for number, label in enumerate(labels):
        by_epoch: dict[int, list[float]] = defaultdict(list)
        starts: set[int] = set()
        for result in (r for r in results if r.label == label):
            previous = None
            for line in result.epoch_curve:
                by_epoch[line.epoch].append(line.top1_percent)
                if previous not in (None, line.phase):
                    starts.add(line.epoch)
                previous = line.phase
        if not by_epoch:
            continue
        epochs = sorted(by_epoch)
        means = [float(np.mean(by_epoch[epoch])) for epoch in epochs]
        axes.plot(epochs, means, color=_color(number), label=label)
        marked = [epoch for epoch in epochs if epoch in starts]
        axes.plot(
            marked, [means[epochs.index(e)] for e in marked], color=_color(number), marker="v", linestyle=""
        )


def _color(number: int) -> str:
    """A label's colour; the second ten are lighter than the first."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return to_hex(colormaps["tab20"]((2 * number + number // 10) % 20))


def _png(draw: Callable[[Axes], None], x_label: str, y_label: str) -> bytes:
    figure, (axes,) = new_figure()
    draw(axes)
    # Beside the axes: with many labels it would cover the curves.
    finish_axes(axes, x_label, y_label, fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return png(figure)
