"""Which known device measurements are like: a scaled one is found, with its scale."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ofa_tk.app import run
from ofa_toolkit.core.errors import LatencyTableError
from ofa_toolkit.latency.kit.probes_file import Probes, write_probes
from ofa_toolkit.latency.table import load_table
from ofa_toolkit.pipelines.latency import alike
from ofa_toolkit.spaces import get_space, sample_population

TABLES = ("pixel1", "note10", "v100:help-pytorch-fp32-1")


@pytest.fixture
def probes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Five networks that take 1.7 times as long as on a Note 10, give or take 1 %."""
    monkeypatch.setattr(alike, "prior_tables", lambda *_args, **_options: [load_table(n) for n in TABLES])
    space = get_space("ofa-mobilenet-v3-w1.2")
    population = sample_population(space, 5, np.random.default_rng(0))
    predicted = load_table("note10").bind(space).predict(population)
    measured = 1.7 * predicted * np.array([1.01, 0.99, 1.0, 1.01, 0.99])
    path = tmp_path / "probes.json"
    write_probes(path, Probes(space=space, population=population, latencies_ms=measured))
    return path


def test_a_scaled_device_is_found(probes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, *others = alike.alike_devices(probes)
    assert first.table.startswith("note10:")
    assert first.scale == pytest.approx(1.7, rel=0.011)
    assert first.mape_percent < 2
    assert len(others) == 2
    assert all(other.mape_percent > first.mape_percent for other in others)
    assert run(["latency", "devices", "--like", str(probes)]) == 0
    assert "x 1.7" in capsys.readouterr().out


def test_too_few_networks_are_refused(probes: Path) -> None:
    space = get_space("ofa-mobilenet-v3-w1.2")
    population = sample_population(space, 2, np.random.default_rng(0))
    write_probes(probes, Probes(space=space, population=population, latencies_ms=np.array([1.0, 2.0])))
    with pytest.raises(LatencyTableError, match="holds 2 measured networks"):
        alike.alike_devices(probes)
