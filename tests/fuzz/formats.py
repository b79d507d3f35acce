"""Every format that the product reads: a good file of it, and what reads it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from PIL import Image

from ofa_tk.app import cli
from ofa_tk.session import Session
from ofa_toolkit.core import resources
from ofa_toolkit.core.journal import Journal
from ofa_toolkit.core.output_folder import check_output_folder, output_folder
from ofa_toolkit.core.rng import generator
from ofa_toolkit.evaluation.predictor.file import read_predictor
from ofa_toolkit.latency.importing import READERS, ImportContext, detect_format
from ofa_toolkit.latency.kit.build import is_kit
from ofa_toolkit.latency.kit.probes_file import Probes, read_probes, write_probes
from ofa_toolkit.pipelines.training.recipes import load_recipe
from ofa_toolkit.spaces import Encoding, get_space, sample_population
from ofa_toolkit.spaces.official_architectures import to_official
from ofa_toolkit.spaces.space_file import dumps_space, open_space
from ofa_toolkit.spaces.subnet_file import SubnetFile, read_subnet, write_subnet
from ofa_toolkit.supernets.importing.checkpoint_file import read_weights
from ofa_toolkit.training.checkpoint import read_checkpoint
from ofa_toolkit.training.metrics import read_metrics
from ofa_toolkit.training.run_folder import SUMMARY_FILE as SUMMARY
from ofa_toolkit.training.run_folder import read_summary
from ofa_toolkit.zoo.supernet import load_supernet

BUNDLED = resources.data_path("zoo") / "deps-compact-cifar10"
SPACE = get_space("mobilenet-v3-compact")
IMAGENET = get_space("ofa-mobilenet-v3-w1.0")


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Attributes:
        name: For messages.
        target: The file that is damaged, in a folder of its own.
        prepare: Writes it, and what has to lie beside it, into that folder.
        read: Reads it, given its path, as the product does.
        cost: Tests a fraction of the variants: one in so many, since each takes long.
    """

    name: str
    target: str
    prepare: Callable[[Path], object]
    read: Callable[[Path], object]
    cost: int = 1


def command(*words: object) -> None:
    """Run a command; what it raises is not caught."""
    cli.main([str(word) for word in words], prog_name="ofa-tk", standalone_mode=False, obj=Session())


def _writes(name: str, content: str | bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(
        content if isinstance(content, bytes) else content.encode()
    )


def _subnet(folder: Path) -> None:
    file = SubnetFile(space=SPACE, subnet=SPACE.largest(), supernet="deps-compact-cifar10")
    write_subnet(folder / "subnet.json", file)


def _official(folder: Path) -> None:
    text = json.dumps({**to_official(IMAGENET, IMAGENET.largest()), "r": [224]})
    (folder / "subnet.json").write_text(text)


def _front(folder: Path) -> None:
    words = ("--macs", "8M", "--pareto", folder / "front.json", "--out", folder / "best.json")
    command("search", "--supernet", BUNDLED.name, *words)


def _probes(folder: Path) -> None:
    population = sample_population(SPACE, 6, generator(0, "probes"))
    write_probes(
        folder / "probes.json", Probes(space=SPACE, population=population, latencies_ms=np.arange(1.0, 7.0))
    )


def _measured(name: str, delimiter: str = ",") -> Callable[[Path], object]:
    rows = [delimiter.join(["resolution", "d", "ks", "e", "latency_ms"])]
    population = sample_population(IMAGENET, 8, generator(0, "csv"))
    for number, subnet in enumerate(Encoding(IMAGENET).decode(population)):
        found = to_official(IMAGENET, subnet)
        cells = ["-".join(map(str, found[key])) for key in ("d", "ks", "e")]
        rows.append(delimiter.join([str(subnet.resolution), *cells, f"{10 + number}.5"]))
    return _writes(name, "\n".join(rows) + "\n")


def _import(path: Path, *, space: str = "ofa-mobilenet-v3-w1.0") -> None:
    context = ImportContext(space=get_space(space), subnets=(get_space(space).largest(),))
    READERS[detect_format(path)]((path,), context)


BLOCKS = "\n".join(
    f"Conv-input:{size}x{size}x3-output:{size // 2}x{size // 2}x16: {{mean: {size / 100}, count: 10}}"
    for size in (128, 160, 192, 224)
)
TIMES = json.dumps(
    [{"startComputeMs": i * 3.0, "endComputeMs": i * 3.0 + 2, "computeMs": 2.0} for i in range(20)]
)
PROFILE = json.dumps(
    [
        {"count": 50},
        *({"name": f"stem/conv{i}", "timeMs": 1.5, "averageMs": 0.03, "percentage": 3} for i in range(9)),
    ]
)
LOG = """&&&& RUNNING TensorRT.trtexec [TensorRT v8001] # trtexec --onnx=model.onnx --fp16
[05/01/2021-10:00:03] [I] Timing trace has 1000 queries over 3 s
[05/01/2021-10:00:03] [I] GPU Compute Time: min = 1.9 ms, max = 2.1 ms, mean = 2 ms, median = 2 ms
&&&& PASSED TensorRT.trtexec [TensorRT v8001] # trtexec --onnx=model.onnx --fp16
"""
RESULTS = "\n".join(
    json.dumps(line)
    for line in (
        {"type": "session", "format": "ofa-toolkit/kit-results", "version": 1, "space": SPACE.name,
         "backend": "trtexec", "precision": "fp16", "batch_size": 1, "tensorrt": "8201", "options": {}},
        {"type": "result", "probe": 0, "median_ms": 2.0, "num_runs": 50, "subnet": {}},
    )
)  # fmt: skip
METRICS = "\n".join(
    json.dumps({"step": step, "kind": "step", "loss": 2.0, "phase": "warm-up"}) for step in range(5)
)


def _onnx(folder: Path) -> None:
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    ends = [
        helper.make_tensor_value_info("x", kind, [1, 3, 8, 8]),
        helper.make_tensor_value_info("y", kind, [1, 4, 8, 8]),
    ]
    weight = onnx.numpy_helper.from_array(np.ones((4, 3, 1, 1), np.float32), "w")
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("Relu", ["c"], ["y"])]
    graph = helper.make_graph(nodes, "plain", ends[:1], ends[1:], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    text = '{"format": "ofa-toolkit/export", "version": 1, "space": "x", "macs": 3, "comparison": {}}'
    model.metadata_props.add(key="ofa-toolkit/export", value=text)
    onnx.save(model, folder / "model.onnx")


def _arrays(folder: Path) -> None:
    images = np.zeros((24, 8, 8, 3), np.uint8)
    labels = np.arange(24) % 3
    np.savez(
        folder / "data.npz", train_images=images, train_labels=labels, test_images=images, test_labels=labels
    )


def _photos(suffix: str) -> Callable[[Path], object]:
    def write(folder: Path) -> None:
        for number, name in enumerate(["cat", "dog"] * 4):
            path = folder / "photos" / name / f"{number}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.effect_noise((24, 24), 50).convert("RGB").save(path)

    return write


def _checkpoint(folder: Path) -> None:
    torch.save(
        {"state_dict": {"module.a.weight": torch.ones(3, 2), "b": torch.zeros(4)}, "epoch": 3},
        folder / "a.pt",
    )


def _own_checkpoint(folder: Path) -> None:
    torch.save(
        {"format": "ofa-toolkit/checkpoint", "version": 2, "state": {"step": 1}, "supernet": {}},
        folder / "a.pt",
    )


def _entry(folder: Path) -> None:
    for name in ("config.json", "card.toml", "accuracy_predictor.safetensors"):
        shutil.copy(BUNDLED / name, folder)


def _whole(folder: Path) -> None:
    shutil.copytree(BUNDLED, folder, dirs_exist_ok=True)


def _device(folder: Path) -> None:
    shutil.copytree(resources.data_path("latency_tables") / "epyc-zen5", folder / "tables" / "mine")
    text = (folder / "tables/mine/device.toml").read_text()
    (folder / "tables/mine/device.toml").write_text(text.replace('"epyc-zen5"', '"mine"'))
    _subnet(folder)


def _predict(path: Path) -> None:
    tables = path.parents[1]
    command("latency", "predict", tables.parent / "subnet.json", "--device", "mine", "--tables", tables)


def _report(path: Path) -> None:
    command("report", path, "--out", path.with_suffix(".html"), "--force")


def _check_output(path: Path) -> None:
    check_output_folder(path.parent, "network", replace=True)


def _output(folder: Path) -> None:
    with output_folder(folder / "out", "network") as staging:
        (staging / "a").write_text("a")


def _network(folder: Path) -> None:
    blocks = {"name": "MobileNetV3", "bn": {"momentum": 0.1, "eps": 1e-5}, "blocks": []}
    (folder / "net.config").write_text(json.dumps(blocks))
    torch.save({"state_dict": {"a": torch.ones(2)}}, folder / "init")
    (folder / "run.config").write_text('{"image_size": 224}')


def _described(path: Path) -> None:
    found = load_supernet(path.parent)
    found.trained_space.identity  # noqa: B018
    found.class_names  # noqa: B018


RECIPE = resources.find_entry("configs", "deps-compact-cifar10").path
STUDY = """title = "A try"
data = "fake"
seeds = [0, 1]
reference = "deps"

[[variants]]
label = "deps"
recipe = "deps-compact-cifar10"
epochs = 2
overrides = ["training.batch_size=64"]
"""

KIT = f"latency kit build --space {SPACE.name} --target onnxruntime-cpu --num-probes 3".split()


def _show(source: str, levels: int = 0) -> Callable[[Path], object]:
    """Look at images, so many folders above the file."""
    return lambda path: command("data", "show", f"{source}:{path.parents[levels - 1] if levels else path}")


FORMATS = (
    Format("subnet", "subnet.json", _subnet, read_subnet),
    Format("official subnet", "subnet.json", _official, lambda path: read_subnet(path, IMAGENET)),
    Format("published network", "net.config", _network, lambda path: load_supernet(path.parent)),
    Format("its settings", "run.config", _network, lambda path: load_supernet(path.parent)),
    Format("its weights", "init", _network, lambda path: load_supernet(path.parent)),
    Format("space", "space.toml", _writes("space.toml", dumps_space(SPACE)), open_space),
    Format(
        "recipe", "run.toml", _writes("run.toml", RECIPE.read_bytes()), lambda path: load_recipe(str(path))
    ),
    Format("supernet", "config.json", _entry, _described),
    Format("weights", "model.safetensors", _whole, lambda path: load_supernet(path.parent).network, 10),
    Format("predictor", "accuracy_predictor.safetensors", _entry, read_predictor),
    Format(
        "statistics",
        "batchnorm_images.safetensors",
        _whole,
        lambda p: load_supernet(p.parent).carried_statistics,
        3,
    ),
    Format("card", "card.toml", _entry, lambda path: command("zoo", "show", path.parent)),
    Format("front", "front.json", _front, _report, 3),
    Format("device", "tables/mine/device.toml", _device, _predict),
    Format("table", "tables/mine/ofa-tk-onnxruntime-fp32-1.safetensors", _device, _predict),
    Format("probes", "probes.json", _probes, lambda path: read_probes(path).measured()),
    Format("csv", "a.csv", _measured("a.csv"), _import),
    Format("german csv", "a.csv", _measured("a.csv", ";"), _import),
    Format("blocks", "a.yaml", _writes("a.yaml", BLOCKS), _import, 3),
    Format("trtexec times", "a.json", _writes("a.json", TIMES), _import),
    Format("trtexec profile", "a.json", _writes("a.json", PROFILE), _import),
    Format("trtexec log", "a.txt", _writes("a.txt", LOG), _import),
    Format("kit results", "a.jsonl", _writes("a.jsonl", RESULTS), lambda p: _import(p, space=SPACE.name)),
    Format("journal", "a.jsonl", _writes("a.jsonl", RESULTS), Journal),
    Format("kit", "kit.zip", lambda folder: command(*KIT, "--out", folder / "kit.zip"), is_kit, 3),
    Format("checkpoint", "a.pt", _checkpoint, read_weights),
    Format("own checkpoint", "a.pt", _own_checkpoint, read_checkpoint),
    Format("lint", "model.onnx", _onnx, lambda path: command("lint", path, "--target", "jetson-nano")),
    Format("verify", "model.onnx", _onnx, lambda path: command("verify", path)),
    Format("arrays", "data.npz", _arrays, _show("npz")),
    Format("png", "photos/cat/0.png", _photos("png"), _show("imagefolder", 2)),
    Format("jpeg", "photos/cat/0.jpg", _photos("jpg"), _show("imagefolder", 2)),
    Format(
        "study",
        "study.toml",
        _writes("study.toml", STUDY),
        lambda p: command("study", "status", "--out", p.parent),
    ),
    Format("metrics", "metrics.jsonl", _writes("metrics.jsonl", METRICS), read_metrics),
    Format("summary", SUMMARY, _writes(SUMMARY, '{"cost": []}'), lambda path: read_summary(path.parent)),
    Format("manifest", "out/.ofa-toolkit.json", _output, _check_output),
)
