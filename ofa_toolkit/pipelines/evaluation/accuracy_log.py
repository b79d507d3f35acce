"""Accuracies of a supernet's subnets, measured one by one into a file that a killed run goes on from.

Every process appends to its own file of JSON lines (`accuracies-<rank>.jsonl`); a run reads all of them
first and measures what is missing, so it may be killed and started again, also with another number of
processes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ofa_toolkit.core import files
from ofa_toolkit.core.documents import read_json_lines
from ofa_toolkit.core.errors import FileFormatError, MismatchError
from ofa_toolkit.core.reporting import SILENT, Progress, Reporter
from ofa_toolkit.evaluation.accuracy import evaluate_on_batches
from ofa_toolkit.pipelines.evaluation.evaluator import Evaluator
from ofa_toolkit.spaces.subnet import Subnet
from ofa_toolkit.spaces.subnet_file import subnet_document
from ofa_toolkit.training.distributed import Process

FORMAT = "ofa-toolkit/measured-accuracies"
VERSION = 1
LARGEST_CACHE_BYTES = 2 * 2**30

Batches = list[tuple[Tensor, Tensor]]


@dataclass(frozen=True, kw_only=True)
class AccuracyConditions:
    """What all measurements of one file set have in common; another run with others is refused.

    Attributes:
        space_identity: Identity of the supernet's space.
        supernet_identity: SHA-256 of its weights.
        data: Name of the data set.
        seed: That chose the subnets.
        num_images: Held-out training images each subnet is judged on.
        num_recalibration_images: Training images its batch norm is recomputed from.
    """

    space_identity: str
    supernet_identity: str
    data: str
    seed: int
    num_images: int
    num_recalibration_images: int


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

    Raises:
        MismatchError: The folder holds measurements under other conditions.
        FileFormatError: A file in it is not ours.
    """

    def __init__(self, folder: Path, conditions: AccuracyConditions) -> None:
        self._folder = folder
        self._conditions = conditions
        folder.mkdir(parents=True, exist_ok=True)
        self.read()

    def read(self) -> dict[int, float]:
        """Top-1 in percent by the subnet's number, from all files."""
        found: dict[int, float] = {}
        for path in sorted(self._folder.glob("accuracies-*.jsonl")):
            # What a killed run left of a line, or somebody damaged, is measured again.
            for number, record in read_json_lines(path):
                if number == 1:
                    self._check(path, record or {})
                elif (
                    record and isinstance(record.get("index"), int) and _is_number(record.get("top1_percent"))
                ):
                    found[record["index"]] = float(record["top1_percent"])
        return found

    def append(self, rank: int, index: int, subnet: Subnet, top1_percent: float, num_images: int) -> None:
        """Write one result and flush it to disk."""
        path = self._folder / f"accuracies-{rank}.jsonl"
        record = {
            "index": index,
            "top1_percent": top1_percent,
            "num_images": num_images,
            **subnet_document(subnet),
        }
        header = [] if path.exists() else [self._header()]
        files.append_lines(path, *map(json.dumps, (*header, record)))

    def _header(self) -> dict[str, Any]:
        return {"format": FORMAT, "version": VERSION, **vars(self._conditions)}

    def _check(self, path: Path, header: dict[str, Any]) -> None:
        if header.get("format") != FORMAT or header.get("version") != VERSION:
            raise FileFormatError(f"'{path}' holds no measured accuracies of ofa-toolkit.")
        for name, wanted in vars(self._conditions).items():
            if header.get(name) != wanted:
                raise MismatchError(
                    f"'{path}' was measured with another {name} ({header.get(name)!r}, now {wanted!r}).",
                    hint="Use another folder with --out, or the former settings.",
                )


def measure_missing(
    log: AccuracyLog,
    subnets: list[Subnet],
    measure: Callable[[Subnet], tuple[float, int]],
    *,
    process: Process | None = None,
    reporter: Reporter = SILENT,
) -> None:
    """Measure this process's share of the subnets that no file holds yet; all are measured on return."""
    process = process or Process()
    known = log.read()
    # All have read before any writes: the shares must be cut from the same list.
    process.barrier()
    missing = [index for index in range(len(subnets)) if index not in known]
    share = missing[process.rank :: process.world_size]

    def tell(done: int) -> None:
        left = process.world_size * (len(share) - done)
        reporter.progress(Progress("Measuring subnets", max(0, len(subnets) - left), len(subnets)))

    for done, index in enumerate(share):
        tell(done)
        top1_percent, num_images = measure(subnets[index])
        log.append(process.rank, index, subnets[index], top1_percent, num_images)
    tell(len(share))
    process.barrier()


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float))
