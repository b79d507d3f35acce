"""Intervals of accuracies on few images."""

from __future__ import annotations

import pytest
from scipy.stats import binomtest

from ofa_toolkit.evaluation.accuracy import Accuracy
from ofa_toolkit.evaluation.sampling import accuracy_text, sampling_interval


@pytest.mark.parametrize(("right", "images"), [(0, 4), (4, 4), (1, 19), (7, 12), (99, 99), (80, 3925)])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_intervals_are_wilsons(right: int, images: int, confidence: float) -> None:
    reference = binomtest(right, images).proportion_ci(confidence, method="wilson")
    found = sampling_interval(100 * right / images, images, confidence)
    assert found == pytest.approx((100 * reference.low, 100 * reference.high), abs=1e-9)


def test_few_images_are_told() -> None:
    assert accuracy_text(0.0, 4) == "0.00 (95 % interval 0 to 49)"
    assert accuracy_text(75.0, 99) == "75.00 (95 % interval 66 to 82)"
    assert accuracy_text(75.0, 100) == "75.00"
    interval = Accuracy(top1_percent=75.0, loss=1.0, num_images=99).interval_percent
    assert interval == sampling_interval(75.0, 99)
