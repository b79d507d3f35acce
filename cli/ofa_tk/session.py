"""What one call of the program shares."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Session:
    """Kept in click's context (`find_object`)."""

    is_debug: bool = False
    """Show the traceback of an error."""
    is_json: bool = False
    """Whether `--json` was typed, also where that could not be parsed."""
    is_silent: bool = False
    """Whether another process tells of the work that this one shares; errors are told by each."""
    has_document: bool = False
    """Whether a JSON document has been printed."""
