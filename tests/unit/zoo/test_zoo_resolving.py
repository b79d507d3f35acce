"""What `--supernet NAME|DIR` may be, and what happens to the authors' checkpoints."""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ofa_tk.app import run
from ofa_toolkit.core import config, quantities, resources
from ofa_toolkit.core.errors import CheckpointError, MismatchError, StoreError, UnknownNameError
from ofa_toolkit.spaces import get_space, sample_subnets
from ofa_toolkit.spaces.subnet_file import SubnetFile, write_subnet
from ofa_toolkit.supernets import Supernet, extract, save_supernet
from ofa_toolkit.supernets.importing.official_checkpoints import official_supernet_weights
from ofa_toolkit.zoo import identity
from ofa_toolkit.zoo.card import Card, write_card
from ofa_toolkit.zoo.entries import find_entry
from ofa_toolkit.zoo.identity import identify
from ofa_toolkit.zoo.importing import load_checkpoint
from ofa_toolkit.zoo.resolving import download_supernet, fetch_checkpoint
from ofa_toolkit.zoo.store import Store
from ofa_toolkit.zoo.supernet import load_supernet
from tests.unit.zoo.entries import card_document, write_entry
from tests.unit.zoo.mirror_server import serve

SPACE = "mobilenet-v3-compact"
CONFIG = resources.data_path("zoo") / "deps-compact-cifar10" / "config.json"


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OFA_TK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OFA_TK_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("OFA_TK_MIRROR", raising=False)
    monkeypatch.delenv("OFA_TK_OFFLINE", raising=False)


def add_official_entry(tmp_path: Path, content: bytes, name: str = "official-tiny", **changes: Any) -> Path:
    """An entry of the user's whose checkpoint has to be fetched."""
    folder = tmp_path / "data" / "zoo" / name
    folder.mkdir(parents=True)
    file = {
        "path": "checkpoint",
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "mirrors": ["http://127.0.0.1:9/checkpoint"],
    }
    known = {"availability": "download", "layout": "official", "space": SPACE, "files": [file]}
    document = card_document(name, **(known | changes))
    write_card(folder / "card.toml", config.from_dict(Card, document))
    return folder


@pytest.fixture(scope="module")
def supernet() -> Supernet:
    torch.manual_seed(0)
    return Supernet(get_space(SPACE), use_kernel_transforms=True).eval()


@pytest.fixture(scope="module")
def checkpoint(supernet: Supernet, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """As the authors publish it: a pickle of a state dictionary under their names, in the older spelling."""
    path = tmp_path_factory.mktemp("official") / "checkpoint"
    weights = {
        name.replace(".conv.", ".mobile_inverted_conv.", 1) if name.startswith("blocks.") else name: tensor
        for name, tensor in official_supernet_weights(supernet).items()
    }
    torch.save({"epoch": 7, "state_dict": weights}, path)
    return path.read_bytes()


def test_imagenet_entries_name_their_classes() -> None:
    for name in ("efficientnet-lite0", "ofa-mobilenet-v3-w1.0"):
        names = load_supernet(name).output_names
        assert (len(set(names)), names[0], names[207]) == (1000, "tench", "golden retriever")


def test_an_official_checkpoint_is_fetched_imported_and_then_at_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, supernet: Supernet, checkpoint: bytes
) -> None:
    add_official_entry(tmp_path, checkpoint)
    with pytest.raises(StoreError, match="'official-tiny' is not on this machine") as caught:
        _ = load_supernet("official-tiny", store=Store(offline=True)).folder
    assert "it comes from http://127.0.0.1:9/checkpoint" in str(caught.value.hint)
    with serve(checkpoint) as mirror:
        folder = download_supernet("official-tiny", store=Store(mirrors=[mirror.url]))
    loaded = load_supernet(folder).network
    assert loaded.use_kernel_transforms
    for name, tensor in supernet.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name]), name
    assert (folder / "card.toml").is_file()
    assert load_supernet("official-tiny").folder == folder
    assert download_supernet("official-tiny", store=Store(offline=True)) == folder


def test_a_local_copy_is_imported_without_asking_anybody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkpoint: bytes
) -> None:
    add_official_entry(tmp_path, checkpoint)
    (tmp_path / "copy.pth").write_bytes(checkpoint)
    monkeypatch.setenv("OFA_TK_MIRROR", str(tmp_path / "copy.pth"))
    assert (load_supernet("official-tiny").folder / "model.safetensors").is_file()


class _RunsCode:
    """What a hostile checkpoint holds: unpickled without care, it makes a folder."""

    def __init__(self, place: str) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.place,)


@pytest.mark.parametrize("writer", ["pickle", "torch"])
def test_a_hostile_pickle_is_refused_and_runs_nothing(tmp_path: Path, writer: str) -> None:
    evidence, path = tmp_path / "evidence", tmp_path / "hostile"
    content: Mapping[str, Any] = {"state_dict": _RunsCode(str(evidence))}
    if writer == "pickle":
        path.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, path)
    hostile = path.read_bytes()
    add_official_entry(tmp_path, hostile)
    with serve(hostile) as mirror, pytest.raises(CheckpointError, match="could run code"):
        download_supernet("official-tiny", store=Store(mirrors=[mirror.url]))
    assert not evidence.exists()
    assert not (tmp_path / "cache" / "zoo" / "supernets").exists() or not list(
        (tmp_path / "cache" / "zoo" / "supernets").iterdir()
    )
    pickle.loads(pickle.dumps(content))  # the same object, read without care, does run
    assert evidence.is_dir()


def test_a_checkpoint_of_another_space_is_refused(tmp_path: Path, checkpoint: bytes) -> None:
    add_official_entry(tmp_path, checkpoint, space="deps-mobilenet-v3-cifar")
    with serve(checkpoint) as mirror, pytest.raises(MismatchError, match="deps-mobilenet-v3-cifar"):
        download_supernet("official-tiny", store=Store(mirrors=[mirror.url]))


@pytest.mark.parametrize("transforms", [False, True])
@pytest.mark.parametrize("suffix", ["-compound", "-compound-elastic-kernel"])
def test_compound_spaces_take_what_they_offer_from_the_whole(
    tmp_path: Path, transforms: bool, suffix: str
) -> None:
    torch.manual_seed(1)
    whole = Supernet(get_space(SPACE), use_kernel_transforms=transforms).eval()
    torch.save({"state_dict": official_supernet_weights(whole)}, tmp_path / "compofa")
    narrow = load_checkpoint(tmp_path / "compofa", get_space(SPACE + suffix))
    assert narrow.space.name == SPACE + suffix
    images = torch.randn(1, 3, 32, 32)
    for subnet in sample_subnets(narrow.space, 2, np.random.default_rng(0)):
        with torch.no_grad():
            assert torch.allclose(narrow(images, subnet), whole(images, subnet), atol=1e-5)
            assert torch.allclose(extract(narrow, subnet)(images), whole(images, subnet), atol=1e-5)


def test_folders(tmp_path: Path, supernet: Supernet, monkeypatch: pytest.MonkeyPatch) -> None:
    save_supernet(tmp_path / "run" / "supernet", supernet)
    assert load_supernet(tmp_path / "run").folder == tmp_path / "run" / "supernet"
    assert load_supernet(str(tmp_path / "run" / "supernet")).folder == tmp_path / "run" / "supernet"
    (tmp_path / "empty").mkdir()
    with pytest.raises(StoreError, match=r"it has no config\.json"):
        load_supernet(tmp_path / "empty")
    with pytest.raises(StoreError, match="No such folder") as caught:
        load_supernet(tmp_path / "nowhere")
    assert (
        caught.value.hint == "Name a folder written by `ofa-tk train`, or a zoo name from `ofa-tk zoo list`."
    )
    with pytest.raises(StoreError, match="No such folder") as caught:
        load_supernet(tmp_path / "runn")
    assert caught.value.hint == f"Did you mean '{tmp_path / 'run'}'?"
    monkeypatch.chdir(tmp_path / "run")
    assert load_supernet("supernet").folder == Path("supernet")


def test_a_zoo_name_comes_before_a_folder_of_that_name(
    tmp_path: Path, supernet: Supernet, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_entry(tmp_path / "data" / "zoo" / "mine", {"config.json": CONFIG.read_bytes()})
    monkeypatch.chdir(tmp_path)
    save_supernet(tmp_path / "mine", supernet)
    assert load_supernet("mine").folder == tmp_path / "data" / "zoo" / "mine"
    assert load_supernet("./mine").folder == Path("mine")


def test_included_entries_need_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OFA_TK_OFFLINE", "1")
    write_entry(tmp_path / "data" / "zoo" / "mine", {"config.json": CONFIG.read_bytes()})
    assert load_supernet("mine").folder == download_supernet("mine") == tmp_path / "data" / "zoo" / "mine"


def test_unknown_names_and_links_are_told() -> None:
    with pytest.raises(UnknownNameError) as caught:
        load_supernet("ofa-resnet-50")
    assert caught.value.hint == "Did you mean 'ofa-resnet50'?"
    with pytest.raises(StoreError, match=r"CC-BY-NC-4\.0.*commercial use is excluded"):
        load_supernet("alphanet")
    with pytest.raises(StoreError, match=r"its file '.*' has 193 MB"):
        _ = load_supernet("ofa-resnet50", store=Store(offline=True)).folder


def test_python_fetches_the_weights_that_are_needed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    supernet: Supernet,
    checkpoint: bytes,
    capsys: pytest.CaptureFixture[str],
) -> None:
    add_official_entry(tmp_path, checkpoint)
    with serve(checkpoint) as mirror:
        monkeypatch.setenv("OFA_TK_MIRROR", mirror.url)
        loaded = load_supernet("official-tiny")
        assert mirror.requests == []
        weights = loaded.network.state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in supernet.state_dict().items())
    size = quantities.MEMORY.format(len(checkpoint))
    assert f"official-tiny: {size} of {size}\n" in capsys.readouterr().err


def test_a_file_in_a_cache_that_cannot_be_written_is_converted_into_the_users_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkpoint: bytes
) -> None:
    add_official_entry(tmp_path, checkpoint)
    with serve(checkpoint) as mirror:
        fetch_checkpoint(find_entry("official-tiny"), Store(mirrors=[mirror.url]))
    shared = tmp_path / "cache" / "zoo"
    (shared / "supernets").write_bytes(b"")  # whoever runs this, no folder can be made there
    monkeypatch.setattr(resources, "own_cache_path", lambda: tmp_path / "own")
    before = sorted(shared.rglob("*"))
    hashed: list[Path] = []
    monkeypatch.setattr(identity, "identify", lambda path: (hashed.append(path), identify(path))[1])
    folder = load_supernet("official-tiny").folder
    assert folder.parent == tmp_path / "own" / "zoo" / "supernets"
    assert (folder / "model.safetensors").is_file()
    assert load_supernet("official-tiny").folder == folder
    assert len(hashed) == 2  # once each time
    assert sorted(shared.rglob("*")) == before


def test_a_predictor_of_ones_own_for_a_zoo_entry_is_found(tmp_path: Path, checkpoint: bytes) -> None:
    add_official_entry(tmp_path, checkpoint)
    bundled = load_supernet("deps-compact-cifar10")
    own = bundled.own_predictor_file
    assert own == tmp_path / "data" / "zoo" / "deps-compact-cifar10" / bundled.predictor_file.name
    assert bundled.predictor_file.parent == bundled.folder
    own.parent.mkdir(parents=True)
    shutil.copy(bundled.predictor_file, own)
    assert bundled.predictor_file == own
    assert bundled.predictor is not None
    assert load_supernet("official-tiny").own_predictor_file.parent == tmp_path / "data/zoo/official-tiny"


def test_a_command_fetches_the_weights_it_needs(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    checkpoint: bytes,
    capsys: pytest.CaptureFixture[str],
) -> None:
    add_official_entry(tmp_path, checkpoint)
    monkeypatch.chdir(tmp_path)
    subnet = SubnetFile(
        space=get_space(SPACE),
        supernet="official-tiny",
        subnet=get_space(SPACE).smallest(),
        predicted={},
        search={},
    )
    write_subnet("subnet.json", subnet)
    assert run(["extract", "--keep-batchnorm", "--offline"]) == 1
    refused = capsys.readouterr().err
    assert "'official-tiny' is not on this machine" in refused
    with serve(checkpoint) as mirror:
        monkeypatch.setenv("OFA_TK_MIRROR", mirror.url)
        assert run(["extract", "--keep-batchnorm"]) == 0
        fetched = capsys.readouterr().err
        assert "official-tiny: " in fetched
        assert run(["extract", "--keep-batchnorm"]) == 0
        assert "official-tiny: " not in capsys.readouterr().err
    # What the hint proposes works without a network, and so does what comes after it.
    proposed = refused.partition("search one that is here: ofa-tk ")[2].split()
    monkeypatch.setenv("OFA_TK_OFFLINE", "1")
    assert run(proposed) == 0
    assert run(["export", "--onnx"]) == 0
    assert (tmp_path / "subnet.onnx").is_file()


def test_the_training_that_is_proposed_for_other_classes_runs_as_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    space = get_space("proxyless-compact").with_num_classes(7)
    save_supernet(tmp_path / "runs" / "mine", Supernet(space), recipe={"recipe": "deps-compact-cifar10"})
    with pytest.raises(MismatchError, match="has 7 classes, fake images 10") as caught:
        load_supernet("runs/mine").open_images("fake")
    proposed = "ofa-tk train --recipe deps-compact-cifar10 --init runs/mine --data fake"
    command = f"{proposed} --space proxyless-compact --out runs/mine-2"
    assert caught.value.hint == f"Train it on yours: {command}"
    assert run([*command.split()[1:], "--dry-run", "--set", "training.batch_size=8"]) == 0
    assert "Nothing was trained" in capsys.readouterr().err
