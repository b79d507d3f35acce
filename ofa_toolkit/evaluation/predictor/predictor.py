"""Accuracy predictors: top-1 of encoded subnets, with an interval, from NumPy alone.

A predictor is a small ensemble of perceptrons on one-hot genes. Their first layers are look-up tables, so
a population costs a few gathers and small matrix products. The spread of the ensemble and held-out errors
give an interval, which widens where the predictor was not fitted.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ofa_toolkit.complexity import PopulationComplexity
from ofa_toolkit.core.errors import MismatchError
from ofa_toolkit.evaluation.predictor.card import PredictorCard
from ofa_toolkit.evaluation.predictor.choices import Choices
from ofa_toolkit.evaluation.predictor.interval import IntervalModel
from ofa_toolkit.evaluation.predictor.trend import trend_percent
from ofa_toolkit.evaluation.sampling import sampling_interval
from ofa_toolkit.spaces.containment import belongs_to
from ofa_toolkit.spaces.encoding import Population
from ofa_toolkit.spaces.fused_tables import FusedTables, Term, chunks
from ofa_toolkit.spaces.space import SearchSpace

FILE_NAME = "accuracy_predictor.safetensors"

Array = npt.NDArray[np.float32]
Percent = npt.NDArray[np.float64]
Layer = tuple[Array, Array]
"""Weight `(inputs, outputs)` and bias `(outputs,)`."""


@dataclass(frozen=True, kw_only=True)
class Member:
    """One perceptron of the ensemble; ReLU after every layer but the last.

    That gives top-1 in percent, or how far it deviates from the card's `trend`, in points.

    Attributes:
        first: First layer: what each choice adds, `(choices, hidden)`.
        linear: Amount that each choice adds to the output directly, `(choices,)`.
        bias: Bias of the first layer `(hidden,)`.
        layers: The layers after it.
    """

    first: Array
    linear: Array
    bias: Array
    layers: tuple[Layer, ...]


@dataclass(frozen=True, kw_only=True)
class AccuracyPredictor:
    """Predicts the accuracy of the subnets of one supernet.

    Attributes:
        card: Space and supernet of the predictor, its provenance and its errors.
        choices: Choices that the rows of the first layers stand for.
        members: The ensemble.
        surprisal: Minus the logarithm of each choice's share among the fitted subnets, `(choices,)`.
        resolution_effect: Added to every member at resolutions where nothing was measured: what those change,
            taken from another predictor; None where all resolutions were measured alike.
    """

    card: PredictorCard
    choices: Choices
    members: tuple[Member, ...]
    surprisal: Array
    resolution_effect: Member | None = None

    def bind(self, space: SearchSpace, *, whole: SearchSpace | None = None) -> BoundAccuracy:
        """Prepare for the populations of a space: the predictor's own, or one with fewer choices.

        Resolutions that the predictor does not cover are filled in from the nearest two it covers, and
        count as extrapolation.

        Args:
            space: The space of the populations.
            whole: The supernet's space that `space` is a part of, where it is not a registered one.

        Raises:
            MismatchError: The space is another one.
        """
        return BoundAccuracy(self, space, whole)


class BoundAccuracy:
    """A predictor prepared for one space.

    Attributes:
        predictor: The predictor behind the figures.
        space: The space whose encoding populations have.
        uncovered_resolutions: Resolutions of the space beyond those the predictor covers.
    """

    def __init__(
        self, predictor: AccuracyPredictor, space: SearchSpace, whole: SearchSpace | None = None
    ) -> None:
        card, bases = predictor.card, () if whole is None else (whole,)
        if not belongs_to(space, card.space_identity, card.resolutions, bases=bases):
            raise MismatchError(
                f"The accuracy predictor is for subnets of '{card.space}' ({card.space_identity}), "
                f"not of '{space.name}' ({space.identity})."
            )
        self.predictor = predictor
        self.space = space
        self.uncovered_resolutions = tuple(r for r in space.resolutions if r not in card.resolutions)
        self._selectors = predictor.choices.selectors(space, f"The accuracy predictor of '{card.supernet}'")
        effect = predictor.resolution_effect
        self._perceptrons = predictor.members if effect is None else (*predictor.members, effect)
        # First layers of all perceptrons side by side, then what choices add to each output.
        first = [perceptron.first for perceptron in self._perceptrons]
        linear = np.stack([perceptron.linear for perceptron in self._perceptrons], axis=1)
        last = np.concatenate([perceptron.layers[-1][1] for perceptron in self._perceptrons])
        bias = np.concatenate([*(perceptron.bias for perceptron in self._perceptrons), last])
        self._first = self._fuse(np.concatenate([*first, linear], axis=1), bias)
        # As many times as there are rows: adding a few numbers to each row takes four times as long.
        self._biases = [
            [np.tile(bias, (self._first.chunk_rows, 1)) for _, bias in perceptron.layers[:-1]]
            for perceptron in self._perceptrons
        ]
        self._interval = IntervalModel(card.interval)
        self._is_measured = np.array([r in card.measured_resolutions for r in space.resolutions])

    def _fuse(self, rows: Array, bias: Array | None = None) -> FusedTables:
        cardinalities = [len(selector) for selector in self._selectors]
        tables = [selector @ rows for selector in self._selectors]
        if bias is not None:
            tables[-1] = tables[-1] + bias
        terms = [Term((column,), table) for column, table in enumerate(tables)]
        return FusedTables(cardinalities, terms, dtype=np.float32)

    @functools.cached_property
    def _complexity(self) -> PopulationComplexity:
        return PopulationComplexity(self.space)

    @functools.cached_property
    def _surprisal(self) -> FusedTables:
        return self._fuse(self.predictor.surprisal[:, None])

    def predict(self, population: Population) -> Percent:
        """Top-1 accuracy in percent of each row of `(N, genes)`, `(N,)`."""
        mean: Percent = self._members(population).mean(axis=0).astype(np.float64)
        # Few or noisy measurements can lead the fit beyond what a share can be.
        return mean.clip(0, 100)

    @property
    def is_calibrated_for_search(self) -> bool:
        """Whether errors on subnets chosen by a search are known."""
        return self.predictor.card.interval.chosen is not None

    def predict_chosen(self, population: Population) -> Percent:
        """Expected top-1 in percent where a search chose the subnets by these predictions, `(N,)`.

        The mean error of such choices is taken off, and what measured subnets reached is not exceeded;
        `predict` where nothing is known of them.
        """
        facts = self.predictor.card.interval.chosen
        if facts is None:
            return self.predict(population)
        ceiling = 100.0 if facts.ceiling_percent is None else facts.ceiling_percent
        return (self.predict(population) - facts.offset_points).clip(0, ceiling)

    def spread(self, population: Population) -> Percent:
        """Standard deviation of the members' predictions in points, `(N,)`."""
        spread: Percent = self._members(population).std(axis=0).astype(np.float64)
        return spread

    def interval(
        self, population: Population, confidence: float = 0.9, *, is_chosen: bool = False
    ) -> tuple[Percent, Percent]:
        """Lower and upper end, in percent, of what held-out subnets' accuracies lie between so often.

        Where `is_extrapolation` says so the ends come from errors on subnets unlike the fitted ones. With
        `is_chosen` they are for subnets that a search chose, around `predict_chosen`, where that is known.

        Raises:
            ConfigError: The confidence is out of the reach of the held-out errors.
        """
        members = self._members(population).astype(np.float64)
        half = self._interval.half_width(
            members.std(axis=0),
            self._is_measured[population[:, 0]],
            self.is_extrapolation(population),
            confidence,
            is_chosen=is_chosen,
        )
        middle = self.predict_chosen(population) if is_chosen else members.mean(axis=0)
        below = above = np.zeros_like(middle)
        if (num_images := self.predictor.card.interval.num_images) is not None:
            # All subnets were measured on the same few images, so errors on held-out subnets do not show it.
            ends = [sampling_interval(percent, num_images, confidence) for percent in middle.clip(0, 100)]
            below, above = np.abs(np.array(ends) - middle[:, None]).T
        return (middle - np.hypot(half, below)).clip(0, 100), (middle + np.hypot(half, above)).clip(0, 100)

    def is_extrapolation(self, population: Population) -> npt.NDArray[np.bool_]:
        """Which rows are unlike what the predictor was fitted on, `(N,)`.

        A resolution at which nothing was measured, an accuracy beyond the bulk of the measured ones, or
        choices rarer together than in nearly all measured subnets.
        """
        inside = self._interval.is_inside(self.predict(population), self._surprisal(population)[:, 0])
        measured: npt.NDArray[np.bool_] = self._is_measured[population[:, 0]]
        return ~(inside & measured)

    def _members(self, population: Population) -> Array:
        """Predictions of every member, `(members, N)`."""
        output = np.empty((len(self._perceptrons), len(population)), dtype=np.float32)
        sums, active = self._first.buffer(len(population)), self._first.buffer(len(population))
        for rows in chunks(len(population), self._first.chunk_rows):
            part = population[rows]
            size = len(part)
            self._first.fill(part, sums[:size], active)
            self._layers(sums[:size], active[:size], output[:, rows])
        if (trend := self.predictor.card.trend) is not None:
            by_cost = trend_percent(trend, self._complexity.macs(population))
            deviations = output.clip(trend.lowest_points, trend.highest_points)
            result: Array = (by_cost + deviations).astype(np.float32)
            return result
        if self.predictor.resolution_effect is None:
            return output
        output[:-1] += np.where(self._is_measured[population[:, 0]], np.float32(0), output[-1])
        return output[:-1]

    def _layers(self, sums: Array, active: Array, out: Array) -> None:
        """What the first layers' `sums` `(N, figures)` lead to, into `out` `(perceptrons, N)`."""
        # The outputs' own columns are taken along: a pass over whole rows is faster than one over parts.
        np.maximum(sums, 0, out=active)
        start, first_linear = 0, sums.shape[1] - len(self._perceptrons)
        for index, perceptron in enumerate(self._perceptrons):
            values = active[:, start : start + len(perceptron.bias)]
            start += len(perceptron.bias)
            for (weight, _), bias in zip(perceptron.layers[:-1], self._biases[index], strict=True):
                values = values @ weight
                values += bias[: len(values)]
                np.maximum(values, 0, out=values)
            np.add(values @ perceptron.layers[-1][0][:, 0], sums[:, first_linear + index], out=out[index])
