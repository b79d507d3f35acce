"""The accuracy predictor at the end of a run: resumed, with other rounding, and of other weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from ofa_toolkit.evaluation.predictor import fit
from ofa_toolkit.evaluation.predictor.ensemble import EnsembleConfig
from ofa_toolkit.pipelines.evaluation import predictor
from ofa_toolkit.pipelines.evaluation.accuracy_log import set_aside
from ofa_toolkit.pipelines.training import finish
from ofa_toolkit.supernets import Supernet, recalibrate_batchnorm
from ofa_toolkit.training.config import RunConfig
from ofa_toolkit.zoo.supernet import load_supernet
from tests.heard import Heard
from tests.integration.small_runs import TINY_SPACE, run, small_config

JOURNAL = "supernet/predictor/accuracies-0.jsonl"


def config(epochs: int) -> RunConfig:
    return small_config(
        {"name": "bignas", "num_networks": 2},
        space={**TINY_SPACE, "depths": [], "expand_ratios": []},
        training={"batch_size": 16, "epochs": epochs},
        schedule={"kind": "constant"},
        finish={"predictor_subnets": 30},
    )


class _CutOffError(Exception):
    pass


def _cut_off(*_: Any, **__: Any) -> None:
    raise _CutOffError


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    few = EnsembleConfig(num_members=2, hidden=(4,), num_steps=20)
    monkeypatch.setattr(fit, "EnsembleConfig", lambda: few)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose end was cut off after its measurements."""
    folder = tmp_path_factory.mktemp("measured") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predictor, "fit_predictor", _cut_off)
        with pytest.raises(_CutOffError):
            run(config(1), folder)
    return folder


@pytest.fixture
def copy(measured: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(measured, tmp_path / "run"))


def test_statistics_that_would_round_to_others_stay_and_so_do_measurements(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As another number of threads rounds them."""

    def rounded(supernet: Supernet, *arguments: Any, **options: Any) -> int:
        num_images = recalibrate_batchnorm(supernet, *arguments, **options)
        for name, buffer in supernet.named_buffers():
            if name.endswith("running_mean"):
                buffer.add_(1e-6)
        return num_images

    names = ("supernet/model.safetensors", "supernet/config.json", JOURNAL)
    before = {name: (copy / name).read_bytes() for name in names}
    monkeypatch.setattr(finish, "recalibrate_batchnorm", rounded)
    _, heard = run(config(1), copy, resume=True)
    assert any(text.startswith("Accuracy predictor: ") for text in heard.messages)
    assert [step.done for step in heard.steps if step.what == "Measuring subnets"] == [30]
    # Answers of searches were measured too.
    assert {name: (copy / name).read_bytes()[: len(before[name])] for name in names} == before


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_damaged_supernet_is_written_anew(name: str, measured: Path, copy: Path) -> None:
    (copy / "supernet" / name).write_bytes(b"{")
    _, heard = run(config(1), copy, resume=True)
    assert (copy / "supernet" / name).read_bytes() == (measured / "supernet" / name).read_bytes()
    assert [step.done for step in heard.steps if step.what == "Measuring subnets"] == [30]


def test_a_lengthened_run_keeps_measurements_of_its_former_weights_apart(copy: Path) -> None:
    content = (copy / JOURNAL).read_text()
    identity = json.loads(content.splitlines()[0])["supernet_identity"]
    _, heard = run(config(2), copy, resume=True)
    kept = copy / f"supernet/predictor-of-{identity[:12]}"
    (told,) = (text for text in heard.messages if "other weights" in text)
    assert told.startswith(f"'{copy / 'supernet/predictor'}' holds measurements")
    assert f"kept in '{kept}', and subnets are measured anew" in told
    assert (kept / "accuracies-0.jsonl").read_text() == content
    assert [step.done for step in heard.steps if step.what == "Measuring subnets"] == list(range(31))
    assert load_supernet(copy).predictor is not None


def test_what_was_set_aside_before_is_not_replaced(tmp_path: Path) -> None:
    heard = Heard()
    set_aside(tmp_path / "predictor", "now", heard)
    for text in ("first", "second", "third"):
        (tmp_path / "predictor").mkdir()
        line = {"supernet_identity": "former", "text": text}
        (tmp_path / "predictor/accuracies-0.jsonl").write_text(json.dumps(line) + "\n")
        set_aside(tmp_path / "predictor", "former", heard)
        assert len(list((tmp_path / "predictor").iterdir())) == 1
        set_aside(tmp_path / "predictor", "now", heard)
    found = {path.parent.name: path.read_text() for path in tmp_path.rglob("*.jsonl")}
    assert sorted(found) == ["predictor-of-former", "predictor-of-former-2", "predictor-of-former-3"]
    assert [json.loads(found[name])["text"] for name in sorted(found)] == ["first", "second", "third"]
    assert len(heard.messages) == 3
