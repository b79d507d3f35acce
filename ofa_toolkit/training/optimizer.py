"""The optimizer of a run, and the moving average of its weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ofa_toolkit.training.config import OptimizerConfig
from ofa_toolkit.training.muon import Muon, is_matrix

# RMSprop as in BigNAS and the DϵpS reference (TensorFlow's defaults for MobileNet training).
_RMSPROP_ALPHA = 0.9
_RMSPROP_EPS = 0.0316227766


def decays(name: str) -> bool:
    """Whether weight decay applies to a parameter: not to biases and batch norm."""
    return not (name.endswith(".bias") or ".bn." in name)


def build_optimizer(config: OptimizerConfig, module: nn.Module) -> torch.optim.Optimizer:
    """The optimizer over all parameters; its rate is set before every update."""
    named = list(module.named_parameters())
    matrices: list[Tensor] = []
    if config.kind == "muon":
        matrices = [p for name, p in named if is_matrix(name, p)]
        named = [(name, p) for name, p in named if not is_matrix(name, p)]
    groups = [
        {"params": [p for name, p in named if decays(name)], "weight_decay": config.weight_decay},
        {"params": [p for name, p in named if not decays(name)], "weight_decay": 0.0},
    ]
    looks_ahead = config.nesterov and config.momentum > 0  # the same without momentum, which torch refuses
    if config.kind == "sgd":
        return torch.optim.SGD(groups, lr=0.0, momentum=config.momentum, nesterov=looks_ahead)
    if config.kind == "muon":
        return Muon(
            matrices,
            groups,
            momentum=config.momentum,
            nesterov=looks_ahead,
            weight_decay=config.weight_decay,
            matrix_rate=config.matrix_rate,
        )
    if config.kind == "rmsprop":
        return torch.optim.RMSprop(
            groups, lr=0.0, alpha=_RMSPROP_ALPHA, eps=_RMSPROP_EPS, momentum=config.momentum
        )
    return torch.optim.AdamW(groups, lr=0.0, betas=(config.momentum, 0.999))


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Use `rate` for the next update."""
    for group in optimizer.param_groups:
        group["lr"] = rate


class MovingAverage:
    """Exponential moving average of parameters and batch-norm statistics.

    Early on the decay is (1 + n) / (10 + n) after n updates, so that the start is forgotten soon.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.num_updates = 0
        self.values = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Take in the module's present weights."""
        self.num_updates += 1
        decay = min(self.decay, (1 + self.num_updates) / (10 + self.num_updates))
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                self.values[name].lerp_(tensor, 1 - decay)
            else:
                self.values[name].copy_(tensor)

    def state_dict(self) -> dict[str, object]:
        """For a checkpoint."""
        return {"num_updates": self.num_updates, "values": self.values}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """From a checkpoint."""
        num_updates, values = state["num_updates"], state["values"]
        assert isinstance(num_updates, int)
        assert isinstance(values, dict)
        self.num_updates = num_updates
        for name, tensor in values.items():
            assert isinstance(tensor, Tensor)
            self.values[name].copy_(tensor)
