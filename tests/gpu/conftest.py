"""Where the GPU tests run: on the first CUDA device.

`OFA_TK_GPU_TESTS_ON=cpu` runs what a CPU can of them, to see that the tests themselves work.
"""

from __future__ import annotations

import os

import pytest
import torch


@pytest.fixture(scope="session")
def device() -> str:
    chosen = os.environ.get("OFA_TK_GPU_TESTS_ON", "cuda")
    if chosen == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return chosen


@pytest.fixture(scope="session")
def gpu(device: str) -> str:
    if device != "cuda":
        pytest.skip("needs a CUDA device")
    return device
