"""What was measured of one run of a study, and its JSON file: all that tables and figures are made from."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ofa_toolkit.core import config as configuration
from ofa_toolkit.core import files
from ofa_toolkit.core.command_line import command_line
from ofa_toolkit.core.documents import read_object
from ofa_toolkit.core.errors import ConfigError, FileFormatError
from ofa_toolkit.core.file_format import FileFormat

FORMAT = FileFormat("ofa-toolkit/study-result", 1, "a result of a study")


@dataclass(frozen=True, kw_only=True)
class SubnetAccuracy:
    """A subnet of one run."""

    mmacs: float
    "10^6 multiply-accumulates of an image."
    validation_top1_percent: float
    "On held-out training images, batch norm recalibrated."
    test_top1_percent: float | None = None
    "On test images; none where the subnet was not chosen."


@dataclass(frozen=True, kw_only=True)
class CurveResult:
    """A run's subnets of one space: candidates are the same for all runs of a study."""

    space: str
    "Name of the space the candidates are drawn from, and which part of it where it is not all."
    is_trained: bool
    "Whether the run trained all subnets of that space."
    smallest: SubnetAccuracy
    "The space's smallest subnet."
    largest: SubnetAccuracy
    "The space's largest subnet."
    candidates: tuple[SubnetAccuracy, ...]
    "All that were judged, cheapest first."
    points: tuple[SubnetAccuracy, ...]
    "The most accurate candidate of each bucket, chosen on held-out images."
    mean_pareto_accuracy_percent: float
    "Area under test accuracy of the points over normalised MACs."


@dataclass(frozen=True, kw_only=True)
class EpochResult:
    """Accuracy of the largest subnet during training."""

    epoch: int
    "Epochs trained so far."
    phase: str
    "Phase of the method."
    top1_percent: float
    "Top-1 accuracy on held-out images, in percent."


@dataclass(frozen=True, kw_only=True)
class PhaseResult:
    """Cost of one phase."""

    name: str
    "Name of the phase."
    updates: int
    "Updates made."
    device_hours: float
    "Time of the updates times the number of devices."
    forward_macs: float
    "Multiply-accumulates of all forward passes (backward passes cost about twice as many)."
    processor_hours: float | None = None
    "Processor time of the updates, which other programs on the same cores do not lengthen; none on a GPU."


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """One trained and measured run."""

    label: str
    "Label of the recipe in the study."
    seed: int
    "Seed of the run."
    command: str
    "Command that trains it again."
    epochs: int
    "Passes over the training images."
    num_training_images: int
    "Images of a pass."
    phases: tuple[PhaseResult, ...]
    "Cost by phase."
    epoch_curve: tuple[EpochResult, ...]
    "The largest subnet, epoch by epoch."
    curves: tuple[CurveResult, ...]
    "One for each space that a run of the study was trained on."
    conditions: dict[str, str] = field(default_factory=dict)
    "Versions and hardware."

    @property
    def device_hours(self) -> float:
        """Cost in device-hours; on a CPU, where they were counted, in hours that its processors worked.

        Runs of a study often share a machine, which makes each of them take longer but not work more.
        """
        return sum(
            phase.device_hours if phase.processor_hours is None else phase.processor_hours
            for phase in self.phases
        )

    @property
    def forward_macs(self) -> float:
        """Cost in multiply-accumulates of forward passes."""
        return sum(phase.forward_macs for phase in self.phases)

    @property
    def hardware(self) -> str:
        """What it was trained on: device-hours of other hardware are of another size."""
        return self.conditions.get("processor", "unknown")

    def curve(self, space: str) -> CurveResult:
        """The curve over one space.

        Raises:
            FileFormatError: The run was measured while no run of the study trained that space.
        """
        for curve in self.curves:
            if curve.space == space:
                return curve
        name = run_name(self.label, self.seed)
        raise FileFormatError(
            f"'{name}' was measured before the study had subnets of {space}.",
            hint=f"Delete results/{name}.json and type `ofa-tk study run` again: nothing is trained anew.",
        )


def run_name(label: str, seed: int) -> str:
    """Name of a run's folder and of its result file."""
    return f"{label}-s{seed}"


def write_result(path: Path, result: RunResult) -> None:
    """Write a result file."""
    files.write_json(path, {**FORMAT.header, **dataclasses.asdict(result)})


def read_result(path: Path) -> RunResult:
    """Read a result file.

    Raises:
        FileFormatError: It is none, or was damaged.
    """
    document = read_object(path, FORMAT.what)
    FORMAT.check(document, f"'{path}'")
    document = FORMAT.body(document)
    try:
        return configuration.from_dict(RunResult, document, source=str(path))
    except ConfigError as error:
        raise FileFormatError(error.message, hint=error.hint) from error


def read_results(folder: Path) -> list[RunResult]:
    """All results of a folder, by label in the order of their files' names, then by seed.

    Raises:
        FileFormatError: There is none, or one was damaged.
    """
    results = [read_result(path) for path in sorted(folder.glob("*.json"))]
    if not results:
        raise FileFormatError(
            f"'{folder}' holds no results yet.", hint=command_line("study", "status", "--out", folder.parent)
        )
    return sorted(results, key=lambda result: (result.label, result.seed))


def share_hardware(results: Sequence[RunResult]) -> bool:
    """Whether all runs were trained on the same, so that their hours compare."""
    return len({result.hardware for result in results}) == 1


def space_names(results: Sequence[RunResult]) -> list[str]:
    """Names of the spaces that curves were measured over, in order."""
    return list(dict.fromkeys(curve.space for result in results for curve in result.curves))
