"""What data sheets and release notes say about the devices that ship."""

from __future__ import annotations

from typing import Any

_MATRIX = "https://docs.nvidia.com/deeplearning/tensorrt/latest/getting-started/support-matrix.html"


def _device(
    name: str,
    title: str,
    kind: str,
    chip: str,
    default_variant: str,
    *,
    compute_capability: str | None = None,
    memory_gb: float | None = None,
    software: tuple[str, int | None, str] = ("none", None, "none"),
    peak: dict[str, float] | None = None,
    links: tuple[str, ...] = (),
    aliases: dict[str, str] | None = None,
    compiler: str | None = None,
) -> dict[str, Any]:
    tensorrt, opset, python = software
    fact: dict[str, Any] = {
        "name": name,
        "title": title,
        "kind": kind,
        "chip": chip,
        "default_variant": default_variant,
        "software": {"tensorrt": tensorrt, "python": python, **({"opset": opset} if opset else {})},
        "peak": peak or {},
        "links": list(links),
    }
    if compiler is not None:
        fact["software"]["compiler"] = compiler
    if aliases is not None:
        fact["aliases"] = aliases
    if compute_capability is not None:
        fact["compute_capability"] = compute_capability
    if memory_gb is not None:
        fact["memory_gb"] = memory_gb
    return fact


def _peak(
    fp32: float, bandwidth: float, fp16: float | None = None, int8: float | None = None
) -> dict[str, float]:
    figures = {"fp32_tflops": fp32, "fp16_tflops": fp16, "int8_tops": int8, "memory_gb_per_s": bandwidth}
    return {name: value for name, value in figures.items() if value is not None}


_JETPACK_46 = ("8.2.1", 13, "3.6")
_JETPACK_51 = ("8.5.2", 17, "3.8")
_JETPACK_62 = ("10.3", 20, "3.10")
# The newest TensorRT that runs on each architecture, and the opset its parser reads. 11 needs Turing or
# later; 10.5 removed Volta; Pascal's last is 8.6 (support matrix: 10.x needs compute capability 7.0).
_SERVER = ("11.4", 24, "3.10")
_VOLTA = ("10.4", 20, "3.10")
_PASCAL = ("8.6", 17, "3.10")

_HUB = "https://workbench.aihub.qualcomm.com/docs/hub/devices.html"


def _qualcomm(
    name: str, title: str, kind: str, chip: str, default: str, aliases: tuple[str, ...] = ()
) -> dict[str, Any]:
    """A device of Qualcomm's AI Hub; its aliases are devices whose published rows repeat its rows."""
    return _device(
        name,
        title,
        kind,
        chip,
        f"qualcomm-{default}-1",
        links=(_HUB,),
        compiler="Qualcomm AI Hub and the converter of its AI Engine Direct (QNN) take ONNX files",
        aliases=dict.fromkeys(aliases, "the published times of both are equal in every digit") or None,
    )


QUALCOMM: tuple[dict[str, Any], ...] = (
    _qualcomm(
        "galaxy-s22",
        "Samsung Galaxy S22 5G",
        "phone",
        "Snapdragon 8 Gen 1, Hexagon NPU",
        "tflite-fp16",
        ("Snapdragon XR2 Gen 2",),
    ),
    _qualcomm("galaxy-s24", "Samsung Galaxy S24", "phone", "Snapdragon 8 Gen 3, Hexagon NPU", "tflite-fp16"),
    _qualcomm(
        "galaxy-s25",
        "Samsung Galaxy S25",
        "phone",
        "Snapdragon 8 Elite, Hexagon NPU",
        "tflite-fp16",
        ("Dragonwing Q-8750",),
    ),
    _qualcomm(
        "galaxy-s26", "Samsung Galaxy S26", "phone", "Snapdragon 8 Elite Gen 5, Hexagon NPU", "tflite-fp16"
    ),
    _qualcomm(
        "snapdragon-7-gen-4",
        "Snapdragon 7 Gen 4 reference phone",
        "phone",
        "Snapdragon 7 Gen 4, Hexagon NPU",
        "tflite-int8",
        ("Dragonwing Q-7790",),
    ),
    _qualcomm(
        "snapdragon-x-elite",
        "Snapdragon X Elite reference laptop",
        "npu",
        "Snapdragon X Elite, Hexagon NPU",
        "onnxruntime-fp16",
        ("Dragonwing IQ-X7181",),
    ),
    _qualcomm(
        "snapdragon-x2-elite",
        "Snapdragon X2 Elite reference laptop",
        "npu",
        "Snapdragon X2 Elite, Hexagon NPU",
        "onnxruntime-fp16",
    ),
    _qualcomm(
        "rb3-gen-2",
        "Qualcomm Dragonwing RB3 Gen 2 Vision Kit",
        "npu",
        "QCS6490, Hexagon NPU",
        "tflite-int8",
    ),
    _qualcomm(
        "dragonwing-iq-9075", "Qualcomm Dragonwing IQ-9075 EVK", "npu", "IQ-9075, Hexagon NPU", "tflite-fp16"
    ),
    _qualcomm(
        "dragonwing-q-6690", "Qualcomm Dragonwing Q-6690 MTP", "npu", "Q-6690, Hexagon NPU", "tflite-int8"
    ),
    _qualcomm(
        "arduino-ventuno-q", "Arduino VENTUNO Q", "npu", "unknown Dragonwing, Hexagon NPU", "tflite-fp16"
    ),
    _qualcomm("qcs8550", "Qualcomm QCS8550 (proxy)", "npu", "QCS8550, Hexagon NPU", "tflite-fp16"),
    _qualcomm("sa7255p", "Qualcomm SA7255P ADP", "npu", "SA7255P, Hexagon NPU", "tflite-fp16"),
    _qualcomm(
        "sa8255p",
        "Qualcomm SA8255P ADP",
        "npu",
        "SA8255P, Hexagon NPU",
        "tflite-fp16",
        ("SA8650P ADP", "SA8775P ADP"),
    ),
    _qualcomm("sa8295p", "Qualcomm SA8295P ADP", "npu", "SA8295P, Hexagon NPU", "tflite-fp16"),
)

HAILO: tuple[dict[str, Any], ...] = tuple(
    _device(
        name,
        title,
        "npu",
        chip,
        "hailo-hailort-int8-8",
        peak={"int8_tops": tops} if tops else {},
        links=("https://github.com/hailo-ai/hailo_model_zoo",),
        compiler="Hailo's Dataflow Compiler takes ONNX files",
    )
    for name, title, chip, tops in (
        ("hailo-8", "Hailo-8", "Hailo-8", 26.0),
        ("hailo-8l", "Hailo-8L (Raspberry Pi AI Kit)", "Hailo-8L", 13.0),
        ("hailo-10h", "Hailo-10H", "Hailo-10H", None),
        ("hailo-15h", "Hailo-15H", "Hailo-15H", 20.0),
        ("hailo-15l", "Hailo-15L", "Hailo-15L", 7.0),
    )
)

_PIS = "https://www.raspberrypi.com/documentation/computers/processors.html"
BOARD_CPUS: tuple[dict[str, Any], ...] = tuple(
    _device(
        name,
        title,
        "cpu",
        chip,
        f"benchncnn-4-threads-{precision}-1",
        links=(_PIS,) if name.startswith("raspberry") else (),
    )
    for name, title, chip, precision in (
        ("raspberry-pi-3b", "Raspberry Pi 3 Model B Plus", "BCM2837B0, 4 Cortex-A53", "fp32"),
        ("raspberry-pi-4", "Raspberry Pi 4 Model B", "BCM2711, 4 Cortex-A72 at 1.8 GHz", "fp32"),
        ("raspberry-pi-5", "Raspberry Pi 5 Model B", "BCM2712, 4 Cortex-A76 at 2.4 GHz", "fp16"),
        ("raspberry-pi-zero-2", "Raspberry Pi Zero 2 W", "BCM2710A1, 4 Cortex-A53 at 1 GHz", "fp32"),
        ("orange-pi-5", "Orange Pi 5", "RK3588S, 4 Cortex-A76 and 4 Cortex-A55", "fp16"),
        ("rk3568", "Rockchip RK3568 (Station P2)", "RK3568, 4 Cortex-A55 at 2 GHz", "fp16"),
    )
)

FACTS: tuple[dict[str, Any], ...] = (
    _device(
        "jetson-nano",
        "NVIDIA Jetson Nano (4 GB)",
        "embedded-gpu",
        "Tegra X1, 128-core Maxwell",
        "transfer-tensorrt-fp16-1",
        compute_capability="5.3",
        memory_gb=4,
        software=_JETPACK_46,
        peak=_peak(0.236, 25.6, 0.472),
        links=(
            "https://developer.nvidia.com/embedded/jetson-nano",
            "https://developer.nvidia.com/jetpack-sdk-46",
        ),
    ),
    _device(
        "jetson-tx2",
        "NVIDIA Jetson TX2",
        "embedded-gpu",
        "Tegra X2, 256-core Pascal",
        "transfer-tensorrt-fp16-1",
        compute_capability="6.2",
        memory_gb=8,
        software=_JETPACK_46,
        peak=_peak(0.665, 59.7, 1.33),
        links=("https://developer.nvidia.com/embedded/jetson-tx2",),
    ),
    _device(
        "jetson-xavier-nx",
        "NVIDIA Jetson Xavier NX",
        "embedded-gpu",
        "Xavier, 384-core Volta",
        "transfer-tensorrt-fp16-1",
        compute_capability="7.2",
        memory_gb=8,
        software=_JETPACK_51,
        peak=_peak(0.845, 59.7, 6.8, 13.5),
        links=("https://developer.nvidia.com/embedded/jetson-xavier-nx",),
    ),
    _device(
        "jetson-agx-xavier",
        "NVIDIA Jetson AGX Xavier",
        "embedded-gpu",
        "Xavier, 512-core Volta",
        "transfer-tensorrt-fp16-1",
        compute_capability="7.2",
        memory_gb=32,
        software=_JETPACK_51,
        peak=_peak(1.41, 136.5, 11.3, 22.6),
        links=("https://developer.nvidia.com/embedded/jetson-agx-xavier",),
    ),
    _device(
        "jetson-orin-nano",
        "NVIDIA Jetson Orin Nano (8 GB)",
        "embedded-gpu",
        "Orin, 1024-core Ampere",
        "transfer-tensorrt-fp16-1",
        compute_capability="8.7",
        memory_gb=8,
        software=_JETPACK_62,
        peak=_peak(1.28, 68, 10.2, 20),
        links=("https://developer.nvidia.com/embedded/jetson-orin",),
    )
    | {
        "aliases": {
            "jetson-orin-nano-super": "its figures are from before the Super power mode, in which the board "
            "is faster"
        }
    },
    _device(
        "jetson-agx-orin",
        "NVIDIA Jetson AGX Orin",
        "embedded-gpu",
        "Orin, 2048-core Ampere",
        "transfer-tensorrt-fp16-1",
        compute_capability="8.7",
        memory_gb=64,
        software=_JETPACK_62,
        peak=_peak(5.3, 204.8, 42.5, 85),
        links=("https://developer.nvidia.com/embedded/jetson-orin",),
    ),
    _device(
        "v100",
        "NVIDIA Tesla V100",
        "gpu",
        "GV100 (Volta)",
        "help-pytorch-fp32-64",
        compute_capability="7.0",
        memory_gb=16,
        software=_VOLTA,
        peak=_peak(15.7, 900, 125),
        links=("https://www.nvidia.com/en-gb/data-center/tesla-v100/", _MATRIX),
    ),
    _device(
        "a40",
        "NVIDIA A40",
        "gpu",
        "GA102 (Ampere)",
        "transfer-pytorch-fp32-64",
        compute_capability="8.6",
        memory_gb=48,
        software=_SERVER,
        peak=_peak(37.4, 696, 149.7, 299.3),
        links=("https://www.nvidia.com/en-us/data-center/a40/", _MATRIX),
    ),
    _device(
        "rtx-2080ti",
        "NVIDIA GeForce RTX 2080 Ti",
        "gpu",
        "TU102 (Turing)",
        "nasperf-pytorch-fp32-64",
        compute_capability="7.5",
        memory_gb=11,
        software=_SERVER,
        peak=_peak(13.4, 616, 107.6, 215.2),
        links=("https://www.nvidia.com/en-us/geforce/20-series/", _MATRIX),
    ),
    _device(
        "titan-rtx",
        "NVIDIA Titan RTX",
        "gpu",
        "TU102 (Turing)",
        "help-pytorch-fp32-64",
        compute_capability="7.5",
        memory_gb=24,
        software=_SERVER,
        peak=_peak(16.3, 672, 130.5, 261),
        links=("https://www.nvidia.com/en-us/deep-learning-ai/products/titan-rtx/", _MATRIX),
    ),
    _device(
        "titan-xp",
        "NVIDIA Titan Xp",
        "gpu",
        "GP102 (Pascal)",
        "help-pytorch-fp32-64",
        compute_capability="6.1",
        memory_gb=12,
        software=_PASCAL,
        peak=_peak(12.1, 547.7, int8=48.6),
        links=("https://www.nvidia.com/en-us/titan/titan-xp/", _MATRIX),
    ),
    _device(
        "tesla-p40",
        "NVIDIA Tesla P40",
        "gpu",
        "GP102 (Pascal)",
        "nasperf-pytorch-fp32-64",
        compute_capability="6.1",
        memory_gb=24,
        software=_PASCAL,
        peak=_peak(11.8, 346, int8=47),
        links=("https://www.nvidia.com/en-us/data-center/tesla-p40/", _MATRIX),
    ),
    _device(
        "a100",
        "NVIDIA A100 (40 GB)",
        "gpu",
        "GA100 (Ampere)",
        "accelnasbench-pytorch-fp32-64",
        compute_capability="8.0",
        memory_gb=40,
        software=_SERVER,
        peak=_peak(19.5, 1555, 312, 624),
        links=("https://www.nvidia.com/en-us/data-center/a100/", _MATRIX),
    ),
    _device(
        "rtx-3090",
        "NVIDIA GeForce RTX 3090",
        "gpu",
        "GA102 (Ampere)",
        "accelnasbench-pytorch-fp32-64",
        compute_capability="8.6",
        memory_gb=24,
        software=_SERVER,
        peak=_peak(35.6, 936, 142, 284),
        links=("https://www.nvidia.com/en-us/geforce/graphics-cards/30-series/rtx-3090-3090ti/", _MATRIX),
    ),
    _device(
        "note10",
        "Samsung Galaxy Note 10",
        "phone",
        "unknown (Exynos 9825 or Snapdragon 855, by region)",
        "compofa-tflite-fp32-1",
        memory_gb=8,
    ),
    _device(
        "pixel1",
        "Google Pixel 1",
        "phone",
        "Snapdragon 821",
        "proxylessnas-tflite-fp32-1",
        memory_gb=4,
    ),
    *QUALCOMM,
    *HAILO,
    *BOARD_CPUS,
)

MEASURED: dict[str, dict[str, Any]] = {
    "epyc-zen5": {
        **_device(
            "epyc-zen5",
            "AMD EPYC (Zen 5), virtual machine with 2 cores",
            "cpu",
            "AMD EPYC, x86-64, family 26 (Zen 5), AVX-512; 2 cores of a virtual machine",
            "ofa-tk-onnxruntime-fp32-1",
            software=("none", 21, "3.11"),
        ),
        "clocks": "set by the host of the virtual machine, unknown",
    }
}
"""Devices that `ofa-tk latency measure` measured, for `tools/ship_measured_device.py`."""
