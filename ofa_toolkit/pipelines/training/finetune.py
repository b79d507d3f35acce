"""Fine-tune one subnet on a user's images, with the trainer and inside the supernet it was found in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ofa_toolkit.core import config as configuration
from ofa_toolkit.core.errors import ConfigError
from ofa_toolkit.core.reporting import SILENT, Reporter
from ofa_toolkit.pipelines.training.request import FinetuneRequest
from ofa_toolkit.pipelines.training.run import TrainResult, train
from ofa_toolkit.spaces.space_file import space_document
from ofa_toolkit.spaces.subnet_file import SubnetFile, read_subnet, stated_supernet, write_subnet
from ofa_toolkit.training.config import RunConfig, from_values
from ofa_toolkit.training.run_folder import Resume
from ofa_toolkit.zoo.supernet import load_supernet

SUBNET_FILE = "subnet.json"

# For some hundred images and weights that know images already: a rate a tenth of training's.
_DEFAULTS: dict[str, dict[str, Any]] = {
    "training": {"batch_size": 32, "label_smoothing": 0.1, "dropout": 0.1},
    "schedule": {"kind": "cosine", "learning_rate": 0.01, "warmup_share": 0.05},
    "optimizer": {"kind": "sgd", "weight_decay": 1e-4},
}


def _config(request: FinetuneRequest) -> RunConfig:
    """The configuration of a fine-tuning run.

    Raises:
        ConfigError: Neither the file nor the caller names a supernet, or a setting is bad.
        OfaToolkitError: The supernet or the file cannot be read.
    """
    subnet, supernet = request.subnet, request.supernet
    if subnet is None and (supernet is None or not load_supernet(supernet).space.has_one_subnet):
        subnet = Path(SUBNET_FILE)
    stated = supernet or stated_supernet(subnet or {})
    if stated is None:
        raise ConfigError(
            f"'{subnet}' does not say which supernet it belongs to.", hint="Add --supernet NAME|DIR"
        )
    source = load_supernet(stated)
    values: dict[str, Any] = {
        "recipe": "finetune",
        "space": {"name": source.space.name, "table": space_document(source.space)},
        "data": {"source": request.data},
        "algorithm": {
            "name": "single",
            **({} if subnet is None else {"subnet": str(subnet.resolve())}),
            "kernel_transforms": source.use_kernel_transforms,
        },
        "training": {**_DEFAULTS["training"], "epochs": request.epochs, "seed": request.seed},
        "schedule": _DEFAULTS["schedule"],
        "optimizer": _DEFAULTS["optimizer"],
        "init": stated,
    }
    return from_values(configuration.apply_overrides(values, request.settings))


def finetune(
    request: FinetuneRequest, *, resume: Resume = False, reporter: Reporter = SILENT
) -> tuple[TrainResult, Path]:
    """Run it; returns the result and a subnet file in `out` that exports like any other.

    Raises:
        ConfigError: Neither the file nor the request names a supernet, or a setting is bad.
        OfaToolkitError: As `train`.
    """
    config, out = _config(request), request.out
    result = train(
        config, out, resume=resume, device=request.device, threads=request.threads, reporter=reporter
    )
    subnet, space = configuration.to_dict(config)["algorithm"].get("subnet"), config.space.whole(1)
    found = SubnetFile(space=space, supernet=config.init, subnet=space.largest())
    if subnet is not None:
        found = read_subnet(subnet, space)
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
