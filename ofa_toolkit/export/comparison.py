"""Does the file compute what the network computes? Outputs side by side, in ONNX Runtime and in torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from torch import Tensor, nn

from ofa_toolkit.core.errors import DataError, VerificationError
from ofa_toolkit.core.rng import generator
from ofa_toolkit.export.target_devices import Precision

Images = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]

MAX_RELATIVE_ERROR = 1e-4
"""fp32: largest difference of a logit, relative to the network's largest logit."""

MAX_ACCURACY_DROP: dict[Precision, float] = {"fp32": 0.0, "fp16": 0.5, "int8": 2.0}
"""Points of top-1 a file may lose against the fp32 network, where there are labels."""

MIN_AGREEMENT: dict[Precision, float] = {"fp32": 100.0, "fp16": 98.0, "int8": 80.0}
"""Percent of images for which file and network must name the same class."""


@dataclass(frozen=True, kw_only=True)
class CheckImages:
    """Images to compare outputs on.

    Attributes:
        description: Which images they are.
        images: Normalised, `(N, 3, R, R)`.
        labels: `(N,)`, or None where there are none.
    """

    description: str
    images: Images
    labels: Labels | None = None


def synthetic_images(resolution: int, num_images: int = 32, seed: int = 0) -> CheckImages:
    """Seeded noise of the spread of normalised images; says nothing about accuracy."""
    draw = generator(seed, "export", "synthetic", resolution)
    images = draw.standard_normal((num_images, 3, resolution, resolution), dtype=np.float32)
    return CheckImages(description=f"{num_images} seeded synthetic inputs (no --data)", images=images)


def collect_images(description: str, batches: Iterable[tuple[Tensor, Tensor]]) -> CheckImages:
    """Keep the batches of a data set.

    Raises:
        DataError: There are none.
    """
    kept = [(images.numpy(), labels.numpy()) for images, labels in batches]
    if not kept:
        raise DataError(f"There are no images in {description}.")
    images, labels = (np.concatenate(parts) for parts in zip(*kept, strict=True))
    return CheckImages(description=f"{len(images)} {description}", images=images, labels=labels)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How the outputs of a file compare with the network's.

    Attributes:
        images: On which images.
        num_images: How many.
        max_relative_error: Largest difference of a logit over the network's largest logit.
        agreement_percent: Images for which both name the same class.
        network_top1_percent: Accuracy of the network on them, where there are labels.
        file_top1_percent: The same of the file.
    """

    images: str
    num_images: int
    max_relative_error: float
    agreement_percent: float
    network_top1_percent: float | None = None
    file_top1_percent: float | None = None

    @property
    def accuracy_drop(self) -> float | None:
        """Points of top-1 the file loses, None without labels."""
        if self.network_top1_percent is None or self.file_top1_percent is None:
            return None
        return self.network_top1_percent - self.file_top1_percent


def compare(model: onnx.ModelProto, network: nn.Module, check: CheckImages) -> Comparison:
    """Run a file in ONNX Runtime on the CPU and the network in torch, on the same images.

    Args:
        model: With one input and one output of logits.
        network: In any mode; judged in evaluation mode and put back.
        check: The images.
    """
    expected = run_network(network, check.images)
    logits = run_model(model, check.images)
    scale = float(np.abs(expected).max()) or 1.0
    guesses, expected_guesses = logits.argmax(1), expected.argmax(1)
    accuracies: dict[str, float] = {}
    if check.labels is not None:
        accuracies = {
            "network_top1_percent": 100 * float((expected_guesses == check.labels).mean()),
            "file_top1_percent": 100 * float((guesses == check.labels).mean()),
        }
    return Comparison(
        images=check.description,
        num_images=len(check.images),
        max_relative_error=float(np.abs(logits - expected).max()) / scale,
        agreement_percent=100 * float((guesses == expected_guesses).mean()),
        **accuracies,
    )


def check_comparison(
    comparison: Comparison, precision: Precision, *, max_accuracy_drop: float | None = None
) -> None:
    """Raise `VerificationError` where a file strays further from the network than its precision may.

    Args:
        comparison: What was found.
        precision: Of the file.
        max_accuracy_drop: Points of top-1, in place of the precision's limit.
    """
    error, on = comparison.max_relative_error, f"on {comparison.images}"
    if not np.isfinite(error):
        raise VerificationError(f"The file's outputs are not finite {on}.")
    if precision == "fp32":
        if error > MAX_RELATIVE_ERROR:
            raise VerificationError(
                f"The file's outputs differ from the network's by {error:.1e} of the largest logit {on}; "
                f"fp32 allows {MAX_RELATIVE_ERROR:.0e}."
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
    # Where accuracy was measured, disagreement on images that both get wrong does not matter.
    if drop is None and comparison.agreement_percent < MIN_AGREEMENT[precision]:
        raise VerificationError(
            f"{precision} names another class than the network for "
            f"{100 - comparison.agreement_percent:.1f} % of the images {on}; "
            f"the limit is {100 - MIN_AGREEMENT[precision]:g} %.",
            hint="Give images to judge the accuracy on: --data SOURCE",
        )


@torch.inference_mode()
def run_network(network: nn.Module, images: Images, batch_size: int = 64) -> Images:
    """Logits of a network in evaluation mode, `(N, classes)`."""
    was_training = network.training
    network.eval()
    try:
        parts = [network(torch.from_numpy(part)).float().numpy() for part in _split(images, batch_size)]
    finally:
        network.train(was_training)
    return np.concatenate(parts)


def run_model(model: onnx.ModelProto, images: Images) -> Images:
    """Logits of a file in ONNX Runtime on the CPU, `(N, classes)`.

    Where the file fixes the batch size, the last batch is filled up with copies that are dropped again.
    """
    session = cpu_session(model.SerializeToString())
    [source] = session.get_inputs()
    fixed = source.shape[0] if isinstance(source.shape[0], int) else None
    parts = []
    for part in _split(images, fixed or 64):
        fill = 0 if fixed is None else fixed - len(part)
        batch = np.concatenate([part, np.repeat(part[-1:], fill, axis=0)]) if fill else part
        parts.append(session.run(None, {source.name: batch})[0][: len(part)])
    return np.concatenate(parts)


def cpu_session(model: bytes, *, num_threads: int = 1) -> Any:
    """An ONNX Runtime session on the CPU that keeps its advice to itself and does not spin."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _split(images: Images, batch_size: int) -> Iterator[Images]:
    for start in range(0, len(images), batch_size):
        yield np.ascontiguousarray(images[start : start + batch_size])
