"""From a `LayerSpec` list and weights to an ONNX graph, written node by node (no torch).

The same writer serves export, timing of single layers, and the kits that are run on a device.
"""

from __future__ import annotations

from ofa_toolkit.graphs.builder import build_onnx
from ofa_toolkit.graphs.counting import GraphCounts, count_folded_params, count_graph
from ofa_toolkit.graphs.weighted_nodes import WeightedNode, weighted_nodes, without_weights
from ofa_toolkit.graphs.weights import FoldedWeights, check_weights, identify_weights, random_weights

__all__ = [
    "FoldedWeights",
    "GraphCounts",
    "WeightedNode",
    "build_onnx",
    "check_weights",
    "count_folded_params",
    "count_graph",
    "identify_weights",
    "random_weights",
    "weighted_nodes",
    "without_weights",
]
