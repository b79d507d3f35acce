"""How fast ONNX files run in ONNX Runtime here: several files side by side, interleaved."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from ofa_toolkit.core.errors import MeasurementError
from ofa_toolkit.core.quantities import counted
from ofa_toolkit.core.reporting import SILENT, Reporter
from ofa_toolkit.core.rng import generator
from ofa_toolkit.export.formats.folder import FormatFolder, is_format_folder, read_format_folder
from ofa_toolkit.export.formats.format import check_installed, open_runner
from ofa_toolkit.export.lint.rule import ModelFile
from ofa_toolkit.export.lint.tensors import check_open_batch
from ofa_toolkit.export.model_file import load_model
from ofa_toolkit.export.target_devices import ONNXRUNTIME_CPU, resolve_target
from ofa_toolkit.graphs.session import open_session, runtime_reason
from ofa_toolkit.latency.measuring.system import cpu_name, too_many_threads
from ofa_toolkit.pipelines.latency.request import BenchmarkRequest, Provider

PROVIDERS: Mapping[Provider, str] = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}

ROUNDS = 5
Models = dict[Path, onnx.ModelProto | FormatFolder]
_FLOATS = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


@dataclass(frozen=True, kw_only=True)
class Timing:
    """One file under one condition.

    Attributes:
        file: The file.
        provider: Executor of the file: cpu, cuda or tensorrt of ONNX Runtime, or another format's runtime.
        threads: Threads of an operator on the CPU.
        batch_size: Images a run.
        median_ms: Median time of a single run.
        p90_ms: Nine in ten runs are faster.
        images_per_second: At the median.
        ratio: Median over the first file's under the same condition.
        num_bytes: Size of the file.
    """

    file: Path
    provider: str
    threads: int
    batch_size: int
    median_ms: float
    p90_ms: float
    images_per_second: float
    ratio: float
    num_bytes: int


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Results and the conditions they share.

    Attributes:
        processor: As the system calls it.
        onnxruntime: Version of ONNX Runtime.
        timings: In the order files and conditions were given.
        warnings: Reservations about the times.
    """

    processor: str
    onnxruntime: str
    timings: tuple[Timing, ...]
    warnings: tuple[str, ...]


def available_providers() -> list[Provider]:
    """Short names of what the installed ONNX Runtime can run on."""
    import onnxruntime

    present = onnxruntime.get_available_providers()
    return [name for name, full in PROVIDERS.items() if full in present]


def benchmark(request: BenchmarkRequest, reporter: Reporter = SILENT) -> Benchmark:
    """Time single runs of every file under every condition, on seeded random inputs.

    The files of a condition take turns in short rounds, so that what else the machine does falls on all of
    them alike. Threads do not spin between runs.

    Args:
        request: Files and conditions.
        reporter: Hears what is being timed.

    Raises:
        MeasurementError: A provider is missing, or a file cannot be run.
        FileFormatError: A file is no ONNX model.
    """
    import onnxruntime

    providers, threads = request.providers or tuple(available_providers()), request.threads
    for provider in providers:
        if provider not in available_providers():
            raise MeasurementError(
                f"This onnxruntime has no '{provider}'; it has {', '.join(available_providers())}.",
                hint="pip install onnxruntime-gpu" if provider != "cpu" else None,
            )
    models: Models = {
        path: read_format_folder(path) if is_format_folder(path) else load_model(path)
        for path in request.paths
    }
    if any(isinstance(model, FormatFolder) for model in models.values()) and set(providers) != {"cpu"}:
        raise MeasurementError("Formats beside ONNX are timed on the processor.", hint="--provider cpu")
    timings: list[Timing] = []
    for provider in providers:
        for count in threads if provider == "cpu" else (1,):
            for batch_size in _batch_sizes(models, request.batch_sizes):
                reporter.message(
                    f"Timing on {provider}, {counted(count, 'thread')}, batch {batch_size or 'as fixed'}"
                )
                timings += _condition(models, provider, count, batch_size, request.num_runs, request.seed)
    counts = threads if "cpu" in providers else ()
    warnings = [sentence for count in counts if (sentence := too_many_threads(count))]
    if len(models) > 1 and len({timing.batch_size for timing in timings}) > 1:
        warnings.append("The files' batch sizes differ: compare images per second, not milliseconds.")
    return Benchmark(
        processor=cpu_name(),
        onnxruntime=onnxruntime.__version__,
        timings=tuple(timings),
        warnings=tuple(warnings),
    )


def _batch_sizes(models: Models, asked: Sequence[int]) -> Sequence[int | None]:
    is_open = any(not _first_dimension(model) for model in models.values())
    if asked and not is_open:
        raise MeasurementError(
            "The files fix their batch size.", hint="Export with --dynamic-batch to try several."
        )
    return list(asked) or [None]


def _first_dimension(model: onnx.ModelProto | FormatFolder) -> int:
    if isinstance(model, FormatFolder):
        return model.metadata.batch_size or 1
    return int(model.graph.input[0].type.tensor_type.shape.dim[0].dim_value)


def _condition(
    models: Models,
    provider: Provider,
    threads: int,
    batch_size: int | None,
    num_runs: int,
    seed: int,
) -> list[Timing]:
    runs = {
        path: _runnable(path, model, provider, threads, batch_size, seed) for path, model in models.items()
    }
    times: dict[Path, list[float]] = {path: [] for path in models}
    for run, _ in runs.values():
        for _ in range(5):
            run()
    for _ in range(ROUNDS):
        for path, (run, _) in runs.items():
            times[path] += _time(run, max(1, num_runs // ROUNDS))
    medians = {path: float(np.median(found)) for path, found in times.items()}
    first = next(iter(medians.values()))
    return [
        Timing(
            file=path,
            provider=model.form.name if isinstance(model := models[path], FormatFolder) else provider,
            threads=threads,
            batch_size=size,
            median_ms=medians[path],
            p90_ms=float(np.quantile(times[path], 0.9)),
            images_per_second=1000 * size / medians[path],
            ratio=medians[path] / first,
            num_bytes=model.num_bytes if isinstance(model, FormatFolder) else path.stat().st_size,
        )
        for path, (_, size) in runs.items()
    ]


def _runnable(
    path: Path,
    model: onnx.ModelProto | FormatFolder,
    provider: Provider,
    threads: int,
    batch_size: int | None,
    seed: int,
) -> tuple[Callable[[], object], int]:
    if isinstance(model, FormatFolder):
        return _runnable_format(model, threads, seed)
    session = open_session(
        model.SerializeToString(), provider=PROVIDERS[provider], num_threads=threads, name=f"'{path}'"
    )
    inputs = session.get_inputs()
    if len(inputs) != 1 or inputs[0].type not in (*_FLOATS, "tensor(uint8)"):
        raise MeasurementError(
            f"'{path}' must have one input, of floating-point numbers or bytes, to be timed."
        )
    shape = [
        d if isinstance(d, int) else (batch_size or 1) if i == 0 else 0 for i, d in enumerate(inputs[0].shape)
    ]
    if 0 in shape:
        raise MeasurementError(f"'{path}' leaves more than the batch size open; export it with fixed shapes.")
    feed = {inputs[0].name: _random_input(shape, inputs[0].type, seed)}

    def run() -> object:
        return session.run(None, feed)

    try:
        run()
    except Exception as error:  # ONNX Runtime raises its own kinds, which share no base
        fixed = next(check_open_batch(ModelFile(model), resolve_target(ONNXRUNTIME_CPU)), None)
        reason = runtime_reason(error) if fixed is None else f"at '{fixed.node}' {fixed.message}"
        raise MeasurementError(f"'{path}' fails for batch size {shape[0]}: {reason}") from error
    return run, shape[0]


def _runnable_format(made: FormatFolder, threads: int, seed: int) -> tuple[Callable[[], object], int]:
    """A file of another format in its own runtime."""
    if not made.form.runs_here:
        raise MeasurementError(f"{made.form.title} files do not run on this machine.")
    check_installed(made.form)
    run, ends = open_runner(made.form, made.file, threads), made.metadata.ends
    size = made.metadata.batch_size or 1
    kind = "tensor(uint8)" if ends.input == "uint8" else "tensor(float)"
    images = _random_input(ends.input_shape(size, made.metadata.subnet.resolution), kind, seed)
    return lambda: run(images), size


def _random_input(shape: list[int], kind: str, seed: int) -> npt.NDArray[Any]:
    """Normalised images, or pixels where the file takes bytes."""
    draw = generator(seed, "benchmark")
    if kind == "tensor(uint8)":
        return draw.integers(0, 256, shape, dtype=np.uint8)
    return draw.standard_normal(shape).astype(_FLOATS[kind])


def _time(run: Callable[[], object], num_runs: int) -> list[float]:
    times = []
    for _ in range(num_runs):
        start = time.perf_counter_ns()
        run()
        times.append((time.perf_counter_ns() - start) * 1e-6)
    return times
