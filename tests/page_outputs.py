"""Write what the commands of the documentation print below them.

    python -m tests.page_outputs README.md docs/how-to/search.md

A block of language `output` holds what the block of commands directly before it prints, both streams, in a
terminal of 80 columns. The blocks of a page are run one after the other in one empty folder;
`<!-- run: COMMAND -->` prepares something that readers have. Where `<!-- times vary -->` stands before an
output, figures in it differ from machine to machine. `tests/unit/test_docs.py` runs the same and compares.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

WIDTH = 80
ROOT = Path(__file__).resolve().parents[1]

_STEP = re.compile(
    r"^<!-- run: (?P<hidden>.+?) -->$"
    r"|^```(?:text|bash)\n(?P<commands>(?:(?!^```).)*?)^```\n\n(?P<varies><!-- times vary -->\n\n)?"
    r"```output\n(?P<output>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_TOOK = re.compile(r"\d+\.\d+ s\b")
_FIGURE = re.compile(r"\d[\d.,]*")


@dataclass(frozen=True)
class Step:
    """Commands of a page and what they are shown to print.

    Attributes:
        commands: Lines for the shell.
        shown: The output on the page; None for commands that readers do not see.
        varies: Whether its figures differ from machine to machine.
        start: Where the output begins in the page's text.
        end: Where it ends.
    """

    commands: str
    shown: str | None
    varies: bool
    start: int
    end: int

    def normalised(self, output: str) -> str:
        """The output without what differs from run to run: durations, or all figures and their columns."""
        if not self.varies:
            return _TOOK.sub("# s", output)
        return re.sub(r"[ \n]+", " ", _FIGURE.sub("#", output))


def steps(text: str) -> Iterator[Step]:
    """The steps of a page, in order."""
    for match in _STEP.finditer(text):
        hidden = match["hidden"]
        yield Step(
            commands=hidden or match["commands"],
            shown=None if hidden else match["output"],
            varies=match["varies"] is not None,
            start=match.start("output"),
            end=match.end("output"),
        )


def run(step: Step, folder: Path) -> str:
    """What the commands of a step print, in a folder.

    Raises:
        RuntimeError: The last of them fails.
    """
    environment = os.environ | {
        "COLUMNS": str(WIDTH),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "cli"), os.environ.get("PYTHONPATH", "")]),
        "PYTHONUNBUFFERED": "1",
        "OFA_TK_DATA": str(folder / ".data"),
    }
    command = f'ofa-tk() {{ "{sys.executable}" -m ofa_tk "$@"; }}\nset -e\n{step.commands}'
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{step.commands}failed:\n{done.stdout}")
    return "".join(f"{_folded(line.rstrip())}\n" for line in done.stdout.splitlines())


def _folded(line: str) -> str:
    """A line as a terminal shows it, but broken between words; warnings are single lines."""
    if len(line) <= WIDTH:
        return line
    return textwrap.fill(line, WIDTH, break_long_words=False, break_on_hyphens=False)


def _rewrite(page: Path) -> None:
    text, written, position = page.read_text(encoding="utf-8"), [], 0
    with tempfile.TemporaryDirectory() as folder:
        for step in steps(text):
            output = run(step, Path(folder))
            if step.shown is not None and step.normalised(output) != step.normalised(step.shown):
                written += [text[position : step.start], output]
                position = step.end
    page.write_text("".join([*written, text[position:]]), encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("pages", nargs="+", type=Path)
    for page in parser.parse_args().pages:
        _rewrite(page)
