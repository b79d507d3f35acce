"""What a search predicted is predicted again: figures must agree, sentences may be worded otherwise."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ofa_toolkit.latency.table import load_table
from ofa_toolkit.pipelines.export.verify_predictions import verify_predictions
from ofa_toolkit.pipelines.search.figures import latency_document
from ofa_toolkit.spaces import Encoding, get_space

SPACE = get_space("mobilenet-v3-compact")


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, "passed"),
        ({"extrapolations": ["beyond what was fitted"]}, "not checked"),
        ({"caveats": []}, "not checked"),
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
