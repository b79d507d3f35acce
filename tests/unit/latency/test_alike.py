"""Which known device measurements are like: a scaled one is found, with its scale."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ofa_tk.app import run
from ofa_toolkit.core.errors import LatencyTableError, UnknownNameError
from ofa_toolkit.latency.kit.probes_file import Probes, write_probes
from ofa_toolkit.latency.measuring.standard_networks import standard_network
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


def named(path: Path, networks: dict[str, float]) -> Path:
    """A table of times by standard network."""
    path.write_text("network,latency_ms\n" + "".join(f"{name},{ms}\n" for name, ms in networks.items()))
    return path


def test_standard_networks_are_compared_by_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tables = [load_table(name) for name in ("epyc-zen5", "raspberry-pi-4", "jetson-nano")]
    monkeypatch.setattr(alike, "prior_tables", lambda *_args, **_options: tables)
    names = ("mobilenet-v2-1.0", "resnet-18", "resnet-50", "mobilenet-v1-1.0")
    own = {name: tables[1].predict_layers(standard_network(name, 224)).latency_ms for name in names}
    path = named(tmp_path / "mine.csv", {name: 3 * ms for name, ms in own.items()})
    first = alike.alike_devices(path)[0]
    assert first.table == tables[1].name
    assert first.scale == pytest.approx(3)
    assert first.mape_percent == pytest.approx(0, abs=1e-6)
    assert run(["latency", "devices", "--like", str(path)]) == 0
    assert "Next: ofa-tk latency show raspberry-pi-4" in capsys.readouterr().err


def test_a_standard_network_that_is_none_is_named(tmp_path: Path) -> None:
    path = named(tmp_path / "mine.csv", {"resnet-18": 1.0, "resnet-51": 2.0, "resnet-50": 3.0})
    with pytest.raises(UnknownNameError, match="'resnet-51'"):
        alike.alike_devices(path)
