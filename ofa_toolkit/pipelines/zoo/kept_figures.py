"""Measured figures in a file of JSON lines, so that a killed run need not measure them again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ofa_toolkit.core import config as configuration
from ofa_toolkit.core.errors import ConfigError
from ofa_toolkit.core.journal import Journal
from ofa_toolkit.core.reporting import SILENT, Reporter
from ofa_toolkit.zoo.card import AccuracyFact


class KeptFigures:
    """Figures by everything that decides them.

    Args:
        path: The file; made with the first figure. Lines that cannot be read, such as the last one of a run
            that was killed, count as not measured.
        reporter: Hears of them.
    """

    def __init__(self, path: Path, reporter: Reporter = SILENT) -> None:
        self._journal = Journal(path, reporter)
        self._found: dict[str, AccuracyFact] = {}
        for line in self._journal.lines:
            self._read(line)

    def get_or_measure(
        self, conditions: Mapping[str, Any], measure: Callable[[], AccuracyFact]
    ) -> AccuracyFact:
        """The figure kept under exactly these conditions, else a new one, which is on disk on return."""
        key = _key(conditions)
        if key not in self._found:
            fact = self._found[key] = measure()
            self._journal.append({"key": key, "figure": configuration.to_dict(fact)})
        return self._found[key]

    def _read(self, record: Mapping[str, Any]) -> None:
        try:
            self._found[record["key"]] = configuration.from_dict(
                AccuracyFact, record["figure"], source=str(self._journal.path)
            )
        except (KeyError, TypeError, ConfigError):
            return


def _key(conditions: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(conditions, sort_keys=True).encode()).hexdigest()
