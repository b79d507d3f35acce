"""TOML: what is written reads back the same, and short lists are easy on the eye."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ofa_toolkit.core import toml

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=12) | st.sampled_from(
    ["[", "],", "a\nb", '"', "\\"]
)
scalars = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | texts
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(texts, values, max_size=4))
def test_writing_and_reading_agree(document: dict[str, Any]) -> None:
    assert toml.loads(toml.dumps(document)) == document


def test_short_arrays_take_one_line() -> None:
    document = {"kernel_sizes": [3, 5, 7], "table": {"rows": [[1, 2.5], [3, 1e-5]], "names": ["a b", "c"]}}
    assert toml.dumps(document) == (
        "kernel_sizes = [3, 5, 7]\n\n[table]\nrows = [\n    [1, 2.5],\n    [3, 1e-05],\n]\n"
        'names = ["a b", "c"]\n'
    )


def test_long_arrays_take_a_line_for_each_value() -> None:
    lines = toml.dumps({"sentences": ["x" * 60, "y" * 60]}).splitlines()
    assert lines == ["sentences = [", f'    "{"x" * 60}",', f'    "{"y" * 60}",', "]"]
