"""Weights out of files that training programs write: what is in them, without running any code of theirs.

Programs nest the state dictionary (`net`, `state_dict_ema`, `model_state_dict`, ...), put prefixes before its
names (`module.`, `_orig_mod.`, stacked), leave counters of profilers in it, and store numpy scalars or their
command line beside it. Files are read with `weights_only=True`; of the types that needs to be told about,
only plain values are allowed.
"""

from __future__ import annotations

import argparse
import datetime as dt
import pathlib
import pickle
import re
import types
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from ofa_toolkit.core.beginnings import kind_of
from ofa_toolkit.core.errors import CheckpointError, UnknownNameError
from ofa_toolkit.core.quantities import counted

PUBLISHED_ANCHORS = ("features.0.0.", "layers.0.", "conv_stem.", "_conv_stem.")
"""Starts of the first layer's names in networks that libraries publish: torchvision's, timm's."""

ANCHORS = ("first_conv.", "input_stem.0.", "stem.conv.", "stages.0.0.", *PUBLISHED_ANCHORS)
"""Those, and official and our own ones: what stands before them is a wrapper's prefix."""

_COMPILED = "_orig_mod."
_PROFILED = ("total_ops", "total_params")
_COUNTER = ".num_batches_tracked"
_DEEPEST = 4
_AVERAGED = re.compile(r"(^|[._])(ema|averaged|swa)", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A state dictionary found in a file.

    Attributes:
        path: The file.
        weights: Tensors by name, without prefixes.
        place: Keys that lead to it, joined by dots; empty where the file is the dictionary itself.
        prefix: Text that stood before every name.
        left_out: Other content of the file: dictionaries, counters, settings.
    """

    path: Path
    weights: Mapping[str, Tensor]
    place: str
    prefix: str
    left_out: tuple[str, ...]


def read_checkpoint(path: str | Path, place: str | None = None) -> Checkpoint:
    """The weights of a network in a file of a training program, or a plain safetensors file.

    Args:
        path: The file.
        place: Which of several state dictionaries or prefixes, as `left_out` names them; None for weights
            averaged over training where there are some, else the first.

    Raises:
        CheckpointError: The file is missing, damaged, holds no weights, or objects that could run code.
        UnknownNameError: It holds nothing at `place`.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"No checkpoint at '{path}'.", hint="Check the path.")
    content = _load_safetensors(path) if path.suffix == ".safetensors" else _load_pickle(path)
    found = list(_split(path, _state_dicts(content)))
    if not found:
        raise CheckpointError(f"'{path}' holds no state dictionary: {_described(content)}.")
    found.sort(key=_preference)
    chosen = found[0]
    rivals = [
        each for each in found if each.place == chosen.place and _preference(each) == _preference(chosen)
    ]
    if place is None and len(rivals) > 1:
        raise CheckpointError(
            f"'{path}' holds weights of several networks: {', '.join(map(_name, rivals))}.",
            hint=f"Say which: --weights {_name(rivals[-1])}",
        )
    if place is not None:
        by_name = {_name(each): each for each in found}
        if place not in by_name:
            known = ", ".join(by_name)
            raise UnknownNameError(f"'{path}' holds no weights '{place}'. Known: {known}.")
        chosen = by_name[place]
    _check_numbers(chosen)
    others = [f"weights '{_name(each)}'" for each in found if each is not chosen]
    return replace(chosen, left_out=(*chosen.left_out, *others, *_settings(content)))


def _check_numbers(found: Checkpoint) -> None:
    """Refuse quantised weights: as numbers they are others than the network's."""
    for name, tensor in found.weights.items():
        if not tensor.is_floating_point() and not name.endswith(_COUNTER):
            kind = str(tensor.dtype).removeprefix("torch.")
            raise CheckpointError(
                f"'{found.path}': '{name}' holds {kind}, not floating-point numbers.",
                hint="Import the weights from before they were quantised.",
            )


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The state dictionary in a file; see `read_checkpoint`."""
    return dict(read_checkpoint(path).weights)


def _load_safetensors(path: Path) -> Any:
    try:
        return safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError) as error:
        raise CheckpointError(f"'{path}' is damaged or truncated: {error}.") from error


def _load_pickle(path: Path) -> Any:
    with path.open("rb") as file:
        kind = kind_of(file.read(100))
    if kind is not None and not kind[0].startswith("a zip"):
        raise CheckpointError(f"'{path}' is {kind[0]}, no checkpoint.", hint=kind[1])
    try:
        with torch.serialization.safe_globals(_plain_types()):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL (\S+)", str(error))
        what = f"'{named[1]}'" if named else "objects"
        raise CheckpointError(
            f"'{path}' is damaged, or holds {what} that could run code; nothing of it was read.",
            hint="Save the weights alone where it was made: torch.save(network.state_dict(), FILE)",
        ) from error
    except Exception as error:  # damaged bytes can raise anything in the readers of archives and pickles
        raise CheckpointError(
            f"'{path}' cannot be read as a checkpoint; it may be truncated.", hint="Download it again."
        ) from error


def _plain_types() -> list[Any]:
    """Types that hold values only, under the names that pickles know them by."""
    scalar, array = np.float64(0).__reduce__()[0], np.zeros(0).__reduce__()[0]
    numpy_types = [np.dtype, np.ndarray, *{type(np.dtype(code)) for code in "?bhilqBHILQefdUS"}]
    for package in ("numpy.core", "numpy._core"):
        numpy_types += [(scalar, f"{package}.multiarray.scalar")]
        numpy_types += [(array, f"{package}.multiarray._reconstruct")]
    # A path of the machine that trained, read as a plain value.
    paths = [
        (kind, f"{module}.{name}")
        for module in ("pathlib", "pathlib._local")
        for kind, name in ((pathlib.PurePosixPath, "PosixPath"), (pathlib.PureWindowsPath, "WindowsPath"))
    ]
    times = [dt.datetime, dt.date, dt.timedelta, dt.timezone]
    # The reader fills no other dictionary than plain ones.
    logs = [(_empty_dictionary, "collections.defaultdict"), list, dict, int, float]
    return [
        argparse.Namespace,
        types.SimpleNamespace,
        *logs,
        *times,
        pathlib.PurePosixPath,
        *numpy_types,
        *paths,
    ]


def _empty_dictionary(*_: object) -> dict[str, Any]:
    return {}


def _state_dicts(content: Any, place: str = "", depth: int = 0) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
    """Every dictionary with tensors under text keys, outermost first."""
    if isinstance(content, (list, tuple)):
        content = {str(position): value for position, value in enumerate(content)}
    if not isinstance(content, Mapping) or depth > _DEEPEST:
        return
    tensors = {key: tensor for key, value in content.items() if (tensor := _as_tensor(value)) is not None}
    if tensors and all(isinstance(key, str) for key in tensors):
        yield place, tensors
    for key, value in content.items():
        if isinstance(key, str):
            yield from _state_dicts(value, f"{place}.{key}" if place else key, depth + 1)


def _as_tensor(value: Any) -> Tensor | None:
    """A tensor, or an array that a program without torch saved in its place."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiu":
        return torch.from_numpy(np.array(value, dtype=value.dtype.newbyteorder("=")))
    return value if isinstance(value, Tensor) else None


def _split(path: Path, dictionaries: Iterable[tuple[str, Mapping[str, Tensor]]]) -> Iterator[Checkpoint]:
    """One checkpoint for each network in each dictionary: names share a prefix, or belong to another one."""
    for place, tensors in dictionaries:
        names = {name: name.replace(_COMPILED, "") for name in tensors}
        counters = [name for name in names if name.rpartition(".")[2] in _PROFILED]
        anchored = {
            plain[: plain.index(anchor)]: None
            for plain in names.values()
            for anchor in ANCHORS
            if plain.startswith(anchor) or f".{anchor}" in plain
        }
        for prefix in anchored:
            weights = {
                plain.removeprefix(prefix): tensors[name]
                for name, plain in names.items()
                if plain.startswith(prefix) and name not in counters
            }
            if not prefix and len(anchored) > 1:
                others = tuple(other for other in anchored if other)
                weights = {name: tensor for name, tensor in weights.items() if not name.startswith(others)}
            rest = len(names) - len(counters) - len(weights)
            left_out = [f"{counted(len(counters), 'counter')} of a profiler"] if counters else []
            if rest and len(anchored) == 1:
                left_out.append(f"{counted(rest, 'tensor')} beside '{prefix}'")
            yield Checkpoint(path=path, weights=weights, place=place, prefix=prefix, left_out=tuple(left_out))


def _preference(found: Checkpoint) -> tuple[bool, int]:
    """Averaged weights first, then outer ones; sorting keeps the file's order otherwise."""
    return (_AVERAGED.search(f"{found.place}.{found.prefix}") is None, found.place.count("."))


def _name(found: Checkpoint) -> str:
    return ".".join(part for part in (found.place, found.prefix.rstrip(".")) if part) or "(the file itself)"


def _settings(content: Any) -> list[str]:
    """Keys of the file that hold no tensors."""
    if not isinstance(content, Mapping):
        return []
    return [
        f"'{key}'" for key, value in content.items() if not isinstance(value, (Tensor, np.ndarray, Mapping))
    ]


def _described(content: Any) -> str:
    if not isinstance(content, Mapping):
        return f"it holds a {type(content).__name__}"
    keys = [f"'{key}'" for key in content]
    shown = ", ".join(keys[:6]) + (", ..." if len(keys) > 6 else "")
    return f"it holds {shown}" if keys else "it is empty"
