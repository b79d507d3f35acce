"""Networks as the once-for-all repositories write them: architecture dictionaries and `net.config` files.

A dictionary may state its resolution, a `net.config` cannot: it stands in the `run.config` beside it. Which
resolution is taken, and why, is said in notes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ofa_toolkit.core.documents import read_object
from ofa_toolkit.core.errors import FileFormatError, MismatchError
from ofa_toolkit.spaces import SPACES
from ofa_toolkit.spaces.network_config import is_network_config
from ofa_toolkit.spaces.official_architectures import from_official, stated_resolution
from ofa_toolkit.spaces.single_network import find_space, member_of, single_network_space
from ofa_toolkit.spaces.space import SearchSpace
from ofa_toolkit.spaces.subnet import Subnet

CONFIG_FILE = "net.config"
RUN_FILE = "run.config"
WEIGHTS_FILE = "init"
EXTRACTED_FILE = "network.json"

DEFAULT_RESOLUTION = 224
"""Input size of a network that is in no space and states none: that of the repositories' ImageNet."""


@dataclass(frozen=True, kw_only=True)
class Resolution:
    """An input size and where it is from.

    Attributes:
        asked: Resolution that the user asks for, in pixels.
        stated: Resolution that the files state, in pixels.
        source: File that states it.
    """

    asked: int | None = None
    stated: int | None = None
    source: str = ""

    def choose(self, where: str, space: SearchSpace | None) -> tuple[int, tuple[str, ...]]:
        """The size to use, and what to tell the user about it.

        Raises:
            SubnetNotInSpaceError: It is too small for any network of the space.
        """
        name, offered = ("", ()) if space is None else (space.name, space.resolutions)
        notes = []
        if self.asked is not None:
            chosen = self.asked
            if self.stated not in (None, chosen):
                notes.append(f"{where}: {chosen} pixels as asked, not the {self.stated} of {self.source}.")
        elif self.stated is not None:
            chosen = self.stated
            if self.source != where:
                notes.append(f"{where}: {chosen} pixels, from {self.source}.")
        else:
            chosen = max(offered, default=DEFAULT_RESOLUTION)
            why = f"the largest of '{name}'" if offered else "the usual of ImageNet"
            notes.append(f"{where} states no resolution: {chosen} pixels are assumed, {why}.")
        if space is not None:
            space.check_size(chosen)
        if space is not None and chosen not in offered and not space.has_one_subnet:
            those = f"those of '{name}' ({min(offered)} to {max(offered)})"
            notes.append(f"{where}: {chosen} pixels are not among {those}.")
        return chosen, tuple(notes)


def network_file(path: Path) -> Path:
    """The `net.config` where a folder with one is named, else the path itself."""
    return path / CONFIG_FILE if (path / CONFIG_FILE).is_file() else path


def network_folder(path: Path) -> Path | None:
    """The folder of a network with its weights, where that or its `net.config` is named; else None."""
    folder = network_file(path).parent
    is_network = network_file(path).name == CONFIG_FILE and (folder / CONFIG_FILE).is_file()
    return folder if is_network and (folder / WEIGHTS_FILE).is_file() else None


def resolution_beside(folder: Path) -> tuple[int | None, str]:
    """The resolution that the files beside a `net.config` state, in pixels, and the file that does.

    Raises:
        FileFormatError: Such a file is damaged, or states no size.
    """
    run, extracted = folder / RUN_FILE, folder / EXTRACTED_FILE
    if run.is_file():
        try:
            return stated_resolution(read_object(run, "a run.config")), f"'{run}'"
        except FileFormatError as error:
            if str(run) in error.message:
                raise
            raise FileFormatError(f"'{run}': {error.message}", hint=error.hint) from error
    if extracted.is_file():
        subnet = read_object(extracted, "a description of a network").get("subnet")
        if isinstance(subnet, Mapping) and isinstance(subnet.get("resolution"), int):
            return subnet["resolution"], f"'{extracted}'"
    return None, ""


def read_official(
    document: Mapping[str, Any], space: SearchSpace | None, resolution: Resolution, where: str
) -> tuple[SearchSpace, Subnet, tuple[str, ...]]:
    """The subnet that a file of the once-for-all repositories describes, its space, and notes.

    Args:
        document: The parsed file.
        space: The space it must belong to; None finds that of a `net.config`.
        resolution: The resolution asked for, and the one that files beside it state.
        where: Name of the document in errors.

    Raises:
        FileFormatError: It is malformed, or a dictionary without a space.
        MismatchError: It is no subnet of `space`.
        SubnetNotInSpaceError: The space does not offer one of its choices.
    """
    if is_network_config(document):
        return _read_network(document, space, resolution, where)
    if space is None:
        raise FileFormatError(
            f"{where} does not say which search space its subnet belongs to.",
            hint="Name the space, such as --space ofa-mobilenet-v3-w1.0.",
        )
    stated = stated_resolution(document)
    if stated is not None:
        resolution = dataclasses.replace(resolution, stated=stated, source=where)
    subnet = from_official(space, document)
    chosen, notes = resolution.choose(where, space)
    return space, dataclasses.replace(subnet, resolution=chosen), notes


def _read_network(
    document: Mapping[str, Any], space: SearchSpace | None, resolution: Resolution, where: str
) -> tuple[SearchSpace, Subnet, tuple[str, ...]]:
    network = single_network_space(document, DEFAULT_RESOLUTION)
    if space is not None:
        subnet = member_of(space, network)
        if subnet is None:
            raise _no_member(space, network, where)
    else:
        found = find_space(network, SPACES.values())
        if found is None:
            chosen, notes = resolution.choose(where, None)
            network = network.with_resolutions((chosen,))
            alone = f"{where} is no subnet of a registered space; it is taken as a network of its own."
            return network, network.largest(), (*notes, alone)
        space, subnet = found
    chosen, notes = resolution.choose(where, space)
    return space, dataclasses.replace(subnet, resolution=chosen), notes


def _no_member(space: SearchSpace, network: SearchSpace, where: str) -> MismatchError:
    """Why a network is no subnet of a space, as far as widths tell."""
    own = list(dict.fromkeys(stage.widths[0] for stage in network.stages))
    offered = [stage.widths for stage in space.stages]
    if len(own) != len(offered) or any(w not in widths for w, widths in zip(own, offered, strict=True)):
        theirs = ", ".join("/".join(map(str, widths)) for widths in offered)
        why = f"its stages have widths {', '.join(map(str, own))}; '{space.name}' has {theirs}"
    else:
        why = f"'{space.name}' does not offer its depths, kernel sizes, expand ratios, or has other layers"
    return MismatchError(f"{where} is no subnet of '{space.name}': {why}.")
