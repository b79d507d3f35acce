"""Builds TensorRT engines through its Python package and looks into them, from 8.2 to 11.4.

What a version can do is asked of the package, never read off its version number: precision flags, memory
pools, explicit batch and named tensors each came or went with some release. Sources of what is where:
the Python API references of TensorRT 8.2.5, 8.4.3, 8.5.3, 8.6.1, 10.x and 11.x, and the migration pages
8.x to 10.x and 10.x to 11.x.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ofa_toolkit.core import files
from ofa_toolkit.core.errors import ExportError, MissingDependencyError, VerificationError
from ofa_toolkit.export.kit.check import CheckError, check_precision
from ofa_toolkit.export.target_devices import Precision
from ofa_toolkit.export.trtexec import LARGEST_DYNAMIC_BATCH

Images = npt.NDArray[np.float32]
Milliseconds = npt.NDArray[np.float64]

_MIB = 2**20


def find_tensorrt() -> Any:
    """The TensorRT package and a GPU to use it with.

    Raises:
        MissingDependencyError: One of them is missing; the hint says what to do where.
    """
    try:
        import tensorrt
    except ImportError as error:
        raise MissingDependencyError(
            f"The Python package 'tensorrt' cannot be imported: {error}.",
            hint="Jetson: it comes with JetPack (python3-libnvinfer). Server: install it from NVIDIA's own "
            "package index; the public one holds a stub. Without it, run the build kit on the device.",
        ) from error
    import torch

    if not torch.cuda.is_available():
        raise MissingDependencyError(
            "TensorRT builds engines on the GPU they are for; torch finds none here.",
            hint="Run the build kit on the device.",
        )
    return tensorrt


class DeviceMemory(Protocol):
    """Buffers on the device, and how to run and time there."""

    def upload(self, values: Images) -> Any:
        """A device buffer holding the values; `.data_ptr()` is its address."""
        ...

    def allocate(self, shape: Sequence[int]) -> Any:
        """An empty float32 device buffer."""
        ...

    def download(self, buffer: Any) -> Images:
        """The values of a buffer, after all work is done."""
        ...

    @property
    def stream(self) -> int:
        """Handle of the CUDA stream to launch on."""
        ...

    def time(self, launch: Any, num_runs: int) -> Milliseconds:
        """Time single launches on the stream, in ms."""
        ...


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """How to build.

    Attributes:
        precision: What the engine must compute in.
        workspace_mib: Memory the builder may use for trying kernels, in MiB.
        timing_cache: File that remembers how fast kernels are; written back.
    """

    precision: Precision
    workspace_mib: int = 1024
    timing_cache: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Engine:
    """A built engine.

    Attributes:
        plan: Its bytes, good for this GPU and TensorRT version.
        version: Of TensorRT.
        layers: How many layers with weights are in which precision, in words.
    """

    plan: bytes
    version: str
    layers: str


def build_engine(library: Any, model: bytes, options: EngineOptions) -> Engine:
    """Parse an ONNX file, build its engine, and make sure the promised precision is in it.

    Args:
        library: The `tensorrt` package.
        model: The ONNX file.
        options: Precision, memory, timing cache.

    Raises:
        ExportError: TensorRT cannot parse or build the network.
        VerificationError: The engine does not compute in the promised precision.
    """
    logger = library.Logger(library.Logger.WARNING)
    builder = library.Builder(logger)
    network = builder.create_network(_network_flags(library))
    parser = library.OnnxParser(network, logger)
    if not parser.parse(model):
        errors = [str(parser.get_error(index)) for index in range(parser.num_errors)]
        raise ExportError(f"TensorRT {library.__version__} cannot parse the network: {'; '.join(errors)}")
    config = builder.create_builder_config()
    _set_workspace(library, config, options.workspace_mib * _MIB)
    _set_precision(library, config, options.precision)
    if hasattr(library.ProfilingVerbosity, "DETAILED"):
        config.profiling_verbosity = library.ProfilingVerbosity.DETAILED
    _set_profile(builder, network, config)
    cache = _set_timing_cache(config, options.timing_cache)
    if not hasattr(builder, "build_serialized_network"):
        raise ExportError(f"TensorRT {library.__version__} is too old: engines are built from 8.2 on.")
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise ExportError(f"TensorRT {library.__version__} cannot build an engine of the network.")
    if cache:
        assert options.timing_cache is not None
        files.write_bytes(options.timing_cache, bytes(config.get_timing_cache().serialize()))
    content = bytes(plan)
    layers = inspect_engine(library, content, options.precision)
    return Engine(plan=content, version=str(library.__version__), layers=layers)


def inspect_engine(library: Any, plan: bytes, precision: Precision) -> str:
    """What an engine's layers compute in; raises `VerificationError` where that is not what was promised."""
    engine = _deserialize(library, plan)
    inspector = engine.create_engine_inspector()
    text = inspector.get_engine_information(library.LayerInformationFormat.JSON)
    try:
        return check_precision(json.loads(text), precision)
    except (CheckError, ValueError) as error:
        raise VerificationError(f"The engine was not written: {error}") from error


def _network_flags(library: Any) -> int:
    # Needed up to 8.6, ignored in 10, gone in 11. Networks stay weakly typed where that is a choice: there
    # the precision is a flag of the builder.
    flags = library.NetworkDefinitionCreationFlag
    return 1 << int(flags.EXPLICIT_BATCH) if hasattr(flags, "EXPLICIT_BATCH") else 0


def _set_workspace(library: Any, config: Any, num_bytes: int) -> None:
    if hasattr(library, "MemoryPoolType"):
        config.set_memory_pool_limit(library.MemoryPoolType.WORKSPACE, num_bytes)
    else:
        config.max_workspace_size = num_bytes


def _set_precision(library: Any, config: Any, precision: Precision) -> None:
    """Allow a precision where the builder must be told; strongly typed networks say it themselves."""
    flag = {"fp16": "FP16", "int8": "INT8"}.get(precision)
    if flag is not None and hasattr(library.BuilderFlag, flag):
        config.set_flag(getattr(library.BuilderFlag, flag))
    if precision == "fp32" and hasattr(library.BuilderFlag, "TF32"):
        config.clear_flag(library.BuilderFlag.TF32)


def _set_profile(builder: Any, network: Any, config: Any) -> None:
    """Batch sizes to be fast at, where the file leaves the batch size open."""
    source = network.get_input(0)
    shape = tuple(source.shape)
    if shape[0] >= 0:
        return
    profile = builder.create_optimization_profile()
    sizes = [(batch, *shape[1:]) for batch in (1, LARGEST_DYNAMIC_BATCH // 4, LARGEST_DYNAMIC_BATCH)]
    profile.set_shape(source.name, *sizes)
    config.add_optimization_profile(profile)


def _set_timing_cache(config: Any, path: Path | None) -> bool:
    if path is None or not hasattr(config, "create_timing_cache"):
        return False
    cache = config.create_timing_cache(path.read_bytes() if path.is_file() else b"")
    # A cache of another GPU or version is refused; then a new one is begun.
    if not config.set_timing_cache(cache, ignore_mismatch=False):
        config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)
    return True


def _deserialize(library: Any, plan: bytes) -> Any:
    engine = library.Runtime(library.Logger(library.Logger.WARNING)).deserialize_cuda_engine(plan)
    if engine is None:
        raise ExportError(f"TensorRT {library.__version__} cannot load the engine; was it built here?")
    return engine


class EngineRunner:
    """Runs an engine with one input and one output.

    Args:
        library: The `tensorrt` package.
        plan: The engine.
        memory: Where its buffers are.
    """

    def __init__(self, library: Any, plan: bytes, memory: DeviceMemory) -> None:
        self._library = library
        self._engine = _deserialize(library, plan)
        self._context = self._engine.create_execution_context()
        self._memory = memory
        self._has_names = hasattr(self._engine, "num_io_tensors")  # from 8.5 on

    def run(self, images: Images) -> Images:
        """Outputs `(N, classes)` for one batch `(N, 3, R, R)` of a size the engine takes."""
        launch, output = self._prepare(images)
        launch()
        return self._memory.download(output)

    def time(self, images: Images, num_runs: int = 100) -> Milliseconds:
        """GPU time of single runs in ms, inputs and outputs staying on the device."""
        launch, _ = self._prepare(images)
        for _ in range(10):
            launch()
        return self._memory.time(launch, num_runs)

    def _prepare(self, images: Images) -> tuple[Any, Any]:
        source = self._memory.upload(images)
        if self._has_names:
            return self._prepare_named(images.shape, source)
        return self._prepare_bindings(images.shape, source)

    def _prepare_named(self, shape: Sequence[int], source: Any) -> tuple[Any, Any]:
        engine, context = self._engine, self._context
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        is_input = self._library.TensorIOMode.INPUT
        [entry] = [name for name in names if engine.get_tensor_mode(name) == is_input]
        [exit_] = [name for name in names if name != entry]
        context.set_input_shape(entry, tuple(shape))
        output = self._memory.allocate(tuple(context.get_tensor_shape(exit_)))
        context.set_tensor_address(entry, source.data_ptr())
        context.set_tensor_address(exit_, output.data_ptr())

        def launch() -> None:
            self._check(context.execute_async_v3(self._memory.stream))

        # The buffers must live as long as the launch does.
        launch.__dict__["buffers"] = (source, output)
        return launch, output

    def _prepare_bindings(self, shape: Sequence[int], source: Any) -> tuple[Any, Any]:
        engine, context = self._engine, self._context
        entry = next(i for i in range(engine.num_bindings) if engine.binding_is_input(i))
        exit_ = next(i for i in range(engine.num_bindings) if i != entry)
        context.set_binding_shape(entry, tuple(shape))
        output = self._memory.allocate(tuple(context.get_binding_shape(exit_)))
        addresses = [0] * engine.num_bindings
        addresses[entry], addresses[exit_] = source.data_ptr(), output.data_ptr()

        def launch() -> None:
            self._check(context.execute_async_v2(addresses, self._memory.stream))

        launch.__dict__["buffers"] = (source, output)
        return launch, output

    def _check(self, succeeded: bool) -> None:
        if not succeeded:
            raise ExportError(f"TensorRT {self._library.__version__} failed to run the engine.")


class TorchMemory:
    """Device memory, stream and events by torch."""

    def __init__(self) -> None:
        import torch

        self._torch: Any = torch
        self._stream = self._torch.cuda.Stream()

    def upload(self, values: Images) -> Any:
        """A device buffer holding the values."""
        return self._torch.from_numpy(np.ascontiguousarray(values)).cuda()

    def allocate(self, shape: Sequence[int]) -> Any:
        """An empty float32 device buffer."""
        return self._torch.empty(tuple(shape), device="cuda")

    def download(self, buffer: Any) -> Images:
        """The values of a buffer, after all work is done."""
        self._torch.cuda.synchronize()
        values: Images = buffer.cpu().numpy()
        return values

    @property
    def stream(self) -> int:
        """Handle of the CUDA stream."""
        return int(self._stream.cuda_stream)

    def time(self, launch: Any, num_runs: int) -> Milliseconds:
        """Times between CUDA events in ms, each run synchronised."""
        cuda = self._torch.cuda
        times = np.empty(num_runs)
        for index in range(num_runs):
            start, end = (cuda.Event(enable_timing=True) for _ in range(2))
            start.record(self._stream)
            launch()
            end.record(self._stream)
            end.synchronize()
            times[index] = start.elapsed_time(end)
        return times
