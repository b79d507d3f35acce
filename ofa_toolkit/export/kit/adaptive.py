"""Classify pictures by the most accurate of several networks that meets the budget of the moment.

    python3 adaptive.py --deadline 15ms IMAGE ...
    python3 adaptive.py --target-fps 60 --temperature FILE --max-temperature 80 --log log.jsonl IMAGE ...

FILE is such as /sys/class/thermal/thermal_zone0/temp.

Needs numpy and onnxruntime from 1.16 on, and for pictures Pillow. The networks share one file of weights, of
which each takes a part when it is loaded. At the start each is timed on this machine; then the time of every
image tells how loaded the machine is: a network that would be late is left at once, a larger one is taken
when it has fitted for a while. Where more images are late than --in-time leaves, smaller ones are tried too.
"""

# Python 3.6. `picture.py` beside this file reads as training does.
import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

import numpy as np
import onnxruntime

PATIENCE, MOST_PATIENCE = 8, 512
"""Images for which a larger network must have fitted before it is taken; doubled each time it failed."""

HEADROOM = 0.9
"""Share of the budget that a network may be expected to take."""

WINDOW = 16
"""Newest images that tell the load: the third slowest of five, or the fifth slowest of all."""

SETTLING = 30
"""Images after a change that are not counted: what waited for the larger network is still in the way."""

COUNTED = 200
"""Images before a smaller network is compared with the larger one before, or, all in time, a larger tried."""

MOST_DOUBLED = 8
"""A smaller network that did not help is tried again after twice as many, at most so many times as many."""

SUDDEN = (4.0, 10.0)
LASTING = (1.0, 100.0)
"""When too many images are late: the share of late ones, in units of the one allowed, that leaves a debt
as it is, and the debt in late images that is too much. The first notices a sudden load within some ten
images, the second keeps the share over hundreds, so that quiet times make up for busy ones.
"""

IN_TIME = 0.95
"""Share of images that are to be in time."""


class Pack:
    """Networks of a folder, from the smallest to the largest.

    Args:
        folder: The pack.
        num_threads: Threads of an operator.
    """

    def __init__(self, folder: Path, num_threads: int = 1) -> None:
        self.folder, self._num_threads = Path(folder), num_threads
        self.manifest: Dict[str, Any] = json.loads((self.folder / "pack.json").read_text("utf-8"))
        self.entries: List[Dict[str, Any]] = self.manifest["subnets"]
        self._shared = np.load(str(self.folder / "weights.npz"))
        self._tensors: Dict[str, Any] = {}

    def load(self, index: int) -> Any:
        """A session of one network; batch norm is folded into its part of the weights here."""
        entry = self.entries[index]
        own = np.load(str(self.folder / entry["arrays"]))
        names, values = [], []
        for tensor in entry["tensors"]:
            value = own[tensor["name"]] if tensor["shared"] is None else self._part(tensor)
            if tensor["scale"] is not None:
                value = value * own[tensor["scale"]].reshape((-1,) + (1,) * (value.ndim - 1))
            names.append(tensor["name"])
            values.append(onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(value, np.float32)))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self._num_threads, 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 4
        options.add_external_initializers(names, values)
        graph = str(self.folder / entry["graph"])
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def _part(self, tensor: Dict[str, Any]) -> Any:
        """The leading channels, and the centre of the kernel."""
        name, shape = tensor["shared"], tensor["shape"]
        if name not in self._tensors:
            self._tensors[name] = self._shared[name]
        whole = self._tensors[name]
        part = whole[tuple(slice(length) for length in shape[:2])]
        if whole.ndim == 4:
            start = (whole.shape[-1] - shape[-1]) // 2
            part = part[:, :, start : start + shape[-1], start : start + shape[-1]]
        return part

    def fitting(self, budget_bytes: Optional[float]) -> List[int]:
        """Networks that fit into memory together, smallest first; always the smallest."""
        chosen: List[int] = []
        used = 0.0
        for index, entry in enumerate(self.entries):
            used += entry["memory_bytes"]
            if chosen and budget_bytes is not None and used > budget_bytes:
                break
            chosen.append(index)
        return chosen


class Limit:
    """A file of the board with a temperature or a power, and what it should stay below.

    Args:
        path: Holds one number.
        most: In degrees or watts.
        unit: Unit of the file in units of `most`: 0.001 for millidegrees and milliwatts.
    """

    def __init__(self, path: str, most: float, unit: float = 0.001) -> None:
        self._path, self._most, self._unit = path, most, unit

    def state(self) -> int:
        """1 above the limit, -1 below 95 % of it, 0 between."""
        value = float(Path(self._path).read_text().split()[0]) * self._unit
        return 1 if value > self._most else -1 if value < 0.95 * self._most else 0


class Ceiling:
    """The largest network allowed by how often images are late.

    A busy machine interrupts few images, but for long, and lets others wait. A smaller network may then be
    late more seldom, or as often; only trying tells. So when too many images are late (two cumulative sums),
    the next smaller is tried, and left again where it did not halve their share; after a run of images in
    time the next larger.

    Args:
        networks: How many there are.
        in_time: Share of images that are to be in time.
    """

    def __init__(self, networks: int, in_time: float) -> None:
        self.index = self._last = networks - 1
        self._allowed = 1 - in_time
        self._sudden, self._lasting = 0.0, 0.0
        self._late: List[bool] = []  # of the network of now, newest last
        self._rising = 0  # images since the sudden debt was none
        self._settling, self._clean, self._clean_needed, self._rose = 0, 0, COUNTED, False
        self._left: Dict[int, float] = {}  # larger networks, and the shares for which they were left
        self._hold, self._hold_length, self._held_share = 0, COUNTED, 0.0

    def changed(self) -> None:
        """Another network was taken: count anew, but for the lasting debt."""
        self._late, self._rising, self._clean, self._settling = [], 0, 0, SETTLING
        self._sudden = 0.0

    def tell(self, late: Sequence[bool], current: int) -> None:
        """Count the newest images, classified by the network `current`."""
        self._lasting = max(0.0, self._lasting + sum(late) - LASTING[0] * self._allowed * len(late))
        if self._settling > 0:
            self._settling -= 1
            return
        self._late = [*self._late, *late][-COUNTED:]
        self._hold = max(0, self._hold - len(late))
        self._clean = 0 if any(late) else self._clean + 1
        self._sudden = max(0.0, self._sudden + sum(late) - SUDDEN[0] * self._allowed * len(late))
        self._rising = min(self._rising + len(late), COUNTED) if self._sudden > 0 else 0
        share = sum(self._late) / len(self._late)
        if len(self._late) == COUNTED and self._left:
            self._compare(share)
        elif self._sudden > SUDDEN[1]:
            self._step_down(current, sum(self._late[-self._rising :]) / self._rising)
        elif self._lasting > LASTING[1] and len(self._late) == COUNTED and share > self._allowed:
            self._step_down(current, share)
        elif self._clean >= self._clean_needed and current == self.index < self._last:
            if self._lasting < LASTING[1] / 2:
                self.index, self._rose = current + 1, True
                self._hold, self._hold_length = 0, COUNTED

    def _compare(self, share: float) -> None:
        """Go back to the largest network that was left for a share of late images about as large as now."""
        alike = [index for index, left in self._left.items() if share > left / 2]
        if alike:
            self.index = max(alike)
            self._held_share = self._left[self.index]
            self._hold = self._hold_length
            self._hold_length = min(2 * self._hold_length, MOST_DOUBLED * COUNTED)
        self._left = {}

    def _step_down(self, current: int, share: float) -> None:
        self._sudden = 0.0
        if current == 0 or (self._hold > 0 and share < 2 * self._held_share):
            return
        self._left[current], self.index = share, current - 1
        self._clean_needed, self._rose = (2 * COUNTED if self._rose else COUNTED), False


class Controller:
    """Chooses a network for each image.

    Args:
        times_ms: Time of each network on this machine when nothing else ran, smallest network first.
        budget_ms: Time that an image may take.
        limits: Sensors; above one of them a smaller network is taken, step by step.
        in_time: Share of images that are to be in time.
    """

    def __init__(
        self,
        times_ms: Sequence[float],
        budget_ms: float,
        limits: Sequence[Limit] = (),
        in_time: float = IN_TIME,
    ) -> None:
        self.times_ms, self.budget_ms = list(times_ms), budget_ms
        self.slowdown, self.reason = 1.0, "start"
        self._ratios = [1.0] * WINDOW
        self._limits, self._cap, self._fitted = list(limits), len(self.times_ms) - 1, 0
        self._patience, self._stayed, self._recovered = PATIENCE, 0, False
        self._ceiling = Ceiling(len(self.times_ms), in_time)
        self.current = self._largest()

    def _largest(self) -> int:
        """The largest network that is expected within the budget; the smallest where none is."""
        most = min(self._cap, self._ceiling.index)
        expected = [time_ms * self.slowdown for time_ms in self.times_ms[: most + 1]]
        fitting = [index for index, time_ms in enumerate(expected) if time_ms <= HEADROOM * self.budget_ms]
        return fitting[-1] if fitting else 0

    def choose(self) -> int:
        """The network for the next image."""
        self._read_limits()
        before, best = self.current, self._largest()
        self._stayed += 1
        if self._stayed > 4 * self._patience:  # what was tried last has held
            self._patience = max(PATIENCE, self._patience // 2)
            self._stayed = 0
        if best < self.current:
            if self._recovered:
                self._patience = min(2 * self._patience, MOST_PATIENCE)
            self._recovered, self._stayed = False, 0
            late = "often late" if self._ceiling.index < self.current else "late"
            self.reason = "limit" if self._cap < self.current else late
            self.current, self._fitted = best, 0
        elif best > self.current:
            self._fitted += 1
            if self._fitted >= self._patience:
                self._recovered, self._stayed = True, 0
                self.current, self._fitted, self.reason = best, 0, "recovered"
        else:
            self._fitted = 0
        if self.current != before:
            self._ceiling.changed()
        return self.current

    def _read_limits(self) -> None:
        states = [limit.state() for limit in self._limits]
        if 1 in states:
            self._cap = max(0, min(self._cap, self.current) - 1)
        elif states and all(state < 0 for state in states):
            self._cap = min(len(self.times_ms) - 1, self._cap + 1)

    def tell(self, took_ms: float, waited_ms: float = 0.0, missed: int = 0) -> None:
        """Learn from what the chosen network took, and from what the image and those before it waited."""
        self._ceiling.tell([True] * missed + [waited_ms + took_ms > self.budget_ms], self.current)
        self._ratios = [*self._ratios[1:], took_ms / self.times_ms[self.current]]
        self.slowdown = max(sorted(self._ratios[-5:])[-3], sorted(self._ratios)[-5])


class Stream:
    """A pack at work: sessions, a controller and a log.

    Args:
        pack: The pack.
        budget_ms: Time that an image may take.
        limits: As for `Controller`.
        memory_bytes: For all networks together; None for all.
        log: Told a line for each image.
        in_time: Share of images that are to be in time.
        runs: Timed runs of each network at the start.
    """

    def __init__(
        self,
        pack: Pack,
        budget_ms: float,
        limits: Sequence[Limit] = (),
        memory_bytes: Optional[float] = None,
        log: Any = None,
        in_time: float = IN_TIME,
        runs: int = 25,
    ) -> None:
        self.pack, self._log = pack, log
        self.indices = pack.fitting(memory_bytes)
        self.sessions = [pack.load(index) for index in self.indices]
        times_ms = [self._measure(session, runs) for session in self.sessions]
        self.controller = Controller(times_ms, budget_ms, limits, in_time)

    @staticmethod
    def _measure(session: Any, runs: int) -> float:
        source = session.get_inputs()[0]
        images = np.zeros(source.shape, np.float32)
        times = []
        for _ in range(runs):
            start = time.perf_counter()
            session.run(None, {source.name: images})
            times.append(1000 * (time.perf_counter() - start))
        return float(np.quantile(times, 0.2))  # what else runs now may not run later

    def settings(self) -> Dict[str, Any]:
        """How a picture is prepared for the network that is next."""
        chosen = self.pack.entries[self.indices[self.controller.choose()]]
        return dict(self.pack.manifest["preprocessing"], size=chosen["resolution"])

    def run(self, image: Any, waited_ms: float = 0.0, missed: int = 0) -> Any:
        """Logits (classes,) of an image (3, R, R) for the network that `settings` chose.

        Args:
            image: Pixels, prepared by `settings`.
            waited_ms: Since the image came. It is late when this and the network's time exceed the budget.
            missed: Images passed over since the last call, as a newer one was there; they count as late.
        """
        controller = self.controller
        session, chosen = self.sessions[controller.current], controller.current
        start = time.perf_counter()
        logits = session.run(None, {session.get_inputs()[0].name: image[None]})[0][0]
        took_ms = 1000 * (time.perf_counter() - start)
        if self._log is not None:
            line = {"subnet": self.pack.entries[self.indices[chosen]]["name"], "ms": round(took_ms, 3)}
            line.update(slowdown=round(controller.slowdown, 3), reason=controller.reason)
            self._log(json.dumps(line))
        controller.reason = "same"
        controller.tell(took_ms, waited_ms, missed)
        return logits


def _arguments(words: Optional[Sequence[str]]) -> Any:
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n")[0])
    parser.add_argument("images", nargs="+", help="pictures, or .npy files of pixels")
    parser.add_argument("--deadline", help="for an image, such as 15ms")
    parser.add_argument("--target-fps", type=float, help="images a second, in place of --deadline")
    parser.add_argument("--in-time", type=float, default=100 * IN_TIME, help="percent of images")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--memory-mb", type=float, help="for all networks; smaller ones are kept")
    parser.add_argument("--temperature", help="file with millidegrees")
    parser.add_argument("--max-temperature", type=float, help="degrees")
    parser.add_argument("--power", help="file with milliwatts")
    parser.add_argument("--max-power", type=float, help="watts")
    parser.add_argument("--log", help="file for a line an image; - for stderr")
    given = parser.parse_args(words)
    if (given.deadline is None) == (given.target_fps is None):
        parser.error("one of --deadline and --target-fps is needed")
    for name in ("temperature", "power"):
        if (getattr(given, name) is None) != (getattr(given, "max_" + name) is None):
            parser.error("--%s FILE and --max-%s go together" % (name, name))
    if not 0 < given.in_time < 100:
        parser.error("--in-time is a percentage, such as 95")
    text = str(given.deadline or 1000.0 / given.target_fps)
    number = text[:-2] if text.endswith("ms") else text[:-1] if text.endswith("s") else text
    try:
        given.budget_ms = float(number) * (1000 if text.endswith("s") and not text.endswith("ms") else 1)
    except ValueError:
        parser.error("'%s' is no time; write it as 15ms" % text)
    return given


def main(words: Optional[Sequence[str]] = None) -> None:
    """Classify pictures one after the other."""
    from picture import PictureError, network_input  # type: ignore[import-not-found]

    given = _arguments(words)
    limits = [
        Limit(getattr(given, name), getattr(given, "max_" + name))
        for name in ("temperature", "power")
        if getattr(given, name) is not None
    ]
    lines = None if given.log in (None, "-") else open(given.log, "a", encoding="utf-8")
    log = None if given.log is None else lambda line: print(line, file=lines or sys.stderr, flush=True)
    memory = None if given.memory_mb is None else given.memory_mb * 1e6
    folder = Path(__file__).parent
    stream = Stream(Pack(folder, given.threads), given.budget_ms, limits, memory, log, given.in_time / 100)
    labels = (folder / "labels.txt").read_text("utf-8").splitlines()
    for path in given.images:
        try:
            logits = stream.run(network_input(path, stream.settings()))
        except (PictureError, OSError) as error:
            sys.exit("Cannot classify '%s': %s" % (path, error))
        shares = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        print("%s: %s (%.1f%%)" % (path, labels[int(shares.argmax())], 100 * shares.max()))


if __name__ == "__main__":
    main()
