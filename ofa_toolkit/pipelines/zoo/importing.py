"""From files of others to a supernet folder: checkpoints of training programs, and published networks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ofa_toolkit.core import files
from ofa_toolkit.core.errors import (
    CheckpointError,
    ConfigError,
    FileFormatError,
    MismatchError,
    SubnetNotInSpaceError,
)
from ofa_toolkit.core.output_folder import check_output_folder, output_folder
from ofa_toolkit.pipelines.zoo.request import ImportRequest
from ofa_toolkit.spaces import SPACES, SearchSpace, restrict
from ofa_toolkit.spaces.official_files import CONFIG_FILE, network_file
from ofa_toolkit.spaces.single_network import find_space, member_of
from ofa_toolkit.spaces.space_file import open_space
from ofa_toolkit.spaces.supernet_description import CONFIG_FILE as DESCRIPTION_FILE
from ofa_toolkit.spaces.supernet_description import read_description
from ofa_toolkit.supernets import Supernet, save_supernet
from ofa_toolkit.supernets.importing.checkpoint_file import Checkpoint, read_checkpoint
from ofa_toolkit.zoo.importing import narrowed
from ofa_toolkit.zoo.network_folder import weights_beside, write_network_supernet

KIND = "imported supernet"
_WEIGHTS = (".pth", ".pt", ".bin", ".ckpt", ".safetensors", ".tar")


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What was made.

    Attributes:
        folder: The supernet folder.
        space: Search space of the supernet.
        trained_space: The part of it that was trained.
        use_kernel_transforms: Whether smaller kernels pass through learned matrices.
        member_of: The registered space that a single network is a subnet of, if any.
        loaded: Tensors that were loaded and renamed, in words.
        left_out: Parts of the file that were not needed, in words.
        notes: Assumptions that were made.
    """

    folder: Path
    space: SearchSpace
    trained_space: SearchSpace
    use_kernel_transforms: bool
    member_of: str | None
    loaded: str
    left_out: tuple[str, ...]
    notes: tuple[str, ...]


def import_supernet(request: ImportRequest) -> Imported:
    """Read a checkpoint or a network, without running any code in it, and write a supernet folder.

    Raises:
        CheckpointError: A file is missing, damaged, or holds objects that could run code.
        MismatchError: The weights are not of the space.
        ConfigError: A choice is missing or not offered.
        OutputError: The folder cannot be written.
    """
    check_output_folder(request.out, KIND, force=request.force)
    source = network_file(request.source)
    if (source.parent / CONFIG_FILE).is_file() and source.name in (CONFIG_FILE, "init"):
        return _import_network(request, source.parent)
    if source.is_dir():
        raise _no_network(source)
    return _import_checkpoint(request, source)


def _import_network(request: ImportRequest, folder: Path) -> Imported:
    choices = {"--kernel-sizes": request.kernel_sizes, "--depths": request.depths}
    for option, values in {**choices, "--expand-ratios": request.expand_ratios}.items():
        if values:
            raise ConfigError(f"{option} is for supernets; '{folder}' is a single network.")
    if len(request.resolutions) > 1:
        raise ConfigError(f"'{folder}' is a single network: it has one resolution, not several.")
    resolution = request.resolutions[0] if request.resolutions else None
    wanted = None if request.space is None else open_space(request.space)
    weights = weights_beside(folder)
    with output_folder(request.out, KIND, force=request.force) as temporary:
        notes = write_network_supernet(
            folder, temporary, resolution=resolution, further={"imported": _provenance(weights)}
        )
        description = read_description(temporary)
        space = description.space
        if wanted is not None and member_of(wanted, space) is None:
            raise MismatchError(f"'{folder}' is no subnet of '{wanted.name}'.")
    known = find_space(space, SPACES.values())
    return Imported(
        folder=request.out,
        space=space,
        trained_space=space,
        use_kernel_transforms=False,
        member_of=None if known is None else known[0].name,
        loaded=f"a network of {len(space.stages)} blocks",
        left_out=(),
        notes=(*notes, *_about_images(description.preprocessing is not None)),
    )


def _import_checkpoint(request: ImportRequest, path: Path) -> Imported:
    if request.space is None:
        raise ConfigError(
            f"'{path}' does not say which search space its weights are of.",
            hint=f"--space NAME or FILE.toml; known are {', '.join(SPACES)}",
        )
    space = open_space(request.space)
    if request.resolutions:
        space = space.with_resolutions(tuple(request.resolutions))
    trained = _trained(space, request)
    checkpoint = read_checkpoint(path, request.weights)
    supernet = _supernet(checkpoint, space, trained)
    classes = supernet.space.num_classes
    trained = trained.with_num_classes(classes)
    with output_folder(request.out, KIND, force=request.force) as temporary:
        save_supernet(
            temporary,
            supernet,
            trained_space=trained,
            further={"imported": {**_provenance(path), "weights": checkpoint.place}},
        )
    return Imported(
        folder=request.out,
        space=supernet.space,
        trained_space=trained,
        use_kernel_transforms=supernet.use_kernel_transforms,
        member_of=None,
        loaded=_loaded(checkpoint, supernet),
        left_out=checkpoint.left_out,
        notes=_about_images(is_stated=False),
    )


def _trained(space: SearchSpace, request: ImportRequest) -> SearchSpace:
    """The space with the trained choices only; each must be offered somewhere."""
    for name, values in (
        ("depths", request.depths),
        ("kernel_sizes", request.kernel_sizes),
        ("expand_ratios", request.expand_ratios),
    ):
        offered = sorted({value for stage in space.stages for value in getattr(stage, name)})
        for value in values:
            if value not in offered:
                what, those = name.removesuffix("s").replace("_", " "), ", ".join(f"{v:g}" for v in offered)
                raise SubnetNotInSpaceError(f"{what} {value:g} is not offered; {space.name} offers {those}.")
    return restrict(
        space,
        depths=request.depths or None,
        kernel_sizes=request.kernel_sizes or None,
        expand_ratios=request.expand_ratios or None,
    )


def _supernet(checkpoint: Checkpoint, space: SearchSpace, trained: SearchSpace) -> Supernet:
    """A supernet of the whole space; of the trained part alone where the weights reach no further."""
    source = f"'{checkpoint.path}'"
    try:
        return narrowed(checkpoint.weights, space, source=source)
    except MismatchError:
        if trained == space:
            raise
        return narrowed(checkpoint.weights, trained, source=source)


def _loaded(checkpoint: Checkpoint, supernet: Supernet) -> str:
    """What was taken, and what it was called."""
    names = checkpoint.weights.keys()
    where = f" under '{checkpoint.place}'" if checkpoint.place else ""
    parts = [f"{len(names)} tensors{where}"]
    if checkpoint.prefix:
        parts.append(f"prefix '{checkpoint.prefix}' removed")
    if any(".mobile_inverted_conv." in name for name in names):
        parts.append("renamed from the naming of before 2020")
    elif names <= supernet.state_dict().keys():
        parts.append("under this project's names")
    else:
        parts.append("renamed from the once-for-all repositories' names")
    missing = len(supernet.state_dict()) - len(names)
    if missing:
        parts.append(f"{missing} counters of batches set to 0")
    return ", ".join(parts)


def _provenance(path: Path) -> dict[str, object]:
    return {"file": path.name, "size": path.stat().st_size, "sha256": files.sha256(path)}


def _about_images(is_stated: bool) -> tuple[str, ...]:
    if is_stated:
        return ()
    return ("How images become its input is not stated: they are normalised as the data set has it.",)


def _no_network(folder: Path) -> CheckpointError | FileFormatError:
    if (folder / DESCRIPTION_FILE).is_file():
        return FileFormatError(
            f"'{folder}' is a supernet folder already.", hint=f"Use it as it is: --supernet {folder}"
        )
    files = sorted(path.name for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []
    shown = ", ".join(files[:5]) + (", ..." if len(files) > 5 else "")
    weights = [name for name in files if Path(name).suffix in _WEIGHTS]
    return CheckpointError(
        f"'{folder}' holds no network ({CONFIG_FILE} and init); it holds {shown or 'no files'}.",
        hint=f"Name the checkpoint's file{f', such as {folder / weights[0]}' if weights else '.'}",
    )
