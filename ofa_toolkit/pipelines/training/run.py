"""Train a supernet by a recipe: prepare, run or resume, save, and sum up what it cost."""

from __future__ import annotations

import dataclasses
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ofa_toolkit.core.errors import ConfigError
from ofa_toolkit.core.quantities import first_names
from ofa_toolkit.core.reporting import SILENT, Reporter
from ofa_toolkit.core.rng import torch_seed
from ofa_toolkit.datasets import ImageDataset, Preprocessing, open_dataset
from ofa_toolkit.datasets.report import (
    check_sizes_are_used,
    check_transforms_are_used,
    summary,
    warnings,
)
from ofa_toolkit.datasets.stand_in import StandIn
from ofa_toolkit.datasets.transforms import renormalization
from ofa_toolkit.datasets.unlabelled import add_unlabelled
from ofa_toolkit.pipelines.training.finish import add_predictor, keep_snapshot, save
from ofa_toolkit.pipelines.training.initial import InitialWeights, open_initial
from ofa_toolkit.pipelines.training.start import start
from ofa_toolkit.supernets import Supernet
from ofa_toolkit.training import run_folder, run_lock
from ofa_toolkit.training.config import RunConfig
from ofa_toolkit.training.cost import PhaseCost, measured_cost, total
from ofa_toolkit.training.distributed import Process, join, leave
from ofa_toolkit.training.initialization import load_initial_weights, new_supernet
from ofa_toolkit.training.label_teacher import LabelTeacher
from ofa_toolkit.training.metrics import require_tensorboard
from ofa_toolkit.training.resuming import check_length, check_settings
from ofa_toolkit.training.run_folder import Resume
from ofa_toolkit.training.trainer import Trainer
from ofa_toolkit.zoo.supernet import load_supernet


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """A finished run.

    Attributes:
        folder: The run folder.
        supernet: The supernet's folder in it.
        accuracies: Last validation: top-1 percent by name of the subnet.
        num_validation_images: On how many images.
        costs: Per phase.
        total_cost: Cost of all phases.
        resumed_from: The checkpoint's file name, None where the run was not resumed.
    """

    folder: Path
    supernet: Path
    accuracies: dict[str, float]
    num_validation_images: int
    costs: tuple[PhaseCost, ...]
    total_cost: PhaseCost
    resumed_from: str | None


def train(
    config: RunConfig,
    out: Path,
    *,
    resume: Resume = False,
    device: str | None = None,
    threads: int | None = None,
    download: bool = False,
    price_per_hour: float | None = None,
    reporter: Reporter = SILENT,
) -> TrainResult:
    """Train a supernet into a run folder.

    Args:
        config: From `load_recipe`, or of the run to resume.
        out: The run folder; new or empty unless `resume`. One process at a time trains into it.
        resume: Go on from the last checkpoint in `out`; with `auto`, where there is one, and otherwise start.
        device: `cpu`, `cuda`, `cuda:N`; a GPU where there is one, if None.
        threads: CPU threads; torch's default if None. Bit-identical results need the same number.
        download: Fetch the data set where torchvision can.
        price_per_hour: Price of an hour of one device, for the cost in money.
        reporter: Told of progress and messages.

    Raises:
        OfaToolkitError: Bad data, configuration or folder; diverged training; a full disk.
        TrainingStoppedError: Stopped by SIGINT or SIGTERM, with everything so far in a checkpoint.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    process = join(device)
    try:
        with _held(out, process):
            return _train(config, out, process, resume, download, price_per_hour, reporter)
    finally:
        leave(process)


@contextmanager
def _held(out: Path, process: Process) -> Iterator[None]:
    """Hold the run folder, by the main process for all."""
    with ExitStack() as stack:
        process.from_main(lambda: stack.enter_context(run_lock.held(out)))
        yield


def _train(
    config: RunConfig,
    out: Path,
    process: Process,
    resume: Resume,
    download: bool,
    price_per_hour: float | None,
    reporter: Reporter,
) -> TrainResult:
    goes_on = process.from_main(lambda: run_folder.goes_on(out, resume))
    stored = run_folder.read_config(out) if goes_on else config
    if config.minutes is not None:
        config = _fitted(config, stored if goes_on else None, process, download, reporter)
    if goes_on:
        check_settings(out, stored, config)
    trainer = prepare(
        config,
        out,
        process=process,
        download=download,
        reporter=reporter,
        takes_init=not goes_on,
        on_epoch_end=keep_snapshot,
    )
    if process.is_main:
        run_folder.sweep(out)
    resumed_from = _resume(trainer, stored) if goes_on else None
    if process.is_main:
        run_folder.write_config(out, config)
    with _stopping_on_signals(trainer):
        trainer.run()
    return _finish(trainer, out, resumed_from, price_per_hour)


def _fitted(
    config: RunConfig, stored: RunConfig | None, process: Process, download: bool, reporter: Reporter
) -> RunConfig:
    """With what `minutes` leaves open: as chosen when the run was started, or chosen now."""
    from ofa_toolkit.pipelines.training.fitting import as_fitted_before, fit_to_time

    if stored is not None:
        return as_fitted_before(config, stored)
    fitted = fit_to_time(config, process, download=download)
    if process.is_main:
        reporter.message(fitted.told)
    return process.from_main(lambda: fitted.config)


def _resume(trainer: Trainer, stored: RunConfig) -> str:
    """Go on from the newest checkpoint; returns its name."""
    config, folder = trainer.config, trainer.folder
    name = trainer.checkpointer.restore().name
    state = trainer.state
    if config.training.epochs != stored.training.epochs:
        before = stored.algorithm.build(stored, stored.space.trained(len(trainer.dataset.output_names)))
        check_length(folder, stored, before, trainer.algorithm, state, trainer.steps_per_epoch)
    trainer.reporter.message(f"Resumed from {name}, update {state.step} of {trainer.num_steps}.")
    if state.step == trainer.num_steps:
        trainer.reporter.message("The run is finished: nothing is left to train.")
    return name


def prepare(
    config: RunConfig,
    out: Path,
    *,
    process: Process,
    download: bool = False,
    reporter: Reporter = SILENT,
    takes_init: bool = True,
    is_trial: bool = False,
    on_epoch_end: Callable[[Trainer, int], None] | None = None,
) -> Trainer:
    """Open the images, build the supernet and the method. Nothing is written.

    Args:
        config: The run.
        out: Folder of the run.
        process: This process among those that train together.
        download: Fetch the data set where torchvision can.
        reporter: Told of progress and messages.
        is_trial: Whether updates are only to be timed: noise will do where no images are named (see
            `StandIn`), and nothing is fitted to images.
        takes_init: Whether the weights that `config.init` names are loaded.
        on_epoch_end: See `Trainer`.

    Raises:
        OfaToolkitError: Something of it is missing or bad.
    """
    reporter = reporter if process.is_main else SILENT
    if config.tensorboard and process.is_main:
        require_tensorboard()
    space_resolutions = config.space.whole(1).resolutions
    initial = None if config.init is None else open_initial(config.init, config.space.whole(1))
    dataset = open_run_dataset(
        config,
        download=download,
        takes_noise=is_trial,
        resolution=max(space_resolutions),
        # The weights know images prepared as those they were trained on.
        preprocessing=None if initial is None else initial.preprocessing,
    )
    add_unlabelled(
        dataset,
        config.data.unlabelled,
        transforms=config.data.transforms,
        num_workers=config.data.num_workers,
    )
    label_teacher = _label_teacher(config, dataset, process, reporter)
    reporter.message(summary(dataset))
    for text in warnings(dataset, is_weighted=config.data.class_weights == "balanced"):
        reporter.message(f"Warning: {text}")
    num_classes = len(dataset.output_names)
    algorithm = config.algorithm.build(config, config.space.trained(num_classes))
    supernet = new_supernet(config, config.space.whole(num_classes))
    if initial is not None and takes_init:
        reporter.message(_load(initial, supernet, dataset, config))
        if not is_trial:
            start(config, supernet.to(process.device), dataset, process.device, reporter)
    return Trainer(
        config,
        algorithm,
        supernet,
        dataset,
        out,
        process=process,
        reporter=reporter,
        on_epoch_end=on_epoch_end,
        label_teacher=label_teacher,
    )


def _label_teacher(
    config: RunConfig, dataset: ImageDataset, process: Process, reporter: Reporter
) -> LabelTeacher | None:
    """The network whose predictions take the place of labels, None where the recipe names none.

    Where its classes are not those of the images, the images get the labels that it gives them.
    """
    if config.teacher is None:
        return None
    teacher = load_supernet(config.teacher)
    largest = teacher.only_subnet or teacher.trained_space.largest()
    if config.teacher_resolution is not None:
        largest = dataclasses.replace(largest, resolution=config.teacher_resolution)
    if (own := teacher.preprocessing) is None:
        reporter.message(f"Warning: '{teacher.name}' does not say how it expects images normalised.")
    # A run carries no images for batch norm; the statistics that it stores are its largest network's.
    keeps = teacher.carried_statistics is None and teacher.batchnorm_statistics is not None
    label_teacher = LabelTeacher(
        teacher.extract(largest, keep_batchnorm=keeps),
        config.teacher_resolution,
        process.device,
        renormalization=None if own is None else renormalization(dataset.preprocessing, own),
    )
    if teacher.class_names != dataset.class_names and not dataset.name_outputs(teacher.class_names):
        names = teacher.class_names or tuple(map(str, range(teacher.space.num_classes)))
        dataset.label_by(names, label_teacher.labels)
        reporter.message(f"'{teacher.name}' has other classes: accuracy is agreement with what it names.")
    return label_teacher


def _load(initial: InitialWeights, supernet: Supernet, dataset: ImageDataset, config: RunConfig) -> str:
    mine, theirs = dataset.output_names, initial.class_names
    told = load_initial_weights(
        supernet,
        initial.network,
        initial.name,
        space_option=initial.space_option,
        has_same_classes=mine == theirs,
        classifier_seed=torch_seed(config.training.seed, "fresh classifier", initial.identity),
    )
    if mine != theirs and initial.network.space.num_classes == dataset.num_classes:
        others = f"has as many, {first_names(theirs)}" if theirs else "does not name its own"
        told += f" The images' are {first_names(mine)}; '{initial.name}' {others}."
    return told


def open_run_dataset(
    config: RunConfig,
    *,
    download: bool,
    takes_noise: bool = False,
    resolution: int | None = None,
    preprocessing: Preprocessing | None = None,
) -> ImageDataset:
    """The data set of a run.

    Raises:
        ConfigError: None was named.
        DataError: It is missing or malformed.
    """
    if config.data.source is None and config.data.made_for is not None and takes_noise:
        assert resolution is not None
        return StandIn(
            config.data.made_for, resolution=resolution, validation_size=config.data.validation_size
        )
    if config.data.source is None:
        raise ConfigError(
            "No images: neither --data nor data.source names a data set.",
            hint="--data imagefolder:DIR, or --data fake to try without images",
        )
    dataset = open_dataset(
        config.data.source,
        validation_size=config.data.validation_size,
        test_size=config.data.test_size,
        convert=config.data.convert,
        seed=config.data.split_seed,
        download=download,
        transforms=config.data.transforms,
        num_workers=config.data.num_workers,
        class_list=config.data.class_list,
        resolution=resolution,
        preprocessing=preprocessing,
    )
    check_sizes_are_used(dataset, config.data.validation_size, config.data.test_size)
    check_transforms_are_used(dataset, config.data.transforms)
    dataset.steps_per_epoch(config.training.batch_size)
    return dataset


@contextmanager
def _stopping_on_signals(trainer: Trainer) -> Iterator[None]:
    """Turn the first SIGINT or SIGTERM into a checkpoint and an orderly stop; a second one kills."""

    def stop(number: int, _frame: Any) -> None:
        trainer.stop_requested = True
        signal.signal(number, signal.SIG_DFL)

    previous = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            previous[number] = signal.signal(number, stop)
    except ValueError:
        # Not in the main thread: the caller's signals are the caller's business.
        previous = {}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _finish(
    trainer: Trainer, out: Path, resumed_from: str | None, price_per_hour: float | None
) -> TrainResult:
    """Save the supernet and the summary."""
    config, state = trainer.config, trainer.state
    steps, seconds, device_seconds = state.phase_steps, state.phase_seconds, state.phase_device_seconds
    processor_seconds = state.phase_processor_seconds
    costs = tuple(
        measured_cost(
            phase.name,
            steps.get(phase.name, 0),
            seconds.get(phase.name, 0.0),
            device_seconds.get(phase.name, 0.0),
            price_per_hour=price_per_hour,
            processor_seconds=processor_seconds.get(phase.name),
        )
        for phase in trainer.algorithm.phases
    )
    folder = out / run_folder.SUPERNET_FOLDER
    if trainer.process.is_main:
        save(trainer, folder)
        if config.finish.predictor_subnets is not None:
            add_predictor(config, folder, str(trainer.process.device), trainer.reporter)
        run_folder.write_summary(
            out,
            {
                "recipe": config.recipe,
                "updates": state.step,
                "validation_top1_percent": state.accuracies,
                "rollbacks": state.rollbacks,
                "parts": [part.summary() for part in state.parts if part.steps or part.lost],
                "cost": [dataclasses.asdict(cost) for cost in (*costs, total(costs))],
            },
        )
    trainer.process.barrier()
    return TrainResult(
        folder=out,
        supernet=folder,
        accuracies=state.accuracies,
        num_validation_images=min(
            trainer.dataset.num_images("validation"), config.validation.images or sys.maxsize
        ),
        costs=costs,
        total_cost=total(costs),
        resumed_from=resumed_from,
    )
