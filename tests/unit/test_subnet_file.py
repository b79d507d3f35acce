"""Subnet files: ours, the official ones, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ofa_toolkit.core.errors import FileFormatError, MismatchError, SubnetNotInSpaceError
from ofa_toolkit.spaces import get_space, list_spaces, sample_subnets
from ofa_toolkit.spaces.official_architectures import to_official
from ofa_toolkit.spaces.subnet_file import SubnetFile, read_subnet, to_document, write_subnet


@pytest.mark.parametrize("name", list_spaces())
def test_round_trip(name: str, tmp_path: Path) -> None:
    space = get_space(name)
    for subnet in sample_subnets(space, 5, np.random.default_rng(0)):
        file = SubnetFile(
            space=space,
            supernet="there",
            subnet=subnet,
            predicted={"macs": {"value": 1}},
            search={"seed": 0},
        )
        path = tmp_path / "subnet.json"
        write_subnet(path, file)
        assert read_subnet(path) == file
        assert read_subnet(path, space) == file


def test_official_dictionaries_are_read(tmp_path: Path) -> None:
    space = get_space("ofa-mobilenet-v3-w1.2")
    subnet = sample_subnets(space, 1, np.random.default_rng(0))[0]
    path = tmp_path / "arch.json"
    path.write_text(json.dumps(to_official(space, subnet)))
    assert read_subnet(path, space).subnet == subnet
    with pytest.raises(FileFormatError, match="does not say which search space"):
        read_subnet(path)


def test_what_is_refused(tmp_path: Path) -> None:
    space = get_space("ofa-mobilenet-v3-w1.0")
    good = to_document(SubnetFile(space=space, supernet=None, subnet=space.smallest()))
    with pytest.raises(FileFormatError, match="unknown key 'extra'"):
        read_subnet({**good, "extra": 1})
    with pytest.raises(FileFormatError, match="no key 'stages'"):
        read_subnet({key: value for key, value in good.items() if key != "stages"})
    with pytest.raises(FileFormatError, match="of version 9"):
        read_subnet({**good, "version": 9})
    with pytest.raises(FileFormatError, match="is not a subnet file: its format"):
        read_subnet({**good, "format": "other"})
    with pytest.raises(MismatchError, match=r"of space 'ofa-mobilenet-v3-w1\.0', not of"):
        read_subnet(good, get_space("ofa-mobilenet-v3-w1.2"))
    with pytest.raises(SubnetNotInSpaceError, match="resolution 999 is not offered"):
        read_subnet({**good, "resolution": 999})
    with pytest.raises(FileFormatError, match="wrong type"):
        read_subnet({**good, "resolution": "224"})
    path = tmp_path / "subnet.json"
    with pytest.raises(FileFormatError, match="No such file"):
        read_subnet(path)
    path.write_text("{")
    with pytest.raises(FileFormatError, match="not valid JSON"):
        read_subnet(path)
