"""The errors a user can cause or meet, each one line and a hint.

Every error raised on purpose derives from `OfaToolkitError`. The command line prints
`Error: <message>` and `Hint: <hint>` and exits with `exit_code`; Python users catch the class.
`assert` is kept for mistakes of our own.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class OfaToolkitError(Exception):
    """Base of all errors of this package.

    Args:
        message: One line: the offending value in quotes, and what is allowed.
        hint: One line: the next thing to try, where possible a command that runs.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ConfigError(OfaToolkitError):
    """A configuration value is unknown, of the wrong type, or out of range."""


class UnknownNameError(OfaToolkitError):
    """A name is not in its table; carries the nearest match as hint."""


class QuantityError(OfaToolkitError):
    """A number with a unit (`20ms`, `200M`) cannot be read."""


class SubnetNotInSpaceError(OfaToolkitError):
    """A subnet holds a choice its search space does not offer."""


class MismatchError(OfaToolkitError):
    """Two parts do not belong together (space, supernet, predictor, table, checkpoint)."""


class InfeasibleConstraintError(OfaToolkitError):
    """No subnet meets the constraints."""


class DataError(OfaToolkitError):
    """A data set is missing, malformed, or does not fit the request."""


class OutputError(OfaToolkitError):
    """A file cannot be written, or writing would destroy something that is not ours."""


class FileFormatError(OfaToolkitError):
    """A file is truncated, of another format or version, or fails its schema."""


class CheckpointError(OfaToolkitError):
    """A checkpoint cannot be read, written, or belongs to another run."""


class TrainingError(OfaToolkitError):
    """A training run cannot start or go on."""


class LatencyTableError(OfaToolkitError):
    """A latency table is missing, does not cover a request, or fails its checks."""


class MeasurementError(OfaToolkitError):
    """A measurement cannot be made or trusted."""


class ExportError(OfaToolkitError):
    """A network cannot be exported for the target."""


class EngineError(OfaToolkitError):
    """TensorRT cannot parse, build, load or run a network."""


class VerificationError(OfaToolkitError):
    """An exported file does not do what it claims."""


class StoreError(OfaToolkitError):
    """A zoo file cannot be had, or is not what it should be."""


class MissingDependencyError(OfaToolkitError):
    """An optional package is needed and not installed."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UnknownNameError:
    """Build the error for a name that is not in its table, with the nearest match.

    Args:
        kind: Kind of thing that has the name, such as `search space`.
        name: The name as given.
        known: All allowed names.
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    message = f"Unknown {kind} '{name}'. Known: {', '.join(names) or 'none'}."
    return UnknownNameError(message, hint=f"Did you mean '{close[0]}'?" if close else None)


def first_line(error: BaseException) -> str:
    """What an exception of another package says, in one line; its type where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
