"""Table files: safetensors, which reading cannot execute, with a JSON description in the header."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from ofa_toolkit.core import files
from ofa_toolkit.core.documents import damage_explained, parse_json
from ofa_toolkit.core.errors import FileFormatError
from ofa_toolkit.core.file_format import FileFormat
from ofa_toolkit.latency.predictors.intervals import ConformalBound
from ofa_toolkit.latency.predictors.predictor import (
    Predictor,
    PredictorDocument,
    Tensors,
    predictors_from_parts,
    predictors_to_parts,
)

FORMAT = FileFormat("ofa-toolkit/latency-table", 1, "a latency table")
SUFFIX = ".safetensors"

_PREDICTORS, _SCORES = "predictors", "bound.scores"


class TableDocument(TypedDict):
    """The description in the header of a table file."""

    predictors: list[PredictorDocument]
    "In order of preference: the first that covers a space without extrapolating serves it."
    bound_space: str | None
    "Identity of the space whose subnets gave the scores for upper bounds."


@dataclass(frozen=True, kw_only=True)
class TableContent:
    """What a table file holds.

    Attributes:
        predictors: In order of preference: the first that covers a space without extrapolating serves it.
        bound: Held-out scores for one-sided bounds, or None where the table is uncalibrated.
        bound_space: Identity of the search space whose subnets gave the scores; other spaces have no bound.
    """

    predictors: tuple[Predictor, ...]
    bound: ConformalBound | None = None
    bound_space: str | None = None

    def _to_parts(self) -> tuple[dict[str, Any], Tensors]:
        described, tensors = predictors_to_parts(self.predictors, _PREDICTORS)
        if self.bound is not None:
            tensors[_SCORES] = self.bound.scores
        document = {
            **FORMAT.header,
            "predictors": described,
            "bound_space": self.bound_space,
        }
        return document, tensors

    @property
    def identity(self) -> str:
        """Hash of everything that decides a prediction or a bound."""
        document, tensors = self._to_parts()
        digest = hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode())
        for name in sorted(tensors):
            value = tensors[name]
            digest.update(f"{name} {value.dtype.str} {value.shape}".encode())
            digest.update(value.tobytes())
        return digest.hexdigest()[:16]


def write_content(path: str | os.PathLike[str], content: TableContent) -> None:
    """Write a table file atomically; equal content gives equal bytes.

    The header has one text only: safetensors writes several in any order.
    """
    from safetensors.numpy import save

    document, tensors = content._to_parts()
    text = json.dumps(document, sort_keys=True, ensure_ascii=False, allow_nan=False)
    files.write_bytes(path, save(dict(sorted(tensors.items())), {"document": text}))


def read_content(path: str | os.PathLike[str]) -> TableContent:
    """Read a table file.

    Raises:
        FileFormatError: It is missing, damaged, of another format or a newer version.
    """
    text, tensors = _read(Path(path))
    with damage_explained(f"'{path}'"):
        document = parse_json(text, f"The description in '{path}'")
        FORMAT.check(document, f"'{path}'", hint="Make the table again.")
        predictors = predictors_from_parts(document["predictors"], tensors, _PREDICTORS)
        bound_space = document["bound_space"]
    bound = ConformalBound(scores=tensors[_SCORES]) if _SCORES in tensors else None
    return TableContent(predictors=predictors, bound=bound, bound_space=bound_space)


def _read(path: Path) -> tuple[str, Tensors]:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise FileFormatError(f"No such file: '{path}'.")
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (SafetensorError, OSError) as error:
        raise FileFormatError(f"'{path}' is damaged or no safetensors file: {error}.") from error
    if "document" not in metadata:
        raise FileFormatError(f"'{path}' is not a latency table: its header describes none.")
    return metadata["document"], tensors
