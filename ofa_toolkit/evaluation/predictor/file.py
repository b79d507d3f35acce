"""Predictor files: safetensors, which reading cannot execute, with a JSON description in the header."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ofa_toolkit.core import config, files
from ofa_toolkit.core.documents import damage_explained, parse_json
from ofa_toolkit.core.errors import FileFormatError
from ofa_toolkit.core.file_format import FileFormat
from ofa_toolkit.evaluation.predictor.card import PredictorCard
from ofa_toolkit.evaluation.predictor.choices import Choices
from ofa_toolkit.evaluation.predictor.predictor import AccuracyPredictor, Layer, Member

Tensors = dict[str, npt.NDArray[Any]]

FORMAT = FileFormat("ofa-toolkit/accuracy-predictor", 1, "an accuracy predictor")
_DESCRIPTION = "ofa-toolkit"
_EFFECT = "resolution_effect"


def write_predictor(path: str | os.PathLike[str], predictor: AccuracyPredictor) -> None:
    """Write a predictor atomically.

    Raises:
        OutputError: The file cannot be written.
    """
    from safetensors.numpy import save

    tensors: Tensors = {"surprisal": predictor.surprisal}
    for index, member in enumerate(predictor.members):
        tensors |= _tensors(member, f"members.{index}")
    if predictor.resolution_effect is not None:
        tensors |= _tensors(predictor.resolution_effect, _EFFECT)
    description = {
        **FORMAT.header,
        "card": config.to_dict(predictor.card),
        "choices": predictor.choices.to_document(),
    }
    # One entry: the order of several is not fixed, and equal predictors are to give equal files.
    metadata = {_DESCRIPTION: json.dumps(description, ensure_ascii=False, separators=(",", ":"))}
    contiguous = {name: np.ascontiguousarray(value, dtype=np.float32) for name, value in tensors.items()}
    files.write_bytes(path, save(contiguous, metadata=metadata))


def read_predictor(path: str | os.PathLike[str]) -> AccuracyPredictor:
    """Read a predictor.

    Raises:
        FileFormatError: Missing, damaged, of another format or version.
    """
    description, tensors = _read(Path(path))
    FORMAT.check(description, f"'{path}'")
    with damage_explained(f"'{path}'"):
        card = config.from_dict(PredictorCard, description["card"], source=str(path))
        choices = Choices.from_document(description["choices"])
        members: list[Member] = []
        while f"members.{len(members)}.first" in tensors:
            members.append(_member(tensors, f"members.{len(members)}", len(choices.rows)))
        has_effect = f"{_EFFECT}.first" in tensors
        effect = _member(tensors, _EFFECT, len(choices.rows)) if has_effect else None
        surprisal = tensors["surprisal"]
        if not members or surprisal.shape != (len(choices.rows),):
            raise ValueError("the numbers of choices differ")
    return AccuracyPredictor(
        card=card, choices=choices, members=tuple(members), surprisal=surprisal, resolution_effect=effect
    )


def holds_predictor(path: Path) -> bool:
    """Whether a file is a predictor that can be read."""
    try:
        read_predictor(path)
    except FileFormatError:
        return False
    return True


def _read(path: Path) -> tuple[dict[str, Any], Tensors]:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise FileFormatError(
            f"There is no accuracy predictor '{path}'.",
            hint="`ofa-tk predictor build --supernet DIR --data DATA` makes one.",
        )
    try:
        with safe_open(path, framework="numpy") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            description = parse_json((file.metadata() or {}).get(_DESCRIPTION, "{}"), f"The card in '{path}'")
    except (SafetensorError, OSError, ValueError) as error:
        raise FileFormatError(f"'{path}' is damaged: {error}.") from error
    return (description if isinstance(description, dict) else {}), tensors


def _tensors(member: Member, prefix: str) -> Tensors:
    tensors = {
        f"{prefix}.first": member.first,
        f"{prefix}.linear": member.linear,
        f"{prefix}.bias": member.bias,
    }
    for depth, (weight, bias) in enumerate(member.layers):
        tensors |= {f"{prefix}.layers.{depth}.weight": weight, f"{prefix}.layers.{depth}.bias": bias}
    return tensors


def _member(tensors: Tensors, prefix: str, num_choices: int) -> Member:
    first, linear, bias = (tensors[f"{prefix}.{name}"] for name in ("first", "linear", "bias"))
    if first.shape != (num_choices, len(bias)) or linear.shape != (num_choices,):
        raise ValueError(f"{prefix} has tensors of the wrong shape")
    layers: list[Layer] = []
    width = len(bias)
    while f"{prefix}.layers.{len(layers)}.weight" in tensors:
        name = f"{prefix}.layers.{len(layers)}"
        weight, offset = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
        if weight.shape != (width, len(offset)):
            raise ValueError(f"{name} has the wrong shape")
        width = len(offset)
        layers.append((weight, offset))
    if width != 1:
        raise ValueError(f"{prefix} does not end in one output")
    return Member(first=first, linear=linear, bias=bias, layers=tuple(layers))
