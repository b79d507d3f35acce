"""What a user files adds to a device, and hides nothing of it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from ofa_tk.app import run
from ofa_toolkit.core import resources
from ofa_toolkit.core.errors import LatencyTableError, MismatchError, OutputError
from ofa_toolkit.export.target_devices import resolve_target
from ofa_toolkit.latency import Device, Variant, load_table
from ofa_toolkit.latency.device import read_device, write_device
from ofa_toolkit.latency.device_names import find_device
from ofa_toolkit.latency.filing import file_variant
from ofa_toolkit.latency.kit.probes_file import Probes, write_probes
from ofa_toolkit.latency.predictors.entries import EntryPredictor
from ofa_toolkit.latency.table import list_devices
from ofa_toolkit.latency.table_file import TableContent
from ofa_toolkit.pipelines.latency import importing as pipeline
from ofa_toolkit.spaces import get_space, sample_population
from tests.unit.latency.test_import_pipeline import write_csv

NANO = "jetson-nano"
BUNDLED = read_device(resources.data_path("latency_tables") / NANO)
COMPACT = get_space("mobilenet-v3-compact")


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OFA_TK_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)


def fresh(name: str = NANO, ms: float = 1.0) -> tuple[Device, TableContent]:
    content = TableContent(predictors=(EntryPredictor(times_ms={"stem": ms}),))
    variant = Variant(
        name="own-tensorrt-fp16-1",
        source="own",
        source_licence="own",
        date="2026-01-31",
        runtime="tensorrt",
        precision="fp16",
        batch_size=1,
        provenance="measured",
        method="made up",
        networks="none",
        identity=content.identity,
    )
    device = Device(
        name=name, title=name, kind="gpu", chip="unknown", default_variant=variant.name, variants=(variant,)
    )
    return device, content


def calibrated(place: list[str]) -> str:
    space = get_space("ofa-mobilenet-v3-w1.0")
    rows = sample_population(space, 6, np.random.default_rng(0))
    write_probes("probes.json", Probes(space=space, population=rows, latencies_ms=np.arange(10.0, 16.0)))
    how = ["--runtime", "tensorrt", "--precision", "fp16", "--like", "v100:tinynas-tensorrt-fp16-1"]
    out = ["--out" if word == "--tables" else word for word in place]
    assert run(["latency", "calibrate", "probes.json", "--device", NANO, *how, *out]) == 0
    return "calibrated-tensorrt-fp16-1"


def imported(place: list[str]) -> str:
    write_csv(Path("rows.csv"), COMPACT, 12)
    how = ["--runtime", "tensorrt", "--precision", "fp16", "--batch-size", "1", "--space", COMPACT.name]
    assert run(["latency", "import", "rows.csv", "--device", NANO, *how, *place]) == 0
    return "own-measurements-tensorrt-fp16-1"


@pytest.mark.parametrize("place", [[], ["--tables", "mine"]], ids=["user", "given"])
@pytest.mark.parametrize("way", [calibrated, imported])
def test_a_bundled_device_keeps_its_facts_variants_and_software(
    way: object, place: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert callable(way)
    monkeypatch.setattr(pipeline, "prior_tables", lambda *_args, **_options: [])
    before = resolve_target(NANO)
    own = way(place)
    given = [Path(word) for word in place[1:]]
    device = find_device(NANO, given).device
    names = [variant.name for variant in BUNDLED.variants]
    assert [variant.name for variant in device.variants] == sorted([*names, own])
    facts = dataclasses.replace(device, variants=BUNDLED.variants, default_variant=BUNDLED.default_variant)
    assert facts == BUNDLED
    assert device.default_variant == own
    assert load_table(NANO, given).variant.name == own
    for name in names:
        assert load_table(f"{NANO}:{name}", given).variant == BUNDLED.variant(name)
    assert resolve_target(NANO, given) == before
    assert [found.name for found in list_devices(given)].count(NANO) == 1
    for command in (["show", NANO], ["show", f"{NANO}:{names[0]}"], ["list", "--device", NANO]):
        assert run(["latency", *command, *place]) == 0


def test_a_folder_that_says_less_hides_nothing(tmp_path: Path) -> None:
    device, content = fresh()
    file_variant(tmp_path, device, content)
    write_device(tmp_path / NANO, device)  # without the facts, as a hand might write it
    merged = find_device(NANO, [tmp_path]).device
    assert (merged.chip, merged.title, merged.software) == (BUNDLED.chip, BUNDLED.title, BUNDLED.software)
    write_device(tmp_path / NANO, dataclasses.replace(device, chip="another"))
    assert find_device(NANO, [tmp_path]).device.chip == "another"


def test_another_table_of_the_same_name_needs_force(tmp_path: Path) -> None:
    file_variant(tmp_path, *fresh(ms=1.0))
    file_variant(tmp_path, *fresh(ms=1.0))
    with pytest.raises(OutputError, match=r"already has a table 'own-tensorrt-fp16-1'") as caught:
        file_variant(tmp_path, *fresh(ms=2.0))
    assert "--force" in str(caught.value.hint)
    table = file_variant(tmp_path, *fresh(ms=2.0), force=True)
    assert load_table(NANO, [tmp_path]).identity == table.identity


def test_facts_a_user_insists_on_are_never_ignored(tmp_path: Path) -> None:
    device, content = fresh()
    with pytest.raises(MismatchError, match="The chip of 'jetson-nano' is 'Tegra X1"):
        file_variant(tmp_path, device, content, stated={"chip": "Ada", "title": None})
    assert not list(tmp_path.iterdir())
    file_variant(tmp_path, device, content, stated={"chip": BUNDLED.chip})
    device, content = fresh("my-board")
    file_variant(tmp_path, device, content)
    known = dataclasses.replace(device, chip="Ada")
    file_variant(tmp_path, known, content, stated={"chip": "Ada"})
    assert find_device("my-board", [tmp_path]).device.chip == "Ada"


@pytest.mark.parametrize("name", ["../up", "My Board", ".hidden", "a/b", ""])
def test_names_that_are_no_folder_s_are_refused(name: str, tmp_path: Path) -> None:
    device, content = fresh()
    object.__setattr__(device, "name", name)
    with pytest.raises(LatencyTableError, match="is not a device's name"):
        file_variant(tmp_path, device, content)
    assert not list(tmp_path.iterdir())
