"""Entry points for `torch.hub.load`."""

from __future__ import annotations

from ofa_toolkit.zoo.supernet import LoadedSupernet, load_supernet

dependencies = ["torch", "numpy", "safetensors", "platformdirs"]


def supernet(name: str = "deps-compact-cifar10") -> LoadedSupernet:
    """A supernet by its zoo name or folder; its `extract` gives plain networks."""
    return load_supernet(name)
