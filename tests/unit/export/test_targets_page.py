"""The documented table of targets is the one the code uses."""

from __future__ import annotations

from pathlib import Path

from ofa_toolkit.export.targets import GENERATIONS

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "targets.md"


def test_page_shows_every_row() -> None:
    text = PAGE.read_text(encoding="utf-8")
    int8 = {None: "no", "pair": "Q/DQ, weights stored as fp32", "stored": "Q/DQ, weights stored as int8"}
    for row in GENERATIONS:
        cells = (
            row.name,
            f"up to {row.max_opset}",
            str(row.export_opset),
            f"up to {row.max_ir_version}",
            "yes" if row.operators is None or "HardSwish" in row.operators else "no",
            int8[row.int8],
            "a builder flag" if row.precision_flags else "the graph",
            "read" if row.reads_half_constants else "misread",
            str(row.min_opset),
        )
        assert f"| {' | '.join(cells)} |" in text
        assert f"| {row.name} | {'; '.join(row.sources)} |" in text
