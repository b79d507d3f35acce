"""Recall, precision and confusions from labels and predictions."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix as expected_matrix
from sklearn.metrics import precision_score, recall_score

from ofa_toolkit.evaluation.confusion import ConfusedPair, confusion_matrix


def test_figures_are_those_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    labels, predicted = random.integers(0, 5, (2, 200))
    found = confusion_matrix(labels, predicted, "abcde")
    np.testing.assert_array_equal(found.counts, expected_matrix(labels, predicted))
    classes = found.classes()
    recall, precision = (score(labels, predicted, average=None) for score in (recall_score, precision_score))
    assert [figures.recall_percent for figures in classes] == pytest.approx(100 * recall)
    assert [figures.precision_percent for figures in classes] == pytest.approx(100 * precision)
    assert found.top1_percent == pytest.approx(100 * (labels == predicted).mean())


def test_what_cannot_be_told_is_none() -> None:
    classes = confusion_matrix(np.array([0, 0]), np.array([0, 1]), ["a", "b", "c"]).classes()
    assert [(c.recall_percent, c.precision_percent) for c in classes] == [(50, 100), (None, 0), (None, None)]


def test_most_confused_are_the_largest_mistakes_only() -> None:
    found = confusion_matrix(np.array([0, 0, 0, 1, 2]), np.array([0, 2, 2, 0, 2]), ["a", "b", "c"])
    assert found.most_confused(9) == (
        ConfusedPair(class_name="a", taken_for="c", num_images=2),
        ConfusedPair(class_name="b", taken_for="a", num_images=1),
    )
    assert len(found.most_confused(1)) == 1
