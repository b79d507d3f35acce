"""The first entries of every document."""

from __future__ import annotations

import pytest

from ofa_toolkit.core.errors import FileFormatError
from ofa_toolkit.core.file_format import FileFormat

FRUIT = FileFormat("ofa-toolkit/fruit", 3, "a fruit", former=(2,))


def test_its_own_header_is_read() -> None:
    assert FRUIT.check({**FRUIT.header, "colour": "red"}, "'x'") == 3
    assert FRUIT.check({"format": "ofa-toolkit/fruit", "version": 2}, "'x'") == 2
    assert FRUIT.body({**FRUIT.header, "colour": "red"}) == {"colour": "red"}


@pytest.mark.parametrize("document", [{}, [], None, {"format": "ofa-toolkit/stone", "version": 3}])
def test_what_is_something_else_is_named(document: object) -> None:
    assert not FRUIT.is_of(document)
    with pytest.raises(FileFormatError) as caught:
        FRUIT.check(document, "'x.json'", hint="Grow one.")
    assert caught.value.message == "'x.json' is not a fruit: its format is not 'ofa-toolkit/fruit'."
    assert caught.value.hint == "Grow one."


@pytest.mark.parametrize(
    ("version", "hint"),
    [(1, "Grow one."), (4, "Upgrade ofa-toolkit."), (True, "Grow one."), (None, "Grow one.")],
)
def test_versions_that_are_not_read_are_named(version: object, hint: str) -> None:
    with pytest.raises(FileFormatError) as caught:
        FRUIT.check({"format": "ofa-toolkit/fruit", "version": version}, "'x.json'", hint="Grow one.")
    assert caught.value.message == (
        f"'x.json' is a fruit of version {version!r}; this release reads version 2 or 3."
    )
    assert caught.value.hint == hint
