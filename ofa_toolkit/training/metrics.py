"""The record of a run: JSON lines that resuming never doubles, and TensorBoard events beside them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ofa_toolkit.core import files

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

METRICS_FILE = "metrics.jsonl"


class MetricsLog:
    """Appends one JSON object a line; each has `kind` and the `step` (updates made so far).

    Args:
        folder: The run folder.
        last_step: Lines after this step are dropped: a resumed run writes them again.
        use_tensorboard: Whether events are written to `<folder>/tensorboard`.
    """

    def __init__(self, folder: Path, *, last_step: int, use_tensorboard: bool) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / METRICS_FILE
        if self.path.exists():
            kept = [line for line in read_metrics(self.path) if line["step"] <= last_step]
            files.write_text(self.path, "".join(json.dumps(line) + "\n" for line in kept))
        self._writer: SummaryWriter | None = None
        if use_tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=last_step + 1)

    def write(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        """Append a line; numbers also go to TensorBoard under `kind/name`. NaN becomes null."""
        line = {"kind": kind, "step": step, **{name: _plain(value) for name, value in values.items()}}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, allow_nan=False) + "\n")
        if self._writer is not None:
            for name, value in line.items():
                if isinstance(value, (int, float)) and name != "step":
                    self._writer.add_scalar(f"{kind}/{name}", value, step)
            if kind != "step":
                self._writer.flush()

    def close(self) -> None:
        """Finish the event file."""
        if self._writer is not None:
            self._writer.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """All lines of a metrics file; a last line cut short by a crash is left out."""
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except ValueError:
            break
    return lines


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    return value
