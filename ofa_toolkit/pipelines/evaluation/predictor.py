"""Build the accuracy predictor of a supernet: measure subnets, fit an ensemble, test it on unseen ones.

Then search with it and measure what it chooses, which it overrates.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ofa_toolkit.core.errors import ConfigError
from ofa_toolkit.core.quantities import counted
from ofa_toolkit.core.reporting import SILENT, Reporter
from ofa_toolkit.evaluation.predictor.card import HELD_OUT_TRAINING, PredictorCard
from ofa_toolkit.evaluation.predictor.chosen import ANSWERS
from ofa_toolkit.evaluation.predictor.ensemble import EnsembleConfig
from ofa_toolkit.evaluation.predictor.file import write_predictor
from ofa_toolkit.evaluation.predictor.fit import FittedPredictor, LearningPoint, fit_predictor
from ofa_toolkit.evaluation.predictor.predictor import AccuracyPredictor
from ofa_toolkit.evaluation.stratified import stratified_population
from ofa_toolkit.pipelines.evaluation.accuracy_log import (
    AccuracyConditions,
    AccuracyLog,
    SubnetMeter,
    conditions_of,
    measure_missing,
)
from ofa_toolkit.pipelines.evaluation.evaluator import Evaluator
from ofa_toolkit.pipelines.evaluation.searched_answers import find_answers, with_answers
from ofa_toolkit.pipelines.evaluation.shards import Shard
from ofa_toolkit.spaces import Encoding
from ofa_toolkit.spaces.encoding import Population
from ofa_toolkit.training.distributed import Process

LEAST_SUBNETS = 30
WORTHWHILE_GAIN = 0.1

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class BuiltPredictor:
    """What a build gives.

    Attributes:
        path: The predictor file.
        predictor: The predictor in the file; its card has its errors on subnets that it was not fitted to.
        learning_curve: Such errors for smaller numbers of subnets.
        noise_points: Mean absolute error that the finite number of images alone causes, in points.
        verdict: In words, whether more subnets would help.
    """

    path: Path
    predictor: AccuracyPredictor
    learning_curve: tuple[LearningPoint, ...]
    noise_points: float
    verdict: str


def build_predictor(
    evaluator: Evaluator,
    *,
    num_subnets: int,
    name: str | None = None,
    folder: Path | None = None,
    out: Path | None = None,
    seed: int = 0,
    config: EnsembleConfig | None = None,
    process: Process | None = None,
    shard: Shard | None = None,
    reporter: Reporter = SILENT,
) -> BuiltPredictor | None:
    """Measure, fit, test, search, measure what the searches chose, write.

    Args:
        evaluator: The supernet and its data; subnets are measured on held-out training images.
        num_subnets: Number of subnets to fit to, those of earlier runs counted; answers of searches, an
            eighth as many, are measured besides.
        name: Name of the supernet on the predictor's card; its own where None.
        folder: Folder of the measurements; default `predictor` beside the predictor.
        out: The predictor file; default where `search` looks: in the supernet's folder, for a zoo name in the
            user's zoo folder.
        seed: That chooses the subnets.
        config: Size and effort of the ensemble's fit.
        process: Among those that torchrun started; each measures its share, the first one fits.
        shard: Measure this part of the subnets only, and fit nothing; a call without it does the rest.
        reporter: Hears how far all processes are, as far as this one can tell.

    Returns:
        The predictor; None in processes other than the first, and of a shard.

    Raises:
        ConfigError: Too few subnets.
        MismatchError: The folder holds measurements of other weights, data or settings.
    """
    if num_subnets < LEAST_SUBNETS:
        raise ConfigError(
            f"{counted(num_subnets, 'subnet')}: too few for a predictor; measure at least {LEAST_SUBNETS}."
        )
    process = process or Process()
    supernet = evaluator.supernet
    supernet.check_has_choice()
    space = supernet.trained_space
    encoding = Encoding(space)
    population = stratified_population(space, num_subnets, seed)
    subnets = encoding.decode(population)
    conditions = conditions_of(evaluator, seed)
    log = AccuracyLog(folder or measurements_folder(evaluator), conditions, reporter)
    meter = SubnetMeter(evaluator)
    measure_missing(log, subnets, meter.measure, process=process, shard=shard, reporter=reporter)
    if shard is not None:
        return None

    def fit_and_search() -> tuple[BuiltPredictor, Population]:
        measured = log.read()
        top1 = np.array([measured[subnet] for subnet in subnets])
        fitted = fit_predictor(
            space,
            population,
            top1,
            num_images=conditions.num_images,
            seed=seed,
            config=config,
            reporter=reporter,
        )
        predictor = AccuracyPredictor(
            card=_card(evaluator, conditions, fitted, name=name or supernet.name, top1=top1),
            choices=fitted.choices,
            members=fitted.members,
            surprisal=fitted.surprisal,
        )
        noise = _noise(top1, conditions.num_images)
        built = BuiltPredictor(
            path=out or supernet.own_predictor_file,
            predictor=predictor,
            learning_curve=fitted.learning_curve,
            noise_points=noise,
            verdict=_verdict(fitted.learning_curve, noise),
        )
        return built, find_answers(predictor.bind(space, whole=supernet.space), population, seed=seed)

    built, answers = process.from_main(fit_and_search)
    if len(answers):
        chosen = [space.largest(), *encoding.decode(answers)]
        measure_missing(log, chosen, meter.measure, what=ANSWERS, process=process, reporter=reporter)
    if not process.is_main:
        return None
    bound = built.predictor.bind(space, whole=supernet.space)
    predictor = with_answers(bound, answers, log.read())
    write_predictor(built.path, predictor)
    return dataclasses.replace(built, predictor=predictor)


def measurements_folder(evaluator: Evaluator) -> Path:
    """Where measurements lie unless a build is told otherwise: beside the predictor."""
    return evaluator.supernet.own_predictor_file.parent / "predictor"


def _card(
    evaluator: Evaluator,
    conditions: AccuracyConditions,
    fitted: FittedPredictor,
    *,
    name: str,
    top1: Floats,
) -> PredictorCard:
    images, resolutions = conditions.num_images, evaluator.supernet.trained_space.resolutions
    # The conditions tell the limit, which few photos fall short of.
    recalibration = min(conditions.num_recalibration_images, evaluator.dataset.num_images("train"))
    noise = _noise(top1, images)
    return PredictorCard(
        space=evaluator.supernet.space.name,
        space_identity=evaluator.supernet.space.identity,
        supernet=Path(name).name,  # a card carries no folders of a machine
        supernet_identity=conditions.supernet_identity,
        dataset=f"{_place_free(conditions.data)}: {images} {HELD_OUT_TRAINING}",
        resolutions=resolutions,
        measured_resolutions=resolutions,
        provenance="fitted",
        source=(
            f"{len(top1)} subnets of the supernet, each measured with batch norm recomputed from "
            f"{counted(recalibration, 'training image')}"
        ),
        method=(
            f"Accuracy by multiply-accumulates, and {100 * fitted.deviations_share:.0f} % of the deviations "
            f"from it that an ensemble of {len(fitted.members)} perceptrons fitted to the measured subnets."
        ),
        num_subnets=len(top1),
        errors=fitted.errors,
        caveats=(f"{images} images tell accuracy to {noise:.2f} points; errors include that.",),
        interval=fitted.interval,
        trend=fitted.trend,
    )


def _noise(top1: Floats, num_images: int) -> float:
    """Mean absolute error of a share counted on so many images: a normal's, sqrt(2 / pi) deviations."""
    share = top1 / 100
    deviation = 100 * np.sqrt(share * (1 - share) / num_images)
    return float(np.sqrt(2 / np.pi) * deviation.mean())


def _verdict(curve: tuple[LearningPoint, ...], noise: float) -> str:
    half, full = curve[-2], curve[-1]
    gain = 1 - full.mae_points / half.mae_points if half.mae_points else 0.0
    if gain > WORTHWHILE_GAIN:
        return (
            f"More subnets would help: from {half.num_subnets} to {full.num_subnets} the error fell by "
            f"{100 * gain:.0f} %."
        )
    reason = (
        f"the error is near what {noise:.2f} points of counting noise allow; more images would help"
        if full.mae_points < 1.5 * noise
        else f"from {half.num_subnets} to {full.num_subnets} the error went from {half.mae_points:.2f} to "
        f"{full.mae_points:.2f} points"
    )
    return f"More subnets would hardly help: {reason}."


def _place_free(data: str) -> str:
    """A data source without the folders of the machine it lies on: predictors are passed on."""
    kind, colon, place = data.partition(":")
    return f"{kind}{colon}{Path(place).name}" if place else data
