"""What times the networks of a kit on its board, by the names that the agent and its results have for it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from ofa_toolkit.core.errors import MeasurementError


class BackEnd(ABC):
    """One way to time networks.

    Attributes:
        name: As the agent names it.
        runtime: Runtime of the tables that its results become.
    """

    name: ClassVar[str]
    runtime: ClassVar[str]

    @abstractmethod
    def lack(self, description: Mapping[str, Any]) -> str | None:
        """Why a board that describes itself so cannot use it; None where it can."""

    @abstractmethod
    def target(self, description: Mapping[str, Any]) -> str:
        """Target of a kit for such a board."""

    def version(self, told: str | None) -> str | None:
        """Its version as people write it."""
        return told


class _Trtexec(BackEnd):
    name, runtime = "trtexec", "tensorrt"

    def lack(self, description: Mapping[str, Any]) -> str | None:
        told = description["trtexec_version"]
        return None if told else str(description.get("trtexec_error", "no trtexec"))

    def target(self, description: Mapping[str, Any]) -> str:
        version = self.version(description["trtexec_version"])
        if version is None:
            raise MeasurementError(f"'{description['trtexec']}' does not tell its version.")
        return f"tensorrt-{version.rpartition('.')[0]}"

    def version(self, told: str | None) -> str | None:
        return dotted_version(told)


class _OnnxRuntime(BackEnd):
    name = runtime = "onnxruntime"

    def lack(self, description: Mapping[str, Any]) -> str | None:
        return None if description["onnxruntime"] else str(description.get("onnxruntime_error"))

    def target(self, description: Mapping[str, Any]) -> str:  # noqa: ARG002 - the same on every board
        return "onnxruntime-cpu"


BACK_ENDS: Mapping[str, BackEnd] = {back_end.name: back_end for back_end in (_Trtexec(), _OnnxRuntime())}
"""Those that a kit knows, the preferred one first."""


def dotted_version(digits: str | None) -> str | None:
    """`8201` and `100300` as trtexec prints them are 8.2.1 and 10.3.0."""
    if digits is None or not digits.isdigit():
        return digits
    if len(digits) <= 4:
        major, minor, patch = digits[:-3], digits[-3], digits[-2:]
    else:
        major, minor, patch = digits[:-4], digits[-4:-2], digits[-2:]
    return f"{int(major)}.{int(minor)}.{int(patch)}"
