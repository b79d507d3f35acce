"""Where a run stands: the plain values that a checkpoint holds beside weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

UNKNOWN = "unknown"


@dataclass(kw_only=True)
class Part:
    """A part of a run that was computed on the same devices.

    Attributes:
        num_devices: Processes that shared each batch.
        device: Kind of device, such as `cpu` or `cuda`.
        threads: CPU threads of a process.
        steps: Updates made, by phase.
        seconds: Time they took, by phase.
        lost: Time of updates that a rollback undid, by phase: it was paid for as well.
        processor_seconds: Processor time of the updates over all threads, by phase; on a CPU only. Other
            programs on the same cores lengthen `seconds`, but not this.
    """

    num_devices: int
    device: str
    threads: int
    steps: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    lost: dict[str, float] = field(default_factory=dict)
    processor_seconds: dict[str, float] = field(default_factory=dict)

    def count(self, phase: str, seconds: float, processor_seconds: float) -> None:
        """Add an update."""
        self.steps[phase] = self.steps.get(phase, 0) + 1
        self.seconds[phase] = self.seconds.get(phase, 0.0) + seconds
        if self.device == "cpu":
            self.processor_seconds[phase] = self.processor_seconds.get(phase, 0.0) + processor_seconds

    def summary(self) -> dict[str, Any]:
        """What a run's summary says of it."""
        return {
            "updates": sum(self.steps.values()),
            "seconds": sum(self.seconds.values()),
            "seconds_rolled_back": sum(self.lost.values()),
            "num_devices": self.num_devices,
            "device": self.device,
            "threads": self.threads,
        }

    def differs_from(self, other: Part) -> list[str]:
        """What is unlike another part, in words."""
        pairs = (
            ("process(es)", self.num_devices, other.num_devices),
            ("device", self.device, other.device),
            ("CPU thread(s)", self.threads, other.threads),
        )
        return [f"{old} {what} before, {new} now" for what, new, old in pairs if new != old]


@dataclass(kw_only=True)
class TrainState:
    """The position of a run and what it has met; plain values.

    Attributes:
        epoch: Epoch of the next update, from 0.
        step_in_epoch: Number of the next update in its epoch, from 0.
        step: Updates made.
        begun_phase: Index of the last phase whose beginning (sorting, teacher) is done; -1 for none.
        validated_epoch: The last epoch that was validated.
        best: Best mean validation accuracy so far, percent, of the weights in `best.pt`.
        best_phase: Index of the phase it was measured in, where that is kept; -1 for none.
        rate_factor: Factor on the learning rate after rollbacks.
        rollbacks: Number of rollbacks so far.
        parts: On what the run was computed, in order.
        accuracies: Latest validation, percent by name.
    """

    epoch: int = 0
    step_in_epoch: int = 0
    step: int = 0
    begun_phase: int = -1
    validated_epoch: int = -1
    best: float = -1.0
    best_phase: int = -1
    rate_factor: float = 1.0
    rollbacks: int = 0
    parts: list[Part] = field(default_factory=list)
    accuracies: dict[str, float] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainState:
        """From `dataclasses.asdict`, also of versions that knew neither devices nor the best's phase.

        Raises:
            LookupError, TypeError, AttributeError, ValueError: The values are not those of a state.
        """
        values = dict(values)
        if "parts" not in values:
            steps, seconds = values.pop("phase_steps"), values.pop("phase_seconds")
            values["parts"] = [{"num_devices": 0, "device": UNKNOWN, "threads": 0}]
            values["parts"][0] |= {"steps": steps, "seconds": seconds}
        values.setdefault("best_phase", values["begun_phase"])
        return cls(**{**values, "parts": [Part(**part) for part in values["parts"]]})

    def begin_part(self, now: Part) -> str | None:
        """Go on on the devices of `now`; returns what a user should know of it.

        Args:
            now: Devices of the next update; a part without updates of its own.
        """
        if not self.parts:
            self.parts.append(now)
            return None
        last = self.parts[-1]
        if last.device == UNKNOWN:
            self.parts[-1] = dataclasses.replace(now, steps=last.steps, seconds=last.seconds)
            return (
                "The checkpoint is of an earlier release and does not say on how many devices it was made: "
                f"the time so far is counted as on {now.num_devices}, as now."
            )
        if not (differences := now.differs_from(last)):
            return None
        self.parts.append(now)
        return (
            f"Going on with {', '.join(differences)}: the weights will not be bit for bit those of an "
            "uninterrupted run."
        )

    def keep_time_of(self, undone: TrainState) -> None:
        """Count the time of the updates that a rollback from `undone` to this state undid."""
        for index, spent in enumerate(undone.parts):
            if index == len(self.parts):
                self.parts.append(dataclasses.replace(spent, steps={}, seconds={}, lost={}))
            kept = self.parts[index]
            kept.lost = {
                phase: seconds - kept.seconds.get(phase, 0.0)
                for phase, seconds in _summed([spent.seconds, spent.lost]).items()
            }

    @property
    def has_just_been_validated(self) -> bool:
        """Whether `accuracies` are those of the present weights."""
        return self.step_in_epoch == 0 and self.validated_epoch == self.epoch - 1

    @property
    def mean_accuracy(self) -> float:
        """Mean accuracy of the named subnets in the latest validation, percent."""
        return sum(self.accuracies.values()) / len(self.accuracies)

    @property
    def phase_steps(self) -> dict[str, int]:
        """Updates made, by phase."""
        return _summed([part.steps for part in self.parts])

    @property
    def phase_seconds(self) -> dict[str, float]:
        """Time of the updates, by phase."""
        return _summed([part.seconds for part in self.parts])

    @property
    def phase_processor_seconds(self) -> dict[str, float]:
        """Processor time of the updates, by phase, times the number of processes; on a CPU only."""
        return _summed([_times(part.processor_seconds, part.num_devices) for part in self.parts])

    @property
    def phase_device_seconds(self) -> dict[str, float]:
        """Time of the updates and of those lost to rollbacks, by phase, times the number of devices."""
        paid = [_summed([part.seconds, part.lost]) for part in self.parts]
        return _summed([_times(t, part.num_devices) for part, t in zip(self.parts, paid, strict=True)])


def _times(table: Mapping[str, float], factor: int) -> dict[str, Any]:
    return {name: value * factor for name, value in table.items()}


def _summed(tables: list[dict[str, Any]]) -> dict[str, Any]:
    names = dict.fromkeys(name for table in tables for name in table)
    return {name: sum(table.get(name, 0) for table in tables) for name in names}
