"""Exported files on this CPU, everything interleaved in one run.

    python benchmarks/export.py [--space ofa-mobilenet-v3-w1.0] [--rounds 60]
    python benchmarks/export.py --supernet NAME|DIR --data SOURCE      # with real weights and accuracy

Prints, for one network: our fp32 ONNX file against those of torch's two exporters, with the number of nodes
of each; int8 against fp32 (time, and accuracy where there are images); ONNX Runtime against eager torch.
Ratios are medians of the ratios of runs in the same round; a second session of our own file shows how much
of a ratio is chance. The aim is at most 1.02 of torch's exporter.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn

from ofa_toolkit.core.rng import generator
from ofa_toolkit.export.comparison import ModelRunner, compare, synthetic_images
from ofa_toolkit.export.exporter import FileForm, write_model
from ofa_toolkit.export.target_devices import resolve_target
from ofa_toolkit.graphs.session import open_session
from ofa_toolkit.pipelines.export.network import (
    calibration_batches,
    check_images,
    choose_calibration,
    export_network,
)
from ofa_toolkit.spaces import get_space, lower
from ofa_toolkit.spaces.layer_spec import LayerSpec
from ofa_toolkit.supernets import build_network, fold_batchnorm
from ofa_toolkit.zoo.supernet import load_supernet


def main() -> None:
    """Choose the network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--space", default="ofa-mobilenet-v3-w1.0")
    parser.add_argument("--supernet")
    parser.add_argument("--data")
    parser.add_argument("--rounds", type=int, default=60)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.supernet:
        with_weights(options.supernet, options.data, options.rounds)
    else:
        space = get_space(options.space)
        layers = lower(space, space.smallest())
        torch.manual_seed(0)
        shape = (4, 1, 3, layers[0].in_size, layers[0].in_size)
        batches = list(generator(0, "benchmark").standard_normal(shape, dtype=np.float32))
        time_all(build_network(layers).eval(), layers, batches, options.rounds)


def with_weights(supernet: str, data: str | None, rounds: int) -> None:
    """The largest subnet of a trained supernet."""
    source = load_supernet(supernet)
    dataset = None if data is None else source.open_images(data)
    made = export_network(source, source.space.largest(), dataset, keep_batchnorm=data is None)
    size, batches = made.subnet.resolution, []
    if dataset is not None:
        batches = list(calibration_batches(dataset, size, choose_calibration(dataset, "minmax")))
    files = time_all(made.network, made.layers, batches, rounds)
    check = synthetic_images(size) if dataset is None else check_images(dataset, size, 2000)
    for name, model in files.items():
        found = compare(ModelRunner(model), made.network, check)
        print(
            f"{name}: top-1 {found.file_top1_percent} % (network {found.network_top1_percent} %), "
            f"same class {found.agreement_percent:.1f} %, largest difference {found.max_relative_error:.1e}, "
            f"on {found.images}"
        )


def time_all(
    network: nn.Module, layers: tuple[LayerSpec, ...], batches: list[np.ndarray], rounds: int
) -> dict[str, onnx.ModelProto]:
    """Time every form of one network, and print the ratios."""
    weights, size = fold_batchnorm(network), layers[0].in_size
    target = resolve_target("onnxruntime-cpu")
    ours = {"ours fp32": write_model(layers, weights, FileForm(target=target))}
    # The same file in a session of its own: its ratio is what chance alone gives.
    ours["ours fp32 again"] = ours["ours fp32"]
    if batches:
        form = FileForm(target=target, precision="int8")
        bits = target.generation.software.weight_bits
        ours["ours int8"] = write_model(
            layers, weights, form, calibration=batches, weight_bits=bits, folds_hard_sigmoid=True
        )
    files = ours | torch_files(network, size)
    image = generator(1, "benchmark").standard_normal((1, 3, size, size), dtype=np.float32)
    tasks: dict[str, Callable[[], object]] = {}
    for name, model in files.items():
        session = open_session(model.SerializeToString())
        feed = {session.get_inputs()[0].name: image}
        tasks[name] = lambda session=session, feed=feed: session.run(None, feed)
    tensor = torch.from_numpy(image)

    @torch.inference_mode()
    def eager() -> object:
        return network(tensor)

    tasks["torch eager"] = eager
    times = interleaved(tasks, rounds)
    for name in tasks:
        nodes = ""
        if name in files:
            left = len(optimised(files[name]))
            nodes = f"; {len(files[name].graph.node)} nodes, {left} after optimisation"
        ratio = statistics.median(a / b for a, b in zip(times["ours fp32"], times[name], strict=True))
        median = statistics.median(times[name])
        print(f"{name}: median {median:.3f} ms; ours fp32 takes {ratio:.3f} of it{nodes}")
    if "ours int8" in times:
        pairs = zip(times["ours int8"], times["ours fp32"], strict=True)
        print(f"int8 takes {statistics.median(a / b for a, b in pairs):.3f} of fp32's time")
    return ours


def torch_files(network: nn.Module, size: int) -> dict[str, onnx.ModelProto]:
    """What torch's two exporters write."""
    files = {}
    image = torch.zeros(1, 3, size, size)
    for name, use_dynamo in (("torch exporter, traced", False), ("torch exporter, dynamo", True)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if use_dynamo and importlib.util.find_spec("onnxscript") is None:
                print(f"{name}: left out, it needs `pip install onnxscript`")
            elif use_dynamo:
                program = torch.onnx.export(network, (image,), dynamo=True, verbose=False)
                assert program is not None
                files[name] = program.model_proto
            else:
                buffer = io.BytesIO()
                export: Any = torch.onnx.export  # its annotations know files by name only
                export(network, (image,), buffer, dynamo=False, opset_version=17)
                files[name] = onnx.load_model_from_string(buffer.getvalue())
    return files


def optimised(model: onnx.ModelProto) -> list[str]:
    """Operators that are left after ONNX Runtime's own optimisation."""
    import tempfile

    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        options.optimized_model_filepath = file.name
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return [node.op_type for node in onnx.load(file.name).graph.node]


def interleaved(tasks: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of every round of every task, tasks in turn; a round is the best of three."""
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for task in tasks.values():
        for _ in range(3):
            task()
    order = generator(2, "benchmark")
    for _ in range(rounds):
        # In random order: what runs after eager torch finds cold caches.
        for name in order.permutation(list(tasks)):
            task, runs = tasks[name], []
            for _ in range(3):
                start = time.perf_counter()
                task()
                runs.append(1000 * (time.perf_counter() - start))
            times[name].append(min(runs))
    return times


if __name__ == "__main__":
    main()
