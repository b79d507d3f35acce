"""What measuring a subnet costs beyond the forward passes it needs.

    OMP_NUM_THREADS=1 python benchmarks/predictor_build_cost.py [--subnets 10] [--images 2500]

A supernet with random weights and images made up on the spot: cost does not depend on either. Beside each
subnet's measurement (extraction, batch norm from training images, judging) the plain network's forward
passes (batch norm as it is, in evaluation mode) over the same batches are timed, by turns, in processor
seconds. Aim: at most 1.1.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time

import numpy as np
import torch

from ofa_toolkit.pipelines.evaluation.accuracy_log import SubnetMeter
from ofa_toolkit.pipelines.evaluation.evaluator import open_evaluator
from ofa_toolkit.pipelines.evaluation.request import EvaluationRequest
from ofa_toolkit.spaces import get_space, sample_subnets
from ofa_toolkit.supernets import Supernet, extract, save_supernet


def main() -> None:
    """Print the ratio."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--subnets", type=int, default=10)
    parser.add_argument("--images", type=int, default=2500, help="to judge on")
    parser.add_argument("--recalibration-images", type=int, default=2000)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        save_supernet(folder, Supernet(get_space("mobilenet-v3-compact").with_num_classes(10)))
        data = f"fake:train={arguments.images + arguments.recalibration_images},test=10"
        evaluator = open_evaluator(
            folder,
            EvaluationRequest(
                data=data,
                validation_size=arguments.images,
                recalibration_images=arguments.recalibration_images,
                device="cpu",
            ),
        )
        network = evaluator.supernet.network  # read before the folder goes
    meter = SubnetMeter(evaluator)
    subnets = sample_subnets(network.space, arguments.subnets + 1, np.random.default_rng(0))
    meter.measure(subnets[0])  # prepares the images, once for the whole run
    ratios = []
    for subnet in subnets[1:]:
        start = time.process_time()
        meter.measure(subnet)
        measured = time.process_time() - start
        extracted = extract(network, subnet).eval().to(memory_format=torch.channels_last)
        batches = [images for cached in meter._cache.values() for images, _ in cached]
        start = time.process_time()
        with torch.no_grad():
            for images in batches:
                extracted(images)
        ratios.append(measured / (time.process_time() - start))
    print(f"measuring / forward passes of the plain network: {statistics.median(ratios):.3f}")
    print(f"  (median of {len(ratios)} subnets, {min(ratios):.3f} to {max(ratios):.3f})")


if __name__ == "__main__":
    main()
