"""One of several processes that torchrun started: who does the work, and who tells of it."""

from __future__ import annotations

import os

SHARED = ("train", "finetune", "predictor")
"""Commands whose work the processes share; every other one is done by the first process alone."""

_LAUNCHED = "TORCHELASTIC_RUN_ID"  # set by torchrun, and by nothing else


def is_follower() -> bool:
    """Whether this is one of several processes and not the first, which alone tells what all did."""
    return _number("WORLD_SIZE", 1) > 1 and _number("RANK", 0) > 0


def is_launched() -> bool:
    """Whether torchrun started this process and others."""
    return _LAUNCHED in os.environ and _number("WORLD_SIZE", 1) > 1


def is_not_shared(command: str) -> bool:
    """Whether torchrun started this command several times although its work cannot be shared."""
    return command not in SHARED and is_launched()


def stand_alone() -> None:
    """Forget the other processes, here and in programs that this one starts."""
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
        os.environ.pop(name, None)


def _number(name: str, default: int) -> int:
    """What torchrun sets; whoever joins the others refuses what is no number."""
    text = os.environ.get(name, "")
    return int(text) if text.isdecimal() else default
