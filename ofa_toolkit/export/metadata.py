"""What a file says about itself: everything `ofa-tk verify` needs to work it out again.

One JSON document among the metadata of the ONNX file, under the key `ofa-toolkit/export`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import onnx

from ofa_toolkit.core.documents import parse_json
from ofa_toolkit.core.errors import FileFormatError
from ofa_toolkit.core.file_format import FileFormat
from ofa_toolkit.core.precision import FilePrecision
from ofa_toolkit.core.version import __version__
from ofa_toolkit.export.choices import METHODS, CalibrationMethod
from ofa_toolkit.export.ends import Ends
from ofa_toolkit.export.model_file import load_model
from ofa_toolkit.spaces.subnet import Subnet
from ofa_toolkit.spaces.subnet_file import subnet_document, subnet_from_document
from ofa_toolkit.supernets.batchnorm.source import BatchNormSource

FORMAT = FileFormat("ofa-toolkit/export", 2, "the metadata of an export")

CalibrationSplit = Literal["train"]


@dataclass(frozen=True, kw_only=True)
class QuantisationSource:
    """Where the ranges of 8-bit activations come from: enough to find them again.

    Attributes:
        images: Data source.
        split: Part of the data source.
        num_images: A random subset of that many.
        seed: Seed of the subset.
        method: Method that found the ranges, see `quantize`.
        weight_bits: Bits of a weight, see `quantize`; files of before have 8.
        folds_hard_sigmoid: Whether a byte's range stands in for HardSigmoid, see `quantize`; not in files of
            before.
    """

    images: str
    split: CalibrationSplit
    num_images: int
    seed: int
    method: CalibrationMethod
    weight_bits: int = 8
    folds_hard_sigmoid: bool = False

    def __post_init__(self) -> None:
        if self.weight_bits not in (7, 8):
            raise ValueError(f"weights of {self.weight_bits} bits; known: 7, 8")
        for value, known in ((self.split, get_args(CalibrationSplit)), (self.method, METHODS)):
            if value not in known:
                raise ValueError(f"calibration with '{value}'; known: {', '.join(known)}")


@dataclass(frozen=True, kw_only=True)
class ExportMetadata:
    """Origin and promises of an exported file.

    Attributes:
        space: Name of the search space.
        space_table: The space itself, as in a supernet's `config.json`; None where it is this release's
            space of that name.
        space_identity: Hash of what the space offers.
        num_classes: Outputs of the network.
        subnet: The subnet.
        supernet: Name or folder of the supernet, as the user gave it.
        supernet_identity: SHA-256 of its weights file.
        weights_identity: SHA-256 of the weights as the file holds them, see `identify_weights`.
        batchnorm: Source of the batch-norm statistics.
        target: Name of the target.
        generation: Row of the target's software.
        precision: Arithmetic the file is written in.
        batch_size: Images a run; None for any number.
        macs: Multiply-accumulates of one image.
        params: Weights and biases, batch norm folded.
        quantisation: For `int8`.
        preprocessing: Size, crop and normalisation of the images; plain JSON values.
        class_names: Names of the outputs.
        predicted: Predictions of the search; plain JSON values.
        comparison: Comparison with the network's outputs when the file was made.
        toolkit: Version that wrote it.
        ends: Input and output of the file.
        features: Maps of a network without its classifier: output -> stride, channels, side in pixels, layer.
    """

    space: str
    space_identity: str
    num_classes: int
    subnet: Subnet
    supernet: str
    supernet_identity: str
    weights_identity: str
    batchnorm: BatchNormSource
    target: str
    generation: str
    precision: FilePrecision
    batch_size: int | None
    macs: int
    params: int
    quantisation: QuantisationSource | None = None
    preprocessing: Mapping[str, Any] = field(default_factory=dict)
    class_names: tuple[str, ...] = ()
    predicted: Mapping[str, Any] = field(default_factory=dict)
    comparison: Mapping[str, Any] = field(default_factory=dict)
    toolkit: str = __version__
    space_table: Mapping[str, Any] | None = None
    ends: Ends = field(default_factory=Ends)
    features: Mapping[str, Any] | None = None

    def to_document(self) -> dict[str, Any]:
        """As plain JSON values."""
        document = {**FORMAT.header, **asdict(self)}
        document["subnet"] = subnet_document(self.subnet)
        document["class_names"] = list(self.class_names)
        return document

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> ExportMetadata:
        """Read plain JSON values.

        Raises:
            FileFormatError: Another format or version, or a missing or unknown entry.
        """
        FORMAT.check(document, "The file's entry", hint="Export the subnet again: ofa-tk export --onnx")
        values = FORMAT.body(document)
        try:
            values["subnet"] = subnet_from_document(values["subnet"])
            values["ends"] = Ends(**values["ends"])
            values["batchnorm"] = BatchNormSource(**values["batchnorm"])
            values["class_names"] = tuple(values["class_names"])
            if values["quantisation"] is not None:
                values["quantisation"] = QuantisationSource(**values["quantisation"])
            return cls(**values)
        except (TypeError, KeyError, ValueError) as error:
            raise FileFormatError(f"The metadata of the file is damaged: {error}.") from error


def attach(model: onnx.ModelProto, metadata: ExportMetadata) -> None:
    """Write the metadata into a model, in place of the one it may have."""
    kept = [(entry.key, entry.value) for entry in model.metadata_props if entry.key != FORMAT.name]
    text = json.dumps(metadata.to_document(), ensure_ascii=False, allow_nan=False)
    onnx.helper.set_model_props(model, {**dict(kept), FORMAT.name: text})


def read_metadata(model: onnx.ModelProto) -> ExportMetadata:
    """The metadata of a model.

    Raises:
        FileFormatError: It has none, or a damaged one.
    """
    for entry in model.metadata_props:
        if entry.key == FORMAT.name:
            document = parse_json(entry.value, "The metadata of the file")
            if not isinstance(document, dict):
                raise FileFormatError("The metadata of the file is damaged: it is no JSON object.")
            return ExportMetadata.from_document(document)
    raise FileFormatError(
        "The file carries no metadata of ofa-toolkit: it was not written by `ofa-tk export`.",
        hint="`ofa-tk lint FILE --target DEVICE` checks any ONNX file.",
    )


def has_metadata(path: Path) -> bool:
    """Whether a file was written by `ofa-tk export`."""
    try:
        read_metadata(load_model(path))
    except FileFormatError:
        return False
    return True
