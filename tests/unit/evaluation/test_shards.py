"""A list shared by processes: who does what, and what is said where one fails."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
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


ASKED = """
import signal, sys
from pathlib import Path
from ofa_toolkit.pipelines.evaluation.shards import launch_shards
from ofa_toolkit.pipelines.launchers import LocalLauncher

signal.signal(signal.SIGINT, signal.default_int_handler)
sleep = "import os, time; print(os.getpid()); time.sleep(60)"
try:
    launch_shards(LocalLauncher({}), [sys.executable, "-c", sleep], 2, Path("."))
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_shards_end_with_the_process_that_started_them(tmp_path: Path, number: int) -> None:
    """`kill` asks the parent alone, other than Ctrl-C in a terminal."""
    parent = subprocess.Popen([sys.executable, "-c", ASKED], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    logs = [tmp_path / f"shard-{part}-of-2.log" for part in (1, 2)]
    deadline = time.monotonic() + 60
    while not all(log.is_file() and log.read_text().endswith("\n") for log in logs):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    parent.send_signal(number)
    assert parent.communicate(timeout=60) == ("interrupted\n", None)
    for log in logs:
        with pytest.raises(ProcessLookupError):
            os.kill(int(log.read_text()), 0)
