"""Muon: gradient descent whose steps for weight matrices are made orthogonal.

A step that is the momentum itself follows the few directions in which gradients are large. Made orthogonal,
it moves all directions alike, and a network learns in fewer updates.

Source: Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/. Departures: weight decay is that of
SGD, the rate times the weights, where the authors' networks for CIFAR-10 keep their weights' norm; and the
classifier, biases, batch norm and depthwise kernels (one filter a channel, no matrix) are left to SGD, as is
all that is not the weight of a convolution.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

# Of the quintic that brings singular values near one; from the source.
_A, _B, _C = 3.4445, -4.7750, 2.0315
_ITERATIONS = 5
_EPS = 1e-7


def is_matrix(name: str, weight: Tensor) -> bool:
    """Whether a parameter mixes channels, so that its steps can be made orthogonal."""
    return name.endswith("conv.weight") and min(weight.shape[:2]) > 1


def orthogonalized(matrix: Tensor) -> Tensor:
    """A matrix with the singular vectors of the given one and singular values of about 0.7 to 1.2.

    By Newton-Schulz iterations, which take matrix products only; the zero matrix stays as it is.
    """
    is_tall = matrix.shape[0] > matrix.shape[1]
    x: Tensor = (matrix.T if is_tall else matrix) / (matrix.norm() + _EPS)
    for _ in range(_ITERATIONS):
        square = x @ x.T
        x = _A * x + (_B * square + _C * square @ square) @ x
    return x.T if is_tall else x


class Muon(torch.optim.SGD):
    """Muon for matrices, SGD for what else there is. A step overwrites the gradients of matrices.

    Args:
        matrices: Parameters for which `is_matrix` holds.
        others: Groups of the other parameters, as torch's optimizers take them.
        momentum: Of both.
        nesterov: Whether both look ahead.
        weight_decay: Of matrices.
        matrix_rate: Rate of matrices as a share of the others'.
    """

    def __init__(
        self,
        matrices: Iterable[Tensor],
        others: Iterable[dict[str, Any]],
        *,
        momentum: float,
        nesterov: bool,
        weight_decay: float,
        matrix_rate: float,
    ) -> None:
        # To SGD a matrix comes with the step to take as its gradient.
        plain = {"momentum": 0.0, "nesterov": False, "weight_decay": weight_decay}
        super().__init__(
            [{"params": list(matrices), **plain}, *others], lr=0.0, momentum=momentum, nesterov=nesterov
        )
        self._matrix_rate = matrix_rate

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """One update, from gradients that are there; no closure is taken."""
        for parameter in self.param_groups[0]["params"]:
            if parameter.grad is not None:
                self._make_orthogonal(parameter)
        super().step()

    def _make_orthogonal(self, parameter: Tensor) -> None:
        gradient, momentum = parameter.grad, self.defaults["momentum"]
        assert gradient is not None
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(gradient)
        buffer = state["momentum_buffer"]
        buffer.mul_(momentum).add_(gradient)
        direction = gradient.add(buffer, alpha=momentum) if self.defaults["nesterov"] else buffer
        # As large a change of the outputs whatever the shape.
        scale = self._matrix_rate * max(1.0, len(direction) / direction[0].numel()) ** 0.5
        gradient.copy_(orthogonalized(direction.flatten(1)).view_as(direction).mul_(scale))
