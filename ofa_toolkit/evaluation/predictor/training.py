"""Fitting the ensemble behind an accuracy predictor (needs torch; predicting does not).

Each member is a perceptron with a linear bypass. Its inputs factor every block into kernel size and expand
ratio, both zero for a skipped block, as in OFA's predictor (Cai et al. 2020); a one-hot over their products
was a quarter less accurate on 1,200 subnets. Strong decoupled weight
decay (Loshchilov & Hutter 2019) on the perceptron, little on the bypass, keeps it close to additive where
data are few. All members are trained at once as one batched matrix product.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ofa_toolkit.core.rng import torch_seed
from ofa_toolkit.evaluation.predictor.choices import Choices
from ofa_toolkit.evaluation.predictor.ensemble import EnsembleConfig
from ofa_toolkit.evaluation.predictor.predictor import Member
from ofa_toolkit.modules.threads import torch_threads

Features = npt.NDArray[np.float32]
Targets = npt.NDArray[np.floating[Any]]


def fit_ensemble(
    choices: Choices,
    one_hot: Features,
    targets: Targets,
    *,
    config: EnsembleConfig | None = None,
    seed: int = 0,
) -> tuple[Member, ...]:
    """Fit members to measured accuracies, with one thread.

    Args:
        choices: The choices that `one_hot` has columns for.
        one_hot: `Choices.one_hot` of the subnets, `(N, choices)`.
        targets: Accuracy in percent, or any other figure, `(N,)`.
        config: Size and schedule.
        seed: Start of the random streams; equal seeds give equal members on equal machines.

    Returns:
        Members on the scale of `targets`.
    """
    config = config or EnsembleConfig()
    mean, scale = float(targets.mean()), float(targets.std()) or 1.0
    factors = choices.factors()
    network = _Ensemble(factors.shape[1], config, torch_seed(seed, "ensemble", "start"))
    # The matrices are tiny: on a busy machine, threads that wait for each other took 14 times one's CPU time.
    with torch_threads(1):
        _optimise(
            network,
            torch.from_numpy(one_hot @ factors),
            torch.from_numpy(((targets - mean) / scale).astype(np.float32)),
            config,
            torch_seed(seed, "ensemble", "batches"),
        )
    return network.members(factors, mean, scale)


class _Ensemble:
    """Parameters of all members, the first axis counting members."""

    def __init__(self, num_inputs: int, config: EnsembleConfig, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        sizes = [num_inputs, *config.hidden, 1]
        self.weights: list[torch.Tensor] = []
        self.biases: list[torch.Tensor] = []
        for depth, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
            # Most inputs of the first layer are zero, so He's rule counts the ones that are not.
            active = num_inputs / 3 if depth == 0 else fan_in
            # The perceptron starts near zero beside the bypass.
            gain = 0.1 / active**0.5 if depth == len(config.hidden) else (2 / active) ** 0.5
            shape = (config.num_members, fan_in, fan_out)
            self.weights.append((torch.randn(shape, generator=generator) * gain).requires_grad_())
            self.biases.append(torch.zeros((config.num_members, 1, fan_out), requires_grad=True))
        self.linear = torch.zeros((config.num_members, num_inputs, 1), requires_grad=True)

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        """Outputs `(members, batch)` for inputs `(members, batch, features)`."""
        hidden = inputs
        for depth, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            hidden = torch.baddbmm(bias, hidden, weight)
            if depth < len(self.weights) - 1:
                hidden = torch.relu(hidden)
        return (hidden + torch.bmm(inputs, self.linear))[..., 0]

    def members(self, factors: Features, mean: float, scale: float) -> tuple[Member, ...]:
        """As NumPy arrays over choices, with the scale of the targets folded into the last layer."""
        arrays = [[p.detach().numpy().copy() for p in group] for group in (self.weights, self.biases)]
        linear = self.linear.detach().numpy()
        members = []
        for index in range(len(linear)):
            layers = [(weight[index], bias[index, 0]) for weight, bias in zip(*arrays, strict=True)]
            (first, bias), *rest = layers
            last_weight, last_bias = rest[-1]
            rest[-1] = (last_weight * np.float32(scale), last_bias * np.float32(scale) + np.float32(mean))
            members.append(
                Member(
                    first=factors @ first,
                    linear=(factors @ linear[index])[:, 0] * np.float32(scale),
                    bias=bias,
                    layers=tuple(rest),
                )
            )
        return tuple(members)


def _optimise(
    network: _Ensemble, inputs: torch.Tensor, targets: torch.Tensor, config: EnsembleConfig, seed: int
) -> None:
    optimizer = torch.optim.AdamW(
        [
            {"params": network.weights, "weight_decay": config.weight_decay},
            {"params": network.biases, "weight_decay": 0.0},
            {"params": [network.linear], "weight_decay": config.linear_weight_decay},
        ],
        lr=config.learning_rate,
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, total_steps=config.num_steps
    )
    generator = torch.Generator().manual_seed(seed)
    batch = (config.num_members, min(config.batch_size, len(targets)))
    for _ in range(config.num_steps):
        rows = torch.randint(len(targets), batch, generator=generator)
        # Members are independent: the sum of their losses gives each its own gradient.
        loss = ((network(inputs[rows]) - targets[rows]) ** 2).mean(dim=1).sum()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()


def predict_members(members: Sequence[Member], one_hot: Features) -> npt.NDArray[np.float64]:
    """Predictions `(N, members)` for `Choices.one_hot` rows."""
    outputs = []
    for member in members:
        hidden = one_hot @ member.first + member.bias
        for weight, bias in member.layers:
            hidden = np.maximum(hidden, 0) @ weight + bias
        outputs.append(hidden[:, 0] + one_hot @ member.linear)
    return np.stack(outputs, axis=1).astype(np.float64)


def surprisal(one_hot: Features) -> npt.NDArray[np.float32]:
    """Minus the logarithm of each choice's share among the fitted subnets, `(choices,)`.

    One subnet more than counted keeps choices that never occurred finite.
    """
    counts = one_hot.sum(axis=0)
    result: npt.NDArray[np.float32] = -np.log((counts + 1) / (len(one_hot) + 1)).astype(np.float32)
    return result
