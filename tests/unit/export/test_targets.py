"""Rows of software generations, and devices as targets."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from ofa_toolkit.core.errors import ExportError, UnknownNameError
from ofa_toolkit.core.precision import FilePrecision
from ofa_toolkit.export.target_devices import (
    gpu_supports,
    is_software,
    resolve_target,
    target_of_device,
)
from ofa_toolkit.export.targets import GENERATIONS, generation, generation_of
from ofa_toolkit.graphs.builder import NEWEST_OPSET, OLDEST_OPSET
from ofa_toolkit.latency.device import write_device
from tests.unit.export.samples import NANO, VOLTA, device


def test_rows_are_in_order_and_writable() -> None:
    tensorrt = [row for row in GENERATIONS if row.software.builds_engines]
    assert [row.since for row in tensorrt] == sorted(row.since for row in tensorrt)
    for row in GENERATIONS:
        assert OLDEST_OPSET <= row.export_opset <= min(row.max_opset, NEWEST_OPSET)
        assert row.sources
        assert generation(row.name) is row


@pytest.mark.parametrize(
    ("version", "name"),
    [
        ("7.1.3", "tensorrt-7.1"),
        ("7.2.3", "tensorrt-7.1"),
        ("8.0.3.4", "tensorrt-8.0"),
        ("8.2.1", "tensorrt-8.2"),
        ("8.4.3", "tensorrt-8.4"),
        ("8.5.2", "tensorrt-8.5"),
        ("8.6.1.6", "tensorrt-8.6"),
        ("9.3.0", "tensorrt-9.0"),
        ("10.3.0", "tensorrt-10.0"),
        ("10.16.1", "tensorrt-10.0"),
        ("11.4.1", "tensorrt-11.0"),
        ("12.0", "tensorrt-11.0"),
    ],
)
def test_version_to_generation(version: str, name: str) -> None:
    assert generation_of(version).name == name


@pytest.mark.parametrize("version", ["6.0.1", "5.1", "none", "latest"])
def test_versions_without_a_row_are_refused(version: str) -> None:
    with pytest.raises(ExportError, match=version):
        generation_of(version)


def test_operators_grow_with_the_version() -> None:
    sets = [row.operators for row in GENERATIONS if row.operators is not None]
    assert all(older <= newer for older, newer in itertools.pairwise(sets))
    assert ["HardSwish" in operators for operators in sets].index(True) == 4  # TensorRT 8.5


@pytest.mark.parametrize(
    ("capability", "fp16", "int8"),
    [
        ("5.2", False, False),
        ("5.3", True, False),
        ("6.1", False, True),
        ("6.2", True, False),
        ("7.0", True, True),
        ("7.2", True, True),
        ("8.7", True, True),
        ("10.0", True, True),
    ],
)
def test_precisions_of_gpus(capability: str, fp16: bool, int8: bool) -> None:
    assert gpu_supports(capability, "fp16") == fp16
    assert gpu_supports(capability, "int8") == int8
    assert gpu_supports(capability, "fp32")


def test_old_board_is_bound_to_what_its_image_holds() -> None:
    target = target_of_device(NANO)
    assert target.generation.name == "tensorrt-8.2"
    assert (target.max_opset, target.generation.max_ir_version) == (13, 7)
    assert not target.takes_dynamic_batch
    assert target.workspace_mib <= 512
    assert target.supports("fp16")


def test_int8_asked_on_a_device_without_it_is_refused_with_the_reason() -> None:
    with pytest.raises(ExportError, match=r"compute capability 5\.3.* no int8.*fp32, fp16") as caught:
        target_of_device(NANO).check_precision("int8")
    assert caught.value.hint == "--precision fp16"
    target_of_device(VOLTA).check_precision("int8")


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_generation_alone_knows_no_gpu(precision: FilePrecision) -> None:
    target = resolve_target("tensorrt-8.6")
    assert target.supports(precision) is None
    target.check_precision(precision)


def test_generation_without_quantisation_refuses_int8() -> None:
    with pytest.raises(ExportError, match=r"tensorrt-7\.1 reads no per-channel"):
        resolve_target("tensorrt-7.1").check_precision("int8")


def test_device_folder_is_a_target_and_its_variant_does_not_matter(tmp_path: Path) -> None:
    write_device(tmp_path / "nano", NANO)
    assert resolve_target("nano", [tmp_path]) == resolve_target("nano:made-up-fp32-1", [tmp_path])


@pytest.mark.parametrize(("version", "reason"), [("none", "runs no TensorRT"), ("unknown", "does not say")])
def test_device_without_tensorrt_says_so(tmp_path: Path, version: str, reason: str) -> None:
    write_device(tmp_path / "phone", device("phone", tensorrt=version, capability=None, kind="phone"))
    with pytest.raises(ExportError, match=reason) as caught:
        resolve_target("phone", [tmp_path])
    assert caught.value.hint == "--format litert"
    write_device(tmp_path / "npu", device("npu", tensorrt=version, capability=None, kind="npu"))
    with pytest.raises(ExportError, match=reason) as caught:
        resolve_target("npu", [tmp_path])
    assert "onnxruntime-cpu" in str(caught.value.hint)


def test_unknown_target_names_the_nearest(tmp_path: Path) -> None:
    write_device(tmp_path / "nano", NANO)
    with pytest.raises(UnknownNameError, match=r"Unknown target 'nanoo'") as caught:
        resolve_target("nanoo", [tmp_path])
    assert caught.value.hint == "Did you mean 'nano'?"


@pytest.mark.parametrize(
    ("asked", "name", "row"),
    [
        ("tensorrt-10.3", "tensorrt-10.3", "tensorrt-10.0"),
        ("TensorRT 8.2.1", "tensorrt-8.2.1", "tensorrt-8.2"),
        ("trt-8.5", "tensorrt-8.5", "tensorrt-8.5"),
        ("tensorrt-7.2", "tensorrt-7.2", "tensorrt-7.1"),
    ],
)
def test_a_version_is_taken_as_the_generation_it_belongs_to(asked: str, name: str, row: str) -> None:
    target = resolve_target(asked)
    assert (target.name, target.generation.name) == (name, row)
    assert resolve_target(target.name) == target


@pytest.mark.parametrize(
    ("asked", "problem", "nearest"),
    [
        ("tensorrt-12.0", "is of no known generation", "tensorrt-11.0"),
        ("TRT 6", "is of no known generation", "tensorrt-7.1"),
        ("tensorrt-latest", "names no version", "tensorrt-11.0"),
        ("TensorRT", "names no version", "tensorrt-11.0"),
    ],
)
def test_a_version_of_no_known_line_is_refused_with_the_known_ones(
    asked: str, problem: str, nearest: str
) -> None:
    with pytest.raises(UnknownNameError, match=f"'{asked}' {problem} .* tensorrt-8.2, ") as caught:
        resolve_target(asked)
    assert caught.value.hint == f"--target {nearest}"
    assert is_software(asked)
    resolve_target(nearest)


@pytest.mark.parametrize(
    "asked", ["onnxruntime-cpu", "ONNXRuntime-CPU", "ONNX Runtime CPU", "onnxruntime_cpu"]
)
def test_onnx_runtime_is_known_in_any_case_and_punctuation(asked: str) -> None:
    assert resolve_target(asked) == resolve_target("onnxruntime-cpu")
    assert resolve_target(asked).name == "onnxruntime-cpu"
    assert is_software(asked)


def test_no_other_chip_is_proposed_as_a_target() -> None:
    with pytest.raises(UnknownNameError) as caught:
        resolve_target("h100")
    assert caught.value.hint == "Name what it runs: --target tensorrt-10.3"


def test_processors_take_onnxruntime() -> None:
    target = target_of_device(device("xeon", tensorrt="none", capability=None, kind="cpu"))
    assert target.generation.name == "onnxruntime"
    assert target.supports("int8")
