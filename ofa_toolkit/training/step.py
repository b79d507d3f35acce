"""One update: the passes of a step, their gradients added up, reduced once, applied."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ofa_toolkit.core.errors import ConfigError
from ofa_toolkit.modules.slices import gradients_in_place
from ofa_toolkit.spaces import Subnet, lower
from ofa_toolkit.supernets import Supernet
from ofa_toolkit.training.aggregation import divide_by_uses
from ofa_toolkit.training.algorithm import Pass
from ofa_toolkit.training.config import LoopConfig
from ofa_toolkit.training.distributed import Process
from ofa_toolkit.training.label_teacher import LabelTeacher
from ofa_toolkit.training.losses import feature_distance, hard_cross_entropy, soft_cross_entropy
from ofa_toolkit.training.shared_prefix import SharedPrefix

Forward = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class _Taught:
    """What the teacher says of a batch: logits (N, classes), and features (N, features) it has of it."""

    logits: Tensor
    features: Tensor


@contextmanager
def seen_by(classifier: nn.Module) -> Iterator[list[Tensor]]:
    """Collects what a classifier reads, (N, features) each time it runs."""
    seen: list[Tensor] = []
    hook = classifier.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0].flatten(1)))
    try:
        yield seen
    finally:
        hook.remove()


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """What an update was like.

    Attributes:
        losses: (passes,), before the gradient weights, mean over the processes; on the device, since reading
            them waits for it.
        num_correct: Images that the first pass's largest logit got right, in this process: the label, or what
            the teacher in its place predicts; on the device.
        first_norm: Norm of the first pass's gradient in this process, where recorded.
        total_norm: Norm of the weighted sum of all passes' gradients, where recorded.
    """

    losses: Tensor
    num_correct: Tensor
    first_norm: float | None = None
    total_norm: float | None = None


@dataclass(frozen=True, kw_only=True)
class Accumulated:
    """Losses (passes,), the number of images the first pass got right, and the norm of its gradient."""

    losses: Tensor
    num_correct: Tensor
    first_norm: float | None


class Updater:
    """Runs passes and applies their gradients.

    Args:
        supernet: The supernet that is trained, on `process.device`.
        optimizer: Over its parameters.
        config: The loop.
        process: This process among those that train together.
        class_weights: (classes,), on the loss of an image of each class, for hard and soft labels; all alike
            where None.
        label_teacher: Whose predictions take the place of the labels; None for the labels.
    """

    def __init__(
        self,
        supernet: Supernet,
        optimizer: torch.optim.Optimizer,
        config: LoopConfig,
        process: Process,
        class_weights: Tensor | None = None,
        label_teacher: LabelTeacher | None = None,
    ) -> None:
        if config.precision == "fp16" and process.device.type != "cuda":
            raise ConfigError("training.precision: fp16 needs a GPU.", hint="--set training.precision=fp32")
        self.supernet = supernet
        self.optimizer = optimizer
        self.config = config
        self.process = process
        self.class_weights = class_weights
        self.label_teacher = label_teacher
        self.scaler = torch.amp.GradScaler(enabled=config.precision == "fp16")
        self._compiled: dict[Subnet, Forward] = {}
        self._parameters = list(supernet.parameters())

    def __call__(
        self,
        images: Tensor,
        labels: Tensor,
        passes: Sequence[Pass],
        *,
        teacher: nn.Module | None = None,
        records_norms: bool = False,
    ) -> StepResult:
        """Make one update.

        Args:
            images: (B, 3, R, R), normalised; this process's part of the batch. Twice as many as labels
                where every second one has none: networks imitate others on all, labels count for the rest.
            labels: (B,).
            passes: In order.
            teacher: The network behind passes whose source is `teacher`.
            records_norms: Whether the gradients' norms are wanted.
        """
        self.optimizer.zero_grad(set_to_none=True)
        forward = self.accumulate(images, labels, passes, teacher=teacher, records_norm=records_norms)
        self.process.average_gradients(self._parameters)
        self.scaler.unscale_(self.optimizer)
        if passes[0].aggregation != "sum":
            divide_by_uses(self.supernet, passes, root=passes[0].aggregation == "avg_sqrt")
        total_norm = self.gradient_norm() if records_norms else None
        self._clip()
        # Also where a loss is not finite, which nobody knows yet: the trainer rolls back once it reads it.
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return StepResult(
            losses=self.process.average(forward.losses),
            num_correct=forward.num_correct,
            first_norm=forward.first_norm,
            total_norm=total_norm,
        )

    def gradient_norm(self) -> float:
        """Norm of all gradients as one vector."""
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        return float(torch.linalg.vector_norm(torch.stack([g.norm() for g in gradients])))

    def accumulate(
        self,
        images: Tensor,
        labels: Tensor,
        passes: Sequence[Pass],
        *,
        teacher: nn.Module | None = None,
        records_norm: bool = False,
    ) -> Accumulated:
        """Add the passes' gradients, scaled by `scaler`, to the parameters'; arguments as of `__call__`."""
        parts = self.config.accumulation
        losses = torch.zeros(len(passes), device=images.device)
        correct = torch.zeros((), device=images.device)
        first_norm: float | None = None
        for part_images, part_labels in zip(images.chunk(parts), labels.chunk(parts), strict=True):
            first_logits: Tensor | None = None
            taught = self._teach(part_images, passes, teacher)
            label_logits = self._label_logits(part_images, passes)
            shared = None if records_norm or self.config.compile else self._shared_prefix(passes, part_images)
            for index, item in enumerate(passes):
                with gradients_in_place() as slices:
                    with self._autocast(), self._seen(item) as seen:
                        logits = self._logits(item, part_images, shared)
                    logits = logits.float()
                    target = taught.logits if item.source == "teacher" and taught else first_logits
                    loss = self._loss(item, logits, part_labels, target, label_logits)
                    if item.features:
                        assert taught is not None, "the phase has no teacher"
                        loss = loss + item.features * feature_distance(seen[-1].float(), taught.features)
                    self.scaler.scale(loss * (item.gradient_weight / parts)).backward()  # type: ignore[no-untyped-call]
                    slices.add()
                losses[index] += loss.detach() / parts
                if records_norm and index == 0 and parts == 1:
                    first_norm = self.gradient_norm() / self.scaler.get_scale()
                if first_logits is None:
                    first_logits = logits.detach()
                    every = len(part_images) // len(part_labels)
                    wanted = part_labels if label_logits is None else label_logits[::every].argmax(1)
                    correct += (first_logits[::every].argmax(1) == wanted).sum()
            if shared is not None:
                shared.backward()
        return Accumulated(losses=losses, num_correct=correct, first_norm=first_norm)

    def _loss(
        self,
        item: Pass,
        logits: Tensor,
        labels: Tensor,
        target: Tensor | None,
        label_logits: Tensor | None,
    ) -> Tensor:
        loss = logits.new_zeros(())
        every = len(logits) // len(labels)
        weights = None if self.class_weights is None else self.class_weights[labels]
        if item.soft_labels:
            assert target is not None, f"{item.role}: nobody to learn from"
            all_weights = weights
            if weights is not None and every > 1:
                all_weights = torch.stack([weights, torch.ones_like(weights)], dim=1).flatten()
            loss = loss + item.soft_labels * soft_cross_entropy(logits, target, item.temperature, all_weights)
        if item.hard_labels and label_logits is not None:
            loss = loss + item.hard_labels * soft_cross_entropy(logits, label_logits)
        elif item.hard_labels:
            loss = loss + item.hard_labels * hard_cross_entropy(
                logits[::every], labels, self.config.label_smoothing, weights
            )
        return loss

    def _label_logits(self, images: Tensor, passes: Sequence[Pass]) -> Tensor | None:
        if self.label_teacher is None or not any(item.hard_labels for item in passes):
            return None
        with self._autocast():
            return self.label_teacher(images)

    def _seen(self, item: Pass) -> AbstractContextManager[list[Tensor]]:
        return seen_by(self.supernet.layer("classifier")) if item.features else nullcontext([])

    def _teach(self, images: Tensor, passes: Sequence[Pass], teacher: nn.Module | None) -> _Taught | None:
        if all(item.source != "teacher" and not item.features for item in passes):
            return None
        assert teacher is not None, "the phase has no teacher"
        *_, classifier = (module for module in teacher.modules() if isinstance(module, nn.Linear))
        with torch.no_grad(), self._autocast(), seen_by(classifier) as seen:
            logits: Tensor = teacher(images)
        return _Taught(logits=logits.float(), features=seen[-1].float())

    def _shared_prefix(self, passes: Sequence[Pass], images: Tensor) -> SharedPrefix:
        networks = [lower(self.supernet.space, item.subnet) for item in passes]
        with self._autocast():
            return SharedPrefix(self.supernet, networks, images)

    def _logits(self, item: Pass, images: Tensor, shared: SharedPrefix | None) -> Tensor:
        layers, use_dropout = lower(self.supernet.space, item.subnet), item.use_dropout
        if shared is not None:
            return shared.run(layers, use_dropout=use_dropout)

        def run(images: Tensor) -> Tensor:
            return self.supernet.run_layers(layers, images, use_dropout=use_dropout)

        if not self.config.compile or item.role == "random":
            return run(images)
        if item.subnet not in self._compiled:
            # A code object of its own: torch counts and limits recompilations by code object.
            run.__code__ = run.__code__.replace()
            self._compiled[item.subnet] = torch.compile(run, fullgraph=True, dynamic=False)
        return self._compiled[item.subnet](images)

    def _autocast(self) -> AbstractContextManager[object]:
        if self.config.precision == "fp32":
            return nullcontext()
        dtype = torch.bfloat16 if self.config.precision == "bf16" else torch.float16
        return torch.autocast(self.process.device.type, dtype=dtype)

    def _clip(self) -> None:
        if self.config.clip_norm is not None:
            nn.utils.clip_grad_norm_(self._parameters, self.config.clip_norm)
        if self.config.clip_value is not None:
            nn.utils.clip_grad_value_(self._parameters, self.config.clip_value)
