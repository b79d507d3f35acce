"""The arithmetic that a network is computed in: one set of short names."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from typing import Literal

from ofa_toolkit.core.errors import unknown_name

Precision = Literal["fp32", "tf32", "fp16", "bf16", "int8"]
FilePrecision = Literal["fp32", "fp16", "int8"]
"""Precision of an exported file or of a kit."""
FloatPrecision = Literal["fp32", "fp16"]
"""Precision of a graph whose weights are as they were trained, or of a network timed on this machine."""
TrainingPrecision = Literal["fp32", "bf16", "fp16"]
"""Precision of forward and backward passes."""

PRECISIONS: tuple[Precision, ...] = typing.get_args(Precision)
FILE_PRECISIONS: tuple[FilePrecision, ...] = typing.get_args(FilePrecision)
ALIASES: Mapping[str, Precision] = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}
"""Spellings of other programs and of earlier releases."""


def read_precision(text: str) -> Precision:
    """The precision of a name, also as other programs spell it.

    Raises:
        UnknownNameError: It is none.
    """
    found = ALIASES.get(text.lower(), text.lower())
    if found not in PRECISIONS:
        raise unknown_name("precision", text, PRECISIONS)
    return found
