"""Training supernets: one trainer, and one small object for each method."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ofa_toolkit.core.registry import Registry

if TYPE_CHECKING:
    from ofa_toolkit.training.algorithm import AlgorithmConfig

ALGORITHMS: Registry[type[AlgorithmConfig]] = Registry(
    "training method",
    {
        "deps": "ofa_toolkit.training.deps:DepsConfig",
        "ofa": "ofa_toolkit.training.ofa:OfaConfig",
        "bignas": "ofa_toolkit.training.bignas:BigNasConfig",
        "compofa": "ofa_toolkit.training.compofa:CompofaConfig",
        "subnet_first": "ofa_toolkit.training.subnet_first:SubnetFirstConfig",
        "single": "ofa_toolkit.training.single:SingleConfig",
    },
)
"""The `[algorithm]` table's `name` to the class of the table."""

__all__ = ["ALGORITHMS"]
