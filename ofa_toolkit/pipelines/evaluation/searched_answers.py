"""What searches by a new predictor choose: measured, they tell how much it overrates its own choice."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from ofa_toolkit.complexity import PopulationComplexity
from ofa_toolkit.core.rng import generator
from ofa_toolkit.evaluation.predictor.assessment import HeldOut
from ofa_toolkit.evaluation.predictor.chosen import ANSWERS, LEAST_CANDIDATES, facts_of_answers
from ofa_toolkit.evaluation.predictor.predictor import AccuracyPredictor, BoundAccuracy
from ofa_toolkit.search.evolution import evolve
from ofa_toolkit.search.problem import Constraint, Figure, Objective, SearchProblem
from ofa_toolkit.spaces import Encoding, Subnet
from ofa_toolkit.spaces.encoding import Population

MOST_ANSWERS = 24
SHARE_OF_FITTED = 8


def find_answers(accuracy: BoundAccuracy, fitted: Population, *, seed: int) -> Population:
    """Subnets that searches within budgets of MACs choose and that the predictor was not fitted to.

    An eighth as many as were fitted to, 8 at least and 24 at most.

    Args:
        accuracy: The predictor, bound to the space to search.
        fitted: What it was fitted to, `(N, genes)`.
        seed: Of the budgets and searches.

    Returns:
        Different subnets, `(answers, genes)`; none where the space has too few.
    """
    space = accuracy.space
    wanted = min(MOST_ANSWERS, max(LEAST_CANDIDATES, len(fitted) // SHARE_OF_FITTED))
    macs = Figure(name="macs", evaluate=PopulationComplexity(space).macs, decimals=0)
    most_accurate = Objective(
        figure=Figure(name="accuracy", evaluate=accuracy.predict, decimals=4), is_maximized=True
    )
    least, most = macs(Encoding(space).encode([space.smallest(), space.largest()]))
    taken = {row.tobytes() for row in fitted}
    answers: dict[bytes, Population] = {}
    # Two budgets may have one answer: twice as many budgets as answers, in an order that spreads any number.
    for place in generator(seed, "predictor", "budgets").permutation(2 * wanted):
        limit = least * (most / least) ** ((place + 0.5) / (2 * wanted))
        problem = SearchProblem(space, [most_accurate], [Constraint(figure=macs, limit=limit)])
        best = evolve(problem, seed=seed).population[0]
        if best.tobytes() not in taken:
            answers.setdefault(best.tobytes(), best)
        if len(answers) == wanted:
            break
    if len(answers) < LEAST_CANDIDATES:
        return fitted[:0]
    return np.stack(list(answers.values()))


def with_answers(
    accuracy: BoundAccuracy,
    answers: Population,
    measured: Mapping[Subnet, float],
    *,
    how: str = "searches within budgets of MACs chose, measured",
) -> AccuracyPredictor:
    """A predictor with what measured answers tell of the subnets that searches choose.

    Args:
        accuracy: The predictor, bound to the space that was searched.
        answers: From `find_answers`; the predictor comes back as it is where there are none.
        measured: Top-1 in percent of each of them, and of the largest subnet.
        how: Which searches, as the end of "24 subnets that ...".
    """
    predictor, encoding = accuracy.predictor, Encoding(accuracy.space)
    if not len(answers):
        return predictor
    card = predictor.card
    found = HeldOut(
        ANSWERS,
        np.arange(len(answers)),
        accuracy.predict(answers),
        accuracy.spread(answers),
        np.array([measured[subnet] for subnet in encoding.decode(answers)]),
    )
    largest = accuracy.space.largest()
    facts = facts_of_answers(
        found,
        noise_points=card.interval.noise_points,
        largest_predicted=float(accuracy.predict(encoding.encode([largest]))[0]),
        largest_measured=measured[largest],
        how=f"{len(answers)} subnets that {how}",
    )
    interval = dataclasses.replace(card.interval, chosen=facts)
    others = (error for error in card.errors if error.split != ANSWERS)
    card = dataclasses.replace(card, errors=(*others, found.summary()), interval=interval)
    return dataclasses.replace(predictor, card=card)
