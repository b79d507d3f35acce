"""Accuracy of a zoo entry's subnets, from the very weights it stores: to fill in a card, and to check one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ofa_toolkit.complexity import count_macs, count_params
from ofa_toolkit.core.errors import ConfigError
from ofa_toolkit.core.reporting import SILENT, Reporter
from ofa_toolkit.pipelines.zoo.kept_figures import KeptFigures
from ofa_toolkit.spaces import SearchSpace, Subnet, lower
from ofa_toolkit.spaces.subnet_file import read_subnet, subnet_document
from ofa_toolkit.spaces.supernet_description import CARRIED_IMAGES, CONFIG_FILE, WEIGHTS_FILE
from ofa_toolkit.zoo.card import AccuracyFact, BatchNormStatistics
from ofa_toolkit.zoo.identity import identify
from ofa_toolkit.zoo.readme import accuracy_of

if TYPE_CHECKING:
    from ofa_toolkit.evaluation.accuracy import Accuracy
    from ofa_toolkit.pipelines.evaluation.evaluator import Evaluator

JudgedSplit = Literal["validation", "test"]


@dataclass(frozen=True, kw_only=True)
class AccuracyQuery:
    """One accuracy to measure.

    Attributes:
        subnet: `largest`, `smallest`, or the path of a subnet file in the entry's folder.
        resolution: Side of the input in pixels; None for the subnet's own.
        split: Images to judge on.
        recalibration_images: Training images for batch-norm statistics; 0 takes the stored ones.
        use_carried: Take the images the folder carries for the statistics instead.
        num_images: Judge on a random subset of this many; None for all.
    """

    subnet: str
    resolution: int | None = None
    split: JudgedSplit = "test"
    recalibration_images: int = 2000
    use_carried: bool = False
    num_images: int | None = None

    @classmethod
    def of_fact(cls, fact: AccuracyFact, index: int) -> AccuracyQuery:
        """What has to be measured to check a figure of a card.

        Raises:
            ConfigError: The figure does not state its conditions.
        """
        if fact.split not in ("validation", "test") or fact.batchnorm == "unknown":
            raise ConfigError(f"accuracy[{index}]: split and batchnorm must be stated to check the figure.")
        recalibrated = 0 if fact.batchnorm == "stored" else fact.recalibration_images
        if recalibrated is None:
            raise ConfigError(f"accuracy[{index}].recalibration_images: missing.")
        return cls(
            subnet=fact.subnet,
            resolution=fact.resolution,
            split=fact.split,
            recalibration_images=recalibrated,
            use_carried=fact.batchnorm == "carried",
            num_images=fact.num_images,
        )


def measure(
    folder: Path,
    questions: Iterable[AccuracyQuery],
    data: str,
    reporter: Reporter = SILENT,
    kept: KeptFigures | None = None,
) -> Iterator[AccuracyFact]:
    """Answer each question with a measured figure.

    Args:
        folder: A supernet folder; subnet files of the questions lie in it.
        questions: Subnets to measure, and how.
        data: The data set it was trained on, such as `npz:FILE`; opened with the split the training used.
        reporter: Told each figure in one line, as measuring takes minutes.
        kept: Figures measured before; new ones are added.

    Raises:
        DataError, MismatchError: The data set is missing or another one.
        SubnetNotInSpaceError: A subnet is not the space's.
    """
    from ofa_toolkit.pipelines.evaluation.evaluator import open_evaluator
    from ofa_toolkit.pipelines.evaluation.request import EvaluationRequest

    evaluator = open_evaluator(folder.absolute(), EvaluationRequest(data=data, device="cpu"))
    for question in questions:
        subnet = _subnet(folder, evaluator.supernet.trained_space, question)
        if kept is None:
            fact = _figure(evaluator, subnet, question)
        else:
            conditions = _conditions(folder, subnet, question, data)
            fact = kept.get_or_measure(conditions, partial(_figure, evaluator, subnet, question))
        how = f"{subnet.resolution} pixels, {_statistics(question)} batch norm"
        reporter.message(f"{question.subnet} ({how}): {accuracy_of(fact)}")
        yield dataclasses.replace(fact, subnet=question.subnet)


def _figure(evaluator: Evaluator, subnet: Subnet, question: AccuracyQuery) -> AccuracyFact:
    result = _measured(evaluator, subnet, question)
    layers, among = lower(evaluator.supernet.space, subnet), result.top1_among_percent
    return AccuracyFact(
        subnet=question.subnet,
        resolution=subnet.resolution,
        top1_percent=round(result.top1_percent, 3),
        top1_among_percent=None if among is None else round(among, 3),
        num_among=None if among is None else evaluator.dataset.num_classes,
        origin="measured",
        source=f"{result.num_images} {question.split} images, by ofa-toolkit from the stored weights",
        num_images=result.num_images,
        split=question.split,
        batchnorm=_statistics(question),
        recalibration_images=result.num_recalibration_images or None,
        macs=count_macs(layers),
        params=count_params(layers),
    )


def _conditions(folder: Path, subnet: Subnet, question: AccuracyQuery, data: str) -> dict[str, Any]:
    """All that decides a figure."""
    asked = {name: value for name, value in vars(question).items() if name not in ("subnet", "resolution")}
    files = [CONFIG_FILE, WEIGHTS_FILE, *([CARRIED_IMAGES] if question.use_carried else [])]
    identities = {name: identify(folder / name).sha256 for name in files}
    return {**asked, **identities, "data": data, "architecture": subnet_document(subnet)}


def _measured(evaluator: Evaluator, subnet: Subnet, question: AccuracyQuery) -> Accuracy:
    from ofa_toolkit.evaluation.accuracy import evaluate
    from ofa_toolkit.zoo.extraction import origin_of

    if not question.use_carried:
        request = dataclasses.replace(
            evaluator.request,
            images=question.num_images,
            recalibration_images=question.recalibration_images,
            split=question.split,
        )
        return dataclasses.replace(evaluator, request=request).accuracy(subnet)
    network = evaluator.supernet.extract(subnet)
    batches = evaluator.dataset.batches(
        question.split, evaluator.request.batch_size, resolution=subnet.resolution, limit=question.num_images
    )
    origin = origin_of(network)
    assert origin is not None
    return dataclasses.replace(
        evaluate(network, batches, evaluator.dataset.own_outputs),
        num_recalibration_images=origin.batchnorm.num_images,
    )


def _statistics(question: AccuracyQuery) -> BatchNormStatistics:
    if question.use_carried:
        return "carried"
    return "recalibrated" if question.recalibration_images else "stored"


def _subnet(folder: Path, space: SearchSpace, question: AccuracyQuery) -> Subnet:
    if question.subnet == "largest":
        return space.largest(question.resolution)
    if question.subnet == "smallest":
        return space.smallest(question.resolution)
    return read_subnet(folder / question.subnet, space).subnet
