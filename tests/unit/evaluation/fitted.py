"""Predictors of spaces that none is shipped for, under a shipped one's card."""

from __future__ import annotations

import dataclasses
from typing import Any

from ofa_toolkit.evaluation.predictor.card import PredictorCard
from ofa_toolkit.evaluation.predictor.fit import FittedPredictor
from ofa_toolkit.evaluation.predictor.predictor import AccuracyPredictor
from ofa_toolkit.spaces import SearchSpace
from ofa_toolkit.zoo.supernet import load_accuracy_predictor


def card_of(space: SearchSpace, **facts: Any) -> PredictorCard:
    """A shipped card that says it is of that space, at all of its resolutions."""
    return dataclasses.replace(
        load_accuracy_predictor("ofa-mobilenet-v3-w1.0").card,
        space=space.name,
        space_identity=space.identity,
        resolutions=space.resolutions,
        measured_resolutions=space.resolutions,
        **facts,
    )


def predictor_of(space: SearchSpace, fitted: FittedPredictor) -> AccuracyPredictor:
    """What was fitted to subnets of a space, as a predictor."""
    return AccuracyPredictor(
        card=card_of(space, interval=fitted.interval, trend=fitted.trend),
        choices=fitted.choices,
        members=fitted.members,
        surprisal=fitted.surprisal,
    )
