"""Results of runs that never were, with numbers that can be checked by hand."""

from __future__ import annotations

from ofa_toolkit.pipelines.studies.results import (
    CurveResult,
    EpochResult,
    PhaseResult,
    RunResult,
    SubnetAccuracy,
)


def result(label: str, seed: int, *, accuracy: float, hours: float = 1.0) -> RunResult:
    """A run whose mean Pareto accuracy, smallest and largest follow from `accuracy`."""

    def subnet(mmacs: float, top1: float) -> SubnetAccuracy:
        return SubnetAccuracy(mmacs=mmacs, validation_top1_percent=top1 + 1, test_top1_percent=top1)

    return RunResult(
        label=label,
        seed=seed,
        command=f"ofa-tk train --recipe {label} --seed {seed}",
        epochs=2,
        num_training_images=100,
        phases=(
            PhaseResult(name="warm-up", updates=4, device_hours=hours / 4, forward_macs=1e15),
            PhaseResult(name="shrinking", updates=4, device_hours=3 * hours / 4, forward_macs=2e15),
        ),
        epoch_curve=(
            EpochResult(epoch=1, phase="warm-up", top1_percent=accuracy - 5),
            EpochResult(epoch=2, phase="shrinking", top1_percent=accuracy),
        ),
        curves=(
            CurveResult(
                space="a-space",
                is_trained=label != "coupled",
                smallest=subnet(1, accuracy - 2),
                largest=subnet(9, accuracy + 2),
                candidates=(subnet(1, accuracy - 2), subnet(9, accuracy + 2)),
                points=(subnet(1, accuracy - 2), subnet(9, accuracy + 2)),
                mean_pareto_accuracy_percent=accuracy,
            ),
        ),
        conditions={"torch": "2.0"},
    )
