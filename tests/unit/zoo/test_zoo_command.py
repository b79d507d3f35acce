"""`ofa-tk zoo` as a user types it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from ofa_tk.app import run
from ofa_toolkit.core import config
from ofa_toolkit.spaces.subnet_file import read_subnet
from ofa_toolkit.zoo.card import Card, write_card
from tests.unit.zoo.entries import card_document, write_entry
from tests.unit.zoo.mirror_server import serve


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OFA_TK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OFA_TK_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("OFA_TK_MIRROR", raising=False)
    monkeypatch.delenv("OFA_TK_OFFLINE", raising=False)
    monkeypatch.chdir(tmp_path)


class Result:
    """Exit code and what was printed."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def zoo(capsys: pytest.CaptureFixture[str]) -> Any:
    def call(*arguments: str) -> Result:
        capsys.readouterr()
        code = run(["zoo", *arguments])
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return call


def test_list(zoo: Any) -> None:
    result = zoo("list")
    assert result.code == 0
    line = next(line for line in result.out.splitlines() if line.startswith("ofa-resnet50"))
    assert line.split()[1:] == [
        "ofa-resnet50",
        "ImageNet",
        "(ILSVRC",
        "2012)",
        "MIT",
        "to",
        "download",
        "193",
        "MB",
    ]
    assert re.search(r"CC-BY-NC-4\.0 \(non-commercial\) +link only", result.out)
    names = [entry["name"] for entry in zoo("list", "--json", "--commercial").json()]
    assert "ofa-mobilenet-v3-w1.0" in names
    assert "alphanet" not in names
    assert zoo("list", "--space", "ofa-resnet50", "--licence", "apache", "--json").json() == []


def test_list_subnets(zoo: Any) -> None:
    listed = zoo("list", "--subnets", "--json").json()
    assert len(listed) == 20
    assert [subnet["macs"] for subnet in listed] == sorted(subnet["macs"] for subnet in listed)
    (tx2,) = (subnet for subnet in listed if subnet["latency_ms"] == 96)
    assert (tx2["supernet"], tx2["device"], tx2["batch_size"]) == (
        "ofa-proxyless-w1.3",
        "NVIDIA Jetson TX2",
        16,
    )
    table = zoo("list", "--subnets", "--space", "ofa-mobilenet-v3-w1.2")
    assert len(table.out.splitlines()) == 1 + 3


def test_show_an_entry(zoo: Any) -> None:
    result = zoo("show", "attentivenas")
    assert result.code == 0
    assert "**Commercial use is excluded by the owner of the weights.**" in result.out
    assert not result.out.startswith("---")
    document = zoo("show", "ofa-mobilenet-v3-w1.2", "--json").json()
    assert document["format"] == "ofa-toolkit/card"
    assert document["files"][0]["git_blob_sha1"] == "d75a3613bae216091f61fc4b7df77d49cc82ed32"


def test_show_and_write_a_published_subnet(zoo: Any, tmp_path: Path) -> None:
    name = "note10_lat@22ms_top1@76.6_finetune@25"
    result = zoo("show", name, "--out", "subnet.json")
    assert result.code == 0
    assert "top1_percent     76.6" in result.out
    found = read_subnet(tmp_path / "subnet.json")
    assert found.supernet == "ofa-mobilenet-v3-w1.0"
    assert found.subnet.resolution == 224
    assert found.search["published"]["latency_ms"] == 22.0
    again = zoo("show", name, "--out", "subnet.json")
    assert again.code == 1
    assert "--force" in again.err
    assert zoo("show", name, "--out", "subnet.json", "--force").code == 0
    assert zoo("show", "ofa-resnet50", "--out", "subnet.json").code == 2
    document = zoo("show", name, "--json").json()
    assert [stage["depth"] for stage in document["stages"]] == [2, 3, 3, 3, 4]


def test_unknown_names_get_the_nearest(zoo: Any) -> None:
    result = zoo("show", "ofa-resnet-50")
    assert result.code == 1
    assert "Did you mean 'ofa-resnet50'?" in result.err
    assert zoo("download", "ofa-resnet-50").code == 1


def test_download_says_what_goes_on(zoo: Any, tmp_path: Path) -> None:
    content = b"not a checkpoint" * 1000
    folder = tmp_path / "data" / "zoo" / "broken"
    folder.mkdir(parents=True)
    with serve(content) as mirror:
        file = {"path": "net", "mirrors": [f"{mirror.url}/net"]}
        document = card_document(
            "broken", availability="download", layout="official", space="mobilenet-v3-compact", files=[file]
        )
        write_card(folder / "card.toml", config.from_dict(Card, document))
        refused = zoo("download", "broken")
        assert refused.code == 1
        assert "Hint: --accept-unknown" in refused.err
        assert zoo("download", "broken", "--offline", "--accept-unknown").code == 1
        assert mirror.requests == []
        taken = zoo("download", "broken", "--accept-unknown")
    assert taken.code == 1
    assert "broken: 16 KB of 16 KB" in taken.err
    assert "Accepted 'net' of 'broken' as first seen: SHA-256" in taken.err
    assert "Error: " in taken.err
    assert "Traceback" not in taken.err
    assert zoo("verify", "broken").code == 0


def test_download_from_a_mirror_option(zoo: Any, tmp_path: Path) -> None:
    result = zoo("download", "ofa-resnet50", "--mirror", str(tmp_path / "nowhere"), "--offline")
    assert result.code == 1
    assert "does not exist" in result.err


def test_verify(zoo: Any, tmp_path: Path) -> None:
    write_entry(tmp_path / "data" / "zoo" / "mine", {"config.json": b"{}", "model.safetensors": b"12"})
    result = zoo("verify", "mine", "--json")
    assert result.code == 0
    assert result.json()["is_right"]
    (tmp_path / "data" / "zoo" / "mine" / "model.safetensors").write_bytes(b"13")
    wrong = zoo("verify", "mine", "--json")
    assert wrong.code == 1
    assert [finding["is_right"] for finding in wrong.json()["findings"]] == [True, False]
    assert "is not what its card says: model.safetensors" in wrong.err
    missing = zoo("verify", "ofa-resnet50", "--offline")
    assert missing.code == 1
    assert "'ofa-resnet50' is not on this machine" in missing.err
    assert "no files to check" in zoo("verify", "alphanet").err
    assert zoo("verify", "note10_lat-22ms_top1-76.6_finetune-25").code == 2


def test_push_refuses_before_it_asks_anybody(zoo: Any, tmp_path: Path) -> None:
    assert "not of the form" in zoo("push", "ofa-resnet50", "someone/tiny").err
    assert "its files are not in the folder" in zoo("push", "ofa-resnet50", "hf-hub:someone/tiny").err
