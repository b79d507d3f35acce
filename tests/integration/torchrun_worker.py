"""One of the processes that torchrun starts: a small run that goes on where it stopped.

    torchrun ... -m tests.integration.torchrun_worker FOLDER [STEP]

With STEP, the first process kills itself there, in its first life.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from ofa_toolkit.core.reporting import Progress
from ofa_toolkit.pipelines.training.run import train
from tests.integration.small_runs import TINY_SPACE, small_config

METHOD = {"name": "deps", "warmup_share": 0.5, "ramp_share": 0.5, "num_networks": 2}
CONFIG = small_config(
    METHOD,
    space={**TINY_SPACE, "depths": [1], "kernel_sizes": [3]},
    training={"epochs": 4, "batch_size": 16, "sync_batchnorm": True},
    checkpoints={"every_steps": 3},
)


class Reporter:
    """Ends its process at a step."""

    def __init__(self, dies_at: int | None) -> None:
        self.dies_at = dies_at

    def progress(self, progress: Progress) -> None:
        """A step was made."""
        if progress.done == self.dies_at and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
            os.kill(os.getpid(), signal.SIGKILL)

    def message(self, text: str) -> None:
        """Nothing is shown."""


if __name__ == "__main__":
    folder, *step = sys.argv[1:]
    reporter = Reporter(int(step[0]) if step else None)
    train(CONFIG, Path(folder), resume="auto", device="cpu", threads=1, reporter=reporter)
