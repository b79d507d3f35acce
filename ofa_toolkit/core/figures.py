"""Figures as PNG, drawn without a window."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def new_figure(width: float = 7, height: float = 4.5, *, columns: int = 1) -> tuple[Figure, Sequence[Axes]]:
    """An empty figure of so many inches, and its axes from left to right."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(figure.subplots(1, columns, squeeze=False)[0])


def finish_axes(axes: Axes, x_label: str, y_label: str, **legend: Any) -> None:
    """Name the axes, and add grid and legend; call it after the last curve."""
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(visible=True, alpha=0.3)
    axes.legend(**legend)


def png(figure: Figure) -> bytes:
    """The figure as a file; equal figures give equal files with one version of matplotlib."""
    # Without the version of matplotlib and the date, which would make equal figures different files.
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=150, metadata={"Software": None})
    return stream.getvalue()
