"""The engine builder against a stand-in of each TensorRT API generation (no GPU was present)."""

from __future__ import annotations

import builtins
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from ofa_toolkit.core.errors import EngineError, MeasurementError, MissingDependencyError, VerificationError
from ofa_toolkit.core.precision import FilePrecision
from ofa_toolkit.core.rng import generator
from ofa_toolkit.export.comparison import ModelRunner
from ofa_toolkit.export.targets import generation_of
from ofa_toolkit.export.tensorrt import build_engine
from ofa_toolkit.latency.runtimes import RUNTIMES, RuntimeOptions
from ofa_toolkit.latency.runtimes import tensorrt as timing_runtime
from ofa_toolkit.tensorrt.engine import EngineOptions, EngineRunner, find_tensorrt
from tests.unit.export.samples import layers, model, quantised
from tests.unit.export.tensorrt_standin import GENERATIONS, HostMemory, make_library, names_of


def network(version: str, precision: FilePrecision, **options: Any) -> onnx.ModelProto:
    row = generation_of(version)
    if precision == "int8":
        return quantised(row.name, opset=row.export_opset, **options)
    return model(opset=row.export_opset, precision=precision, **options)


@pytest.mark.parametrize("version", GENERATIONS)
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_every_generation_builds_and_runs_every_precision(
    version: str, precision: FilePrecision, tmp_path: Path
) -> None:
    file = network(version, precision)
    cache = tmp_path / "timing.cache"
    library = make_library(version)
    options = EngineOptions(precision=precision, workspace_mib=64, timing_cache=cache)
    engine = build_engine(library, file.SerializeToString(), options)
    assert engine.version == version
    # In int8 the two convolutions of squeeze-excite stay in half precision.
    assert engine.layers == "7 layers with weights: " + (
        "2 in fp16, 5 in int8" if precision == "int8" else f"7 in {precision}"
    )
    assert cache.read_bytes() == b"timings"
    header = json.loads(engine.plan.partition(b"\0")[0])
    if precision == "fp32":
        assert not header["tf32"]
    images = generator(0, "tensorrt").standard_normal((1, 3, 8, 8), dtype=np.float32)
    runner = EngineRunner(library, engine.plan, HostMemory())
    np.testing.assert_array_equal(runner.run(images), ModelRunner(file)(images))
    assert runner.time(images, 10).shape == (10,)


@pytest.mark.parametrize("version", GENERATIONS)
def test_fp16_asked_and_fp32_built_is_refused(version: str) -> None:
    library = make_library(version, disobeys=True)
    content = network(version, "fp16").SerializeToString()
    with pytest.raises(VerificationError, match=r"'fp16' was promised, but the engine has .* in fp32"):
        build_engine(library, content, EngineOptions(precision="fp16"))


@pytest.mark.parametrize("version", GENERATIONS)
def test_open_batch_gets_a_profile(version: str) -> None:
    library = make_library(version)
    content = network(version, "fp32", batch_size=None).SerializeToString()
    engine = build_engine(library, content, EngineOptions(precision="fp32"))
    images = generator(0, "tensorrt").standard_normal((5, 3, 8, 8), dtype=np.float32)
    assert EngineRunner(library, engine.plan, HostMemory()).run(images).shape == (5, 4)


@pytest.mark.parametrize(
    ("fails", "message"),
    [("parse", "cannot parse the network: In node 3"), ("build", "cannot build an engine")],
)
def test_failures_say_what_tensorrt_said(fails: str, message: str) -> None:
    library = make_library("10.3.0", fails=fails)
    content = network("10.3.0", "fp32").SerializeToString()
    with pytest.raises(EngineError, match=message):
        build_engine(library, content, EngineOptions(precision="fp32"))


def test_timing_cache_of_another_gpu_is_begun_anew(tmp_path: Path) -> None:
    cache = tmp_path / "timing.cache"
    cache.write_bytes(b"of another GPU")
    content = network("8.5.3", "fp32").SerializeToString()
    build_engine(make_library("8.5.3"), content, EngineOptions(precision="fp32", timing_cache=cache))
    assert cache.read_bytes() == b"timings"


def test_damaged_engine_is_refused() -> None:
    with pytest.raises(EngineError, match="cannot load the engine"):
        EngineRunner(make_library("10.3.0"), b"damaged", HostMemory())


def test_stand_ins_differ_where_the_documentation_does() -> None:
    names = {version: names_of(version) for version in GENERATIONS}
    assert "MemoryPoolType" not in names["8.2.5"]["module"]
    assert "max_workspace_size" not in names["10.3.0"]["IBuilderConfig"]
    assert "num_bindings" not in names["10.3.0"]["ICudaEngine"]
    assert "num_io_tensors" not in names["8.4.3"]["ICudaEngine"]
    assert "FP16" not in names["11.4.1"]["BuilderFlag"]
    assert "EXPLICIT_BATCH" not in names["11.4.1"]["NetworkDefinitionCreationFlag"]
    library = make_library("11.4.1")
    with pytest.raises(AttributeError):
        _ = library.BuilderFlag.FP16
    with pytest.raises(AttributeError):
        library.Builder(None).create_builder_config().max_workspace_size = 1


@pytest.mark.parametrize("version", GENERATIONS)
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_every_generation_is_timed(
    version: str, precision: FilePrecision, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", make_library(version))
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr(timing_runtime, "TorchMemory", HostMemory)
    runtime = RUNTIMES["tensorrt"](RuntimeOptions(processor="cuda", precision=precision, batch_size=2))
    times = runtime.prepare(layers("relu6"), seed=0).time_runs(4)
    assert times.wall_ms.shape == (4,)
    assert (runtime.version, runtime.device_name) == (version, "host")


def test_timing_without_a_gpu_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MeasurementError, match="not on the processor 'cpu'"):
        RUNTIMES["tensorrt"](RuntimeOptions(processor="cpu"))
    monkeypatch.setitem(sys.modules, "tensorrt", make_library("8.6.1"))
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(MissingDependencyError, match="torch finds none here") as caught:
        RUNTIMES["tensorrt"](RuntimeOptions(processor="cuda"))
    assert "latency kit build" in str(caught.value.hint)


def test_missing_package_says_what_to_do_on_each_device(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_tensorrt(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "tensorrt":
            raise ImportError("No module named 'tensorrt'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_tensorrt)
    with pytest.raises(MissingDependencyError, match="tensorrt") as caught:
        find_tensorrt("run the build kit.")
    assert "JetPack" in str(caught.value.hint)
    assert "build kit" in str(caught.value.hint)
