"""Visible tables from a name to the part it stands for, imported on first use."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar, cast

from ofa_toolkit.core.errors import unknown_name

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """A fixed table `name -> "module:attribute"` that imports a module only when asked for it.

    Listing names imports nothing. An unknown name raises `UnknownNameError` with the nearest match.

    Args:
        kind: What the entries are, in the singular, for messages: `search space`.
        table: Name to `module:attribute`.
    """

    def __init__(self, kind: str, table: Mapping[str, str]) -> None:
        self.kind = kind
        self._table = dict(table)

    def __getitem__(self, name: str) -> T:
        try:
            module, _, attribute = self._table[name].partition(":")
        except KeyError:
            raise unknown_name(self.kind, name, self._table) from None
        return cast(T, getattr(importlib.import_module(module), attribute))

    def __contains__(self, name: object) -> bool:
        return name in self._table

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)

    def location(self, name: str) -> str:
        """The `module:attribute` of an entry, without importing it."""
        if name not in self._table:
            raise unknown_name(self.kind, name, self._table)
        return self._table[name]
