"""Does the file compute what the network computes? Outputs side by side, in ONNX Runtime and in torch."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from torch import nn

from ofa_toolkit.core.errors import DataError, VerificationError
from ofa_toolkit.core.precision import FilePrecision
from ofa_toolkit.core.rng import generator
from ofa_toolkit.graphs.session import open_session

Images = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]

MAX_RELATIVE_ERROR = 1e-4
"""fp32: largest difference of a logit, relative to the network's largest logit."""

MAX_ACCURACY_DROP: dict[FilePrecision, float] = {"fp32": 0.0, "fp16": 0.5, "int8": 2.0}
"""Points of top-1 a file may lose against the fp32 network, where there are labels."""

MIN_AGREEMENT: dict[FilePrecision, float] = {"fp32": 100.0, "fp16": 98.0, "int8": 80.0}
"""Percent of images for which file and network must name the same class, where nothing tells the accuracy."""

MIN_AGREEMENT_JUDGED: dict[FilePrecision, float] = {"fp32": 100.0, "fp16": 90.0, "int8": 50.0}
"""Percent of images for which both must name the same class where accuracy was measured. On images that both
get wrong they may differ, but a network that is wrong on most of them loses no accuracy whatever the file
computes."""

MAX_HALF_MAP_ERROR = 2e-2
"""fp16, for networks without classes: largest difference in a map, relative to its largest value."""

_PROBE_IMAGES = 4


@dataclass(frozen=True, kw_only=True)
class CheckImages:
    """Images to compare outputs on.

    Attributes:
        description: The images, in words.
        batches: Gives them from the start at every call: normalised images `(N, 3, R, R)` with labels
            `(N,)`, or None where there are none.
    """

    description: str
    batches: Callable[[], Iterable[tuple[Images, Labels | None]]]


def synthetic_images(resolution: int, num_images: int = 32) -> CheckImages:
    """Seeded noise of the spread of normalised images; says nothing about accuracy."""

    def batches() -> Iterator[tuple[Images, None]]:
        draw = generator(0, "export", "synthetic", resolution)
        for start in range(0, num_images, 8):
            shape = (min(8, num_images - start), 3, resolution, resolution)
            yield draw.standard_normal(shape, dtype=np.float32), None

    return CheckImages(description=f"{num_images} seeded synthetic inputs", batches=batches)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How the outputs of a file compare with the network's.

    Attributes:
        images: On which images.
        num_images: Number of images.
        max_relative_error: Largest difference of a logit over the network's largest logit; or, of a network
            without classifier, in a map over the map's largest value.
        agreement_percent: Images for which both name the same class; None where there are no classes.
        network_top1_percent: Accuracy of the network on them, where there are labels.
        file_top1_percent: The same of the file.
        largest_activation: In an fp16 file: largest magnitude between its nodes; fp16 ends at 65,504.
    """

    images: str
    num_images: int
    max_relative_error: float
    agreement_percent: float | None
    network_top1_percent: float | None = None
    file_top1_percent: float | None = None
    largest_activation: float | None = None

    @property
    def accuracy_drop(self) -> float | None:
        """Points of top-1 the file loses, None without labels."""
        if self.network_top1_percent is None or self.file_top1_percent is None:
            return None
        return self.network_top1_percent - self.file_top1_percent


Scores = Callable[[Images], Images]


def compare(run: Scores, network: nn.Module, check: CheckImages, scores: Scores | None = None) -> Comparison:
    """Run a file where it runs and the network in torch, on the same images.

    Args:
        run: The file, from normalised images `(N, 3, R, R)` to scores `(N, classes)`.
        network: In any mode; judged in evaluation mode and put back.
        check: The images.
        scores: Turns the network's logits into what the file is to give; None where they are the same.

    Raises:
        DataError: There are none.
        VerificationError: The network's own outputs are not finite.
    """
    error = scale = 0.0
    num_images = num_labels = agreeing = right = network_right = 0
    for images, labels in check.batches():
        expected, logits = run_network(network, images), run(images)
        if not np.isfinite(expected).all():
            raise VerificationError(
                f"The network's own outputs are not finite on {check.description}: its weights or batch-norm "
                "statistics are damaged, whatever the file."
            )
        expected = expected if scores is None else scores(expected)
        error = max(error, largest_magnitude(logits - expected))
        scale = max(scale, largest_magnitude(expected))
        guesses, expected_guesses = logits.argmax(1), expected.argmax(1)
        agreeing += int((guesses == expected_guesses).sum())
        num_images += len(images)
        if labels is not None:
            num_labels += len(labels)
            right += int((guesses == labels).sum())
            network_right += int((expected_guesses == labels).sum())
    if num_images == 0:
        raise DataError(f"There are no images to compare on: {check.description}.")
    return Comparison(
        images=check.description,
        num_images=num_images,
        max_relative_error=error / (scale or 1.0),
        agreement_percent=100 * agreeing / num_images,
        network_top1_percent=100 * network_right / num_labels if num_labels else None,
        file_top1_percent=100 * right / num_labels if num_labels else None,
    )


def largest_half_activation(model: onnx.ModelProto, check: CheckImages) -> float:
    """Largest magnitude that any node of an fp16 model gives for a few images.

    ONNX Runtime may compute neighbouring nodes in single precision on a CPU, so that an overflow would not
    show in the outputs; a GPU does not. Here every node's output is asked for, which rounds it to fp16.

    Raises:
        VerificationError: One is not finite.
    """
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    outputs = {value.name for value in model.graph.output}
    between = [name for node in model.graph.node for name in node.output if name not in outputs]
    del probe.graph.output[:]
    kind = onnx.TensorProto.FLOAT16
    probe.graph.output.extend(onnx.helper.make_tensor_value_info(name, kind, None) for name in between)
    images = next(iter(check.batches()))[0][:_PROBE_IMAGES]
    found = ModelRunner(probe).run_all(images)
    largest = {name: largest_magnitude(value) for name, value in zip(between, found, strict=True)}
    for name, value in largest.items():
        if not np.isfinite(value):
            raise VerificationError(
                f"fp16 overflows at '{name}' on {check.description}: it ends at 65,504.",
                hint="--precision fp32, or int8 where the target has it",
            )
    return max(largest.values())


def check_comparison(
    comparison: Comparison, precision: FilePrecision, *, max_accuracy_drop: float | None = None
) -> None:
    """Raise `VerificationError` where a file strays further from the network than its precision may.

    Args:
        comparison: The comparison to judge.
        precision: Precision of the file.
        max_accuracy_drop: Points of top-1, in place of the precision's limit.
    """
    error, on = comparison.max_relative_error, f"on {comparison.images}"
    if not np.isfinite(error):
        raise VerificationError(f"The file's outputs are not finite {on}.")
    if precision == "fp32":
        if error > MAX_RELATIVE_ERROR:
            raise VerificationError(
                f"The file's outputs differ from the network's by {error:.1e} of the largest {on}; "
                f"fp32 allows {MAX_RELATIVE_ERROR:.0e}."
            )
        return
    if comparison.agreement_percent is None:
        if error > MAX_HALF_MAP_ERROR:
            raise VerificationError(
                f"The file's maps differ from the network's by {error:.1e} of the largest value {on}; "
                f"{precision} allows {MAX_HALF_MAP_ERROR:.0e}.",
                hint="--precision fp32",
            )
        return
    limit = MAX_ACCURACY_DROP[precision] if max_accuracy_drop is None else max_accuracy_drop
    drop = comparison.accuracy_drop
    if drop is not None and drop > limit:
        top1, before = comparison.file_top1_percent, comparison.network_top1_percent
        raise VerificationError(
            f"{precision} loses {drop:.2f} points of top-1 {on}: {top1:.2f} % instead of {before:.2f} %; "
            f"the limit is {limit:g}.",
            hint=f"Use another precision, or allow it: --max-drop {np.ceil(drop * 10) / 10:g}",
        )
    least = (MIN_AGREEMENT if drop is None else MIN_AGREEMENT_JUDGED)[precision]
    if comparison.agreement_percent < least:
        raise VerificationError(
            f"{precision} names another class than the network for "
            f"{100 - comparison.agreement_percent:.1f} % of the images {on}; the limit is {100 - least:g} %.",
            hint="Give images to judge the accuracy on: --data SOURCE"
            if drop is None
            else "Use another precision, or other int8 ranges: --calibration percentile",
        )


@torch.inference_mode()
def run_network(network: nn.Module, images: Images) -> Images:
    """Logits of a network in evaluation mode, `(N, classes)`."""
    with in_evaluation(network):
        logits: Images = network(torch.from_numpy(images)).float().numpy()
    return logits


@contextlib.contextmanager
def in_evaluation(network: nn.Module) -> Iterator[None]:
    """A network in evaluation mode, put back into its own afterwards."""
    was_training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(was_training)


class ModelRunner:
    """An ONNX model with one input, run in ONNX Runtime on the CPU.

    Where the file fixes the batch size, images are cut into such batches, the last one filled up with
    copies that are dropped again.

    Args:
        model: The model.
        num_threads: Threads of an operator.
    """

    def __init__(self, model: onnx.ModelProto, *, num_threads: int = 1) -> None:
        self._session = open_session(model.SerializeToString(), num_threads=num_threads)
        [source] = self._session.get_inputs()
        self._input = source.name
        self._batch_size = source.shape[0] if isinstance(source.shape[0], int) else None

    def __call__(self, images: Images) -> Images:
        """Logits `(N, classes)` of images `(N, 3, R, R)`."""
        return self.run_all(images)[0]

    def run_all(self, images: Images) -> list[npt.NDArray[Any]]:
        """Every output of the model, `(N, ...)` each."""
        size = self._batch_size or len(images)
        parts = []
        for start in range(0, len(images), size):
            part = images[start : start + size]
            fill = np.repeat(part[-1:], size - len(part), axis=0)
            batch = np.concatenate([part, fill]) if len(fill) else np.ascontiguousarray(part)
            outputs = self._session.run(None, {self._input: batch})
            parts.append([output[: len(part)] for output in outputs])
        return [np.concatenate(pieces) for pieces in zip(*parts, strict=True)]


def largest_magnitude(values: Images) -> float:
    """Largest absolute value; infinite where one is not finite."""
    # max() of Python would drop a NaN; NumPy's keeps it, and it becomes infinity here.
    largest = float(np.abs(values).max())
    return largest if np.isfinite(largest) else float("inf")
