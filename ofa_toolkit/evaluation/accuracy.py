"""Top-1 accuracy of networks and of subnets, in evaluation mode and with recalibrated batch norm."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ofa_toolkit.core.errors import DataError, MismatchError
from ofa_toolkit.datasets.dataset import Batch, ImageDataset, Split
from ofa_toolkit.evaluation.sampling import sampling_interval
from ofa_toolkit.spaces.subnet import Subnet
from ofa_toolkit.supernets import Supernet, extract, fold_batchnorm_in_place, recalibrate_batchnorm

RECALIBRATION_IMAGES = 2000
"""Images that batch-norm statistics are recomputed from; the number of the OFA and DϵpS references."""

RECALIBRATION_SEED = 937162211


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """Result of an evaluation.

    Attributes:
        top1_percent: Share of images whose largest logit is the label's, 0 to 100.
        loss: Mean cross-entropy in nats.
        num_images: Images judged.
        num_recalibration_images: Images the batch-norm statistics were recomputed from; 0 for none.
        top1_among_percent: Share right where the network may only name classes that the data set has; None
            where those are all of its classes.
        interval_percent: 95 % interval of the accuracy on all images of that kind.
    """

    top1_percent: float
    loss: float
    num_images: int
    num_recalibration_images: int = 0
    top1_among_percent: float | None = None
    interval_percent: tuple[float, float] = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        interval = sampling_interval(self.top1_percent, self.num_images)
        object.__setattr__(self, "interval_percent", interval)


@torch.no_grad()
def evaluate(
    network: Callable[[Tensor], Tensor],
    batches: Iterable[tuple[Tensor, Tensor]],
    own_outputs: Sequence[int] | None = None,
) -> Accuracy:
    """Measure accuracy over batches of images (N, 3, R, R) and labels (N,).

    A module is put into evaluation mode for the call and back into its mode afterwards.

    Args:
        network: From images to logits.
        batches: Images and labels.
        own_outputs: The outputs that are classes of the data set, where the network has more.

    Raises:
        DataError: There was no image.
        MismatchError: A label is beyond the network's classes.
    """
    was_training = isinstance(network, nn.Module) and network.training
    if isinstance(network, nn.Module):
        network.eval()
    num_images, num_correct, num_among, loss = 0, 0, 0, 0.0
    own = None if own_outputs is None else torch.tensor(own_outputs)
    try:
        for images, labels in batches:
            logits = network(images).float()
            if int(labels.max()) >= logits.shape[1]:
                raise MismatchError(
                    f"The data has a label {int(labels.max())}; the network has {logits.shape[1]} classes.",
                    hint="Use the data set the network was trained for.",
                )
            num_correct += int((logits.argmax(1) == labels).sum())
            if own is not None:
                own = own.to(logits.device)
                num_among += int((own[logits[:, own].argmax(1)] == labels).sum())
            loss += float(functional.cross_entropy(logits, labels, reduction="sum"))
            num_images += len(images)
    finally:
        if isinstance(network, nn.Module):
            network.train(was_training)
    if num_images == 0:
        raise DataError("There are no images to evaluate on.", hint="Check the data set and its split.")
    return Accuracy(
        top1_percent=100 * num_correct / num_images,
        loss=loss / num_images,
        num_images=num_images,
        top1_among_percent=None if own is None else 100 * num_among / num_images,
    )


def evaluate_subnet(
    supernet: Supernet,
    subnet: Subnet,
    dataset: ImageDataset,
    *,
    split: Split = "validation",
    batch_size: int = 200,
    limit: int | None = None,
    recalibration_images: int = RECALIBRATION_IMAGES,
    device: torch.device | str = "cpu",
) -> Accuracy:
    """Extract a subnet, recalibrate its batch norm on training images, and judge it.

    Departure from the DϵpS reference, whose validation stays in training mode: the recalibrated
    statistics are used and dropout is off.

    Args:
        supernet: Left unchanged.
        subnet: A member of `supernet.space`; judged at its resolution.
        dataset: Training images for recalibration, and the images to judge on.
        split: Part of the data set to judge on.
        batch_size: Images per forward pass.
        limit: Judge on a random subset of this many images, the same in every call.
        recalibration_images: Training images, augmented as in training, for the statistics; 0 keeps the
            supernet's.
        device: Device to compute on.

    Raises:
        SubnetNotInSpaceError: The subnet is not in the space.
        MismatchError: The data set has other classes than the supernet.
    """
    if len(dataset.output_names) != supernet.space.num_classes:
        raise MismatchError(
            f"{dataset.name} has {dataset.num_classes} classes, the supernet {supernet.space.num_classes}.",
            hint="Use the data set it was trained for.",
        )
    return evaluate_on_batches(
        supernet,
        subnet,
        dataset.batches(split, batch_size, resolution=subnet.resolution, limit=limit, device=device),
        recalibration=recalibration_batches(
            dataset, subnet.resolution, batch_size=batch_size, limit=recalibration_images, device=device
        )
        if recalibration_images
        else None,
        device=device,
        own_outputs=dataset.own_outputs,
    )


def recalibration_batches(
    dataset: ImageDataset,
    resolution: int,
    *,
    batch_size: int,
    limit: int = RECALIBRATION_IMAGES,
    seed: int = RECALIBRATION_SEED,
    device: torch.device | str = "cpu",
) -> Iterator[Batch]:
    """Augmented training images to recompute batch-norm statistics from, the same for equal seeds.

    Args:
        dataset: Images.
        resolution: Side of the subnet's input in pixels.
        batch_size: Images at a time.
        limit: Number of images in all.
        seed: Seed of the choice of images and of their augmentation.
        device: Device that the batches are put on.
    """
    return dataset.batches(
        "train",
        batch_size,
        resolution=resolution,
        train_transforms=True,
        limit=limit,
        seed=seed,
        device=device,
    )


def evaluate_on_batches(
    supernet: Supernet,
    subnet: Subnet,
    batches: Iterable[tuple[Tensor, Tensor]],
    *,
    recalibration: Iterable[tuple[Tensor, Tensor]] | None,
    device: torch.device | str,
    own_outputs: Sequence[int] | None = None,
) -> Accuracy:
    """Extract a subnet, recalibrate its batch norm, and judge it on batches that are given.

    Batch norm is folded into the convolutions for judging: the logits are the same to float32 rounding, and
    the time this saves is about that of collecting the statistics.

    Args:
        supernet: Left unchanged.
        subnet: A member of `supernet.space`.
        batches: Images (N, 3, R, R) and labels (N,) to judge on.
        recalibration: Training images for the statistics; None keeps the supernet's.
        device: Device to compute on.
        own_outputs: See `evaluate`.
    """
    network = extract(supernet, subnet).to(device)
    network.to(memory_format=torch.channels_last)
    used = 0 if recalibration is None else recalibrate_batchnorm(network, recalibration)
    fold_batchnorm_in_place(network)
    judged = evaluate(network.eval(), batches, own_outputs)
    return dataclasses.replace(judged, num_recalibration_images=used)
