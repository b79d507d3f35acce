"""One self-contained HTML page about a network's mistakes."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence
from pathlib import Path

from ofa_toolkit.core import files
from ofa_toolkit.core.version import __version__
from ofa_toolkit.evaluation.sampling import percent_text, sampling_interval
from ofa_toolkit.pipelines.evaluation.per_class import PerClass

MOST_PAIRS = 12

_STYLE = """
:root {
  color-scheme: light dark; --ink: #1b2430; --soft: #5b6878; --line: #d9dfe6; --card: #fff; --page: #f4f6f8;
}
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6ebf1; --soft: #9aa8b8; --line: #334052; --card: #1b2430; --page: #121820; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 1.25rem; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; } h2 { font-size: 1.15rem; margin: 0 0 .6rem; }
.soft { color: var(--soft); font-size: .9rem; overflow-wrap: anywhere; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1.1rem;
  margin: 1.1rem 0; overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem; text-align: right; border-bottom: 1px solid var(--line); }
th.text, td.text { text-align: left; overflow-wrap: anywhere; }
.matrix { max-width: 100%; height: auto; background: #fff; border-radius: 6px; }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 1rem; }
figure { margin: 0; } figcaption { font-size: .82rem; line-height: 1.35; overflow-wrap: anywhere; }
figure img { width: 100%; aspect-ratio: 1; object-fit: cover; border-radius: 6px; image-rendering: auto; }
"""


def write_page(result: PerClass, path: Path, picture: Path) -> None:
    """Write the page.

    Args:
        result: The figures and mistakes to show.
        path: The HTML file.
        picture: The confusion matrix as `draw_matrix` wrote it, which becomes part of the page.
    """
    files.write_text(path, page(result, picture.read_bytes()))


def page(result: PerClass, matrix_png: bytes) -> str:
    """The HTML text."""
    matrix = result.matrix
    num_images = int(matrix.counts.sum())
    lead = f"{matrix.top1_percent:.2f} % of {num_images} {result.split} images right"
    low, high = sampling_interval(matrix.top1_percent, num_images)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Mistakes of {_text(result.supernet)}</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<h1>{_text(lead)}</h1>
<p class="soft">{_text(result.supernet)}, {_text(result.subnet)}; {_text(result.data)}; on all images of
that kind {low:.0f} to {high:.0f} % (95 % interval)</p>
{"".join(_sections(result, matrix_png))}
<p class="soft">Written by ofa-toolkit {__version__}. This page loads nothing from the network.</p>
</main>
</body>
</html>
"""


def _sections(result: PerClass, matrix_png: bytes) -> Iterable[str]:
    matrix = result.matrix
    classes = [
        (
            figures.name,
            figures.num_images,
            percent_text(figures.recall_percent),
            percent_text(figures.precision_percent),
        )
        for figures in matrix.classes()
    ]
    yield _section("Classes", _table(["class", "images", "recall %", "precision %"], 1, classes))
    encoded = base64.b64encode(matrix_png).decode()
    yield _section(
        "Confusion matrix",
        f'<img class="matrix" src="data:image/png;base64,{encoded}" alt="Confusion matrix">',
    )
    pairs = [(pair.class_name, pair.taken_for, pair.num_images) for pair in matrix.most_confused(MOST_PAIRS)]
    yield _section(
        "Most confused",
        _table(["class", "taken for", "images"], 2, pairs) if pairs else "<p>No mistake.</p>",
    )
    if result.mistakes:
        yield _section(
            "Pictures it is most wrong about",
            '<p class="soft">As the network saw them. Some may lie in the wrong folder.</p>'
            f'<div class="pictures">{"".join(_pictures(result))}</div>',
        )


def _pictures(result: PerClass) -> Iterable[str]:
    for mistake in result.mistakes:
        name = Path(mistake.picture).name
        yield (
            f'<figure><img src="{mistake.thumbnail}" alt="{_text(name)}" title="{_text(mistake.picture)}">'
            f"<figcaption><b>{_text(mistake.class_name)}</b> ({mistake.true_probability:.1%}), taken for "
            f"<b>{_text(mistake.taken_for)}</b> ({mistake.probability:.1%})<br>"
            f'<span class="soft">{_text(name)}</span>'
            "</figcaption></figure>"
        )


def _section(title: str, content: str) -> str:
    return f"<section><h2>{title}</h2>{content}</section>\n"


def _table(columns: Sequence[str], num_texts: int, rows: Iterable[Sequence[object]]) -> str:
    def cells(tag: str, row: Sequence[object]) -> str:
        return "".join(
            f'<{tag} class="text">{_text(cell)}</{tag}>'
            if index < num_texts
            else f"<{tag}>{_text(cell)}</{tag}>"
            for index, cell in enumerate(row)
        )

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f"<table><thead><tr>{cells('th', columns)}</tr></thead><tbody>{body}</tbody></table>"


def _text(value: object) -> str:
    return html.escape(str(value))
