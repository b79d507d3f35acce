"""Damaged variants of a file: of its bytes, of the words in its text, and of what an archive holds."""

from __future__ import annotations

import io
import json
import re
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

Random = np.random.Generator

_VALUES = (
    '""', "null", "true", "0", "-1", "1e400", "-0.0", "NaN", "Infinity", "99999999999999999999", "3.5", "[]",
    "{}", '"\\u0000"', "'x'", '"../../x"', "[[[[1]]]]", '{"a": 1}', "[" * 3000, '{"a":' * 3000, "2024-01-01",
)  # fmt: skip
_WORD = re.compile(r'"[^"\n]*"|-?\b\d+(?:\.\d+)?(?:e-?\d+)?\b|\b(?:true|false|null)\b')
_NASTY: tuple[Any, ...] = (
    None, True, 0, -1, 2**70, 1e300, "", "x", "\0", "../x", [], {}, [None], {"x": 1}, [[[]]], "9" * 5000,
)  # fmt: skip


def mutated(content: bytes, random: Random) -> bytes:
    """The content with one to three changes of the kinds that fit it."""
    for _ in range(int(random.integers(1, 4))):
        kinds = _kinds(content)
        content = kinds[int(random.integers(len(kinds)))](content, random)
    return content


def _kinds(content: bytes) -> list[Callable[[bytes, Random], bytes]]:
    kinds: list[Callable[[bytes, Random], bytes]] = [_bytes]
    if content[:2] == b"PK":
        return [*kinds, _member, _member]
    if _header_size(content):
        return [*kinds, _header, _header]
    if b"\0" not in content[:4096]:
        kinds += [_word, _word, _line, _encoding]
        if content.lstrip()[:1] in (b"{", b"["):
            kinds += [_document, _document]
    return kinds


def _bytes(content: bytes, random: Random) -> bytes:
    """Cut off, flipped, doubled, taken out, overwritten, put in."""
    if not content:
        return b"x"
    # Headers decide most of what a reader does.
    end = min(len(content), 128) if random.random() < 0.5 else len(content)
    at = int(random.integers(end))
    until = at + int(random.integers(1, 64))
    part = content[at:until]
    return (
        content[:at],
        content[:at] + bytes([content[at] ^ (1 << int(random.integers(8)))]) + content[at + 1 :],
        content[:until] + part + content[until:],
        content[:at] + content[until:],
        content[:at] + random.bytes(len(part)) + content[until:],
        content[:at] + b"\0" * len(part) + content[until:],
        content[:at] + b"\xff" * len(part) + content[until:],
        b"",
    )[int(random.integers(8))]


def _word(content: bytes, random: Random) -> bytes:
    text = content.decode("latin-1")
    words = list(_WORD.finditer(text))
    if not words:
        return _bytes(content, random)
    word = words[int(random.integers(len(words)))]
    value = _VALUES[int(random.integers(len(_VALUES)))]
    return (text[: word.start()] + value + text[word.end() :]).encode("latin-1")


def _line(content: bytes, random: Random) -> bytes:
    lines = content.split(b"\n")
    at, other = (int(random.integers(len(lines))) for _ in range(2))
    if random.random() < 0.5:
        del lines[at]
    else:
        lines.insert(other, lines[at])
    return b"\n".join(lines)


def _encoding(content: bytes, random: Random) -> bytes:
    text = content.decode("utf-8", errors="replace")
    return (
        b"\xef\xbb\xbf" + content,
        text.encode("utf-16"),
        text.encode("utf-32"),
        content.replace(b"\n", b"\r\n"),
        content + "ü".encode("latin-1"),
    )[int(random.integers(5))]


def _document(content: bytes, random: Random) -> bytes:
    """One value of a JSON document replaced, taken out, or added."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return _word(content, random)
    return json.dumps(_changed(document, random)).encode()


def _changed(document: Any, random: Random) -> Any:
    value = _NASTY[int(random.integers(len(_NASTY)))]
    if not isinstance(document, (dict, list)) or not document or random.random() < 0.15:
        return value
    keys = list(document) if isinstance(document, dict) else list(range(len(document)))
    key = keys[int(random.integers(len(keys)))]
    action = random.random()
    if action < 0.1:
        del document[key]
    elif action < 0.2 and isinstance(document, dict):
        document["x"] = value
    else:
        document[key] = _changed(document[key], random)
    return document


def _header_size(content: bytes) -> int:
    """Length of the header of a safetensors file; 0 for another one."""
    size = int.from_bytes(content[:8], "little")
    return size if content[8:9] == b"{" and 2 <= size <= len(content) - 8 else 0


def _header(content: bytes, random: Random) -> bytes:
    """The JSON header of a safetensors file changed, or the document within its metadata."""
    end = 8 + _header_size(content)
    try:
        document = json.loads(content[8:end])
        metadata = document.get("__metadata__") or {}
        inner = [name for name, value in metadata.items() if str(value)[:1] == "{"]
        if inner and random.random() < 0.6:
            name = inner[int(random.integers(len(inner)))]
            metadata[name] = _document(metadata[name].encode(), random).decode()
        else:
            document = _changed(document, random)
    except (ValueError, RecursionError, AttributeError):
        return _bytes(content, random)
    header = json.dumps(document).encode()
    header = header.ljust(-(-len(header) // 8) * 8)
    return len(header).to_bytes(8, "little") + header + content[end:]


def _member(content: bytes, random: Random) -> bytes:
    """A file of an archive changed, its checksum right."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError):
        return _bytes(content, random)
    if not members:
        return _bytes(content, random)
    # The pickle of a checkpoint and the description of a kit, more often than single arrays.
    names = [name for name in members if name.endswith((".pkl", ".json"))] or list(members)
    if random.random() < 0.3:
        names = list(members)
    name = names[int(random.integers(len(names)))]
    members[name] = mutated(members[name], random)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for each, inner in members.items():
            archive.writestr(each, inner)
    return out.getvalue()
