"""What holds for every test: one thread, reproducible examples, nothing of the user's own folders touched."""

from __future__ import annotations

import os

# Before torch is imported. The networks are tiny, so threads cost more than they give, and one thread
# adds numbers in one order everywhere.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest
from hypothesis import settings

# No deadline: a busy machine is not a bug. The same examples every time: a failure can be looked at again.
settings.register_profile("project", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("project")


@pytest.fixture(scope="session", autouse=True)
def _folders_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Point the cache and the user's data at an empty place, also for the programs that tests start."""
    os.environ["OFA_TK_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    os.environ["OFA_TK_DATA"] = str(tmp_path_factory.mktemp("data"))
    os.environ["OFA_TK_OFFLINE"] = "1"  # what needs the network says so, and finds its server on this machine


@pytest.fixture(autouse=True)
def _no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole rows, as in a pipe: whoever runs the tests may have said how wide their terminal is."""
    monkeypatch.delenv("COLUMNS", raising=False)
