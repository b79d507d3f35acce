"""`ofa-tk export`, `verify`, `lint` and `benchmark` on a small supernet, and what once went wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import safetensors.torch
import torch
from onnx import numpy_helper
from PIL import Image

from ofa_tk.app import run
from ofa_toolkit.complexity import count_params
from ofa_toolkit.core.errors import VerificationError
from ofa_toolkit.core.rng import generator
from ofa_toolkit.datasets.image_folder import read_image
from ofa_toolkit.datasets.transforms import Preprocessing, photo_transform
from ofa_toolkit.export.comparison import Comparison, check_comparison
from ofa_toolkit.export.exporter import check_precision
from ofa_toolkit.export.metadata import FORMAT, read_metadata
from ofa_toolkit.export.model_file import load_model
from ofa_toolkit.pipelines.export.onnx_file import export_onnx
from ofa_toolkit.pipelines.export.options import ExportOptions
from ofa_toolkit.pipelines.export.tensorrt import build_and_check
from ofa_toolkit.pipelines.prediction.predict import predict
from ofa_toolkit.spaces import get_space, lower
from ofa_toolkit.spaces.subnet_file import SubnetFile, write_subnet
from ofa_toolkit.spaces.supernet_description import CARRIED_IMAGES
from ofa_toolkit.supernets import Supernet, save_supernet
from tests.heard import Heard
from tests.unit.export.tensorrt_standin import HostMemory, make_library

SPACE = get_space("mobilenet-v3-compact")
DATA = "fake"
PREPROCESSING = Preprocessing(size=32, mean=[0.5] * 3, std=[0.25] * 3, interpolation="bilinear", crop=1.0)


@pytest.fixture(scope="module")
def supernet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("supernet")
    torch.manual_seed(0)
    names = [f"wave {index}" for index in range(10)]
    save_supernet(folder, Supernet(SPACE), class_names=names, preprocessing=PREPROCESSING)
    images = generator(0, "carried").integers(0, 256, (32, 3, 32, 32), dtype=np.uint8)
    safetensors.torch.save_file({"images": torch.from_numpy(images)}, folder / CARRIED_IMAGES)
    return folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, supernet: Path) -> Path:
    """An empty folder with a subnet.json searched for a Nano."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OFA_TK_CACHE", str(tmp_path / "cache"))
    subnet = SubnetFile(
        space=SPACE,
        supernet=str(supernet),
        subnet=SPACE.smallest(),
        predicted={"latency_ms": {"jetson-nano": {"value": 3.0, "precision": "fp16", "batch_size": 1}}},
    )
    write_subnet("subnet.json", subnet)
    return tmp_path


def out(capsys: pytest.CaptureFixture[str]) -> dict:
    return json.loads(capsys.readouterr().out)


def test_defaults_read_subnet_json_and_write_for_the_device_searched(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["export", "--onnx", "--json"]) == 0
    document = out(capsys)
    assert document["onnx"] == "subnet.onnx"
    metadata = read_metadata(load_model(here / "subnet.onnx"))
    assert (metadata.target, metadata.generation, metadata.precision) == (
        "jetson-nano",
        "tensorrt-8.2",
        "fp16",
    )
    assert metadata.batchnorm.kind == "carried"
    assert metadata.batchnorm.num_images == 32
    assert metadata.class_names[3] == "wave 3"
    assert metadata.preprocessing == PREPROCESSING
    assert "synthetic" in metadata.comparison["images"]
    # A second export replaces our own default output; another file needs --force.
    assert run(["export", "--onnx"]) == 0
    (here / "subnet.onnx").write_bytes(b"somebody else's")
    assert run(["export", "--onnx"]) == 1
    assert "was not written by ofa-toolkit" in capsys.readouterr().err


def test_latency_predicted_for_another_precision_is_pointed_out(here: Path) -> None:
    [warning] = export_onnx("subnet.json", precision="fp32").warnings
    assert "predicted for precision fp16, the file has fp32: --precision fp16" in warning
    heard = Heard()
    exported = export_onnx("subnet.json", reporter=heard)
    assert (exported.form.precision, exported.warnings) == ("fp16", ())
    assert "Precision fp16, which the latency on jetson-nano was predicted for" in heard.messages
    assert export_onnx("subnet.json", options=ExportOptions(target="tensorrt-8.2")).warnings == ()


def test_latency_of_another_runtime_is_not_carried_on(here: Path) -> None:
    entry = {"value": 6.6, "runtime": "pytorch", "precision": "fp32", "batch_size": 1}
    document = json.loads(Path("subnet.json").read_text())
    document["predicted"]["latency_ms"] = {
        "jetson-nano:a": entry,
        "jetson-nano:b": {**entry, "runtime": "tensorrt"},
    }
    exported = export_onnx(document)
    assert list(exported.metadata.predicted["latency_ms"]) == ["jetson-nano:b"]
    [warning] = exported.warnings
    assert "on jetson-nano:a was predicted for pytorch; this file is for tensorrt" in warning


def test_a_network_without_its_classifier_gives_its_maps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    space = get_space("efficientnet-lite0").with_num_classes(3)
    save_supernet(
        "net", Supernet(space), class_names=list("abc"), preprocessing={**PREPROCESSING, "size": 64}
    )
    write_subnet("subnet.json", SubnetFile(space=space, supernet="net", subnet=space.smallest(96)))
    words = ["export", "--features", "--onnx", "maps.onnx", "--keep-batchnorm", "--input", "uint8"]
    assert run([*words, "--target", "onnxruntime-cpu", "--json"]) == 0
    stated = out(capsys)["metadata"]
    outputs = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in load_model("maps.onnx").graph.output
    }
    assert outputs == {
        name: [1, entry["channels"], entry["size"], entry["size"]]
        for name, entry in stated["features"].items()
    }
    assert [entry["size"] for entry in stated["features"].values()] == [12, 6, 3]
    assert stated["comparison"]["agreement_percent"] is None
    assert run(["verify", "maps.onnx"]) == 0
    model = load_model("maps.onnx")
    stated["features"]["stride8"]["channels"] += 1
    onnx.helper.set_model_props(model, {FORMAT.name: json.dumps(stated)})
    onnx.save(model, "changed.onnx")
    capsys.readouterr()
    assert run(["verify", "changed.onnx", "--json"]) == 1
    failed = [check["claim"] for check in out(capsys)["checks"] if check["status"] == "failed"]
    assert failed == ["maps"]
    assert run(["predict", "maps.onnx", "maps.onnx"]) == 1
    assert "names no classes" in capsys.readouterr().err
    for refused in (["--tensorrt"], ["--bundle", "b"], ["--output", "logits"], ["--precision", "int8"]):
        assert run(["export", "--features", *refused, "--data", DATA, "--target", "jetson-orin-nano"]) != 0


def test_the_exported_file_is_not_as_large_as_the_uncut_network(here: Path) -> None:
    exported = export_onnx("subnet.json", precision="fp32")
    largest = count_params(lower(SPACE, SPACE.largest()))
    assert len(exported.content) < 1.2 * 4 * exported.metadata.params + 60_000
    assert exported.metadata.params < 0.5 * largest


def test_int8_asked_on_a_device_without_it_fails_before_any_work(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["export", "--onnx", "--precision", "int8", "--data", DATA]) == 1
    error = capsys.readouterr().err
    assert "'int8' is not possible on jetson-nano" in error
    assert "--precision fp16" in error
    assert list(here.glob("*.onnx")) == []


def test_fp16_asked_and_fp32_built_is_never_written(here: Path) -> None:
    exported = export_onnx("subnet.json", options=ExportOptions(precision="fp16"))
    weights = {tensor.data_type for tensor in exported.model.graph.initializer}
    assert weights == {onnx.TensorProto.FLOAT16}
    assert exported.model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    full = export_onnx("subnet.json", precision="fp32")
    with pytest.raises(VerificationError, match="'fp16' was asked"):
        check_precision(full.model, "fp16")
    figures, plan = build_and_check(exported, make_library("8.2.5"), HostMemory())
    assert "in fp16" in figures["layers"]
    assert plan
    with pytest.raises(VerificationError, match="'fp16' was promised"):
        build_and_check(exported, make_library("8.2.5", disobeys=True), HostMemory())


def test_data_gives_statistics_ranges_and_accuracy(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["export", "--onnx", "q.onnx", "--target", "onnxruntime-cpu", "--precision", "int8"]
    assert run(command) == 1
    assert "int8 needs real images" in capsys.readouterr().err
    assert run([*command, "--data", DATA, "--max-drop", "100", "--json"]) == 0
    metadata = out(capsys)["metadata"]
    assert metadata["batchnorm"]["kind"] == "data"
    assert metadata["quantisation"]["num_images"] > 0
    # 7 bits, for processors that saturate in sums of full weights.
    assert metadata["quantisation"]["weight_bits"] == 7
    assert metadata["quantisation"]["folds_hard_sigmoid"] is True
    stored = [t for t in onnx.load("q.onnx").graph.initializer if t.data_type == onnx.TensorProto.INT8]
    assert max(abs(numpy_helper.to_array(t).astype(int)).max() for t in stored if len(t.dims) > 1) <= 64
    assert metadata["comparison"]["file_top1_percent"] is not None
    run(["verify", "q.onnx", "--json"])
    checks = {check["claim"]: check["status"] for check in out(capsys)["checks"]}
    assert checks.pop("predicted latency on jetson-nano") == "failed"  # it is made up
    assert set(checks.values()) == {"passed"}
    assert {"weights from the supernet", "graph and 8-bit ranges", "outputs"} <= checks.keys()


def test_verify_finds_changed_ranges_and_says_what_it_cannot_check(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ExportOptions(
        target="tensorrt-8.6", precision="int8", batch_size=3, data=DATA, max_accuracy_drop=100.0
    )
    model = export_onnx("subnet.json", options=options).model

    def verify(edit: Callable[[onnx.ModelProto], None]) -> dict[str, dict]:
        changed = onnx.ModelProto()
        changed.CopyFrom(model)
        edit(changed)
        Path("changed.onnx").write_bytes(changed.SerializeToString())
        run(["verify", "changed.onnx", "--json"])
        return {check["claim"]: check for check in out(capsys)["checks"]}

    def widen(changed: onnx.ModelProto) -> None:
        weights = {tensor.name for tensor in changed.graph.initializer}
        quantise = [n for n in changed.graph.node if n.op_type == "QuantizeLinear"]
        node = next(n for n in quantise if n.input[0] not in weights)
        tensor = next(t for t in changed.graph.initializer if t.name == node.input[1])
        tensor.CopyFrom(
            numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(1.01), tensor.name)
        )

    assert verify(widen)["graph and 8-bit ranges"]["status"] == "failed"
    gone = {**read_metadata(model).to_document()["batchnorm"], "images": "npz:gone.npz"}
    without = verify(edit_metadata("batchnorm", gone))
    assert without["supernet"]["status"] == "passed"
    for claim in ("weights from the supernet", "graph and 8-bit ranges", "outputs"):
        assert without[claim]["status"] == "not checked"
        assert "--data SOURCE" in without[claim]["detail"]


@pytest.mark.parametrize(("precision", "drop"), [("fp16", 0.6), ("int8", 2.1)])
def test_lost_accuracy_is_refused_above_the_limit(precision: str, drop: float) -> None:
    comparison = Comparison(
        images="100 images",
        num_images=100,
        max_relative_error=0.1,
        agreement_percent=90.0,
        network_top1_percent=90.0,
        file_top1_percent=90.0 - drop,
    )
    with pytest.raises(VerificationError, match=rf"{precision} loses {drop:.2f} points") as caught:
        check_comparison(comparison, precision)
    assert "--max-drop" in str(caught.value.hint)
    check_comparison(comparison, precision, max_accuracy_drop=3.0)


def test_a_file_that_disagrees_is_refused_whatever_the_accuracy() -> None:
    """A network that is wrong on every image cannot lose accuracy, and would excuse any file."""
    comparison = Comparison(
        images="100 images",
        num_images=100,
        max_relative_error=0.1,
        agreement_percent=26.8,
        network_top1_percent=0.0,
        file_top1_percent=0.0,
    )
    for precision in ("fp16", "int8"):
        with pytest.raises(VerificationError, match=r"names another class than the network for 73.2 %"):
            check_comparison(comparison, precision, max_accuracy_drop=100.0)


def test_images_of_other_classes_are_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = np.zeros((40, 32, 32, 3), np.uint8)
    labels = np.arange(40) % 4
    np.savez(
        "four.npz",
        **{f"{s}_images": images for s in ("train", "test")},
        train_labels=labels,
        test_labels=labels,
    )
    assert run(["export", "--onnx", "--data", "npz:four.npz"]) == 1
    assert "has 10 classes, npz:four.npz 4" in capsys.readouterr().err


def test_statistics_are_never_kept_in_silence(
    here: Path, supernet: Path, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = tmp_path_factory.mktemp("bare")
    for name in ("config.json", "model.safetensors"):
        os.link(supernet / name, bare / name)
    command = ["export", "--onnx", "--supernet", str(bare)]
    assert run(command) == 1
    error = capsys.readouterr().err
    assert "Nothing to recompute batch-norm statistics of" in error
    assert "--keep-batchnorm" in error
    assert run([*command, "--keep-batchnorm"]) == 0
    assert "fit none of its subnets" in capsys.readouterr().err
    assert read_metadata(load_model("subnet.onnx")).batchnorm.kind == "stored"


def test_verify_derives_everything_again(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["export", "--onnx", "--target", "tensorrt-8.6"]) == 0
    capsys.readouterr()
    run(["verify", "subnet.onnx", "--json"])
    checks = {check["claim"]: check for check in out(capsys)["checks"]}
    for claim in (
        "search space",
        "form",
        "graph",
        "weights",
        "supernet",
        "weights from the supernet",
        "outputs",
    ):
        assert checks[claim]["status"] == "passed", checks[claim]
    # The made-up prediction is found out.
    assert checks["predicted latency on jetson-nano"]["status"] == "failed"


def edit_weight(model: onnx.ModelProto) -> None:
    tensor = next(t for t in model.graph.initializer if t.name == "stem.conv.weight")
    values = numpy_helper.to_array(tensor).copy()
    values[0, 0, 0, 0] += 0.01
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def edit_half_weight(model: onnx.ModelProto) -> None:
    tensor = next(t for t in model.graph.initializer if t.name == "stem.conv.weight")
    values = numpy_helper.to_array(tensor).copy()
    values[0, 0, 0, 0] = np.nan
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def edit_stride(model: onnx.ModelProto) -> None:
    node = next(node for node in model.graph.node if node.op_type == "HardSigmoid")
    next(a for a in node.attribute if a.name == "alpha").f = 0.2


def edit_metadata(key: str, value: object) -> Callable[[onnx.ModelProto], None]:
    def edit(model: onnx.ModelProto) -> None:
        entry = next(entry for entry in model.metadata_props if entry.key == FORMAT.name)
        document = json.loads(entry.value)
        document[key] = value
        entry.value = json.dumps(document)

    return edit


@pytest.mark.parametrize(
    ("edit", "claim"),
    [
        (edit_metadata("weights_identity", "0" * 64), "weights"),
        (
            edit_metadata("batchnorm", {"kind": "carried", "images": "x", "num_images": 5, "seed": 0}),
            "batch norm",
        ),
        (edit_metadata("predicted", {"params": {"value": 1}}), "predicted params"),
        (edit_weight, "weights"),
        (edit_stride, "graph"),
        (edit_metadata("macs", 1), "MACs and parameters"),
        (edit_metadata("toolkit", "9.9"), "toolkit"),
        (edit_metadata("precision", "fp16"), "form"),
        (edit_metadata("batch_size", 4), "form"),
        (edit_metadata("supernet_identity", "0" * 64), "supernet"),
        (edit_metadata("space_identity", "0" * 16), "search space"),
        (edit_metadata("generation", "tensorrt-9.0"), "target's software"),
        (edit_metadata("class_names", ["cat"]), "space's table, preprocessing and class names"),
        (edit_metadata("preprocessing", {}), "space's table, preprocessing and class names"),
    ],
)
def test_verify_finds_what_was_changed(
    here: Path, capsys: pytest.CaptureFixture[str], edit: Callable[[onnx.ModelProto], None], claim: str
) -> None:
    model = export_onnx("subnet.json", precision="fp32").model
    edit(model)
    Path("changed.onnx").write_bytes(model.SerializeToString())
    assert run(["verify", "changed.onnx", "--json"]) == 1
    checks = {check["claim"]: check["status"] for check in out(capsys)["checks"]}
    assert checks[claim] == "failed"


def test_verify_works_every_figure_of_the_comparison_out_again(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = export_onnx("subnet.json").model
    stated = read_metadata(model).to_document()["comparison"]
    for name, value in (
        ("agreement_percent", 50.0),
        ("max_relative_error", 0.5),
        ("largest_activation", 1.0),
    ):
        edit_metadata("comparison", {**stated, name: value})(model)
        Path("changed.onnx").write_bytes(model.SerializeToString())
        assert run(["verify", "changed.onnx", "--json"]) == 1
        checks = {check["claim"]: check for check in out(capsys)["checks"]}
        assert checks["outputs"]["status"] == "failed"
        assert name in checks["outputs"]["detail"]


@pytest.mark.slow
def test_every_field_of_an_int8_file_is_covered(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ExportOptions(target="onnxruntime-cpu", precision="int8", data=DATA, max_accuracy_drop=100.0)
    model = export_onnx("subnet.json", options=options).model
    document = read_metadata(model).to_document()
    document["predicted"] = {}  # the made-up latency
    other: dict[str, object] = {
        "space_table": {"name": "x"},
        "num_classes": 11,
        "subnet": {**document["subnet"], "resolution": 64},
        "supernet": "deps-compact-cifar10",
        "batchnorm": {**document["batchnorm"], "num_images": 64},
        "target": "tensorrt-8.6",
        "precision": "fp32",
        "batch_size": 2,
        "quantisation": {**document["quantisation"], "seed": 1},
        "preprocessing": {},
        "class_names": [],
        "predicted": {"macs": {"value": 7}},
        "comparison": {**document["comparison"], "file_top1_percent": 99.0},
    }
    for field in sorted(document.keys() - {"format", "version"}):
        value = document[field]
        other.setdefault(field, value + 1 if isinstance(value, int) else f"{value}x")
        for entry in [e for e in model.metadata_props if e.key == FORMAT.name]:
            entry.value = json.dumps({**document, field: other[field]})
        Path("changed.onnx").write_bytes(model.SerializeToString())
        assert run(["verify", "changed.onnx", "--json"]) == 1, field
        capsys.readouterr()


def test_a_weight_that_is_no_number_is_found(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = export_onnx("subnet.json", options=ExportOptions(precision="fp16")).model
    edit_half_weight(model)
    Path("changed.onnx").write_bytes(model.SerializeToString())
    assert run(["verify", "changed.onnx", "--json"]) == 1
    checks = {check["claim"]: check["status"] for check in out(capsys)["checks"]}
    assert checks["weights from the supernet"] == "failed"


def test_files_that_are_not_ours_are_told_apart(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("noise.onnx").write_bytes(b"\x08\x07 this is no model")
    assert run(["verify", "noise.onnx"]) == 1
    assert "is not an ONNX file" in capsys.readouterr().err
    model = export_onnx("subnet.json").model
    del model.metadata_props[:]
    Path("foreign.onnx").write_bytes(model.SerializeToString())
    assert run(["verify", "foreign.onnx"]) == 1
    assert "carries no metadata" in capsys.readouterr().err
    assert run(["lint", "foreign.onnx", "--target", "jetson-nano"]) == 0
    assert run(["lint", "absent.onnx", "--target", "jetson-nano"]) == 1


def test_lint_command_rejects_with_the_rule(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["export", "--onnx", "--target", "tensorrt-8.6", "--dynamic-batch"]) == 0
    capsys.readouterr()
    assert run(["lint", "subnet.onnx", "--target", "jetson-nano", "--json"]) == 1
    rules = {finding["rule"] for finding in out(capsys)["findings"]}
    assert {"opset", "operator", "static-shape"} <= rules
    assert run(["lint", "subnet.onnx", "--target", "jetson-agx-orin"]) == 0


def test_engine_elsewhere_becomes_a_kit(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["export", "--tensorrt", "--precision", "fp16", "--json"]) == 0
    outcome = out(capsys)["tensorrt"]
    assert outcome["kit"] == "subnet-kit"
    assert "--workspace=512 --fp16" in outcome["command"]
    assert outcome["reason"]
    assert sorted(path.name for path in Path("subnet-kit").iterdir()) == [
        ".ofa-toolkit.json",
        "README.md",
        "build.sh",
        "check.py",
        "input.bin",
        "kit.json",
        "model.onnx",
    ]
    # A kit of ours is replaced; other folders, and what has no engine, are refused before the work.
    assert run(["export", "--tensorrt", "--precision", "fp16"]) == 0
    for folder in (Path("other-kit"), Path("there")):
        folder.mkdir()
        (folder / "diary.txt").write_text("dear")
    capsys.readouterr()
    for arguments, message in (
        (["--tensorrt", "--target", "onnxruntime-cpu"], "onnxruntime-cpu does not run TensorRT"),
        (["--tensorrt", "other.engine"], "'other-kit' holds files"),
        (["--bundle", "there"], "'there' holds files"),
    ):
        assert run(["export", *arguments]) == 1
        error = capsys.readouterr().err
        assert message in error
        assert "Recomputing" not in error


RUNNER_GUARD = """
import runpy, sys
class Guard:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in {'torch', 'onnx', 'ofa_toolkit', 'PIL', 'safetensors'}:
            raise ImportError(name)
sys.meta_path.insert(0, Guard())
sys.argv = ['run.py', *sys.argv[1:]]
runpy.run_path(sys.argv[0], run_name='__main__')
"""


def test_bundle_runs_with_numpy_and_onnxruntime_alone(here: Path, supernet: Path) -> None:
    assert run(["export", "--bundle", "bundle", "--target", "onnxruntime-cpu"]) == 0
    pixels = generator(0, "picture").integers(0, 256, (48, 40, 3), dtype=np.uint8)
    np.save("picture.npy", pixels)

    def run_bundle(*paths: str, guard: str = RUNNER_GUARD) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", guard, *paths]
        return subprocess.run(command, cwd=here / "bundle", capture_output=True, text=True, check=False)

    process = run_bundle(str(here / "picture.npy"))
    assert process.returncode == 0, process.stderr
    assert "picture.npy: wave " in process.stdout
    exported = export_onnx("subnet.json", options=ExportOptions(target="onnxruntime-cpu"))

    def expected(image: Image.Image) -> str:
        judged = photo_transform(PREPROCESSING, 32, None)(image)
        with torch.inference_mode():
            [shares] = exported.network.network(judged[None]).softmax(1)
        return f"wave {shares.argmax()} ({shares.max():.1%})"

    assert expected(Image.fromarray(pixels)) in process.stdout
    # Pictures are read as in training: turned as their EXIF data says, 16 bits scaled.
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(pixels).save("phone.jpg", exif=exif)
    Image.fromarray(pixels[..., 0] * np.uint16(257)).save("scan.png")
    for name in ("phone.jpg", "scan.png"):
        process = run_bundle(str(here / name), guard=RUNNER_GUARD.replace("'PIL', ", ""))
        assert f"{name}: {expected(read_image(Path(name)))}" in process.stdout, process.stderr
    # `ofa-tk predict` says the same of the bundle, of its file, and of the supernet it came from.
    names = ["phone.jpg", "scan.png", "picture.npy"]
    models = {"bundle": None, "bundle/model.onnx": None, str(supernet): "subnet.json"}
    for model, subnet in models.items():
        found = predict(model, names, subnet=subnet, top=1)
        shares = [f"{item.guesses[0].class_name} ({item.guesses[0].probability:.1%})" for item in found]
        assert shares == [
            *(expected(read_image(Path(name))) for name in names[:2]),
            expected(Image.fromarray(pixels)),
        ]
    process = run_bundle(str(here / "phone.jpg"))
    assert "pictures need Pillow: python3 -m pip install pillow" in process.stderr
    np.save("flat.npy", pixels[..., 0])
    for wrong in ("flat.npy", "absent.npy", "absent.jpg"):
        process = run_bundle(str(here / wrong))
        assert process.returncode == 1
        assert process.stderr.startswith(f"Cannot classify '{here / wrong}' as pixels (height, width, 3)")
        assert process.stderr.count("\n") == 1
    assert "python3 run.py IMAGE" in run_bundle().stderr
    names = {path.name for path in (here / "bundle").iterdir()}
    assert names >= {"model.onnx", "labels.txt", "preprocessing.json", "run.py", "picture.py", "MODEL.md"}
    assert "| predicted milliseconds on jetson-nano" in Path("bundle/MODEL.md").read_text()
    assert run(["verify", "bundle/model.onnx", "--supernet", str(supernet)]) == 1  # the made-up prediction


def test_files_take_pixels_and_give_the_likeliest_classes(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pixels = generator(1, "picture").integers(0, 256, (48, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save("picture.png")
    plain = ["export", "--target", "onnxruntime-cpu", "--onnx"]
    assert run([*plain, "plain.onnx"]) == 0
    pixel_file = [*plain, "top.onnx", "--input", "uint8", "--output", "topk=3", "--dynamic-batch", "--json"]
    capsys.readouterr()
    assert run(pixel_file) == 0
    assert out(capsys)["metadata"]["ends"] == {"input": "uint8", "layout": "NHWC", "output": "topk", "k": 3}
    guesses = {}
    for name in ("plain.onnx", "top.onnx"):
        assert run(["predict", name, "picture.png", "--top", "3", "--json"]) == 0
        guesses[name] = out(capsys)
    for one, other in zip(*(guesses[n]["pictures"][0]["guesses"] for n in guesses), strict=True):
        assert one["class_name"] == other["class_name"]
        assert abs(one["probability"] - other["probability"]) < 1e-4
    run(["verify", "top.onnx", "--json"])
    checks = {check["claim"]: check["status"] for check in out(capsys)["checks"]}
    assert set(checks.values()) == {"passed", "failed"}  # the made-up latency
    assert checks["input and output"] == checks["outputs"] == "passed"
    # Old boards take no bytes: the same pixels as float32, and the output says so.
    assert run(["export", "--onnx", "--input", "uint8", "--tensorrt", "--output", "probabilities"]) == 0
    assert "0 to 255 as float32, NHWC" in capsys.readouterr().out
    for wrong, told in (("topk=11", "has 10 classes"), ("labels", "is no output"), ("topk=0", "classes")):
        assert run(["export", "--onnx", "--output", wrong]) == 1
        assert told in capsys.readouterr().err


def test_killed_half_way_it_leaves_no_file(here: Path) -> None:
    script = (
        "import os, signal\n"
        "from ofa_toolkit.pipelines.export import onnx_file as export\n"
        "real = export.finish\n"
        "def finish(*a, **k):\n"
        "    real(*a, **k)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "export.finish = finish\n"
        "export.export_onnx('subnet.json', 'killed.onnx')\n"
    )
    process = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True)
    assert process.returncode == -signal.SIGKILL, process.stderr
    assert [path.name for path in here.iterdir() if path.is_file()] == ["subnet.json"]


def test_benchmark_compares_files_and_sweeps_batches(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["export", "--onnx", "a.onnx", "--target", "onnxruntime-cpu", "--dynamic-batch"]) == 0
    assert run(["export", "--onnx", "b.onnx", "--target", "onnxruntime-cpu", "--precision", "fp16"]) == 0
    capsys.readouterr()
    command = ["benchmark", "a.onnx", "b.onnx", "--provider", "cpu", "--threads", "1", "--runs", "5"]
    assert run([*command, "--batch-size", "1", "--batch-size", "4", "--json"]) == 0
    result = out(capsys)
    assert [(t["file"], t["batch_size"]) for t in result["timings"]] == [
        ("a.onnx", 1),
        ("b.onnx", 1),
        ("a.onnx", 4),
        ("b.onnx", 1),
    ]
    assert all(t["median_ms"] > 0 and t["p90_ms"] >= t["median_ms"] for t in result["timings"])
    assert result["warnings"]
    assert run(["benchmark", "b.onnx", "--batch-size", "4"]) == 1
    assert run(["benchmark", "a.onnx", "--provider", "tensorrt"]) == 1
    assert "has no 'tensorrt'" in capsys.readouterr().err


def test_usage_errors(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["export", "--onnx", "--format", "ncnn"]) == 2
    assert run(["export", "--out", "x"]) == 2
    assert run(["export", "--onnx", "--dynamic-batch", "--batch-size", "2"]) == 2
    assert run(["export", "--onnx", "--dynamic-batch"]) == 1
    assert "need a fixed batch size" in capsys.readouterr().err
    assert run(["export", "--onnx", "--target", "jetson-nona"]) == 1
    assert "Did you mean 'jetson-nano'" in capsys.readouterr().err
    assert run(["export", "--onnx", "--target", "pixel1"]) == 1
    assert "Hint: --format litert" in capsys.readouterr().err


def test_weights_that_must_be_downloaded_are_named_with_size_and_place(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    space = get_space("ofa-mobilenet-v3-w1.0")
    subnet = SubnetFile(space=space, supernet=space.name, subnet=space.smallest())
    write_subnet("imagenet.json", subnet)
    arguments = ["export", "--onnx", "--subnet", "imagenet.json", "--target", "jetson-nano", "--offline"]
    assert run(arguments) == 1
    error = capsys.readouterr().err
    assert "MB" in error
    assert "Without --offline it comes from" in error
