"""Descriptions of version 1, which name their space instead of carrying it, in today's form."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from ofa_toolkit.core.errors import FileFormatError, MismatchError
from ofa_toolkit.spaces import get_space
from ofa_toolkit.spaces.compound import COMPOUND_ELASTIC_KERNEL_SUFFIX, COMPOUND_SUFFIX, compound
from ofa_toolkit.spaces.space import SearchSpace
from ofa_toolkit.spaces.space_file import space_document

_REPLACED = ("version", "space", "num_classes", "resolutions", "trained_choices")


def upgraded(config: dict[str, Any], path: Path) -> dict[str, Any]:
    """The description with its space, and the trained part of it, as tables.

    Raises:
        FileFormatError: An entry is missing or of the wrong type.
        UnknownNameError: This release has no space of that name.
        MismatchError: This release's space of that name is another.
    """
    try:
        space = get_space(str(config["space"])).with_resolutions(tuple(config["resolutions"]))
        space = space.with_num_classes(config["num_classes"])
        trained = _trained(space, config.get("trained_choices"))
        identity = str(config["space_identity"])
    except KeyError as error:
        raise FileFormatError(f"'{path}' lacks the entry '{error.args[0]}'.") from error
    except (TypeError, ValueError) as error:
        raise FileFormatError(f"'{path}' holds an entry of the wrong type: {error}.") from error
    if space.identity != identity:
        raise MismatchError(
            f"'{path.parent}' was made for another '{space.name}' (identity {identity}) "
            f"than this release's ({space.identity}).",
            hint="Install the release that made it, or train again.",
        )
    kept = {key: value for key, value in config.items() if key not in _REPLACED}
    trained_part = {} if trained == space else {"trained_space": space_document(trained)}
    return {**kept, "version": 2, "space": space_document(space), **trained_part}


def _trained(space: SearchSpace, choices: Any) -> SearchSpace:
    """What `trained_choices` says: a compound restriction, or the choices of each stage."""
    if not isinstance(choices, dict):
        return space
    name = str(choices["space"])
    if name.endswith(COMPOUND_ELASTIC_KERNEL_SUFFIX):
        return compound(space, elastic_kernel=True)
    if name.endswith(COMPOUND_SUFFIX):
        return compound(space)
    by_stage = [choices[key] for key in ("depths", "kernel_sizes", "expand_ratios")]
    stages = tuple(
        dataclasses.replace(stage, depths=depths, kernel_sizes=kernel_sizes, expand_ratios=ratios)
        for stage, depths, kernel_sizes, ratios in zip(space.stages, *by_stage, strict=True)
    )
    return dataclasses.replace(space, stages=stages)
