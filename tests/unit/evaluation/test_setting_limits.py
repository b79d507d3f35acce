"""The least and the largest value that the settings and the stated errors of a predictor take."""

from __future__ import annotations

from typing import Any

import pytest

from ofa_toolkit.evaluation.predictor.card import ChosenFacts, IntervalFacts, PredictorError
from ofa_toolkit.evaluation.predictor.ensemble import EnsembleConfig
from tests.limits import check_limits

ERROR = {
    "split": "random 20 %",
    "num_subnets": 3,
    "spearman": 0.5,
    "kendall": 0.5,
    "mae_points": 0.1,
    "bias_points": 0.0,
}
CHOSEN = {"how": "by a search", "num_subnets": 3, "offset_points": 0.1, "quantiles": [1.0]}
INTERVAL = {
    "noise_points": 0.1,
    "confidences": [0.9],
    "inside": [1.0],
    "outside": [2.0],
    "unmeasured_points": [0.0],
    "lowest_percent": 60.0,
    "highest_percent": 90.0,
    "highest_surprisal": 5.0,
}


@pytest.mark.parametrize(
    ("declared", "others", "name", "refused", "taken"),
    [
        (EnsembleConfig, {}, "num_members", [1], [2]),
        (EnsembleConfig, {}, "num_steps", [0], [1]),
        (EnsembleConfig, {}, "batch_size", [0], [1]),
        (EnsembleConfig, {}, "learning_rate", [0.0], [1e-6]),
        (EnsembleConfig, {}, "weight_decay", [-0.01], [0.0]),
        (EnsembleConfig, {}, "linear_weight_decay", [-0.01], [0.0]),
        (PredictorError, ERROR, "num_subnets", [0], [1]),
        (PredictorError, ERROR, "spearman", [-1.01, 1.01], [-1.0, 1.0]),
        (PredictorError, ERROR, "kendall", [-1.01, 1.01], [-1.0, 1.0]),
        (PredictorError, ERROR, "mae_points", [-0.01], [0.0]),
        (ChosenFacts, CHOSEN, "num_subnets", [0], [1]),
        (ChosenFacts, CHOSEN, "ceiling_percent", [-0.01, 100.01], [0.0, 100.0]),
        (IntervalFacts, INTERVAL, "noise_points", [0.0], [0.01]),
        (IntervalFacts, INTERVAL, "confidences", [[0.0], [1.0]], []),
    ],
)
def test_limits(
    declared: Any, others: dict[str, Any], name: str, refused: list[Any], taken: list[Any]
) -> None:
    check_limits(declared, others, name, refused, taken)
