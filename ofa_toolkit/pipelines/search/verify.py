"""Check the best subnets of a search on images and on this machine, and rank them by what was measured."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ofa_toolkit.core.errors import ConfigError, InfeasibleConstraintError
from ofa_toolkit.core.reporting import SILENT, Reporter
from ofa_toolkit.latency.measuring.effort import Effort
from ofa_toolkit.latency.measuring.measure import TimedItem, estimates, measure, open_journal
from ofa_toolkit.latency.measuring.own_table import journal_header
from ofa_toolkit.latency.runtimes import RUNTIMES, RuntimeOptions
from ofa_toolkit.pipelines.evaluation.accuracy_log import (
    AccuracyLog,
    SubnetMeter,
    conditions_of,
    measure_missing,
    num_judged_images,
)
from ofa_toolkit.pipelines.evaluation.evaluator import Evaluator
from ofa_toolkit.pipelines.evaluation.shards import Shard
from ofa_toolkit.pipelines.search.answer import Candidate
from ofa_toolkit.pipelines.search.find import FoundSubnet
from ofa_toolkit.spaces import SearchSpace, Subnet, lower
from ofa_toolkit.spaces.space_file import typed_space
from ofa_toolkit.spaces.subnet_file import subnet_document

if TYPE_CHECKING:
    from ofa_toolkit.spaces.documents import MeasuredFigures


@dataclass(frozen=True, kw_only=True)
class Verified:
    """One subnet after measuring.

    Attributes:
        candidate: The candidate with its predictions.
        predicted_rank: From 1, by the prediction.
        top1_percent: Measured on held-out training images, batch norm recalibrated.
        num_images: Number of images.
        latency_ms: Measured on this machine; None where latency was not measured.
    """

    candidate: Candidate
    predicted_rank: int
    top1_percent: float
    num_images: int
    latency_ms: float | None

    def document(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            **self.candidate.document(),
            "predicted_rank": self.predicted_rank,
            "measured_top1_percent": round(self.top1_percent, 3),
            "num_images": self.num_images,
            "measured_latency_ms": self.latency_ms,
        }


def verify_top(
    found: FoundSubnet,
    evaluator: Evaluator,
    *,
    num_subnets: int,
    runtime: str | None = None,
    most_latency_ms: float | None = None,
    folder: Path | None = None,
    reporter: Reporter = SILENT,
) -> tuple[FoundSubnet, tuple[Verified, ...]]:
    """Measure the best subnets of a search and rank them by measured accuracy.

    They are chosen among by held-out training images, so that the test set stays unseen.

    Args:
        found: The answer of the search.
        evaluator: The supernet it was for, and its data.
        num_subnets: Number of the best subnets to measure.
        runtime: Also time them on this machine with this runtime.
        most_latency_ms: Leave out subnets that measure slower; needs `runtime`.
        folder: Where measured accuracies are kept and looked for; nowhere if left out.
        reporter: Hears how far it is.

    Returns:
        The search's answer with the best measured subnet in the first place, and all measured ones.

    Raises:
        ConfigError: No subnet is to be measured.
        InfeasibleConstraintError: All of them measure slower than the limit.
    """
    space = evaluator.supernet.space
    candidates = _best(found, num_subnets)
    latencies: Sequence[float | None] = [None] * len(candidates)
    if runtime is not None:
        latencies = time_subnets(
            space, [candidate.subnet for candidate in candidates], runtime, RuntimeOptions()
        )
    with tempfile.TemporaryDirectory() if folder is None else contextlib.nullcontext(folder) as place:
        top1 = measure_top(found, evaluator, num_subnets, Path(place), reporter=reporter)
    verified = [
        Verified(
            candidate=candidate,
            predicted_rank=index + 1,
            top1_percent=top1[candidate.subnet],
            num_images=num_judged_images(evaluator),
            latency_ms=latencies[index],
        )
        for index, candidate in enumerate(candidates)
    ]
    kept = _fast_enough(verified, most_latency_ms, space)
    ranked = sorted(kept, key=lambda v: (-v.top1_percent, v.predicted_rank))
    return _answer(found, ranked[0]), (*ranked, *(v for v in verified if v not in kept))


def _fast_enough(verified: list[Verified], most_ms: float | None, space: SearchSpace) -> list[Verified]:
    kept = [v for v in verified if most_ms is None or (v.latency_ms or 0.0) <= most_ms]
    if not kept:
        fastest = min(v.latency_ms for v in verified if v.latency_ms is not None)
        raise InfeasibleConstraintError(
            f"None of the {len(verified)} best subnets measures {most_ms:g} ms or less here: the fastest "
            f"takes {fastest:.3g} ms.",
            hint="Search with a table of this machine: "
            f"`ofa-tk latency measure --space {typed_space(space)}`, then --device this-cpu",
        )
    return kept


def measure_top(
    found: FoundSubnet,
    evaluator: Evaluator,
    num_subnets: int,
    folder: Path,
    *,
    shard: Shard | None = None,
    reporter: Reporter = SILENT,
) -> dict[Subnet, float]:
    """Top-1 in percent of the best subnets of a search; of a shard of them only its own are measured.

    Args:
        found: The answer of the search.
        evaluator: The supernet it was for, and its data.
        num_subnets: Number of the best subnets.
        folder: Where results are kept, and where those of other processes and of a killed one are found.
        shard: Measure this part only.
        reporter: Hears how far it is.

    Raises:
        MismatchError: The folder holds measurements of something else.
    """
    subnets = [candidate.subnet for candidate in _best(found, num_subnets)]
    log = AccuracyLog(folder, conditions_of(evaluator), reporter)
    measure_missing(log, subnets, SubnetMeter(evaluator).measure, shard=shard, reporter=reporter)
    return log.read()


def measurements_folder(found: FoundSubnet, num_subnets: int, out: Path) -> Path:
    """Beside a search's output: a hidden folder for measurements of these very subnets."""
    subnets = [subnet_document(candidate.subnet) for candidate in _best(found, num_subnets)]
    digest = hashlib.sha256(json.dumps(subnets, sort_keys=True).encode()).hexdigest()
    return out.parent / f".{out.stem}-verified-{digest[:12]}"


def _best(found: FoundSubnet, num_subnets: int) -> list[Candidate]:
    if num_subnets < 1:
        raise ConfigError("Verify at least one subnet.")
    return [found.candidates[0], *found.runners_up][:num_subnets]


def time_subnets(
    space: SearchSpace, subnets: Sequence[Subnet], runtime: str, options: RuntimeOptions
) -> list[float]:
    """Time of a batch of each subnet on this machine in ms, bursts interleaved."""
    executor = RUNTIMES[runtime](options)
    items = [TimedItem(key=str(number), layers=lower(space, subnet)) for number, subnet in enumerate(subnets)]
    with tempfile.TemporaryDirectory() as folder:
        journal = open_journal(Path(folder) / "journal.jsonl", journal_header(space, executor))
        measure(executor, items, items[0], journal, Effort(), seed=0)
        found = estimates(journal)
    return [found[item.key].time_ms for item in items]


def _answer(found: FoundSubnet, best: Verified) -> FoundSubnet:
    """The search's answer for another of its subnets, with the measurement beside the prediction."""
    measured: MeasuredFigures = {
        "top1_percent": {
            "value": round(best.top1_percent, 3),
            "num_images": best.num_images,
            "provenance": "measured",
            "images": "held-out training images",
        }
    }
    if best.latency_ms is not None:
        measured["latency_ms"] = {
            "value": best.latency_ms,
            "provenance": "measured",
            "device": "this machine",
        }
    chosen = dataclasses.replace(best.candidate, name="chosen")
    return dataclasses.replace(
        found,
        subnet=best.candidate.subnet,
        predicted={**best.candidate.predicted, "measured": measured},
        candidates=(chosen, *found.candidates[1:]),
    )
