"""Commands that messages propose, spelled so that they can be pasted into a shell."""

from __future__ import annotations

import shlex


def command_line(*words: object) -> str:
    """`ofa-tk` and the words, quoted where a shell needs it: `ofa-tk verify 'my runs/a.onnx'`."""
    return shlex.join(["ofa-tk", *map(str, words)])
