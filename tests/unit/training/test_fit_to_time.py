"""`train --time`: resolution, batch size and epochs from the images and the time there is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ofa_toolkit.pipelines.training import fitting
from ofa_toolkit.pipelines.training.dry_run import CostPrediction
from ofa_toolkit.pipelines.training.recipes import load_recipe
from ofa_toolkit.training.config import RunConfig
from ofa_toolkit.training.cost import phase_cost
from ofa_toolkit.training.distributed import Process


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """One on which an update takes a second at 96 pixels with 32 images."""

    def predict(config: RunConfig, _process: Process, **_options: object) -> CostPrediction:
        [resolution] = config.space.resolutions
        seconds = (resolution / 96) ** 2 * config.training.batch_size / 32
        cost = phase_cost("shrinking", 1, seconds, num_devices=1, price_per_hour=None)
        return CostPrediction(images="", steps_per_epoch=4, timed="", costs=(cost,), total_cost=cost)

    monkeypatch.setattr(fitting, "predict_cost", predict)


def photos(folder: Path, count: int, side: int) -> str:
    for name in ("a", "b"):
        for number in range(count):
            path = folder / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((side, side + 7), number, np.uint8)).save(path)
    return f"imagefolder:{folder}"


def fitted(source: str, minutes: float) -> RunConfig:
    config = load_recipe("own-photos", source=source, overrides=[f"minutes={minutes}"])
    return fitting.fit_to_time(config, Process()).config


@pytest.mark.usefixtures("machine")
def test_epochs_fill_the_time_and_grey_pictures_of_28_pixels_are_enlarged(tmp_path: Path) -> None:
    config = fitted(photos(tmp_path, 60, 28), 10)
    assert config.space.resolutions == (96,)
    assert config.training.batch_size == 32
    assert config.training.epochs == int(0.7 * 600 / 4)
    assert config.minutes == 10


@pytest.mark.usefixtures("machine")
def test_large_pictures_get_what_the_time_allows(tmp_path: Path) -> None:
    source = photos(tmp_path, 60, 170)
    assert fitted(source, 60).space.resolutions == (160,)
    assert fitted(source, 4).space.resolutions == (128,)
    assert fitted(source, 2).space.resolutions == (96,)
    assert fitted(source, 0.01).training.epochs == 1


@pytest.mark.usefixtures("machine")
def test_few_pictures_are_one_batch(tmp_path: Path) -> None:
    source = photos(tmp_path, 15, 28)
    config = fitted(source, 1)
    assert 2 <= config.training.batch_size < 30
    started_before = fitting.as_fitted_before(load_recipe("own-photos", source=source), config)
    assert started_before.training == config.training
    assert started_before.space == config.space


def test_who_names_epochs_gets_them() -> None:
    assert load_recipe("own-photos").minutes == 20
    assert load_recipe("own-photos", epochs=3).minutes is None
    named = load_recipe("own-photos", overrides=["training.epochs=3"])
    assert (named.training.epochs, named.minutes) == (3, None)
    both = load_recipe("own-photos", overrides=["minutes=7", "training.epochs=3"])
    assert (both.training.epochs, both.minutes) == (3, 7)
    assert load_recipe("own-photos", overrides=["training.seed=3"]).minutes == 20
