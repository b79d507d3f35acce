"""What a run leaves behind: its supernet, snapshots on the way, and a small accuracy predictor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ofa_toolkit.core import config as configuration
from ofa_toolkit.core.places import portable_document
from ofa_toolkit.core.reporting import Reporter
from ofa_toolkit.evaluation.accuracy import recalibration_batches
from ofa_toolkit.pipelines.evaluation.evaluator import open_evaluator
from ofa_toolkit.pipelines.evaluation.predictor import build_predictor
from ofa_toolkit.pipelines.evaluation.request import EvaluationRequest
from ofa_toolkit.supernets import recalibrate_batchnorm, save_supernet
from ofa_toolkit.training import run_folder
from ofa_toolkit.training.config import RunConfig
from ofa_toolkit.training.trainer import Trainer


def add_predictor(config: RunConfig, folder: Path, device: str, reporter: Reporter) -> None:
    """Measure subnets of a finished supernet on held-out images and fit a predictor to them.

    Killed and started again it goes on with the measurements that are missing.

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
    built = build_predictor(
        open_evaluator(str(folder), request),
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
    space = trainer.algorithm.phases[-1].space
    only = trainer.algorithm.only_subnet
    subnet = only or space.largest()
    num_images = recalibrate_batchnorm(
        supernet,
        recalibration_batches(
            dataset,
            subnet.resolution,
            batch_size=config.validation.batch_size,
            limit=config.validation.recalibration_images,
            device=trainer.process.device,
        ),
        subnet=subnet,
        keeps=trainer.learner.frozen,
    )
    which = "the fine-tuned subnet" if only else "the largest trained subnet"
    save_supernet(
        folder,
        supernet,
        trained_space=space,
        trained_subnet=only,
        class_names=dataset.output_names,
        preprocessing=dataset.preprocessing,
        recipe=_recipe_for_others(config),
        further={
            "batchnorm_statistics": f"of {which}, from {num_images} training images",
            "metrics": {"validation_top1_percent": trainer.state.accuracies},
        },
    )
