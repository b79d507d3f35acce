"""What a format has to offer, and what it is made from."""

from __future__ import annotations

import contextlib
import importlib.metadata
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
import onnx

from ofa_toolkit.core.errors import (
    ExportError,
    MissingDependencyError,
    OfaToolkitError,
    VerificationError,
    first_line,
)
from ofa_toolkit.core.precision import FilePrecision
from ofa_toolkit.export.ends import Ends

if TYPE_CHECKING:
    from torch import nn

Array = npt.NDArray[Any]

Runner = Callable[[Array], list[Array]]
"""A file that is open in its runtime: from one batch, in the file's type and layout, to its outputs."""


@dataclass(frozen=True, kw_only=True)
class FormatSource:
    """What a file is made from.

    Attributes:
        model: Checked ONNX file with its ends, in single precision; for `int8` of formats that read it, with
            QuantizeLinear and DequantizeLinear.
        network: The network with its ends, in single precision and evaluation mode.
        example: One input, in the file's type, layout and batch size.
        ends: Input and output of the file.
        precision: Arithmetic, or storage of weights.
        calibration: For `int8`: inputs to find ranges on, as `example`.
    """

    model: onnx.ModelProto
    network: nn.Module
    example: Array
    ends: Ends
    precision: FilePrecision
    calibration: Sequence[Array] = ()


class Format(Protocol):
    """A format: how its files are made and run.

    Attributes:
        name: As the user names it.
        title: For people.
        extra: Extra of this package that installs what the format needs.
        packages: Distributions it needs.
        suffix: Suffix of the file that stands for all.
        precisions: Precisions that its converter writes.
        reads_quantised: Whether int8 is made from our quantised ONNX file.
        runtime: Name of its runtime, as device files have it.
        runs_here: Whether files can be run on this kind of machine.
    """

    name: str
    title: str
    extra: str
    packages: tuple[str, ...]
    suffix: str
    precisions: tuple[FilePrecision, ...]
    reads_quantised: bool
    runtime: str
    runs_here: bool

    def check(self, ends: Ends) -> None:
        """Raise `ExportError` for ends the format does not take."""
        ...

    def write(self, source: FormatSource, path: Path) -> None:
        """Write `path`, and what belongs to it beside it under the same stem."""
        ...

    def open(self, path: Path, num_threads: int) -> Runner:
        """Open a file in the format's own runtime."""
        ...


def missing_packages(form: Format) -> list[str]:
    """Distributions of a format that are not installed."""
    missing = []
    for name in form.packages:
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    return missing


def versions(form: Format) -> dict[str, str]:
    """Distribution -> installed version."""
    return {name: importlib.metadata.version(name) for name in form.packages}


def install_line(form: Format) -> str:
    """The line that installs what a format needs."""
    return f"pip install 'ofa-toolkit[{form.extra}]'"


def check_installed(form: Format) -> None:
    """Raise `MissingDependencyError` where a package of a format is missing."""
    missing = missing_packages(form)
    if missing:
        raise MissingDependencyError(
            f"{form.title} files need the package '{missing[0]}', which is not installed.",
            hint=install_line(form),
        )


def convert(form: Format, source: FormatSource, path: Path) -> None:
    """Write a format's files; what its converter raises becomes an `ExportError`."""
    try:
        with contextlib.redirect_stdout(sys.stderr):  # what converters print is no result of ours
            form.write(source, path)
    except OfaToolkitError:
        raise
    except Exception as error:  # converters raise kinds of their own
        raise ExportError(f"{form.title} cannot convert the network: {first_line(error)}") from error


def open_runner(form: Format, path: Path, num_threads: int) -> Runner:
    """Open a format's file; what its runtime raises becomes a `VerificationError`."""

    def guarded(call: Callable[[], Any]) -> Any:
        try:
            with contextlib.redirect_stdout(sys.stderr):
                return call()
        except OfaToolkitError:
            raise
        except Exception as error:  # runtimes raise kinds of their own
            raise VerificationError(f"{form.title} cannot run '{path}': {first_line(error)}") from error

    run = guarded(lambda: form.open(path, num_threads))
    return lambda images: list(guarded(lambda: run(images)))


def refuse_ends(form: Format, reason: str) -> ExportError:
    """The error for ends that a format does not take."""
    return ExportError(f"{form.title} files {reason}.", hint="Leave out --input and --output.")


def in_batches(run: Runner, size: int) -> Runner:
    """A runner for any number of images, of one for exactly `size`; the last batch is filled up."""

    def run_all(images: Array) -> list[Array]:
        parts = []
        for start in range(0, len(images), size):
            part = images[start : start + size]
            filled = np.ascontiguousarray(part[np.minimum(np.arange(size), len(part) - 1)])
            parts.append([output[: len(part)] for output in run(filled)])
        return [np.concatenate(pieces) for pieces in zip(*parts, strict=True)]

    return run_all
