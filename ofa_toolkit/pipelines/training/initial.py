"""The weights that `--init` names: a supernet of ours, a published network, or a file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch

from ofa_toolkit.core import files
from ofa_toolkit.core.errors import ConfigError
from ofa_toolkit.datasets import Preprocessing
from ofa_toolkit.datasets.imagenet_names import imagenet_titles
from ofa_toolkit.spaces import SearchSpace, get_space
from ofa_toolkit.spaces.space_file import space_reference
from ofa_toolkit.supernets import Supernet, extract
from ofa_toolkit.supernets.importing import timm_networks, torchvision_networks
from ofa_toolkit.supernets.importing.checkpoint_file import read_checkpoint
from ofa_toolkit.supernets.importing.published import supernet_from_published
from ofa_toolkit.supernets.importing.weights import supernet_from_weights
from ofa_toolkit.zoo.supernet import load_supernet

WEIGHT_FILES = (".pth", ".pt", ".bin", ".safetensors", ".tar", ".ckpt")
_PARITY_SIZE = 96


@dataclass(frozen=True, kw_only=True)
class InitialWeights:
    """What a run starts from.

    Attributes:
        name: As the user named it.
        space_option: Value of `--space` with which its space is trained.
        network: The elastic network with the weights.
        identity: Text that tells these weights from others.
        class_names: Names of its outputs; empty where they are not stated.
        preprocessing: Preprocessing of its images; None where it is not stated.
    """

    name: str
    space_option: str
    network: Supernet
    identity: str
    class_names: tuple[str, ...] = ()
    preprocessing: Preprocessing | None = None


def open_initial(source: str, space: SearchSpace) -> InitialWeights:
    """Read the weights that a source names.

    Args:
        source: A zoo name, a supernet or run folder, `torchvision:NAME`, `timm:NAME`, or the file of a state
            dictionary.
        space: The run's, which the weights of a file must fit.

    Raises:
        UnknownNameError, StoreError: There is no such source.
        CheckpointError: The weights cannot be read or had.
        MismatchError: The file's weights are not of the space.
    """
    kind, _, name = source.partition(":")
    if kind == "torchvision":
        weights, preprocessing = torchvision_networks.torchvision_weights(name)
        space = get_space(torchvision_networks.SPACE_OF[name.partition(":")[0]])
        network = supernet_from_published(weights, space, source=f"'{source}'")
        return _of_imagenet(source, network, preprocessing)
    if kind == "timm":
        return _from_timm(source, name)
    path = Path(source).expanduser()
    if path.suffix in WEIGHT_FILES or path.is_file():
        checkpoint = read_checkpoint(path)
        network = supernet_from_weights(checkpoint.weights, space, source=f"'{path}'")
        return InitialWeights(
            name=source, space_option=space.name, network=network, identity=files.sha256(path)
        )
    if os.sep not in source and ":" in source and kind != "hf-hub":
        raise ConfigError(
            f"init: '{source}' names no weights; allowed are a zoo name, a folder, a file, torchvision:NAME, "
            "timm:NAME and hf-hub:USER/REPO."
        )
    loaded = load_supernet(source)
    named = space_reference(loaded.space)
    place = loaded.name if Path(loaded.name).is_dir() else str(loaded.folder)
    return InitialWeights(
        name=loaded.name,
        space_option=named if isinstance(named, str) else place,
        network=loaded.network,
        identity=loaded.identity,
        class_names=loaded.class_names,
        preprocessing=loaded.preprocessing,
    )


def _from_timm(source: str, name: str) -> InitialWeights:
    module, preprocessing = timm_networks.timm_network(name)
    space = get_space(timm_networks.SPACE_OF[name.partition(".")[0]])
    network = supernet_from_published(
        module.state_dict(), space, source=f"'{source}'", bn_eps=timm_networks.epsilon_of(module)
    )
    largest = extract(network, network.space.largest(_PARITY_SIZE))
    images = torch.randn(1, 3, _PARITY_SIZE, _PARITY_SIZE, generator=torch.Generator().manual_seed(0))
    timm_networks.check_same_output(module, largest, images, f"'{source}'")
    return _of_imagenet(source, network, preprocessing)


def _of_imagenet(source: str, network: Supernet, preprocessing: Mapping[str, Any]) -> InitialWeights:
    titles = tuple(imagenet_titles().values())
    return InitialWeights(
        name=source,
        space_option=network.space.name,
        network=network,
        identity=source,
        class_names=titles if len(titles) == network.space.num_classes else (),
        preprocessing=cast(Preprocessing, dict(preprocessing)),
    )
