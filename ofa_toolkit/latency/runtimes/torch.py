"""PyTorch in eager mode, on the CPU or a CUDA device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from ofa_toolkit.core import rng
from ofa_toolkit.core.errors import MeasurementError
from ofa_toolkit.latency.measuring.system import cpu_name
from ofa_toolkit.latency.runtimes.runtime import RuntimeOptions, RunTimes, input_shape, time_calls
from ofa_toolkit.spaces.layer_spec import LayerSpec


class TorchRuntime:
    """Times the extracted network as it is: `torch.nn` modules, batch norm not folded, inference mode.

    On CUDA every run is enclosed in events and synchronised; times are those between the events.
    """

    name: ClassVar[str] = "pytorch"

    def __init__(self, options: RuntimeOptions) -> None:
        import torch

        if options.processor == "cuda" and not torch.cuda.is_available():
            raise MeasurementError("torch finds no CUDA device.", hint="Leave out --processor cuda.")
        if options.processor == "cpu" and options.precision != "fp32":
            raise MeasurementError("On the CPU torch is timed in fp32 only; leave out --precision.")
        self.options = options
        self.version: str = torch.__version__
        self._torch: Any = torch
        self.device_name = cpu_name() if options.processor == "cpu" else torch.cuda.get_device_name(0)

    def prepare(self, layers: Sequence[LayerSpec], seed: int) -> TorchCpuSession | TorchCudaSession:
        """Build the network and move it to the device."""
        from ofa_toolkit.supernets import build_network

        torch, options = self._torch, self.options
        kind = torch.float16 if options.precision == "fp16" else torch.float32
        network = build_network(layers).eval().to(device=options.processor, dtype=kind)
        values = rng.generator(seed, "torch").standard_normal(input_shape(layers, options.batch_size))
        images = torch.from_numpy(values.astype(np.float32)).to(device=options.processor, dtype=kind)
        if options.processor == "cuda":
            return TorchCudaSession(torch, network, images)
        return TorchCpuSession(torch, network, images, options.num_threads)


class TorchCpuSession:
    """A network on the CPU."""

    def __init__(self, torch: Any, network: Any, images: Any, num_threads: int) -> None:
        self._torch, self._network, self._images, self._num_threads = torch, network, images, num_threads

    def time_runs(self, num_runs: int) -> RunTimes:
        """Time blocking runs; the process's number of threads is put back afterwards."""
        from ofa_toolkit.modules.threads import torch_threads

        with torch_threads(self._num_threads), self._torch.inference_mode():
            return time_calls(
                lambda: self._network(self._images), num_runs, is_one_thread=self._num_threads == 1
            )


class TorchCudaSession:
    """A network on a CUDA device."""

    def __init__(self, torch: Any, network: Any, images: Any) -> None:
        self._torch, self._network, self._images = torch, network, images

    def time_runs(self, num_runs: int) -> RunTimes:
        """Times between CUDA events in ms, each run synchronised."""
        torch = self._torch
        times = np.empty(num_runs)
        with torch.inference_mode():
            for index in range(num_runs):
                start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                torch.cuda.synchronize()
                start.record()
                self._network(self._images)
                end.record()
                end.synchronize()
                times[index] = start.elapsed_time(end)
        return RunTimes(wall_ms=times)
