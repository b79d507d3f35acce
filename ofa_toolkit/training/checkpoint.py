"""Checkpoints that are whole or absent: the last few, and the best.

A checkpoint holds all that decides how a run goes on: weights, optimizer, moving average, teacher,
position, divergence watch. Random numbers need no state of their own: order, augmentation, subnets and
dropout each draw from a stream that seed and position define (`core.rng`). The file is a zip archive with a
checksum of every part, which reading verifies.

A best checkpoint is first written under its number, then copied to `best.pt`, before older ones are dropped.
A run killed in between finds from the checkpoint it resumes from that the copy is missing (`mend_best`).
"""

from __future__ import annotations

import os
import shlex
import shutil
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ofa_toolkit.core import files
from ofa_toolkit.core.errors import CheckpointError, FileFormatError, OutputError, first_line
from ofa_toolkit.core.file_format import FileFormat
from ofa_toolkit.supernets.finiteness import first_not_finite
from ofa_toolkit.training.state import TrainState

FORMAT = FileFormat("ofa-toolkit/checkpoint", 2, "a checkpoint of ofa-toolkit", former=(1,))
BEST = "best.pt"
_PREFIX = "step-"
_PARTS = ("supernet", "optimizer", "scaler", "average", "teacher", "watch")


class UnusableCheckpointError(CheckpointError):
    """One checkpoint cannot be used; another may do."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read.

    Attributes:
        path: File of the checkpoint.
        state: Position and accounts of the run.
        content: All of it.
    """

    path: Path
    state: TrainState
    content: Mapping[str, Any]


class CheckpointStore:
    """The `checkpoints` folder of a run.

    Args:
        folder: Made when the first checkpoint is written.
        keep: Number of the latest checkpoints that are kept.
    """

    def __init__(self, folder: Path, *, keep: int) -> None:
        self.folder = folder
        self.keep = keep

    def paths(self) -> list[Path]:
        """The latest checkpoints, oldest first."""
        return sorted(self.folder.glob(f"{_PREFIX}*.pt"))

    def path(self, step: int) -> Path:
        """Where the checkpoint after so many updates lies."""
        return self.folder / f"{_PREFIX}{step:09d}.pt"

    def save(self, step: int, content: Mapping[str, Any], *, is_best: bool = False) -> Path:
        """Write a checkpoint, then drop the oldest beyond `keep`.

        Raises:
            CheckpointError: It cannot be written (a full disk); those before are untouched.
        """
        path = self.path(step)
        document = {**FORMAT.header, **content}
        self._write(path, lambda temporary: torch.save(document, temporary))
        if is_best:
            self._copy_to_best(path)
        self._drop_oldest()
        return path

    def newest(self, tell: Callable[[str], None], *, before: int | None = None) -> Checkpoint:
        """The newest checkpoint that is whole and whose weights are finite.

        Args:
            tell: Hears of the newer ones that are passed over.
            before: Only look at those with fewer updates.

        Raises:
            CheckpointError: There is none.
        """
        found: list[Checkpoint] = []
        problems: list[str] = []
        for path in [*reversed(self.paths()), self.folder / BEST]:
            if found and not problems:
                break
            try:
                checkpoint = read_checkpoint(path)
            except UnusableCheckpointError as error:
                problems += [error.message] if path.is_file() else []
                continue
            if before is None or checkpoint.state.step < before:
                found.append(checkpoint)
        if not found and problems:
            raise CheckpointError(
                f"No checkpoint in '{self.folder}' can be used. {problems[0]}",
                hint=f"To start the run again from its first update: rm -r {shlex.quote(str(self.folder))}",
            )
        if not found:
            raise CheckpointError(f"'{self.folder}' holds no checkpoint to go on from.")
        newest = max(found, key=lambda checkpoint: checkpoint.state.step)
        for problem in problems:
            tell(f"{problem} Going back to '{newest.path.name}', update {newest.state.step}.")
        return newest

    def tidy(self, step: int) -> None:
        """Remove what a run that goes on from update `step` will write again, and what a killed one left.

        The best one stays.
        """
        for path in self.paths():
            if path > self.path(step):
                path.unlink()
        self._drop_oldest()

    def _drop_oldest(self) -> None:
        for path in self.paths()[: -self.keep]:
            path.unlink()

    def mend_best(self, checkpoint: Checkpoint, tell: Callable[[str], None]) -> None:
        """Make `best.pt` what a run that goes on from `checkpoint` expects it to be.

        Where that cannot be, `checkpoint.state.best` is reset: the best is looked for again from there on.
        """
        state = checkpoint.state
        if state.best < 0:
            return
        try:
            best = read_checkpoint(self.folder / BEST).state
            # Each phase has a best of its own, and two of them may be equal.
            if (best.begun_phase, best.best) == (state.begun_phase, state.best):
                return
            reason = "is another run's or stems from a later update"
        except CheckpointError:
            reason = "is missing or damaged"
        if state.has_just_been_validated and state.mean_accuracy == state.best:
            self._copy_to_best(checkpoint.path)
            return
        tell(f"'{self.folder / BEST}' {reason}; the best checkpoint is looked for again from here on.")
        state.best = -1.0

    def _copy_to_best(self, path: Path) -> None:
        # Not a link: what damages one of the two would damage both.
        self._write(self.folder / BEST, lambda temporary: shutil.copyfile(path, temporary))

    def _write(self, path: Path, write: Callable[[Path], object]) -> None:
        try:
            with files.atomic_path(path) as temporary:
                write(temporary)
        except (OSError, RuntimeError, OutputError) as error:
            # torch reports a full disk as RuntimeError without the reason.
            kept = self.paths()
            reason = error.message if isinstance(error, OutputError) else first_line(error)
            raise CheckpointError(
                f"Cannot write the checkpoint '{path}': {reason}",
                hint=(
                    f"The last good one is '{kept[-1]}'. Free some space and run again with --resume."
                    if kept
                    else "Free some space, or choose another --out."
                ),
            ) from error


def read_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a checkpoint; no code in it is run.

    Raises:
        UnusableCheckpointError: It is damaged, or none of ours, or not all of it is finite.
        CheckpointError: It is another release's.
    """
    content = _load(path)
    if not FORMAT.is_of(content):
        raise UnusableCheckpointError(f"'{path}' is not {FORMAT.what}.")
    try:
        FORMAT.check(content, f"'{path}'")
    except FileFormatError as error:
        raise CheckpointError(error.message, hint=error.hint) from error
    missing = [name for name in _PARTS if name not in content]
    if missing:
        raise UnusableCheckpointError(f"'{path}' is damaged: it lacks '{missing[0]}'.")
    try:
        state = TrainState.from_dict(content["state"])
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise UnusableCheckpointError(f"'{path}' is damaged: its state cannot be read ({error}).") from error
    if (name := first_not_finite(content)) is not None:
        raise UnusableCheckpointError(f"'{path}' was ruined in training: its '{name}' is not finite.")
    return Checkpoint(path=Path(path), state=state, content=content)


def _load(path: str | os.PathLike[str]) -> Any:
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is None:
            return torch.load(path, map_location="cpu", weights_only=True)
        reason = f"the checksum of its part '{damaged}' is wrong"
    except Exception as error:
        # Damaged bytes can raise anything in the readers of zip archives and pickles.
        reason = first_line(error)
    raise UnusableCheckpointError(f"'{path}' is damaged: {reason.rstrip('.')}.")
