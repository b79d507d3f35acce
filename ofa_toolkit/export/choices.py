"""Choices of an export, by name; apart from what acts on them, which needs ONNX."""

from __future__ import annotations

from typing import Literal

CalibrationMethod = Literal["minmax", "percentile", "entropy"]
METHODS: tuple[CalibrationMethod, ...] = ("minmax", "percentile", "entropy")
Layout = Literal["NCHW", "NHWC"]
