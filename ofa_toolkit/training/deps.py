"""DϵpS, Delayed ϵ-Shrinking (Annavajjala et al., ECCV 2024).

The full network trains alone for a share of the epochs (FM-Warmup, section 4.1). Then every step trains
k networks on the same images: the full one on the labels, the others on the full one's predictions
(IKD-Warmup, 4.3), their gradients weighted by epsilon, which rises to 1 (ϵ-Shrinking, 4.2).

The paper leaves open how long epsilon rises, whether the smallest network is always sampled, and when
channels are sorted. Defaults: 5 of 270 epochs; largest, smallest and random ones (the "sandwich"); sorted
once, when shrinking begins; all as in the authors' code. There the rise precedes the end of the warm-up
and is linear in epsilon times the learning rate: `epsilon_ramp = "effective_rate"`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np

from ofa_toolkit.core.config import Bounds
from ofa_toolkit.core.errors import ConfigError
from ofa_toolkit.core.quantities import counted
from ofa_toolkit.spaces import SearchSpace, sample_subnets
from ofa_toolkit.training.algorithm import Aggregation, Algorithm, AlgorithmConfig, Pass, Phase, Position
from ofa_toolkit.training.schedules import constant_increment, effective_rate_ramp

if TYPE_CHECKING:
    from ofa_toolkit.training.config import RunConfig


@dataclass(frozen=True, kw_only=True)
class DepsConfig(AlgorithmConfig):
    """DϵpS."""

    name: Literal["deps"] = "deps"
    "DϵpS."
    warmup_share: Annotated[float, Bounds(at_least=0, at_most=1)] = 0.5
    """Share of the epochs in which only the largest network trains; 0 distils in place at once, 1 never
    shrinks."""
    epsilon_ramp: Literal["constant_increment", "effective_rate", "none"] = "constant_increment"
    "Rise of epsilon: as in the paper, as in the authors' code, or not at all (1 at once)."
    epsilon_start: Annotated[float, Bounds(above=0, at_most=1)] = 1e-4
    "Epsilon at the first shrinking step of constant_increment."
    ramp_share: Annotated[float, Bounds(at_least=0, at_most=1)] = 5 / 270
    "Share of the epochs over which epsilon rises to 1; effective_rate rounds up to whole epochs."
    sampling: Literal["sandwich", "largest_and_random"] = "sandwich"
    "Largest, smallest and random networks; or equation 4 taken literally, without the smallest."
    num_networks: Annotated[int, Bounds(at_least=2)] = 4
    "Networks a step (k), the largest included."
    temperature: Annotated[float, Bounds(above=0)] = 1.0
    "Temperature of the distillation."
    hard_labels: Annotated[float, Bounds(at_least=0)] = 0.0
    "Weight of the labels in the loss of all but the largest."
    soft_labels: Annotated[float, Bounds(at_least=0)] = 1.0
    "Weight of the largest network's predictions in the loss of the others; 0 trains them on labels only."
    aggregation: Aggregation = "sum"
    """Sum of the weighted gradients; average divides each entry by the sum of the weights of the networks
    that use it, avg_sqrt by the root of that (the authors' avg and avg_sqrt)."""
    teacher: Literal["largest", "frozen"] = "largest"
    """Whose predictions the others learn from: the largest network's of the same step, or those of a frozen
    copy of it from when shrinking begins, from which the largest then learns too, and so stays what it is."""
    features: Annotated[float, Bounds(at_least=0)] = 0.0
    """Weight of the squared difference to the frozen teacher's features, those the classifier reads, in units
    of their variance."""
    sort_by: Literal["weights", "activations"] = "weights"
    """What tells a channel's importance: the weights that read it, or those times how strong it is on
    training images."""
    sort_channels: bool = True
    "Whether channels are sorted by importance when shrinking begins."
    sort_protected_widths: Annotated[int, Bounds(at_least=0)] | None = None
    """Widths whose channels sorting keeps together: 0 lets all move; none takes the authors', two fewer
    than there are expand ratios."""
    dropout_on_largest_only: bool = True
    "Whether dropout acts on the largest network only."

    @property
    def imitates(self) -> bool:
        """Whether networks learn from others' predictions."""
        return self.soft_labels > 0

    def __post_init__(self) -> None:
        if self.hard_labels == 0 and self.soft_labels == 0:
            raise ConfigError("hard_labels: with soft_labels 0 the smaller networks would learn nothing.")
        if self.features and self.teacher != "frozen":
            raise ConfigError(
                "features: only a frozen teacher's are matched.", hint="--set algorithm.teacher=frozen"
            )
        if self.sort_by != "weights" and not self.sort_channels:
            raise ConfigError(f"sort_by: '{self.sort_by}' has no use while sort_channels is false.")

    def build(self, run: RunConfig, space: SearchSpace) -> Algorithm:
        """Bind DϵpS to a run."""
        return Deps(self, run, space)


class Deps(Algorithm):
    """DϵpS bound to a space and a number of epochs. See `DepsConfig`."""

    def __init__(self, config: DepsConfig, run: RunConfig, space: SearchSpace) -> None:
        if config.features and run.training.compile:
            raise ConfigError(
                "algorithm.features: not with training.compile.", hint="--set training.compile=false"
            )
        self.config = config
        self.space = space
        self._ratios = max(len(stage.expand_ratios) for stage in space.stages)
        epochs = run.training.epochs
        self._warmup_end = round(config.warmup_share * epochs)
        self._ramp_epochs = config.ramp_share * epochs
        start = self._warmup_end
        if config.epsilon_ramp == "effective_rate":
            # The authors' ramp covers whole epochs and ends where the warm-up does.
            self._ramp_epochs = min(math.ceil(self._ramp_epochs), start)
            start -= int(self._ramp_epochs)
        whole = Phase.of_whole_run("warm-up", run, space)
        warmup = dataclasses.replace(whole, epochs=start, alone="largest")
        shrinking = dataclasses.replace(
            warmup,
            name="shrinking",
            first_epoch=start,
            epochs=epochs - start,
            alone=None,
            sort_protected_widths=self._protected_widths(),
            sort_by=config.sort_by,
            teacher=space.largest() if config.teacher == "frozen" else None,
            teacher_batchnorm="stored",
        )
        self.phases = tuple(phase for phase in (warmup, shrinking) if phase.epochs)

    def _protected_widths(self) -> int | None:
        if not self.config.sort_channels:
            return None
        if self.config.sort_protected_widths is not None:
            return self.config.sort_protected_widths
        return max(0, self._ratios - 2)

    def epsilon(self, phase: Phase, position: Position) -> float:
        """Weight of the gradients of all but the largest network at a shrinking step."""
        steps_per_epoch = position.steps_per_epoch
        step = (position.epoch - phase.first_epoch) * steps_per_epoch + position.step
        num_steps = round(self._ramp_epochs * steps_per_epoch)
        if self.config.epsilon_ramp == "none" or num_steps == 0:
            return 1.0
        if self.config.epsilon_ramp == "constant_increment":
            return constant_increment(self.config.epsilon_start, num_steps)(step)
        return self._effective_rate(phase, steps_per_epoch, num_steps)(step)

    def figures(self, phase: Phase, position: Position) -> Mapping[str, float]:
        """Epsilon; 0 in the warm-up, in which the others have no part."""
        return {"epsilon": 0.0 if phase.alone else self.epsilon(phase, position)}

    def notes(self, steps_per_epoch: int) -> Sequence[str]:
        """Where nothing follows the warm-up, or the ramp of epsilon is not its share of the epochs."""
        config, phase = self.config, self.phases[-1]
        if phase.alone:
            return ("Only the largest subnet is trained by these settings; a search offers the others too.",)
        if config.epsilon_ramp == "none" or config.ramp_share == 0:
            return ()
        setting = f"algorithm.ramp_share = {config.ramp_share:g}"
        asked = config.ramp_share * phase.end_epoch * steps_per_epoch
        num_steps = round(self._ramp_epochs * steps_per_epoch)
        end = Position(
            epoch=phase.end_epoch - 1, step=steps_per_epoch - 1, steps_per_epoch=steps_per_epoch, resolution=0
        )
        notes = []
        if num_steps == 0:
            notes.append(f"Epsilon is 1 at once: {setting} comes to {asked:.2g} updates here.")
        elif num_steps < math.floor(asked):
            notes.append(
                f"Epsilon rises over {counted(num_steps, 'update')}, not {asked:.0f} ({setting}): only the "
                "warm-up's."
            )
        elif (final := self.epsilon(phase, end)) < 1:
            notes.append(f"Epsilon only reaches {final:.2g}: the run ends before its ramp ({setting}) does.")
        return notes

    def _effective_rate(self, phase: Phase, steps_per_epoch: int, num_steps: int) -> Callable[[int], float]:
        target = phase.learning_rate(self._warmup_end + 1, 0, steps_per_epoch)
        return effective_rate_ramp(
            lambda step: phase.learning_rate(phase.first_epoch, step, steps_per_epoch), target, num_steps
        )

    def plan(self, phase: Phase, position: Position, generator: np.random.Generator) -> Sequence[Pass]:
        """The largest alone in the warm-up, else k networks."""
        resolution = position.resolution
        largest = Pass(role="largest", subnet=self.space.largest(resolution))
        if phase.alone:
            return (largest,)
        config = self.config
        others = [("smallest", self.space.smallest(resolution))] if config.sampling == "sandwich" else []
        num_random = config.num_networks - 1 - len(others)
        others += [
            ("random", subnet)
            for subnet in sample_subnets(self.space, num_random, generator, resolution=resolution)
        ]
        epsilon = self.epsilon(phase, position)
        is_frozen = config.teacher == "frozen"
        student = Pass(
            role="",
            subnet=largest.subnet,
            hard_labels=config.hard_labels,
            soft_labels=config.soft_labels,
            features=config.features,
            source=None if not config.soft_labels else "teacher" if is_frozen else "first pass",
            temperature=config.temperature,
            use_dropout=not config.dropout_on_largest_only,
            aggregation=config.aggregation,
        )
        first = student if is_frozen else dataclasses.replace(largest, aggregation=config.aggregation)
        first = dataclasses.replace(first, role="largest", use_dropout=True)
        return [
            first,
            *(
                dataclasses.replace(student, role=role, subnet=subnet, gradient_weight=epsilon)
                for role, subnet in others
            ),
        ]
