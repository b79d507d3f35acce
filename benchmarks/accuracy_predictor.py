"""How wrong the bundled ImageNet accuracy predictor's method is on measured subnets it has not seen.

    python benchmarks/accuracy_predictor.py RAW_DIR

For a random split, each of the source's five searches left out, and everything above the 80th percentile:
rank correlations and errors of the ensemble and, beside it, of OFA's published predictor shifted by a
constant fitted to the same training rows. Then how often the 90 % interval holds, with all its numbers taken
from the training rows of each split, for subnets that it calls extrapolations and for the others. RAW_DIR
holds the files that `tools/fit_accuracy_predictors.py` reads.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))

from fit_accuracy_predictors import ENSEMBLE, SEED
from measured_top1 import PREDICTOR_RESOLUTIONS, PublishedPredictor, read_measured_top1

from ofa_toolkit.core.rng import generator
from ofa_toolkit.evaluation.predictor.assessment import (
    RANDOM,
    TOP,
    HeldOut,
    hold_out,
    interval_facts,
    random_folds,
    top_rows,
)
from ofa_toolkit.evaluation.predictor.choices import Choices
from ofa_toolkit.evaluation.predictor.interval import IntervalModel
from ofa_toolkit.evaluation.predictor.training import fit_ensemble, predict_members, surprisal
from ofa_toolkit.spaces import get_space

CONFIDENCE = 0.9


class Study:
    """The measured rows, and fits to parts of them."""

    def __init__(self, raw: Path) -> None:
        space = get_space("ofa-mobilenet-v3-w1.0").with_resolutions(PREDICTOR_RESOLUTIONS)
        self.measured = read_measured_top1(raw, space)
        self.choices = Choices.of(space, PREDICTOR_RESOLUTIONS)
        self.one_hot = self.choices.one_hot(space, self.measured.population)
        self.published = PublishedPredictor(raw)(self.one_hot, list(self.choices.rows))

    def splits(self) -> dict[str, list[npt.NDArray[np.intp]]]:
        """Test sets by split; the random one is a fifth of the rows."""
        folds = random_folds(len(self.measured.top1), 5, generator(SEED, "benchmark", "folds"))
        splits = {RANDOM: folds[:1], TOP: [top_rows(self.measured.top1)]}
        for search in np.unique(self.measured.search):
            splits[f"without {search}"] = [np.flatnonzero(self.measured.search == search)]
        return splits

    def ensemble(self, train: npt.NDArray[np.intp]):  # noqa: ANN201
        """Fitted as the bundled one."""
        members = fit_ensemble(
            self.choices, self.one_hot[train], self.measured.top1[train], config=ENSEMBLE, seed=SEED
        )
        return lambda test: predict_members(members, self.one_hot[test])

    def shifted(self, train: npt.NDArray[np.intp]):  # noqa: ANN201
        """OFA's predictor with an offset."""
        offset = (self.measured.top1[train] - self.published[train]).mean()
        return lambda test: self.published[test, None] + offset

    def coverage(self, split: str, held: HeldOut) -> str:
        """How often an interval made from the split's training rows alone holds."""
        top1 = self.measured.top1
        train = np.setdiff1d(np.arange(len(top1)), held.rows)
        own = top1[train]

        def inner(rows: npt.NDArray[np.intp]):  # noqa: ANN202
            fitted = self.ensemble(train[rows])
            return lambda test: fitted(train[test])

        folds = random_folds(len(train), 5, generator(SEED, "benchmark", split))
        inside = hold_out(RANDOM, folds, own, inner)
        outside = [hold_out(TOP, [top_rows(own)], own, inner)]
        searches = self.measured.search[train]
        origins = [hold_out(s, [np.flatnonzero(searches == s)], own, inner) for s in np.unique(searches)]
        rarity = surprisal(self.one_hot[train])
        surprisals = self.one_hot[train] @ rarity
        model = IntervalModel(interval_facts(inside, outside, own, surprisals, origins=origins))
        extrapolates = ~model.is_inside(held.predicted, self.one_hot[held.rows] @ rarity)
        everywhere = np.ones(len(held.rows), dtype=bool)
        half = model.half_width(held.spread, everywhere, extrapolates, CONFIDENCE)
        holds = np.abs(held.errors) <= half
        parts = [f"interval holds {holds.mean():.3f}"]
        for name, rows in (("extrapolations", extrapolates), ("others", ~extrapolates)):
            if rows.any():
                parts.append(
                    f"{name} {holds[rows].mean():.3f} of {rows.sum()}, width {2 * half[rows].mean():.2f}"
                )
        return "; ".join(parts)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("raw", type=Path, help="folder of the public measurements")
    parser.add_argument("--skip-intervals", action="store_true", help="errors only: a sixth of the time")
    arguments = parser.parse_args()
    study = Study(arguments.raw)
    for split, tests in study.splits().items():
        print(f"\n{split} ({sum(len(test) for test in tests)} rows)")
        for name, fit in (("ensemble", study.ensemble), ("OFA's + offset", study.shifted)):
            held = hold_out(split, tests, study.measured.top1, fit)
            s = held.summary()
            print(
                f"  {name:14s} Spearman {s.spearman:.4f}  Kendall {s.kendall:.4f}  MAE {s.mae_points:.3f}  "
                f"bias {s.bias_points:+.3f}",
                flush=True,
            )
            if name == "ensemble" and not arguments.skip_intervals:
                print(f"  {'':14s} {study.coverage(split, held)}", flush=True)


if __name__ == "__main__":
    main()
