"""A training run on disk: resolved configuration, metrics, checkpoints, and in the end the supernet."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from ofa_toolkit.core import config as configuration
from ofa_toolkit.core import files
from ofa_toolkit.core.command_line import command_line
from ofa_toolkit.core.documents import read_object
from ofa_toolkit.core.errors import CheckpointError, FileFormatError, OutputError
from ofa_toolkit.training import config as run_config
from ofa_toolkit.training.config import RunConfig
from ofa_toolkit.training.run_lock import LOCK_FILE

CONFIG_FILE = "run.toml"
CHECKPOINTS_FOLDER = "checkpoints"
SUPERNET_FOLDER = "supernet"
SNAPSHOTS_FOLDER = "snapshots"
SUMMARY_FILE = "summary.json"

Resume = Literal["auto"] | bool
"""Whether a run goes on (True) or starts (False); `auto`: goes on where there is one, else starts."""

_TEMPORARY = re.compile(r"\..+-[0-9a-f]{8}\.tmp(\..+)?")


def goes_on(folder: Path, resume: Resume) -> bool:
    """Whether the run in a folder is resumed, or a new one may be started in it.

    A run that was killed before its first checkpoint has computed nothing: it is started again, whatever
    `resume` says.

    Raises:
        OutputError: It holds a run, or files of somebody else, and `resume` is False.
        CheckpointError: It holds no run, and `resume` is True.
    """
    has_config = (folder / CONFIG_FILE).is_file()
    has_checkpoints = any((folder / CHECKPOINTS_FOLDER).glob("[!.]*.pt"))
    if has_config and has_checkpoints:
        if resume:
            return True
        raise OutputError(
            f"'{folder}' holds a training run already.",
            hint=f"Go on with it: {command_line('train', '--resume', '--out', folder)}  "
            "or choose another --out.",
        )
    if has_config:
        return False
    if resume is True:
        raise _no_run(folder)
    contents = folder.iterdir() if folder.is_dir() else ()
    if any(path.name != LOCK_FILE and not _is_temporary(path) for path in contents):
        raise OutputError(f"'{folder}' is not empty.", hint="Choose another folder with --out.")
    return False


def sweep(folder: Path) -> None:
    """Remove what killed processes left half-written in a run folder; for the process that holds it."""
    for path in [*folder.glob(".*"), *folder.glob("*/.*"), *folder.glob(f"{SNAPSHOTS_FOLDER}/*/.*")]:
        if _is_temporary(path) and path.is_file():
            path.unlink()


def write_config(folder: Path, config: RunConfig) -> None:
    """Write the configuration of a run into its folder."""
    configuration.dump_toml(config, folder / CONFIG_FILE)


def read_config(folder: Path) -> RunConfig:
    """The configuration of the run in a folder.

    Raises:
        CheckpointError: There is no run.
        ConfigError: The configuration in the folder is damaged.
    """
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise _no_run(folder)
    return run_config.load(path)


def write_summary(folder: Path, summary: Mapping[str, Any]) -> None:
    """Write accuracy and cost of a finished run."""
    files.write_json(
        folder / SUMMARY_FILE, {"format": "ofa-toolkit/training-summary", "version": 2, **summary}
    )


def read_summary(folder: Path) -> dict[str, Any]:
    """What `write_summary` wrote.

    Raises:
        CheckpointError: The run is not finished.
        FileFormatError: The file was damaged.
    """
    path = folder / SUMMARY_FILE
    try:
        return read_object(path, "the summary of a run")
    except FileFormatError as error:
        if path.is_file():
            raise
        raise CheckpointError(
            f"'{folder}' holds no finished training run ({SUMMARY_FILE} is missing).",
            hint=f"Go on with it: {command_line('train', '--resume', '--out', folder)}",
        ) from error


def _no_run(folder: Path) -> CheckpointError:
    return CheckpointError(
        f"'{folder}' holds no training run to resume ({CONFIG_FILE} is missing).",
        hint="Start one: without --resume, or with --resume auto, which does either.",
    )


def _is_temporary(path: Path) -> bool:
    return _TEMPORARY.fullmatch(path.name) is not None
