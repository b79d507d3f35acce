"""What a training step costs beyond its forward and backward passes, in one run.

    python benchmarks/train_step.py [--batch 32] [--threads 1] [--repeats 5] [--space NAME] [--compile]
                                      [--precision fp32]

Measured: one update of the trainer on {largest, smallest, two random} subnets; the floor, which is forward
and backward of the same four subnets as extracted plain networks with the same losses, layout and
depthwise kernels; the parts of the update outside forward and backward (drawing subnets, zeroing,
clipping, the optimizer); and one batch from the data pipeline. The sides take turns and a figure is the
median over the repeats; with one thread it is CPU time, which other processes distort little.
Aims: update at most 1.05 times the floor, the rest under 3 % of the update, the data under 3 %.
With --compile the update runs the largest and the smallest network through torch.compile, the floor none;
--precision is the update's, the floor's is always fp32.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ofa_toolkit.datasets import open_dataset
from ofa_toolkit.modules.depthwise import depthwise_conv2d
from ofa_toolkit.spaces import SearchSpace, get_space
from ofa_toolkit.supernets import Supernet, extract
from ofa_toolkit.training.algorithm import Pass, Position
from ofa_toolkit.training.config import RunConfig, from_values
from ofa_toolkit.training.distributed import Process
from ofa_toolkit.training.losses import hard_cross_entropy, soft_cross_entropy
from ofa_toolkit.training.optimizer import build_optimizer, set_learning_rate
from ofa_toolkit.training.step import Accumulated, Updater


def configuration(space: str, batch: int, *, is_compiled: bool, precision: str) -> RunConfig:
    """BigNAS: every step is a sandwich of four networks."""
    return from_values(
        {
            "space": {"name": space},
            "algorithm": {"name": "bignas", "num_networks": 4, "zero_gamma": False},
            "training": {
                "epochs": 1,
                "batch_size": batch,
                "dropout": 0.0,
                "compile": is_compiled,
                "precision": precision,
            },
            "schedule": {"learning_rate": 0.01},
        }
    )


def same_kernels(network: nn.Module) -> nn.Module:
    """Let a plain network use the depthwise kernels that the supernet uses."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.groups == module.in_channels and module.groups > 1:
            module.forward = _depthwise(module)  # type: ignore[method-assign, assignment]
    return network


def _depthwise(module: nn.Conv2d) -> Callable[[Tensor], Tensor]:
    stride, padding = module.stride[0], int(module.padding[0])
    return lambda x: depthwise_conv2d(x, module.weight, stride, padding)


def floor_step(networks: Sequence[nn.Module], images: Tensor, labels: Tensor) -> None:
    """Forward and backward of plain networks with the sandwich's losses."""
    target: Tensor | None = None
    for network in networks:
        for parameter in network.parameters():
            parameter.grad = None
        logits = network(images)
        loss = (
            hard_cross_entropy(logits, labels, 0.1) if target is None else soft_cross_entropy(logits, target)
        )
        if target is None:
            target = logits.detach()
        loss.backward()


class TimedUpdater(Updater):
    """Notes the time of the forward and backward passes."""

    inner = 0.0
    clock: Callable[[], float]

    def accumulate(self, *arguments: Any, **options: Any) -> Accumulated:
        """As the updater's, timed."""
        start = self.clock()
        result = super().accumulate(*arguments, **options)
        self.inner = self.clock() - start
        return result


def measure(space: SearchSpace, config: RunConfig, threads: int, repeats: int) -> dict[str, float]:
    """Median seconds of each part."""
    clock = time.process_time if threads == 1 else time.perf_counter
    torch.manual_seed(0)
    supernet = Supernet(space).to(memory_format=torch.channels_last)
    supernet.train()
    optimizer = build_optimizer(config.optimizer, supernet)
    set_learning_rate(optimizer, 0.01)
    updater = TimedUpdater(supernet, optimizer, config.training, Process())
    updater.clock = clock
    algorithm = config.algorithm.build(config, space)
    phase = algorithm.phases[0]
    position = Position(epoch=0, step=0, steps_per_epoch=1, resolution=space.resolutions[-1])
    size, batch = space.resolutions[-1], config.training.batch_size
    data = open_dataset(f"fake:classes={space.num_classes},size={size},train={batch * 40},test=1000")
    batches = data.epoch(0, batch, seed=0)
    times: dict[str, list[float]] = {name: [] for name in ("update", "floor", "rest", "data")}

    def plan() -> Sequence[Pass]:
        return algorithm.plan(phase, position, np.random.default_rng(0))

    networks = [same_kernels(extract(supernet, item.subnet)).train() for item in plan()]
    for network in networks:
        network.to(memory_format=torch.channels_last)
    for repeat in range(repeats + 1):
        start = clock()
        images, labels = next(batches)
        after_data = clock()
        updater(images, labels, plan())
        after_update = clock()
        floor_step(networks, images, labels)
        after_floor = clock()
        if repeat:  # the first is for warming up
            times["data"].append(after_data - start)
            times["update"].append(after_update - after_data)
            times["rest"].append(after_update - after_data - updater.inner)
            times["floor"].append(after_floor - after_update)
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--space", default="deps-mobilenet-v3-cifar")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    space = get_space(chosen.space).with_num_classes(10)
    config = configuration(chosen.space, chosen.batch, is_compiled=chosen.compile, precision=chosen.precision)
    result = measure(space, config, chosen.threads, chosen.repeats)
    print(f"{chosen.space}, batch {chosen.batch}, {chosen.threads} threads, torch {torch.__version__}")
    update, floor, rest, data = (result[name] for name in ("update", "floor", "rest", "data"))
    print(f"update            {update:8.3f} s")
    print(f"floor             {floor:8.3f} s   update / floor = {update / floor:.3f}")
    print(f"beyond fwd + bwd  {rest:8.3f} s   {100 * rest / update:.2f} % of the update")
    print(f"one batch         {data:8.4f} s   {100 * data / update:.2f} % of the update")


if __name__ == "__main__":
    main()
