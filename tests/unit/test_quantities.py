"""Numbers with units: what is read, what is printed, and what each refusal says."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ofa_toolkit.core import quantities
from ofa_toolkit.core.errors import QuantityError

KINDS = {
    name: getattr(quantities, name.upper())
    for name in ("latency", "macs", "params", "throughput", "memory", "percent")
}


@pytest.mark.parametrize(
    ("text", "expected_ms"),
    [
        ("20ms", 20.0),
        ("1.5s", 1500.0),
        ("800us", 0.8),
        (" 20 ms ", 20.0),
        ("1e3us", 1.0),
        (".5ms", 0.5),
        ("2min", 120e3),
    ],
)
def test_latency_is_read_in_milliseconds(text: str, expected_ms: float) -> None:
    assert quantities.LATENCY.parse(text) == pytest.approx(expected_ms, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("200M", 200_000_000), ("4.5GMACs", 4_500_000_000), ("4.5 G", 4_500_000_000), ("24MMAC", 24_000_000)],
)
def test_macs_are_whole_numbers(text: str, expected: int) -> None:
    macs = quantities.MACS.parse(text)
    assert macs == expected


def test_other_kinds() -> None:
    assert quantities.THROUGHPUT.parse("500/s") == 500.0
    assert quantities.THROUGHPUT.parse("2/ms") == 2000.0
    assert quantities.MEMORY.parse("64MB") == 64_000_000
    assert quantities.MEMORY.parse("64MiB") == 64 * 2**20
    assert quantities.PARAMS.parse("5M") == 5_000_000
    assert quantities.PERCENT.parse("76.5%") == 76.5


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("20xs", "'20xs': unknown unit 'xs' for a latency; use us, ms, s, min, h.", "Did you mean 20s?"),
        ("20MS", "unknown unit 'MS'", "Did you mean 20ms?"),
        ("20", "'20' has no unit; a latency needs one of us, ms, s, min, h.", "Did you mean 20ms?"),
        ("20q", "unknown unit 'q'", "For example 20ms."),
        ("fast", "'fast' is not a latency.", "Write a number and its unit, like 20ms."),
        ("", "'' is not a latency.", "Write a number and its unit, like 20ms."),
        ("-5ms", "must be positive", "For example 20ms."),
        ("0ms", "must be positive", "For example 20ms."),
        ("1e999ms", "must be positive", "For example 20ms."),
        ("1.2.3ms", "'1.2.3ms' is not a latency.", "Write a number and its unit, like 20ms."),
        ("2,5ms", "'2,5ms' is not a latency.", "Write a number and its unit, like 20ms."),
        ("0.02", "'0.02' has no unit", "Did you mean 20ms?"),
        ("1e-300", "has no unit", "For example 20ms."),
    ],
)
def test_refusals_name_the_value_and_the_way_out(text: str, message: str, hint: str) -> None:
    with pytest.raises(QuantityError) as caught:
        quantities.LATENCY.parse(text)
    assert message in caught.value.message
    assert caught.value.hint == hint


def test_case_separates_milli_from_mega() -> None:
    with pytest.raises(QuantityError) as caught:
        quantities.MACS.parse("200m")
    assert caught.value.hint == "Did you mean 200M?"


@pytest.mark.parametrize(
    ("kind", "text", "meant"),
    [
        ("percent", "0.75", "75%"),
        ("percent", "75", "75%"),
        ("macs", "200", "200M"),
        ("macs", "200000000", "200M"),
        ("params", "5e6", "5M"),
        ("memory", "64", "64MB"),
        ("memory", "4000000", "4MB"),
        ("throughput", "500", "500/s"),
    ],
)
def test_a_number_alone_means_what_people_mean(kind: str, text: str, meant: str) -> None:
    with pytest.raises(QuantityError) as caught:
        KINDS[kind].parse(text)
    assert caught.value.hint == f"Did you mean {meant}?"


def test_a_micro_sign_is_read() -> None:
    assert quantities.LATENCY.parse("250µs") == quantities.LATENCY.parse("250μs") == pytest.approx(0.25)


def test_a_percentage_ends_at_a_hundred() -> None:
    assert quantities.PERCENT.parse("100%") == 100.0
    with pytest.raises(QuantityError, match="more than 100 %"):
        quantities.PERCENT.parse("101%")


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("latency", 12.345, "12.3 ms"),
        ("latency", 0.5, "500 us"),
        ("latency", 999.9996, "1 s"),
        ("latency", 65_000, "65 s"),
        ("macs", 566_170_656, "566 MMACs"),
        ("macs", 4.5e9, "4.5 GMACs"),
        ("macs", 0, "0 MACs"),
        ("params", 7_664_760, "7.66 M"),
        ("throughput", 512.3, "512/s"),
        ("memory", 64e6, "64 MB"),
        ("percent", 76.54, "76.5 %"),
        ("latency", math.nan, "nan"),
    ],
)
def test_format(kind: str, value: float, expected: str) -> None:
    assert KINDS[kind].format(value) == expected


@given(st.sampled_from(sorted(KINDS)), st.floats(min_value=1, max_value=1e12))
def test_what_is_printed_can_be_typed(kind: str, value: float) -> None:
    """A printed quantity, given back as an option, means the same to the printed precision."""
    quantity = KINDS[kind]
    value = min(value, quantity.largest or value)
    text = quantity.format(value, digits=6)
    if quantity.is_count and value < 1000 and kind != "memory":
        return  # small counts print without a unit, which an option needs
    assert quantity.parse(text) == pytest.approx(value, rel=1e-5, abs=0.51 if quantity.is_count else 0)


@pytest.mark.parametrize(
    ("number", "noun", "expected"),
    [
        (1, "epoch", "1 epoch"),
        (2, "epoch", "2 epochs"),
        (2, "batch", "2 batches"),
        (0, "photo", "0 photos"),
        (3, "class", "3 classes"),
        (2, "entry", "2 entries"),
        (2, "key", "2 keys"),
    ],
)
def test_a_number_and_its_noun(number: int, noun: str, expected: str) -> None:
    assert quantities.counted(number, noun) == expected
