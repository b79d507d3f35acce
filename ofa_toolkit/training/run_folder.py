"""A training run on disk: resolved configuration, metrics, checkpoints, and in the end the supernet."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ofa_toolkit.core import config as configuration
from ofa_toolkit.core import files
from ofa_toolkit.core.errors import CheckpointError, OutputError
from ofa_toolkit.training import config as run_config
from ofa_toolkit.training.config import RunConfig

CONFIG_FILE = "run.toml"
SUPERNET_FOLDER = "supernet"
SNAPSHOTS_FOLDER = "snapshots"
SUMMARY_FILE = "summary.json"

# Settings that may differ when a run is resumed: they do not change what is computed.
_FREE = ("data.source", "data.num_workers", "checkpoints.", "tensorboard")


def create(folder: Path, config: RunConfig) -> None:
    """Make a run folder and write the configuration into it.

    Raises:
        OutputError: It holds a run or other files already.
    """
    if (folder / CONFIG_FILE).exists():
        raise OutputError(
            f"'{folder}' holds a training run already.",
            hint=f"Go on with it: ofa-tk train --resume --out {folder}  or choose another --out.",
        )
    if folder.is_dir() and any(folder.iterdir()):
        raise OutputError(f"'{folder}' is not empty.", hint="Choose another folder with --out.")
    configuration.dump_toml(config, folder / CONFIG_FILE)


def read(folder: Path) -> RunConfig:
    """The configuration of the run in a folder.

    Raises:
        CheckpointError: There is no run.
        ConfigError: Its configuration was damaged.
    """
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise CheckpointError(
            f"'{folder}' holds no training run to resume ({CONFIG_FILE} is missing).",
            hint="Start one without --resume.",
        )
    return run_config.load(path)


def check_same(folder: Path, stored: RunConfig, given: RunConfig) -> None:
    """Refuse to resume a run with other settings than it was started with.

    Raises:
        CheckpointError: Names the first setting that differs.
    """
    old, new = (_flat(configuration.to_dict(config)) for config in (stored, given))
    for name in sorted(old.keys() | new.keys()):
        if name.startswith(_FREE) or old.get(name) == new.get(name):
            continue
        raise CheckpointError(
            f"'{folder}' was started with {name} = {old.get(name)!r}, not {new.get(name)!r}.",
            hint=f"Resume it as it is: ofa-tk train --resume --out {folder}",
        )


def write_summary(folder: Path, summary: Mapping[str, Any]) -> None:
    """Write accuracy and cost of a finished run."""
    files.write_json(
        folder / SUMMARY_FILE, {"format": "ofa-toolkit/training-summary", "version": 1, **summary}
    )


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat
