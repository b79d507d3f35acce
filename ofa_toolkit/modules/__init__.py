"""Elastic layers: weights of the largest choice, of which each subnet uses a leading slice."""

from __future__ import annotations

from ofa_toolkit.modules.activations import activate, activation_module
from ofa_toolkit.modules.elastic import ElasticBatchNorm, ElasticConv, ElasticLayer, ElasticLinear

__all__ = [
    "ElasticBatchNorm",
    "ElasticConv",
    "ElasticLayer",
    "ElasticLinear",
    "activate",
    "activation_module",
]
