"""Small zoo entries for tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ofa_toolkit.core import config
from ofa_toolkit.zoo.card import Card, write_card
from ofa_toolkit.zoo.identity import identify


def card_document(name: str, **changes: Any) -> dict[str, Any]:
    """A card that only links, unless changed."""
    return {
        "name": name,
        "summary": "An entry for tests.",
        "availability": "link",
        "layout": "foreign",
        "data": {"name": "noise", "num_classes": 10},
        "training": {"algorithm": "none"},
        "licence": {"name": "Apache-2.0", "statement": "Free."},
        "links": ["https://example.org/"],
        **changes,
    }


def write_entry(folder: Path, files: Mapping[str, bytes], name: str | None = None, **changes: Any) -> Card:
    """An entry whose files lie beside the card."""
    listed = []
    for path, content in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        listed.append({"path": path, "size": len(content), "sha256": identify(target).sha256})
    document = card_document(
        name or folder.name,
        availability="included",
        layout="ofa-toolkit",
        space="mobilenet-v3-compact",
        files=listed,
        **changes,
    )
    card = config.from_dict(Card, document)
    write_card(folder / "card.toml", card)
    return card
