"""Limits of the numbers of a declared dataclass, for the tables of several test files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from ofa_toolkit.core import config
from ofa_toolkit.core.errors import ConfigError


def check_limits(
    declared: Any, others: Mapping[str, Any], name: str, refused: Sequence[Any], taken: Sequence[Any]
) -> None:
    """Values of a field that are refused by its name, and values that are taken as they are."""
    for value in refused:
        with pytest.raises(ConfigError, match=name):
            config.from_dict(declared, {**others, name: value})
    for value in taken:
        assert getattr(config.from_dict(declared, {**others, name: value}), name) == value
