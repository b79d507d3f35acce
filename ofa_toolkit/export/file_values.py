"""What goes into a file and comes out of it, and what the network says to the same images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ofa_toolkit.export.comparison import CheckImages, Images, Labels
from ofa_toolkit.export.ends import Ends, factors


def rounded_to_pixels(check: CheckImages, ends: Ends, preprocessing: Mapping[str, Any]) -> CheckImages:
    """The images as 8-bit pixels hold them, normalised again: those of a data set stay as they are.

    Args:
        check: Normalised images.
        ends: Input and output of the file; where it takes normalised images these are left alone.
        preprocessing: Preprocessing of the network's images.
    """
    if not ends.takes_pixels:
        return check
    scale, shift = factors(preprocessing)

    def batches() -> Iterator[tuple[Images, Labels | None]]:
        for images, labels in check.batches():
            yield to_pixels(images, preprocessing) * scale + shift, labels

    return CheckImages(description=check.description, batches=batches)


def to_pixels(images: Images, preprocessing: Mapping[str, Any]) -> Images:
    """Normalised images as pixels 0 to 255 in single precision, `(N, 3, R, R)`."""
    scale, shift = factors(preprocessing)
    pixels: Images = np.clip(np.rint((images - shift) / scale), 0, 255)
    return pixels


def file_input(images: Images, ends: Ends, preprocessing: Mapping[str, Any]) -> npt.NDArray[Any]:
    """What a file is given for normalised images `(N, 3, R, R)`."""
    values: npt.NDArray[Any] = to_pixels(images, preprocessing) if ends.takes_pixels else images
    if ends.layout == "NHWC":
        values = values.transpose(0, 2, 3, 1)
    return np.ascontiguousarray(values, np.uint8 if ends.input == "uint8" else np.float32)


def scores_of_file(outputs: Sequence[npt.NDArray[Any]], ends: Ends, num_classes: int) -> Images:
    """What a file gives, as one score a class `(N, classes)`; classes that are not among the top get 0."""
    if ends.output != "topk":
        return np.asarray(outputs[0], np.float32)
    values, indices = outputs
    scores = np.zeros((len(values), num_classes), np.float32)
    np.put_along_axis(scores, np.asarray(indices, np.int64), np.asarray(values, np.float32), axis=1)
    return scores


def scores_of_network(logits: Images, ends: Ends) -> Images:
    """The network's logits as scores of the kind that the file gives."""
    if ends.output == "logits":
        return logits
    powers = np.exp(logits - logits.max(1, keepdims=True))
    shares: Images = powers / powers.sum(1, keepdims=True)
    if ends.k is not None and ends.k < shares.shape[1]:
        least = np.partition(shares, -ends.k, axis=1)[:, -ends.k, None]
        shares = np.where(shares >= least, shares, np.float32(0))
    return shares
