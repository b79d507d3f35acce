"""Every method trains on a small space, and DϵpS without its own parts is BigNAS."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ofa_toolkit.core.errors import TrainingError
from ofa_toolkit.pipelines.evaluation.evaluate import evaluate_subnets
from ofa_toolkit.pipelines.evaluation.evaluator import open_evaluator
from ofa_toolkit.pipelines.evaluation.request import EvaluationRequest
from ofa_toolkit.pipelines.training.dry_run import dry_run
from ofa_toolkit.spaces import get_space
from ofa_toolkit.training import ALGORITHMS
from ofa_toolkit.training.metrics import read_metrics
from ofa_toolkit.zoo.supernet import load_supernet
from tests.integration.small_runs import IMAGES, differing, run, small_config, weights

METHODS: dict[str, dict[str, Any]] = {
    "deps": {"name": "deps", "ramp_share": 0.25},
    "bignas": {"name": "bignas"},
    "subnet_first": {"name": "subnet_first"},
    # Other proportions than the published ones: there are only 32 updates.
    "ofa": {"name": "ofa", "phase_rates": [1.0, *[0.2] * 5], "phase_epochs": [4, 1, 1, 1, 1, 1]},
    "compofa": {"name": "compofa", "phase_rates": [1.0, 0.2, 0.2], "phase_epochs": [4, 1, 3]},
}


@pytest.mark.parametrize("method", METHODS)
def test_loss_falls(method: str, tmp_path: Path) -> None:
    config = small_config(METHODS[method], training={"epochs": 8})
    result, recorder = run(config, tmp_path / "run")
    if method in ("deps", "bignas"):
        assert sum(recorder.losses[-4:]) < sum(recorder.losses[:4])
    # With a teacher the loss has further terms; the networks must have learned all the same.
    evaluator = open_evaluator(
        tmp_path / "run", EvaluationRequest(data=IMAGES, recalibration_images=32, device="cpu")
    )
    learned = evaluator.accuracy(evaluator.supernet.trained_space.largest(), "train")
    assert learned.loss < 0.95 * math.log(4), learned
    assert sum(cost.steps for cost in result.costs) == 32
    supernet = load_supernet(result.supernet)
    assert supernet.class_names == tuple(f"wave {label}" for label in range(4))
    assert all(torch.isfinite(tensor).all() for tensor in supernet.network.state_dict().values())
    steps = [line for line in read_metrics(tmp_path / "run" / "metrics.jsonl") if line["kind"] == "step"]
    assert len(steps) == 32


def test_every_method_is_covered() -> None:
    assert {*METHODS, "single"} == set(ALGORITHMS)


def test_deps_without_its_parts_is_bignas(tmp_path: Path) -> None:
    """No warm-up, no ramp, no sorting: the same updates bit for bit, as in the reference."""
    bare = {"name": "deps", "warmup_share": 0.0, "epsilon_ramp": "none", "sort_channels": False}
    first, _ = run(small_config(bare), tmp_path / "deps")
    second, _ = run(small_config({"name": "bignas", "zero_gamma": False}), tmp_path / "bignas")
    assert differing(weights(first), weights(second)) == []
    third, _ = run(small_config({**bare, "sort_channels": True}), tmp_path / "sorted")
    assert differing(weights(first), weights(third)) != []


def test_warmup_trains_the_largest_alone(tmp_path: Path) -> None:
    config = small_config({"name": "deps", "warmup_share": 0.5})
    run(config, tmp_path / "run")
    steps = [line for line in read_metrics(tmp_path / "run" / "metrics.jsonl") if line["kind"] == "step"]
    passes = [sum(name.startswith("loss_") for name in line) for line in steps]
    assert passes == [1] * 8 + [4] * 8


def test_a_run_fitted_to_a_time_takes_a_batch_of_all_where_images_are_few(tmp_path: Path) -> None:
    config = small_config(METHODS["deps"], training={"epochs": 8, "batch_size": 64}, minutes=0.001)
    result, recorder = run(config, tmp_path / "run")
    assert any(" with 32 images" in message for message in recorder.messages), recorder.messages
    assert result.total_cost.steps >= 1
    again, _ = run(config, tmp_path / "run", resume=True)
    assert differing(weights(result), weights(again)) == []


def test_not_a_number_is_rolled_back_once(tmp_path: Path) -> None:
    config = small_config({"name": "bignas"}, schedule={"learning_rate": 1e18})
    with pytest.raises(TrainingError, match=r"diverged at epoch \d+/\d+, update \d+.*Rollbacks so far: 1"):
        run(config, tmp_path / "run")
    kinds = [line["kind"] for line in read_metrics(tmp_path / "run" / "metrics.jsonl")]
    assert kinds.count("divergence") == 1 or kinds.count("divergence") == 2


def test_initial_weights_and_fresh_classifier(tmp_path: Path) -> None:
    first, _ = run(small_config(METHODS["deps"], training={"epochs": 2}), tmp_path / "first")
    other_classes = {"source": IMAGES.replace("classes=4", "classes=3"), "validation_size": 8}
    config = small_config(
        METHODS["bignas"],
        data=other_classes,
        training={"epochs": 1},
        schedule={"learning_rate": 1e-9},
        init=str(tmp_path / "first"),  # type: ignore[arg-type]
    )
    second, recorder = run(config, tmp_path / "second")
    assert any("fresh: classifier for 3 classes" in text for text in recorder.messages)
    old, new = weights(first), weights(second)
    assert new["classifier.linear.weight"].shape[0] == 3
    name = "stages.0.0.expand.conv.weight"
    torch.testing.assert_close(old[name], new[name], atol=1e-6, rtol=0)


@pytest.mark.parametrize("names", [None, [f"wave {label}" for label in range(4)]])
def test_as_many_classes_are_the_same_by_their_names_only(names: list[str] | None, tmp_path: Path) -> None:
    run(small_config(METHODS["bignas"], training={"epochs": 1}), tmp_path / "first")
    arrays: dict[str, Any] = {} if names is None else {"class_names": np.array(names)}
    for split in ("train", "test"):
        arrays[f"{split}_images"] = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.arange(40) % 4
    np.savez(tmp_path / "images.npz", **arrays)
    data = {"source": f"npz:{tmp_path / 'images.npz'}", "validation_size": 8}
    config = small_config(
        METHODS["bignas"],
        data=data,
        training={"epochs": 1},
        init=str(tmp_path / "first"),  # type: ignore[arg-type]
    )
    _, recorder = run(config, tmp_path / "second")
    [told] = (text for text in recorder.messages if text.startswith("Loaded"))
    if names:
        assert told.endswith("nothing is fresh.")
    else:
        assert told.endswith(
            "fresh: classifier for 4 classes. The images' are '0', '1', '2', ... (4); "
            f"'{tmp_path / 'first'}' has as many, 'wave 0', 'wave 1', 'wave 2', ... (4)."
        )


def test_evaluation_of_a_run(tmp_path: Path) -> None:
    run(small_config(METHODS["deps"], training={"epochs": 2}), tmp_path / "run")
    evaluator = open_evaluator(
        tmp_path / "run", EvaluationRequest(data=IMAGES, recalibration_images=16, device="cpu")
    )
    result = evaluate_subnets(evaluator, num_random=1)
    assert [r.name for r in result.results] == ["largest", "smallest", "random 1"]
    assert all(r.accuracy.num_images == 12 for r in result.results)
    space = get_space("mobilenet-v3-compact").with_resolutions((8,))
    assert result.results[0].macs > result.results[2].macs > result.results[1].macs
    assert evaluator.supernet.space.identity == space.identity


def test_dry_run_predicts_what_the_phases_cost(tmp_path: Path) -> None:
    config = small_config(METHODS["deps"])
    prediction = dry_run(config, device="cpu", num_updates=1, price_per_hour=2.0)
    assert [cost.name for cost in prediction.costs] == ["warm-up", "shrinking"]
    assert [cost.steps for cost in prediction.costs] == [8, 8]
    total = prediction.total_cost
    assert total.money is not None
    assert math.isclose(total.money, 2.0 * total.device_hours)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["muon", "rmsprop", "adamw"])
def test_every_setting_of_the_step_works(kind: str, tmp_path: Path) -> None:
    config = small_config(
        METHODS["deps"],
        training={
            "epochs": 2,
            "accumulation": 2,
            "clip_norm": 1.0,
            "clip_value": 0.5,
            "precision": "bfloat16",
            "channels_last": False,
        },
        optimizer={"kind": kind},
        schedule={"learning_rate": 0.01, "kind": "exponential", "floor": 0.05, "warmup_share": 0.1},
    )
    result, _ = run(config, tmp_path / "run")
    assert all(torch.isfinite(tensor).all() for tensor in weights(result).values())
