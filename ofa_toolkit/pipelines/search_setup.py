"""From what a user asks for to a search problem: space, predictor, latency tables, limits.

Whatever does not belong together is refused by name here, before anything is searched.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ofa_toolkit.complexity import PopulationComplexity
from ofa_toolkit.core import quantities, resources
from ofa_toolkit.core.errors import ConfigError, FileFormatError, MismatchError, unknown_name
from ofa_toolkit.core.quantities import QuantityKind
from ofa_toolkit.evaluation.predictor import FILE_NAME, BoundAccuracy, load_accuracy_predictor
from ofa_toolkit.latency.table import BoundLatency, load_table
from ofa_toolkit.search.problem import Constraint, Figure, Objective, SearchProblem
from ofa_toolkit.spaces import SPACES, SearchSpace, get_space, restrict
from ofa_toolkit.spaces.encoding import Population
from ofa_toolkit.spaces.supernet_description import read_supernet_config, space_of
from ofa_toolkit.spaces.trained_space import trained_space

DEFAULT_SUPERNET = "ofa-mobilenet-v3-w1.0"
BYTES_PER_VALUE = {"fp32": 4, "tf32": 4, "fp16": 2, "bf16": 2, "int8": 1}
CHOICES = {
    "resolution": "resolutions",
    "depth": "depths",
    "kernel_size": "kernel_sizes",
    "expand_ratio": "expand_ratios",
}
"""What `fix`, `maximum` and `minimum` may name, and the parameter of `restrict` it stands for."""


@dataclass(frozen=True, kw_only=True)
class DeviceRequest:
    """A device and what is asked of it.

    Attributes:
        name: `device` or `device:variant`.
        latency_ms: Longest time of a batch, or None.
        throughput: Least images per second, or None.
    """

    name: str
    latency_ms: float | None = None
    throughput: float | None = None


@dataclass(frozen=True, kw_only=True)
class SearchRequest:
    """Everything that decides a search but its effort.

    Attributes:
        supernet: Zoo name or folder whose space and accuracy predictor are used; None for the space alone.
        space: Name of the search space; None takes the supernet's.
        predictor: File of another accuracy predictor.
        devices: Devices, with or without limits; the first is the one `latency` refers to.
        macs: Most multiply-accumulates of one image.
        params: Most parameters.
        memory_bytes: Most bytes of live activations of one image, in the first device's precision or fp32.
        accuracy: Least predicted top-1 in percent.
        minimize: What to make small instead of making the accuracy large: latency, macs, params or memory.
        fix, maximum, minimum: Limits on the choices, such as `{"resolution": (160,)}`, `{"kernel_size": 5}`.
        confidence: Require latencies below the table's bound at this level instead of the prediction.
        tables: Further folders of latency tables.
    """

    supernet: str | None = None
    space: str | None = None
    predictor: Path | None = None
    devices: tuple[DeviceRequest, ...] = ()
    macs: float | None = None
    params: float | None = None
    memory_bytes: float | None = None
    accuracy: float | None = None
    minimize: str | None = None
    fix: Mapping[str, Sequence[float]] = field(default_factory=dict)
    maximum: Mapping[str, float] = field(default_factory=dict)
    minimum: Mapping[str, float] = field(default_factory=dict)
    confidence: float | None = None
    tables: tuple[Path, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Limit:
    """A constraint and how it reads.

    Attributes:
        constraint: For the search.
        kind: Of the quantity, for printing.
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
        request: What was asked.
        full_space: The supernet's space, as trained.
        space: The part of it that is searched.
        accuracy: The predictor, bound.
        latencies: Tables by `device:variant`, bound, in the order asked.
        limits: The constraints.
        warnings: What the user should know about the data behind the answer.
    """

    def __init__(self, request: SearchRequest) -> None:
        self.request = request
        self.warnings: list[str] = []
        folder, self.full_space, self.supernet_name = _resolve(request)
        predictor = load_accuracy_predictor(_predictor_path(request, folder, self.supernet_name))
        _check_supernet(predictor.card.supernet_identity, folder)
        self.space = self._restricted(predictor.card.resolutions)
        self.accuracy: BoundAccuracy = predictor.bind(self.space)
        self._warn_about_resolutions()
        self.latencies: dict[str, BoundLatency] = {}
        for device in request.devices:
            table = load_table(device.name, request.tables)
            if table.name in self.latencies:
                raise ConfigError(f"Device '{table.name}' is named twice.")
            self.latencies[table.name] = table.bind(self.space)
        self._complexity = PopulationComplexity(self.space)
        self.limits: tuple[Limit, ...] = tuple(self._limits())

    def problem(self, objectives: Sequence[Objective] | None = None) -> SearchProblem:
        """The search problem; by default with the single objective that was asked for."""
        constraints = [limit.constraint for limit in self.limits]
        return SearchProblem(self.space, objectives or [self.objective], constraints)

    @property
    def objective(self) -> Objective:
        """What is made large, or small."""
        if self.request.minimize is None:
            return Objective(figure=self.figure("accuracy"), is_maximized=True)
        return Objective(figure=self.figure(self.request.minimize))

    def figure(self, name: str) -> Figure:
        """A figure by the name a user gives it: accuracy, macs, params, memory, latency[:device]."""
        if name == "latency" or name.startswith("latency:"):
            return self._latency_figures[self.table_name(name.partition(":")[2])]
        figures = {
            "accuracy": self._accuracy_figure,
            "macs": self._macs_figure,
            "params": self._params_figure,
            "memory": self._memory_figure,
        }
        if name not in figures:
            raise unknown_name(
                "figure", name, [*figures, "latency", *(f"latency:{n}" for n in self.latencies)]
            )
        return figures[name]

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
        """Of an activation, in the first device's precision."""
        for bound in self.latencies.values():
            return BYTES_PER_VALUE[bound.table.variant.precision]
        return BYTES_PER_VALUE["fp32"]

    def memory_bytes(self, population: Population) -> Any:
        """Peak bytes of live activations of one image, `(N,)`."""
        return self._complexity.peak_activation_elements(population) * self.bytes_per_value

    @functools.cached_property
    def _accuracy_figure(self) -> Figure:
        return Figure(name="accuracy", evaluate=self.accuracy.predict, decimals=4)

    @functools.cached_property
    def _macs_figure(self) -> Figure:
        return Figure(name="macs", evaluate=self._complexity.macs, decimals=0)

    @functools.cached_property
    def _params_figure(self) -> Figure:
        return Figure(name="params", evaluate=self._complexity.params, decimals=0)

    @functools.cached_property
    def _memory_figure(self) -> Figure:
        return Figure(name="memory", evaluate=self.memory_bytes, decimals=0)

    @functools.cached_property
    def _latency_figures(self) -> dict[str, Figure]:
        return {
            name: Figure(name=f"latency:{name}", evaluate=bound.predict, decimals=5)
            for name, bound in self.latencies.items()
        }

    def _limits(self) -> list[Limit]:
        limits = []
        for device, (name, bound) in zip(self.request.devices, self.latencies.items(), strict=True):
            limits += self._device_limits(device, name, bound)
        for value, name, kind, subject in (
            (self.request.macs, "macs", quantities.MACS, "MACs"),
            (self.request.params, "params", quantities.PARAMS, "parameters"),
            (self.request.memory_bytes, "memory", quantities.MEMORY, "peak activation memory"),
        ):
            if value is not None:
                constraint = Constraint(figure=self.figure(name), limit=value)
                limits.append(
                    Limit(constraint=constraint, kind=kind, subject=subject, where="", option=f"--{name}")
                )
        if self.request.accuracy is not None:
            constraint = Constraint(
                figure=self.figure("accuracy"), limit=self.request.accuracy, is_minimum=True
            )
            limits.append(
                Limit(constraint=constraint, kind=PERCENT, subject="accuracy", where="", option="--accuracy")
            )
        return limits

    def _device_limits(self, device: DeviceRequest, name: str, bound: BoundLatency) -> list[Limit]:
        figure = self._latency_figures[name]
        where = f" on {device.name}"
        if self.request.confidence is not None:
            confidence = self.request.confidence
            # Asked once now, so that an uncalibrated table is refused before the search starts.
            bound.upper_bound(np.zeros((0, self._complexity_genes), dtype=np.uint8), confidence)
            figure = Figure(
                name=f"latency bound:{name}",
                evaluate=lambda population: bound.upper_bound(population, confidence),
                decimals=5,
            )
            where += f" with {100 * confidence:g} % confidence"
        limits = []
        if device.latency_ms is not None:
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
                decimals=4,
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

    @property
    def _complexity_genes(self) -> int:
        return 1 + sum(stage.max_depth + int(stage.has_elastic_width) for stage in self.space.stages)

    def _restricted(self, covered: tuple[int, ...]) -> SearchSpace:
        """The trained space within the user's limits on choices, at covered resolutions unless asked."""
        request, space = self.request, self.full_space
        given = (request.fix, request.maximum, request.minimum)
        for name in {name for limits in given for name in limits}:
            if name not in CHOICES:
                raise unknown_name("choice", name, CHOICES)
        kept: dict[str, tuple[Any, ...]] = {}
        for name, parameter in CHOICES.items():
            offered = _offered(space, name)
            chosen = _allowed(request, space, name, offered)
            if name == "resolution" and not any(name in limits for limits in given):
                chosen = tuple(value for value in chosen if value in covered)
            if not chosen:
                raise ConfigError(f"No {name} is left of what {space.name} offers: {_listed(offered)}.")
            if chosen != offered:
                kept[parameter] = chosen
        if "expand_ratios" in kept and any(stage.compound for stage in space.stages):
            raise ConfigError(
                f"'{space.name}' ties expand ratios to depths.", hint="Limit depth instead of expand_ratio."
            )
        return restrict(space, **kept) if kept else space

    def _warn_about_resolutions(self) -> None:
        uncovered = self.accuracy.uncovered_resolutions
        if uncovered:
            covered = _listed(self.accuracy.predictor.card.resolutions)
            self.warnings.append(
                f"The accuracy predictor covers resolutions {covered}; at {_listed(uncovered)} it goes on in "
                "a straight line and nothing backs it."
            )


PERCENT = QuantityKind(
    name="an accuracy",
    base_unit="%",
    units={"%": 1.0},
    example="75%",
    print_units=("%",),
)


def _allowed(
    request: SearchRequest, space: SearchSpace, name: str, offered: tuple[float, ...]
) -> tuple[float, ...]:
    """The offered values within what the user fixed and bounded."""
    wanted = tuple(request.fix.get(name, offered))
    unknown = [value for value in wanted if value not in offered]
    if unknown:
        raise ConfigError(f"{name} {unknown[0]:g} is not offered; {space.name} offers {_listed(offered)}.")
    low, high = request.minimum.get(name, -np.inf), request.maximum.get(name, np.inf)
    return tuple(value for value in offered if value in wanted and low <= value <= high)


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _offered(space: SearchSpace, name: str) -> tuple[float, ...]:
    if name == "resolution":
        return space.resolutions
    values: set[float] = set()
    for stage in space.stages:
        values.update(getattr(stage, CHOICES[name]))
    return tuple(sorted(values))


def _resolve(request: SearchRequest) -> tuple[Path | None, SearchSpace, str]:
    """Folder of the supernet (None without one), the space of its subnets, and its name."""
    name = request.supernet or request.space or DEFAULT_SUPERNET
    entry = None if os.sep in name or name.startswith(".") else resources.entries("zoo").get(name)
    folder: Path | None = None
    if entry is not None:
        folder = entry.path
        space = _space_of_entry(folder)
    elif request.supernet is None:
        space = get_space(name)
    else:
        folder = _existing_folder(name)
        space = _space_of_folder(folder)
    if request.space is not None and request.supernet is not None:
        wanted = get_space(request.space)
        if wanted.name != space.name:
            raise MismatchError(
                f"The supernet '{request.supernet}' is of space '{space.name}', not of '{wanted.name}'.",
                hint="Leave out --space: the supernet decides it.",
            )
    return folder, space, name


def _space_of_entry(folder: Path) -> SearchSpace:
    if (folder / "config.json").is_file():
        return _space_of_folder(folder)
    from ofa_toolkit.zoo.entries import load_entry

    card = load_entry(folder).card
    if card.space is None:
        raise ConfigError(f"The space of '{card.name}' is not one of ofa-toolkit's; it cannot be searched.")
    return get_space(card.space).with_num_classes(card.data.num_classes)


def _existing_folder(name: str) -> Path:
    if name.startswith("hf-hub:"):
        from ofa_toolkit.zoo import resolve_supernet

        return resolve_supernet(name)
    path = Path(name).expanduser()
    for folder in (path, path / "supernet"):
        if (folder / "config.json").is_file():
            return folder
    if path.is_dir() or os.sep in name:
        raise FileFormatError(
            f"'{name}' is no supernet folder: it has no config.json.",
            hint="Name a folder written by `ofa-tk train`, or a zoo name from `ofa-tk zoo list`.",
        )
    raise unknown_name("supernet", name, [*resources.entries("zoo"), *SPACES])


def _space_of_folder(folder: Path) -> SearchSpace:
    description = read_supernet_config(folder)
    return trained_space(space_of(description, folder), description)


def _predictor_path(request: SearchRequest, folder: Path | None, name: str) -> Path:
    if request.predictor is not None:
        return request.predictor
    if folder is None:
        raise ConfigError(
            f"There is no accuracy predictor for the space '{name}' without a supernet.",
            hint="Name a supernet with --supernet, or a predictor file with --predictor.",
        )
    if not (folder / FILE_NAME).is_file():
        raise FileFormatError(
            f"The supernet '{name}' has no accuracy predictor.",
            hint=f"Build one: ofa-tk predictor build --supernet {name} --data DATA",
        )
    return folder / FILE_NAME


def _check_supernet(identity: str, folder: Path | None) -> None:
    """Refuse a predictor that was made for other weights than the folder's."""
    if folder is None or identity == "unknown":
        return
    weights = folder / "model.safetensors"
    if not weights.is_file():
        return
    from ofa_toolkit.evaluation.supernet_identity import weights_identity

    found = weights_identity(weights)
    if found != identity:
        raise MismatchError(
            f"The accuracy predictor was built for other weights ({identity[:12]}) than those in '{folder}' "
            f"({found[:12]}).",
            hint=f"Build it again: ofa-tk predictor build --supernet {folder} --data DATA",
        )
