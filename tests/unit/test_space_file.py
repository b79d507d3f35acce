"""Search spaces as files: what is written comes back, and what cannot be built is refused by its path."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from ofa_tk import app
from ofa_toolkit.core import toml
from ofa_toolkit.core.errors import ConfigError, FileFormatError, OfaToolkitError
from ofa_toolkit.spaces import SearchSpace, compound, get_space, list_spaces, restrict
from ofa_toolkit.spaces.space_file import (
    dumps_space,
    exact_reference,
    is_misnamed,
    open_space,
    read_space,
    space_document,
    space_from_document,
    space_from_reference,
    space_reference,
    typed_space,
)

BASE = get_space("mobilenet-v3-compact")
INVENTED = dataclasses.replace(
    BASE,
    name="mine",
    bn_eps=1e-3,
    stages=(*BASE.stages[:-1], dataclasses.replace(BASE.stages[-1], widths=(64, 96), depths=(2, 3))),
)
SPACES = [
    *map(get_space, list_spaces()),
    compound(get_space("ofa-proxyless-w1.3"), elastic_kernel=True),
    restrict(BASE, kernel_sizes=[5]),
    INVENTED,
]


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.name)
def test_round_trip(space: SearchSpace, tmp_path: Path) -> None:
    path = tmp_path / "space.toml"
    path.write_text(dumps_space(space))
    read = read_space(path)
    assert read == space
    assert read.identity == space.identity
    assert dumps_space(read) == path.read_text()
    document = json.loads(json.dumps(space_document(space)))
    assert space_from_document(document, "space") == space
    reference = json.loads(json.dumps(space_reference(space)))
    found = space_from_reference(reference)
    assert found == (get_space(space.name) if isinstance(reference, str) else space)


def test_a_name_stands_only_for_what_is_registered_under_it() -> None:
    assert space_reference(BASE) == BASE.name
    assert space_reference(restrict(BASE, kernel_sizes=[5])) == BASE.name
    for other in (INVENTED, BASE.with_resolutions((40,)), dataclasses.replace(INVENTED, name=BASE.name)):
        assert isinstance(space_reference(other), dict)


def test_what_is_typed_for_a_space() -> None:
    assert typed_space(restrict(BASE, kernel_sizes=[5])) == BASE.name
    for other in (INVENTED, BASE.with_resolutions((40,))):
        assert typed_space(other) == "FILE.toml"
    assert [is_misnamed(space) for space in (BASE, INVENTED, BASE.with_resolutions((40,)))] == [
        False,
        False,
        True,
    ]


def test_an_exact_reference_gives_the_space_back() -> None:
    for space in (
        *SPACES,
        BASE.with_resolutions((40,)),
        get_space("efficientnet-lite0").with_resolutions((128,)),
    ):
        assert space_from_reference(exact_reference(space)).identity == space.identity
        stated = space_from_reference(exact_reference(space, with_resolutions=False))
        assert stated.with_resolutions(space.resolutions).identity == space.identity
    assert exact_reference(BASE) == BASE.name
    assert exact_reference(BASE.with_resolutions((40,)), with_resolutions=False) == BASE.name
    assert isinstance(exact_reference(restrict(BASE, kernel_sizes=[5]), with_resolutions=False), dict)


def test_whole_ratios_are_integers_however_they_were_written() -> None:
    stage = dataclasses.replace(BASE.stages[0], expand_ratios=(3.0, 4.0, 6.0))
    same = dataclasses.replace(BASE, stages=(stage, *BASE.stages[1:]))
    assert same.identity == BASE.identity
    assert all(isinstance(ratio, int) for ratio in same.stages[0].expand_ratios)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("stages", 1, "kernal_sizes"), [3], r"Unknown setting 'stages\[1\]\.kernal_sizes'"),
        (("stages", 1, "kernel_sizes"), [5, 3], r"stages\[1\]\.kernel_sizes: \[5, 3\] must ascend"),
        (("stages", 1, "kernel_sizes"), [3, 3], "must ascend, each value once"),
        (("stages", 0, "kernel_sizes"), [4], "4 is even"),
        (("stages", 0, "kernel_sizes"), [3.5], r"stages\[0\]\.kernel_sizes\[0\]: expected an integer"),
        (("stages", 0, "depths"), [], r"stages\[0\]\.depths: at least one"),
        (("stages", 0, "depths"), [0, 1], r"depths\[0\]: 0 is out of range"),
        (("stages", 0, "expand_ratios"), [-1], "out of range"),
        (("stages", 0, "widths"), [10**9], "out of range"),
        (("stages", 0, "widths"), "16", r"stages\[0\]\.widths: expected a list"),
        (("stages", 0, "compound"), [[1, 3]], r"compound: needs one pair for each of the depths \[1, 2, 3\]"),
        (("stages", 0, "activation"), "gelu", r"stages\[0\]\.activation: 'gelu' is not one of"),
        (("stages", 0, "block"), {}, r"stages\[0\]\.block"),
        (("stages",), [], "stages: at least one"),
        (("stages",), 3, "stages: expected a list"),
        (("stem", "block_width"), 32, r"stem\.block_shortcut: needs equal widths"),
        (("resolutions",), [], "resolutions: at least one"),
        (("resolutions",), [0], r"resolutions\[0\]: 0 is out of range"),
        (("resolutions",), [True], r"resolutions\[0\]: expected an integer, got true"),
        (("bn_eps",), 0.0, "bn_eps: 0.0 is out of range"),
        (("name",), "../mine", "name: '../mine' is no name"),
        (("num_classes",), 0, "num_classes: 0 is out of range"),
    ],
)
def test_what_cannot_be_built_is_named(
    place: tuple[Any, ...], value: Any, message: str, tmp_path: Path
) -> None:
    document = {**space_document(BASE)}
    *path, last = place
    inner: Any = document
    for key in path:
        inner = inner[key]
    inner[last] = value
    file = tmp_path / "mine.toml"
    file.write_text(toml.dumps(document))
    with pytest.raises(ConfigError, match=message) as caught:
        open_space(file)
    assert str(file) in caught.value.message


def test_missing_keys_and_foreign_formats(tmp_path: Path) -> None:
    document = space_document(BASE)
    for key in ("name", "stages", "resolutions"):
        with pytest.raises(ConfigError, match=f"here.{key}: missing"):
            space_from_document({name: value for name, value in document.items() if name != key}, "here")
    file = tmp_path / "mine.toml"
    file.write_text(dumps_space(BASE).replace("version = 1", "version = 7"))
    with pytest.raises(FileFormatError, match="version 7"):
        read_space(file)
    with pytest.raises(OfaToolkitError, match="No such file"):
        open_space("nowhere.toml")
    with pytest.raises(OfaToolkitError, match="Unknown search space"):
        open_space("mobilenet-v3-compac")
    with pytest.raises(ConfigError, match="neither the name"):
        space_from_reference(3)


def test_show_prints_a_table_to_start_from(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert app.run(["spaces", "show", "ofa-resnet50", "--toml"]) == 0
    file = tmp_path / "mine.toml"
    file.write_text(capsys.readouterr().out.replace("depths = [2, 3, 4]", "depths = [2]"))
    assert app.run(["spaces", "show", str(file), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [stage["depths"] for stage in shown["stages"]] == [[1, 2], [1], [2], [2], [4, 5, 6], [2]]
