"""Small networks and made-up devices for the tests of export."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from ofa_toolkit.core.rng import generator
from ofa_toolkit.export.quantization import quantize
from ofa_toolkit.export.targets import generation
from ofa_toolkit.graphs import build_onnx, random_weights
from ofa_toolkit.latency.device import Device, Software, Variant
from ofa_toolkit.spaces.layer_builder import Flow, LayerBuilder
from ofa_toolkit.spaces.layer_spec import LayerSpec


def device(name: str, *, tensorrt: str, capability: str | None, kind: str = "embedded-gpu") -> Device:
    variant = Variant(
        name="made-up-fp32-1",
        source="made up",
        source_licence="none stated",
        date="2026-01-01",
        runtime="tensorrt",
        precision="fp32",
        batch_size=1,
        provenance="modelled",
        method="made up",
        networks="none",
        identity="0",
    )
    return Device(
        name=name,
        title=name.title(),
        kind=kind,
        chip="made up",
        compute_capability=capability,
        default_variant=variant.name,
        software=Software(tensorrt=tensorrt, python="3.6"),
        variants=(variant,),
    )


NANO = device("nano", tensorrt="8.2.1", capability="5.3")
VOLTA = device("volta", tensorrt="10.4.0", capability="7.0", kind="gpu")


def layers(activation: str = "h_swish") -> list[LayerSpec]:
    build = LayerBuilder(1e-5)
    flow = build.conv("first", Flow("input", 3, 8), 8, 3, 2, activation)
    entry = flow
    flow = build.squeeze_excite("se", build.depthwise("depthwise", flow, 3, 1, "relu"))
    flow = build.conv("project", flow, 8, 1, 1, None)
    flow = build.join("add", "add", flow, entry)
    pooled = build.pool("pool", "global_avg_pool", flow, flow.size, 1)
    build.linear("classifier", build.conv("mix", pooled, 16, 1, 1, activation, batch_norm=False), 4)
    return build.layers


def model(activation: str = "h_swish", **options: Any) -> onnx.ModelProto:
    network = layers(activation)
    return build_onnx(network, random_weights(network, np.random.default_rng(0)), **options)


def quantised(row: str, **options: Any) -> onnx.ModelProto:
    images = generator(0, "lint").standard_normal((2, 1, 3, 8, 8), dtype=np.float32)
    return quantize(model(**options), list(images), generation(row))
