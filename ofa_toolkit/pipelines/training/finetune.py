"""Fine-tune one subnet on a user's images, with the trainer and inside the supernet it was found in."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from ofa_toolkit.core import config as configuration
from ofa_toolkit.core.reporting import SILENT, Reporter
from ofa_toolkit.pipelines.training.request import FinetuneRequest
from ofa_toolkit.pipelines.training.run import TrainResult, train
from ofa_toolkit.spaces.space_file import space_document
from ofa_toolkit.spaces.subnet_file import SubnetFile, write_subnet
from ofa_toolkit.training.config import RunConfig, from_values
from ofa_toolkit.training.run_folder import Resume
from ofa_toolkit.zoo.opening import open_subnet

SUBNET_FILE = "subnet.json"

# For some hundred images and weights that know images already: a rate a tenth of training's.
_DEFAULTS: dict[str, dict[str, Any]] = {
    "training": {"batch_size": 32, "label_smoothing": 0.1, "dropout": 0.1},
    "schedule": {"kind": "cosine", "learning_rate": 0.01, "warmup_share": 0.05},
    "optimizer": {"kind": "sgd", "weight_decay": 1e-4},
}


def _start(request: FinetuneRequest) -> tuple[RunConfig, SubnetFile]:
    """The configuration of a fine-tuning run, and the subnet that it trains.

    Raises:
        ConfigError: Neither the file nor the caller names a supernet, or a setting is bad.
        OfaToolkitError: The supernet or the file cannot be read.
    """
    found, source = open_subnet(request.subnet, request.supernet, request.resolution)
    space, resolution = source.space, found.subnet.resolution
    if resolution not in (*space.resolutions, *space.single_resolutions):
        space = space.with_resolutions((resolution,))
    values: dict[str, Any] = {
        "recipe": "finetune",
        "space": {"name": space.name, "table": space_document(space)},
        "data": {"source": request.data},
        "algorithm": {
            "name": "single",
            "architecture": dataclasses.asdict(found.subnet),
            "kernel_transforms": source.use_kernel_transforms,
        },
        "training": {**_DEFAULTS["training"], "epochs": request.epochs, "seed": request.seed},
        "schedule": _DEFAULTS["schedule"],
        "optimizer": _DEFAULTS["optimizer"],
        "init": source.name,
    }
    config = from_values(configuration.apply_overrides(values, request.settings))
    return config, dataclasses.replace(found, space=config.space.whole(1), supernet=config.init)


def finetune(
    request: FinetuneRequest, *, resume: Resume = False, reporter: Reporter = SILENT
) -> tuple[TrainResult, Path]:
    """Run it; returns the result and a subnet file in `out` that exports like any other.

    Raises:
        ConfigError: Neither the file nor the request names a supernet, or a setting is bad.
        OfaToolkitError: As `train`.
    """
    (config, found), out = _start(request), request.out
    result = train(
        config, out, resume=resume, device=request.device, threads=request.threads, reporter=reporter
    )
    path = out / SUBNET_FILE
    write_subnet(
        path,
        SubnetFile(
            space=found.space,
            supernet=str(out),
            subnet=found.subnet,
            # Costs are still those predicted; accuracy was predicted for other images.
            predicted=found.predicted_costs,
            search={
                **found.search,
                "finetuned_from": str(found.supernet),
                "validation_top1_percent": result.accuracies,
            },
        ),
    )
    return result, path
