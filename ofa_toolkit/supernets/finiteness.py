"""Whether weights are numbers: a network that training ruined must not be saved, judged or passed on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor


def first_not_finite(content: object) -> str | None:
    """The first tensor with an infinite entry or one that is no number, as a dotted name; None without one.

    Args:
        content: Tensors in nested mappings and lists, such as `Learner.state_dict`.
    """
    for name, tensor in _tensors(content, ""):
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            return name
    return None


def _tensors(content: object, prefix: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(content, Tensor):
        yield prefix, content
    elif isinstance(content, (Mapping, list, tuple)):
        items = content.items() if isinstance(content, Mapping) else enumerate(content)
        for name, value in items:
            yield from _tensors(value, f"{prefix}.{name}" if prefix else str(name))
