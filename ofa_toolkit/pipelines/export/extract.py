"""Cut a subnet out as a plain network that runs without this package."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import fx, nn

from ofa_toolkit.complexity import count_macs, count_params
from ofa_toolkit.core import files
from ofa_toolkit.core.errors import ConfigError, VerificationError
from ofa_toolkit.core.file_format import FileFormat
from ofa_toolkit.core.output_folder import output_folder
from ofa_toolkit.core.places import portable_document
from ofa_toolkit.core.requests import with_fields_of
from ofa_toolkit.pipelines.export.network import export_network
from ofa_toolkit.pipelines.export.options import ExtractRequest
from ofa_toolkit.spaces.lowering import lower
from ofa_toolkit.spaces.subnet import Subnet
from ofa_toolkit.spaces.subnet_file import SubnetFile, to_document
from ofa_toolkit.supernets import backbone, extract
from ofa_toolkit.supernets.backbone import feature_layers, without_head
from ofa_toolkit.supernets.batchnorm.source import BatchNormSource
from ofa_toolkit.supernets.importing.official_config import save_official_network
from ofa_toolkit.zoo.opening import open_subnet
from ofa_toolkit.zoo.supernet import LoadedSupernet

FORMAT = FileFormat("ofa-toolkit/network", 1, "an extracted network")
KIND = "network"

# Extraction copies weights; what differs is rounding of the convolution kernels chosen for each layout.
_TOLERANCE = 1e-4


@dataclass(frozen=True, kw_only=True)
class Extracted:
    """A network that was cut out and written.

    Attributes:
        folder: Folder that was written.
        subnet: The subnet that was cut out.
        macs: Multiply-accumulates for one image.
        params: Parameters.
        batchnorm: Source of the batch-norm statistics.
        largest_difference: Between its logits and the supernet's before recalibration, relative to the
            largest logit, on seeded synthetic images.
        files: Names of the files that were written.
        notes: Assumptions that were made, such as the resolution.
    """

    folder: Path
    subnet: Subnet
    macs: int
    params: int
    batchnorm: BatchNormSource
    largest_difference: float
    files: tuple[str, ...]
    notes: tuple[str, ...]


@with_fields_of(ExtractRequest)
def extract_network(request: ExtractRequest) -> Extracted:
    """Cut out, check against the supernet, recalibrate batch norm, and write a folder.

    Layout `torch`: `network.pt2` (loads with `torch.export.load`, any batch size), `model.safetensors`
    (ordinary parameter names), `network.json` (subnet, classes, preprocessing). Layout `official`: the
    once-for-all repositories' `net.config`, `run.config` (the resolution) and `init`.

    Raises:
        OutputError: The folder holds something that may not be replaced.
        VerificationError: The network does not compute what the supernet does.
        OfaToolkitError: A part is missing or damaged, or parts do not belong together.
    """
    if request.features and request.layout != "torch":
        raise ConfigError(f"features: layout '{request.layout}' holds whole networks.", hint="--layout torch")
    described, source = open_subnet(request.subnet, request.supernet, request.resolution)
    if request.features:
        feature_layers(lower(source.space, described.subnet))  # refused before the work, not after it
    dataset = None if request.data is None else source.open_images(request.data)
    difference = _difference(source, described.subnet)
    made = export_network(source, described.subnet, dataset, keep_batchnorm=request.keep_batchnorm)
    network, layers = made.network, made.layers
    maps: dict[str, Any] | None = None
    if request.features:
        assert isinstance(network, fx.GraphModule)
        maps = {
            str(stride): {"layer": layer.name, "channels": layer.out_channels}
            for stride, layer in feature_layers(layers).items()
        }
        network, layers = backbone(network, layers), without_head(layers)
    with output_folder(request.folder, KIND, replace=request.replace, force=request.force) as temporary:
        if request.layout == "official":
            save_official_network(temporary, network, source.space, described.subnet)
        else:
            _write_torch(temporary, network, described.subnet.resolution)
        document = _description(source, described, made.batchnorm, maps)
        files.write_json(temporary / "network.json", portable_document(document))
        names = tuple(sorted(path.name for path in temporary.iterdir()))
    return Extracted(
        folder=Path(request.folder),
        subnet=described.subnet,
        macs=count_macs(layers),
        params=count_params(layers),
        batchnorm=made.batchnorm,
        largest_difference=difference,
        files=names,
        notes=described.notes or source.notes,
    )


@torch.no_grad()
def _difference(source: LoadedSupernet, subnet: Subnet) -> float:
    size = subnet.resolution
    images = torch.randn(4, 3, size, size, generator=torch.Generator().manual_seed(0))
    expected = source.network(images, subnet)
    actual = extract(source.network, subnet)(images)
    difference = float((actual - expected).abs().max() / expected.abs().max())
    if not difference <= _TOLERANCE:
        raise VerificationError(
            f"The extracted network's logits differ from the supernet's by {difference:.1e} of the largest; "
            f"at most {_TOLERANCE:.0e} is allowed."
        )
    return difference


def _write_torch(folder: Path, network: nn.Module, resolution: int) -> None:
    """Weights by name, and a program that needs torch alone."""
    state = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    files.write_bytes(
        folder / "model.safetensors", safetensors.torch.save(state, metadata={"format": FORMAT.name})
    )
    images = torch.zeros(2, 3, resolution, resolution)
    program = torch.export.export(network, (images,), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},))
    torch.export.save(program, folder / "network.pt2")


def _description(
    source: LoadedSupernet,
    described: SubnetFile,
    batchnorm: BatchNormSource,
    maps: Mapping[str, Any] | None,
) -> dict[str, Any]:
    return {
        **FORMAT.header,
        "subnet": to_document(described),
        "supernet": {"name": source.name, "sha256": source.identity},
        "class_names": list(source.class_names) or None,
        "preprocessing": source.preprocessing,
        "batchnorm": dataclasses.asdict(batchnorm),
        **({} if maps is None else {"features": maps}),
    }
