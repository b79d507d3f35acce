"""A supernet on disk: `config.json` beside `model.safetensors`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from ofa_toolkit.core import files
from ofa_toolkit.core.errors import CheckpointError, MismatchError
from ofa_toolkit.core.sealed import is_as_saved, seal
from ofa_toolkit.spaces.space import SearchSpace
from ofa_toolkit.spaces.subnet import Subnet
from ofa_toolkit.spaces.supernet_description import (
    CONFIG_FILE,
    FORMAT,
    WEIGHTS_FILE,
    SupernetDescription,
    SupernetSettings,
    read_description,
)
from ofa_toolkit.supernets.finiteness import first_not_finite
from ofa_toolkit.supernets.supernet import Supernet


def save_supernet(
    folder: str | Path,
    supernet: Supernet,
    *,
    trained_space: SearchSpace | None = None,
    trained_subnet: Subnet | None = None,
    class_names: Sequence[str] = (),
    preprocessing: Mapping[str, Any] | None = None,
    recipe: Mapping[str, Any] | None = None,
    further: Mapping[str, Any] | None = None,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write weights and description; each file is replaced whole, the description last.

    Args:
        folder: Made if missing; other files in it are left alone.
        supernet: The supernet to save; its whole space goes into the description.
        trained_space: The part of the space whose subnets were trained; None for all of it.
        trained_subnet: The only subnet of use, after fine-tuning.
        class_names: Names of the outputs.
        preprocessing: Size, crop and normalisation of the images, as `Preprocessing`.
        recipe: Configuration that it was trained with, as plain values.
        further: Other entries of `config.json`, as plain values.
        dtype: Floating-point type of the stored weights and statistics.

    Raises:
        CheckpointError: Not all of them are finite.
    """
    folder = Path(folder)
    tensors = {
        name: (tensor.to(dtype) if tensor.is_floating_point() else tensor).contiguous().cpu()
        for name, tensor in supernet.state_dict().items()
    }
    _check_finite(tensors, f"The supernet for '{folder}'")
    folder.mkdir(parents=True, exist_ok=True)
    space = supernet.space
    description = SupernetDescription(
        space=space,
        trained_space=trained_space or space,
        trained_subnet=trained_subnet,
        settings=SupernetSettings(
            use_kernel_transforms=supernet.use_kernel_transforms,
            dropout=supernet.dropout,
            bn_momentum=supernet.bn_momentum,
        ),
        class_names=tuple(class_names),
        preprocessing=preprocessing,
        recipe=recipe or {},
        further=further or {},
    )
    metadata = {"format": FORMAT.name, "space": space.name, "space_identity": space.identity}
    files.write_bytes(folder / WEIGHTS_FILE, seal(safetensors.torch.save(tensors, metadata=metadata)))
    files.write_json(folder / CONFIG_FILE, description.document())


def _check_finite(tensors: Mapping[str, torch.Tensor], what: str) -> None:
    if (name := first_not_finite(tensors)) is not None:
        raise CheckpointError(
            f"{what} was ruined in training: its '{name}' is not finite as {tensors[name].dtype}.",
            hint="Train it again with a lower rate, for example --set schedule.learning_rate=0.01",
        )


def read_supernet(folder: str | Path) -> Supernet:
    """The supernet of a folder, in evaluation mode and float32.

    Raises:
        FileFormatError: There is no valid description.
        CheckpointError: The weights are missing, damaged, or not finite.
        MismatchError: Description and weights do not belong together.
    """
    folder = Path(folder)
    description = read_description(folder)
    space = description.space
    weights = folder / WEIGHTS_FILE
    if not weights.is_file():
        raise CheckpointError(f"'{folder}' has no {WEIGHTS_FILE}.", hint="Copy the folder again.")
    try:
        content = weights.read_bytes()
        tensors = safetensors.torch.load(content)
        if not is_as_saved(content):
            raise CheckpointError(
                f"'{weights}' is damaged: its tensors are not the ones that were saved.",
                hint="Copy the folder again.",
            )
    except (safetensors.SafetensorError, OSError) as error:
        raise CheckpointError(f"'{weights}' is damaged or truncated: {error}.") from error
    supernet = Supernet(space, **vars(description.settings))
    wanted = supernet.state_dict()
    for name in wanted.keys() ^ tensors.keys():
        where = "lacks" if name in wanted else "holds"
        raise MismatchError(f"'{weights}' {where} '{name}', unlike the space '{space.name}'.")
    for name, tensor in wanted.items():
        if tensors[name].shape != tensor.shape:
            raise MismatchError(
                f"'{weights}': '{name}' has shape {tuple(tensors[name].shape)}; "
                f"'{space.name}' needs {tuple(tensor.shape)}."
            )
    _check_finite(tensors, f"'{weights}'")
    supernet.load_state_dict({name: tensors[name].to(wanted[name].dtype) for name in wanted})
    return supernet.eval()
