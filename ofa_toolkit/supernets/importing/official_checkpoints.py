"""Read and write weights in the layout of the once-for-all repositories."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from ofa_toolkit.core.errors import CheckpointError, MismatchError
from ofa_toolkit.spaces.lowering import lower
from ofa_toolkit.spaces.space import SearchSpace
from ofa_toolkit.spaces.subnet import Subnet
from ofa_toolkit.supernets.importing.official_names import modern_name, official_names
from ofa_toolkit.supernets.supernet import Supernet


def load_official_checkpoint(path: str | Path, space: SearchSpace) -> Supernet:
    """A supernet from an official checkpoint file, old or new naming.

    The number of classes is the checkpoint's; kernel transforms are used where it holds matrices.
    The file is read with `weights_only=True` and can't run code.

    Raises:
        CheckpointError: The file is missing, truncated, or holds more than weights.
        MismatchError: Its weights are of another space; the first difference is named.
    """
    return supernet_from_official(read_weights(path), space, source=str(path))


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The state dictionary of an official pickle, without running any code in it."""
    if not Path(path).is_file():
        raise CheckpointError(f"No checkpoint at '{path}'.", hint="Check the path.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"'{path}' is not a plain weights file: it holds objects that could run code, or is damaged.",
            hint="Use the file as its authors published it.",
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        raise CheckpointError(
            f"'{path}' cannot be read as a checkpoint; it may be truncated.", hint="Download it again."
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(v, Tensor) for v in content.values()):
        raise CheckpointError(f"'{path}' holds no state dictionary.")
    return dict(content)


def supernet_from_official(
    weights: Mapping[str, Tensor], space: SearchSpace, *, source: str = "checkpoint"
) -> Supernet:
    """A supernet from an official state dictionary in either naming; see `load_official_checkpoint`."""
    given = {modern_name(name): tensor for name, tensor in weights.items()}
    classifier = next((t for n, t in given.items() if n.startswith("classifier.") and t.ndim == 2), None)
    if classifier is None:
        raise MismatchError(f"{source} holds no classifier: it is no checkpoint of '{space.name}'.")
    space = space.with_num_classes(len(classifier))
    has_matrices = any(name.endswith("_matrix") for name in given)
    supernet = Supernet(space, use_kernel_transforms=has_matrices)
    layers = lower(space, space.largest())
    doubled = official_names(space, layers, elastic=True)
    single = official_names(space, layers, elastic=False)
    wanted = supernet.state_dict()
    loaded: dict[str, Tensor] = {}
    for name, tensor in wanted.items():
        found = next((n for n in (doubled[name], single.get(name)) if n in given), None)
        if found is None:
            raise MismatchError(f"{source} lacks '{doubled[name]}', which '{space.name}' needs.")
        if given[found].shape != tensor.shape:
            raise MismatchError(
                f"{source}: '{found}' has shape {tuple(given[found].shape)}; "
                f"'{space.name}' needs {tuple(tensor.shape)}."
            )
        loaded[name] = given.pop(found)
    if given:
        raise MismatchError(f"{source} holds '{next(iter(given))}', which '{space.name}' does not have.")
    supernet.load_state_dict(loaded)
    return supernet.eval()


def official_supernet_weights(supernet: Supernet) -> dict[str, Tensor]:
    """State dictionary of a supernet under official names (doubled for elastic layers)."""
    layers = lower(supernet.space, supernet.space.largest())
    names = official_names(supernet.space, layers, elastic=True)
    return {names[name]: tensor for name, tensor in supernet.state_dict().items()}


def official_subnet_weights(network: nn.Module, space: SearchSpace, subnet: Subnet) -> dict[str, Tensor]:
    """State dictionary of an extracted network under official names."""
    names = official_names(space, lower(space, subnet), elastic=False)
    return {names[name]: tensor for name, tensor in network.state_dict().items()}
