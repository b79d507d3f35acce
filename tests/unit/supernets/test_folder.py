"""Supernet folders: what is saved comes back, and what does not belong together is refused."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from ofa_tk.app import run
from ofa_toolkit.core.errors import (
    CheckpointError,
    ConfigError,
    FileFormatError,
    MismatchError,
    OfaToolkitError,
)
from ofa_toolkit.core.sealed import seal
from ofa_toolkit.spaces import SearchSpace, compound, get_space, restrict
from ofa_toolkit.spaces.space_file import space_document
from ofa_toolkit.spaces.supernet_description import CONFIG_FILE, WEIGHTS_FILE, read_description
from ofa_toolkit.supernets import Supernet, read_supernet, save_supernet
from ofa_toolkit.zoo.supernet import load_supernet

SPACE = get_space("mobilenet-v3-compact").with_num_classes(3).with_resolutions((32, 48))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A saved supernet."""
    torch.manual_seed(0)
    supernet = Supernet(SPACE, use_kernel_transforms=True, bn_momentum=0.2)
    save_supernet(tmp_path / "net", supernet, class_names=["a", "b", "c"])
    return tmp_path / "net"


def change_config(folder: Path, **changes: object) -> None:
    """Edit the description by hand."""
    config = json.loads((folder / CONFIG_FILE).read_text())
    (folder / CONFIG_FILE).write_text(json.dumps({**config, **changes}))


def test_round_trip(folder: Path) -> None:
    torch.manual_seed(0)
    original = Supernet(SPACE, use_kernel_transforms=True, bn_momentum=0.2)
    supernet = read_supernet(folder)
    assert read_description(folder).class_names == ("a", "b", "c")
    assert supernet.space == SPACE
    assert (supernet.use_kernel_transforms, supernet.bn_momentum) == (True, 0.2)
    assert not supernet.training
    for name, tensor in original.state_dict().items():
        torch.testing.assert_close(supernet.state_dict()[name], tensor, rtol=0, atol=0)


def test_equal_weights_give_equal_bytes(folder: Path, tmp_path: Path) -> None:
    supernet = read_supernet(folder)
    save_supernet(tmp_path / "again", supernet)
    content = (folder / WEIGHTS_FILE).read_bytes()
    assert (tmp_path / "again" / WEIGHTS_FILE).read_bytes() == content
    # The library orders metadata by a random key of the process; so do it the other way round here.
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    header["__metadata__"] = dict(reversed(header["__metadata__"].items()))
    shuffled = json.dumps(header, separators=(",", ":")).encode().ljust(size)
    assert shuffled != content[8 : 8 + size]
    assert seal(content[:8] + shuffled + content[8 + size :]) == content


def test_half_precision_is_read_as_float32(tmp_path: Path) -> None:
    supernet = Supernet(SPACE)
    save_supernet(tmp_path, supernet, dtype=torch.float16)
    loaded = read_supernet(tmp_path)
    weight = loaded.state_dict()["stem.conv.conv.weight"]
    assert weight.dtype == torch.float32
    torch.testing.assert_close(weight, supernet.state_dict()["stem.conv.conv.weight"].half().float())


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"no config\.json"):
        read_supernet(tmp_path)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"format": "other"}, FileFormatError, "is not a description of a supernet"),
        ({"version": 99}, FileFormatError, "version 99"),
        ({"space_identity": "0" * 16}, MismatchError, "was changed: its identity is"),
        ({"space": space_document(SPACE.with_num_classes(4))}, MismatchError, "classifier"),
        ({"trained_space": space_document(get_space("ofa-resnet50"))}, MismatchError, "no part of its space"),
        ({"space": "mobilenet-v3-compact"}, FileFormatError, "space: expected a table"),
        ({"supernet": {"dropout": "much"}}, FileFormatError, "supernet.dropout: expected a number"),
        ({"class_names": [1]}, FileFormatError, r"class_names\[0\]: expected a text"),
        ({"preprocessing": {"mean": [None]}}, FileFormatError, r"preprocessing\.mean"),
    ],
)
def test_a_description_that_does_not_fit(
    folder: Path, changes: dict[str, object], error: type[Exception], message: str
) -> None:
    change_config(folder, **changes)
    with pytest.raises(error, match=message):
        read_supernet(folder)


def test_a_bad_table_is_named_by_its_dotted_path(folder: Path) -> None:
    table = space_document(SPACE)
    table["stages"][2]["kernel_sizes"] = [3, 4]
    change_config(folder, space=table)
    with pytest.raises(ConfigError, match=r"space\.stages\[2\]\.kernel_sizes\[1\]: 4 is even"):
        read_supernet(folder)


@pytest.mark.parametrize("kind", ["restricted", "invented", "compound"])
def test_the_folder_carries_its_whole_space(kind: str, tmp_path: Path) -> None:
    narrow = {
        "restricted": restrict(SPACE, kernel_sizes=[5], depths=[1, 3], resolutions=[48]),
        "compound": compound(SPACE),
        "invented": dataclasses.replace(
            SPACE,
            name="mine",
            stages=(*SPACE.stages[:-1], dataclasses.replace(SPACE.stages[-1], expand_ratios=(2.5, 3.0))),
        ),
    }[kind]
    save_supernet(tmp_path, Supernet(narrow))
    assert read_supernet(tmp_path).space == narrow
    assert read_description(tmp_path).trained_space == narrow


def test_a_description_is_written_as_it_is_read(tmp_path: Path) -> None:
    trained = restrict(SPACE, kernel_sizes=[5])
    about = {
        "class_names": ["a", "b", "c"],
        "preprocessing": {"size": 32, "mean": [0.5, 0.5, 0.5]},
        "recipe": {"training": {"seed": 3}},
        "further": {"metrics": {"validation_top1_percent": {"largest": 90.5}}},
    }
    save_supernet(tmp_path, Supernet(SPACE), trained_space=trained, **about)
    described = read_description(tmp_path)
    assert described.trained_space == trained
    assert described.document() == json.loads((tmp_path / CONFIG_FILE).read_text())
    for name, value in about.items():
        stored = getattr(described, name)
        assert (list(stored) if name == "class_names" else stored) == value


@pytest.mark.parametrize("trained", [SPACE, restrict(SPACE, kernel_sizes=[5]), compound(SPACE)])
def test_folders_that_only_name_their_space(folder: Path, trained: SearchSpace) -> None:
    config = json.loads((folder / CONFIG_FILE).read_text())
    del config["space"]
    choices = {
        name: [list(getattr(stage, name)) for stage in trained.stages]
        for name in ("kernel_sizes", "depths", "expand_ratios")
    }
    old = {
        "version": 1,
        "space": SPACE.name,
        "num_classes": 3,
        "resolutions": [32, 48],
        "trained_choices": {"space": trained.name, **choices},
    }
    (folder / CONFIG_FILE).write_text(json.dumps({**config, **old}))
    assert read_supernet(folder).space == SPACE
    assert read_description(folder).trained_space == trained
    for key, wrong in (
        ("space_identity", "0"),
        ("resolutions", 3),
        ("num_classes", None),
        ("space", "other"),
    ):
        (folder / CONFIG_FILE).write_text(json.dumps({**config, **old, key: wrong}))
        with pytest.raises(OfaToolkitError):
            read_supernet(folder)


def test_truncated_weights(folder: Path) -> None:
    weights = folder / WEIGHTS_FILE
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="damaged or truncated"):
        read_supernet(folder)


def test_weights_that_cannot_be_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Path.read_bytes

    def fail(path: Path) -> bytes:
        if path.name == WEIGHTS_FILE:
            raise OSError("Input/output error")
        return whole(path)

    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(CheckpointError, match="damaged or truncated: Input/output error"):
        read_supernet(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("stem.conv.bn.bias"), "lacks 'stem.conv.bn.bias', unlike the space"),
        (lambda t: t.update(more=torch.ones(1)), "holds 'more', unlike the space"),
        (lambda t: t.update({"stem.conv.bn.bias": torch.ones(2)}), r"has shape \(2,\).*needs \(8,\)"),
        (lambda t: t.update({"stem.conv.bn.bias": torch.ones(9)}), r"has shape \(9,\).*needs \(8,\)"),
        (lambda t: t["stem.conv.bn.bias"].fill_(float("nan")), "'stem.conv.bn.bias' is not finite"),
    ],
)
def test_weights_of_another_network(folder: Path, change: Callable[[Any], object], message: str) -> None:
    tensors = safetensors.torch.load_file(folder / WEIGHTS_FILE)
    change(tensors)
    safetensors.torch.save_file(tensors, folder / WEIGHTS_FILE)
    with pytest.raises((MismatchError, CheckpointError), match=message):
        read_supernet(folder)


def test_a_flipped_bit_is_noticed(folder: Path) -> None:
    weights = folder / WEIGHTS_FILE
    content = bytearray(weights.read_bytes())
    content[-4000] ^= 1
    weights.write_bytes(content)
    with pytest.raises(CheckpointError, match="not the ones that were saved"):
        read_supernet(folder)


def test_weights_without_a_digest_are_read(folder: Path) -> None:
    weights = folder / WEIGHTS_FILE
    tensors = safetensors.torch.load_file(weights)
    safetensors.torch.save_file(tensors, weights, metadata={"space": "any"})
    read_supernet(folder)


def test_missing_weights(folder: Path) -> None:
    (folder / WEIGHTS_FILE).unlink()
    with pytest.raises(CheckpointError, match="has no"):
        read_supernet(folder)


def test_images_are_named_in_a_command_where_they_are_here(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    def proposed() -> list[str]:
        run(["search", "--supernet", str(folder), "--maximize", "macs", "--macs", "1G", "--force"])
        return capsys.readouterr().err.splitlines()[-2:]

    for source, typed in {
        "imagefolder:photos": "imagefolder:DIR",
        "npz:images.npz": "npz:FILE",
        "fake:classes=3": "fake:classes=3",
        "fake": "fake",
    }.items():
        change_config(folder, recipe={"data": {"source": source}})
        assert load_supernet(folder).images_to_type == typed
    change_config(folder, recipe={"data": {"source": "imagefolder:photos"}})
    told = "DIR: its training images, which the subnet's batch-norm statistics come from."
    export = "Next: ofa-tk export --onnx --data imagefolder:{} --target onnxruntime-cpu"
    assert proposed() == [told, export.format("DIR")]
    Path("photos").mkdir()
    note, line = proposed()
    assert (note, line) == ("Wrote subnet.json", export.format("photos"))


def test_a_run_says_where_its_training_images_are_and_what_is_passed_on_does_not(folder: Path) -> None:
    assert load_supernet(folder).images_for_statistics == "imagefolder:DIR"
    change_config(folder, recipe={"data": {"source": "imagefolder:photos"}})
    assert load_supernet(folder).images_for_statistics == "imagefolder:photos"
    (folder.parent / "run.toml").write_text('[data]\nsource = "imagefolder:/home/me/photos"\n')
    assert load_supernet(folder).images_for_statistics == "imagefolder:/home/me/photos"
