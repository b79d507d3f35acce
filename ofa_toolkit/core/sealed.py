"""Safetensors files that tell whether their tensors are still the ones that were saved.

The format has no checksum: a flipped bit of a weight is a weight. The digest of all tensors stands in the
file's metadata, so that both are replaced at once; files without it are taken as they are.
"""

from __future__ import annotations

import hashlib
import json

_DIGEST = "tensors_sha256"


def seal(content: bytes) -> bytes:
    """A safetensors file with the digest of its tensors, and its metadata in the order of their names.

    The library writes metadata in an order that differs between processes; weights are known by the hash of
    their file, so equal weights have to give equal bytes.
    """
    header, tensors = _parts(content)
    metadata = header.get("__metadata__", {}) | {_DIGEST: hashlib.sha256(tensors).hexdigest()}
    header["__metadata__"] = dict(sorted(metadata.items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    # Tensors begin at a multiple of eight bytes, as the format recommends.
    text = text.ljust(-(-len(text) // 8) * 8)
    return len(text).to_bytes(8, "little") + text + tensors


def is_as_saved(content: bytes) -> bool:
    """Whether the tensors of a safetensors file have the digest it states, if it states one.

    Raises:
        ValueError: It is no safetensors file.
    """
    header, tensors = _parts(content)
    stated = header.get("__metadata__", {}).get(_DIGEST)
    return stated is None or stated == hashlib.sha256(tensors).hexdigest()


def _parts(content: bytes) -> tuple[dict[str, dict[str, str]], memoryview]:
    start = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:start]), memoryview(content)[start:]
