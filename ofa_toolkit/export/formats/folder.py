"""A folder with a network in one format: its files, labels, and what `ofa-tk verify` needs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ofa_toolkit.core import files
from ofa_toolkit.core.documents import read_object
from ofa_toolkit.core.errors import FileFormatError
from ofa_toolkit.core.file_format import FileFormat
from ofa_toolkit.export.formats import FORMATS
from ofa_toolkit.export.formats.format import Format, versions
from ofa_toolkit.export.metadata import ExportMetadata

FORMAT = FileFormat("ofa-toolkit/format-export", 1, "the description of an exported network")
DESCRIPTION, LABELS, STEM = "export.json", "labels.txt", "model"


@dataclass(frozen=True, kw_only=True)
class FormatFolder:
    """What such a folder holds.

    Attributes:
        folder: The folder itself.
        form: Format of the network.
        metadata: As of an ONNX file; precision and comparison are those of this format's files.
        converters: Distribution -> version that made it.
        hashes: File -> SHA-256.
    """

    folder: Path
    form: Format
    metadata: ExportMetadata
    converters: dict[str, str]
    hashes: dict[str, str]

    @property
    def file(self) -> Path:
        """The file that stands for all."""
        return self.folder / f"{STEM}{self.form.suffix}"

    @property
    def num_bytes(self) -> int:
        """Size of the network's files together."""
        return sum((self.folder / name).stat().st_size for name in self.hashes)

    def changed(self) -> list[str]:
        """Files that are missing or not as written."""
        return [name for name, sha in self.hashes.items() if _hash(self.folder / name) != sha]


def describe(folder: Path, form: Format, metadata: ExportMetadata) -> FormatFolder:
    """Write labels and description beside the network's files that lie in a folder."""
    hashes = {path.relative_to(folder).as_posix(): _hash(path) for path in _files(folder)}
    names = metadata.class_names or tuple(f"class {index}" for index in range(metadata.num_classes))
    files.write_text(folder / LABELS, "".join(f"{name}\n" for name in names))
    made = FormatFolder(folder=folder, form=form, metadata=metadata, converters=versions(form), hashes=hashes)
    document: dict[str, Any] = {
        **FORMAT.header,
        "kind": form.name,
        "converters": made.converters,
        "files": hashes,
        "metadata": metadata.to_document(),
    }
    files.write_json(folder / DESCRIPTION, document)
    return made


def is_format_folder(path: Path) -> bool:
    """Whether a path is such a folder."""
    return (path / DESCRIPTION).is_file()


def read_format_folder(folder: Path) -> FormatFolder:
    """Read what a folder says of itself.

    Raises:
        FileFormatError: It is none, or its description is damaged.
        UnknownNameError: This release has no such format.
    """
    where = f"'{folder / DESCRIPTION}'"
    document = read_object(folder / DESCRIPTION, where)
    FORMAT.check(document, where)
    try:
        return FormatFolder(
            folder=folder,
            form=FORMATS[document["kind"]],
            metadata=ExportMetadata.from_document(document["metadata"]),
            converters=dict(document["converters"]),
            hashes=dict(document["files"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise FileFormatError(f"{where} is damaged: {error}.") from error


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def _hash(path: Path) -> str:
    return files.sha256(path) if path.is_file() else "missing"
