"""The agent of a kit as the one file that a board runs."""

from __future__ import annotations

import ast
import inspect

from ofa_toolkit.latency.kit.board import agent, conditions, journal, onnxruntime, trtexec

_PARTS = (journal, conditions, trtexec, onnxruntime, agent)
"""In the order in which they use each other: a part imports names of those before it, and only by `from`."""


def agent_program() -> str:
    """Source of all parts in one: the agent's docstring, then every part without imports of the others."""
    bodies = [f'"""{agent.__doc__}"""']
    for part in _PARTS:
        source = inspect.getsource(part)
        lines: list[str] = source.splitlines()
        docstring, *statements = ast.parse(source).body
        of_others = (each for each in statements if isinstance(each, ast.ImportFrom))
        for statement in (docstring, *(each for each in of_others if str(each.module).startswith("ofa_"))):
            for number in range(statement.lineno - 1, statement.end_lineno or statement.lineno):
                lines[number] = ""
        bodies.append("\n".join(lines).strip())
    return "\n\n\n".join(bodies) + "\n"
