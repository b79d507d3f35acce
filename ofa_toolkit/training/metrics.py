"""The record of a run: JSON lines that resuming never doubles, and TensorBoard events beside them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ofa_toolkit.core import files
from ofa_toolkit.core.dependencies import missing_dependency
from ofa_toolkit.core.errors import FileFormatError
from ofa_toolkit.core.journal import Journal
from ofa_toolkit.core.reporting import SILENT, Reporter

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

METRICS_FILE = "metrics.jsonl"


class MetricsLog:
    """Appends one JSON object a line; each has `kind` and the `step` (updates made so far).

    Args:
        folder: The run folder.
        last_step: Lines after this step are dropped: a resumed run writes them again.
        use_tensorboard: Whether events are written to `<folder>/tensorboard`.
        reporter: Hears of damaged lines, which are dropped.
    """

    def __init__(
        self,
        folder: Path,
        *,
        last_step: int,
        use_tensorboard: bool,
        reporter: Reporter = SILENT,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / METRICS_FILE
        if self.path.exists():
            lines = Journal(self.path, reporter, is_line=_is_line).lines
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
    if not path.is_file():
        raise FileFormatError(f"No such file: '{path}'.")
    return Journal(path, is_line=_is_line).lines


def _is_line(line: Mapping[str, Any]) -> bool:
    return isinstance(line.get("step"), int) and isinstance(line.get("kind"), str)


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    return value
