"""What the folder of a situation holds beforehand, by name. What takes long is made once and copied."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
import torch
from PIL import Image

from ofa_tk.app import run
from ofa_toolkit.complexity import count_macs
from ofa_toolkit.core import resources
from ofa_toolkit.core.rng import generator
from ofa_toolkit.latency.kit.probes_file import Probes, write_probes
from ofa_toolkit.spaces import Encoding, get_space, lower, sample_population
from ofa_toolkit.spaces.official_architectures import to_official
from ofa_toolkit.spaces.space_file import dumps_space

BUNDLED = "deps-compact-cifar10"

Make = Callable[[Path], object]


def typed(*words: str) -> None:
    """Run a command that has to succeed."""
    assert run([*words]) == 0, words


def _search(*limits: str) -> Make:
    return lambda _: typed("search", "--supernet", BUNDLED, *limits)


def _file(name: str, content: str | bytes) -> Make:
    def write(folder: Path) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    return write


def _changed_json(name: str, **changes: object) -> Make:
    def change(folder: Path) -> None:
        document = json.loads((folder / name).read_text(encoding="utf-8"))
        document.update(changes)
        (folder / name).write_text(json.dumps(document), encoding="utf-8")

    return change


FAKE = "fake:classes=10,size=32,train=300,test=40"
"""Made-up images with as many classes as the bundled supernet has."""


def _train(out: str) -> Make:
    words = f"train --recipe deps-compact-cifar10 --data {FAKE} --epochs 2 --out {out} --device cpu"
    words += " --set training.batch_size=64 --set validation.recalibration_images=64 --set tensorboard=false"
    return lambda _: typed(*words.split())


SPACE = "mobilenet-v3-compact"
CALIBRATION = "latency calibrate probes.json --device my-board --runtime tensorrt --precision fp16"


def _probes(count: int) -> Make:
    """Networks with made-up times: half a millisecond and a tenth per million MACs."""

    def write(_: Path) -> None:
        space = get_space(SPACE)
        population = sample_population(space, count, generator(0, "probes"))
        subnets = Encoding(space).decode(population)
        times = [0.5 + 1e-7 * count_macs(lower(space, subnet)) for subnet in subnets]
        write_probes("probes.json", Probes(space=space, population=population, latencies_ms=np.array(times)))

    return write


def _kit_results(folder: Path) -> None:
    """What a kit's own program writes on a board."""
    typed(*f"latency kit build --space {SPACE} --target onnxruntime-cpu --num-probes 8 --out k.zip".split())
    with zipfile.ZipFile("k.zip") as kit:
        kit.extractall("kit")
    agent = next(folder.glob("kit/**/measure.py"))
    subprocess.run([sys.executable, agent.name], cwd=agent.parent, check=True, capture_output=True)
    shutil.copy(agent.parent / "results.jsonl", folder / "results.jsonl")


def _measured_device(_: Path) -> None:
    words = f"latency measure --space {SPACE} --device my-cpu --tables tables --passes 1"
    typed(*words.split(), "--fit-networks", "8", "--check-networks", "8")


def _user_space(folder: Path) -> None:
    """A space with another name, in a file of its own, and a subnet that names it."""
    mine = dataclasses.replace(get_space(SPACE), name="mine")
    (folder / "mine.toml").write_text(dumps_space(mine), encoding="utf-8")
    _changed_json("subnet.json", space="mine", supernet=None)(folder)


def _out_of_space(folder: Path) -> None:
    document = json.loads((folder / "subnet.json").read_text(encoding="utf-8"))
    document["stages"][0]["kernel_sizes"] = [9] * document["stages"][0]["depth"]
    (folder / "wrong.json").write_text(json.dumps(document), encoding="utf-8")


def _official_subnet(folder: Path) -> None:
    subnet = {"ks": [7] * 20, "e": [6] * 20, "d": [4] * 5, "r": [224]}
    (folder / "official.json").write_text(json.dumps(subnet), encoding="utf-8")


def _photos(folder: Path) -> None:
    for number, name in enumerate(["cat", "dog"] * 8):
        path = folder / "photos" / name / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32), (10 * number, 90, 250 - 10 * number)).save(path)


def _foreign_onnx(folder: Path) -> None:
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    ends = [helper.make_tensor_value_info(name, kind, [1, 3, 8, 8]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "plain", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    onnx.save(model, folder / "plain.onnx")


def _damaged_entry(folder: Path) -> None:
    shutil.copytree(resources.data_path("zoo") / BUNDLED, folder / "damaged")
    weights = folder / "damaged" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")


def _odd_measurements(folder: Path) -> None:
    """Two rows of one network with times far apart, among good ones."""
    space = get_space(SPACE)
    encoding = Encoding(space)
    rows = ["resolution,d,ks,e,latency_ms"]
    for number, subnet in enumerate(encoding.decode(sample_population(space, 30, generator(1, "odd")))):
        official = to_official(space, subnet)
        cells = ["-".join(map(str, official[key])) for key in ("d", "ks", "e")]
        time = 0.5 + 1e-7 * count_macs(lower(space, subnet))
        rows.append(",".join([str(subnet.resolution), *cells, f"{time * (10 if number == 7 else 1):.4f}"]))
    (folder / "odd.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def _file_of_a_moved_run(_: Path) -> None:
    typed("search", "--supernet", "runs/try", "--maximize", "macs", "--macs", "8M", "--out", "try.json")
    typed(*f"export --onnx try.onnx --target onnxruntime-cpu --subnet try.json --data {FAKE}".split())
    shutil.move("runs", "moved")


STUDY = f'''title = "A try"
data = "{FAKE}"
seeds = [0]
reference = "deps"

[[variants]]
label = "deps"
recipe = "deps-compact-cifar10"
epochs = 2
'''
_MEDIAN = "GPU Compute Time: min = 1.9 ms, max = 2.1 ms, mean = 2 ms, median = 2 ms, percentile(99%) = 2.1 ms"
TRTEXEC = f"""&&&& RUNNING TensorRT.trtexec [TensorRT v8001] # trtexec --onnx=model.onnx --fp16
[05/01/2021-10:00:00] [I] TensorRT version: 8.0.1
[05/01/2021-10:00:03] [I] Timing trace has 1000 queries over 3 s
[05/01/2021-10:00:03] [I] {_MEDIAN}
&&&& PASSED TensorRT.trtexec [TensorRT v8001] # trtexec --onnx=model.onnx --fp16
"""

MAKERS: Mapping[str, Make] = {
    "a subnet": _search("--macs", "8M"),
    "a subnet for the nano": _search("--device", "jetson-nano", "--latency", "5ms"),
    "an ONNX file": lambda _: typed("export", "--onnx", "--target", "onnxruntime-cpu"),
    "a file of maps": lambda _: typed(
        *("export", "--onnx", "--target", "onnxruntime-cpu", "--features"),
        *("--supernet", "efficientnet-lite0"),
    ),
    "a run": _train("runs/try"),
    "an ONNX file of it, and the run moved": _file_of_a_moved_run,
    "a fine-tuned run": lambda _: typed(
        *("finetune", "--data", FAKE, "--epochs", "1", "--out", "tuned", "--device", "cpu")
    ),
    "an empty object": _file("subnet.json", "{}"),
    "a file of the user": _file("mine.json", "{}"),
    "a folder of the user": _file("full/thesis.txt", "mine"),
    "a text": _file("words.txt", "nothing of use\n"),
    "a zip archive": _file("weights.onnx", b"PK\x03\x04 and more"),
    "a damaged file": _file("damaged.onnx", b"\x00\x01\x02\xff"),
    "half a network": _file("half/net.config", "{}"),
    "a log of trtexec": _file("trtexec.txt", TRTEXEC),
    "a study": _file("studies/study.toml", STUDY),
    "a network": lambda _: typed("extract", "--out", "network"),
    "a network as its authors write it": lambda _: typed(
        "extract", "--layout", "official", "--out", "network"
    ),
    "a subnet out of its space": lambda folder: (_search("--macs", "8M")(folder), _out_of_space(folder)),
    "a subnet of a space of the user": lambda folder: (_search("--macs", "8M")(folder), _user_space(folder)),
    "a subnet as its authors write it": _official_subnet,
    "a subnet for ImageNet": lambda _: typed(
        "search", "--device", "jetson-nano", "--latency", "20ms", "--out", "imagenet.json"
    ),
    "photos": _photos,
    "a foreign ONNX file": _foreign_onnx,
    "a damaged entry": _damaged_entry,
    "weights of two networks": lambda folder: torch.save(
        {f"{name}.first_conv.conv.weight": torch.zeros(2, 2) for name in "ab"}, folder / "weights.pth"
    ),
    "timed probes": _probes(10),
    "two timed probes": _probes(2),
    "a calibrated board": lambda _: typed(*CALIBRATION.split()),
    "measurements with a mistake": _odd_measurements,
    "results of a kit": _kit_results,
    "a measured device": _measured_device,
    "a front": _search("--macs", "8M", "--pareto", "front.json"),
}


def make(names: tuple[str, ...], folder: Path, kept: Path) -> None:
    """Make what a situation is given, from what was made before where it was."""
    done = kept
    for name in names:
        done = done / name
        if not done.is_dir():
            MAKERS[name](folder)
            shutil.copytree(folder, done)
        else:
            shutil.copytree(done, folder, dirs_exist_ok=True)
