"""Exported files of a supernet whose space has fewer input sizes than the registered one (`own-photos`)."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
import torch

from ofa_tk.app import run
from ofa_toolkit.export.metadata import FORMAT, read_metadata
from ofa_toolkit.pipelines.export.onnx_file import export_onnx
from ofa_toolkit.pipelines.export.options import ExportOptions
from ofa_toolkit.spaces import get_space
from ofa_toolkit.spaces.space_file import space_document
from ofa_toolkit.spaces.subnet_file import SubnetFile, write_subnet
from ofa_toolkit.supernets import Supernet, save_supernet

SPACE = get_space("mobilenet-v3-compact-96")


@pytest.fixture
def exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> onnx.ModelProto:
    """The file of the smallest subnet of a supernet for one of the space's input sizes."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    part = SPACE.with_resolutions((64,))
    save_supernet(tmp_path / "mine", Supernet(part))
    write_subnet("subnet.json", SubnetFile(space=part, supernet="mine", subnet=part.smallest()))
    return export_onnx(
        "subnet.json", options=ExportOptions(target="onnxruntime-cpu", keep_batchnorm=True)
    ).model


def verified(model: onnx.ModelProto, capsys: pytest.CaptureFixture[str], **changed: object) -> dict[str, str]:
    """Claim -> status of the file with those keys of its metadata changed."""
    entry = next(entry for entry in model.metadata_props if entry.key == FORMAT.name)
    entry.value = json.dumps(json.loads(entry.value) | changed)
    Path("file.onnx").write_bytes(model.SerializeToString())
    run(["verify", "file.onnx", "--json"])
    return {check["claim"]: check["status"] for check in json.loads(capsys.readouterr().out)["checks"]}


def test_every_claim_of_such_a_file_holds(
    exported: onnx.ModelProto, capsys: pytest.CaptureFixture[str]
) -> None:
    assert read_metadata(exported).space_table == space_document(SPACE.with_resolutions((64,)))
    assert "failed" not in verified(exported, capsys).values()


def test_files_of_before_name_the_space_alone(
    exported: onnx.ModelProto, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "failed" not in verified(exported, capsys, space_table=None).values()
    assert verified(exported, capsys, space_identity="0" * 16)["search space"] == "failed"


def test_another_table_than_the_identity_states_is_found(
    exported: onnx.ModelProto, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verified(exported, capsys, space_table=space_document(SPACE))["search space"] == "failed"


def test_a_supernet_that_is_elsewhere_has_to_be_named(
    exported: onnx.ModelProto, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("mine").rename("moved")
    assert verified(exported, capsys)["supernet"] == "not checked"
    with_images = ["verify", "file.onnx", "--data", "fake:classes=10,size=64,train=300,test=40"]
    capsys.readouterr()
    assert run(with_images) == 1
    assert capsys.readouterr().err.splitlines() == [
        "Error: The supernet 'mine', which the file was made from, is not here.",
        "Hint: Say where it is: --supernet NAME|DIR",
    ]
    assert run([*with_images, "--supernet", "moved"]) == 0
    assert run([*with_images, "--supernet", "./gone"]) == 1
    assert "No such folder: './gone'" in capsys.readouterr().err


def test_a_target_of_the_users_needs_its_tables(
    exported: onnx.ModelProto, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = next(entry for entry in exported.metadata_props if entry.key == FORMAT.name)
    entry.value = json.dumps(json.loads(entry.value) | {"target": "my-board"})
    Path("file.onnx").write_bytes(exported.SerializeToString())
    assert run(["verify", "file.onnx"]) == 1
    error = capsys.readouterr().err
    assert "was written for 'my-board'" in error
    assert "--tables DIR" in error
