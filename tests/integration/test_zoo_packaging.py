"""From a training run to a zoo entry whose card says what its stored weights do."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from ofa_tk.app import run as ofa_tk
from ofa_toolkit.core.errors import ConfigError, MismatchError, OutputError, VerificationError
from ofa_toolkit.core.output_folder import read_manifest
from ofa_toolkit.core.rng import generator
from ofa_toolkit.evaluation.predictor.file import read_predictor, write_predictor
from ofa_toolkit.pipelines.zoo.package import package_entry
from ofa_toolkit.pipelines.zoo.request import PackageRequest
from ofa_toolkit.pipelines.zoo.verify import verify_entry
from ofa_toolkit.spaces import get_space, restrict, sample_subnets
from ofa_toolkit.spaces.subnet_file import SubnetFile, read_subnet, subnet_document, write_subnet
from ofa_toolkit.spaces.supernet_description import CARRIED_IMAGES
from ofa_toolkit.zoo.card import read_card, write_card
from ofa_toolkit.zoo.entries import load_entry
from ofa_toolkit.zoo.identity import identify
from ofa_toolkit.zoo.readme import render_readme
from ofa_toolkit.zoo.supernet import load_accuracy_predictor, load_supernet
from tests.integration.small_runs import IMAGES, run, small_config

SPACE = get_space("mobilenet-v3-compact").with_resolutions((8,))
TRAINED = restrict(SPACE, depths=[1, 2], expand_ratios=[3, 6])
FACTS = """
summary = "A tiny supernet for a test."
limits = ["It knows waves only."]
[data]
name = "waves"
terms = "made by a formula"
[training]
commit = "0123abc"
[licence]
name = "Apache-2.0"
statement = "Free."
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two runs that differ in their seed."""
    folder = tmp_path_factory.mktemp("runs")
    for seed in (0, 1):
        config = small_config({"name": "deps"}, training={"epochs": 1, "seed": seed})
        run(config, folder / f"seed-{seed}")
    return folder / "seed-0", folder / "seed-1"


@pytest.fixture
def facts(tmp_path: Path) -> Path:
    (tmp_path / "facts.toml").write_text(FACTS)
    return tmp_path / "facts.toml"


BETWEEN = sample_subnets(TRAINED, 3, generator(0, "front"))


def write_front(path: Path) -> None:
    """Of which the last but one costs more than the third and is predicted no better."""
    members = [
        {**subnet_document(subnet), "top1_percent": top1, "costs": [cost], "predicted": {}}
        for cost, (top1, subnet) in enumerate(
            zip((1.0, 2.0, 3.0, 3.0, 4.0), (TRAINED.smallest(), *BETWEEN, TRAINED.largest()), strict=True),
            start=1,
        )
    ]
    document = {"format": "ofa-toolkit/front", "version": 1, "space": SPACE.name, "supernet": "tiny"}
    document |= {"costs": ["macs"], "members": members, "search": {}, "warnings": []}
    path.write_text(json.dumps(document))


def request(runs: tuple[Path, Path], out: Path, **changes: Any) -> PackageRequest:
    known = {"source": runs[0], "name": "tiny", "out": out, "data": IMAGES, "recalibration_images": 16}
    return PackageRequest(**(known | changes))


def test_a_run_becomes_an_entry_that_verifies(
    runs: tuple[Path, Path], tmp_path: Path, facts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "zoo" / "tiny"
    subnet = tmp_path / "subnet.json"
    write_subnet(subnet, SubnetFile(space=SPACE, supernet=str(runs[0]), subnet=TRAINED.smallest()))
    card = package_entry(request(runs, out, facts=facts, subnets=[subnet], seed_runs=[runs[1]]))
    assert read_card(out) == card
    assert [fact.subnet for fact in card.accuracy] == ["largest", "subnets/01.json", "smallest"]
    assert all(len(fact.top1_by_seed) == 2 for fact in card.accuracy)
    assert card.training.seeds == (0, 1)
    assert card.training.commit == "0123abc"
    assert card.training.algorithm == "deps"
    assert card.training.hours
    assert card.data.num_classes == 4
    assert card.resolutions == (8,)
    assert {file.path for file in card.files} == {"config.json", "model.safetensors", "subnets/01.json"}
    assert (out / "README.md").read_text() == render_readme(card)
    text = "".join(path.read_text() for path in (out / "config.json", out / "card.toml", out / "README.md"))
    assert str(tmp_path) not in text
    assert json.loads((out / "subnets" / "01.json").read_text())["supernet"] == "tiny"
    tensors = safetensors.torch.load_file(out / "model.safetensors")
    assert {t.dtype for t in tensors.values()} == {torch.float16, torch.int64}

    entry = load_entry(out)
    findings = verify_entry(entry, data=IMAGES)
    assert len(findings) == 3 + 3
    assert all(finding.is_right for finding in findings)
    assert ofa_tk(["zoo", "verify", f"{out}", "--data", IMAGES, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["is_right"]


def test_a_card_that_claims_too_much_does_not_verify(
    runs: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "tiny"
    card = package_entry(request(runs, out))
    text = (out / "card.toml").read_text()
    claimed = card.accuracy[0].top1_percent
    (out / "card.toml").write_text(text.replace(f"top1_percent = {claimed}", "top1_percent = 99.5", 1))
    findings = verify_entry(load_entry(out), data=IMAGES)
    assert [finding.is_right for finding in findings] == [True, True, False, True]
    assert ofa_tk(["zoo", "verify", str(out), "--data", IMAGES]) == 1
    assert "largest at 8 pixels: card 99.50 %" in capsys.readouterr().err


def test_a_flipped_bit_is_found_and_figures_are_not_checked_on_it(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / "tiny"
    package_entry(request(runs, out, data=None))
    weights = bytearray((out / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (out / "model.safetensors").write_bytes(weights)
    findings = verify_entry(load_entry(out))
    assert [finding.subject for finding in findings if not finding.is_right] == ["model.safetensors"]
    with pytest.raises(VerificationError, match="not those of the card"):
        verify_entry(load_entry(out), data=IMAGES)


def test_an_entry_can_be_packaged_again_and_keeps_its_weights(
    runs: tuple[Path, Path], tmp_path: Path, facts: Path
) -> None:
    out = tmp_path / "tiny"
    first = package_entry(request(runs, out, data=None, facts=facts))
    (out / "predictor").mkdir()
    (out / "predictor" / "measured.json").write_text("[]")
    (out / "notes.txt").write_text("mine")
    write_front(tmp_path / "front.json")
    with pytest.raises(OutputError, match="exists already and holds a zoo entry"):
        package_entry(request((out, out), out))
    again = package_entry(request((out, out), out, front=tmp_path / "front.json", num_front=2, force=True))
    assert (again.training, again.licence, again.summary) == (first.training, first.licence, first.summary)
    by_path = {file.path: file for file in again.files}
    assert by_path["model.safetensors"] == first.files[1]
    assert set(by_path) == {
        "config.json",
        "model.safetensors",
        "notes.txt",
        *("subnets/01.json", "subnets/02.json"),
    }
    chosen = [read_subnet(out / "subnets" / f"{number:02d}.json", SPACE).subnet for number in (1, 2)]
    assert chosen == list(BETWEEN[:2])
    assert (out / "predictor" / "measured.json").read_text() == "[]"
    manifest = read_manifest(out)
    assert manifest is not None
    assert "notes.txt" not in manifest.files
    # The front's ends are the extremes, which are measured anyway: the two are the first and last between.
    measured = ["largest", "subnets/01.json", "subnets/02.json", "smallest"]
    assert [fact.subnet for fact in again.accuracy] == measured
    assert read_subnet(out / "subnets" / "01.json", SPACE).subnet not in (
        TRAINED.smallest(),
        TRAINED.largest(),
    )


def write_predictor_for(folder: Path, weights: Path, path: Path, images: str = "images.npz") -> None:
    """A predictor that says it was built for these weights; what it predicts does not matter here."""
    bundled = load_accuracy_predictor("ofa-mobilenet-v3-w1.0")
    card = dataclasses.replace(
        bundled.card,
        space=SPACE.name,
        space_identity=read_card_identity(folder),
        supernet=str(folder),
        supernet_identity=str(identify(weights).sha256),
        dataset=f"npz:{images}: 400 held-out training images",
    )
    write_predictor(path, dataclasses.replace(bundled, card=card))


def read_card_identity(folder: Path) -> str:
    return str(json.loads((folder / "config.json").read_text())["space_identity"])


@pytest.mark.parametrize("images", ["images.npz", "/data/images.npz"])
def test_a_predictor_follows_its_weights_into_float16(
    runs: tuple[Path, Path], tmp_path: Path, facts: Path, images: str
) -> None:
    source, predictor = runs[0] / "supernet", tmp_path / "predictor.safetensors"
    write_predictor_for(source, source / "model.safetensors", predictor, images)
    out = tmp_path / "tiny"
    package_entry(request(runs, out, data=None, facts=facts, predictor=predictor))
    card = read_predictor(out / "accuracy_predictor.safetensors").card
    assert card.supernet == "tiny"
    assert card.supernet_identity == identify(out / "model.safetensors").sha256
    assert card.dataset == "waves: 400 held-out training images"
    assert "rounded to float16" in card.caveats[-1]
    # Packaged again, nothing is left to say.
    package_entry(request((out, out), out, data=None, force=True))
    assert read_predictor(out / "accuracy_predictor.safetensors").card == card


def test_a_predictor_of_other_weights_is_refused(runs: tuple[Path, Path], tmp_path: Path) -> None:
    predictor = tmp_path / "predictor.safetensors"
    write_predictor_for(runs[1] / "supernet", runs[1] / "supernet" / "model.safetensors", predictor)
    source = tmp_path / "mein Lauf"
    shutil.copytree(runs[0], source)
    with pytest.raises(MismatchError, match="made for other weights") as caught:
        package_entry(request(runs, tmp_path / "tiny", source=source, data=None, predictor=predictor))
    build = f"ofa-tk predictor build --supernet '{source / 'supernet'}' --data DATA"
    assert caught.value.hint == f"Build it for them: {build}"
    assert not (tmp_path / "tiny").exists()


def test_images_carried_for_batch_norm_are_judged_too(runs: tuple[Path, Path], tmp_path: Path) -> None:
    source = tmp_path / "run"
    shutil.copytree(runs[0] / "supernet", source)
    images = torch.randint(0, 256, (20, 3, 8, 8), dtype=torch.uint8)
    safetensors.torch.save_file({"images": images}, source / CARRIED_IMAGES)
    card = package_entry(request((source, source), tmp_path / "tiny", seed_runs=[runs[1]]))
    asked = [(fact.subnet, fact.batchnorm, fact.recalibration_images) for fact in card.accuracy]
    assert asked == [
        ("largest", "recalibrated", 16),
        ("smallest", "recalibrated", 16),
        ("largest", "carried", 20),
        ("smallest", "carried", 20),
    ]
    # The images are the stored weights' own.
    assert [len(fact.top1_by_seed) for fact in card.accuracy] == [2, 2, 0, 0]
    findings = verify_entry(load_entry(tmp_path / "tiny"), data=IMAGES)
    assert len(findings) == 3 + 4
    assert all(finding.is_right for finding in findings)


def test_packaging_through_the_command_makes_a_name(
    runs: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("OFA_TK_DATA", str(tmp_path / "data"))
    assert ofa_tk(["zoo", "package", str(runs[0]), "--name", "tiny"]) == 0
    assert load_supernet("tiny").folder == tmp_path / "data" / "zoo" / "tiny"
    assert "tiny" in capsys.readouterr().out
    assert ofa_tk(["zoo", "list", "--space", SPACE.name, "--json"]) == 0
    listed = {line["name"]: line for line in json.loads(capsys.readouterr().out)}
    assert listed["tiny"]["availability"] == "included"
    assert listed["tiny"]["is_here"]
    assert ofa_tk(["zoo", "package", str(runs[0]), "--name", "tiny"]) == 1
    assert "exists already" in capsys.readouterr().err


def test_what_does_not_belong_is_refused(runs: tuple[Path, Path], tmp_path: Path) -> None:
    other = get_space("deps-mobilenet-v3-cifar")
    subnet = tmp_path / "subnet.json"
    write_subnet(subnet, SubnetFile(space=other, supernet=None, subnet=other.smallest()))
    with pytest.raises(MismatchError, match="deps-mobilenet-v3-cifar"):
        package_entry(request(runs, tmp_path / "tiny", data=None, subnets=[subnet]))
    (tmp_path / "facts.toml").write_text("accuracy = []\n")
    with pytest.raises(ConfigError, match="accuracy: is measured or counted"):
        package_entry(request(runs, tmp_path / "tiny", data=None, facts=tmp_path / "facts.toml"))
    (tmp_path / "facts.toml").write_text('colour = "red"\n')
    with pytest.raises(ConfigError, match="colour"):
        package_entry(request(runs, tmp_path / "tiny", data=None, facts=tmp_path / "facts.toml"))
    assert not (tmp_path / "tiny").exists()


def test_figures_without_conditions_cannot_be_checked(runs: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "tiny"
    card = package_entry(request(runs, out))
    text = (out / "card.toml").read_text().replace('split = "test"\n', "", 1)
    (out / "card.toml").write_text(text)
    with pytest.raises(ConfigError, match=r"accuracy\[0\]: split and batchnorm must be stated"):
        verify_entry(load_entry(out), data=IMAGES)
    write_card(out / "card.toml", card)
    assert all(finding.is_right for finding in verify_entry(load_entry(out)))
