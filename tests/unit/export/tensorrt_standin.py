"""A stand-in for the `tensorrt` package of each API generation, made from the documented lists of names.

Names that a generation does not have raise AttributeError, on reading and on setting. Engines "run" in ONNX
Runtime on host memory. No GPU is involved, so nothing here tells whether a real builder accepts a network;
it tells whether our code asks only for what the generation has, and acts on what it answers.

Sources: Python API references of TensorRT 8.2.5, 8.4.3, 8.5.3, 10.3 and 11.4 (Builder, BuilderConfig, Engine,
ExecutionContext, EngineInspector, OnnxParser), python/src/infer/pyCore.cpp of github.com/NVIDIA/TensorRT for
8.5, the class references of 8.6.1 (what 8.5 has, deprecated but there), and "Removed Python APIs" of the 8.x
to 10.x and 10.x to 11.x migration pages. No list of TensorRT 9 was found; its stand-in has what both 8.6 and
10 have.
"""

from __future__ import annotations

import ctypes
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime

from tests.unit.export.engine_lists import engine_list

GENERATIONS = ("8.2.5", "8.4.3", "8.5.3", "8.6.1", "9.3.0", "10.3.0", "11.4.1")

_BUILDER = {
    "create_network",
    "create_builder_config",
    "create_optimization_profile",
    "build_serialized_network",
    "reset",
    "logger",
    "max_threads",
    "is_network_supported",
}
_CONFIG = {
    "set_flag",
    "clear_flag",
    "get_flag",
    "flags",
    "profiling_verbosity",
    "create_timing_cache",
    "set_timing_cache",
    "get_timing_cache",
    "add_optimization_profile",
    "num_optimization_profiles",
}
_ENGINE = {"create_execution_context", "create_engine_inspector", "serialize", "num_layers", "name"}
_CONTEXT = {"engine", "execute_v2", "profiler", "name"}
_NAMED_ENGINE = {
    "num_io_tensors",
    "get_tensor_name",
    "get_tensor_mode",
    "get_tensor_shape",
    "get_tensor_dtype",
}
_NAMED_CONTEXT = {"set_input_shape", "get_tensor_shape", "set_tensor_address", "execute_async_v3"}
_BINDING_ENGINE = {"num_bindings", "binding_is_input", "get_binding_name", "get_binding_shape"}
_BINDING_CONTEXT = {"set_binding_shape", "get_binding_shape", "execute_async_v2"}
_OLD_BUILDER = {"build_engine", "max_batch_size", "platform_has_fast_fp16", "platform_has_fast_int8"}
_MODULE = {
    "__version__",
    "Logger",
    "Builder",
    "Runtime",
    "OnnxParser",
    "BuilderFlag",
    "ProfilingVerbosity",
    "LayerInformationFormat",
    "NetworkDefinitionCreationFlag",
    "float32",
    "float16",
    "int8",
}
_FLAGS = {"TF32", "REFIT", "DEBUG", "DISABLE_TIMING_CACHE"}
_WEAK_FLAGS = {"FP16", "INT8", "OBEY_PRECISION_CONSTRAINTS", "PREFER_PRECISION_CONSTRAINTS"}


def names_of(version: str) -> dict[str, set[str]]:
    """Public names of each object of a TensorRT version."""
    if version.startswith("9."):
        before, after = names_of("8.6.1"), names_of("10.3.0")
        return {name: names & after[name] for name, names in before.items()}
    number = tuple(int(part) for part in version.split(".")[:2])
    has_pools, has_names, has_bindings = number >= (8, 4), number >= (8, 5), number < (10, 0)
    is_weak = number < (11, 0)
    return {
        "module": _MODULE
        | ({"MemoryPoolType"} if has_pools else set())
        | ({"TensorIOMode"} if has_names else set()),
        "Builder": _BUILDER
        | (_OLD_BUILDER if has_bindings else {"platform_has_fast_fp16"} if is_weak else set()),
        "IBuilderConfig": _CONFIG
        | ({"set_memory_pool_limit", "get_memory_pool_limit"} if has_pools else set())
        | ({"max_workspace_size"} if has_bindings else set())
        | ({"int8_calibrator"} if is_weak else set()),
        "ICudaEngine": _ENGINE
        | (_NAMED_ENGINE if has_names else set())
        | (_BINDING_ENGINE if has_bindings else set()),
        "IExecutionContext": _CONTEXT
        | (_NAMED_CONTEXT if has_names else set())
        | (_BINDING_CONTEXT if has_bindings else set()),
        "BuilderFlag": _FLAGS | (_WEAK_FLAGS if is_weak else set()),
        "NetworkDefinitionCreationFlag": ({"EXPLICIT_BATCH"} if is_weak else set())
        | ({"STRONGLY_TYPED"} if number >= (10, 0) else set()),
        "ProfilingVerbosity": {"LAYER_NAMES_ONLY", "NONE", "DETAILED"},
    }


class Guarded:
    """An object with exactly the public names its generation documents."""

    def __init__(self, names: set[str], **members: Any) -> None:
        object.__setattr__(self, "_names", names)
        object.__setattr__(self, "_members", members)

    def __getattr__(self, name: str) -> Any:
        if name not in self._names:
            raise AttributeError(name)
        if name not in self._members:
            raise NotImplementedError(f"the stand-in has no behaviour for '{name}'")
        return self._members[name]

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self._names:
            raise AttributeError(name)
        self._members[name] = value


def enumeration(names: set[str]) -> Guarded:
    """Members numbered in alphabetical order."""
    return Guarded(names, **{name: number for number, name in enumerate(sorted(names))})


class TimingCache:
    """Bytes with the interface of ITimingCache."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def serialize(self) -> bytes:
        return self.content or b"timings"


def make_library(version: str, *, disobeys: bool = False, fails: str | None = None) -> Any:
    """The package of a version.

    Args:
        version: One of `GENERATIONS`.
        disobeys: Build in fp32 whatever is asked, as happens when a flag is forgotten.
        fails: `parse` or `build`.
    """
    names = names_of(version)
    flags = enumeration(names["BuilderFlag"])

    def builder(_: Any) -> Guarded:
        return Guarded(
            names["Builder"],
            create_network=lambda value=0: _network(value, version),
            create_builder_config=lambda: _config(names, flags),
            create_optimization_profile=_Profile,
            build_serialized_network=lambda network, config: (
                None if fails == "build" else _build(network, config, version, flags, disobeys)
            ),
        )

    def parser(network: Any, _: Any) -> Any:
        return _Parser(network, fails == "parse")

    members: dict[str, Any] = {
        "__version__": version,
        "Logger": _Logger,
        "Builder": builder,
        "OnnxParser": parser,
        "Runtime": lambda _: _Runtime(names, version),
        "BuilderFlag": flags,
        "ProfilingVerbosity": enumeration(names["ProfilingVerbosity"]),
        "LayerInformationFormat": enumeration({"JSON", "ONELINE"}),
        "NetworkDefinitionCreationFlag": enumeration(names["NetworkDefinitionCreationFlag"]),
    }
    if "MemoryPoolType" in names["module"]:
        members["MemoryPoolType"] = enumeration({"WORKSPACE", "DLA_MANAGED_SRAM"})
    if "TensorIOMode" in names["module"]:
        members["TensorIOMode"] = enumeration({"INPUT", "OUTPUT", "NONE"})
    return Guarded(names["module"], **members)


class _Logger:
    WARNING = 2

    def __init__(self, severity: int) -> None:
        self.severity = severity


class _Network:
    def __init__(self) -> None:
        self.model: onnx.ModelProto | None = None

    def get_input(self, index: int) -> Any:
        assert self.model is not None
        value = self.model.graph.input[index]
        shape = tuple(
            d.dim_value if d.HasField("dim_value") else -1 for d in value.type.tensor_type.shape.dim
        )
        return Guarded({"name", "shape"}, name=value.name, shape=shape)


def _network(flags: int, version: str) -> _Network:
    if version.startswith(("8.", "9.")):
        assert flags == 1, "without EXPLICIT_BATCH the parser of TensorRT 8 refuses every network"
    if version.startswith("11."):
        assert flags == 0
    return _Network()


class _Parser:
    def __init__(self, network: _Network, fails: bool) -> None:
        self._network, self._fails = network, fails
        self.num_errors = int(fails)

    def parse(self, content: bytes) -> bool:
        self._network.model = onnx.load_model_from_string(content)
        return not self._fails

    def get_error(self, index: int) -> str:
        assert index < self.num_errors
        return "In node 3: UNSUPPORTED_NODE"


class _Profile:
    def __init__(self) -> None:
        self.shapes: dict[str, Any] = {}

    def set_shape(self, name: str, least: Any, best: Any, most: Any) -> None:
        assert least[0] <= best[0] <= most[0]
        self.shapes[name] = (least, best, most)


def _config(names: dict[str, set[str]], flags: Guarded) -> Guarded:
    chosen = {flags.TF32}
    state: dict[str, Any] = {"cache": None, "profiles": []}

    def set_timing_cache(cache: TimingCache, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        if cache.content == b"of another GPU":
            return False
        state["cache"] = cache
        return True

    def set_memory_pool_limit(pool: int, size: int) -> None:
        state["workspace"] = size

    return Guarded(
        names["IBuilderConfig"],
        set_flag=chosen.add,
        clear_flag=chosen.discard,
        get_flag=chosen.__contains__,
        flags=chosen,
        create_timing_cache=TimingCache,
        set_timing_cache=set_timing_cache,
        get_timing_cache=lambda: state["cache"],
        set_memory_pool_limit=set_memory_pool_limit,
        get_memory_pool_limit=lambda _: state["workspace"],
        add_optimization_profile=state["profiles"].append,
        num_optimization_profiles=state["profiles"],
    )


def _build(network: _Network, config: Guarded, version: str, flags: Guarded, disobeys: bool) -> bytes | None:
    model = network.model
    assert model is not None
    workspace = (
        config.get_memory_pool_limit(0)
        if "MemoryPoolType" in names_of(version)["module"]
        else config.max_workspace_size
    )
    assert workspace >= 2**20, "the builder was given no memory to try kernels with"
    is_open = network.get_input(0).shape[0] < 0
    if is_open and not config.num_optimization_profiles:
        return None  # as the real builder: dynamic shapes need a profile
    producers = {name: node.op_type for node in model.graph.node for name in node.output}
    is_quantised = "DequantizeLinear" in producers.values()
    half = {t.name for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT16}
    is_weak = "FP16" in names_of(version)["BuilderFlag"]
    allowed = {
        "int8": not is_weak or flags.INT8 in config.flags,
        "fp16": not is_weak or flags.FP16 in config.flags,
    }
    if (is_quantised and not allowed["int8"]) or (half and not allowed["fp16"]):
        return None  # as the real builder: the network asks for what the builder may not use
    layers = {}
    for node in model.graph.node:
        if node.op_type not in ("Conv", "Gemm"):
            continue
        precision = "fp32"
        if is_quantised and producers.get(node.input[0]) == "DequantizeLinear":
            precision = "int8"
        elif node.input[1] in half or (is_weak and allowed["fp16"]):
            precision = "fp16"
        layers[node.name] = "fp32" if disobeys else precision
    verbosity = config.profiling_verbosity == 0  # DETAILED, alphabetically first
    plan = {"layers": layers, "detailed": verbosity, "tf32": flags.TF32 in config.flags}
    return json.dumps(plan).encode() + b"\0" + model.SerializeToString()


class _Runtime:
    def __init__(self, names: dict[str, set[str]], version: str) -> None:
        self._names, self._version = names, version

    def deserialize_cuda_engine(self, plan: bytes) -> Guarded | None:
        header, found, model = bytes(plan).partition(b"\0")
        if not found:
            return None
        return _engine(json.loads(header), model, self._names, self._version)


def layer_information(plan: dict[str, Any], model: bytes, version: str) -> str:
    """What the inspector of a version says."""
    if not plan["detailed"]:
        return json.dumps({"Layers": list(plan["layers"]), "Bindings": ["input", "logits"]})
    network = onnx.load_model_from_string(model)
    is_open = bool(network.graph.input[0].type.tensor_type.shape.dim[0].dim_param)
    return json.dumps(engine_list(network, plan["layers"], version, has_open_shapes=is_open))


def _engine(plan: dict[str, Any], model: bytes, names: dict[str, set[str]], version: str) -> Guarded:
    session = onnxruntime.InferenceSession(model, _quiet(), providers=["CPUExecutionProvider"])
    tensors = [session.get_inputs()[0].name, session.get_outputs()[0].name]
    return Guarded(
        names["ICudaEngine"],
        create_engine_inspector=lambda: Guarded(
            {"get_engine_information"},
            get_engine_information=lambda _: layer_information(plan, model, version),
        ),
        create_execution_context=lambda: _context(session, names),
        num_io_tensors=2,
        get_tensor_name=tensors.__getitem__,
        get_tensor_mode=lambda name: int(name != tensors[0]),  # INPUT is alphabetically first
        num_bindings=2,
        binding_is_input=lambda index: index == 0,
    )


def _quiet() -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    return options


def _context(session: Any, names: dict[str, set[str]]) -> Guarded:
    state: dict[str, Any] = {"addresses": {}}
    entry, exit_ = session.get_inputs()[0].name, session.get_outputs()[0].name
    classes = session.get_outputs()[0].shape[1]

    def execute(source: int, target: int) -> bool:
        shape = state["shape"]
        images = np.ctypeslib.as_array((ctypes.c_float * math.prod(shape)).from_address(source)).reshape(
            shape
        )
        logits = session.run(None, {entry: images})[0]
        np.ctypeslib.as_array((ctypes.c_float * logits.size).from_address(target))[:] = logits.ravel()
        return True

    def set_shape(_: Any, shape: tuple[int, ...]) -> bool:
        state["shape"] = shape
        return True

    def execute_async_v3(_: int) -> bool:
        return execute(state["addresses"][entry], state["addresses"][exit_])

    return Guarded(
        names["IExecutionContext"],
        set_input_shape=set_shape,
        set_binding_shape=set_shape,
        get_tensor_shape=lambda _: (state["shape"][0], classes),
        get_binding_shape=lambda _: (state["shape"][0], classes),
        set_tensor_address=state["addresses"].__setitem__,
        execute_async_v3=execute_async_v3,
        execute_async_v2=lambda addresses, _: execute(*addresses),
    )


class HostBuffer:
    """A NumPy array with torch's way of telling its address."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = np.ascontiguousarray(values, dtype=np.float32)

    def data_ptr(self) -> int:
        return self.values.ctypes.data


class HostMemory:
    """Memory of the processor in place of the GPU's."""

    stream = 7
    device_name = "host"

    def upload(self, values: np.ndarray) -> HostBuffer:
        return HostBuffer(values)

    def allocate(self, shape: tuple[int, ...]) -> HostBuffer:
        return HostBuffer(np.full(shape, np.nan, np.float32))

    def download(self, buffer: HostBuffer) -> np.ndarray:
        return buffer.values

    def time(self, launch: Callable[[], None], num_runs: int) -> np.ndarray:
        for _ in range(3):
            launch()
        return np.linspace(1.0, 2.0, num_runs)
