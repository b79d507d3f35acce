"""What a run must have in common with the checkpoint it goes on from: settings, images, the past schedule."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ofa_toolkit.core import config as configuration
from ofa_toolkit.core.errors import CheckpointError, ConfigError
from ofa_toolkit.core.quantities import counted
from ofa_toolkit.core.rng import generator
from ofa_toolkit.datasets.dataset import ImageDataset
from ofa_toolkit.training.algorithm import Algorithm, Phase, Position
from ofa_toolkit.training.config import RunConfig
from ofa_toolkit.training.state import TrainState

# Settings that may differ when a run is resumed: they do not change what is computed. Whether the number of
# epochs may, `check_length` decides.
_FREE = (
    "data.source",
    "data.unlabelled",
    "data.made_for",
    "data.num_workers",
    "checkpoints.",
    "tensorboard",
    "training.epochs",
    "minutes",
)
_LONGEST = 160


def how_to_go_on(config: RunConfig, folder: Path, world_size: int = 1) -> str:
    """What to type to resume a run."""
    if world_size > 1:
        return "Go on with it: the same torchrun line with --resume auto"
    command = "finetune" if config.algorithm.name == "single" else "train"
    if command == "finetune":
        return "Go on with it: the same line with --resume"
    return f"Go on with it: ofa-tk train --resume --out {shlex.quote(str(folder))}"


def check_settings(folder: Path, stored: RunConfig, given: RunConfig) -> None:
    """Refuse to resume a run with other settings than it was started with.

    Raises:
        CheckpointError: Names the first setting that differs.
    """
    old, new = (_flat(configuration.to_dict(config)) for config in (stored, given))
    for name in sorted(old.keys() | new.keys()):
        if name.startswith(_FREE) or old.get(name) == new.get(name):
            continue
        texts = [repr(settings.get(name)) for settings in (old, new)]
        told = f"{name} = {texts[0]}, not {texts[1]}"
        if len(told) > _LONGEST:  # lists of choices, such as those of a subnet
            told = f"another {name}"
        raise CheckpointError(
            f"'{folder}' was started with {told}.",
            hint=how_to_go_on(stored, folder),
        )


def check_images(folder: Path, stored: object, dataset: ImageDataset, fingerprint: Mapping[str, str]) -> None:
    """Refuse to resume a run on other images, classes or another split than it began with.

    Args:
        folder: The run folder.
        stored: The fingerprint in the checkpoint.
        dataset: Images that the run would go on with.
        fingerprint: The fingerprint of `dataset`.

    Raises:
        CheckpointError: They differ.
    """
    names = {
        "classes": "classes",
        "train": "training images",
        "validation": "held-out images",
        "unlabelled": "unlabelled photos",
    }
    known = stored if isinstance(stored, Mapping) else {}
    other = [words for key, words in names.items() if known.get(key) != fingerprint.get(key)]
    if other:
        raise CheckpointError(
            f"'{folder}' was trained on other images than {dataset.name}: {' and '.join(other)} differ.",
            hint="Name the run's own images with --data, wherever they lie now; or start another run from "
            f"these weights: --init {shlex.quote(str(folder))}",
        )


def check_release(path: Path, config: RunConfig) -> None:
    """Refuse a checkpoint of the release before where its method has become another.

    Raises:
        CheckpointError: It cannot be gone on with.
    """
    if getattr(config.algorithm, "aggregation", "sum") == "average":
        raise CheckpointError(
            f"'{path}' is of an earlier release, whose aggregation = 'average' divided by all networks of a "
            "step; now each entry is divided by the networks that use it.",
            hint="Train it anew, in another folder.",
        )


def check_length(
    folder: Path, stored: RunConfig, old: Algorithm, new: Algorithm, state: TrainState, steps_per_epoch: int
) -> None:
    """Refuse another number of epochs unless the run would have come the same way with it from its start.

    Args:
        folder: The run folder.
        stored: The run's configuration so far.
        old: The method as it was bound to the run.
        new: The same with the new number of epochs.
        state: Position of the run.
        steps_per_epoch: Updates of an epoch.

    Raises:
        ConfigError: The run is further already, or its past depends on the number of epochs.
    """
    epochs, wanted = old.phases[-1].end_epoch, new.phases[-1].end_epoch
    if wanted < state.epoch + (state.step_in_epoch > 0):
        raise ConfigError(
            f"'{folder}' has begun epoch {state.epoch + (state.step_in_epoch > 0)} of {epochs} already; "
            f"it cannot be cut to {wanted}.",
            hint=how_to_go_on(stored, folder),
        )
    for epoch in range(state.epoch + 1 if state.step_in_epoch else state.epoch):
        for step in {0, steps_per_epoch // 2, steps_per_epoch - 1}:
            if _past(old, epoch, step, steps_per_epoch) != _past(new, epoch, step, steps_per_epoch):
                raise ConfigError(
                    f"'{folder}' cannot go from {epochs} to {counted(wanted, 'epoch')}: its learning rate or "
                    f"its phases are shares of them, so that epoch {epoch + 1}, which is done, would have "
                    "been another.",
                    hint=_how_to_train_longer(folder, wanted),
                )


def _past(algorithm: Algorithm, epoch: int, step: int, steps_per_epoch: int) -> Any:
    """All that decides an update: the phase's rules, the learning rate and the passes."""
    index, phase = next(item for item in enumerate(algorithm.phases) if item[1].end_epoch > epoch)
    resolution = phase.space.resolutions[0]
    position = Position(epoch=epoch, step=step, steps_per_epoch=steps_per_epoch, resolution=resolution)
    passes = algorithm.plan(phase, position, generator(0, "past"))
    return index, _rules(phase), phase.learning_rate(epoch, step, steps_per_epoch), tuple(passes)


def _rules(phase: Phase) -> Any:
    return (
        phase.name,
        phase.first_epoch,
        phase.alone,
        phase.spread_from,
        phase.sort_protected_widths,
        phase.sort_by,
        phase.teacher,
        phase.teacher_batchnorm,
        phase.resets_optimizer,
    )


def _how_to_train_longer(folder: Path, epochs: int) -> str:
    place, longer = shlex.quote(str(folder)), shlex.quote(f"{folder}-{epochs}-epochs")
    return (
        "Start another run with its settings and its weights: ofa-tk train "
        f"--recipe {place}/run.toml --epochs {epochs} --init {place} --out {longer}"
    )


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat
