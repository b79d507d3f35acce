"""What a subnet costs, from its layers alone: MACs, parameters, memory; single or whole populations."""

from __future__ import annotations

from ofa_toolkit.complexity.macs import count_macs, layer_macs
from ofa_toolkit.complexity.memory import peak_activation_elements
from ofa_toolkit.complexity.params import count_params, layer_params
from ofa_toolkit.complexity.population import PopulationComplexity

__all__ = [
    "PopulationComplexity",
    "count_macs",
    "count_params",
    "layer_macs",
    "layer_params",
    "peak_activation_elements",
]
