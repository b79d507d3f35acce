"""Measure a board from here: a kit is built, carried over, run there, and becomes a table."""

from __future__ import annotations

import json
import re
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ofa_toolkit.core import files
from ofa_toolkit.core.errors import MeasurementError, OutputError, UnknownNameError
from ofa_toolkit.core.precision import FilePrecision
from ofa_toolkit.core.reporting import SILENT, Reporter
from ofa_toolkit.latency.device_names import find_device
from ofa_toolkit.latency.filing import device_folder, known_device
from ofa_toolkit.latency.importing import Conditions
from ofa_toolkit.latency.importing.variant import variant_name
from ofa_toolkit.latency.kit.back_ends import BACK_ENDS, BackEnd
from ofa_toolkit.latency.kit.board.agent import remaining_time
from ofa_toolkit.latency.kit.build import AGENT
from ofa_toolkit.latency.kit.program import agent_program
from ofa_toolkit.latency.kit.ssh import BROKEN, Board
from ofa_toolkit.pipelines.latency.importing import ImportReport, import_latency
from ofa_toolkit.pipelines.latency.kit import make_kit
from ofa_toolkit.pipelines.latency.request import OWN, BoardRequest, ImportRequest, KitRequest

_FOLDER = ".cache/ofa-toolkit/kits"
_ENDED_EARLY, _MOST_ENDS, _LONGEST_PAUSE_S = 4, 3, 60.0
_KILLED = 128


@dataclass(frozen=True, kw_only=True)
class Clock:
    """What waiting goes by, in seconds."""

    pause: Callable[[float], None] = time.sleep
    now: Callable[[], float] = time.monotonic


_CLOCK = Clock()


@dataclass(frozen=True, kw_only=True)
class Found:
    """A board as it describes itself, and what follows from that."""

    device: str
    target: str
    back_end: BackEnd
    description: Mapping[str, Any]


@dataclass
class _Progress:
    """Lines of the results as they arrive; a new connection sends them all again."""

    total: int
    reporter: Reporter
    lines: list[str] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    seconds: list[float] = field(default_factory=list)

    def take(self, text: str) -> None:
        """One line of the results."""
        try:
            line = json.loads(text)
        except ValueError:
            return
        self.lines.append(text.rstrip("\n"))
        if line.get("type") not in ("result", "failure") or line["probe"] in self.seen:
            return
        self.seen.add(line["probe"])
        self.seconds.append(float(line.get("seconds", 0.0)))
        left = remaining_time(self.seconds, self.total - len(self.seen))
        took = f"{line['median_ms']:.3f} ms" if "median_ms" in line else f"failed: {line.get('error')}"
        self.reporter.message(f"{len(self.seen)} of {self.total} networks: {took}{left}")


def measure_board(
    request: BoardRequest, reporter: Reporter = SILENT, *, clock: Clock = _CLOCK
) -> ImportReport:
    """Build the kit, run it on the board, fetch and audit its results, and file the table.

    The board measures on when the connection breaks; the same request goes on where the last one stopped,
    also after a reboot of either machine.

    Raises:
        MeasurementError: The board cannot be reached or cannot time networks.
        OutputError: A table of the same conditions would be replaced.
        LatencyTableError: The audit refuses the results.
    """
    device_folder(request.tables, request.device or "unnamed")
    found = describe(request)
    reporter.message(f"{request.board.host} is {_title(found.description)}, filed as {found.device}.")
    with tempfile.TemporaryDirectory() as folder:
        kit = Path(folder) / "kit.zip"
        report = make_kit(
            KitRequest(
                target=found.target,
                space=request.space,
                num_probes=request.num_probes,
                precision=request.precision,
                num_classes=request.num_classes,
                out=kit,
                seed=request.seed,
            ),
            reporter=reporter,
        )
        _check_not_there(request, found, report.precision)
        place = _carry_over(request, kit, reporter)
    progress = _Progress(request.num_probes, reporter)
    try:
        _measure(request, _agent_words(request, found, place, report.precision), progress, clock)
    finally:
        if progress.seen:
            files.write_text(request.out, "\n".join(progress.lines) + "\n")
    return import_latency(
        ImportRequest(paths=(request.out,), device=found.device, folder=request.tables, force=request.force)
    )


def _agent_words(request: BoardRequest, found: Found, place: str, precision: FilePrecision) -> list[str]:
    """The command on the board that measures all networks of the kit in `place`."""
    mode, back_end = _file_word(_mode(found.description) or "any-mode"), found.back_end.name
    words = [request.python, f"{place}/{AGENT}", "--kit", f"{place}/kit.zip"]
    words += ["--out", f"{place}/results-{back_end}-{precision}-{mode}.jsonl"]
    words += ["--backend", back_end, "--precision", precision, "--threads", str(request.threads)]
    return [*words, *_trtexec(request), "--background"]


def _trtexec(request: BoardRequest) -> list[str]:
    return ["--trtexec", request.trtexec] if request.trtexec else []


def describe(request: BoardRequest) -> Found:
    """Ask the board what it is; nothing is written there."""
    source = agent_program().encode()
    words = [request.python, "-", "--describe", *_trtexec(request)]
    lines: list[str] = []
    status, complaint = request.board.stream(words, lines.append, content=source)
    if status == BROKEN:
        raise request.board.broken(complaint)
    try:
        description = json.loads(lines[-1])
    except (IndexError, ValueError):
        raise MeasurementError(
            f"'{request.python}' does not run on {request.board.host}: {complaint or 'it says nothing'}",
            hint="Name a Python of 3.6 or newer that is there: --python /usr/bin/python3",
        ) from None
    back_end = _back_end(request, description)
    target = back_end.target(description)
    device = request.device or _device_name(request.board, description)
    return Found(device=device, target=target, back_end=back_end, description=description)


def _back_end(request: BoardRequest, description: Mapping[str, Any]) -> BackEnd:
    wanted = BACK_ENDS.values() if request.back_end is None else (BACK_ENDS[request.back_end],)
    lacks = []
    for back_end in wanted:
        lack = back_end.lack(description)
        if lack is None:
            return back_end
        lacks.append(lack)
    reasons = "; ".join(lacks)
    raise MeasurementError(
        f"{request.board.host} cannot time networks: {reasons}",
        hint="Name --trtexec PATH, or --python PATH of an environment that has onnxruntime.",
    )


def _device_name(board: Board, description: Mapping[str, Any]) -> str:
    """The known device of that chip, else the board's model or its host name."""
    gpu = (description.get("gpu") or "").split(",")[0].strip()
    model = re.sub(r" Rev [\d.]+$", "", description.get("model") or "")  # a Raspberry Pi's
    names = [name for name in (gpu, model) if name]
    for name in names:
        try:
            return find_device(name).name
        except UnknownNameError:
            continue
    host = "" if re.fullmatch(r"[\d.:\[\]]+", board.plain_name) else board.plain_name
    for name in (*names, host):
        if re.search("[a-z]", name.lower()):
            return _file_word(name)
    raise MeasurementError(
        f"'{board.host}' does not say what board it is.", hint="Name it: --device my-board"
    )


def _title(description: Mapping[str, Any]) -> str:
    parts = [description.get("model"), description.get("gpu") or description.get("cpu")]
    mode = _mode(description)
    return ", ".join(str(part) for part in (*parts, f"power mode {mode}" if mode else None) if part)


def _mode(description: Mapping[str, Any]) -> str | None:
    return description.get("power_mode") or description.get("governors")


def _check_not_there(request: BoardRequest, found: Found, precision: FilePrecision) -> None:
    """Refuse before measuring what could not be filed afterwards."""
    conditions = Conditions(
        runtime=found.back_end.runtime,
        precision=precision,
        batch_size=1,
        power_mode=_mode(found.description),
    )
    name = variant_name(OWN, conditions)
    folder = device_folder(request.tables, found.device)
    known = known_device(request.tables, found.device) if folder.is_dir() else None
    if not request.force and known is not None and name in {variant.name for variant in known.variants}:
        raise OutputError(
            f"'{found.device}' already has a table '{name}'; it would be replaced.",
            hint="Add --force to replace it, or file it under another name: --device NAME",
        )


def _carry_over(request: BoardRequest, kit: Path, reporter: Reporter) -> str:
    """Put the kit on the board unless it is there; the folder is named after its content."""
    with zipfile.ZipFile(kit) as archive:
        identity = json.loads(archive.read("kit.json"))["id"]
        program = archive.read(AGENT)
    place, content = f"{_FOLDER}/{identity}", kit.read_bytes()
    there = request.board.run(["sh", "-c", f"wc -c < {place}/kit.zip 2>/dev/null || echo none"])
    if there.strip() != str(len(content)):
        reporter.message(f"Copying the kit to {request.board.host}:{place} ({len(content) / 1e6:.1f} MB)")
        _put(request.board, f"{place}/kit.zip", content)
    _put(request.board, f"{place}/{AGENT}", program)
    return place


def _put(board: Board, path: str, content: bytes) -> None:
    """Write a file on the board, whole or not at all."""
    folder = path.rpartition("/")[0]
    script = f"mkdir -p {folder} && cat > {path}.part && mv {path}.part {path}"
    board.run(["sh", "-c", script], content=content)


def _measure(request: BoardRequest, words: list[str], progress: _Progress, clock: Clock) -> None:
    """Have the board measure until every network has a result, however often the connection breaks."""
    num_ends, num_tries, since = 0, 0, clock.now()
    while True:
        before = len(progress.seen)
        progress.lines.clear()
        status, complaint = request.board.stream(words, progress.take)
        if status == 0:
            return
        if len(progress.seen) > before:
            num_ends, num_tries, since = 0, 0, clock.now()
        num_ends += status == _ENDED_EARLY
        is_patient = clock.now() - since < 60.0 * request.patience and num_ends < _MOST_ENDS
        if status not in (_ENDED_EARLY, BROKEN) and status < _KILLED:
            reason = complaint.removeprefix("Error: ") or f"the program there ended with {status}"
            raise MeasurementError(f"{request.board.host}: {reason}")
        if not is_patient:
            raise MeasurementError(
                f"{request.board.host} went away with {len(progress.seen)} of {progress.total} networks "
                f"measured: {complaint.splitlines()[-1] if complaint else 'no reason given'}",
                hint="Run the same command again: it goes on where it stopped.",
            )
        progress.reporter.message(
            f"The connection to {request.board.host} broke; the board goes on. Trying again."
        )
        clock.pause(min(5.0 * 2**num_tries, _LONGEST_PAUSE_S))
        num_tries += 1


def _file_word(text: str) -> str:
    """Letters, digits and dashes of a text."""
    return "-".join(re.findall(r"[a-z0-9]+", text.lower()))
