"""What lies in a kit, and that equal kits are equal bytes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from ofa_toolkit.complexity import count_macs
from ofa_toolkit.core.errors import MeasurementError
from ofa_toolkit.latency.kit.build import KitSpec, build_kit, is_kit
from ofa_toolkit.spaces import Encoding, get_space, lower
from tests.heard import Heard

SPACE = get_space("mobilenet-v3-compact-compound")
SUBNETS = (SPACE.largest(), SPACE.smallest())
PROBES = Encoding(SPACE).encode(list(SUBNETS))
SPEC = KitSpec(
    target="board",
    opset=13,
    ir_version=7,
    operators=None,
    precision="fp16",
    has_typed_networks=True,
    batch_size=2,
)


def test_a_kit_by_its_parts(tmp_path: Path) -> None:
    heard, path = Heard(), tmp_path / "kit.zip"
    manifest = build_kit(path, SPEC, SPACE, PROBES, seed=3, reporter=heard)
    assert [(step.done, step.total) for step in heard.steps] == [(1, 2), (2, 2)]
    assert is_kit(path)
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        contents = {name: archive.read(name) for name in entries}
    networks = [f"networks/{n}.{kind}.onnx" for n in ("000", "001") for kind in ("fp32", "fp16")]
    assert [*entries] == [*networks, "measure.py", "kit.json", "README.txt"]
    for entry in entries.values():
        assert (entry.date_time, entry.external_attr >> 16) == ((1980, 1, 1, 0, 0, 0), 0o644)
        assert entry.compress_type == zipfile.ZIP_DEFLATED
    assert json.loads(contents["kit.json"]) == manifest
    assert (manifest["batch_size"], manifest["precision"], manifest["opset"]) == (2, "fp16", 13)
    assert manifest["is_for_device"]
    assert len(manifest["id"]) == 16
    for probe, row, subnet, number in zip(manifest["probes"], PROBES, SUBNETS, ("000", "001"), strict=True):
        assert (probe["id"], probe["row"]) == (number, row.tolist())
        assert probe["macs"] == count_macs(lower(SPACE, subnet))
        for file in probe["files"].values():
            assert file["sha256"] == hashlib.sha256(contents[file["name"]]).hexdigest()
    model = onnx.load_from_string(contents["networks/000.fp32.onnx"])
    assert [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim] == [2, 3, 32, 32]
    values = [numpy_helper.to_array(each).reshape(-1) for each in model.graph.initializer]
    large = [each for each in values if each.size > 2100]
    assert large
    for each in large:  # what repeats compresses
        assert np.array_equal(each[1021:2042], each[:1021])
        assert len(np.unique(each[:1021])) > 1000


def test_equal_kits_are_equal_bytes_and_others_have_another_name(tmp_path: Path) -> None:
    def built(spec: KitSpec, seed: int = 3) -> tuple[bytes, str, str]:
        manifest = build_kit(tmp_path / "kit.zip", spec, SPACE, PROBES[1:], seed=seed)
        with zipfile.ZipFile(tmp_path / "kit.zip") as archive:
            readme = archive.read("README.txt").decode()
        return (tmp_path / "kit.zip").read_bytes(), manifest["id"], readme

    plain = dataclasses.replace(SPEC, has_typed_networks=False)
    content, name, readme = built(plain)
    assert built(plain) == (content, name, readme)
    assert "for board: 1 networks." in readme
    assert "nvpmodel" in readme
    others = [
        built(dataclasses.replace(plain, target="other")),
        built(dataclasses.replace(plain, precision="fp32")),
        built(plain, seed=4),
        built(SPEC),
    ]
    assert len({name, *(other[1] for other in others)}) == 5
    assert "nvpmodel" not in built(dataclasses.replace(plain, has_clocks=False))[2]
    assert readme.endswith("    ofa-tk latency import results.jsonl\n")
    for software in ("onnxruntime-cpu", "tensorrt-8.2"):
        readme = built(dataclasses.replace(plain, target=software, is_for_device=False))[2]
        assert readme.endswith("    ofa-tk latency import results.jsonl --device NAME\n")
    some = dataclasses.replace(plain, operators=frozenset({"Add"}))
    with pytest.raises(MeasurementError, match="board parses no operator 'Conv'"):
        built(some)


def test_what_is_no_kit_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "kit.zip"
    assert not is_kit(path)
    path.write_bytes(b"PK")
    assert not is_kit(path)
    for name, text in (("kit.json", '{"format": "x"}'), ("other.json", "{}"), ("kit.json", "3")):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(name, text)
        assert not is_kit(path)
