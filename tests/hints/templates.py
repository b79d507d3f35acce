"""The lines with a command in them that the sources can print.

These are all texts that name `ofa-tk ...`, and all hints and next steps with an option or a program. Read
from the syntax trees, so that a line of a rare branch counts as well; what is filled in at run time matches
anything.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_FILLED = "\0"
_ANY_COMMAND = re.compile(r"\bofa-tk [a-z]")
_IN_A_HINT = re.compile(r"\bofa-tk [a-z]|(?<![\w-])--[a-z]|\bpip install |\bpython |\bhf [a-z]")
_HELP = ("help", "epilog", "help_text")


@dataclass(frozen=True)
class Template:
    """A text as the source has it."""

    place: str
    text: str

    def matches(self, line: str) -> bool:
        """Whether this text, filled in, is part of the line."""
        parts = (re.escape(part) for part in self.text.strip().split(_FILLED))
        return re.search(".*".join(parts), line) is not None

    def __str__(self) -> str:
        return f"{self.place}: {self.text.replace(_FILLED, '{}')}"


def templates() -> tuple[Template, ...]:
    """All of them, in the order of the files."""
    found: list[Template] = []
    for folder in ("ofa_toolkit", "cli"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            reader = _Reader(str(path.relative_to(ROOT)))
            reader.visit(ast.parse(path.read_text(encoding="utf-8")))
            found += reader.found
    return tuple(found)


class _Reader(ast.NodeVisitor):
    def __init__(self, path: str) -> None:
        self.path = path
        self.found: list[Template] = []

    def visit_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):  # docstrings print nothing
            self.generic_visit(node)

    def visit_keyword(self, node: ast.keyword) -> None:
        if node.arg == "hint":
            self._keep(node.value, _IN_A_HINT)
        elif node.arg not in _HELP:
            self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        if any(isinstance(target, ast.Name) and target.id == "hint" for target in node.targets):
            self._keep(node.value, _IN_A_HINT)
        else:
            self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Attribute) and node.func.attr == "next_step":
            for argument in node.args:
                self._keep(argument, _IN_A_HINT)
        elif isinstance(node.func, ast.Name) and node.func.id == "command_line":
            self._keep(node, _ANY_COMMAND)
        elif not (isinstance(node.func, ast.Attribute) and node.func.attr.endswith("_option")):
            self.generic_visit(node)  # what is left out is the help of an option

    def visit_BinOp(self, node: ast.BinOp) -> None:
        self._keep(node, _ANY_COMMAND)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        self._keep(node, _ANY_COMMAND)

    def visit_Constant(self, node: ast.Constant) -> None:
        self._keep(node, _ANY_COMMAND)

    def _keep(self, node: ast.expr, with_command: re.Pattern[str]) -> None:
        for text in _texts(node):
            for line in text.splitlines():
                if with_command.search(line):
                    self.found.append(Template(f"{self.path}:{node.lineno}", line))


def _texts(node: ast.expr) -> Iterator[str]:
    """What an expression of literals can be."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from _texts(node.body)
        yield from _texts(node.orelse)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "command_line":
        words = [list(_texts(word)) for word in node.args]
        for chosen in itertools.product(*words):
            yield " ".join(["ofa-tk", *chosen])
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        for left in _texts(node.left):
            for right in _texts(node.right):
                yield left + right
    elif isinstance(node, ast.JoinedStr):
        texts = [""]
        for part in node.values:
            value = part.value if isinstance(part, ast.FormattedValue) else part
            texts = [text + end for text in texts for end in _texts(value)]
        yield from texts
    else:
        yield _FILLED
