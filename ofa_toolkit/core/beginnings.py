"""What a file is that lies under another one's name, told by how it begins."""

from __future__ import annotations

_BEGINNINGS = (
    (b"version https://git-lfs.github.com/spec/", "a Git LFS pointer", "Fetch the file itself: git lfs pull"),
    (b"<!doctype html", "an HTML page", "The address gives a page about the file; download the file itself."),
    (b"<html", "an HTML page", "The address gives a page about the file; download the file itself."),
    (b"<?xml", "an XML document", "Download the file itself."),
    (b"{", "a JSON document", None),
    (b"pk\x03\x04", "a zip archive, as torch.save writes", None),
    (b"\x1f\x8b", "a gzip archive", "Unpack it first: gunzip FILE.gz, or tar xzf FILE.tar.gz"),
)


def kind_of(content: bytes) -> tuple[str, str | None] | None:
    """In words what a file is, and what to do about it; None where its beginning does not tell."""
    start = content[:100].lstrip().lower()
    return next((found[1:] for found in _BEGINNINGS if start.startswith(found[0])), None)
