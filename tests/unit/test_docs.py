"""What the documentation shows works: its Python runs, its commands exist, its table is current."""

from __future__ import annotations

import re
import shlex
import sys
import types
from pathlib import Path

import click
import pytest

from ofa_tk.app import cli, run
from ofa_toolkit.core import quantities
from ofa_toolkit.pipelines.schemas import SCHEMAS
from ofa_toolkit.pipelines.spaces import summarize_spaces
from tests.page_outputs import WIDTH, run_python, steps
from tests.page_outputs import run as run_step

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(?P<language>\w+)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path, *languages: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return [match["body"] for match in BLOCK.finditer(text) if match["language"] in languages]


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=name)
def test_python_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks of a page run one after the other, as a reader would type them, and print what it shows."""
    monkeypatch.chdir(tmp_path)
    module = types.ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", module)
    for step in steps(page.read_text(encoding="utf-8")):
        if step.python:
            printed = run_python(step, module)
            assert step.shown is None or step.normalised(printed) == step.normalised(step.shown)


def command_lines() -> list[tuple[str, str]]:
    """Every `ofa-tk ...` in a block or between backticks, with the page it is on."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        joined = "\n".join(blocks(page, "text", "console", "bash", "sh", "shell")).replace("\\\n", " ")
        lines = [line.strip().removeprefix("$ ").removeprefix(".venv/bin/") for line in joined.splitlines()]
        lines += re.findall(r"`((?:\.venv/bin/)?ofa-tk [^`\n]+)`", text)
        found += [(name(page), line) for line in lines if line.startswith("ofa-tk ")]
    return found


@pytest.mark.parametrize(("page", "line"), command_lines())
def test_commands_and_options_exist(page: str, line: str) -> None:
    words = shlex.split(line.partition(" | ")[0], comments=True)[1:]
    if "--then" in words:  # what follows is a command of its own
        start = words.index("--then") + 1
        test_commands_and_options_exist(page, shlex.join(["ofa-tk", *words[start:]]))
        words = words[:start]
    command: click.Command = cli
    context = click.Context(cli, info_name="ofa-tk")
    options = {option for parameter in cli.params for option in parameter.opts} | {"--help"}
    for word in words:
        if word.startswith("-"):
            assert word.partition("=")[0] in options, f"{page}: no option {word} in '{line}'"
        elif isinstance(command, click.Group) and word not in ("...", "|", ">"):
            inner = command.get_command(context, word)
            assert inner is not None, f"{page}: no command {word} in '{line}'"
            command, context = inner, click.Context(inner, info_name=word, parent=context)
            options |= {option for p in command.params for option in (*p.opts, *p.secondary_opts)}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_fit_their_box(page: Path) -> None:
    long = [line for body in blocks(page, "text", "bash") for line in body.splitlines() if len(line) > WIDTH]
    assert not [line for line in long if line.startswith(("ofa-tk ", "torchrun ", "    --"))]


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "output")], ids=name)
def test_outputs_on_a_page_are_what_its_commands_print(page: Path, tmp_path: Path) -> None:
    """Where they differ: `python -m tests.page_outputs PAGE`."""
    for step in steps(page.read_text(encoding="utf-8")):
        if step.made:
            assert (tmp_path / step.made).stat().st_size
        elif step.commands:
            output = run_step(step, tmp_path)
            if step.shown is not None:
                assert step.normalised(output) == step.normalised(step.shown), step.commands


def test_outputs_of_pages_are_found() -> None:
    text = (
        "<!-- run: a -->\n\n```text\nb\n```\n\n```output\nc 1.23 s\n```\n\n```bash\nd\n```\n\n"
        "<!-- made: x.png -->\n\n![Words](../images/y.png)\n\n```python\nprint(1)\n```\n\n```output\n1\n```\n"
    )
    hidden, shown, made, python = steps(text)
    assert (hidden.commands, hidden.shown) == ("a", None)
    assert (shown.commands, shown.shown) == ("b\n", "c 1.23 s\n")
    assert shown.normalised("c 4.56 s\n") == shown.normalised("c 1.23 s\n") != shown.normalised("c 4.56 ms\n")
    assert (made.made, made.picture) == ("x.png", "../images/y.png")
    assert run_python(python, types.ModuleType("page")) == python.shown == "1\n"


def test_of_results_that_vary_the_ends_are_compared() -> None:
    (step,) = steps("```text\nx\n```\n\n<!-- results vary -->\n\n```output\nFound 3\ncat\nNext: y\n```\n")
    shown = step.normalised(step.shown or "")
    assert step.normalised("Found 4\na dog\nin a row\nNext: z\n") == shown
    assert step.normalised("Lost 4\ncat\nNext: y\n") != shown != step.normalised("Found 3\ncat\n")


def test_progress_on_a_page_is_left_out() -> None:
    (step,) = steps(
        "```text\nx\n```\n\n<!-- times vary -->\n\n```output\na: 2/4  about 3 s left\nDone\n```\n"
    )
    assert step.normalised("a: 1/4\na: 3/4  about 1 min 03 s left\nDone\n") == step.normalised(
        step.shown or ""
    )


def test_the_table_of_spaces_in_the_readme_is_current() -> None:
    rows = []
    for summary in summarize_spaces():
        sizes = summary.resolutions
        input_size = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
        smallest = quantities.MACS.format(summary.smallest.macs, digits=4)
        largest = quantities.MACS.format(summary.largest.macs, digits=4)
        rows.append(
            f"| `{summary.name}` | {summary.num_architectures:.1e} | {input_size} | {smallest} to {largest} |"
        )
    table = "\n".join(rows)
    assert table in (ROOT / "README.md").read_text(encoding="utf-8"), f"README.md should have\n{table}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    """MkDocs checks the site; this also covers README and CONTRIBUTING as they are read on their own."""
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
        is_made = target.rpartition("schemas/")[2].removesuffix(".json") in SCHEMAS
        assert is_made or (page.parent / target).exists(), f"{name(page)} links to {target}"


@pytest.mark.slow
def test_the_lines_of_the_readme_run_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Those after its first command that need no network, as typed, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    body = page[page.index(". .venv/bin/activate") : page.index("With a network and ImageNet")]
    lines = [line for line in body.splitlines() if line.startswith("ofa-tk ")]
    assert len(lines) >= 3
    for line in lines:
        code = run(shlex.split(line)[1:])
        printed = capfd.readouterr()
        assert code == 0, (line, printed.err)
    assert list(tmp_path.glob("*.onnx"))
