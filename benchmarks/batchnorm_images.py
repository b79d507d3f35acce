"""How well what a supernet carries for batch-norm statistics replaces training images.

    OMP_NUM_THREADS=1 python benchmarks/batchnorm_images.py zoo/NAME npz:FILE [--subnets 20] [--images N]

Random subnets, none of those the images were optimised on or corrected by, are judged on test images three
times: with statistics of 2,000 training images, of the images in the folder, corrected where it has
corrections, and of 2,000 other training images, which tells how much chance there is in a difference. Aim:
every subnet within 0.5 points of the first. With `--make` they are made first (one core: a quarter of an
hour or more), into the folder.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ofa_tk.reporter import TerminalReporter
from ofa_toolkit.core.errors import MismatchError
from ofa_toolkit.evaluation.accuracy import RECALIBRATION_SEED, evaluate, recalibration_batches
from ofa_toolkit.pipelines.evaluation.evaluator import Evaluator, open_evaluator
from ofa_toolkit.pipelines.evaluation.request import EvaluationRequest
from ofa_toolkit.pipelines.zoo.batchnorm_images import make_batchnorm_images
from ofa_toolkit.spaces import Subnet, sample_subnets
from ofa_toolkit.supernets import extract, recalibrate_batchnorm


@dataclass(frozen=True, kw_only=True)
class CarriedAccuracy:
    """Accuracy of one subnet with statistics from real images and from what the folder carries.

    Attributes:
        subnet: The subnet; none of the pool the images were made with.
        real_percent: Top-1 with statistics of real training images.
        carried_percent: Top-1 with what the folder carries.
        other_percent: Top-1 with statistics of as many other real images: the effect of chance.
    """

    subnet: Subnet
    real_percent: float
    carried_percent: float
    other_percent: float

    @property
    def difference(self) -> float:
        """Points lost by having no real images."""
        return self.real_percent - self.carried_percent


def main() -> None:
    """Print every subnet and a summary."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder")
    parser.add_argument("data")
    parser.add_argument("--subnets", type=int, default=20)
    parser.add_argument("--images", type=int, default=None, help="test images; all by default")
    parser.add_argument("--seed", type=int, default=1, help="of the subnets")
    parser.add_argument("--make", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.make:
        with TerminalReporter() as reporter:
            make_batchnorm_images(arguments.folder, arguments.data, reporter=reporter)
    print("pixels   real  carried  other real")
    results = judge_batchnorm_images(
        arguments.folder,
        arguments.data,
        num_subnets=arguments.subnets,
        num_images=arguments.images,
        seed=arguments.seed,
        on_subnet=_show,
    )
    carried = np.array([result.difference for result in results])
    other = np.array([result.real_percent - result.other_percent for result in results])
    for name, lost in (("carried", carried), ("other real", other)):
        print(f"{name}: {lost.mean():.2f} points lost on average, {lost.min():.2f} to {lost.max():.2f}")
    print(f"{(np.abs(carried) <= 0.5).sum()} of {len(carried)} subnets within 0.5 points")


def _show(result: CarriedAccuracy) -> None:
    figures = (result.real_percent, result.carried_percent, result.other_percent)
    print(f"{result.subnet.resolution:6d}  " + "  ".join(f"{figure:6.2f}" for figure in figures), flush=True)


def judge_batchnorm_images(
    folder: str | Path,
    data: str,
    *,
    num_subnets: int = 20,
    num_images: int | None = None,
    seed: int = 1,
    on_subnet: Callable[[CarriedAccuracy], None] | None = None,
) -> list[CarriedAccuracy]:
    """Compare both kinds of statistics on random subnets, on the test images or `num_images` of them."""
    evaluator = open_evaluator(folder, EvaluationRequest(data=data, device="cpu"))
    supernet = evaluator.supernet
    carried = supernet.carried_statistics
    if carried is None:
        raise MismatchError(f"'{folder}' carries nothing for batch-norm statistics.")
    results = []
    for subnet in sample_subnets(supernet.trained_space, num_subnets, np.random.default_rng(seed)):
        network = extract(supernet.network, subnet).to(memory_format=torch.channels_last)
        real = []
        for recalibration_seed in (RECALIBRATION_SEED, RECALIBRATION_SEED + 1):
            batches = recalibration_batches(
                evaluator.dataset, subnet.resolution, batch_size=128, seed=recalibration_seed
            )
            recalibrate_batchnorm(network, batches)
            real.append(_top1_percent(evaluator, network, subnet, num_images))
        carried.recalibrate(network, subnet.resolution)
        result = CarriedAccuracy(
            subnet=subnet,
            real_percent=real[0],
            carried_percent=_top1_percent(evaluator, network, subnet, num_images),
            other_percent=real[1],
        )
        results.append(result)
        if on_subnet is not None:
            on_subnet(result)
    return results


def _top1_percent(evaluator: Evaluator, network: nn.Module, subnet: Subnet, num_images: int | None) -> float:
    batches = evaluator.dataset.batches("test", 128, resolution=subnet.resolution, limit=num_images)
    return evaluate(network.eval(), batches).top1_percent


if __name__ == "__main__":
    main()
