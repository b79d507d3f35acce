"""What a finished run gets beside its supernet: a small accuracy predictor, so that it can be searched."""

from __future__ import annotations

from pathlib import Path

from ofa_toolkit.pipelines.evaluation.evaluator import open_evaluator
from ofa_toolkit.pipelines.evaluation.predictor import build_predictor
from ofa_toolkit.pipelines.evaluation.request import EvaluationRequest
from ofa_toolkit.training.config import RunConfig
from ofa_toolkit.training.reporting import Reporter


def add_predictor(config: RunConfig, folder: Path, device: str, reporter: Reporter) -> None:
    """Measure subnets of a finished supernet on held-out images and fit a predictor to them.

    Killed and started again it goes on with the measurements that are missing.

    Args:
        config: The run.
        folder: The supernet.
        device: Where to compute.
        reporter: Hears how far it is.
    """
    subnets = config.finish.predictor_subnets
    assert subnets is not None
    assert config.data.source is not None
    request = EvaluationRequest(data=config.data.source, device=device, num_workers=config.data.num_workers)

    def told(done: int, total: int) -> None:
        if done % max(1, total // 5) == 0:
            reporter.message(f"Measuring subnets for the accuracy predictor: {done} of {total}")

    built = build_predictor(
        open_evaluator(str(folder), request), num_subnets=subnets, seed=config.training.seed, on_step=told
    )
    assert built is not None
    reporter.message(f"Accuracy predictor: {built.verdict}")
