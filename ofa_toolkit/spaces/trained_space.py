"""Which part of a supernet's space was trained."""

from __future__ import annotations

from typing import Any

from ofa_toolkit.spaces.compound import compound, restrict
from ofa_toolkit.spaces.space import SearchSpace


def trained_space(space: SearchSpace, description: dict[str, Any]) -> SearchSpace:
    """The part of a supernet's space that its `config.json` says was trained.

    Compound methods train a compound restriction, others narrower choices of the same kind.
    """
    choices = description.get("trained_choices")
    if not isinstance(choices, dict):
        return space
    name = str(choices["space"])
    if name.endswith("-compound-elastic-kernel"):
        return compound(space, elastic_kernel=True)
    if name.endswith("-compound"):
        return compound(space)

    def union(key: str) -> list[Any]:
        return sorted({value for stage in choices[key] for value in stage})

    return restrict(
        space,
        depths=union("depths"),
        kernel_sizes=union("kernel_sizes"),
        expand_ratios=union("expand_ratios"),
    )
