"""Checkpoints as training programs write them: found, cleaned, and never run."""

from __future__ import annotations

import argparse
import collections
import datetime as dt
import pickle
import types
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor

from ofa_toolkit.core.errors import CheckpointError, MismatchError, UnknownNameError
from ofa_toolkit.spaces import get_space, restrict
from ofa_toolkit.supernets import Supernet, load_official_checkpoint
from ofa_toolkit.supernets.importing.checkpoint_file import read_checkpoint
from ofa_toolkit.supernets.importing.official_checkpoints import official_supernet_weights

# The largest values are left alone, so that three blocks are enough.
SPACE = restrict(get_space("mobilenet-v3-compact"), depths=[1])

Weights = dict[str, Tensor]


@pytest.fixture(scope="module")
def supernet() -> Supernet:
    torch.manual_seed(0)
    return Supernet(SPACE).eval()


def old(weights: Weights) -> Weights:
    """Names of before 2020."""
    return {
        name.replace(".conv.", ".mobile_inverted_conv.", 1) if name.startswith("blocks") else name: tensor
        for name, tensor in weights.items()
    }


def prefixed(weights: Weights, prefix: str) -> Weights:
    return {prefix + name: tensor for name, tensor in weights.items()}


WRAPPINGS: dict[str, Callable[[Weights], Any]] = {
    "plain": lambda w: w,
    "state_dict": lambda w: {"state_dict": w, "epoch": 3},
    "net": lambda w: {"net": w, "acc": 90.1},
    "ema": lambda w: {"ema": {"module": w}},
    "model_state_dict": lambda w: {"model_state_dict": w, "optimizer": {"state": {0: {"m": torch.ones(2)}}}},
    "model": lambda w: {"model": {"state_dict": old(w)}},
    "stacked prefixes": lambda w: {"state_dict": prefixed(old(w), "module._orig_mod.model.")},
    "compiled parts": lambda w: {n.replace("blocks.1.", "blocks.1._orig_mod."): t for n, t in w.items()},
    "averaged model": lambda w: {**prefixed(w, "module."), "n_averaged": torch.tensor(3)},
    "profiled": lambda w: {
        **w,
        "total_ops": torch.zeros(1, dtype=torch.float64),
        "blocks.1.total_params": torch.zeros(1),
    },
    "no counters": lambda w: {n: t for n, t in w.items() if not n.endswith("num_batches_tracked")},
    "numpy": lambda w: {"state_dict": w, "best": np.float64(76.1), "seen": np.int64(3), "ok": np.bool_(True)},
    "generators": lambda w: {
        "state_dict": w,
        "numpy": np.random.default_rng(0).random(3),
        "n": np.float32(1),
    },
    "arguments": lambda w: {"state_dict": w, "args": argparse.Namespace(lr=0.1, out=Path("runs"))},
    "list": lambda w: [w, {"lr": 0.1}],
    "logs": lambda w: {
        "state_dict": w,
        "history": collections.defaultdict(list, loss=[1.0]),
        "when": dt.datetime(2024, 5, 1, tzinfo=dt.timezone.utc),
        "settings": types.SimpleNamespace(lr=0.1),
        "file": PurePosixPath("runs/best.pth"),
    },
    "arrays": lambda w: {"params": {n: t.numpy() for n, t in w.items()}, "step": np.arange(3)},
    "big-endian arrays": lambda w: {
        n: t.numpy().astype(t.numpy().dtype.newbyteorder(">")) if t.ndim else t for n, t in w.items()
    },
    "tensors by number": lambda w: {"net": w, "moments": {0: torch.ones(2)}},
    "half": lambda w: {n: t.half() if t.is_floating_point() else t for n, t in w.items()},
}


@pytest.mark.parametrize("name", WRAPPINGS)
def test_weights_are_found(name: str, supernet: Supernet, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pth"
    torch.save(WRAPPINGS[name](official_supernet_weights(supernet)), path)
    loaded = load_official_checkpoint(path, SPACE)
    tolerance = 1e-3 if name == "half" else 0.0
    for key, tensor in supernet.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[key], tensor, rtol=tolerance, atol=tolerance)


def test_our_names_and_safetensors_are_read(supernet: Supernet, tmp_path: Path) -> None:
    torch.save({"state_dict": prefixed(dict(supernet.state_dict()), "module.")}, tmp_path / "ours.pt")
    official = {n: t.contiguous() for n, t in official_supernet_weights(supernet).items()}
    safetensors.torch.save_file(official, tmp_path / "official.safetensors")
    for name in ("ours.pt", "official.safetensors"):
        loaded = load_official_checkpoint(tmp_path / name, SPACE)
        assert all(torch.equal(loaded.state_dict()[n], t) for n, t in supernet.state_dict().items())


def test_what_was_found_and_left_out_is_told(supernet: Supernet, tmp_path: Path) -> None:
    weights = official_supernet_weights(supernet)
    content = {
        "epoch": 1,
        "state_dict": weights,
        "state_dict_ema": {**prefixed(weights, "module."), "module.total_ops": torch.zeros(1)},
    }
    path = tmp_path / "checkpoint.pth"
    torch.save(content, path)
    found = read_checkpoint(path)
    assert (found.place, found.prefix) == ("state_dict_ema", "module.")
    assert found.weights.keys() == weights.keys()
    assert found.left_out == ("1 counter of a profiler", "weights 'state_dict'", "'epoch'")
    assert read_checkpoint(path, "state_dict").place == "state_dict"
    with pytest.raises(UnknownNameError, match=r"Known: state_dict_ema\.module, state_dict"):
        read_checkpoint(path, "model")


def test_two_networks_side_by_side_are_not_guessed(supernet: Supernet, tmp_path: Path) -> None:
    weights = official_supernet_weights(supernet)
    path = tmp_path / "checkpoint.pth"
    torch.save({**prefixed(weights, "teacher."), **prefixed(weights, "student.")}, path)
    with pytest.raises(CheckpointError, match="several networks: teacher, student") as caught:
        read_checkpoint(path)
    assert caught.value.hint == "Say which: --weights student"
    assert read_checkpoint(path, "student").weights.keys() == weights.keys()
    torch.save({**torch.load(path), **prefixed(weights, "other.")}, path)
    with pytest.raises(CheckpointError, match="several networks: teacher, student, other") as caught:
        read_checkpoint(path)
    assert caught.value.hint == "Say which: --weights other"


@pytest.mark.parametrize(
    ("wrap", "place", "prefix", "left_out"),
    [
        # The first of several dictionaries.
        (lambda w: {"first": w, "second": w}, "first", "", ("weights 'second'",)),
        # An outer one before an inner one.
        (lambda w: {"a": {"b": w}, "c": w, "n": 1}, "c", "", ("weights 'a.b'", "'n'")),
        # Averaged weights before others, wherever they lie.
        (lambda w: {"c": w, "a": {"swa": w}}, "a.swa", "", ("weights 'c'",)),
        (lambda w: {**prefixed(w, "net."), **prefixed(w, "net_ema.")}, "", "net_ema.", ("weights 'net'",)),
        # The file itself holds a network, and another under a prefix.
        (lambda w: {**w, **prefixed(w, "ema.")}, "", "ema.", ("weights '(the file itself)'",)),
        (lambda w: {**w, **prefixed(w, "averaged.")}, "", "averaged.", ("weights '(the file itself)'",)),
        (
            lambda w: {**prefixed(w, "module."), "n": torch.tensor(3)},
            "",
            "module.",
            ("1 tensor beside 'module.'",),
        ),
        # "ema" inside of a word says nothing.
        (lambda w: {"first": w, "schema": w}, "first", "", ("weights 'schema'",)),
    ],
)
def test_which_of_several_is_taken(
    wrap: Callable[[Weights], Any],
    place: str,
    prefix: str,
    left_out: tuple[str, ...],
    supernet: Supernet,
    tmp_path: Path,
) -> None:
    weights = official_supernet_weights(supernet)
    torch.save(wrap(weights), tmp_path / "x.pt")
    found = read_checkpoint(tmp_path / "x.pt")
    assert (found.place, found.prefix, found.left_out) == (place, prefix, left_out)
    assert found.weights.keys() == weights.keys()
    for name in [text.split("'")[1] for text in left_out if text.startswith("weights")]:
        assert read_checkpoint(tmp_path / "x.pt", name).weights.keys() == weights.keys()


@pytest.mark.parametrize(
    ("content", "told"), [({}, "it is empty"), ([], "it holds a list"), ({"a": 1}, "it holds 'a'")]
)
def test_what_a_file_without_weights_holds(content: Any, told: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match=rf"holds no state dictionary: {told}\.$"):
        read_checkpoint(tmp_path / "x.pt")


@pytest.mark.parametrize("error", [None, OSError("cannot be read")])
def test_damaged_safetensors_are_named(
    error: Exception | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"no header")

    def fail(_path: object) -> None:
        raise error or AssertionError

    if error is not None:
        monkeypatch.setattr(safetensors.torch, "load_file", fail)
    with pytest.raises(CheckpointError, match=r"x\.safetensors' is damaged or truncated"):
        read_checkpoint(path)


def test_what_does_not_belong_is_refused(supernet: Supernet, tmp_path: Path) -> None:
    weights = official_supernet_weights(supernet)
    path = tmp_path / "checkpoint.pth"
    name = next(iter(weights))
    cases: list[tuple[Weights, type[Exception], str]] = [
        ({**weights, "blocks.99.x": torch.ones(1)}, MismatchError, r"holds 'blocks\.99\.x'"),
        ({n: t for n, t in weights.items() if n != name}, MismatchError, f"lacks '{name}'"),
        ({name: weights[name]}, MismatchError, "holds no classifier"),
        ({**weights, name: weights[name] * float("inf")}, CheckpointError, "not finite"),
        ({**weights, name: weights[name][:1]}, MismatchError, "has shape"),
        ({**weights, name: weights[name].to(torch.int8)}, CheckpointError, "int8, not floating-point"),
        ({"a": torch.ones(1), "b": torch.ones(1)}, CheckpointError, "it holds 'a', 'b'"),
    ]
    for content, error, message in cases:
        torch.save(content, path)
        with pytest.raises(error, match=message):
            load_official_checkpoint(path, SPACE)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"<html>", "is an HTML page"), (b"\x1f\x8b\x08", "is a gzip archive"), (b"", "may be truncated")],
)
def test_other_files_are_named(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(tmp_path / "checkpoint.pth")


def test_no_code_is_run(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "ran",))

    path = tmp_path / "model.pt"
    for content in ({"args": argparse.Namespace(x=Hostile())}, {"state_dict": Hostile()}):
        path.write_bytes(pickle.dumps(content, protocol=2))
        with pytest.raises(CheckpointError, match="could run code"):
            read_checkpoint(path)
        torch.save(content, path)
        with pytest.raises(CheckpointError, match="could run code"):
            read_checkpoint(path)
    assert not (tmp_path / "ran").exists()
