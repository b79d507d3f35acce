"""The registered spaces, for tests that must hold for each; those alike to another are slow tests."""

from __future__ import annotations

import pytest

from ofa_toolkit.spaces import list_spaces

ALIKE = {
    "mobilenet-v2": "ofa-proxyless-w1.3",
    "mobilenet-v3-large": "mobilenet-v3-small",
    "mnasnet-w1.0": "ofa-proxyless-w1.3",
    "efficientnet-lite1": "efficientnet-lite0",
    "efficientnet-lite2": "efficientnet-lite0",
}
"""Spaces made of the same parts as another one, which is tested every time."""

EVERY_SPACE = [
    pytest.param(name, marks=pytest.mark.slow) if name in ALIKE else name for name in list_spaces()
]
