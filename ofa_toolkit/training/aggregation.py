"""How the gradients of a step's networks become one: their sum, or for each entry that sum over its users.

An entry that only the largest network holds gets one gradient a step, one that all hold gets k. Averages undo
that, entry by entry (`gradient_aggregation` avg and avg_sqrt in the DϵpS authors' code).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ofa_toolkit.spaces import lower
from ofa_toolkit.supernets import Supernet
from ofa_toolkit.training.algorithm import Pass


@torch.no_grad()
def divide_by_uses(supernet: Supernet, passes: Sequence[Pass], *, root: bool) -> None:
    """Divide summed gradients by how often each entry was used, or by the root of it.

    Args:
        supernet: Holds the sum of the passes' weighted gradients; changed in place.
        passes: The passes of the step.
        root: Whether by the square root.
    """
    uses = count_uses(supernet, passes)
    for name, parameter in supernet.named_parameters():
        if parameter.grad is not None:
            # What no network of the step holds has no gradient either.
            count = uses[name].masked_fill_(uses[name] == 0, 1.0)
            parameter.grad.div_(count.sqrt_() if root else count)


def count_uses(supernet: Supernet, passes: Sequence[Pass]) -> dict[str, Tensor]:
    """For each entry of each parameter the sum of the gradient weights of the networks that use it.

    As in the authors' code, a network that runs a block uses its leading channels, but all of a kernel
    whatever its kernel size, and all of a squeeze-excite branch.

    Args:
        supernet: Whose parameters.
        passes: The passes of the step.
    """
    uses = {name: torch.zeros_like(parameter) for name, parameter in supernet.named_parameters()}
    for item in passes:
        for layer in lower(supernet.space, item.subnet):
            if not layer.has_weights:
                continue
            module = supernet.layer(layer.name)
            whole = ".se." in layer.name
            outputs = slice(None if whole else layer.out_channels)
            inputs = slice(None if whole else layer.in_channels // layer.groups)
            for name, parameter in module.named_parameters(prefix=layer.name):
                if parameter is module.weighted.weight:
                    uses[name][outputs, inputs] += item.gradient_weight
                elif parameter.ndim == 1:
                    uses[name][outputs] += item.gradient_weight
                else:
                    uses[name] += item.gradient_weight  # a kernel matrix
    return uses
