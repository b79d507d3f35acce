"""Building a predictor for a tiny supernet: measuring, resuming, sharing, fitting, searching with it."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ofa_toolkit.core.errors import ConfigError, MismatchError
from ofa_toolkit.core.reporting import Progress
from ofa_toolkit.evaluation.predictor.ensemble import EnsembleConfig
from ofa_toolkit.evaluation.stratified import stratified_population
from ofa_toolkit.pipelines.evaluation.accuracy_log import (
    AccuracyConditions,
    AccuracyLog,
    SubnetMeter,
    conditions_of,
    measure_missing,
)
from ofa_toolkit.pipelines.evaluation.evaluator import Evaluator, open_evaluator
from ofa_toolkit.pipelines.evaluation.predictor import BuiltPredictor, build_predictor
from ofa_toolkit.pipelines.evaluation.request import EvaluationRequest
from ofa_toolkit.pipelines.evaluation.shards import Shard
from ofa_toolkit.pipelines.search.find import find_subnet
from ofa_toolkit.pipelines.search.verify import verify_top
from ofa_toolkit.spaces import Encoding, Subnet, get_space, sample_subnets
from ofa_toolkit.supernets import Supernet, save_supernet
from ofa_toolkit.training.distributed import join, leave
from tests.heard import Heard
from tests.integration.process_pair import start_pair
from tests.integration.small_runs import PipeReporter

FAKE = EvaluationRequest(data="fake", images=24, recalibration_images=24, batch_size=24, device="cpu")
CONFIG = EnsembleConfig(num_members=2, hidden=(8,), num_steps=60)
CONDITIONS = AccuracyConditions(
    space_identity="s",
    supernet_identity="w",
    data="npz:d",
    images="i",
    seed=0,
    num_images=10,
    num_recalibration_images=20,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("supernet")
    save_supernet(path, Supernet(get_space("mobilenet-v3-compact").with_num_classes(10)))
    return path


@pytest.fixture(scope="module")
def evaluator(folder: Path) -> Evaluator:
    return open_evaluator(folder, FAKE)


def test_a_build_measures_once_fits_and_serves_search_and_verification(
    folder: Path, evaluator: Evaluator
) -> None:
    heard = Heard()
    built = build_predictor(
        evaluator,
        name=str(folder),
        num_subnets=30,
        config=CONFIG,
        reporter=heard,
    )
    assert built is not None
    assert (heard.steps[0].done, heard.steps[0].total) == (0, 30)
    # The fitted subnets, and what eight searches chose.
    assert len(measured_lines(folder)) == 30 + 8
    assert heard.steps[-1] == Progress("Measuring answers of searches", 9, 9)
    assert Progress("Fitting the accuracy predictor", 9, 9) in heard.steps
    heard.steps.clear()
    card = built.predictor.card
    assert card.num_subnets == 30
    assert card.supernet == folder.name
    assert "held-out training images" in card.dataset
    assert [error.split for error in card.errors] == [
        "random",
        "above the 80th percentile",
        "answers of searches",
    ]
    assert card.interval.chosen is not None
    assert card.interval.chosen.how == "8 subnets that searches within budgets of MACs chose, measured"
    assert card.interval.chosen.offset_points == pytest.approx(max(0, card.errors[-1].bias_points), abs=1e-4)
    assert [point.num_subnets for point in built.learning_curve] == [6, 12, 24]
    assert built.verdict.startswith("More subnets would")
    again = build_predictor(
        evaluator,
        name=str(folder),
        num_subnets=30,
        config=CONFIG,
        reporter=heard,
    )
    measured = [step for step in heard.steps if step.what.startswith("Measuring")]
    assert [(step.done, step.total) for step in measured] == [(30, 30), (9, 9)]
    assert again is not None
    assert again.predictor.card == card
    found = find_subnet(
        supernet=folder, macs="8M", effort={"population_size": 8, "num_children": 8, "num_generations": 2}
    )
    answer, verified = verify_top(found, evaluator, num_subnets=3)
    measured = [v.top1_percent for v in verified]
    assert measured == sorted(measured, reverse=True)
    assert answer.predicted["measured"]["top1_percent"]["value"] == round(measured[0], 3)
    assert answer.subnet == verified[0].candidate.subnet


@pytest.mark.parametrize(("limit", "used"), [(24, 24), (None, 36)])
def test_the_card_tells_how_many_training_images_batch_norm_came_from(
    folder: Path, tmp_path: Path, limit: int | None, used: int
) -> None:
    few = "fake:classes=10,size=32,train=46,test=10"
    request = dataclasses.replace(FAKE, data=few, validation_size=10, recalibration_images=limit)
    evaluator = open_evaluator(folder, request)
    built = build_predictor(
        evaluator, num_subnets=30, config=CONFIG, folder=tmp_path / "log", out=tmp_path / "p.safetensors"
    )
    assert built is not None
    assert evaluator.accuracy(evaluator.supernet.space.smallest()).num_recalibration_images == used
    assert built.predictor.card.source.endswith(f"recomputed from {used} training images")


def test_one_folder_serves_several_searches(evaluator: Evaluator, tmp_path: Path) -> None:
    """Results are told apart by the subnet, not by its place in a list."""
    effort = {"population_size": 8, "num_children": 8, "num_generations": 2}
    for macs in ("5M", "9M"):
        found = find_subnet(supernet=evaluator.supernet, maximize="macs", macs=macs, effort=effort)
        _, verified = verify_top(found, evaluator, num_subnets=2, folder=tmp_path)
        meter = SubnetMeter(evaluator)
        assert [v.top1_percent for v in verified] == [meter.measure(v.candidate.subnet)[0] for v in verified]


def test_shards_measure_their_own_part_and_the_plain_call_fits(
    folder: Path, evaluator: Evaluator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(shard: Shard | None) -> BuiltPredictor | None:
        return build_predictor(
            evaluator, num_subnets=30, config=CONFIG, folder=tmp_path, out=tmp_path / "p", shard=shard
        )

    assert build(Shard.parse("1/4")) is None
    space = evaluator.supernet.trained_space
    part = list(AccuracyLog(tmp_path, conditions_of(evaluator)).read())
    assert part == Encoding(space).decode(stratified_population(space, 30, 0))[::4]
    for number in (2, 3, 4):
        assert build(Shard(number=number, count=4)) is None
    asked: list[Subnet] = []
    monkeypatch.setattr(SubnetMeter, "measure", lambda _, subnet: (asked.append(subnet) or 50.0, 24))
    built = build(None)
    assert built is not None
    assert len(asked) == 8  # what searches chose, and nothing that a shard measured
    assert not set(asked) & set(Encoding(space).decode(stratified_population(space, 30, 0)))
    build(None)
    assert len(asked) == 8
    monkeypatch.undo()
    (tmp_path / "accuracies-0.jsonl").unlink()
    built = build(None)
    assert built is not None
    whole = build_predictor(evaluator, num_subnets=30, config=CONFIG, out=tmp_path / "q")
    assert whole is not None
    assert built.predictor.card == whole.predictor.card


def test_the_meter_agrees_with_a_plain_evaluation_and_prepares_images_once(evaluator: Evaluator) -> None:
    from ofa_toolkit.evaluation.accuracy import evaluate_subnet

    meter = SubnetMeter(evaluator)
    (subnet,) = sample_subnets(evaluator.supernet.space, 1, np.random.default_rng(0))
    plain = evaluate_subnet(
        evaluator.supernet.network,
        subnet,
        evaluator.dataset,
        split="validation",
        batch_size=24,
        limit=24,
        recalibration_images=24,
    )
    for _ in range(2):
        assert meter.measure(subnet) == (plain.top1_percent, plain.num_images)
    assert len(meter._cache) == 2


def test_a_killed_run_goes_on_and_processes_share(tmp_path: Path) -> None:
    space = get_space("mobilenet-v3-compact")
    subnets = sample_subnets(space, 10, np.random.default_rng(0))
    asked: list[int] = []

    def measure(subnet: object) -> tuple[float, int]:
        asked.append(subnets.index(subnet))
        return float(subnets.index(subnet)), 10

    log = AccuracyLog(tmp_path, CONDITIONS)
    for rank in range(2):
        # Both cut their shares from the same list, as they do when started together.
        missing = [index for index in range(10) if index % 2 == rank]
        for index in missing[:3]:
            log.append(rank, subnets[index], *measure(subnets[index]))
    path = tmp_path / "accuracies-0.jsonl"
    other = path.read_text().splitlines()[1].replace('"stages"', '"stage"')
    path.write_text(path.read_text() + other + '\n{"top1_per')  # no subnet in it, and killed while writing
    asked.clear()
    measure_missing(AccuracyLog(tmp_path, CONDITIONS), subnets, measure)
    assert sorted(asked) == [6, 7, 8, 9]
    assert log.read() == {subnet: float(index) for index, subnet in enumerate(subnets)}


def build_in_child(folder: str, connection: Any) -> None:
    torch.set_num_threads(1)
    process = join("cpu")
    evaluator = open_evaluator(folder, FAKE)
    build_predictor(
        evaluator,
        name="tiny",
        num_subnets=30,
        config=CONFIG,
        process=process,
        reporter=PipeReporter(connection),
    )
    connection.send("built")
    leave(process)


def test_two_processes_killed_half_way_and_resumed_build_what_one_does(folder: Path, tmp_path: Path) -> None:
    alone, shared = (shutil.copytree(folder, tmp_path / name) for name in ("alone", "shared"))
    for copy in (alone, shared):
        shutil.rmtree(copy / "predictor", ignore_errors=True)
        (copy / "accuracy_predictor.safetensors").unlink(missing_ok=True)
    evaluator = open_evaluator(alone, FAKE)
    build_predictor(evaluator, name="tiny", num_subnets=30, config=CONFIG)

    pair = start_pair(build_in_child, str(shared))
    for _, receiver in pair:
        assert receiver.recv() == 0
        while receiver.recv() < 10:  # of 30, half of them its own
            pass
    for process, _ in pair:
        process.kill()
        process.join()
    finished = len(measured_lines(shared))
    assert 10 <= finished < 30
    pair = start_pair(build_in_child, str(shared))
    left = [30 - receiver.recv() for _, receiver in pair]
    assert sum(left) / 2 == 30 - finished
    for process, receiver in pair:
        while receiver.recv() != "built":
            pass
        process.join()
        assert process.exitcode == 0

    assert sorted(measured_lines(shared)) == sorted(measured_lines(alone))
    name = "accuracy_predictor.safetensors"
    assert (shared / name).read_bytes() == (alone / name).read_bytes()


def measured_lines(folder: Path) -> list[str]:
    files = (folder / "predictor").glob("accuracies-*.jsonl")
    return [line for path in files for line in path.read_text().splitlines()[1:]]


def test_other_conditions_are_refused(tmp_path: Path) -> None:
    space = get_space("mobilenet-v3-compact")
    (subnet,) = sample_subnets(space, 1, np.random.default_rng(0))
    AccuracyLog(tmp_path, CONDITIONS).append("0", subnet, 50.0, 10)
    other = AccuracyConditions(**{**vars(CONDITIONS), "supernet_identity": "another"})
    with pytest.raises(MismatchError, match="another supernet_identity"):
        AccuracyLog(tmp_path, other)


class TestWhereTheImagesLie:
    @pytest.fixture
    def subnet(self, tmp_path: Path) -> Subnet:
        """Measured in `tmp_path`."""
        (subnet,) = sample_subnets(get_space("mobilenet-v3-compact"), 1, np.random.default_rng(0))
        AccuracyLog(tmp_path, CONDITIONS).append("0", subnet, 50.0, 10)
        return subnet

    def test_the_same_images_elsewhere_go_on(self, subnet: Subnet, tmp_path: Path) -> None:
        moved = dataclasses.replace(CONDITIONS, data="npz:elsewhere/d")
        assert AccuracyLog(tmp_path, moved).read() == {subnet: 50.0}

    @pytest.mark.usefixtures("subnet")
    def test_other_images_of_that_name_are_refused(self, tmp_path: Path) -> None:
        other = dataclasses.replace(CONDITIONS, images="j")
        with pytest.raises(MismatchError, match="measured on other images than 'npz:d' holds now"):
            AccuracyLog(tmp_path, other)

    def test_a_file_of_before_goes_by_the_place(
        self, subnet: Subnet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        path = tmp_path / "accuracies-0.jsonl"
        path.write_text(path.read_text().replace('"images": "i", ', ""))
        assert '"images"' not in path.read_text()
        for data in ("npz:d", f"npz:{tmp_path}/d"):
            log = AccuracyLog(tmp_path, dataclasses.replace(CONDITIONS, data=data))
            assert log.read() == {subnet: 50.0}
        with pytest.raises(MismatchError, match=r"with another data \('npz:d', now 'npz:e'\)"):
            AccuracyLog(tmp_path, dataclasses.replace(CONDITIONS, data="npz:e"))

    def test_images_are_known_by_what_they_are(self, folder: Path, tmp_path: Path) -> None:
        def images(name: str, seed: int) -> str:
            random = np.random.default_rng(seed)
            arrays = {"class_names": np.array([f"class {number}" for number in range(10)])}
            for split, count in (("train", 40), ("test", 10)):
                arrays[f"{split}_images"] = random.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
                arrays[f"{split}_labels"] = np.arange(count) % 10
            np.savez(tmp_path / name, **arrays)  # type: ignore[arg-type]
            request = dataclasses.replace(FAKE, data=f"npz:{tmp_path / name}")
            return conditions_of(open_evaluator(folder, request)).images

        assert images("a.npz", 0) == images("b.npz", 0) != images("c.npz", 1)


def test_too_few_subnets_are_refused(folder: Path, evaluator: Evaluator) -> None:
    with pytest.raises(ConfigError, match="3 subnets: too few"):
        build_predictor(evaluator, name="x", num_subnets=3)


def test_the_built_predictor_is_bound_to_its_weights(folder: Path) -> None:
    assert Encoding(get_space("mobilenet-v3-compact")).num_genes > 0
    weights = folder / "model.safetensors"
    content = weights.read_bytes()
    try:
        weights.write_bytes(content + b" ")
        with pytest.raises(MismatchError, match="was built for other weights"):
            find_subnet(supernet=folder, macs="8M")
    finally:
        weights.write_bytes(content)
