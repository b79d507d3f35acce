"""Write the JSON schemas of our formats, made from the classes that describe them."""

from __future__ import annotations

import json
from typing import Any

from mkdocs.structure.files import File, Files

from ofa_toolkit.pipelines.schemas import SCHEMAS


def on_files(files: Files, config: Any) -> Files:
    """Called by MkDocs with the files of the site: add the schemas."""
    for name, schema in SCHEMAS.items():
        content = json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"
        files.append(File.generated(config, f"reference/schemas/{name}.json", content=content))
    return files
