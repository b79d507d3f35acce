"""Anything that classifies pictures, opened alike: an ONNX file, a bundle, a run, a supernet of the zoo."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from ofa_toolkit.core.documents import read_object, read_text
from ofa_toolkit.core.errors import ExportError, FileFormatError
from ofa_toolkit.core.quantities import counted
from ofa_toolkit.export.exporter import file_scores
from ofa_toolkit.export.metadata import ExportMetadata, read_metadata
from ofa_toolkit.export.model_file import load_model
from ofa_toolkit.pipelines.export.bundle import preprocessing_of
from ofa_toolkit.spaces.subnet_file import SubnetLike, subnet_file
from ofa_toolkit.zoo.extraction import extract_subnet
from ofa_toolkit.zoo.supernet import LoadedSupernet, SupernetLike, load_supernet

Floats = npt.NDArray[np.float32]

MODEL_FILE, SETTINGS_FILE, LABELS_FILE = "model.onnx", "preprocessing.json", "labels.txt"


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """A network with what its inputs and outputs mean.

    Attributes:
        name: As the user named it.
        class_names: Names of the outputs, in order.
        preprocessing: Size, crop, interpolation, mean and deviation of the network's images.
        logits: From images (N, 3, size, size), normalised, to (N, classes).
        notes: Assumptions that were made, such as the subnet.
    """

    name: str
    class_names: tuple[str, ...]
    preprocessing: Mapping[str, Any]
    logits: Callable[[Floats], Floats]
    notes: tuple[str, ...] = ()


def open_classifier(
    model: SupernetLike, *, subnet: SubnetLike | None = None, data: str | None = None, threads: int = 1
) -> Classifier:
    """Open a model.

    Args:
        model: An ONNX file that `ofa-tk export` wrote, a bundle, or a supernet: a run, folder or zoo name.
        subnet: Subnet of a supernet; a run's fine-tuned one, or else the largest trained one, where None.
        data: Training images for the batch-norm statistics of a subnet, where the supernet carries none.
        threads: Threads of ONNX Runtime.

    Raises:
        OfaToolkitError: It is missing or damaged, or does not say how pictures are prepared.
    """
    if isinstance(model, LoadedSupernet):
        return _from_supernet(model, subnet, data)
    path = Path(model)
    file = path / MODEL_FILE if (path / MODEL_FILE).is_file() else path
    if not file.is_file() and path.suffix != ".onnx":
        return _from_supernet(load_supernet(model), subnet, data)
    for option, value in (("--subnet", subnet), ("--data", data)):
        if value is not None:
            raise ExportError(
                f"{option} is for supernets; '{path}' is one network.", hint=f"Leave {option} out."
            )
    opened = _from_file(file, threads)
    return opened if file is path else _as_in_bundle(opened, path)


def _from_file(path: Path, threads: int) -> Classifier:
    model = load_model(path)
    metadata = read_metadata(model)
    if metadata.ends.gives_maps:
        raise ExportError(
            f"'{path}' is a network without its classifier: it names no classes.",
            hint="Export it again without --features.",
        )
    return Classifier(
        name=str(path),
        class_names=metadata.class_names or numbered(metadata.num_classes),
        preprocessing=preprocessing_of(metadata),
        logits=_onnx_logits(model, metadata, threads),
    )


def _as_in_bundle(opened: Classifier, folder: Path) -> Classifier:
    """With the settings and labels of the bundle's files, which its own runner reads."""
    labels = tuple(read_text(folder / LABELS_FILE).splitlines())
    if len(labels) != len(opened.class_names):
        raise FileFormatError(
            f"'{folder / LABELS_FILE}' has {counted(len(labels), 'line')}; the network has "
            f"{counted(len(opened.class_names), 'output')}."
        )
    settings = read_object(folder / SETTINGS_FILE, f"'{folder / SETTINGS_FILE}'")
    missing = sorted(set(opened.preprocessing) - set(settings))
    if missing:
        raise FileFormatError(f"'{folder / SETTINGS_FILE}' does not say the {missing[0]}.")
    return replace(opened, name=str(folder), class_names=labels, preprocessing=settings)


def _onnx_logits(
    model: onnx.ModelProto, metadata: ExportMetadata, threads: int
) -> Callable[[Floats], Floats]:
    """Logits of a file, up to a constant where it gives probabilities or the likeliest classes alone."""
    run, ends = file_scores(model, metadata, num_threads=threads), metadata.ends
    if ends.output == "logits":
        return run

    def logits(images: Floats) -> Floats:
        scores = run(images)
        others = max(1, metadata.num_classes - (ends.k or 0))
        left = np.clip(1 - scores.sum(1, keepdims=True), 1e-12, None) / others
        found: Floats = np.log(np.where(scores > 0, scores, left))
        return found

    return logits


def _from_supernet(supernet: LoadedSupernet, subnet: SubnetLike | None, data: str | None) -> Classifier:
    if supernet.preprocessing is None:
        raise ExportError(f"'{supernet.name}' does not say how pictures are prepared.")
    chosen, notes = subnet, list(supernet.notes)
    if chosen is None:
        chosen, told = _default_subnet(supernet)
        notes.append(told)
    # The stored statistics are those of the subnet that is taken where none is named.
    keeps = subnet is None and data is None and supernet.batchnorm_statistics is not None
    found = subnet_file(chosen, supernet.space)
    network = extract_subnet(supernet, found, data=data, keep_batchnorm=keeps, can_keep=False)
    return Classifier(
        name=supernet.name,
        class_names=supernet.class_names or numbered(supernet.space.num_classes),
        preprocessing={**supernet.preprocessing, "size": found.subnet.resolution},
        logits=_torch_logits(network),
        notes=tuple(notes),
    )


def _default_subnet(supernet: LoadedSupernet) -> tuple[SubnetLike, str]:
    """The only subnet of use, else the largest; and how to say so."""
    if supernet.only_subnet is not None:
        return supernet.only_subnet, "By the only subnet that was trained."
    return supernet.trained_space.largest(), "By its largest trained subnet; --subnet FILE takes another."


def _torch_logits(network: Any) -> Callable[[Floats], Floats]:
    import torch

    def run(images: Floats) -> Floats:
        with torch.no_grad():
            logits: Floats = network(torch.from_numpy(images)).numpy()
        return logits

    return run


def numbered(count: int) -> tuple[str, ...]:
    """Names of outputs that nobody named."""
    return tuple(f"class {index}" for index in range(count))


def probabilities(logits: Floats) -> Floats:
    """Softmax of logits (N, classes), row by row."""
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: Floats = shares / shares.sum(axis=1, keepdims=True)
    return result
