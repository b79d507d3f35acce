"""Forward and backward of depthwise convolutions: torch's own against `depthwise_conv2d`, in one run.

    python benchmarks/depthwise.py [--threads 1] [--repeats 9] [--space NAME --batch 128]

The sides take turns, so that what else the machine does hits all; a figure is the median over the repeats.
With one thread it is CPU time, which other processes distort little; with more it is elapsed time, since
waiting threads burn CPU time too. "contiguous" and "channels last" are `torch.nn.functional.conv2d` in these
layouts, "ours" is channels last. The last column is the largest difference of the weight gradients, ours
against conv2d's, over the largest entry.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ofa_toolkit.modules.depthwise import depthwise_conv2d
from ofa_toolkit.spaces import get_space, lower

Convolution = Callable[[Tensor, Tensor, int, int], Tensor]


@dataclass(frozen=True, order=True)
class Shape:
    """A depthwise layer on square maps."""

    size: int  # pixels
    channels: int
    kernel_size: int
    stride: int


def depthwise_shapes(space_name: str, which: str) -> Counter[Shape]:
    """How often each depthwise shape occurs in the largest or smallest subnet of a space."""
    space = get_space(space_name)
    subnet = space.largest() if which == "largest" else space.smallest()
    return Counter(
        Shape(layer.in_size, layer.in_channels, layer.kernel_size, layer.stride)
        for layer in lower(space, subnet)
        if layer.is_depthwise
    )


def conv2d(images: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    """Torch's own."""
    return F.conv2d(images, weight, None, stride, padding, groups=images.shape[1])


class Side:
    """One implementation in one layout on one shape."""

    def __init__(
        self, shape: Shape, batch: int, convolution: Convolution, layout: torch.memory_format
    ) -> None:
        generator = torch.Generator().manual_seed(0)
        size = (batch, shape.channels, shape.size, shape.size)
        images = torch.randn(size, generator=generator).contiguous(memory_format=layout)
        weight = torch.randn(shape.channels, 1, shape.kernel_size, shape.kernel_size, generator=generator)
        self.inputs = images.requires_grad_(), weight.requires_grad_()
        self.shape, self.convolution = shape, convolution
        output = self.forward()
        self.gradient = torch.randn(output.shape, generator=generator).contiguous(memory_format=layout)

    def forward(self) -> Tensor:
        """The output."""
        return self.convolution(*self.inputs, self.shape.stride, self.shape.kernel_size // 2)

    def gradients(self) -> tuple[Tensor, ...]:
        """Forward and backward."""
        return torch.autograd.grad(self.forward(), self.inputs, self.gradient)


def interleaved_ms(
    calls: Sequence[Callable[[], object]], repeats: int, clock: Callable[[], float]
) -> list[float]:
    """Median time of each call; they take turns."""
    times: list[list[float]] = [[] for _ in calls]
    for call in calls:
        call()
    for _ in range(repeats):
        for call, series in zip(calls, times, strict=True):
            start = clock()
            call()
            series.append((clock() - start) * 1e3)
    return [statistics.median(series) for series in times]


def row(name: str, times_ms: Sequence[float]) -> str:
    """The three times and ours over conv2d's, both channels last."""
    contiguous, channels_last, ours = times_ms
    return f"{name:30} {contiguous:10.1f} {channels_last:13.1f} {ours:7.1f} {ours / channels_last:6.2f}"


def main() -> None:
    """Print one row a shape and the totals."""
    parser = argparse.ArgumentParser(description="Old against new depthwise gradients.")
    parser.add_argument("--space", default="deps-mobilenet-v3-cifar")
    parser.add_argument("--subnet", choices=("largest", "smallest"), default="largest")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=9)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    clock = time.process_time if arguments.threads == 1 else time.perf_counter
    clock_name = "CPU" if arguments.threads == 1 else "elapsed"
    print(
        f"{arguments.space} {arguments.subnet}, batch {arguments.batch}, {arguments.threads} thread(s), "
        f"{clock_name} ms of forward + backward, torch {torch.__version__}"
    )
    print(
        f"{'layer':30} {'contiguous':>10} {'channels last':>13} {'ours':>7} {'ratio':>6} {'difference':>10}"
    )
    totals = [0.0, 0.0, 0.0]
    for shape, count in sorted(depthwise_shapes(arguments.space, arguments.subnet).items(), reverse=True):
        sides = [
            Side(shape, arguments.batch, conv2d, torch.contiguous_format),
            Side(shape, arguments.batch, conv2d, torch.channels_last),
            Side(shape, arguments.batch, depthwise_conv2d, torch.channels_last),
        ]
        times = interleaved_ms([side.gradients for side in sides], arguments.repeats, clock)
        theirs, ours = sides[1].gradients()[1], sides[2].gradients()[1]
        difference = ((ours - theirs).abs().max() / theirs.abs().max()).item()
        totals = [total + count * ms for total, ms in zip(totals, times, strict=True)]
        name = f"{count} x {shape.channels} ch {shape.size}x{shape.size} k{shape.kernel_size} s{shape.stride}"
        print(row(name, times), f"{difference:10.1e}")
    print(row("all depthwise layers", totals))
    print(f"ours / contiguous: {totals[2] / totals[0]:.2f}")


if __name__ == "__main__":
    main()
