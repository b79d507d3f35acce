"""From what a user asks for to a search problem: space, predictor, latency tables, limits.

Whatever does not belong together is refused by name here, before anything is searched.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ofa_toolkit.complexity import PopulationComplexity
from ofa_toolkit.core import quantities
from ofa_toolkit.core.errors import ConfigError, unknown_name
from ofa_toolkit.core.quantities import QuantityKind
from ofa_toolkit.evaluation.predictor.card import HELD_OUT_TRAINING
from ofa_toolkit.evaluation.predictor.predictor import AccuracyPredictor, BoundAccuracy
from ofa_toolkit.latency.table import BoundLatency, load_table
from ofa_toolkit.pipelines.search.choices import listed, restricted_space
from ofa_toolkit.pipelines.search.figures import ACCURACY_DECIMALS, LATENCY_DECIMALS, THROUGHPUT_DECIMALS
from ofa_toolkit.pipelines.search.request import DeviceRequest, SearchRequest, in_base_unit
from ofa_toolkit.pipelines.search.supernet import missing_predictor, resolve_space
from ofa_toolkit.search.problem import Constraint, Figure, Objective, SearchProblem
from ofa_toolkit.spaces.encoding import Encoding, Population
from ofa_toolkit.spaces.space_file import typed_space
from ofa_toolkit.zoo.supernet import load_accuracy_predictor

MAXIMIZED = ("accuracy", "macs")
"""What a search can make large. More MACs stand for a more accurate network by rule of thumb only."""

BYTES_PER_VALUE = {"fp32": 4, "tf32": 4, "fp16": 2, "bf16": 2, "int8": 1}


@dataclass(frozen=True, kw_only=True)
class Limit:
    """A constraint and how it reads.

    Attributes:
        constraint: For the search.
        kind: Kind of the quantity, for printing.
        subject: Such as `latency`.
        where: Such as ` on jetson-nano`, or nothing.
        option: The command-line option that sets it, such as `--latency`.
        factor: From the figure's unit to the option's: throughput is stated inversely.
    """

    constraint: Constraint
    kind: QuantityKind
    subject: str
    where: str
    option: str

    def shown(self, value: float) -> str:
        """A value of the limited figure in the unit the user thinks in."""
        return self.kind.format(value)


class SearchContext:
    """The parts of one search, bound to one space.

    Attributes:
        request: The search that was asked for.
        supernet: The supernet; None where a space alone is searched.
        supernet_name: Name of the supernet, or of the space without one.
        full_space: The supernet's space, as trained.
        space: The part of it that is searched.
        accuracy: The predictor, bound; None where there is none and the request needs none.
        latencies: Tables by `device:variant`, bound, in the order asked.
        limits: The constraints.
        warnings: Reservations about the data behind the answer.
    """

    def __init__(self, request: SearchRequest) -> None:
        self.request = request
        self.warnings: list[str] = []
        self.supernet, self.full_space = resolve_space(request)
        self.supernet_name = self.full_space.name if self.supernet is None else self.supernet.name
        predictor = self._predictor()
        covered = predictor.card.resolutions if predictor else self.full_space.resolutions
        self.space = restricted_space(request, self.full_space, covered)
        whole = None if self.supernet is None else self.supernet.space
        self.accuracy: BoundAccuracy | None = predictor.bind(self.space, whole=whole) if predictor else None
        self._warn_about_accuracy()
        self.latencies: dict[str, BoundLatency] = {}
        self.devices = request.devices
        for device in self.devices:
            table = load_table(device.name, request.table_folders, space=typed_space(self.full_space))
            self.warnings += table.remarks
            if table.name in self.latencies:
                raise ConfigError(f"Device '{table.name}' is named twice.")
            self.latencies[table.name] = table.bind(self.space)
        self._complexity = PopulationComplexity(self.space)
        self._figures: dict[str, Figure] = {figure.name: figure for figure in self._all_figures()}
        self.limits: tuple[Limit, ...] = tuple(self._limits())

    def problem(self, objectives: Sequence[Objective] | None = None) -> SearchProblem:
        """The search problem; by default with the single objective that was asked for."""
        constraints = [limit.constraint for limit in self.limits]
        return SearchProblem(self.space, objectives or [self.objective], constraints)

    def _predictor(self) -> AccuracyPredictor | None:
        """The accuracy predictor asked for or that of the supernet; None where there is none."""
        if self.request.predictor is None:
            return None if self.supernet is None else self.supernet.predictor
        predictor = load_accuracy_predictor(self.request.predictor)
        if self.supernet is not None:
            self.supernet.check_predictor(predictor)
        return predictor

    @property
    def objective(self) -> Objective:
        """What is made large, or small.

        Raises:
            ConfigError: Both are asked for, or the figure cannot be made large.
        """
        request = self.request
        if request.minimize is None:
            if request.maximize not in MAXIMIZED:
                raise unknown_name("figure to maximize", request.maximize, MAXIMIZED)
        elif request.maximize != "accuracy":
            raise ConfigError(
                "A search makes one figure small or one large, not both.",
                hint="Bound the other one, such as --macs 100M, and name only the figure that counts.",
            )
        return Objective(figure=self.figure(request.objective), is_maximized=request.minimize is None)

    def figure(self, name: str) -> Figure:
        """A figure by the name a user gives it: accuracy, macs, params, memory, latency[:device]."""
        if name == "latency" or name.startswith("latency:"):
            table = self.table_name(name.partition(":")[2])
            _refuse_latency(self.latencies[table])
            return self._figures[f"latency:{table}"]
        if name == "accuracy" and self.accuracy is None:
            raise missing_predictor(self.supernet_name, self.supernet)
        if name not in self._figures:
            raise unknown_name("figure", name, {"accuracy", "latency", *self._figures})
        return self._figures[name]

    def table_name(self, device: str) -> str:
        """The `device:variant` among the request's that a user means; the first for the empty text."""
        if not self.latencies:
            raise ConfigError("Latency needs a device.", hint="Name one: --device jetson-nano")
        for name in self.latencies:
            if device in ("", name) or name.startswith(f"{device}:"):
                return name
        raise unknown_name("device of this search", device, self.latencies)

    @property
    def bytes_per_value(self) -> int:
        """Bytes of one value of an activation, in the first device's precision."""
        for bound in self.latencies.values():
            return BYTES_PER_VALUE[bound.table.variant.precision]
        return BYTES_PER_VALUE["fp32"]

    def memory_bytes(self, population: Population) -> Any:
        """Peak bytes of live activations of one image, `(N,)`."""
        return self._complexity.peak_activation_elements(population) * self.bytes_per_value

    def _all_figures(self) -> Iterator[Figure]:
        if self.accuracy is not None:
            yield Figure(name="accuracy", evaluate=self.accuracy.predict, decimals=4)
        yield Figure(name="macs", evaluate=self._complexity.macs, decimals=0)
        yield Figure(name="params", evaluate=self._complexity.params, decimals=0)
        yield Figure(name="memory", evaluate=self.memory_bytes, decimals=0)
        for name, bound in self.latencies.items():
            yield Figure(name=f"latency:{name}", evaluate=bound.predict, decimals=LATENCY_DECIMALS)

    def warnings_of(self, population: Population) -> tuple[str, ...]:
        """What to know of the search, and of the predicted latencies of its answers, encoded."""
        told = (line for bound in self.latencies.values() for line in bound.warnings(population))
        return (*self.warnings, *told)

    def _limits(self) -> list[Limit]:
        limits = []
        for device, (name, bound) in zip(self.devices, self.latencies.items(), strict=True):
            limits += self._device_limits(device, name, bound)
        for given, name, kind, subject in (
            (self.request.macs, "macs", quantities.MACS, "MACs"),
            (self.request.params, "params", quantities.PARAMS, "parameters"),
            (self.request.memory, "memory", quantities.MEMORY, "peak activation memory"),
            (self.request.accuracy, "accuracy", quantities.PERCENT, "accuracy"),
        ):
            value = in_base_unit(kind, given)
            if value is not None:
                is_minimum = name == "accuracy"
                figure = self.figure(name)
                if is_minimum and self.accuracy is not None:  # as it is printed once the subnet is chosen
                    figure = dataclasses.replace(
                        figure, evaluate=self.accuracy.predict_chosen, decimals=ACCURACY_DECIMALS
                    )
                constraint = Constraint(figure=figure, limit=value, is_minimum=is_minimum)
                limits.append(
                    Limit(constraint=constraint, kind=kind, subject=subject, where="", option=f"--{name}")
                )
        return limits

    def _device_limits(self, device: DeviceRequest, name: str, bound: BoundLatency) -> list[Limit]:
        figure = self._figures[f"latency:{name}"]
        where = f" on {bound.table.device.name}"
        if self.request.confidence is not None:
            confidence = self.request.confidence
            # Asked once now, so that an uncalibrated table is refused before the search starts.
            bound.upper_bound(np.zeros((0, Encoding(self.space).num_genes), dtype=np.uint8), confidence)
            figure = Figure(
                name=f"latency bound:{name}",
                evaluate=lambda population: bound.upper_bound(population, confidence),
                decimals=LATENCY_DECIMALS,
            )
            where += f" with {100 * confidence:g} % confidence"
        limits = []
        if device.latency_ms is not None:
            _refuse_latency(bound)
            constraint = Constraint(figure=figure, limit=device.latency_ms)
            limits.append(
                Limit(
                    constraint=constraint,
                    kind=quantities.LATENCY,
                    subject="latency",
                    where=where,
                    option="--latency",
                )
            )
        if device.throughput is not None:
            batch = bound.table.variant.batch_size
            rate = Figure(
                name=f"throughput:{name}",
                evaluate=lambda population: 1e3 * batch / figure.evaluate(population),
                decimals=THROUGHPUT_DECIMALS,
            )
            constraint = Constraint(figure=rate, limit=device.throughput, is_minimum=True)
            limits.append(
                Limit(
                    constraint=constraint,
                    kind=quantities.THROUGHPUT,
                    subject="throughput",
                    where=where,
                    option="--throughput",
                )
            )
        return limits

    def _warn_about_accuracy(self) -> None:
        if self.accuracy is None:
            self.warnings.append("No accuracy is predicted: the supernet has no accuracy predictor.")
            return
        dataset = self.accuracy.predictor.card.dataset
        tested = None if self.supernet is None else self.supernet.test_top1_of_largest
        if HELD_OUT_TRAINING in dataset and tested is not None:
            self.warnings.append(
                f"Accuracy is predicted for {dataset}; on test images the largest subnet has "
                f"{tested:.2f} %, measured."
            )
        uncovered = self.accuracy.uncovered_resolutions
        if uncovered:
            covered = listed(self.accuracy.predictor.card.resolutions)
            self.warnings.append(
                f"The accuracy predictor covers resolutions {covered}; at {listed(uncovered)} it "
                "extrapolates linearly, which no measurement supports."
            )


def _refuse_latency(bound: BoundLatency) -> None:
    if bound.is_throughput:
        raise ConfigError(
            f"{bound.table.name} tells throughput alone: its chip works on several images at once.",
            hint="Ask for --throughput 300/s; a front may be --against macs.",
        )
