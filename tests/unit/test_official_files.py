"""Architecture files of the once-for-all repositories: which network, at which resolution, and why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ofa_tk.app import run
from ofa_toolkit.complexity import count_macs
from ofa_toolkit.core.errors import (
    ExportError,
    FileFormatError,
    MismatchError,
    OfaToolkitError,
    SubnetNotInSpaceError,
)
from ofa_toolkit.spaces import get_space, list_spaces, lower, sample_subnets
from ofa_toolkit.spaces.official_architectures import from_official, to_official
from ofa_toolkit.spaces.space import SqueezeExcite
from ofa_toolkit.spaces.subnet_file import SubnetFile, read_subnet, write_subnet
from ofa_toolkit.supernets.importing.official_config import official_config

PROXYLESS = get_space("ofa-proxyless-w1.3")
WIDE = get_space("ofa-mobilenet-v3-w1.2")
SMALL = {"ks": 3, "e": 3, "d": 2}
MBCONV = [
    name
    for name in list_spaces()
    if (space := get_space(name)).stem is not None
    and space.padding == "symmetric"
    and not space.head.mix_bias
    and space.squeeze_excite == SqueezeExcite()
]

Captured = pytest.CaptureFixture[str]


def write(path: Path, document: Any) -> Path:
    path.write_text(json.dumps(document))
    return path


def network(folder: Path, run_config: object = None) -> Path:
    """A folder with a `net.config`, and a `run.config` where one is given."""
    write(folder / "net.config", official_config(PROXYLESS, PROXYLESS.smallest()))
    if run_config is not None:
        write(folder / "run.config", run_config)
    return folder / "net.config"


@pytest.mark.parametrize(
    ("given", "asked", "expected", "note"),
    [
        ({}, None, 224, "no resolution: 224 pixels are assumed, the largest of 'ofa-mobilenet-v3-w1.2'"),
        ({}, 128, 128, None),
        ({"r": 192}, None, 192, None),
        ({"r": [192.0]}, None, 192, None),
        ({"image_size": 160}, None, 160, None),
        ({"r": [192], "image_size": 192}, None, 192, None),
        ({"r": 192}, 176, 176, "176 pixels as asked, not the 192"),
        ({"r": 236}, None, 236, "236 pixels are not among those of 'ofa-mobilenet-v3-w1.2' (128 to 224)"),
        ({"r": 260}, None, 260, "260 pixels are not among"),
    ],
)
def test_the_resolution_of_a_dictionary(
    given: dict[str, Any], asked: int | None, expected: int, note: str | None, tmp_path: Path
) -> None:
    path = write(tmp_path / "arch.json", {**SMALL, **given})
    found = read_subnet(path, WIDE, resolution=asked)
    assert found.subnet.resolution == expected
    assert found.subnet.stages == WIDE.smallest().stages
    assert lower(WIDE, found.subnet)[0].in_size == expected
    assert len(found.notes) == (0 if note is None else 1)
    if note is not None:
        assert note in found.notes[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"d": ["2"] * 5}, r"'d\[0\]' is '2', not a whole number"),
        ({"d": [2, 2, 2.5, 2, 2]}, r"'d\[2\]' is 2.5, not a whole number"),
        ({"d": [True] * 5}, r"'d\[0\]' is True"),
        ({"d": {"a": 1}}, "'d' is .* not a number or a list"),
        ({"d": [2, 2]}, "'d' has 2 entries; this space needs 5"),
        ({"ks": [[3]] * 20}, r"'ks\[0\]' is \[3\]"),
        ({"e": [None] * 20}, r"'e\[0\]' is None, not a number"),
        ({"e": "3"}, "'e' is '3'"),
        ({"r": "192px"}, "'r' is '192px', not a whole number"),
        ({"r": []}, r"'r' is \[\]; one resolution is needed"),
        ({"r": [[192]]}, r"'r' is \[192\], not a whole number"),
        ({"r": {"a": 1}}, "'r' is {'a': 1}"),
        ({"r": [192, 224]}, r"'r' is \[192, 224\]; one resolution is needed"),
        ({"r": 192, "image_size": 224}, "'r' and 'image_size' state two resolutions: 192, 224"),
        ({"r": 0}, "'r' is 0; allowed is a whole number of pixels from 1 to 4096"),
        ({"r": 1e12}, "allowed is a whole number of pixels"),
        ({"wid": 1}, "'wid': 'ofa-mobilenet-v3-w1.2' has no choice of it"),
        ({"kernel": 3}, "Unknown key 'kernel'"),
        ({"d": 5}, "Stage 1: depth 5 is not offered"),
    ],
)
def test_bad_values_are_named_with_the_file(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = write(tmp_path / "arch.json", {**SMALL, **changes})
    with pytest.raises((FileFormatError, SubnetNotInSpaceError), match=message) as caught:
        read_subnet(path, WIDE)
    assert str(path) in caught.value.message
    assert "\n" not in caught.value.message


def test_whole_floats_and_byte_order_marks_are_read(tmp_path: Path) -> None:
    text = json.dumps({"ks": [3.0] * 20, "e": [3.0] * 20, "d": [2.0] * 5, "r": [192]})
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        path = tmp_path / f"{encoding}.json"
        path.write_text(text, encoding=encoding)
        assert read_subnet(path, WIDE).subnet == WIDE.smallest(192)


@pytest.mark.parametrize("last", [1, 2, 4, None])
def test_the_last_depth_of_proxyless_is_one_whatever_it_says(last: int | None) -> None:
    depths = [2] * 5 if last is None else [2] * 5 + [last]
    assert from_official(PROXYLESS, {"ks": 3, "e": 3, "d": depths}, resolution=128) == PROXYLESS.smallest()


def test_resnets_run_at_other_sizes_and_know_their_indices() -> None:
    space = get_space("ofa-resnet50")
    largest = to_official(space, space.largest())
    macs = []
    for size in (224, 240, 256):
        subnet = from_official(space, {**largest, "r": [size]})
        assert subnet.resolution == size
        macs.append(count_macs(lower(space, subnet)))
    assert macs[0] < macs[1] < macs[2]
    for changes, message in (
        ({"w": [3] + [2] * 5}, "width indices are 0 to 2"),
        ({"d": [3, 0, 0, 0, 0]}, "stem"),
    ):
        with pytest.raises(FileFormatError, match=message):
            from_official(space, {**largest, **changes})


@pytest.mark.parametrize("name", MBCONV)
def test_network_configs_find_their_space_by_their_layers(name: str) -> None:
    space = get_space(name)
    for subnet in sample_subnets(space, 3, np.random.default_rng(0)):
        config = json.loads(json.dumps(official_config(space, subnet)))
        found = read_subnet(config, resolution=subnet.resolution)
        assert found.space.name == name or name.startswith("mobilenet-v3-compact")
        assert found.subnet == subnet
        assert read_subnet(config, space, resolution=subnet.resolution).subnet == subnet


def test_what_a_network_config_cannot_say_is_not_written() -> None:
    space = get_space("efficientnet-lite0")
    with pytest.raises(ExportError, match="cannot say what 'efficientnet-lite0' pads"):
        official_config(space, space.largest())


def test_a_network_config_of_another_space_is_refused() -> None:
    config = official_config(WIDE, WIDE.smallest())
    with pytest.raises(
        MismatchError, match=r"widths 32, 48, 96, 136, 192; 'ofa-mobilenet-v3-w1.0' has 24, 40"
    ):
        read_subnet(config, get_space("ofa-mobilenet-v3-w1.0"))


def test_a_network_of_no_space_stands_for_itself() -> None:
    config = json.loads(json.dumps(official_config(WIDE, WIDE.smallest())))
    conv = config["blocks"][2]["conv"]
    conv["expand_ratio"], conv["mid_channels"] = 5, 160
    found = read_subnet(config, resolution=200)
    assert found.space.has_one_subnet
    assert found.space.check(found.subnet) is None
    assert "a network of its own" in found.notes[-1]
    with pytest.raises(MismatchError, match="does not offer its depths, kernel sizes, expand ratios"):
        read_subnet(config, WIDE)


@pytest.mark.parametrize(
    ("run_config", "asked", "expected", "note"),
    [
        ({"image_size": 188}, None, 188, "188 pixels, from '{}'"),
        ({"dataset": "imagenet", "image_size": [188]}, None, 188, "188 pixels, from '{}'"),
        ({"image_size": 188}, 188, 188, None),
        ({"image_size": 188}, 160, 160, "160 pixels as asked, not the 188 of '{}'"),
        ({"image_size": 236}, None, 236, "236 pixels, from '{}'"),
        ({}, None, 224, "states no resolution: 224 pixels are assumed"),
        (None, None, 224, "states no resolution: 224 pixels are assumed"),
    ],
)
def test_the_resolution_of_a_network_stands_beside_it(
    run_config: object, asked: int | None, expected: int, note: str | None, tmp_path: Path
) -> None:
    path = network(tmp_path, run_config)
    for source in (path, tmp_path):
        found = read_subnet(source, resolution=asked)
        assert found.subnet.resolution == expected
        assert note is None or note.format(tmp_path / "run.config") in found.notes[0]
        assert bool(found.notes) == (note is not None)


@pytest.mark.parametrize("bad", [{"image_size": "188"}, {"image_size": [128, 224]}, [188], 188])
def test_a_bad_run_config_is_named(bad: object, tmp_path: Path) -> None:
    path = network(tmp_path, bad)
    with pytest.raises(FileFormatError, match=r"run\.config"):
        read_subnet(path)


def test_files_of_ours_take_another_resolution_only_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "subnet.json"
    file = SubnetFile(space=WIDE, supernet=None, subnet=WIDE.smallest(), predicted={"macs": {"value": 1}})
    write_subnet(path, file)
    assert read_subnet(path) == file
    assert not read_subnet(path).notes
    found = read_subnet(path, resolution=236)
    assert found.subnet == WIDE.smallest(236)
    assert not found.predicted, "it was predicted at another size"
    assert len(found.notes) == 2
    for key, wrong in (
        ("supernet", 3),
        ("predicted", []),
        ("search", "x"),
        ("resolution", 236),
        ("stages", 3),
    ):
        write(path, {**json.loads(path.read_text()), key: wrong})
        with pytest.raises(OfaToolkitError):
            read_subnet(path)
        write_subnet(path, file)


def test_predictions_use_the_resolution_and_say_which(tmp_path: Path, capsys: Captured) -> None:
    path = network(tmp_path, {"image_size": 188})
    command = ["latency", "predict", str(path), "--device", "v100", "--json"]
    times = {}
    for size in (None, 160, 188, 236):
        assert run([*command, *([] if size is None else ["--resolution", str(size)])]) == 0
        (row,) = json.loads(capsys.readouterr().out)
        assert row["resolution"] == (size or 188)
        times[size] = row["latency_ms"]
    assert times[160] < times[None] == times[188] < times[236]
    assert run(command[:-1]) == 0
    captured = capsys.readouterr()
    assert "188" in captured.out
    assert "188 pixels, from" in captured.err
