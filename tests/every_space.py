"""The registered spaces, for tests that must hold for each; those alike to another are slow tests."""

from __future__ import annotations

import pytest

from ofa_toolkit.spaces import list_spaces

ALIKE = {
    "ofa-mobilenet-v3-w1.2": "ofa-mobilenet-v3-w1.0",
    "mobilenet-v2": "ofa-proxyless-w1.3",
    "mobilenet-v3-large": "ofa-mobilenet-v3-w1.0",
    "mnasnet-w1.0": "ofa-proxyless-w1.3",
    "mobilenet-v3-small": "ofa-mobilenet-v3-w1.0",
    "efficientnet-b0": "ofa-mobilenet-v3-w1.0",
    "efficientnet-lite1": "efficientnet-lite0",
    "efficientnet-lite2": "efficientnet-lite0",
}
"""Spaces made of about the same parts as another one, which is tested every time.

Those around torchvision's networks are compared with these every time too.
"""

EVERY_SPACE = [
    pytest.param(name, marks=pytest.mark.slow) if name in ALIKE else name for name in list_spaces()
]
