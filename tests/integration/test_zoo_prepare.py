"""One command from a run to an entry, which goes on where it was killed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from ofa_tk.app import run as ofa_tk
from ofa_toolkit.core.errors import ConfigError, OutputError
from ofa_toolkit.core.reporting import Progress
from ofa_toolkit.evaluation.predictor.ensemble import EnsembleConfig
from ofa_toolkit.pipelines.zoo import batchnorm_images
from ofa_toolkit.pipelines.zoo.package import package_entry
from ofa_toolkit.pipelines.zoo.prepare import prepare_entry
from ofa_toolkit.pipelines.zoo.request import PackageRequest, Preparation
from ofa_toolkit.pipelines.zoo.verify import verify_entry
from ofa_toolkit.spaces.supernet_description import CARRIED_IMAGES
from ofa_toolkit.zoo.card import Card
from ofa_toolkit.zoo.entries import load_entry
from ofa_toolkit.zoo.supernet import load_accuracy_predictor
from tests.heard import Heard
from tests.integration.small_runs import IMAGES, run, small_config

SMALL = Preparation(
    num_subnets=32,
    predictor_images=8,
    ensemble=EnsembleConfig(num_members=2, hidden=(4,), num_steps=20),
    image_subnets=3,
    image_steps=4,
    correction_subnets=3,
)


class Killed(BaseException):
    """Stands for SIGKILL at a chosen moment: nothing of ours catches it."""


class Watcher:
    """Keeps what is said, and dies at a step of a stage if told to."""

    def __init__(self, stage: str = "", at: int = -1) -> None:
        self.stage, self.at = stage, at
        self.steps: dict[str, list[int]] = {}
        self.notes: list[str] = []

    def progress(self, progress: Progress) -> None:
        assert progress.done <= progress.total
        self.steps.setdefault(progress.what.partition(" ")[0], []).append(progress.done)
        if progress.what.startswith(self.stage or "never") and progress.done == self.at:
            raise Killed

    def message(self, text: str) -> None:
        self.notes.append(text)
        if self.stage == "card" and text.startswith("smallest"):
            raise Killed


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    run(small_config({"name": "deps"}, training={"epochs": 1}, space={"resolutions": [8, 16]}), folder)
    return folder


def make(trained: Path, out: Path, watcher: Watcher, work: Path, **changes: Any) -> Card:
    known = {"source": trained, "name": "tiny", "out": out, "data": IMAGES, "recalibration_images": 16}
    request = PackageRequest(**{**known, **changes})
    how = Preparation(**{**vars(SMALL), "work": work})
    prepared = prepare_entry(request, how, reporter=watcher)
    return package_entry(prepared, reporter=watcher)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def whole(trained: Path) -> tuple[Path, Path, Card]:
    """An entry made without a break, its work folder and its card."""
    out, work = trained.parent / "straight", trained.parent / "work"
    return out, work, make(trained, out, Watcher(), work)


def test_a_run_becomes_a_whole_entry_however_often_it_is_killed(
    trained: Path, whole: tuple[Path, Path, Card], tmp_path: Path
) -> None:
    straight, _, card = whole
    assert {"accuracy_predictor.safetensors", CARRIED_IMAGES, "model.safetensors"} < set(contents(straight))
    asked = [(fact.subnet, fact.batchnorm) for fact in card.accuracy]
    names = list(dict.fromkeys(name for name, _ in asked))
    assert names[0] == "largest"
    assert names[-1] == "smallest"
    assert "subnets/01.json" in names
    assert asked == [(name, how) for how in ("recalibrated", "carried") for name in names]
    assert load_accuracy_predictor(str(straight)).card.num_subnets == 32
    assert load_file(straight / CARRIED_IMAGES)["images"].shape == (128, 3, 16, 16)
    assert all(finding.is_right for finding in verify_entry(load_entry(straight), data=IMAGES))
    text = "".join(path.read_text() for path in straight.rglob("*") if path.suffix in (".json", ".toml"))
    assert str(trained.parent) not in text

    killed, work = tmp_path / "killed", tmp_path / "other-work"
    for stage, at in (("Making", 2), ("Making", 6), ("Measuring", 20), ("card", 0)):
        with pytest.raises(Killed):
            make(trained, killed, Watcher(stage, at), work)
        assert not killed.exists()
    last = Watcher()
    assert make(trained, killed, last, work) == card
    assert last.steps == {}
    assert contents(killed) == contents(straight)


def test_unfinished_images_go_on_at_their_last_step(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ofa_toolkit.supernets.batchnorm.images._CHECKPOINT_STEPS", 2)
    supernet, checkpoint = trained / "supernet", tmp_path / "images.pt"

    class Watching(Heard):
        def progress(self, progress: Progress) -> None:
            super().progress(progress)
            if len(self.steps) == 3 + 3:
                raise Killed

    def images(folder: Path, **options: Any) -> Any:
        (tmp_path / folder).mkdir()
        for name in ("config.json", "model.safetensors"):
            (tmp_path / folder / name).symlink_to(supernet / name)
        return batchnorm_images.make_batchnorm_images(
            tmp_path / folder,
            IMAGES,
            num_images=8,
            num_subnets=3,
            num_steps=5,
            num_correction_subnets=3,
            **options,
        )

    with pytest.raises(Killed):
        images(Path("first"), checkpoint=checkpoint, reporter=Watching())
    heard = Heard()
    resumed = images(Path("second"), checkpoint=checkpoint, reporter=heard)
    assert [step.done for step in heard.steps] == [1, 2, 3, 6, 7, 8, 9, 10, 11]
    assert resumed.read_bytes() == images(Path("straight")).read_bytes()


def test_settings_that_change_make_a_part_anew(
    trained: Path, whole: tuple[Path, Path, Card], tmp_path: Path
) -> None:
    work = tmp_path / "work"
    shutil.copytree(whole[1], work)
    again = Watcher()
    request = PackageRequest(source=trained, name="tiny", out=tmp_path / "two", data=IMAGES)
    more = Preparation(**{**vars(SMALL), "work": work, "num_subnets": 34, "parts": ("images", "predictor")})
    prepared = prepare_entry(request, more, reporter=again)
    assert list(again.steps) == ["Measuring", "Fitting"]
    # Two subnets more: the 32 that were measured before stay.
    assert again.steps["Measuring"][:3] == [32, 33, 34]
    # Then what searches choose by the new fit; some of it may have been measured for the former one.
    answers = again.steps["Measuring"][3:]
    assert answers == list(range(answers[0], 10))
    assert prepared.front is None
    assert prepared.prepared is not None
    assert load_accuracy_predictor(str(prepared.prepared)).card.num_subnets == 34


def test_images_have_the_name_that_the_facts_give_them(
    trained: Path, whole: tuple[Path, Path, Card], tmp_path: Path
) -> None:
    facts = tmp_path / "facts.toml"
    facts.write_text('[data]\nname = "waves"\n')
    make(trained, tmp_path / "named", Watcher(), whole[1], facts=facts)
    held_out = "8 held-out training images"
    assert load_accuracy_predictor(str(tmp_path / "named")).card.dataset == f"waves: {held_out}"
    for path in (tmp_path / "named" / "subnets").glob("*.json"):
        assert json.loads(path.read_text())["predicted"]["top1_percent"]["dataset"] == f"waves: {held_out}"


def test_an_entry_packaged_again_keeps_its_parts(whole: tuple[Path, Path, Card], tmp_path: Path) -> None:
    out, first = tmp_path / "tiny", whole[2]
    shutil.copytree(whole[0], out)
    again = Watcher()
    second = make(out, out, again, tmp_path / "work-2", force=True)
    assert again.steps == {}
    assert second.files == first.files
    assert second.accuracy == first.accuracy


def test_what_cannot_end_well_is_refused_at_once(trained: Path, tmp_path: Path) -> None:
    watcher = Watcher()
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match="holds files"):
        make(trained, tmp_path / "there", watcher, tmp_path / "work")
    with pytest.raises(ConfigError, match="made from images"):
        make(trained, tmp_path / "out", watcher, tmp_path / "work", data=None)
    (tmp_path / "facts.toml").write_text('colour = "red"\n')
    with pytest.raises(ConfigError, match="colour"):
        make(trained, tmp_path / "out", watcher, tmp_path / "work", facts=tmp_path / "facts.toml")
    assert watcher.steps == {}


def test_the_command_skips_what_it_is_told_to(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "tiny"
    skipped = [word for part in ("images", "predictor", "front") for word in ("--skip", part)]
    place = ["--out", str(out), "--work", str(tmp_path / "work")]
    assert ofa_tk(["zoo", "package", str(trained), "--name", "tiny", "--data", IMAGES, *place, *skipped]) == 0
    assert set(contents(out)) == {
        ".ofa-toolkit.json",
        "config.json",
        "model.safetensors",
        "card.toml",
        "README.md",
    }
    description = json.loads((out / "config.json").read_text())
    assert description["space"]["resolutions"] == [8, 16]
    captured = capsys.readouterr()
    assert "Work is kept in" in captured.err
    assert captured.out.strip() == str(out)
