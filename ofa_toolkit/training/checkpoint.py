"""Checkpoints that are whole or absent: the last few, and the best.

A checkpoint holds all that decides how a run goes on: weights, optimizer, moving average, teacher,
position, divergence watch. Random numbers need no state of their own: order, augmentation, subnets and
dropout each draw from a stream that seed and position define (`core.rng`).
"""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import torch

from ofa_toolkit.core import files
from ofa_toolkit.core.errors import CheckpointError, OutputError

FORMAT = "ofa-toolkit/checkpoint"
VERSION = 1
BEST = "best.pt"
_PREFIX = "step-"


class CheckpointStore:
    """The `checkpoints` folder of a run.

    Args:
        folder: Made when the first checkpoint is written.
        keep: How many of the latest to keep.
    """

    def __init__(self, folder: Path, *, keep: int) -> None:
        self.folder = folder
        self.keep = keep

    def paths(self) -> list[Path]:
        """The latest checkpoints, oldest first."""
        return sorted(self.folder.glob(f"{_PREFIX}*.pt"))

    def save(self, step: int, content: dict[str, Any], *, is_best: bool = False) -> Path:
        """Write a checkpoint, then drop the oldest beyond `keep`.

        Raises:
            CheckpointError: It cannot be written (a full disk); those before are untouched.
        """
        path = self.folder / f"{_PREFIX}{step:09d}.pt"
        self._write(path, content)
        if is_best:
            self._write(self.folder / BEST, content)
        for old in self.paths()[: -self.keep]:
            old.unlink()
        return path

    def _write(self, path: Path, content: dict[str, Any]) -> None:
        try:
            with files.atomic_path(path) as temporary:
                torch.save({"format": FORMAT, "version": VERSION, **content}, temporary)
        except (OSError, RuntimeError, OutputError) as error:
            # torch reports a full disk as RuntimeError without the reason.
            kept = self.paths()
            reason = error.message if isinstance(error, OutputError) else str(error).splitlines()[0]
            raise CheckpointError(
                f"Cannot write the checkpoint '{path}': {reason}",
                hint=(
                    f"The last good one is '{kept[-1]}'. Free some space and run again with --resume."
                    if kept
                    else "Free some space, or choose another --out."
                ),
            ) from error

    def latest(self) -> Path:
        """The newest checkpoint.

        Raises:
            CheckpointError: There is none.
        """
        paths = self.paths()
        if not paths:
            raise CheckpointError(
                f"'{self.folder}' holds no checkpoint to resume from.",
                hint="Start the run without --resume.",
            )
        return paths[-1]


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a checkpoint; no code in it is run.

    Raises:
        CheckpointError: It is damaged or none of ours.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, ValueError) as error:
        raise CheckpointError(
            f"'{path}' cannot be read as a checkpoint: {str(error).splitlines()[0]}",
            hint="Delete it to resume from the one before.",
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"'{path}' is not a checkpoint of ofa-toolkit.")
    if content["version"] != VERSION:
        raise CheckpointError(f"'{path}' has version {content['version']}; this release reads {VERSION}.")
    return content
