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

import numpy as np
import torch

from ofa_toolkit.pipelines.zoo.batchnorm_images import (
    CarriedAccuracy,
    judge_batchnorm_images,
    make_batchnorm_images,
)


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
        make_batchnorm_images(
            arguments.folder, arguments.data, on_step=lambda done: print(done, end="\r", flush=True)
        )
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


if __name__ == "__main__":
    main()
