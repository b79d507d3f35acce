"""From the authors' checkpoint to a supernet folder of ours, made once and kept in the cache."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ofa_toolkit.core import config, files
from ofa_toolkit.core.output_folder import output_folder
from ofa_toolkit.spaces import SPACES, SearchSpace, get_space
from ofa_toolkit.spaces.compound import COMPOUND_ELASTIC_KERNEL_SUFFIX, COMPOUND_SUFFIX
from ofa_toolkit.zoo.card import CARD_FILE
from ofa_toolkit.zoo.entries import ZooEntry
from ofa_toolkit.zoo.identity import Identity

if TYPE_CHECKING:
    from torch import Tensor

    from ofa_toolkit.supernets import Supernet


def import_checkpoint(entry: ZooEntry, checkpoint: Path, identity: Identity, folder: Path) -> None:
    """Convert a checked checkpoint into the supernet folder `folder`.

    Everything else in the entry's folder (card, predictor, subnets) goes with it, so that the result
    stands on its own.

    Raises:
        CheckpointError: The file holds more than weights, or is damaged; no code in it is run.
        MismatchError: The weights are of another space than the card says.
    """
    from ofa_toolkit.supernets import save_supernet

    assert entry.card.space is not None
    supernet = load_checkpoint(checkpoint, get_space(entry.card.space))
    with output_folder(folder, "imported supernet", force=True) as temporary:
        for path in sorted(entry.folder.iterdir()):
            if path.is_file():
                shutil.copyfile(path, temporary / path.name)
        facts = entry.card.preprocessing
        save_supernet(
            temporary,
            supernet,
            preprocessing=None if facts is None else config.to_dict(facts),
            further={"zoo_entry": entry.name},
        )
        files.write_json(
            temporary / "imported.json",
            {"checkpoint": entry.card.checkpoint.path, "size": identity.size, "sha256": identity.sha256},
        )
        assert (temporary / CARD_FILE).is_file()


def load_checkpoint(checkpoint: Path, space: SearchSpace) -> Supernet:
    """A supernet of a space from a checkpoint file; see `narrowed`."""
    from ofa_toolkit.supernets.importing.checkpoint_file import read_weights

    return narrowed(read_weights(checkpoint), space, source=f"'{checkpoint}'")


def narrowed(weights: Mapping[str, Tensor], space: SearchSpace, *, source: str) -> Supernet:
    """A supernet of a space from a state dictionary in the authors' layout, or in ours.

    CompOFA's files hold the weights of the whole space at its largest kernels; the compound spaces take
    from them what they offer. Where kernels are fixed, the 7x7 weights become smaller ones as the
    authors do it: through the matrices when the file has them, else by cutting out the centre.

    Args:
        weights: By name.
        space: Search space of the supernet.
        source: Name of the weights in errors.

    Raises:
        CheckpointError: A weight is not finite.
        MismatchError: The weights are of another space.
    """
    from ofa_toolkit.supernets import Supernet, extract
    from ofa_toolkit.supernets.importing.weights import supernet_from_weights

    base_name = space.name.removesuffix(COMPOUND_ELASTIC_KERNEL_SUFFIX).removesuffix(COMPOUND_SUFFIX)
    if base_name == space.name or base_name not in SPACES:
        return supernet_from_weights(weights, space, source=source)
    supernet = supernet_from_weights(weights, SPACES[base_name], source=source)
    space = space.with_num_classes(supernet.space.num_classes)
    narrow = Supernet(space, use_kernel_transforms=supernet.use_kernel_transforms)
    tensors = supernet.state_dict() | extract(supernet, space.largest()).state_dict()
    narrow.load_state_dict({name: tensors[name] for name in narrow.state_dict()})
    return narrow.eval()
