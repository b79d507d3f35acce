"""Builds and runs TensorRT engines through its Python package, from 8.2 to 11.4.

What a version can do is asked of the package, never read off its version number: precision flags, memory
pools, explicit batch and named tensors each came or went with some release. Sources of what is where:
the Python API references of TensorRT 8.2.5, 8.4.3, 8.5.3, 8.6.1, 10.x and 11.x, python/src/infer/pyCore.cpp
of github.com/NVIDIA/TensorRT, and the migration pages 8.x to 10.x and 10.x to 11.x.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from ofa_toolkit.core import files
from ofa_toolkit.core.errors import EngineError, MissingDependencyError

Images = npt.NDArray[np.float32]
Milliseconds = npt.NDArray[np.float64]
Launch = Callable[[], None]

LARGEST_DYNAMIC_BATCH = 32
"""Largest batch an engine takes whose file leaves the batch size open."""

_MIB = 2**20


def find_tensorrt(hint: str) -> Any:
    """The TensorRT package and a GPU to use it with.

    Args:
        hint: Advice where one of them is missing.

    Raises:
        MissingDependencyError: One of them is missing.
    """
    try:
        import tensorrt
        import torch
    except ImportError as error:
        raise MissingDependencyError(
            f"The Python packages 'tensorrt' and 'torch' are needed: {error}.",
            hint="Jetson: tensorrt comes with JetPack (python3-libnvinfer). Server: install it from NVIDIA's "
            f"own package index; the public one holds a stub. Without it: {hint}",
        ) from error
    if not torch.cuda.is_available():
        raise MissingDependencyError(
            "TensorRT builds engines on the NVIDIA GPU they are for; torch finds none here.", hint=hint
        )
    return tensorrt


def reads_half_constants(library: Any) -> bool:
    """Whether the parser reads constants of an fp16 graph as fp16 wherever it uses their values.

    That came with 8.4 (Changelog of onnx-tensorrt), as did memory pools, which can be asked for.
    """
    return hasattr(library, "MemoryPoolType")


def chooses_precision(library: Any) -> bool:
    """Whether the builder chooses by speed among the precisions it is allowed; else the file decides."""
    return hasattr(library.BuilderFlag, "FP16")


class DeviceMemory(Protocol):
    """Buffers on the device, and how to run and time there."""

    @property
    def device_name(self) -> str:
        """The device as the system calls it."""
        ...

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

    def time(self, launch: Launch, num_runs: int) -> Milliseconds:
        """Time single launches on the stream, in ms."""
        ...


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """How to build.

    Attributes:
        precision: What the engine may compute in besides fp32; what must be in it is the caller's to check.
        workspace_mib: Memory the builder may use for trying kernels, in MiB.
        timing_cache: File that remembers how fast kernels are; written back.
    """

    precision: Literal["fp32", "fp16", "int8"]
    workspace_mib: int = 1024
    timing_cache: Path | None = None


def build_plan(library: Any, model: bytes, options: EngineOptions) -> bytes:
    """Parse an ONNX file and build its engine.

    Args:
        library: The `tensorrt` package.
        model: The ONNX file.
        options: Precision, memory, timing cache.

    Returns:
        The engine, good for this GPU and TensorRT version.

    Raises:
        EngineError: TensorRT cannot parse or build the network.
    """
    logger = library.Logger(library.Logger.WARNING)
    builder = library.Builder(logger)
    if not hasattr(builder, "build_serialized_network"):
        raise EngineError(f"TensorRT {library.__version__} is too old: engines are built from 8.2 on.")
    network = builder.create_network(_network_flags(library))
    parser = library.OnnxParser(network, logger)
    if not parser.parse(model):
        errors = [str(parser.get_error(index)) for index in range(parser.num_errors)]
        raise EngineError(f"TensorRT {library.__version__} cannot parse the network: {'; '.join(errors)}")
    config = builder.create_builder_config()
    _set_workspace(library, config, options.workspace_mib * _MIB)
    _set_precision(library, config, options.precision)
    if hasattr(library.ProfilingVerbosity, "DETAILED"):
        config.profiling_verbosity = library.ProfilingVerbosity.DETAILED
    _set_profile(builder, network, config)
    cache = _set_timing_cache(config, options.timing_cache)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EngineError(f"TensorRT {library.__version__} cannot build an engine of the network.")
    if cache:
        assert options.timing_cache is not None
        files.write_bytes(options.timing_cache, bytes(config.get_timing_cache().serialize()))
    return bytes(plan)


def load_engine(library: Any, plan: bytes) -> Any:
    """An engine from its bytes.

    Raises:
        EngineError: It was built on another GPU or TensorRT, or is damaged.
    """
    engine = library.Runtime(library.Logger(library.Logger.WARNING)).deserialize_cuda_engine(plan)
    if engine is None:
        raise EngineError(f"TensorRT {library.__version__} cannot load the engine; was it built here?")
    return engine


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


def _set_precision(library: Any, config: Any, precision: str) -> None:
    """Allow a precision where the builder must be told; strongly typed networks say it themselves."""
    # What is not quantised in int8 should not fall back to single precision.
    for flag in {"fp16": ("FP16",), "int8": ("FP16", "INT8")}.get(precision, ()):
        if hasattr(library.BuilderFlag, flag):
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


class EngineRunner:
    """Runs an engine with one input and one output.

    Args:
        library: The `tensorrt` package.
        plan: The engine.
        memory: Memory that holds its buffers.
    """

    def __init__(self, library: Any, plan: bytes, memory: DeviceMemory) -> None:
        self._library = library
        self._engine = load_engine(library, plan)
        self._context = self._engine.create_execution_context()
        self._memory = memory
        self._has_names = hasattr(self._engine, "num_io_tensors")  # from 8.5 on

    def run(self, images: Images) -> Images:
        """Outputs `(N, classes)` for one batch `(N, 3, R, R)` of a size the engine takes."""
        launch, output = self.prepare(images)
        launch()
        return self._memory.download(output)

    def time(self, images: Images, num_runs: int = 100) -> Milliseconds:
        """GPU time of single runs in ms, inputs and outputs staying on the device."""
        launch, _ = self.prepare(images)
        for _ in range(10):
            launch()
        return self._memory.time(launch, num_runs)

    def prepare(self, images: Images) -> tuple[Launch, Any]:
        """What starts one run of a batch on the device, and the buffer its outputs `(N, classes)` come to."""
        source = self._memory.upload(images)
        if self._has_names:
            return self._prepare_named(images.shape, source)
        return self._prepare_bindings(images.shape, source)

    def _prepare_named(self, shape: Sequence[int], source: Any) -> tuple[Launch, Any]:
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

    def _prepare_bindings(self, shape: Sequence[int], source: Any) -> tuple[Launch, Any]:
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
            raise EngineError(f"TensorRT {self._library.__version__} failed to run the engine.")


class TorchMemory:
    """Device memory, stream and events by torch."""

    def __init__(self) -> None:
        import torch

        self._torch: Any = torch
        self._stream = self._torch.cuda.Stream()

    @property
    def device_name(self) -> str:
        """The GPU as its driver calls it."""
        return str(self._torch.cuda.get_device_name(0))

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

    def time(self, launch: Launch, num_runs: int) -> Milliseconds:
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
