"""Latency tables: found by name, bound to a search space, asked for whole populations.

    table = load_table("jetson-nano")                # the default variant; "device:variant" names another
    bound = table.bind(get_space("ofa-mobilenet-v3-w1.0"))
    bound.predict(population)                        # ms, (N,)

Nothing here needs torch.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from ofa_toolkit.core import resources, rng
from ofa_toolkit.core.command_line import command_line
from ofa_toolkit.core.errors import FileFormatError, LatencyTableError, MismatchError
from ofa_toolkit.latency.device import Device, Provenance, Variant, read_device, write_device
from ofa_toolkit.latency.device_names import find_device
from ofa_toolkit.latency.measuring.system import other_processor
from ofa_toolkit.latency.predictors.intervals import MIN_SCORES
from ofa_toolkit.latency.predictors.predictor import BoundPredictor, Milliseconds, NotCovered, SizeNote
from ofa_toolkit.latency.stated_error import Asked, StatedError, family_of, stated_error
from ofa_toolkit.latency.table_file import SUFFIX, TableContent, read_content, write_content
from ofa_toolkit.spaces.containment import belongs_to
from ofa_toolkit.spaces.encoding import Population
from ofa_toolkit.spaces.growth import growths
from ofa_toolkit.spaces.layer_spec import LayerSpec
from ofa_toolkit.spaces.sampling import sample_population
from ofa_toolkit.spaces.space import SearchSpace
from ofa_toolkit.spaces.space_file import typed_space

Folder = str | os.PathLike[str]

_COVERAGE_ROWS = 500
_LEAST_FALL_PERCENT = 1.0
"""Where a larger subnet is predicted to be faster by less, nothing is said."""

Interval = Literal["calibrated", "uncalibrated"]
CALIBRATED: Interval = "calibrated"
UNCALIBRATED: Interval = "uncalibrated"
"""Whether bounds on a latency are backed by held-out networks."""


@dataclass(frozen=True, kw_only=True)
class NetworkPrediction:
    """Latency of one network.

    Attributes:
        latency_ms: Time of a whole batch.
        extrapolations: In words, how the network lies outside what the table was fitted on.
        error: Known error on such networks.
        warnings: The same for people, in one line; empty inside.
    """

    latency_ms: float
    extrapolations: tuple[str, ...]
    error: StatedError
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class LatencyTable:
    """One variant of a device: the conditions and the predictors.

    Attributes:
        device: Device that it was measured on.
        variant: Under which conditions; `variant.identity` is the hash of `content`.
        content: Predictors and held-out scores.
        remarks: In words, what was assumed in choosing it; show them with every result.
    """

    device: Device
    variant: Variant
    content: TableContent
    remarks: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """`device:variant`, as `load_table` takes it."""
        return f"{self.device.name}:{self.variant.name}"

    @property
    def identity(self) -> str:
        """Hash of everything that decides a prediction."""
        return self.variant.identity

    @property
    def provenance(self) -> Provenance:
        """How the table came about; belongs beside every number taken from it."""
        return self.variant.provenance

    def bind(self, space: SearchSpace) -> BoundLatency:
        """Prepare for the populations of a space: the first predictor that covers it, exact ones first.

        Of several exact ones the one that covers most subnets serves: a table measured for one space may
        hold some units of another.

        Raises:
            LatencyTableError: No predictor covers it; says why.
        """
        rows = coverage_rows(space)
        partial: list[tuple[int, BoundPredictor]] = []
        extrapolating: list[BoundPredictor] = []
        reasons: list[str] = []
        for predictor in self.content.predictors:
            bound = predictor.bind(space)
            if isinstance(bound, NotCovered):
                reasons.append(bound.reason)
            elif bound.extrapolations:
                extrapolating.append(bound)
            else:
                num_covered = int(np.isfinite(bound.predict(rows)).sum())
                if num_covered == len(rows):
                    return BoundLatency(self, space, bound)
                partial.append((num_covered, bound))
        partial.sort(key=lambda found: -found[0])
        if partial and (partial[0][0] or not extrapolating):
            return BoundLatency(self, space, partial[0][1])
        if extrapolating:
            return BoundLatency(self, space, extrapolating[0])
        raise LatencyTableError(
            f"{self.name} does not cover the space '{space.name}': {'; '.join(reasons)}.",
            hint=f"`ofa-tk latency show {self.device.name}` tells what each variant covers.",
        )

    def predict_layers(self, layers: Sequence[LayerSpec]) -> NetworkPrediction:
        """Latency of any network given as layers.

        Raises:
            LatencyTableError: A layer is not covered.
        """
        error = stated_error(self.variant, Asked(family=family_of(layers)))
        reasons: list[str] = []
        fallback: NetworkPrediction | None = None
        for predictor in self.content.predictors:
            answer = predictor.predict_layers(layers)
            if isinstance(answer, NotCovered):
                reasons.append(answer.reason)
                continue
            side, size = layers[0].in_size, answer.size
            notes = (*answer.extrapolations, *([f"resolution {side}: {size.text}"] if size else []))
            if not notes:
                return NetworkPrediction(latency_ms=answer.latency_ms, extrapolations=(), error=error)
            expectation = error.expectation(is_far=size is not None and size.is_far)
            yours = f"has {side} pixels" if size else "is another network"
            fallback = fallback or NetworkPrediction(
                latency_ms=answer.latency_ms,
                extrapolations=notes,
                error=error,
                warnings=(f"{self.name}: {notes[0]}; yours {yours}: {expectation}",),
            )
        if fallback is None:
            raise LatencyTableError(f"{self.name} does not cover the network: {'; '.join(reasons)}.")
        return fallback


class BoundLatency:
    """A latency table prepared for one space.

    Attributes:
        table: The table behind the figures; carry `table.variant` beside them.
        space: The space whose encoding populations have.
        extrapolations: In words, how the space lies outside what was fitted; show them with every result.
    """

    def __init__(self, table: LatencyTable, space: SearchSpace, predictor: BoundPredictor) -> None:
        self.table = table
        self.space = space
        self.extrapolations = predictor.extrapolations
        self._predictor = predictor

    @property
    def identity(self) -> str:
        """Hash of the table's content."""
        return self.table.identity

    @property
    def provenance(self) -> Provenance:
        """How the table came about."""
        return self.table.provenance

    @property
    def is_throughput(self) -> bool:
        """Whether the table tells how many images a stream takes a second, and nothing of latency."""
        return self.table.variant.measures == "throughput"

    def throughput(self, population: Population) -> npt.NDArray[np.float64]:
        """Images per second of each row of `(N, genes)`, `(N,)`."""
        return 1e3 * self.table.variant.batch_size / self.predict(population)

    @functools.cached_property
    def error(self) -> StatedError:
        """The table's error on subnets of the space."""
        return stated_error(self.table.variant, Asked.of_space(self.space))

    def predict(self, population: Population) -> Milliseconds:
        """Latency of a whole batch for each row of `(N, genes)` in ms, `(N,)`.

        Where `is_throughput`, what a batch takes in a stream of them: no latency.

        Raises:
            LatencyTableError: A subnet has a layer that the table does not cover; names it.
        """
        latencies = self._predictor.predict(population)
        self._refuse_uncovered(population, latencies)
        return latencies

    def is_covered(self, population: Population) -> npt.NDArray[np.bool_]:
        """Which rows `predict` can answer, `(N,)`."""
        return np.isfinite(self._predictor.predict(population))

    def notes(self, population: Population) -> tuple[str, ...]:
        """Every extrapolation that predictions for these rows involve, the space's and the resolutions'."""
        by_reason: dict[str, list[int]] = {}
        for resolution, note in self._size_notes(population).items():
            by_reason.setdefault(note.text, []).append(resolution)
        return (
            *self.extrapolations,
            *(f"resolution {', '.join(map(str, sides))}: {reason}" for reason, sides in by_reason.items()),
        )

    def warnings(self, population: Population) -> tuple[str, ...]:
        """For people, one line each: how these rows are extrapolated, and where more is predicted faster."""
        return tuple(line for line in (self._extrapolated(population), self._falling(population)) if line)

    def _falling(self, population: Population) -> str | None:
        """The step that makes one of the rows larger and, beyond what its error explains, faster."""
        steps = [(row, growth) for row in population for growth in growths(self.space, row)]
        if not steps:
            return None
        pairs = np.stack([[row, growth.row] for row, growth in steps])
        before, after = (self._predictor.predict(pairs[:, end]) for end in (0, 1))
        falls = np.nan_to_num(100 * (1 - after / before))
        worst, error = int(falls.argmax()), self.error.percent
        if falls[worst] <= max(error or 0.0, _LEAST_FALL_PERCENT):
            return None
        reason = "and its error is unknown" if error is None else f"beyond its error of {error:g} %"
        return (
            f"{self.table.name}: with {steps[worst][1].text} a subnet is predicted {falls[worst]:.1f} % "
            f"faster, {reason}: measure both"
        )

    def _extrapolated(self, population: Population) -> str | None:
        """With the command that mends it."""
        notes = self._size_notes(population)
        if not self.extrapolations and not notes:
            return None
        listed = ", ".join(map(str, notes))
        yours = f"has {listed} pixels" if notes else f"is of {self.space.name}"
        expectation = self.error.expectation(is_far=any(note.is_far for note in notes.values()))
        command = command_line(
            *("latency", "calibrate", "--plan", 10, "--space", typed_space(self.space)),
            *("--device", self.table.device.name, "--batch-size", self.table.variant.batch_size),
        )
        said = f"{self.table.name}: fitted on {self._predictor.fitted_on}; yours {yours}: {expectation}"
        return said if self.is_throughput else f"{said}. Ten networks measured there mend it: {command}"

    def _size_notes(self, population: Population) -> dict[int, SizeNote]:
        """By input size of the rows in pixels; those inside what was fitted left out."""
        sizes = [self.space.resolutions[index] for index in sorted(set(population[:, 0].tolist()))]
        return {size: note for size in sizes if (note := self._predictor.size_note(size))}

    @property
    def is_calibrated(self) -> bool:
        """Whether `upper_bound` is backed by held-out subnets of this space."""
        content = self.table.content
        return content.bound is not None and self._bound_covers(content)

    @property
    def interval(self) -> Interval:
        """Whether `upper_bound` is backed by held-out subnets, in a word."""
        return CALIBRATED if self.is_calibrated else UNCALIBRATED

    def _bound_covers(self, content: TableContent) -> bool:
        if self.extrapolations or content.bound_space is None:
            return False
        # A space with fewer choices holds no other subnets than those the bound is for.
        return belongs_to(self.space, content.bound_space)

    def upper_bound(self, population: Population, confidence: float) -> Milliseconds:
        """What each subnet's latency exceeds in at most `1 - confidence` of cases, in ms, `(N,)`.

        Raises:
            LatencyTableError: The table is uncalibrated for this space, or the confidence out of reach.
        """
        bound = self.table.content.bound
        if bound is None or not self.is_calibrated:
            why = (
                f"fewer than {MIN_SCORES} comparable held-out networks back it"
                if bound is None
                else f"its held-out networks are of another space than '{self.space.name}'"
            )
            raise LatencyTableError(
                f"{self.table.name} is uncalibrated: {why}.",
                hint="Leave out --confidence, or keep a margin of your own.",
            )
        return self.predict(population) * bound.factor(confidence)

    def _refuse_uncovered(self, population: Population, latencies: Milliseconds) -> None:
        missing = np.flatnonzero(~np.isfinite(latencies))
        if len(missing):
            row = population[missing[0]]
            resolution = self.space.resolutions[int(row[0])]
            covered = self._covered_resolutions()
            sizes = ",".join(map(str, covered))
            raise LatencyTableError(
                f"{self.table.name} does not cover {len(missing)} of {len(population)} subnets of "
                f"'{self.space.name}'; the first, at resolution {resolution}: "
                f"{self._predictor.uncovered(row)}.",
                hint=f"A search keeps to what it covers with --fix resolution={sizes}"
                if covered
                else f"Measure it: `ofa-tk latency measure --space {typed_space(self.space)} --device NAME`, "
                "or choose another variant.",
            )

    def _covered_resolutions(self) -> list[int]:
        """Input sizes of which every subnet is covered, as far as random ones tell."""
        rows = coverage_rows(self.space)
        covered = []
        for index, size in enumerate(self.space.resolutions):
            rows[:, 0] = index
            if self.is_covered(rows).all():
                covered.append(size)
        return covered


def coverage_rows(space: SearchSpace) -> Population:
    """Random subnets that tell, as far as chance goes, whether all of a space is covered, `(N, genes)`."""
    return sample_population(space, _COVERAGE_ROWS, rng.generator(0, "coverage"))


def load_table(name: str, tables: Iterable[Folder] = (), *, space: str | None = None) -> LatencyTable:
    """Find and read a table.

    Args:
        name: `device` for its default variant, or `device:variant`; the device by any name of it.
        tables: Folders of devices that come before the user's own and the bundled ones.
        space: Search space in use, for the commands that an unknown device's error names.

    Raises:
        UnknownNameError: No such device or variant; names the nearest, or says how to make a table.
        FileFormatError: The device's files are damaged, or do not belong together.
    """
    device_name, _, variant_name = name.partition(":")
    found = find_device(device_name, tables, space=space)
    table = read_table(found.path, variant_name or None, below=found.below)
    # Published times of boards are no stand-in for this machine; those that this toolkit took on one may be.
    remarks = (found.remark, other_processor(table.device) if table.provenance == "measured" else None)
    return dataclasses.replace(table, remarks=tuple(remark for remark in remarks if remark))


def read_table(
    folder: Folder, variant_name: str | None = None, *, below: Sequence[Path] = ()
) -> LatencyTable:
    """Read one variant from a device folder, or those `below` it; the default one for None."""
    device = read_device(folder, below)
    variant = device.variant(variant_name)
    paths = [Path(place) / f"{variant.name}{SUFFIX}" for place in (folder, *below)]
    path = next((path for path in paths if path.is_file()), paths[0])
    content = read_content(path)
    if content.identity != variant.identity:
        raise MismatchError(
            f"'{path}' has the identity {content.identity}; its device.toml expects {variant.identity}.",
            hint="The file was changed or belongs to another device; install or make it again.",
        )
    return LatencyTable(device=device, variant=variant, content=content)


def list_devices(tables: Iterable[Folder] = ()) -> list[Device]:
    """All devices, sorted by name; `tables` as in `load_table`."""
    entries = resources.entries("latency_tables", tables)
    return [read_device(entry.path, entry.below) for entry in entries.values()]


def write_table(folder: Folder, table: LatencyTable) -> None:
    """Write a table into a device folder: the table file first, then `device.toml` that names it.

    `table.device` may hold further variants; their files must be in the folder already.

    Raises:
        FileFormatError: The identity in the variant is not that of the content.
    """
    if table.content.identity != table.variant.identity:
        raise FileFormatError(f"{table.name}: the variant's identity is not that of the content.")
    write_content(Path(folder) / f"{table.variant.name}{SUFFIX}", table.content)
    write_device(folder, table.device)
