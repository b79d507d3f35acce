"""Standard output and error that neither a locale nor a departed reader can break.

Characters that the terminal's encoding lacks are spelled with others; once the reader of a pipe has left
(`| head -1`), the command goes on to its end and its own exit code.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys
import unicodedata

_SPELLED = {"ϵ": "e", "×": "x", "–": "-", "≤": "<=", "≥": ">=", "→": "->", "’": "'"}


def install() -> None:
    """Put such streams in the place of `sys.stdout` and `sys.stderr` where those are Python's own."""
    codecs.register_error("ofa_tk.spell", _spell)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if type(stream) is io.TextIOWrapper:
            setattr(sys, name, _Patient(stream))


class _Patient(io.TextIOWrapper):
    """A text stream over the bytes of another."""

    def __init__(self, stream: io.TextIOWrapper) -> None:
        # ASCII stands for a locale that was never set; click writes UTF-8 there too.
        is_ascii = codecs.lookup(stream.encoding).name == "ascii"
        super().__init__(
            stream.buffer,
            encoding="utf-8" if is_ascii else stream.encoding,
            errors="ofa_tk.spell",
            line_buffering=stream.line_buffering,
        )
        self._former = stream  # its end would close the bytes

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except BrokenPipeError:
            self._write_nowhere()
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except BrokenPipeError:
            self._write_nowhere()

    def _write_nowhere(self) -> None:
        with contextlib.suppress(OSError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)


def _spell(error: UnicodeError) -> tuple[str, int]:
    """Spell what cannot be encoded: in plain letters where there are some, otherwise by its number."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_spelled(character) for character in error.object[error.start : error.end]), error.end


def _spelled(character: str) -> str:
    plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return _SPELLED.get(character) or plain or character.encode("ascii", "backslashreplace").decode()
