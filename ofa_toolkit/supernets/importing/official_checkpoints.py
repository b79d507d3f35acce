"""Read and write weights in the layout of the once-for-all repositories."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from ofa_toolkit.core.errors import CheckpointError, MismatchError
from ofa_toolkit.spaces.lowering import lower
from ofa_toolkit.spaces.space import SearchSpace
from ofa_toolkit.spaces.subnet import Subnet
from ofa_toolkit.supernets.importing.checkpoint_file import read_weights
from ofa_toolkit.supernets.importing.official_names import modern_name, official_names
from ofa_toolkit.supernets.supernet import Supernet

_COUNTER = "num_batches_tracked"
_MATRIX = re.compile(r"\d+to\d+_matrix$|\.matrix_\d+to\d+$")


def load_official_checkpoint(path: str | Path, space: SearchSpace) -> Supernet:
    """A supernet from a checkpoint with official names, old or new, or with ours.

    The number of classes is the checkpoint's; kernel transforms are used where it holds matrices. What other
    training programs put around the weights is seen through, see `read_checkpoint`. The file is read with
    `weights_only=True` and can't run code.

    Raises:
        CheckpointError: The file is missing, truncated, holds no weights, or objects that could run code.
        MismatchError: The weights are of another space; the first difference is named.
    """
    return supernet_from_official(read_weights(path), space, source=str(path))


def supernet_from_official(
    weights: Mapping[str, Tensor], space: SearchSpace, *, source: str = "checkpoint"
) -> Supernet:
    """A supernet from a state dictionary in official naming, old or new, or in ours.

    Counters of batches may be missing: nothing depends on them. See `load_official_checkpoint`.

    Raises:
        CheckpointError: A weight is not finite.
        MismatchError: The weights are of another space.
    """
    given = {modern_name(name): tensor for name, tensor in weights.items()}
    classifier = next((t for n, t in given.items() if n.startswith("classifier.") and t.ndim == 2), None)
    if classifier is None:
        raise MismatchError(f"{source} holds no classifier: it is no checkpoint of '{space.name}'.")
    space = space.with_num_classes(len(classifier))
    supernet = Supernet(space, use_kernel_transforms=any(_MATRIX.search(name) for name in given))
    layers = lower(space, space.largest())
    doubled = official_names(space, layers, elastic=True)
    single = official_names(space, layers, elastic=False)
    wanted = supernet.state_dict()
    loaded: dict[str, Tensor] = {}
    for name, tensor in wanted.items():
        found = next((n for n in (doubled[name], single.get(name), name) if n in given), None)
        if found is None and name.endswith(_COUNTER):
            continue
        if found is None:
            raise MismatchError(f"{source} lacks '{doubled[name]}', which '{space.name}' needs.")
        if given[found].shape != tensor.shape:
            raise MismatchError(
                f"{source}: '{found}' has shape {tuple(given[found].shape)}; "
                f"'{space.name}' needs {tuple(tensor.shape)}."
            )
        if not bool(given[found].isfinite().all()):
            raise CheckpointError(f"{source}: '{found}' holds values that are not finite.")
        loaded[name] = given.pop(found)
    if given:
        raise MismatchError(f"{source} holds '{next(iter(given))}', which '{space.name}' does not have.")
    supernet.load_state_dict({**wanted, **loaded})
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
