"""Finding a device by the name people type, and saying how to get a table of one that is not known.

A name is matched without case and punctuation, and with or without what vendors put around it. A name that
matches nothing is taken for a misspelling only where no chip could be meant: `h100` is not a typo of `v100`.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ofa_toolkit.core import resources
from ofa_toolkit.core.errors import OfaToolkitError, UnknownNameError
from ofa_toolkit.latency.device import Device, read_device

THIS_MACHINE = ("this-cpu", "this-machine", "this-gpu")
_DEFAULT_SPACE = "ofa-mobilenet-v3-w1.0"

_MAKERS = {"nvidia", "geforce", "tesla", "jetson", "samsung", "galaxy", "google", "amd"}
_FORMS = {"developer", "dev", "kit", "devkit", "module", "gpu", "sxm", "sxm2", "sxm4", "pcie", "model"}
_RASPBERRY = re.compile(r"^\W*(raspberry)?[\W_]*r?pi[\W_]*(?=\d|zero)")
_NVIDIA = re.compile(
    r"nvidia|geforce|jetson|orin|thor|xavier|tegra|nano|tesla|titan|quadro|[rg]tx|tx[12]\b|"
    r"\bg?[abhlptv]\d{1,4}s?\b"
)
_FEWEST_LETTERS, _LIKENESS = 4, 0.75


@dataclass(frozen=True, kw_only=True)
class FoundDevice:
    """A device folder.

    Attributes:
        name: The device's own name.
        path: Folder of the device.
        below: Less important folders of it, which add their facts and variants.
        remark: In words, how the name that was asked for differs from it; None where it does not.
    """

    name: str
    path: Path
    below: tuple[Path, ...] = ()
    remark: str | None = None

    @property
    def device(self) -> Device:
        """What is known of it."""
        return read_device(self.path, self.below)


def find_device(
    name: str, tables: Iterable[str | os.PathLike[str]] = (), *, space: str | None = None
) -> FoundDevice:
    """The device a user means.

    Args:
        name: Name or title of the device, or another name of it, in any case and punctuation.
        tables: Folders of devices that come before the user's own and the bundled ones.
        space: Search space the user works with, for the commands that make a table of an unknown device.

    Raises:
        UnknownNameError: There is none; says how to get one.
    """
    entries = resources.entries("latency_tables", tables)
    if name in entries:
        return _found(entries[name])
    same = [known for known in entries if _joined(known) == _joined(name)]
    if same:
        return _found(entries[same[0]])
    for entry in entries.values():
        try:
            device = read_device(entry.path, entry.below)
        except OfaToolkitError:
            continue  # damaged; it is named when it is asked for
        if _means(name, device):
            return _found(entry, _remark(name, device))
    raise unknown_device(name, entries, space)


def _found(entry: resources.Entry, remark: str | None = None) -> FoundDevice:
    return FoundDevice(name=entry.name, path=entry.path, below=entry.below, remark=remark)


def unknown_device(name: str, known: Iterable[str], space: str | None = None) -> UnknownNameError:
    """The error for a device without a table: a misspelling's right name, else the commands that make one."""
    names = sorted(known)
    message = f"Unknown device '{name}'. Known: {', '.join(names) or 'none'}."
    meant = misspelt(name, names)
    return UnknownNameError(message, hint=f"Did you mean '{meant}'?" if meant else how_to_make(name, space))


def how_to_make(name: str, space: str | None = None) -> str:
    """The commands that make a table of a device, one a line, filled in."""
    plain = "-".join(_words(name)) or "my-device"
    space = space or _DEFAULT_SPACE
    target, processor = software_of(name), " --runtime torch --processor cuda" if _is_nvidia(name) else ""
    measure = f"ofa-tk latency measure --space {space} --device {plain}{processor}"
    if plain in THIS_MACHINE:
        return measure
    return (
        "Make a table of it.\n"
        f"  On the machine itself:   {measure}\n"
        f"  With a kit for it:       ofa-tk latency kit build --space {space} --target {target}\n"
        f"                           ofa-tk latency import results.jsonl --device {plain}\n"
        f"  From ten timed networks: ofa-tk latency calibrate --plan 10 --space {space} --device {plain}"
    )


def software_of(name: str) -> str:
    """What an unknown device most likely runs networks with, by its name: a target of a kit or an export."""
    return "tensorrt-10.3" if _is_nvidia(name) else "onnxruntime-cpu"


def _is_nvidia(name: str) -> bool:
    return _NVIDIA.search(" ".join(_words(name))) is not None


def _means(name: str, device: Device) -> bool:
    """Whether a name is the device's, its title, or another name of it."""
    known = (device.name, device.title, *(device.aliases or ()))
    return _key(name, device) in {_key(each, device) for each in known}


def _remark(name: str, device: Device) -> str | None:
    """What a name says beyond the device's own, and how such a device differs from its figures."""
    if set(_parts(name)) <= set(_parts(f"{device.name} {device.title}")):
        return None
    differences = {_key(alias, device): text for alias, text in (device.aliases or {}).items()}
    difference = differences.get(_key(name, device), "")
    return f"'{name}' is taken as {device.name} ({device.title}){f': {difference}' if difference else ''}"


def _words(text: str) -> list[str]:
    full = _RASPBERRY.sub("raspberry pi ", text.lower())
    return re.findall(r"[a-z0-9.]+", full.replace("+", " plus "))


def _joined(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", "".join(_words(text)))


def _key(text: str, device: Device) -> str:
    """A name without its maker, form and the size of the device's memory."""
    words = _words(text)
    kept = [word for word in words if word not in _MAKERS | _FORMS] or words
    joined = _joined(" ".join(kept))
    return joined.removesuffix(f"{device.memory_gb:g}gb") if device.memory_gb else joined


def misspelt(name: str, known: Iterable[str]) -> str | None:
    """The known name that differs in letters of a word only: numbers and short words tell chips apart.

    Args:
        name: As typed.
        known: The names there are.
    """
    typed = _parts(name)
    for candidate in known:
        own = _parts(candidate)
        if len(typed) == len(own) and all(map(_is_alike, typed, own)):
            return candidate
    return None


def _parts(text: str) -> list[str]:
    return re.findall(r"[a-z]+|\d+", " ".join(_words(text)))


def _is_alike(first: str, second: str) -> bool:
    if first == second:
        return True
    if not first.isalpha() or not second.isalpha() or max(len(first), len(second)) < _FEWEST_LETTERS:
        return False
    is_swapped = sorted(first) == sorted(second)
    return is_swapped or difflib.SequenceMatcher(None, first, second).ratio() >= _LIKENESS
