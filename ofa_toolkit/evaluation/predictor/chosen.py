"""How wrong predictions are of subnets that a search chose.

A search picks what the predictor overrates (the winner's curse), so errors on random subnets flatter its
answers. They are found by measuring what searches chose (`facts_of_answers`). Where a space is too small for
that, by searching where the truth is known (`chosen_facts`): predictions of measured subnets that took no
part in the fit, the best by them within a budget, its measured accuracy; the best of a few hundred are
overrated less than the best of a whole space. The mean error is taken off the prediction where it is too
high; quantiles of what is left make the interval (split conformal prediction on the chosen).
Departure: one row can win many nested searches; the correction for few rows counts each once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ofa_toolkit.evaluation.predictor.assessment import HeldOut
from ofa_toolkit.evaluation.predictor.card import ChosenFacts
from ofa_toolkit.evaluation.predictor.interval import CONFIDENCES

Values = npt.NDArray[np.floating[Any]]
Costs = npt.NDArray[np.number[Any]]
Rows = npt.NDArray[np.intp]

NUM_SEARCHES = 500
LEAST_CANDIDATES = 8
ANSWERS = "answers of searches"
LEADERS_SHARE = 30


def nested_searches(
    held_out: HeldOut, costs: Costs, random: np.random.Generator, *, num_searches: int = NUM_SEARCHES
) -> Rows:
    """Which measured subnets searches within random budgets choose, as positions in `held_out`.

    Each search sees a random half of the rows, so that not one row alone wins near a budget.

    Args:
        held_out: Predictions of fits without the rows.
        costs: Such as MACs, of all measured subnets: `costs[held_out.rows]` are these rows'.
        random: Source of randomness.
        num_searches: How many; fewer are returned where a budget leaves hardly a choice.
    """
    own = np.log(costs[held_out.rows])
    chosen = []
    for budget in random.uniform(own.min(), own.max(), num_searches):
        seen = random.permutation(len(own))[: -(-len(own) // 2)]
        within = seen[own[seen] <= budget]
        if len(within) >= LEAST_CANDIDATES:
            chosen.append(within[np.argmax(held_out.predicted[within])])
    return np.array(chosen, dtype=np.intp)


def facts_of_searches(
    errors: Values,
    spread: Values,
    *,
    noise_points: float,
    num_subnets: int,
    how: str,
    ceiling_percent: float | None,
) -> ChosenFacts:
    """What the interval of a searched subnet needs.

    Args:
        errors: Predicted minus measured of each search's answer, in points.
        spread: Of the ensemble there, in points.
        noise_points: As of the other intervals.
        num_subnets: How many different subnets were chosen.
        how: How they were found, in a few words.
        ceiling_percent: What no prediction may exceed.
    """
    # Choosing overrates. Answers that measured better than predicted are luck, or the fit's own error: no
    # reason to promise more than it says, and the interval holds them.
    offset = max(0.0, float(errors.mean()))
    scores = np.abs(errors - offset) / np.hypot(noise_points, spread)
    levels = np.minimum(1.0, np.asarray(CONFIDENCES) * (1 + 1 / num_subnets))
    return ChosenFacts(
        how=how,
        num_subnets=num_subnets,
        offset_points=offset,
        quantiles=tuple(float(q) for q in np.quantile(scores, levels, method="higher")),
        ceiling_percent=ceiling_percent,
    )


def chosen_facts(
    held_out: HeldOut,
    costs: Costs,
    random: np.random.Generator,
    *,
    noise_points: float,
    ceiling_percent: float | None,
) -> ChosenFacts | None:
    """From nested searches among measured subnets; None where there are too few to choose among."""
    chosen = nested_searches(held_out, costs, random)
    num_subnets = len(np.unique(chosen))
    if num_subnets < LEAST_CANDIDATES:
        return None
    return facts_of_searches(
        held_out.errors[chosen],
        held_out.spread[chosen],
        noise_points=noise_points,
        num_subnets=num_subnets,
        how="measured subnets that a fit without them would have chosen",
        ceiling_percent=ceiling_percent,
    )


def facts_of_answers(
    answers: HeldOut, *, noise_points: float, largest_predicted: float, largest_measured: float, how: str
) -> ChosenFacts:
    """From measured answers of searches in the whole space, none of which took part in the fit.

    Args:
        answers: Predictions and measured accuracies, one row an answer, all different.
        noise_points: As of the other intervals.
        largest_predicted: Top-1 of the largest subnet in percent, predicted.
        largest_measured: The same, measured.
        how: Which searches, in a few words.
    """
    return facts_of_searches(
        answers.errors,
        answers.spread,
        noise_points=noise_points,
        num_subnets=len(answers.rows),
        how=how,
        ceiling_percent=min(100.0, largest_predicted + gain_seen(answers, largest_measured)),
    )


def gain_seen(held_out: HeldOut, largest_percent: float) -> float:
    """How far the subnets that were predicted best exceed the largest, measured, in points; at least 0.

    The mean over those a fit without them puts first: the best of many measurements would be a lucky one.
    """
    count = max(3, len(held_out.rows) // LEADERS_SHARE)
    leaders = np.argsort(-held_out.predicted, kind="stable")[:count]
    return max(0.0, float(held_out.measured[leaders].mean()) - largest_percent)


def largest_row(population: npt.NDArray[np.integer[Any]], largest: Sequence[int]) -> int | None:
    """Where the largest subnet stands among the measured ones; None where it is not among them."""
    found = np.flatnonzero((population == np.asarray(largest)).all(axis=1))
    return int(found[0]) if len(found) else None
