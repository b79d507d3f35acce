"""What every document of ours says first: which format it is of, and in which version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ofa_toolkit.core.errors import FileFormatError


@dataclass(frozen=True)
class FileFormat:
    """A kind of document.

    Attributes:
        name: Value of its entry `format`.
        version: Value of its entry `version` as this release writes it.
        what: What such a document is, with an article, for messages.
        former: Older versions that this release reads as well.
    """

    name: str
    version: int
    what: str
    former: tuple[int, ...] = ()

    @property
    def header(self) -> dict[str, Any]:
        """The entries `format` and `version`, first in every document."""
        return {"format": self.name, "version": self.version}

    def body(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """The other entries of a document."""
        return {name: value for name, value in document.items() if name not in self.header}

    def is_of(self, document: object) -> bool:
        """Whether a document says that it is of this format, in whatever version."""
        return isinstance(document, Mapping) and document.get("format") == self.name

    def check(self, document: object, where: str, *, hint: str | None = None) -> int:
        """The version of a document that this release reads.

        Args:
            document: Parsed JSON or TOML.
            where: Name of its place, for messages, such as a path in quotation marks.
            hint: Advice where it is something else, or older than what is read.

        Raises:
            FileFormatError: It is of another format, or of a version that this release does not read.
        """
        if not self.is_of(document):
            raise FileFormatError(f"{where} is not {self.what}: its format is not '{self.name}'.", hint=hint)
        assert isinstance(document, Mapping)
        found = document.get("version")
        read = (*self.former, self.version)
        # True == 1 in Python; as a version it is damage.
        if type(found) is int and found in read:
            return found
        versions = "version " + " or ".join(map(str, read))
        raise FileFormatError(
            f"{where} is {self.what} of version {found!r}; this release reads {versions}.",
            hint="Upgrade ofa-toolkit." if type(found) is int and found > self.version else hint,
        )
