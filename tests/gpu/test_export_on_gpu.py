"""Files on a GPU: ONNX Runtime's CUDA provider, and TensorRT where it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import ofa_toolkit as ofa

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "net.onnx"
    supernet = ofa.load_supernet("deps-compact-cifar10")
    ofa.export_onnx((supernet, supernet.space.smallest()), path, target="onnxruntime-cpu")
    return path


def test_onnx_runtime_on_cuda(gpu: str, file: Path) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has no CUDA provider: pip install onnxruntime-gpu")
    providers = {"cuda": ["CUDAExecutionProvider"], "cpu": ["CPUExecutionProvider"]}
    sessions = {name: onnxruntime.InferenceSession(file, providers=p) for name, p in providers.items()}
    assert sessions[gpu].get_providers()[0] == "CUDAExecutionProvider"
    side = sessions[gpu].get_inputs()[0].shape[-1]
    images = np.random.default_rng(0).standard_normal((1, 3, side, side)).astype(np.float32)
    (found,), (wanted,) = (s.run(None, {s.get_inputs()[0].name: images}) for s in sessions.values())
    np.testing.assert_allclose(found, wanted, atol=1e-2 * np.abs(wanted).max())


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_tensorrt_builds_and_agrees(gpu: str, tmp_path: Path, precision: str) -> None:
    tensorrt = pytest.importorskip("tensorrt", reason="tensorrt is not installed")
    from ofa_toolkit.pipelines.export.tensorrt import export_tensorrt

    assert gpu == "cuda"
    supernet = ofa.load_supernet("deps-compact-cifar10")
    version = ".".join(tensorrt.__version__.split(".")[:2])
    exported = ofa.export_onnx(
        (supernet, supernet.space.smallest()), target=f"tensorrt-{version}", precision=precision
    )
    engine = tmp_path / "net.engine"
    export_tensorrt(exported, engine, replace=False, force=False)
    assert engine.stat().st_size > 0
