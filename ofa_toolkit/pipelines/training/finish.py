"""What a run leaves behind: its supernet, snapshots on the way, and a small accuracy predictor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ofa_toolkit.core import config as configuration
from ofa_toolkit.core.errors import OfaToolkitError
from ofa_toolkit.core.places import portable_document
from ofa_toolkit.core.reporting import Reporter
from ofa_toolkit.evaluation.accuracy import recalibration_batches
from ofa_toolkit.pipelines.evaluation.accuracy_log import set_aside
from ofa_toolkit.pipelines.evaluation.evaluator import open_evaluator
from ofa_toolkit.pipelines.evaluation.predictor import build_predictor, measurements_folder
from ofa_toolkit.pipelines.evaluation.request import EvaluationRequest
from ofa_toolkit.spaces.supernet_description import read_description
from ofa_toolkit.supernets import Supernet, read_supernet, recalibrate_batchnorm, save_supernet
from ofa_toolkit.training import run_folder
from ofa_toolkit.training.config import RunConfig
from ofa_toolkit.training.trainer import Trainer


def add_predictor(config: RunConfig, folder: Path, device: str, reporter: Reporter) -> None:
    """Measure subnets of a finished supernet on held-out images and fit a predictor to them.

    Killed and started again it goes on with the measurements that are missing. Those of the weights that the
    folder had before, say before the run was lengthened, are put aside.

    Args:
        config: The run.
        folder: Folder of the supernet.
        device: Device to compute on.
        reporter: Told of progress.
    """
    subnets = config.finish.predictor_subnets
    assert subnets is not None
    assert config.data.source is not None
    request = EvaluationRequest(data=config.data.source, device=device, num_workers=config.data.num_workers)
    evaluator = open_evaluator(str(folder), request)
    set_aside(measurements_folder(evaluator), evaluator.supernet.identity, reporter)
    built = build_predictor(
        evaluator,
        num_subnets=subnets,
        seed=config.training.seed,
        reporter=reporter,
    )
    assert built is not None
    reporter.message(f"Accuracy predictor: {built.verdict}")


def keep_snapshot(trainer: Trainer, epoch: int) -> None:
    """Save the supernet where the configuration asks for it after this epoch."""
    total_epochs = trainer.algorithm.phases[-1].end_epoch
    for share in trainer.config.checkpoints.snapshots:
        if max(1, round(share * total_epochs)) == epoch + 1:
            save(trainer, trainer.folder / run_folder.SNAPSHOTS_FOLDER / f"{round(100 * share):03d}")


def _recipe_for_others(config: RunConfig) -> dict[str, Any]:
    """The recipe without the folders of this machine."""
    values: dict[str, Any] = portable_document(configuration.to_dict(config))
    kind, _, place = str(config.data.source).partition(":")
    values["data"]["source"] = f"{kind}:{Path(place).name}" if place else kind
    return values


def save(trainer: Trainer, folder: Path) -> None:
    """Write the final supernet, its batch-norm statistics fitted to the largest trained subnet."""
    config, dataset, supernet = trainer.config, trainer.dataset, trainer.learner.final_supernet()
    statistics = _take_statistics(supernet, folder) or _fit_statistics(trainer, supernet)
    save_supernet(
        folder,
        supernet,
        trained_space=trainer.algorithm.phases[-1].space,
        trained_subnet=trainer.algorithm.only_subnet,
        class_names=dataset.output_names,
        preprocessing=dataset.preprocessing,
        recipe=_recipe_for_others(config),
        further={
            "batchnorm_statistics": statistics,
            "metrics": {"validation_top1_percent": trainer.state.accuracies},
        },
    )


def _take_statistics(supernet: Supernet, folder: Path) -> str | None:
    """Take the batch-norm statistics that this run fitted to the same weights when it was here before.

    Fitted again, with another number of threads or on another device, they would round to others, and what
    was measured since would be of another supernet.

    Returns:
        What the folder says of them; None, with nothing taken, where its weights are not these.
    """
    try:
        told, before = read_description(folder).further.get("batchnorm_statistics"), read_supernet(folder)
    except OfaToolkitError:
        return None
    weights, known = dict(supernet.named_parameters()), dict(before.named_parameters())
    if weights.keys() != known.keys() or not all(
        torch.equal(weight.cpu(), known[name]) for name, weight in weights.items()
    ):
        return None
    supernet.load_state_dict(before.state_dict())
    return told


def _fit_statistics(trainer: Trainer, supernet: Supernet) -> str:
    """Fit batch-norm statistics to training images; returns of what they are, in words."""
    config, only = trainer.config, trainer.algorithm.only_subnet
    subnet = only or trainer.algorithm.phases[-1].space.largest()
    num_images = recalibrate_batchnorm(
        supernet,
        recalibration_batches(
            trainer.dataset,
            subnet.resolution,
            batch_size=config.validation.batch_size,
            limit=config.validation.recalibration_images,
            device=trainer.process.device,
        ),
        subnet=subnet,
        keeps=trainer.learner.frozen,
    )
    which = "the fine-tuned subnet" if only else "the largest trained subnet"
    return f"of {which}, from {num_images} training images"
