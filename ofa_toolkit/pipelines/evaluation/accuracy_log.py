"""Accuracies of a supernet's subnets, measured one by one into a file that a killed run goes on from.

Every process appends to its own file of JSON lines (`accuracies-<name>.jsonl`); a run reads all of them
first and measures what is missing, so it may be killed and started again, also with another number of
processes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ofa_toolkit.core import files
from ofa_toolkit.core.errors import FileFormatError, MismatchError
from ofa_toolkit.core.file_format import FileFormat
from ofa_toolkit.core.journal import Journal, Line
from ofa_toolkit.core.reporting import SILENT, Progress, Reporter
from ofa_toolkit.datasets import ImageDataset
from ofa_toolkit.datasets.fingerprint import digest
from ofa_toolkit.evaluation.accuracy import evaluate_on_batches
from ofa_toolkit.pipelines.evaluation.evaluator import Evaluator
from ofa_toolkit.pipelines.evaluation.shards import Shard
from ofa_toolkit.spaces.subnet import Subnet
from ofa_toolkit.spaces.subnet_file import subnet_document, subnet_from_document
from ofa_toolkit.training.distributed import Process

FORMAT = FileFormat("ofa-toolkit/measured-accuracies", 1, "a file of measured accuracies")
LARGEST_CACHE_BYTES = 2 * 2**30

Batches = list[tuple[Tensor, Tensor]]


@dataclass(frozen=True, kw_only=True)
class AccuracyConditions:
    """What all measurements of one file set have in common; another run with others is refused.

    Attributes:
        space_identity: Identity of the supernet's space.
        supernet_identity: SHA-256 of its weights.
        data: Name of the data set, for messages; another name of the same images is no other condition.
        images: Hash of its classes, training and held-out images, wherever they lie.
        seed: That chose the subnets.
        num_images: Held-out training images each subnet is judged on.
        num_recalibration_images: Training images its batch norm is recomputed from.
    """

    space_identity: str
    supernet_identity: str
    data: str
    images: str
    seed: int
    num_images: int
    num_recalibration_images: int


def conditions_of(evaluator: Evaluator, seed: int = 0) -> AccuracyConditions:
    """Those of subnets chosen by `seed` and measured by an evaluator."""
    return AccuracyConditions(
        space_identity=evaluator.supernet.space.identity,
        supernet_identity=evaluator.supernet.identity,
        data=evaluator.dataset.name,
        images=_images_identity(evaluator.dataset),
        seed=seed,
        num_images=num_judged_images(evaluator),
        num_recalibration_images=evaluator.recalibration_images,
    )


def num_judged_images(evaluator: Evaluator) -> int:
    """Held-out training images that an evaluator judges each subnet on."""
    available = evaluator.dataset.num_images("validation")
    return min(available, evaluator.request.images or available)


def _images_identity(dataset: ImageDataset) -> str:
    """One hash of what a run compares when it goes on, less the photos without labels."""
    known = dataset.fingerprint()
    return digest(known[part].encode() for part in ("classes", "train", "validation"))


class SubnetMeter:
    """Measures subnets on held-out training images; never touches the test set.

    Prepared images are kept in memory where they fit, so that a subnet costs its forward passes and little
    more: decoding and augmenting happen once per resolution instead of once per subnet.
    """

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator = evaluator
        self._cache: dict[tuple[str, int], Batches] = {}
        self._cached_bytes = 0

    def measure(self, subnet: Subnet) -> tuple[float, int]:
        """Top-1 in percent on the held-out images, and how many there were."""
        evaluator = self._evaluator
        accuracy = evaluate_on_batches(
            evaluator.supernet.network,
            subnet,
            self._batches("validation", subnet.resolution),
            recalibration=self._batches("train", subnet.resolution)
            if evaluator.recalibration_images
            else None,
            device=evaluator.device,
        )
        return accuracy.top1_percent, accuracy.num_images

    def _batches(self, split: str, resolution: int) -> Iterator[tuple[Tensor, Tensor]]:
        key = (split, resolution)
        if key in self._cache:
            yield from self._cache[key]
            return
        evaluator = self._evaluator
        kept: Batches | None = []
        prepared = (
            evaluator.training_batches(resolution)
            if split == "train"
            else evaluator.judged_batches("validation", resolution)
        )
        for images, labels in prepared:
            size = images.numel() * images.element_size()
            if kept is not None and self._cached_bytes + size <= LARGEST_CACHE_BYTES:
                kept.append((images, labels))
                self._cached_bytes += size
            elif kept is not None:
                self._cached_bytes -= sum(x.numel() * x.element_size() for x, _ in kept)
                kept = None
            yield images, labels
        if kept is not None:
            self._cache[key] = kept


class AccuracyLog:
    """The files of one build folder.

    Args:
        folder: Folder of the files; made if missing.
        conditions: Conditions of this run.
        reporter: Hears of damaged lines, whose subnets are measured again.

    Raises:
        MismatchError: The folder holds measurements under other conditions.
        FileFormatError: A file in it is not ours.
    """

    def __init__(self, folder: Path, conditions: AccuracyConditions, reporter: Reporter = SILENT) -> None:
        self._folder = folder
        self._header = {**FORMAT.header, **vars(conditions)}
        folder.mkdir(parents=True, exist_ok=True)
        self.read(reporter)

    def read(self, reporter: Reporter = SILENT) -> dict[Subnet, float]:
        """Top-1 in percent of every measured subnet, from all files."""
        found: dict[Subnet, float] = {}
        for path in sorted(self._folder.glob("accuracies-*.jsonl")):
            journal = Journal(path, reporter, is_line=_is_header_or_result)
            self._check(journal)
            for line in journal.lines[1:]:
                found[subnet_from_document(line)] = float(line["top1_percent"])
        return found

    def append(self, writer: str, subnet: Subnet, top1_percent: float, num_images: int) -> None:
        """Write one result into the writer's own file and flush it to disk."""
        journal = Journal(self._folder / f"accuracies-{writer}.jsonl")
        line = {"top1_percent": top1_percent, "num_images": num_images, **subnet_document(subnet)}
        journal.append(*([] if journal.lines else [self._header]), line)

    def _check(self, journal: Journal) -> None:
        begun = journal.lines[0] if journal.lines else self._header
        name = journal.other_than(_comparable(self._header, begun))
        if name in ("format", "version"):
            raise FileFormatError(f"'{journal.path}' holds no measured accuracies of ofa-toolkit.")
        if name is not None:
            difference = f"with another {name} ({begun.get(name)!r}, now {self._header[name]!r})"
            if name == "images":
                difference = f"on other images than '{self._header['data']}' holds now"
            raise MismatchError(
                f"'{journal.path}' was measured {difference}.",
                hint="Use another folder with --out, or the former settings.",
            )


def set_aside(folder: Path, supernet_identity: str, reporter: Reporter = SILENT) -> None:
    """Rename a folder of measurements of other weights than a supernet's, so that its own have a place.

    Args:
        folder: Folder of the files, which may be missing.
        supernet_identity: SHA-256 of the supernet's weights.
        reporter: Hears where they are kept.
    """
    begun = [Journal(path).lines[:1] for path in sorted(folder.glob("accuracies-*.jsonl"))]
    found = [line["supernet_identity"] for lines in begun for line in lines if "supernet_identity" in line]
    others = [identity for identity in found if identity != supernet_identity]
    if not others:
        return
    kept = files.free_path(folder.with_name(f"{folder.name}-of-{others[0][:12]}"))
    folder.rename(kept)
    reporter.message(
        f"'{folder}' holds measurements of other weights than the supernet has now: they are kept in "
        f"'{kept}', and subnets are measured anew."
    )


def _comparable(header: Line, begun: Line) -> Line:
    """What of a header another one has to share: the hash of the images, or their place where it has none."""
    if "images" in begun:
        return {key: value for key, value in header.items() if key != "data"}
    wanted = {key: value for key, value in header.items() if key != "images"}
    if _place(str(begun.get("data"))) == _place(header["data"]):
        del wanted["data"]
    return wanted


def _place(source: str) -> str:
    """A data source by the one path that relative and absolute names of its place share."""
    kind, _, place = source.partition(":")
    return f"{kind}:{os.path.realpath(os.path.expanduser(place))}"


def _is_header_or_result(line: dict[str, Any]) -> bool:
    if "format" in line:
        return True
    try:
        subnet_from_document(line)
    except FileFormatError:
        return False
    return isinstance(line.get("top1_percent"), int | float)


def measure_missing(
    log: AccuracyLog,
    subnets: Sequence[Subnet],
    measure: Callable[[Subnet], tuple[float, int]],
    *,
    what: str = "subnets",
    process: Process | None = None,
    shard: Shard | None = None,
    reporter: Reporter = SILENT,
) -> None:
    """Measure this process's share of the subnets that no file holds yet; all are measured on return.

    With a shard, only those that belong to it: it knows nothing of who measures the others.

    Args:
        log: Where results are found and kept.
        subnets: Different ones.
        measure: Gives top-1 in percent and the number of images.
        what: They are called so where progress is told.
        process: Among those that share the work.
        shard: Part of the subnets to measure.
        reporter: Hears how far all processes are, as far as this one can tell.
    """
    process = process or Process()
    known = log.read()
    # All have read before any writes: the shares must be cut from the same list.
    process.barrier()
    wanted = subnets if shard is None else [subnets[index] for index in shard.indices(len(subnets))]
    missing = [subnet for subnet in wanted if subnet not in known]
    share = missing[process.rank :: process.world_size]
    writer = str(process.rank) if shard is None else f"{shard.name}-{process.rank}"

    def tell(done: int) -> None:
        left = process.world_size * (len(share) - done)
        reporter.progress(Progress(f"Measuring {what}", max(0, len(wanted) - left), len(wanted)))

    for done, subnet in enumerate(share):
        tell(done)
        log.append(writer, subnet, *measure(subnet))
    tell(len(share))
    process.barrier()
