"""Draws a study's tables and figures again from its results, and one HTML page with all of them."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Mapping
from pathlib import Path

from ofa_toolkit.core import files
from ofa_toolkit.pipelines.studies import tables
from ofa_toolkit.pipelines.studies.definition import StudyConfig
from ofa_toolkit.pipelines.studies.figures import draw_figures
from ofa_toolkit.pipelines.studies.folder import StudyFolder
from ofa_toolkit.pipelines.studies.results import RunResult, read_results

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; display: block; overflow-x: auto; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid #8886; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
img { max-width: 100%; background: white; }
code { overflow-wrap: anywhere; }
@media (prefers-color-scheme: dark) { body { background: #16181d; color: #e6e6e6; } }
"""

_EXPLANATION = (
    "Top-1 in percent, mean over seeds ± half of the 95 % interval (Student's t; none for a single seed). "
    "Points were chosen on held-out training images and are reported on test images."
)


def write_report(folder: StudyFolder, out: Path) -> list[Path]:
    """Write tables, figures and the page into `out`; the same results give the same files.

    Raises:
        FileFormatError: There are no results yet, or one was damaged.
    """
    study = folder.study()
    results = read_results(folder.path / "results")
    labels, reference = [variant.label for variant in study.variants], study.reference_label
    results = [result for result in results if result.label in labels]
    table = tables.markdown(results, labels, reference)
    summary = tables.summary_document(results, labels, reference)
    figures = draw_figures(results, labels, reference)
    content: dict[str, bytes] = {
        "tables.md": table.encode(),
        "runs.csv": tables.runs_csv(results).encode(),
        "points.csv": tables.points_csv(results).encode(),
        "summary.json": (json.dumps(summary, indent=2, allow_nan=False) + "\n").encode(),
        "index.html": _page(study, results, table, figures).encode(),
        **figures,
    }
    for name, value in content.items():
        files.write_bytes(out / name, value)
    return [out / name for name in content]


def _page(study: StudyConfig, results: list[RunResult], table: str, figures: Mapping[str, bytes]) -> str:
    images = [
        f'<img alt="{name}" src="data:image/png;base64,{base64.b64encode(value).decode()}">'
        for name, value in figures.items()
    ]
    commands = [f"<li><code>{html.escape(result.command)}</code></li>" for result in results]
    conditions = sorted({f"{name}: {value}" for r in results for name, value in r.conditions.items()})
    title = html.escape(study.title)
    return "\n".join(
        [
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<style>{_STYLE}</style></head><body><h1>{title}</h1>",
            f"<p>{_EXPLANATION}</p>",
            _html_of(table),
            *images,
            "<h2>Conditions</h2><ul>",
            *(f"<li>{html.escape(text)}</li>" for text in conditions),
            "</ul><h2>Commands</h2><ul>",
            *commands,
            "</ul></body></html>\n",
        ]
    )


def _html_of(markdown: str) -> str:
    """HTML of the headings, tables, bold cells and paragraphs that `tables.markdown` writes."""
    parts = []
    for block in markdown.strip().split("\n\n"):
        text = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", html.escape(block))
        if text.startswith("## "):
            parts.append(f"<h2>{text[3:]}</h2>")
        elif text.startswith("|"):
            head, _, *rows = [line.strip("| ").split(" | ") for line in text.split("\n")]
            body = "".join(f"<tr>{''.join(f'<td>{c}</td>' for c in row)}</tr>" for row in rows)
            heads = "".join(f"<th>{cell}</th>" for cell in ["", *head][-len(rows[0]) :])
            parts.append(f"<table><tr>{heads}</tr>{body}</table>")
        else:
            parts.append(f"<p>{text}</p>")
    return "\n".join(parts)
