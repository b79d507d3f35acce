"""Latency tables of the once-for-all repositories: `{resolution}_lookup_table.yaml`, one entry per block.

An entry maps a key to `{mean, std, count}`, mean in ms. The keys spell out the operation:
`Conv-input:224x224x3-output:112x112x24`,
`expanded_conv-input:HxWxC-output:HxWxC-expand:E-kernel:K-stride:S-idskip:0|1[-se:0|1-hs:0|1]`, `Conv_1`,
`AvgPool2D`, `Conv_2`, `Logits`. `expand` is the number of middle channels in the MobileNetV3 tables and the
ratio in the ProxylessNAS ones, which have neither `se` nor `hs`, nor an entry for the pool.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from ofa_toolkit.core.errors import FileFormatError
from ofa_toolkit.core.quantities import counted
from ofa_toolkit.latency.importing.block_file import SUFFIXES, read_blocks
from ofa_toolkit.latency.importing.measurements import ImportContext, UnitMeasurements, positive_number
from ofa_toolkit.latency.measuring.measured_table import unit_items
from ofa_toolkit.latency.predictors.signature import unit_signature
from ofa_toolkit.spaces import SearchSpace
from ofa_toolkit.spaces.layer_spec import LayerSpec
from ofa_toolkit.spaces.rounding import middle_channels

Entries = Mapping[str, float]
_FEWEST_REPEATS = 10


def read_ofa_tables(paths: Sequence[Path], context: ImportContext) -> UnitMeasurements:
    """Read tables of one or more resolutions and find every unit of the space in them.

    A shape that several resolutions have was timed with each of them; a network's sum takes the times of its
    own resolution's table, as the repositories do.

    Raises:
        FileFormatError: A file is no such table, or none of the space's units is in it.
    """
    space = context.required_space("A table of the once-for-all repositories")
    by_resolution: dict[int, dict[str, float]] = {}
    anywhere: dict[str, list[float]] = {}
    num_few = 0
    for path in block_files(paths):
        for resolution, blocks in read_blocks(path).items():
            entries = {key: positive_number(b.mean_ms, f"'{path}', '{key}'") for key, b in blocks.items()}
            num_few += sum((b.count or 0) < _FEWEST_REPEATS for b in blocks.values())
            own = space if resolution is None else _restricted(space, resolution)
            found = by_resolution.setdefault(resolution, {}) if resolution is not None else {}
            for item in unit_items(own):
                total = _unit_time(entries, item.layers)
                if total is not None:
                    found[unit_signature(item.layers)] = total
                    anywhere.setdefault(unit_signature(item.layers), []).append(total)
    if not anywhere:
        raise FileFormatError(
            f"No unit of '{space.name}' is in the table: it was measured for another space.",
            hint="The public Note 10 tables are for ofa-mobilenet-v3-w1.2.",
        )
    few = (
        (f"Fewer than {_FEWEST_REPEATS} repeats stated, or none: {counted(num_few, 'entry')}.",)
        if num_few
        else ()
    )
    return UnitMeasurements(
        space=space,
        times_ms={signature: float(np.median(times)) for signature, times in anywhere.items()},
        by_resolution={size: times for size, times in by_resolution.items() if times},
        num_missing=sum(unit_signature(item.layers) not in anywhere for item in unit_items(space)),
        conditions=context.conditions,
        caveats=("Sums of blocks timed on their own; how far whole networks differ is unknown.", *few),
    )


def ofa_keys(layers: Sequence[LayerSpec]) -> list[list[str]]:
    """The operations of a unit, each with the spellings its key may have."""
    keys: list[list[str]] = []
    block: list[LayerSpec] = []
    for layer in _without_squeeze(layers):
        if layer.kind == "conv" and (layer.is_depthwise or block):
            block.append(layer)
            if not layer.is_depthwise:
                keys.append(list(_block_keys(block, layers)))
                block = []
        elif layer.kind == "conv" and _feeds_depthwise(layer, layers):
            block.append(layer)
        elif layer.kind == "conv":
            keys.append([_plain_key(layer)])
        elif layer.kind == "global_avg_pool":
            keys.append([_key("AvgPool2D", layer, f"1x1x{layer.out_channels}"), ""])
        elif layer.kind == "linear":
            keys.append(list(_logits_keys(layer, layers)))
    return keys


def block_files(paths: Sequence[Path]) -> list[Path]:
    """The files that paths stand for; folders hold them under the repositories' names.

    Raises:
        FileFormatError: There are none.
    """
    files: list[Path] = []
    for path in paths:
        inside = (found for found in sorted(path.glob("*_lookup_table.*")) if found.suffix in SUFFIXES)
        files += inside if path.is_dir() else [path]
    if not files:
        raise FileFormatError(
            f"'{paths[0]}' holds no *_lookup_table.yaml or .json.",
            hint="Name the files themselves where they are called otherwise.",
        )
    return files


def _restricted(space: SearchSpace, resolution: int) -> SearchSpace:
    if resolution not in space.resolutions:
        return space.with_resolutions(())
    return space.with_resolutions((resolution,))


def _unit_time(entries: Entries, layers: Sequence[LayerSpec]) -> float | None:
    """Sum of the unit's operations in ms, or None where one is missing."""
    total = 0.0
    for spellings in ofa_keys(layers):
        found = next((entries[key] for key in spellings if key in entries), None)
        if found is None and "" not in spellings:
            return None
        total += found or 0.0
    return total or None


def _shape(channels: int, size: int) -> str:
    return f"{size}x{size}x{channels}"


def _key(operation: str, layer: LayerSpec, output: str) -> str:
    return f"{operation}-input:{_shape(layer.in_channels, layer.in_size)}-output:{output}"


def _plain_key(layer: LayerSpec) -> str:
    """The first convolution, the one before the pool, or the one after it."""
    operation = "Conv" if layer.kernel_size > 1 else "Conv_2" if layer.in_size == 1 else "Conv_1"
    return _key(operation, layer, _shape(layer.out_channels, layer.out_size))


def _logits_keys(layer: LayerSpec, layers: Sequence[LayerSpec]) -> Iterator[str]:
    yield _key("Logits", layer, str(layer.out_channels))
    for pool in layers:
        if pool.kind == "global_avg_pool" and pool.name == layer.inputs[0]:
            yield f"Logits-input:{_shape(pool.in_channels, pool.in_size)}-output:{layer.out_channels}"


def _block_keys(block: Sequence[LayerSpec], layers: Sequence[LayerSpec]) -> Iterator[str]:
    """Key of an inverted residual: middle channels with flags, or ratio without."""
    first, last = block[0], block[-1]
    depthwise = next(layer for layer in block if layer.is_depthwise)
    has_skip = any(layer.kind == "add" and last.name in layer.inputs for layer in layers)
    shapes = f"-output:{_shape(last.out_channels, last.out_size)}"
    start = f"expanded_conv-input:{_shape(first.in_channels, first.in_size)}{shapes}"
    end = f"-kernel:{depthwise.kernel_size}-stride:{depthwise.stride}-idskip:{int(has_skip)}"
    middle = depthwise.in_channels
    has_squeeze = any(layer.kind == "scale" and depthwise.name in layer.inputs for layer in layers)
    flags = f"-se:{int(has_squeeze)}-hs:{int(depthwise.activation == 'h_swish')}"
    yield f"{start}-expand:{middle}{end}{flags}"
    for ratio in (1, 2, 3, 4, 5, 6):
        if middle_channels(first.in_channels, ratio) == middle:
            yield f"{start}-expand:{ratio}{end}"


def _without_squeeze(layers: Sequence[LayerSpec]) -> list[LayerSpec]:
    """The layers without squeeze-excite branches, whose time is in their block's entry."""
    by_name = {layer.name: layer for layer in layers}
    inside: set[str] = set()
    for layer in layers:
        if layer.kind == "scale":
            name = layer.inputs[1]
            while by_name[name].kind != "global_avg_pool":
                inside.add(name)
                name = by_name[name].inputs[0]
            inside.add(name)
    return [layer for layer in layers if layer.name not in inside]


def _feeds_depthwise(layer: LayerSpec, layers: Sequence[LayerSpec]) -> bool:
    """Whether a 1x1 convolution widens for a depthwise one; the first 3x3 convolution feeds one as well."""
    return layer.kernel_size == 1 and any(
        other.is_depthwise and layer.name in other.inputs for other in layers
    )
