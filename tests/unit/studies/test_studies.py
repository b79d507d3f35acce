"""Studies without training: their files, order, statistics, tables."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from pathlib import Path

import pytest

from ofa_tk.app import run
from ofa_toolkit.core.errors import ConfigError, FileFormatError, OutputError
from ofa_toolkit.pipelines.studies import report, tables
from ofa_toolkit.pipelines.studies.definition import StudyConfig, VariantConfig, load_study, runs_of
from ofa_toolkit.pipelines.studies.folder import StudyFolder
from ofa_toolkit.pipelines.studies.measure import space_titles
from ofa_toolkit.pipelines.studies.report import write_report
from ofa_toolkit.pipelines.studies.results import RunResult, read_result, write_result
from ofa_toolkit.pipelines.studies.statistics import MEAN_PARETO, estimate, summarize
from tests.unit.studies.made_up_results import result

STUDIES = Path(__file__).resolve().parents[3] / "docs" / "studies"

STUDY = StudyConfig(
    title="A study",
    data="fake",
    seeds=(0, 1, 2),
    variants=(
        VariantConfig(label="deps", recipe="deps-compact-cifar10", epochs=2),
        VariantConfig(label="once", recipe="bignas-compact-cifar10", epochs=2, seeds=(0,)),
        VariantConfig(label="coupled", recipe="compofa-compact-cifar10", epochs=3),
    ),
)


def test_the_first_seed_of_everything_comes_first() -> None:
    names = [run.name for run in runs_of(STUDY)]
    assert names == ["deps-s0", "once-s0", "coupled-s0", "deps-s1", "coupled-s1", "deps-s2", "coupled-s2"]


def test_the_printed_command_trains_that_run() -> None:
    variant = VariantConfig(
        label="x", recipe="deps-compact-cifar10", epochs=4, overrides=("algorithm.warmup_share=0.25",)
    )
    study = StudyConfig(title="t", data="npz:c 10.npz", variants=(variant,), seeds=(7,))
    (run,) = runs_of(study)
    assert run.printed_command() == (
        "ofa-tk train --recipe deps-compact-cifar10 --data 'npz:c 10.npz' --seed 7 --epochs 4 --threads 1 "
        "--set algorithm.warmup_share=0.25 --resume auto --out runs/x-s7"
    )
    config = run.config()
    assert (config.training.epochs, config.training.seed) == (4, 7)
    assert config.data.source == "npz:c 10.npz"


def test_parts_of_one_space_have_titles_of_their_own() -> None:
    overrides: tuple[tuple[str, ...], ...] = (
        (),
        ("training.batch_size=64",),
        ("space.kernel_sizes=[3]", "space.depths=[1,2]"),
        ("space.resolutions=[48]",),
    )
    variants = tuple(
        VariantConfig(label=f"v{number}", recipe="deps-compact-cifar10", epochs=2, overrides=own)
        for number, own in enumerate(overrides)
    )
    coupled = VariantConfig(
        label="coupled",
        recipe="compofa-compact-cifar10",
        epochs=3,
        overrides=("space.depths=[1,2]", "space.expand_ratios=[3,6]"),
    )
    titles = space_titles(StudyConfig(title="t", data="fake", variants=(*variants, coupled)), 10)
    assert list(titles) == [
        "mobilenet-v3-compact",
        "mobilenet-v3-compact (depths 1, 2; kernel sizes 3)",
        "mobilenet-v3-compact (resolutions 48)",
        "mobilenet-v3-compact-compound (depths 1, 2; expand ratios 3, 6)",
    ]
    assert len({space.identity for space in titles.values()}) == 4


def test_a_run_measured_before_the_study_had_a_space_says_how_to_mend_it() -> None:
    with pytest.raises(FileFormatError, match="'deps-s1' was measured before") as caught:
        result("deps", 1, accuracy=70).curve("another")
    assert "results/deps-s1.json" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("variants = []", "at least one"),
        ('[[variants]]\nlabel = "A b"\nrecipe = "deps-compact-cifar10"', "'A b'"),
        ('[[variants]]\nlabel = "a"\nrecipe = "deps-compct-cifar10"', "deps-compact-cifar10"),
        ('reference = "b"\n[[variants]]\nlabel = "a"\nrecipe = "deps-compact-cifar10"', "'b' is none of a"),
        (
            '[[variants]]\nlabel = "a"\nrecipe = "deps-compact-cifar10"\noverrides = ["algorithm.x=1"]',
            "algorithm.x",
        ),
    ],
)
def test_bad_studies_are_refused_before_anything_trains(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "study.toml"
    path.write_text(f'title = "t"\ndata = "fake"\n{text}\n')
    with pytest.raises(Exception, match=message) as caught:
        load_study(path)
    assert type(caught.value).__name__ in ("ConfigError", "UnknownNameError")


def test_mean_and_interval_of_known_numbers() -> None:
    found = estimate([1.0, 2.0, 3.0])
    assert found.mean == 2.0
    # Student's t with two degrees of freedom: 4.302653; deviation 1.
    assert found.half_width == pytest.approx(4.302653 / 3**0.5, rel=1e-6)
    assert estimate([5.0]).half_width is None
    with pytest.raises(ValueError, match="needs a value"):
        estimate([])


def test_differences_are_paired_by_seed() -> None:
    """Seeds differ by 10 points, methods by exactly one: unpaired, nothing could be told."""
    results = [result("deps", seed, accuracy=60 + 10 * seed) for seed in range(3)]
    results += [result("coupled", seed, accuracy=59 + 10 * seed, hours=2) for seed in (0, 1)]
    reference, coupled = summarize(results, "a-space", ["deps", "coupled", "absent"], "deps")
    assert reference.differences == {}
    assert reference.values[MEAN_PARETO].mean == 70
    assert not coupled.is_trained
    difference = coupled.differences[MEAN_PARETO]
    assert (difference.mean, difference.half_width, difference.count) == (-1, 0, 2)
    assert difference.is_clear
    for ratio in coupled.cost_ratios.values():
        assert ratio is not None
        assert ratio.count == 2
    assert coupled.cost_ratios["device-hours"] == estimate([2.0, 2.0])
    text = tables.markdown(results, ["deps", "coupled"], "deps")
    assert "| **-1.00 ± 0.00** |" in text
    assert text.count("| 2.00 ± 0.00 |") == 2, "hours, and their ratio"
    assert "Not trained on all subnets of this space: coupled." in text


def test_hours_of_other_hardware_are_not_compared() -> None:
    def on(processor: str, run: RunResult) -> RunResult:
        return dataclasses.replace(run, conditions={"processor": processor})

    results = [on("old", result("deps", 0, accuracy=60)), on("new", result("deps", 1, accuracy=60))]
    results += [on("old", result("coupled", seed, accuracy=59, hours=1 + seed)) for seed in (0, 1)]
    (_, coupled) = summarize(results, "a-space", ["deps", "coupled"], "deps")
    assert coupled.differences[MEAN_PARETO].count == 2
    assert coupled.cost_ratios["device-hours"] == estimate([1.0])
    assert coupled.cost_ratios["forward MACs (10^12)"] == estimate([1.0, 1.0])
    text = tables.markdown(results, ["deps", "coupled"], "deps")
    assert "old: deps 0, coupled 0, coupled 1; new: deps 1." in text
    (_, coupled) = summarize([results[1], results[3]], "a-space", ["deps", "coupled"], "deps")
    assert coupled.cost_ratios["device-hours"] is None
    assert "| unknown | 1.00 |" in tables.markdown([results[1], results[3]], ["deps", "coupled"], "deps")


def test_results_are_read_as_written_and_damaged_ones_named(tmp_path: Path) -> None:
    path = tmp_path / "deps-s0.json"
    write_result(path, result("deps", 0, accuracy=70))
    assert read_result(path) == result("deps", 0, accuracy=70)
    document = json.loads(path.read_text())
    for change in ({"format": "x"}, {"version": 2}, {"seed": "zero"}, {"epoch_curve": [{"epoch": 1}]}):
        path.write_text(json.dumps({**document, **change}))
        with pytest.raises(FileFormatError, match=r"deps-s0\.json"):
            read_result(path)


def test_the_report_is_the_same_each_time(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "study")
    folder.open(STUDY)
    with pytest.raises(FileFormatError, match="no results yet"):
        write_report(folder, tmp_path / "a")
    for seed in range(2):
        for label, accuracy in (("deps", 70.0), ("coupled", 69.0)):
            write_result(folder.result(f"{label}-s{seed}"), result(label, seed, accuracy=accuracy + seed))
    first, second = (
        {path.name: path.read_bytes() for path in write_report(folder, tmp_path / name)} for name in "ab"
    )
    assert first == second
    assert {"tables.md", "runs.csv", "summary.json", "index.html", "pareto.png", "epochs.png"} <= set(first)
    assert first["runs.csv"].decode().count("\n") == 5
    page = first["index.html"].decode()
    assert "ofa-tk train --recipe coupled --seed 1" in page
    assert str(tmp_path) not in page


def test_a_claimed_run_is_running_and_a_changed_one_refused(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "study")
    folder.open(STUDY)
    run = next(runs_of(STUDY))
    assert folder.state(run) == "waiting"
    with folder.claim(run.name) as first, folder.claim(run.name) as second:
        assert first is not None
        assert second is None
        assert folder.state(run) == "running"
    folder.record_failure(run.name, 1)
    assert folder.state(run) == "failed"
    assert folder.read_failure(run.name) == {"exit_code": 1, "last_lines": []}
    longer = VariantConfig(label="deps", recipe="deps-compact-cifar10", epochs=3)
    changed = StudyConfig(title="t", data="fake", variants=(longer,))
    with pytest.raises(OutputError, match="'deps-s0' with other settings"):
        folder.open(changed)
    grown = StudyConfig(title="t", data="fake", seeds=(0, 1, 2, 3), variants=STUDY.variants)
    folder.open(grown)
    assert len(list(runs_of(folder.study()))) == 9


def test_foreign_folders_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match="holds no study"):
        StudyFolder(tmp_path).open(STUDY)
    with pytest.raises(ConfigError, match="holds no study"):
        StudyFolder(tmp_path).study()
    assert os.listdir(tmp_path) == ["thesis.txt"]


def test_status_tells_what_unfinished_runs_said_last(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that the system killed may have said nothing."""
    folder = StudyFolder(tmp_path / "study")
    folder.open(STUDY)
    silent, stopped, *_ = (run.name for run in runs_of(STUDY))
    folder.record_failure(silent, -9)
    for path, text in {
        folder.run(stopped) / "run.toml": "",
        folder.log(stopped): "epoch 1\nepoch 2\n",
    }.items():
        path.parent.mkdir(parents=True)
        path.write_text(text)
    assert run(["study", "status", "--out", str(folder.path)]) == 0
    rows = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert rows[:3] == [
        "run state said last",
        f"{silent} failed ended with code -9",
        f"{stopped} interrupted epoch 2",
    ]
    assert run(["study", "status", "--out", str(folder.path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["last_lines"] == {
        silent: "ended with code -9",
        stopped: "epoch 2",
    }


@pytest.mark.parametrize("study", sorted(STUDIES.glob("*/study.toml")), ids=lambda path: path.parent.name)
def test_what_is_published_is_drawn_from_its_results(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Figures depend on the plotting library's version; the rest comes out bit for bit."""
    shutil.copytree(study.parent, tmp_path / "study")
    monkeypatch.setattr(report, "draw_figures", lambda *_: {})
    drawn = write_report(StudyFolder(tmp_path / "study"), tmp_path / "report")
    published = [path for path in drawn if path.name != "index.html"]
    assert len(published) == 4
    for path in published:
        assert path.read_bytes() == (study.parent / "report" / path.name).read_bytes(), path.name


def test_missing_images_are_told_before_any_run_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    text = 'title = "t"\ndata = "npz:gone.npz"\n[[variants]]\nlabel = "a"\nrecipe = "deps-compact-cifar10"\n'
    Path("study.toml").write_text(text)
    assert run(["study", "run", "study.toml", "--out", "study"]) == 1
    assert "gone.npz" in capsys.readouterr().err
    assert not Path("study").exists()
