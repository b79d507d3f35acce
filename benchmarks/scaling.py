"""What training on many GPUs would reach, predicted from bytes, MACs and assumed speeds. Nothing is measured.

    python benchmarks/scaling.py [--recipe NAME] [--gpus 8 64] [--images-per-second 1000] [--gigabits 25]

An update reduces all gradients once, after the last backward pass and not while it runs: its time is the
longest process's passes plus one ring all-reduce, in which each GPU sends 2 (n - 1) / n times the gradient's
bytes over the slowest link. Assumed, and to be replaced by your own figures: how many images a second one GPU
trains the largest network alone at (`make test-gpu` prints it), that time is proportional to MACs, and the
slowest link's bandwidth for one GPU. Loading is assumed to keep up; the rate it must keep up with is printed.
"""

from __future__ import annotations

import argparse

from ofa_toolkit.complexity import count_macs, count_params
from ofa_toolkit.pipelines.training.recipes import load_recipe
from ofa_toolkit.spaces import lower
from ofa_toolkit.training.cost import macs_per_image

_CLASSES, _TRAIN_IMAGES = 1000, 1_281_167


def main() -> None:
    """Predict and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--recipe", default="deps-mobilenet-v3-imagenet")
    parser.add_argument("--gpus", type=int, nargs="+", default=[8, 64])
    parser.add_argument("--images-per-second", type=float, default=1000.0)
    parser.add_argument("--gigabits", type=float, default=25.0)
    chosen = parser.parse_args()
    config = load_recipe(chosen.recipe)
    space = config.space.trained(_CLASSES)
    algorithm = config.algorithm.build(config, space)
    batch = config.training.batch_size
    largest = count_macs(lower(space, space.largest()))
    gradient_bytes = 4 * count_params(lower(space, space.largest()))
    print(f"{chosen.recipe}: {gradient_bytes / 1e6:.1f} MB of gradients an update, batch {batch}")
    print(
        f"Assumed: {chosen.images_per_second:g} images/s a GPU for the largest network alone, "
        f"{chosen.gigabits:g} Gbit/s a GPU; {_TRAIN_IMAGES:,} images an epoch"
    )
    print("phase         GPUs  MB sent  step ms  reduce ms  images/s a GPU  efficiency  GPU-hours")
    for phase in algorithm.phases:
        passes = macs_per_image(algorithm, phase, _TRAIN_IMAGES // batch) / largest
        for count in chosen.gpus:
            step = batch / count * passes / chosen.images_per_second
            sent = 2 * (count - 1) / count * gradient_bytes
            reduce = sent * 8 / (chosen.gigabits * 1e9)
            rate = batch / count / (step + reduce)
            hours = phase.epochs * _TRAIN_IMAGES / rate / 3600
            print(
                f"{phase.name:12}  {count:4}  {sent / 1e6:7.1f}  {1e3 * step:7.1f}  {1e3 * reduce:9.1f}  "
                f"{rate:14.0f}  {100 * step / (step + reduce):8.1f} %  {hours:9.0f}"
            )


if __name__ == "__main__":
    main()
