"""How the ensemble of an accuracy predictor is fitted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from ofa_toolkit.core.config import Bounds


@dataclass(frozen=True, kw_only=True)
class EnsembleConfig:
    """How the ensemble is fitted."""

    num_members: Annotated[int, Bounds(at_least=2)] = 5
    "Perceptrons with their own start and order of the data."
    hidden: tuple[int, ...] = (16, 16)
    "Units of each hidden layer."
    num_steps: Annotated[int, Bounds(at_least=1)] = 3000
    "Optimiser steps."
    batch_size: Annotated[int, Bounds(at_least=1)] = 256
    "Subnets per step, drawn with replacement for each member."
    learning_rate: Annotated[float, Bounds(above=0)] = 5e-3
    "Peak of the one-cycle schedule."
    weight_decay: Annotated[float, Bounds(at_least=0)] = 1.0
    "Weight decay of the perceptron's weights."
    linear_weight_decay: Annotated[float, Bounds(at_least=0)] = 1e-2
    "Weight decay of the linear bypass."
