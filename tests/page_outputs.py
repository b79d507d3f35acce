"""Write what the commands of the documentation print below them.

    python -m tests.page_outputs README.md docs/how-to/search.md

A block of language `output` holds what the block of commands or Python directly before it prints, both
streams, in a terminal of 80 columns. The blocks of a page are run one after the other in one empty folder.
Comments in the page say more:

- `<!-- run: COMMAND -->` prepares something that readers have.
- `<!-- times vary -->` before an output: its figures differ from machine to machine; `<!-- results vary -->`:
  its words too.
- `<!-- made: FILE -->` before a picture: the file in that folder which it shows. Pictures are copied, pages
  photographed by Chromium; `FILE LEFT,TOP,RIGHT,BOTTOM` shows a part of a page.

`tests/unit/test_docs.py` runs the same and compares.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

WIDTH = 80
ROOT = Path(__file__).resolve().parents[1]

_STEP = re.compile(
    r"^<!-- run: (?P<hidden>.+?) -->$"
    r"|^<!-- made: (?P<made>\S+)(?: (?P<part>[\d,]+))? -->\n\n!\[[^\]]*\]\((?P<picture>[^)]+)\)$"
    r"|^```(?:text|bash)\n(?P<commands>(?:(?!^```).)*?)^```\n\n"
    r"(?:<!-- (?P<varies>times|results) vary -->\n\n)?```output\n(?P<output>.*?)^```$"
    r"|^```python\n(?P<python>.*?)^```$(?:\n\n```output\n(?P<printed>.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)
_TOOK = re.compile(r"\d+\.\d+ s\b")
_FIGURE = re.compile(r"\d[\d.,]*(?:( \w+?)s\b)?")  # 1 epoch is 5 epochs elsewhere
_PROGRESS = re.compile(r"^\S.*: \d+/\d+(  |$)")
_REPEATED = re.compile(r"(.{20,}?)(?: ?\1)+")


@dataclass(frozen=True)
class Step:
    """Something of a page that is run or made.

    Attributes:
        commands: Lines for the shell, or empty.
        shown: The output on the page; None where there is none.
        varies: What of it differs from machine to machine: nothing, `times` or `results`.
        start: Where the output begins in the page's text.
        end: Where it ends.
        python: Lines for Python, or empty.
        made: File that the commands before have made, or empty.
        picture: Where the page shows that file.
        part: Left, top, right and bottom of what the page shows of a photographed page; empty for all.
    """

    commands: str = ""
    shown: str | None = None
    varies: str = ""
    start: int = -1
    end: int = -1
    python: str = ""
    made: str = ""
    picture: str = ""
    part: tuple[int, ...] = ()

    def normalised(self, output: str) -> str:
        """The output without what differs from run to run.

        That is durations; where times vary all figures, repeats and progress; where results vary all but the
        first line and the first word of the last.
        """
        if not self.varies:
            return _TOOK.sub("# s", output)
        lasting = [_FIGURE.sub(r"#\1", line) for line in output.splitlines() if not _PROGRESS.search(line)]
        if self.varies == "results":
            first, last = (" ".join(line).split() for line in (lasting[:1], lasting[-1:]))
            return " ".join([*first, *last[:1]])
        return _REPEATED.sub(r"\1", re.sub(r"\s+", " ", " ".join(lasting)))


def steps(text: str) -> Iterator[Step]:
    """The steps of a page, in order."""
    for match in _STEP.finditer(text):
        group = "printed" if match["python"] else "output"
        yield Step(
            commands=match["hidden"] or match["commands"] or "",
            shown=match[group],
            varies=match["varies"] or "",
            start=match.start(group),
            end=match.end(group),
            python=match["python"] or "",
            made=match["made"] or "",
            picture=match["picture"] or "",
            part=tuple(map(int, match["part"].split(","))) if match["part"] else (),
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
        "ROOT": str(ROOT),
    }
    ours = f'python3() {{ "{sys.executable}" "$@"; }}\nofa-tk() {{ python3 -m ofa_tk "$@"; }}\nset -e\n'
    done = subprocess.run(
        ["bash", "-c", ours + step.commands],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{step.commands}failed:\n{done.stdout}")
    printed = done.stdout.replace(str(folder / ".data"), "~/.local/share/ofa-toolkit")
    lines = [line.rstrip() for line in printed.splitlines()]
    # A terminal overwrites a line of progress by the next.
    kept = [
        line
        for line, following in zip(lines, [*lines[1:], ""], strict=False)
        if not (_PROGRESS.search(line) and _PROGRESS.search(following))
    ]
    return "".join(f"{_folded(line)}\n" for line in kept)


def _folded(line: str) -> str:
    """A line as a terminal shows it, but broken between words; warnings are single lines."""
    if len(line) <= WIDTH:
        return line
    return textwrap.fill(line, WIDTH, break_long_words=False, break_on_hyphens=False)


def run_python(step: Step, module: types.ModuleType) -> str:
    """What the Python of a step prints, after that of the steps before in the same module."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(step.python, module.__name__, "exec", dont_inherit=True), module.__dict__)
    return printed.getvalue()


def _write_picture(made: Path, picture: Path, part: tuple[int, ...]) -> None:
    """Copy a picture, or photograph a page of HTML."""
    if made.suffix != ".html":
        shutil.copyfile(made, picture)
        return
    with tempfile.TemporaryDirectory() as profile:
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"]
        options += ["--disable-background-networking", f"--user-data-dir={profile}"]
        shot = [
            f"--window-size=1000,{part[3] if part else 1100}",
            f"--screenshot={picture}",
            made.resolve(strict=True).as_uri(),
        ]
        subprocess.run(["chromium", *options, *shot], check=True, stderr=subprocess.DEVNULL)
    with Image.open(picture) as image:
        shown = image.crop(part) if part else image
        shown.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
            picture, optimize=True
        )


def _rewrite(page: Path, *, with_pictures: bool) -> None:
    text, written, position = page.read_text(encoding="utf-8"), [], 0
    module = sys.modules["page"] = types.ModuleType("page")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.chdir(folder)
        for step in steps(text):
            if step.made:
                picture = (page.parent / step.picture).resolve()
                if with_pictures or not picture.exists():
                    _write_picture(folder / step.made, picture, step.part)
                continue
            output = run_python(step, module) if step.python else run(step, folder)
            if step.shown is not None and step.normalised(output) != step.normalised(step.shown):
                written += [text[position : step.start], output]
                position = step.end
        os.chdir(ROOT)
    page.write_text("".join([*written, text[position:]]), encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("pages", nargs="+", type=Path)
    parser.add_argument("--pictures", action="store_true", help="Make pictures again that are there.")
    arguments = parser.parse_args()
    for name in arguments.pages:
        _rewrite(name.resolve(), with_pictures=arguments.pictures)
