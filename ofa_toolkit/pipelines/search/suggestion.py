"""The search to propose to somebody who has a supernet, or a table for a space: one that finds something."""

from __future__ import annotations

import math
from pathlib import Path

from ofa_toolkit.complexity import count_macs
from ofa_toolkit.core import quantities
from ofa_toolkit.core.command_line import command_line
from ofa_toolkit.pipelines.export.searched_target import export_file_command
from ofa_toolkit.pipelines.search.request import SearchRequest
from ofa_toolkit.pipelines.search.supernet import resolve_space
from ofa_toolkit.spaces import SearchSpace, lower
from ofa_toolkit.spaces.space_file import typed_space
from ofa_toolkit.zoo.supernet import LoadedSupernet, SupernetLike


def search_command(
    *limit: str, supernet: SupernetLike | None = None, space: str | SearchSpace | None = None
) -> str:
    """`ofa-tk search` within a limit; without one, MACs half way between the smallest and the largest.

    Accuracy is left out where no predictor tells it.
    """
    if isinstance(space, SearchSpace):
        typed = typed_space(space)
        if typed != space.name:  # of a file, whose name is not known
            limit = limit or ("--macs", half_way_macs(space))
            return command_line("search", "--space", typed, "--maximize", "macs", *limit)
        space = typed
    found, searched = resolve_space(SearchRequest(supernet, space=space))
    if found is None or supernet is None:
        named = ["--space", space or searched.name]
    else:
        named = ["--supernet", found.name]
    words = ["search", *named]
    if found is None or not found.predictor_file.is_file():
        words += ["--maximize", "macs"]
    return command_line(*words, *(limit or ("--macs", half_way_macs(searched))))


def next_command(supernet: LoadedSupernet) -> str:
    """What to do with a supernet: search it, or export its only subnet or the one it was fine-tuned for."""
    subnet = Path(supernet.name) / "subnet.json"
    if subnet.is_file():
        return export_file_command(subnet)
    if supernet.only_subnet is not None:
        return command_line("export", "--supernet", supernet.name, "--target", "onnxruntime-cpu", "--onnx")
    return search_command(supernet=supernet)


def half_way_macs(space: SearchSpace) -> str:
    """A limit on MACs in the middle of a space, on a logarithmic scale, as one types it."""
    smallest, largest = (count_macs(lower(space, subnet)) for subnet in (space.smallest(), space.largest()))
    return quantities.MACS.typed(math.sqrt(smallest * largest), digits=2)
