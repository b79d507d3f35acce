"""The audit: each mistake is found where it is, and honest tables pass."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from ofa_toolkit.complexity import count_macs
from ofa_toolkit.core import resources
from ofa_toolkit.core.errors import FileFormatError
from ofa_toolkit.latency.audit.checks import AuditFinding, audit
from ofa_toolkit.latency.audit.rows import AuditTable, Row, entry_rows, signature_macs, table_rows
from ofa_toolkit.latency.device import Device, Peak, Variant
from ofa_toolkit.latency.importing.ofa_yaml import ofa_keys
from ofa_toolkit.latency.measuring.measured_table import unit_items
from ofa_toolkit.latency.predictors.entries import EntryPredictor
from ofa_toolkit.latency.predictors.signature import unit_signature
from ofa_toolkit.latency.table import LatencyTable, read_table, write_table
from ofa_toolkit.latency.table_file import TableContent
from ofa_toolkit.pipelines.latency.audit import audit_latency, find_mistakes
from ofa_toolkit.spaces import Encoding, get_space, lower, sample_population
from ofa_toolkit.spaces.official_architectures import to_official

SPACE = get_space("mobilenet-v3-compact")
PEAK = Peak(fp32_tflops=0.5)


@pytest.fixture(autouse=True)
def no_other_devices(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Compare with what a test wrote, not with what is shipped."""
    if "slow" not in request.keywords:
        empty = tmp_path_factory.mktemp("empty")
        monkeypatch.setenv("OFA_TK_DATA", str(empty))
        monkeypatch.setattr(resources, "data_path", lambda _kind: empty)


def honest_ms(signature: str) -> float:
    """A launch, then 20 billion MACs a second."""
    return 0.002 + signature_macs(signature) / 2e7


def honest_times() -> dict[str, float]:
    generator = np.random.default_rng(0)
    times = {unit_signature(item.layers): 0.0 for item in unit_items(SPACE)}
    return {name: honest_ms(name) * (1 + 0.01 * generator.standard_normal()) for name in times}


def table_of(times: dict[str, float], name: str = "board") -> AuditTable:
    return AuditTable(name=name, rows=tuple(entry_rows(times, 1)), kind="cpu", peak=PEAK, precision="fp32")


def checks(findings: list[AuditFinding]) -> set[str]:
    return {finding.check for finding in findings}


def changed(change: Callable[[str, float], float]) -> AuditTable:
    return table_of({name: change(name, time) for name, time in honest_times().items()})


def test_an_honest_table_passes() -> None:
    assert audit(table_of(honest_times()), []) == []
    other = table_of({name: 1.7 * time**0.9 for name, time in honest_times().items()}, "other")
    assert audit(table_of(honest_times()), [other]) == []


def test_copied_rows_are_named() -> None:
    other = table_of({name: 1.7 * time for name, time in honest_times().items()}, "phone")
    copied = [row.name for row in other.rows[:8]]
    theirs = {row.name: row.time_ms for row in other.rows}
    table = changed(lambda name, time: theirs[name] if name in copied else time)
    findings = [finding for finding in audit(table, [other]) if finding.check == "identical"]
    assert len(findings) == 1
    assert set(findings[0].rows) == set(copied)
    assert "phone" in findings[0].message


def test_one_copied_row_with_all_its_digits_is_named() -> None:
    other = table_of({name: 1.7 * time**0.9 for name, time in honest_times().items()}, "phone")
    copied = max(other.rows, key=lambda row: row.macs)
    table = changed(lambda name, time: copied.time_ms if name == copied.name else time)
    findings = [finding for finding in audit(table, [other]) if finding.check == "identical"]
    assert [finding.rows for finding in findings] == [(copied.name,)]
    rounded = [dataclasses.replace(row, time_ms=round(row.time_ms, 3)) for row in other.rows]
    short = dataclasses.replace(other, rows=tuple(rounded))
    own = dataclasses.replace(table_of(honest_times()), rows=(rounded[0], *table_of(honest_times()).rows[1:]))
    assert "identical" not in checks(audit(own, [short]))  # three digits are equal by chance


@pytest.mark.parametrize("digits", [8, 4])
def test_a_whole_table_scaled_from_another_device_is_found(digits: int) -> None:
    other = table_of(honest_times(), "phone")
    times = {name: float(f"{1.1 * time:.{digits}g}") for name, time in honest_times().items()}
    findings = [finding for finding in audit(table_of(times), [other]) if finding.check == "scaled"]
    assert len(findings) == 1
    assert findings[0].other == "phone"
    assert "1.1 times those of phone" in findings[0].message


@pytest.mark.parametrize("seed", range(3))
def test_rows_that_were_swapped_or_scaled_are_named(seed: int, tmp_path: Path) -> None:
    path = tmp_path / "224_lookup_table.yaml"
    write_yaml(path)
    table = yaml.safe_load(path.read_text())
    blocks = [key for key in table if key.startswith("expanded_conv") and "-stride:1-" in key]
    first, second = np.random.default_rng(seed).choice(blocks, 2, replace=False)
    while 0.6 < table[first]["mean"] / table[second]["mean"] < 1.7:
        first, second = np.random.default_rng(seed + 10).choice(blocks, 2, replace=False)
        seed += 1
    swapped = {**table, first: table[second], second: table[first]}
    path.write_text(yaml.safe_dump(swapped))
    named = {row for found in audit_latency(path).findings if found.check == "smooth" for row in found.rows}
    assert named == {first, second}
    path.write_text(yaml.safe_dump({**table, first: {**table[first], "mean": 3 * table[first]["mean"]}}))
    named = {row for found in audit_latency(path).findings if found.check == "smooth" for row in found.rows}
    assert named == {first}


def test_a_network_times_three_is_named_and_the_same_networks_are_found_elsewhere(tmp_path: Path) -> None:
    space = get_space("mobilenet-v3-compact")
    rows = sample_population(space, 20, np.random.default_rng(0))
    lines = ["resolution,d,ks,e,latency_ms"]
    for number, subnet in enumerate(Encoding(space).decode(rows)):
        arch = to_official(space, subnet)
        lists = ",".join("-".join(str(int(v)) for v in arch[key]) for key in ("d", "ks", "e"))
        time = (1 + count_macs(lower(space, subnet)) / 2e7) * (1 + 0.01 * (number % 3))
        lines.append(f"{subnet.resolution},{lists},{time * (3 if number == 4 else 1):.6f}")
    path, copy = tmp_path / "a.csv", tmp_path / "b.csv"
    path.write_text("\n".join(lines) + "\n")
    copy.write_text("\n".join([lines[0], *reversed(lines[1:])]) + "\n")
    found = audit_latency(path, space=space.name).findings
    assert [(each.check, each.rows[0][:6]) for each in found] == [("smooth", "line 6")]
    copies = audit_latency(path, space=space.name, against=[copy]).findings
    assert [len(each.rows) for each in copies if each.check == "identical"] == [20]


def test_a_table_without_kernel_effect_is_found() -> None:
    def asynchronous(name: str, time: float) -> float:
        return honest_ms(name.replace("k5", "k3")) if "k5" in name else honest_ms(name) + 0 * time

    findings = audit(changed(asynchronous), [])
    assert "kernel-effect" in checks(findings)


def test_predictions_bound_by_launches_are_excused() -> None:
    rows = tuple(
        Row(
            name=f"{n} k{k}",
            time_ms=5.0 + n,
            kernel_family=str(n),
            kernel_size=k,
            width_family=str(n),
            width=k,
            is_whole=True,
        )
        for n in range(10)
        for k in (3, 5, 7)
    )
    fitted = AuditTable(name="launch-bound", rows=rows, is_prediction=True)
    assert audit(fitted, []) == []
    assert checks(audit(dataclasses.replace(fitted, is_prediction=False), [])) == {"kernel-effect"}


@pytest.mark.parametrize("factor", [1000.0, 0.001])
def test_rows_in_another_unit_are_named(factor: float) -> None:
    largest = sorted(honest_times(), key=signature_macs)[-3:]
    findings = audit(changed(lambda name, time: time * factor if name in largest else time), [])
    named = {row for finding in findings if finding.check in ("units", "throughput") for row in finding.rows}
    assert named == set(largest)


def test_whole_tables_in_another_unit_are_found() -> None:
    assert "throughput" in checks(audit(changed(lambda _, time: time / 1000), []))
    assert "units" in checks(audit(changed(lambda _, time: time * 1000), []))


@pytest.mark.parametrize("value", [-1.0, 0.0, float("nan"), float("inf")])
def test_times_that_are_none_are_named(value: float) -> None:
    bad = next(iter(honest_times()))
    findings = audit(changed(lambda name, time: value if name == bad else time), [])
    assert [finding.rows for finding in findings if finding.check == "positive"] == [(bad,)]


def test_rows_faster_than_smaller_ones_are_named() -> None:
    names = [name for name in honest_times() if "k5" in name]
    findings = audit(changed(lambda name, time: 0.3 * time if name == names[0] else time), [])
    assert any(names[0] in finding.rows for finding in findings if finding.check == "monotone")


def test_a_large_chip_cannot_be_as_slow_as_microseconds_read_as_milliseconds() -> None:
    def networks(factor: float) -> AuditTable:
        rows = tuple(Row(name=str(n), time_ms=factor * (20 + n), macs=2e10, is_whole=True) for n in range(9))
        return AuditTable(name="gpu", rows=rows, kind="gpu", peak=Peak(fp32_tflops=15.7), is_prediction=True)

    assert audit(networks(1), []) == []
    assert checks(audit(networks(1000), [])) == {"units"}


def test_kernel_sizes_that_matter_too_much_are_found() -> None:
    findings = audit(changed(lambda name, time: 3 * time if "k5" in name else time), [])
    found = [finding for finding in findings if finding.check == "growth"]
    assert len(found) == 1
    assert "kernel sizes matter too much" in found[0].message


def test_a_row_that_grows_more_than_its_kernel_is_named() -> None:
    names = [name for name in honest_times() if "k5" in name]
    findings = audit(changed(lambda name, time: 4 * time if name == names[3] else time), [])
    growth = [finding for finding in findings if finding.check == "growth"]
    assert {row for finding in growth for row in finding.rows} == {names[3]}


def test_wider_blocks_that_take_far_too_long_are_named() -> None:
    rows = tuple(
        Row(name=f"w{width}", time_ms=time, macs=1e6 * width, width_family="block", width=width)
        for width, time in ((3, 1.0), (4, 1.4), (6, 4.0))
    )
    findings = audit(AuditTable(name="board", rows=rows), [])
    assert [(finding.check, finding.rows) for finding in findings] == [("growth", ("w6",))]


def test_impossible_throughput_is_named() -> None:
    largest = max(honest_times(), key=signature_macs)
    too_fast = 2 * signature_macs(largest) / 0.6e9
    findings = audit(changed(lambda name, time: too_fast if name == largest else time), [])
    assert [f.rows for f in findings if f.check == "throughput"] == [(largest,)]


def test_too_few_repeats_are_named() -> None:
    table = table_of(honest_times())
    rows = (dataclasses.replace(table.rows[0], num_runs=3), *table.rows[1:])
    findings = audit(dataclasses.replace(table, rows=rows), [])
    assert [(f.check, f.rows) for f in findings] == [("repeats", (table.rows[0].name,))]


def write_yaml(path: Path, scale: float = 1.0, count: int = 100) -> None:
    space = get_space("ofa-mobilenet-v3-w1.2").with_resolutions((224,))
    table = {}
    for item in unit_items(space):
        for (key, *_), time in zip(
            ofa_keys(item.layers), [honest_ms(unit_signature(item.layers))] * 9, strict=False
        ):
            table[key] = {"mean": scale * time, "std": 0.0, "count": count}
    path.write_text(yaml.safe_dump(table))


def test_files_are_audited_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "224_lookup_table.yaml"
    write_yaml(path)
    assert audit_latency(path).is_clean
    write_yaml(path, count=2)
    assert {finding.check for finding in audit_latency(path).findings} == {"repeats"}
    write_yaml(path, scale=1000.0)
    assert "units" in {finding.check for finding in audit_latency(path).findings}
    copy = tmp_path / "copy" / "224_lookup_table.yaml"
    copy.parent.mkdir()
    write_yaml(path)
    write_yaml(copy)
    found = audit_latency(path, against=[copy.parent])
    assert {finding.check for finding in found.findings} == {"identical"}


def test_csv_of_networks(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("resolution,d,ks,e,latency_s\n32,1,3,3,0.001\n32,1,5,4,-0.001\n32,1,3,4,1e-9\n")
    report = audit_latency(path, space="mobilenet-v3-compact")
    named = {finding.check: finding.rows for finding in report.findings}
    assert named["positive"][0].startswith("line 3")
    assert named["throughput"][0].startswith("line 4")


def test_a_device_folder_is_audited(tmp_path: Path) -> None:
    for name, power in (("one", 1.0), ("two", 0.9)):
        times = {key: time**power for key, time in honest_times().items()}
        write_device(tmp_path / name, times)
    assert audit_latency(tmp_path).is_clean
    write_device(tmp_path / "three", honest_times())
    found = audit_latency(tmp_path / "three", tables=[tmp_path])
    assert {finding.check for finding in found.findings} == {"identical"}
    assert any("one" in finding.message for finding in found.findings)


def write_device(folder: Path, times: dict[str, float]) -> None:
    content = TableContent(predictors=(EntryPredictor(times_ms=times),))
    variant = Variant(
        name="own-onnxruntime-fp32-1",
        source="this machine",
        source_licence="own measurements",
        date="2026-01-31",
        runtime="onnxruntime",
        precision="fp32",
        batch_size=1,
        provenance="measured",
        method="units",
        networks="units",
        identity=content.identity,
    )
    device = Device(
        name=folder.name,
        title=folder.name,
        kind="cpu",
        chip="x",
        peak=PEAK,
        default_variant=variant.name,
        variants=(variant,),
    )
    write_table(folder, LatencyTable(device=device, variant=variant, content=content))


def test_what_cannot_be_audited_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="holds no device"):
        audit_latency(tmp_path)
    notes = tmp_path / "notes.txt"
    notes.write_text("hello")
    with pytest.raises(FileFormatError, match="no known format"):
        audit_latency(notes)


def test_copies_within_a_folder_of_devices_are_found(tmp_path: Path) -> None:
    write_device(tmp_path / "one", honest_times())
    write_device(tmp_path / "two", honest_times())
    findings = audit_latency(tmp_path).findings
    assert {(finding.check, finding.table.partition(":")[0]) for finding in findings} == {
        ("identical", "one"),
        ("identical", "two"),
    }


@pytest.mark.slow
def test_shipped_tables_pass() -> None:
    report = audit_latency(resources.data_path("latency_tables"))
    assert report.is_clean, [dataclasses.replace(f, rows=f.rows[:3]) for f in report.findings]


def test_chips_that_share_a_fit_are_alike_by_it() -> None:
    """A scaled copy of another source's table is still found among them."""
    folder = Path(__file__).parents[3] / "latency_tables"
    paths = [folder / name for name in ("raspberry-pi-3b", "raspberry-pi-zero-2")]
    tables = [rows for path in paths for rows in table_rows(read_table(path))]
    assert find_mistakes(tables[:1], more=tables[1:]) == ()
    theirs = dataclasses.replace(tables[1], shared_fit="another source")
    rows = tuple(dataclasses.replace(row, time_ms=1.1 * row.time_ms) for row in tables[0].rows)
    copied = dataclasses.replace(theirs, rows=rows)
    assert {found.check for found in find_mistakes(tables[:1], more=[copied])} == {"scaled"}
