"""Fits the bundled ImageNet accuracy predictors from public measurements.

    python tools/fit_accuracy_predictors.py RAW_DIR [--zoo zoo]

RAW_DIR holds, unaltered, the measured top-1 of OFA MobileNetV3 w1.0 subnets from DyNAS-T, OFA's published
accuracy predictor, and OFA's published specialized networks (`tools/measured_top1.py` names the files).

- w1.0: an ensemble fitted to the measured rows (all at 224 pixels). What another resolution changes is taken
  from OFA's predictor, scaled by its slope against the measured rows.
- w1.2: OFA's predictor distilled, shifted to the scale of measured networks. No measured rows.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
from measured_top1 import (
    PREDICTOR_RESOLUTIONS,
    MeasuredTop1,
    PublishedPredictor,
    read_measured_top1,
    read_specialized,
)

from ofa_toolkit.complexity import PopulationComplexity
from ofa_toolkit.core.rng import generator
from ofa_toolkit.evaluation.predictor.assessment import (
    RANDOM,
    TOP,
    Fit,
    HeldOut,
    hold_out,
    interval_facts,
    random_folds,
    top_rows,
)
from ofa_toolkit.evaluation.predictor.card import IntervalFacts, PredictorCard
from ofa_toolkit.evaluation.predictor.choices import Choices
from ofa_toolkit.evaluation.predictor.chosen import chosen_facts
from ofa_toolkit.evaluation.predictor.file import write_predictor
from ofa_toolkit.evaluation.predictor.interval import CONFIDENCES
from ofa_toolkit.evaluation.predictor.predictor import FILE_NAME, AccuracyPredictor, Member
from ofa_toolkit.evaluation.predictor.training import (
    EnsembleConfig,
    fit_ensemble,
    predict_members,
    surprisal,
)
from ofa_toolkit.spaces import Encoding, SearchSpace, get_space, sample_population

SEED = 0
ENSEMBLE = EnsembleConfig(num_steps=6000)
EFFECT = EnsembleConfig(num_members=2, hidden=(32, 16), num_steps=12_000, weight_decay=0.001)
DISTILLED = EnsembleConfig(num_members=2, hidden=(64, 32), num_steps=12_000, weight_decay=0.001)
PROBES = 40_000

DYNAS = (
    "1,489 subnets at 224 pixels measured on the 50,000 ImageNet validation images by DyNAS-T "
    "(IntelLabs/DyNAS-T, Apache-2.0)"
)
OFA_PREDICTOR = "OFA's published accuracy predictor (once-for-all; its weights carry no licence of their own)"

OFFSET_W12 = -4.7
"""OFA's predictor reads about 4.7 points above 13 measured w1.2 networks."""


def fold_fit(choices: Choices, one_hot: npt.NDArray[np.float32], top1: npt.NDArray[np.float64]) -> Fit:
    """How the shipped ensemble is fitted, for held-out assessments."""

    def fit(train: npt.NDArray[np.intp]):  # noqa: ANN202
        members = fit_ensemble(choices, one_hot[train], top1[train], config=ENSEMBLE, seed=SEED)
        return lambda test: predict_members(members, one_hot[test])

    return fit


def assess(measured: MeasuredTop1, fit: Fit) -> tuple[HeldOut, HeldOut, list[HeldOut]]:
    """Random folds, the best rows held out, and each search's rows held out."""
    inside = hold_out(
        RANDOM, random_folds(len(measured.top1), 5, generator(SEED, "folds")), measured.top1, fit
    )
    top = hold_out(TOP, [top_rows(measured.top1)], measured.top1, fit)
    searches = []
    for search in np.unique(measured.search):
        rows = np.flatnonzero(measured.search == search)
        searches.append(hold_out(f"search {search} left out", [rows], measured.top1, fit))
    for kind in (inside, top, *searches):
        print(kind.summary())
    return inside, top, searches


def resolution_effect(
    space: SearchSpace, choices: Choices, published: PublishedPredictor, slope: float
) -> tuple[Member, float]:
    """A perceptron for what other resolutions than 224 change, and how far it is from OFA's predictor."""
    probes = sample_population(space, 2 * PROBES, generator(SEED, "probes"))
    reference = probes.copy()
    reference[:, 0] = space.resolutions.index(224)
    rows = list(choices.rows)
    one_hot = choices.one_hot(space, probes)
    change = slope * (published(one_hot, rows) - published(choices.one_hot(space, reference), rows))
    members = fit_ensemble(choices, one_hot[:PROBES], change[:PROBES], config=EFFECT, seed=SEED)
    error = predict_members(members, one_hot[PROBES:]) - change[PROBES:, None]
    best = int(np.abs(error).mean(axis=0).argmin())
    return members[best], float(np.abs(error[:, best]).mean())


def fit_w10(raw: Path) -> AccuracyPredictor:
    """The predictor for `ofa-mobilenet-v3-w1.0`."""
    full = get_space("ofa-mobilenet-v3-w1.0")
    space = full.with_resolutions(PREDICTOR_RESOLUTIONS)
    measured, published = read_measured_top1(raw, space), PublishedPredictor(raw)
    choices = Choices.of(space, PREDICTOR_RESOLUTIONS)
    one_hot = choices.one_hot(space, measured.population)
    inside, top, searches = assess(measured, fold_fit(choices, one_hot, measured.top1))
    rarity = surprisal(one_hot)
    facts = interval_facts(inside, [top], measured.top1, one_hot @ rarity, origins=searches)
    chosen = chosen_facts(
        inside,
        PopulationComplexity(space).macs(measured.population),
        generator(SEED, "searches"),
        noise_points=facts.noise_points,
        ceiling_percent=float(measured.top1.max()),  # the largest network was not measured
    )
    theirs = published(one_hot, list(choices.rows))
    slope, _ = np.polyfit(theirs, measured.top1, 1)
    effect, effect_error = resolution_effect(space, choices, published, float(slope))
    predictor = AccuracyPredictor(
        card=PredictorCard(
            space=full.name,
            space_identity=full.identity,
            supernet=full.name,
            dataset="ImageNet validation (50,000 images)",
            resolutions=PREDICTOR_RESOLUTIONS,
            measured_resolutions=(224,),
            provenance="fitted",
            source=f"{DYNAS}; for other resolutions {OFA_PREDICTOR}",
            method=(
                "Ensemble of five perceptrons fitted to the measured rows; the change from 224 to other "
                f"resolutions is that of OFA's predictor times {slope:.3f}, its slope against the measured "
                f"rows, learned to {effect_error:.3f} points."
            ),
            num_subnets=len(measured.top1),
            errors=tuple(kind.summary() for kind in (inside, top, *searches)),
            caveats=(
                "Accuracy was measured at 224 pixels only; at 160 to 208 the ranking is OFA's predictor's.",
                (
                    "The measured subnets were found by five searches and are better than random ones; "
                    "the error of subnets better than nearly all of them is larger than on a random split."
                ),
                (
                    "The interval is as wide as the worst of the five searches needed when it was left out. "
                    "Made from four searches, the 90 % interval held for 98 to 99 % of the subnets of each "
                    "of four left-out ones, and for 73 % of the fifth's."
                ),
            ),
            interval=dataclasses.replace(facts, chosen=chosen),
        ),
        choices=choices,
        members=fit_ensemble(choices, one_hot, measured.top1, config=ENSEMBLE, seed=SEED),
        surprisal=rarity,
        resolution_effect=effect,
    )
    return with_resolution_errors(predictor, raw, full)


def with_resolution_errors(predictor: AccuracyPredictor, raw: Path, space: SearchSpace) -> AccuracyPredictor:
    """Widen intervals at unmeasured resolutions by what published networks there show.

    Published networks were fine-tuned, which lifts them by an unknown amount, so only the scatter around
    their mean gain counts. They are few: the quantiles are those of a normal distribution.
    """
    bound = predictor.bind(space)
    nets = [
        net
        for net in read_specialized(raw, space, "1.0")
        if net.subnet.resolution >= min(predictor.card.resolutions) and net.finetune_epochs == 25
    ]
    predicted = bound.predict(Encoding(space).encode([net.subnet for net in nets]))
    gains = np.array([net.top1 for net in nets]) - predicted
    for net, value, gain in zip(nets, predicted, gains, strict=True):
        print(
            f"{net.name:45s} {net.subnet.resolution} published {net.top1} predicted {value:.2f} {gain:+.2f}"
        )
    scatter = float(gains.std(ddof=1))
    print(f"scatter {scatter:.2f} around a mean gain of {gains.mean():.2f}")
    unmeasured = tuple(scatter * NormalDist().inv_cdf((1 + c) / 2) for c in CONFIDENCES)
    card = predictor.card
    return dataclasses.replace(
        predictor,
        card=dataclasses.replace(
            card,
            interval=dataclasses.replace(card.interval, unmeasured_points=unmeasured),
            caveats=(
                *card.caveats,
                (
                    f"At other resolutions than 224: {len(nets)} networks published after 25 epochs of "
                    f"fine-tuning are {gains.mean():.2f} points better than predicted, with a standard "
                    f"deviation of {scatter:.2f} that the interval there includes."
                ),
            ),
        ),
    )


def fit_w12(raw: Path) -> AccuracyPredictor:
    """The predictor for `ofa-mobilenet-v3-w1.2`: OFA's, distilled and shifted."""
    full = get_space("ofa-mobilenet-v3-w1.2")
    space = full.with_resolutions(PREDICTOR_RESOLUTIONS)
    published = PublishedPredictor(raw)
    choices = Choices.of(space, PREDICTOR_RESOLUTIONS)
    probes = sample_population(space, 2 * PROBES, generator(SEED, "probes"))
    one_hot = choices.one_hot(space, probes)
    target = published(one_hot, list(choices.rows)) + OFFSET_W12
    members = fit_ensemble(choices, one_hot[:PROBES], target[:PROBES], config=DISTILLED, seed=SEED)
    error = np.abs(predict_members(members, one_hot[PROBES:]).mean(axis=1) - target[PROBES:])
    nets = read_specialized(raw, space, "1.2")
    rows = choices.one_hot(space, Encoding(space).encode([net.subnet for net in nets]))
    gains = [
        net.top1 - value for net, value in zip(nets, predict_members(members, rows).mean(axis=1), strict=True)
    ]
    print(f"w1.2: distilled to {error.mean():.3f} points; gains of {len(nets)} published: {gains}")
    # How far OFA's predictor is from measured rows is known at w1.0 only.
    w10 = get_space("ofa-mobilenet-v3-w1.0").with_resolutions(PREDICTOR_RESOLUTIONS)
    measured = read_measured_top1(raw, w10)
    theirs = published(choices.one_hot(w10, measured.population), list(choices.rows))
    residual = np.abs(theirs - measured.top1 - (theirs - measured.top1).mean())
    quantiles = tuple(float(q) for q in np.quantile(residual, CONFIDENCES))
    noise = float(residual.mean())
    return AccuracyPredictor(
        card=PredictorCard(
            space=full.name,
            space_identity=full.identity,
            supernet=full.name,
            dataset="ImageNet validation (50,000 images)",
            resolutions=PREDICTOR_RESOLUTIONS,
            measured_resolutions=(),
            provenance="transferred",
            source=OFA_PREDICTOR,
            method=(
                f"OFA's predictor, distilled to {error.mean():.3f} points and shifted by {OFFSET_W12}, by "
                "which it exceeds 13 measured w1.2 networks."
            ),
            num_subnets=0,
            caveats=(
                "Which width OFA's predictor was trained on is not stated; no measured w1.2 rows are public.",
                (
                    "Intervals are the errors of OFA's predictor on measured w1.0 subnets (mean "
                    f"{noise:.2f} points), widened by 0.5 points for the uncertain shift."
                ),
                (
                    f"The w1.2 networks published after 75 epochs of fine-tuning are {min(gains):.1f} to "
                    f"{max(gains):.1f} points better than predicted ({len(nets)} at a covered resolution)."
                ),
            ),
            interval=IntervalFacts(
                noise_points=noise,
                confidences=CONFIDENCES,
                inside=tuple(q / noise for q in quantiles),
                outside=tuple(q / noise for q in quantiles),
                unmeasured_points=(0.5,) * len(CONFIDENCES),
                lowest_percent=0.0,
                highest_percent=100.0,
                highest_surprisal=1e9,
            ),
        ),
        choices=choices,
        members=members,
        surprisal=np.zeros(len(choices.rows), dtype=np.float32),
    )


def main() -> None:
    """Fit and write all bundled predictors."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("raw", type=Path, help="folder of the public measurements")
    parser.add_argument("--zoo", type=Path, default=Path("zoo"), help="folder of the zoo entries")
    arguments = parser.parse_args()
    for fit in (fit_w10, fit_w12):
        predictor = fit(arguments.raw)
        path = arguments.zoo / predictor.card.supernet / FILE_NAME
        write_predictor(path, predictor)
        print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
