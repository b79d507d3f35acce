"""Measured figures in a file of JSON lines, so that a killed run need not measure them again."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ofa_toolkit.core import config as configuration
from ofa_toolkit.core.errors import ConfigError
from ofa_toolkit.zoo.card import AccuracyFact


class KeptFigures:
    """Figures by everything that decides them.

    Args:
        path: The file; made with the first figure. Lines that cannot be read, such as the last one of a run
            that was killed, count as not measured.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._found: dict[str, AccuracyFact] = {}
        if path.is_file():
            for line in path.read_text(encoding="utf-8").splitlines():
                self._read(line)

    def get(self, conditions: Mapping[str, Any]) -> AccuracyFact | None:
        """The figure measured under exactly these conditions, if there is one."""
        return self._found.get(_key(conditions))

    def add(self, conditions: Mapping[str, Any], fact: AccuracyFact) -> None:
        """Keep a figure, on disk when this returns."""
        key = _key(conditions)
        self._found[key] = fact
        record = json.dumps({"key": key, "figure": configuration.to_dict(fact)}, ensure_ascii=False)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            # A line of its own also after one that was cut off.
            file.write(f"\n{record}\n")
            file.flush()
            os.fsync(file.fileno())

    def _read(self, line: str) -> None:
        try:
            record = json.loads(line)
            self._found[record["key"]] = configuration.from_dict(
                AccuracyFact, record["figure"], source=str(self._path)
            )
        except (ValueError, KeyError, TypeError, ConfigError):
            return


def _key(conditions: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(conditions, sort_keys=True).encode()).hexdigest()
