"""The least and the largest value that each number of a search, a measurement and a device file takes."""

from __future__ import annotations

from typing import Any

import pytest

from ofa_toolkit.core import config
from ofa_toolkit.latency.device import Error, Peak, Software, Variant
from ofa_toolkit.latency.importing.measurements import Conditions
from ofa_toolkit.latency.measuring.effort import Effort
from ofa_toolkit.latency.runtimes.runtime import RuntimeOptions
from ofa_toolkit.search.evolution import EvolutionConfig
from ofa_toolkit.search.local import LocalConfig
from tests.limits import check_limits
from tests.unit.export.samples import device

VARIANT = config.to_dict(device("board", tensorrt="8.2", capability=None).variants[0])
ERROR = {"mape_percent": 1.0, "num_networks": 3, "split": "random subnets"}


@pytest.mark.parametrize(
    ("declared", "others", "name", "refused", "taken"),
    [
        (EvolutionConfig, {}, "population_size", [3], [4]),
        (EvolutionConfig, {}, "num_children", [0], [1]),
        (EvolutionConfig, {}, "num_generations", [0], [1]),
        (EvolutionConfig, {}, "mutation_rate", [0.0, 1.01], [0.01, 1.0]),
        (EvolutionConfig, {}, "crossover_share", [-0.01, 1.01], [0.0, 1.0]),
        (EvolutionConfig, {}, "parent_share", [0.0, 1.01], [0.01, 1.0]),
        (LocalConfig, {}, "num_starts", [0], [1]),
        (LocalConfig, {}, "num_pairs", [-1], [0]),
        (LocalConfig, {}, "max_rounds", [0], [1]),
        (Effort, {}, "num_passes", [0], [1]),
        (RuntimeOptions, {}, "num_threads", [0], [1]),
        (RuntimeOptions, {}, "batch_size", [0], [1]),
        (Conditions, {}, "batch_size", [0], [1]),
        (Software, {}, "opset", [0], [1]),
        (Peak, {}, "fp32_tflops", [0.0], [0.01]),
        (Peak, {}, "fp16_tflops", [0.0], [0.01]),
        (Peak, {}, "int8_tops", [0.0], [0.01]),
        (Peak, {}, "memory_gb_per_s", [0.0], [0.01]),
        (Error, ERROR, "mape_percent", [-0.01], [0.0]),
        (Error, ERROR, "spearman", [-1.01, 1.01], [-1.0, 1.0]),
        (Error, ERROR, "num_networks", [0], [1]),
        (Variant, VARIANT, "threads", [0], [1]),
        (Variant, {**VARIANT, "name": "made-up-fp32-0"}, "batch_size", [0], []),
    ],
)
def test_limits(
    declared: Any, others: dict[str, Any], name: str, refused: list[float], taken: list[float]
) -> None:
    check_limits(declared, others, name, refused, taken)
