"""`torch.hub.load` finds the supernets by way of `hubconf.py`."""

from __future__ import annotations

from pathlib import Path

import torch

from ofa_toolkit.zoo.supernet import LoadedSupernet, load_supernet

REPOSITORY = Path(__file__).parents[3]


def test_a_supernet_by_name() -> None:
    found = torch.hub.load(str(REPOSITORY), "supernet", "deps-compact-cifar10", source="local")
    assert isinstance(found, LoadedSupernet)
    assert found.identity == load_supernet("deps-compact-cifar10").identity
