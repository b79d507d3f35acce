"""A folder that runs anywhere: model, labels, preprocessing, a short runner, and the card."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ofa_toolkit.core.errors import ExportError
from ofa_toolkit.core.output_folder import output_folder
from ofa_toolkit.datasets import picture
from ofa_toolkit.evaluation.sampling import accuracy_text
from ofa_toolkit.export.kit import __file__ as kit_file
from ofa_toolkit.export.metadata import ExportMetadata
from ofa_toolkit.pipelines.export.onnx_file import Exported, describe_batchnorm

KIND = "bundle"
CARD_FILES = ("card.toml", "README.md")


def write_bundle(exported: Exported, folder: Path, *, force: bool = False) -> None:
    """Write a bundle.

    Args:
        exported: The network.
        folder: As `output_folder` allows.
        force: Replace a former output of ours.

    Raises:
        ExportError: The supernet does not say how images are prepared.
        OutputError: The folder holds something that may not be replaced, or cannot be written.
    """
    metadata = exported.metadata
    ends = metadata.ends
    settings = {
        **preprocessing_of(metadata),
        "input": ends.input,
        "layout": ends.layout,
        "output": ends.output,
    }
    labels = metadata.class_names or tuple(f"class {index}" for index in range(metadata.num_classes))
    with output_folder(folder, KIND, force=force) as temporary:
        (temporary / "model.onnx").write_bytes(exported.content)
        (temporary / "labels.txt").write_text("".join(f"{label}\n" for label in labels), encoding="utf-8")
        (temporary / "preprocessing.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
        for source in (Path(kit_file).with_name("run.py"), Path(picture.__file__)):
            shutil.copyfile(source, temporary / source.name)
        (temporary / "MODEL.md").write_text(_card(exported), encoding="utf-8")
        for name in CARD_FILES:
            if (exported.supernet.folder / name).is_file():
                shutil.copyfile(exported.supernet.folder / name, temporary / name)


def preprocessing_of(metadata: ExportMetadata) -> dict[str, Any]:
    """How an image becomes network input, complete enough to be carried out.

    Raises:
        ExportError: Something is missing.
    """
    settings = dict(metadata.preprocessing)
    missing = [key for key in ("size", "mean", "std") if key not in settings]
    if missing:
        raise ExportError(
            f"A bundle needs to know how images are prepared; '{metadata.supernet}' does not say its "
            f"{', '.join(missing)}."
        )
    crop = settings.get("crop", 1.0)
    if not isinstance(crop, (int, float)):
        raise ExportError(f"A bundle needs the share a centre crop keeps as a number, not '{crop}'.")
    return {"interpolation": "bilinear", **settings, "crop": crop}


def _card(exported: Exported) -> str:
    metadata, comparison = exported.metadata, exported.metadata.comparison
    top1 = comparison.get("file_top1_percent")
    accuracy = "not measured at export"
    if top1 is not None:
        accuracy = f"{accuracy_text(top1, comparison['num_images'])} % on {comparison['images']}"
    predictions = "".join(_prediction(name, entry) for name, entry in _predictions(metadata))
    return f"""# {metadata.space} subnet, {metadata.precision}

| | |
| --- | --- |
| from | {metadata.supernet} (SHA-256 {metadata.supernet_identity[:16]}) |
| MACs, parameters | {metadata.macs:,}, {metadata.params:,} (batch norm folded; a search counts it too) |
| input | {metadata.subnet.resolution} x {metadata.subnet.resolution} pixels, {metadata.ends.told_input()} |
| output | {metadata.ends.told_output()} |
| batch norm | {describe_batchnorm(exported)} |
| top-1 | {accuracy} |
| written for | {metadata.target} ({metadata.generation}) |
{predictions}
`python3 run.py IMAGE` needs numpy and onnxruntime, and Pillow to read pictures.
`ofa-tk verify model.onnx` checks all of this again.
"""


def _predictions(metadata: ExportMetadata) -> list[tuple[str, Any]]:
    """(what, what the search said of it) for accuracy and every latency the file carries."""
    accuracy, latencies = (metadata.predicted.get(key) for key in ("top1_percent", "latency_ms"))
    found = [] if accuracy is None else [("top-1 in percent", accuracy)]
    if isinstance(latencies, Mapping):
        found += [(f"milliseconds on {name}", entry) for name, entry in latencies.items()]
    return found


def _prediction(name: str, entry: Any) -> str:
    """A row of the card: the value, and how it was found."""
    stated = entry if isinstance(entry, Mapping) else {"value": entry}
    conditions = [stated.get(key) for key in ("provenance", "runtime", "precision", "source", "dataset")]
    told = ", ".join(str(condition) for condition in conditions if condition) or "provenance unknown"
    return f"| predicted {name} | {stated.get('value', 'unknown')} ({told}) |\n"
