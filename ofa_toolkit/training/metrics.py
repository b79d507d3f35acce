"""The record of a run: JSON lines that resuming never doubles, and TensorBoard events beside them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ofa_toolkit.core import files
from ofa_toolkit.core.dependencies import missing_dependency
from ofa_toolkit.core.documents import read_json_lines

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

METRICS_FILE = "metrics.jsonl"


class MetricsLog:
    """Appends one JSON object a line; each has `kind` and the `step` (updates made so far).

    Args:
        folder: The run folder.
        last_step: Lines after this step are dropped: a resumed run writes them again.
        use_tensorboard: Whether events are written to `<folder>/tensorboard`.
        tell: Hears of damaged lines, which are dropped.
    """

    def __init__(
        self,
        folder: Path,
        *,
        last_step: int,
        use_tensorboard: bool,
        tell: Callable[[str], object] | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / METRICS_FILE
        if self.path.exists():
            lines, damaged = _parse(self.path)
            if damaged and tell is not None:
                numbers = ", ".join(map(str, damaged[:5])) + (", ..." if len(damaged) > 5 else "")
                tell(f"'{self.path}': dropped damaged or cut-off line(s) {numbers}.")
            kept = [line for line in lines if line["step"] <= last_step]
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


def require_tensorboard() -> None:
    """Fail before anything is written if events cannot be.

    Raises:
        MissingDependencyError: TensorBoard's package is missing or broken.
    """
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ImportError as error:
        raise missing_dependency(error) or error from error


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """All lines of a metrics file; those that are damaged, or cut short by a crash, are left out."""
    return _parse(path)[0]


def _parse(path: Path) -> tuple[list[dict[str, Any]], list[int]]:
    """The lines, and the numbers (from 1) of damaged ones."""
    lines: list[dict[str, Any]] = []
    damaged: list[int] = []
    for number, line in read_json_lines(path):
        if line and isinstance(line.get("step"), int) and isinstance(line.get("kind"), str):
            lines.append(line)
        else:
            damaged.append(number)
    return lines, damaged


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    return value
