"""A supernet's step launches about as many kernels as the plain networks of its subnets."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "kernel_launches.py"


@pytest.mark.parametrize("where", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_launches_of_a_step(where: str) -> None:
    if where == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    specification = importlib.util.spec_from_file_location("kernel_launches", SCRIPT)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    elastic, plain = module.count_step("mobilenet-v3-compact", 2, torch.device(where))
    assert elastic.total() <= 1.1 * plain.total(), (elastic - plain).most_common(10)
