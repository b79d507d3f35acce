"""Costs of single layers and small graphs, by hand."""

from __future__ import annotations

from typing import Any

import pytest

from ofa_toolkit.complexity import (
    count_macs,
    count_params,
    layer_macs,
    layer_params,
    peak_activation_elements,
)
from ofa_toolkit.spaces.layer_spec import LayerSpec


def _layer(
    name: str = "x", kind: Any = "conv", inputs: tuple[str, ...] = ("input",), **facts: Any
) -> LayerSpec:
    shapes = {"in_channels": 4, "out_channels": 4, "in_size": 8, "out_size": 8}
    return LayerSpec(name=name, kind=kind, inputs=inputs, **{**shapes, **facts})


@pytest.mark.parametrize(
    ("layer", "macs", "params"),
    [
        (_layer(in_channels=3, out_channels=16, kernel_size=3, out_size=4), 3 * 9 * 16 * 16, 3 * 9 * 16),
        (_layer(kernel_size=5, groups=4), 25 * 4 * 64, 25 * 4),
        (_layer(in_channels=8, groups=2), 4 * 4 * 64, 4 * 4),
        (_layer(bias=True), 4 * 4 * 64, 4 * 4 + 4),
        (_layer(batch_norm=True), 4 * 4 * 64, 4 * 4 + 8),
        (_layer(bias=True, batch_norm=True), 4 * 4 * 64, 4 * 4 + 12),
        (_layer(kind="linear", out_channels=10, in_size=1, out_size=1, bias=True), 40, 50),
        (_layer(kind="max_pool", kernel_size=3), 0, 0),
        (_layer(kind="add", inputs=("a", "b")), 0, 0),
        (_layer(kind="scale", inputs=("a", "b")), 0, 0),
    ],
)
def test_one_layer(layer: LayerSpec, macs: int, params: int) -> None:
    assert layer_macs(layer) == macs
    assert layer_params(layer) == params
    assert (count_macs([layer, layer]), count_params([layer, layer])) == (2 * macs, 2 * params)


def test_memory_of_a_chain_is_the_largest_pair_of_neighbours() -> None:
    chain = [
        _layer("a", in_channels=3, out_channels=2),  # 3 x 64 in, 2 x 64 out
        _layer("b", inputs=("a",), in_channels=2, out_channels=7),
        _layer("c", inputs=("b",), in_channels=7, out_channels=1),
    ]
    assert peak_activation_elements(chain) == (2 + 7) * 64
    assert peak_activation_elements(chain[:1]) == (3 + 2) * 64
    assert peak_activation_elements([]) == 0


def test_a_shortcut_stays_alive_until_it_is_added() -> None:
    block = [
        _layer("wide", inputs=("before",), out_channels=9),
        _layer("narrow", inputs=("wide",), in_channels=9),
        _layer("sum", kind="add", inputs=("narrow", "before")),
    ]
    # While `narrow` runs: the block's input (4), the wide map (9) and the result (4).
    assert peak_activation_elements(block) == (4 + 9 + 4) * 64
    without = [*block[:2], _layer("next", inputs=("narrow",))]
    assert peak_activation_elements(without) == (9 + 4) * 64


def test_sizes_count_by_area() -> None:
    shrinking = [_layer("a", in_size=8, out_size=4), _layer("b", inputs=("a",), in_size=4, out_size=4)]
    assert peak_activation_elements(shrinking) == 4 * 64 + 4 * 16


def test_an_output_that_nothing_reads_stays_alive() -> None:
    assert (
        peak_activation_elements([_layer("a", out_channels=3), _layer("b", out_channels=2)])
        == (4 + 3 + 2) * 64
    )
    three = [_layer(name, out_channels=channels) for name, channels in (("a", 3), ("b", 2), ("c", 1))]
    assert peak_activation_elements(three) == (4 + 3 + 2 + 1) * 64
    once = [_layer("a", inputs=("x",), out_channels=3), _layer("b", inputs=("y",), in_channels=5)]
    assert peak_activation_elements(once) == (3 + 4 + 5) * 64
