"""`subnet.json`: a subnet with the space it belongs to, what was predicted of it, and where it came from.

Reading also accepts the architecture dictionaries (`ks`, `e`, `d`, `r`) and the `net.config` files of the
once-for-all repositories.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ofa_toolkit.core import files
from ofa_toolkit.core.documents import read_object
from ofa_toolkit.core.errors import (
    ConfigError,
    FileFormatError,
    MismatchError,
    SubnetNotInSpaceError,
    UnknownNameError,
)
from ofa_toolkit.core.file_format import FileFormat
from ofa_toolkit.spaces.lowering import lower_unchecked
from ofa_toolkit.spaces.network_config import is_network_config
from ofa_toolkit.spaces.official_files import (
    Resolution,
    network_file,
    network_folder,
    read_official,
    resolution_beside,
)
from ofa_toolkit.spaces.space import SearchSpace
from ofa_toolkit.spaces.space_file import space_from_reference, space_reference
from ofa_toolkit.spaces.subnet import StageChoice, Subnet

if TYPE_CHECKING:
    from ofa_toolkit.spaces.documents import ChoicesDocument, StageDocument

FORMAT = FileFormat("ofa-toolkit/subnet", 1, "a subnet file")

_KEYS = {"format", "version", "space", "supernet", "resolution", "stages", "predicted", "search"}
_STAGE_KEYS = {"depth", "kernel_sizes", "expand_ratios", "width"}


@dataclass(frozen=True, kw_only=True)
class SubnetFile:
    """The content of a `subnet.json`.

    Attributes:
        space: The search space the subnet is a member of.
        supernet: Zoo name or folder of the supernet it was searched for, None where it was for none.
        subnet: The subnet.
        predicted: Predictions, each with its unit in the name; plain JSON values.
        search: The question, the method and its effort; plain JSON values.
        notes: Assumptions that were made while reading, and replaced entries; not written.
    """

    space: SearchSpace
    supernet: str | None
    subnet: Subnet
    predicted: Mapping[str, Any] = field(default_factory=dict)
    search: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = field(default=(), compare=False)

    @property
    def predicted_costs(self) -> dict[str, Any]:
        """Predictions that hold whatever the weights and images: all but accuracy."""
        return {
            name: value
            for name, value in self.predicted.items()
            if "accuracy" not in name and "top1" not in name
        }


def read_subnet(
    source: str | os.PathLike[str] | Mapping[str, Any],
    space: SearchSpace | None = None,
    *,
    resolution: int | None = None,
) -> SubnetFile:
    """Read a subnet from a file or an already parsed document.

    Args:
        source: Path of a `subnet.json`, of an official architecture dictionary or `net.config` (or of the
            folder it lies in), or the document itself.
        space: The space it must belong to. Needed for an official dictionary, which names none.
        resolution: Input size in pixels, in place of what the file says; it need not be offered. Without
            one, official files take the size they state, in a dictionary or in the `run.config` beside a
            `net.config`, and else the space's largest, which `notes` says.

    Raises:
        FileFormatError: Not JSON, another format or version, an unknown or missing key.
        MismatchError: The subnet is another network in `space` than in the space the file names.
        UnknownNameError: The file names a space that this release does not have, and `space` is None.
        SubnetNotInSpaceError: The space does not offer one of its choices.
    """
    if isinstance(source, Mapping):
        return _parse(source, space, Resolution(asked=resolution), "The subnet")
    path = network_file(Path(source))
    document = _read(path)
    stated, beside = resolution_beside(path.parent) if is_network_config(document) else (None, "")
    where = f"'{path}'"
    try:
        return _parse(document, space, Resolution(asked=resolution, stated=stated, source=beside), where)
    except (FileFormatError, SubnetNotInSpaceError) as error:
        if where in error.message:
            raise
        raise type(error)(f"{where}: {error.message}", hint=error.hint) from error


def stated_supernet(source: str | os.PathLike[str] | Mapping[str, Any]) -> str | None:
    """The supernet a subnet file or document names, before its space is known, which the supernet tells.

    The weights of a `net.config` are those beside it.

    Raises:
        FileFormatError: The file cannot be read as JSON.
    """
    network = None if isinstance(source, Mapping) else network_folder(Path(source))
    if network is not None:
        return str(network)
    stated = (source if isinstance(source, Mapping) else _read(source)).get("supernet")
    return stated if isinstance(stated, str) else None


def _read(path: str | os.PathLike[str]) -> dict[str, Any]:
    file = network_file(Path(path))
    return read_object(file, "a subnet file", hint="`ofa-tk search` writes ./subnet.json.")


SubnetLike = Subnet | SubnetFile | str | os.PathLike[str] | Mapping[str, Any]
"""What names a subnet: itself, the content of its file (as a search gives it), or the file."""


def subnet_file(subnet: SubnetLike, space: SearchSpace, *, resolution: int | None = None) -> SubnetFile:
    """A subnet as a member of a space, with what its file says beyond the choices.

    Args:
        subnet: The subnet; a value may have any resolution, a file what `read_subnet` takes.
        space: The space.
        resolution: Input size in pixels, in place of its own.

    Raises:
        FileFormatError: The file cannot be read.
        MismatchError: The subnet is another network in `space` than in the space its file names.
        SubnetNotInSpaceError: The space does not offer one of its choices.
    """
    if isinstance(subnet, Subnet):
        subnet = SubnetFile(space=space, supernet=None, subnet=subnet)
    if not isinstance(subnet, SubnetFile):
        return read_subnet(subnet, space, resolution=resolution)
    space.check_architecture(subnet.subnet)
    space.check_size(subnet.subnet.resolution if resolution is None else resolution)
    if resolution in (None, subnet.subnet.resolution):
        return subnet
    # What was predicted holds for the resolution it was predicted at.
    at = dataclasses.replace(subnet.subnet, resolution=resolution)
    return dataclasses.replace(subnet, subnet=at, predicted={})


def write_subnet(path: str | os.PathLike[str], subnet_file: SubnetFile) -> None:
    """Write a `subnet.json` atomically.

    Raises:
        OutputError: The file cannot be written.
    """
    files.write_json(path, to_document(subnet_file))


def to_document(subnet_file: SubnetFile) -> dict[str, Any]:
    """The JSON document of a subnet file."""
    return {
        **FORMAT.header,
        "space": space_reference(subnet_file.space),
        "supernet": subnet_file.supernet,
        **subnet_document(subnet_file.subnet),
        "predicted": dict(subnet_file.predicted),
        "search": dict(subnet_file.search),
    }


def subnet_document(subnet: Subnet) -> ChoicesDocument:
    """A subnet as plain JSON values: `resolution` and `stages`."""
    stages: list[StageDocument] = []
    for choice in subnet.stages:
        stage: StageDocument = {
            "depth": choice.depth,
            "kernel_sizes": list(choice.kernel_sizes),
            "expand_ratios": list(choice.expand_ratios),
        }
        if choice.width is not None:
            stage["width"] = choice.width
        stages.append(stage)
    return {"resolution": subnet.resolution, "stages": stages}


def subnet_from_document(document: Mapping[str, Any]) -> Subnet:
    """The subnet of a document with `resolution` and `stages`; membership is not checked.

    Raises:
        FileFormatError: A key is missing or unknown, or a value has the wrong type.
    """
    try:
        stages = tuple(_stage(stage) for stage in document["stages"])
        return Subnet(_integer(document["resolution"]), stages)
    except KeyError as error:
        raise FileFormatError(f"A subnet needs the key '{error.args[0]}'.") from error
    except (TypeError, ValueError) as error:
        raise FileFormatError(f"A subnet holds a value of the wrong type: {error}.") from error


def _parse(
    document: Mapping[str, Any], space: SearchSpace | None, resolution: Resolution, where: str
) -> SubnetFile:
    if "format" not in document:
        space, subnet, notes = read_official(document, space, resolution, where)
        return SubnetFile(space=space, supernet=None, subnet=subnet, notes=notes)
    FORMAT.check(document, where)
    unknown = sorted(set(document) - _KEYS)
    missing = sorted({"space", "resolution", "stages"} - set(document))
    if unknown or missing:
        problem = f"unknown key '{unknown[0]}'" if unknown else f"no key '{missing[0]}'"
        raise FileFormatError(f"{where} is not a valid subnet file: {problem}.")
    subnet = subnet_from_document(document)
    space = stated_space(document["space"], space, [subnet], where)
    space.check(subnet)
    for key, kind in (("supernet", str), ("predicted", Mapping), ("search", Mapping)):
        if not isinstance(document.get(key), (kind, type(None))):
            raise FileFormatError(f"{where}: {key}: {str(document[key])[:40]!r} is not what belongs there.")
    stated = dataclasses.replace(resolution, stated=subnet.resolution, source=where)
    chosen, notes = stated.choose(where, space)
    return SubnetFile(
        space=space,
        supernet=document.get("supernet"),
        subnet=dataclasses.replace(subnet, resolution=chosen),
        # What was predicted holds for the resolution it was predicted at.
        predicted=(document.get("predicted") or {}) if chosen == subnet.resolution else {},
        search=document.get("search") or {},
        notes=notes,
    )


def stated_space(
    reference: Any, wanted: SearchSpace | None, subnets: Iterable[Subnet], where: str
) -> SearchSpace:
    """The space of subnets in a file, where the file says which and the caller may know it.

    What counts is that the subnets are the same networks in both; names are for convenience, and a space
    with other resolutions or fewer choices has the same networks.

    Args:
        reference: The space as the file states it, see `space_reference`.
        wanted: The space they are to be used in; None for the one the file means.
        subnets: Members of both.
        where: Name of the file in errors.

    Raises:
        MismatchError: A subnet is another network in `wanted`, or the file names another unknown space.
        UnknownNameError, ConfigError: The file does not tell the space, and `wanted` is None.
    """
    try:
        stated = space_from_reference(reference)
    except UnknownNameError as error:
        if wanted is None:
            hint = "Name the space's file or the supernet, such as --space FILE.toml"
            raise UnknownNameError(error.message, hint=hint) from error
        if reference == wanted.name:
            return wanted
        raise MismatchError(f"{where} is of space '{reference}', not of '{wanted.name}'.") from error
    except ConfigError as error:
        raise FileFormatError(f"{where}: {error.message}", hint=error.hint) from error
    if wanted is None:
        return stated
    for subnet in subnets:
        if stated.name == wanted.name:
            wanted.check(subnet)
        if subnet not in wanted or not _is_same_network(stated, wanted, subnet):
            raise MismatchError(f"{where} is of space '{stated.name}', not of '{wanted.name}'.")
    return wanted


def _is_same_network(space: SearchSpace, other: SearchSpace, subnet: Subnet) -> bool:
    """Whether a member of `other` is built alike in both, the number of classes aside."""
    if len(space.stages) != len(other.stages):
        return False
    space = space.with_num_classes(other.num_classes)
    return lower_unchecked(space, subnet) == lower_unchecked(other, subnet)


def _stage(stage: Any) -> StageChoice:
    if not isinstance(stage, Mapping):
        raise TypeError(f"a stage is an object, not {stage!r}")
    unknown = sorted(set(stage) - _STAGE_KEYS)
    if unknown:
        raise FileFormatError(
            f"Unknown key '{unknown[0]}' in a stage; known: {', '.join(sorted(_STAGE_KEYS))}."
        )
    width = stage.get("width")
    return StageChoice(
        depth=_integer(stage["depth"]),
        kernel_sizes=tuple(_integer(k) for k in stage["kernel_sizes"]),
        expand_ratios=tuple(_number(e) for e in stage["expand_ratios"]),
        width=None if width is None else _integer(width),
    )


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{value!r} is not a whole number")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{value!r} is not a number")
    return value
