"""Which weights a predictor was built for, or batch-norm corrections were measured on."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


def weights_identity(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a weights file, as 64 hexadecimal digits."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
