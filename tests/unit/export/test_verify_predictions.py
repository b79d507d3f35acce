"""What a search predicted is predicted again: figures must agree, sentences may be worded otherwise."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ofa_toolkit.complexity import PopulationComplexity
from ofa_toolkit.evaluation.predictor.ensemble import EnsembleConfig
from ofa_toolkit.evaluation.predictor.fit import fit_predictor
from ofa_toolkit.evaluation.predictor.predictor import AccuracyPredictor
from ofa_toolkit.evaluation.stratified import stratified_population
from ofa_toolkit.latency.table import load_table
from ofa_toolkit.pipelines.export.verify_predictions import verify_predicted_accuracy, verify_predictions
from ofa_toolkit.pipelines.search.figures import accuracy_document, latency_document
from ofa_toolkit.spaces import Encoding, SearchSpace, get_space, restrict
from tests.unit.evaluation.fitted import predictor_of

SPACE = get_space("mobilenet-v3-compact")


def small_predictor(space: SearchSpace) -> AccuracyPredictor:
    """Fitted to accuracies that rise with the cost."""
    population = stratified_population(space, 40, seed=3)
    top1 = 60 + 30 * np.argsort(np.argsort(PopulationComplexity(space).macs(population))) / 40
    quick = EnsembleConfig(num_members=2, hidden=(8,), num_steps=250)
    return predictor_of(space, fit_predictor(space, population, top1, num_images=1000, config=quick))


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, "passed"),
        ({"extrapolations": ["beyond what was fitted"]}, "not checked"),
        ({"caveats": []}, "not checked"),
        ({"table": "0" * 16, "value": 1.0}, "not checked"),
        ({"value": 1.0}, "failed"),
        ({"error": "error 0 %"}, "failed"),
        ({"precision": "int8", "caveats": []}, "failed"),
    ],
)
def test_figures_must_agree_and_sentences_are_compared(changes: dict[str, Any], status: str) -> None:
    subnet, device = SPACE.smallest(), "jetson-nano"
    bound = load_table(device, space=SPACE.name).bind(SPACE)
    claimed = latency_document(bound, Encoding(SPACE).encode([subnet]), 0.9)
    assert claimed.keys() >= {"extrapolations", "caveats", "error"}
    predicted = {"latency_ms": {device: {**claimed, **changes}}}
    metadata: Any = SimpleNamespace(subnet=subnet, predicted=predicted)
    [check] = verify_predictions(metadata, SPACE, ())
    assert check.status == status, check.detail
    assert all(name in check.detail for name in list(changes)[:1])


def test_a_table_that_is_not_here_decides_nothing() -> None:
    predicted = {"latency_ms": {"my-board:own": {"value": 1.0}}}
    metadata: Any = SimpleNamespace(subnet=SPACE.smallest(), predicted=predicted)
    [check] = verify_predictions(metadata, SPACE, ())
    assert check.status == "not checked"
    assert "--tables DIR" in check.detail


def test_a_predictor_of_the_trained_part_alone_is_asked_about_that_part() -> None:
    part = restrict(SPACE, depths=[1, 2], kernel_sizes=[3])
    predictor = small_predictor(part)
    subnet = part.smallest()
    bound = predictor.bind(part, whole=SPACE)
    claimed = accuracy_document(bound, Encoding(part).encode([subnet]), is_chosen=False)
    source: Any = SimpleNamespace(name="mine", predictor=predictor, space=SPACE, trained_space=part)
    for value, status in ((claimed["value"], "passed"), (claimed["value"] + 1, "failed")):
        promised = {"top1_percent": {**claimed, "value": value}}
        metadata: Any = SimpleNamespace(subnet=subnet, predicted=promised)
        [check] = verify_predicted_accuracy(metadata, source)
        assert check.status == status, check.detail
