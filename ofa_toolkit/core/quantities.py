"""Numbers with a unit: `20ms`, `200M` (MACs), `500/s`, `64MB`.

A quantity from a user always carries its unit: `--latency 20` could mean 20 ms or 20 s, so it is refused
with a hint rather than guessed. Units are case-sensitive, because `m` and `M` differ by nine orders of
magnitude; a wrong case is named in the hint.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ofa_toolkit.core.errors import QuantityError

_NUMBER_AND_UNIT = re.compile(
    r"\s*(?P<number>[+-]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(?P<unit>(?:[^\W\d]|[/%]).*?)?\s*"
)
_MICRO = {ord("µ"): "u", ord("μ"): "u"}


@dataclass(frozen=True, kw_only=True)
class QuantityKind:
    """One kind of quantity and the units it may be written in.

    Args:
        name: For messages, with its article: `a latency`.
        units: Unit as written to its size in base units, small ones first; the base unit has size 1.
        example: A value that can be typed as it stands.
        suffixes: Words that may follow the unit and change nothing: `4.5GMACs`.
        is_count: Whether the parsed value is a whole number.
        one: Value of a bare 1 in base units, for numbers below 1 without a unit; None where there is none.
        print_units: Units that `format` uses, small ones first; "" is the bare number.
        print_suffix: Follows the unit in `format`.
        largest: The largest value allowed, in base units; None for no limit.
    """

    name: str
    units: Mapping[str, float]
    example: str
    suffixes: tuple[str, ...] = ()
    is_count: bool = False
    one: float | None = None
    print_units: tuple[str, ...]
    print_suffix: str = ""
    largest: float | None = None

    def parse(self, text: str) -> float:
        """Read a positive, finite quantity and return it in `base_unit`.

        Raises:
            QuantityError: No number, no unit, an unknown unit, or a value that is not positive, finite and
                allowed.
        """
        match = _NUMBER_AND_UNIT.fullmatch(text.translate(_MICRO))
        if match is None:
            raise QuantityError(
                f"'{text}' is not {self.name}.", hint=f"Write a number and its unit, like {self.example}."
            )
        number, unit = match["number"], match["unit"] or ""
        value = float(number) * self.units[self._known_unit(text, number, unit)]
        if not (math.isfinite(value) and value > 0):
            raise QuantityError(
                f"'{text}' is not {self.name}: it must be positive.", hint=f"For example {self.example}."
            )
        if self.largest is not None and value > self.largest:
            raise QuantityError(
                f"'{text}' is more than {self.format(self.largest)}.", hint=f"For example {self.example}."
            )
        return float(round(value)) if self.is_count else value

    def format(self, value: float, digits: int = 3) -> str:
        """Write `value` (in `base_unit`) with the largest of `print_units` that keeps it at 1 or more."""
        if not math.isfinite(value):
            return str(value)
        unit = self.print_units[0]
        for name in self.print_units[1:]:
            # Rounded first: 999.9996 ms is "1 s", not "1000 ms".
            if abs(float(f"{value / self._size(name):.{digits}g}")) >= 1:
                unit = name
        number = value / self._size(unit)
        places = max(0, digits - 1 - math.floor(math.log10(abs(number)))) if number else 0
        body = f"{number:.{places}f}"
        if "." in body:
            body = body.rstrip("0").rstrip(".")
        return f"{body}{unit}" if unit.startswith("/") else f"{body} {unit}{self.print_suffix}".rstrip()

    def typed(self, value: float, digits: int = 6) -> str:
        """Write `value` (in `base_unit`) as `parse` reads it: `200M`."""
        return self.format(value, digits).removesuffix(self.print_suffix).replace(" ", "")

    def _guess(self, number: str) -> str:
        """What a number without a unit most likely means."""
        value = float(number)
        if not 1e-6 <= value <= 1e15:
            return f"For example {self.example}."
        meant = number + self.example.lstrip("0123456789.")
        if self.one is not None and value < 1:
            meant = self.typed(value * self.one)
        elif self.is_count and value >= 1000:
            meant = self.typed(value)
        return f"Did you mean {meant}?"

    def _size(self, unit: str) -> float:
        return self.units[unit] if unit else 1.0

    def _known_unit(self, text: str, number: str, unit: str) -> str:
        for suffix in self.suffixes:
            if unit.endswith(suffix):
                unit = unit.removesuffix(suffix).strip()
                break
        allowed = ", ".join(self.units)
        if unit in self.units:
            return unit
        if not unit:
            raise QuantityError(
                f"'{text}' has no unit; {self.name} needs one of {allowed}.",
                hint=self._guess(number),
            )
        same_letters = [name for name in self.units if name.lower() == unit.lower()]
        close = same_letters or difflib.get_close_matches(unit, self.units, n=1, cutoff=0.5)
        hint = f"Did you mean {number}{close[0]}?" if close else f"For example {self.example}."
        raise QuantityError(f"'{text}': unknown unit '{unit}' for {self.name}; use {allowed}.", hint=hint)


LATENCY = QuantityKind(
    name="a latency",
    units={"us": 1e-3, "ms": 1.0, "s": 1e3, "min": 60e3, "h": 3600e3},
    example="20ms",
    one=1e3,
    print_units=("us", "ms", "s"),
)
DURATION = QuantityKind(
    name="a duration",
    units={"s": 1.0, "min": 60.0, "h": 3600.0},
    example="20min",
    print_units=("s", "min", "h"),
)
MACS = QuantityKind(
    name="a number of multiply-accumulates (MACs)",
    units={"K": 1e3, "M": 1e6, "G": 1e9},
    example="200M",
    print_units=("", "K", "M", "G"),
    print_suffix="MACs",
    suffixes=("MACs", "MAC"),
    is_count=True,
)
PARAMS = QuantityKind(
    name="a number of parameters",
    units={"K": 1e3, "M": 1e6, "G": 1e9},
    example="5M",
    print_units=("", "K", "M", "G"),
    suffixes=("params",),
    is_count=True,
)
THROUGHPUT = QuantityKind(
    name="a throughput",
    units={"/min": 1 / 60, "/s": 1.0, "/ms": 1e3},
    example="500/s",
    print_units=("/min", "/s"),
)
MEMORY = QuantityKind(
    name="an amount of memory",
    units={"B": 1.0, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30},
    example="64MB",
    print_units=("B", "KB", "MB", "GB"),
    is_count=True,
)
PERCENT = QuantityKind(
    name="a percentage",
    units={"%": 1.0},
    example="76.5%",
    one=100.0,
    print_units=("%",),
    largest=100.0,
)


def duration(seconds: float) -> str:
    """A length of time in the two largest fitting units: `1 h 05 min`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def first_names(names: Sequence[str]) -> str:
    """A list of names for a message, of many the first: `'a', 'b', 'c', ... (10)`."""
    shown = ", ".join(f"'{name}'" for name in names[:3])
    return shown + (f", ... ({len(names)})" if len(names) > 3 else "")


def counted(number: int, noun: str) -> str:
    """A number and its noun, in the plural where there is not one: `1 epoch`, `3 classes`, `0 entries`."""
    if number == 1:
        return f"1 {noun}"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return f"{number} {noun[:-1]}ies"
    is_hissing = noun.endswith(("s", "x", "ch", "sh")) and not noun.endswith("epoch")
    return f"{number} {noun}es" if is_hissing else f"{number} {noun}s"
