"""What comparing outputs alone would miss: fp16 that overflows on the way."""

from __future__ import annotations

import numpy as np
import pytest

from ofa_toolkit.core.errors import VerificationError
from ofa_toolkit.export.comparison import CheckImages, largest_half_activation
from ofa_toolkit.graphs import build_onnx, random_weights
from tests.unit.export.samples import layers


def images(value: float) -> CheckImages:
    return CheckImages(
        description="flat images", batches=lambda: iter([(np.full((3, 3, 8, 8), value, np.float32), None)])
    )


@pytest.mark.parametrize("batch_size", [1, 2, None])
def test_largest_activation_is_that_of_any_node(batch_size: int | None) -> None:
    network = layers()
    model = build_onnx(
        network, random_weights(network, np.random.default_rng(0)), precision="fp16", batch_size=batch_size
    )
    # The input is by far the largest value.
    assert largest_half_activation(model, images(1000.0)) >= 1000.0
    assert largest_half_activation(model, images(0.5)) < 50.0


def test_overflow_is_found_at_its_node() -> None:
    network = layers()
    weights = random_weights(network, np.random.default_rng(0))
    weight, bias = weights["depthwise"]
    weights["depthwise"] = (weight * np.float32(3e4), bias)
    model = build_onnx(network, weights, precision="fp16")
    with pytest.raises(VerificationError, match="fp16 overflows at 'depthwise"):
        largest_half_activation(model, images(1.0))
