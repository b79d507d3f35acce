"""Registries: listing imports nothing, names are checked, entries arrive."""

from __future__ import annotations

import pytest

from ofa_toolkit.core.errors import UnknownNameError
from ofa_toolkit.core.registry import Registry

PARTS: Registry[object] = Registry("part", {"path": "pathlib:Path", "missing": "no_such_module:thing"})


def test_lookup_and_listing() -> None:
    from pathlib import Path

    assert PARTS["path"] is Path
    assert list(PARTS) == ["path", "missing"]
    assert len(PARTS) == 2
    assert "missing" in PARTS
    assert PARTS.location("missing") == "no_such_module:thing"


def test_unknown_name() -> None:
    with pytest.raises(UnknownNameError) as caught:
        PARTS["pathh"]
    assert caught.value.message == "Unknown part 'pathh'. Known: missing, path."
    assert caught.value.hint == "Did you mean 'path'?"
    with pytest.raises(UnknownNameError):
        PARTS.location("pathh")


def test_a_broken_entry_is_not_hidden() -> None:
    with pytest.raises(ModuleNotFoundError):
        PARTS["missing"]
