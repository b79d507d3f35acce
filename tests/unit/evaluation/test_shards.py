"""A list shared by processes: who does what, and what is said where one fails."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ofa_toolkit.core.errors import ConfigError, MeasurementError
from ofa_toolkit.pipelines.evaluation.shards import Shard, launch_shards
from ofa_toolkit.pipelines.launchers import LocalLauncher
from tests.heard import Heard


@pytest.mark.parametrize("length", [0, 1, 7, 30])
def test_shards_part_a_list(length: int) -> None:
    parts = [Shard.parse(f"{number}/4").indices(length) for number in range(1, 5)]
    assert sorted(index for part in parts for index in part) == list(range(length))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "a/b", "-1/2", "1/", "/", "1/2/3", "1.0/2"])
def test_what_is_no_part_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="second of eight as 2/8"):
        Shard.parse(text)


def test_each_shard_runs_and_a_failed_one_is_named(tmp_path: Path) -> None:
    heard = Heard()
    command = [sys.executable, "-c", "import sys; print(sys.argv[1:])"]
    launch_shards(LocalLauncher({}), command, 3, tmp_path, heard)
    assert (tmp_path / "shard-2-of-3.log").read_text() == "['--shard', '2/3']\n"
    assert heard.messages[-1] == "3 of 3 shards ended"
    command[-1] += "; sys.exit(sys.argv[2] == '2/3')"
    with pytest.raises(MeasurementError, match=r"shard 2/3 ended with code 1, see .*shard-2-of-3\.log"):
        launch_shards(LocalLauncher({}), command, 3, tmp_path)
