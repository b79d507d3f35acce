"""A list shared by processes: who does what, and what is said where one fails."""

from __future__ import annotations

import os
import subprocess
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


ASKED = """
import signal, sys, threading, time
from pathlib import Path
from ofa_toolkit.pipelines.evaluation.shards import launch_shards
from ofa_toolkit.pipelines.launchers import LocalLauncher

def ask():
    logs = [Path(f"shard-{part}-of-2.log") for part in (1, 2)]
    while not all(log.is_file() and log.read_text().endswith("\\n") for log in logs):
        time.sleep(0.02)
    exec(sys.argv[1])

threading.Thread(target=ask).start()
signal.signal(signal.SIGINT, signal.default_int_handler)
sleep = "import os, time; print(os.getpid()); time.sleep(60)"
try:
    launch_shards(LocalLauncher({}), [sys.executable, "-c", sleep], 2, Path("."))
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize(
    "asking",
    [
        "signal.pthread_kill(threading.main_thread().ident, signal.SIGTERM)",
        "signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)",
        # The system may hand a signal to any thread; that does not wake a main thread which waits.
        "signal.pthread_kill(threading.get_ident(), signal.SIGTERM)",
    ],
)
def test_shards_end_with_the_process_that_started_them(tmp_path: Path, asking: str) -> None:
    """`kill` asks the parent alone, other than Ctrl-C in a terminal."""
    command = [sys.executable, "-c", ASKED, asking]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False)
    assert (done.stdout, done.stderr) == ("interrupted\n", "")
    for part in (1, 2):
        with pytest.raises(ProcessLookupError):
            os.kill(int((tmp_path / f"shard-{part}-of-2.log").read_text()), 0)
