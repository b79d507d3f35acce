"""How many kernels a training step launches, against the plain networks of the same subnets.

    python benchmarks/kernel_launches.py [--space NAME] [--batch 8] [--device cpu]

Both sides run forward and backward of {largest, smallest, two random} subnets and one optimizer step over the
supernet's parameters. On a GPU a launch is a kernel, copy or fill in torch's profile of the device. On a CPU
nothing is launched: operators that compute are counted instead (views are free), each of which is at least
one launch on a GPU. The depthwise gradients made of several operators, which only a CPU has, are off.
Aim: at most 1.1 times the plain networks.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

from ofa_toolkit.modules import depthwise
from ofa_toolkit.spaces import get_space
from ofa_toolkit.supernets import Supernet, extract
from ofa_toolkit.training.algorithm import Position
from ofa_toolkit.training.config import from_values
from ofa_toolkit.training.distributed import Process
from ofa_toolkit.training.losses import hard_cross_entropy, soft_cross_entropy
from ofa_toolkit.training.optimizer import build_optimizer, set_learning_rate
from ofa_toolkit.training.step import Updater


class _ComputingOperators(TorchDispatchMode):
    """Counts the operators that are run and are not views."""

    def __init__(self) -> None:
        super().__init__()
        self.count: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        is_view = any(
            r.alias_info is not None and not r.alias_info.is_write for r in function._schema.returns
        )
        if not is_view and function is not torch.ops.aten.detach.default:
            self.count[str(function)] += _launches_of_list(args)
        return function(*args, **(kwargs or {}))


def _launches_of_list(arguments: tuple[Any, ...]) -> int:
    """One launch for lists of tensors laid out alike without gaps, as torch's `_foreach` kernels ask."""
    if len(arguments) < 2 or not isinstance(arguments[0], list) or not isinstance(arguments[1], list):
        return 1
    pairs = zip(arguments[0], arguments[1], strict=True)
    is_fast = all(a.stride() == b.stride() for a, b in pairs if isinstance(a, Tensor))
    return 1 if is_fast else len(arguments[0])


@contextmanager
def without_cpu_kernels() -> Iterator[None]:
    """Depthwise gradients as a GPU computes them: one operator."""
    with mock.patch.object(depthwise, "_is_trained_by_onednn", return_value=False):
        yield


def launches(work: Callable[[], object], device: torch.device) -> Counter[str]:
    """Launches of one call, by kernel (GPU) or operator (CPU)."""
    if device.type == "cpu":
        with _ComputingOperators() as counter, without_cpu_kernels():
            work()
        return counter.count
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as recorded:
        work()
        torch.cuda.synchronize()
    on_device = torch._C._autograd.DeviceType.CUDA
    return Counter(event.name for event in recorded.events() if event.device_type == on_device)


def count_step(space_name: str, batch: int, device: torch.device) -> tuple[Counter[str], Counter[str]]:
    """Launches of an update of the supernet, and of the plain networks with the same losses and optimizer."""
    space = get_space(space_name).with_num_classes(10)
    config = from_values(
        {
            "space": {"name": space_name},
            "algorithm": {"name": "bignas", "num_networks": 4, "zero_gamma": False},
            "training": {"epochs": 1, "batch_size": batch, "dropout": 0.0},
            "schedule": {"learning_rate": 0.01},
        }
    )
    torch.manual_seed(0)
    supernet = Supernet(space).to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    optimizer = build_optimizer(config.optimizer, supernet)
    set_learning_rate(optimizer, 0.01)
    updater = Updater(supernet, optimizer, config.training, Process(device=device))
    algorithm = config.algorithm.build(config, space)
    resolution = space.resolutions[-1]
    position = Position(epoch=0, step=0, steps_per_epoch=1, resolution=resolution)
    passes = algorithm.plan(algorithm.phases[0], position, np.random.default_rng(0))
    images = torch.randn(batch, 3, resolution, resolution, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.arange(batch, device=device) % 10
    networks = [
        extract(supernet, item.subnet).to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        for item in passes
    ]

    def plain() -> None:
        target = None
        for network in networks:
            network.zero_grad(set_to_none=True)
            logits = network(images)
            loss = (
                hard_cross_entropy(logits, labels, 0.1)
                if target is None
                else soft_cross_entropy(logits, target)
            )
            target = logits.detach() if target is None else target
            loss.backward()
        optimizer.step()

    def elastic() -> None:
        updater(images, labels, passes)

    elastic()  # the optimizer's state is made, and gradients exist for the plain side's optimizer step
    plain()
    return launches(elastic, device), launches(plain, device)


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--space", default="mobilenet-v3-compact")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    chosen = parser.parse_args()
    device = torch.device(chosen.device)
    elastic, plain = count_step(chosen.space, chosen.batch, device)
    what = "operators that compute" if device.type == "cpu" else "launches"
    print(f"{chosen.space}, batch {chosen.batch}, {device}, torch {torch.__version__}; {what} a step")
    print(
        f"supernet {elastic.total()}, plain networks {plain.total()}: {elastic.total() / plain.total():.3f}"
    )
    for name, more in (elastic - plain).most_common(12):
        print(f"  +{more:5d}  {name}")


if __name__ == "__main__":
    main()
