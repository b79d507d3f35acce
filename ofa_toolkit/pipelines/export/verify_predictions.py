"""Predict again what the search predicted of an exported subnet, with every condition stated beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ofa_toolkit.complexity import count_macs, count_params, peak_activation_elements
from ofa_toolkit.core.errors import MismatchError, OfaToolkitError, UnknownNameError
from ofa_toolkit.export.metadata import ExportMetadata
from ofa_toolkit.export.verify import Check, attempt, judge, skip
from ofa_toolkit.latency.table import LatencyTable, load_table
from ofa_toolkit.pipelines.search.figures import INTERVAL_CONFIDENCE, accuracy_document, latency_document
from ofa_toolkit.spaces import Encoding, SearchSpace, lower
from ofa_toolkit.zoo.supernet import LoadedSupernet

_ROUNDING = 1e-3
_SENTENCES = ("extrapolations", "caveats")
"""What is said of a prediction in sentences, which another release may word otherwise."""


class _UndecidedError(OfaToolkitError):
    """What is here proves nothing: all figures agree and sentences do not, or a table is elsewhere."""


def verify_predictions(metadata: ExportMetadata, space: SearchSpace, tables: tuple[Path, ...]) -> list[Check]:
    """Everything predicted that follows from the subnet and the tables here."""
    predicted = dict(metadata.predicted)
    row = Encoding(space).encode([metadata.subnet])
    predicted.pop("top1_percent", None)  # see `verify_predicted_accuracy`
    latencies = predicted.pop("latency_ms", None)
    checks = []
    if isinstance(latencies, Mapping) and latencies:
        for device, claimed in latencies.items():

            def predict(device: str = device, claimed: Any = claimed) -> str:
                stated = _entry(claimed)
                bound = _table(device, tables, stated.get("table")).bind(space)
                confidence = stated.get("confidence", INTERVAL_CONFIDENCE)
                return _compare(claimed, latency_document(bound, row, confidence), "ms")

            checks.append(_attempt(f"predicted latency on {device}", predict))
    else:
        checks.append(skip("predicted latency", "the subnet carries no prediction"))
    layers = lower(space, metadata.subnet)
    counts: dict[str, Callable[[], int]] = {
        "macs": lambda: count_macs(layers),
        "params": lambda: count_params(layers),
        "peak_activation_bytes": lambda: (
            peak_activation_elements(layers)
            * int(_entry(predicted["peak_activation_bytes"]).get("bytes_per_value", 0))
        ),
    }
    for name, claimed in predicted.items():
        if name not in counts:
            checks.append(skip(f"predicted {name}", "this cannot be worked out again"))
            continue

        def count(name: str = name, claimed: Any = claimed) -> str:
            again = {**_entry(claimed), "value": counts[name](), "provenance": "counted"}
            return _compare(claimed, again, name)

        checks.append(attempt(f"predicted {name}", count))
    return checks


def verify_predicted_accuracy(metadata: ExportMetadata, source: LoadedSupernet) -> list[Check]:
    """The accuracy that the supernet's predictor gives, where one was promised."""
    if "top1_percent" not in metadata.predicted:
        return []
    claim, claimed = "predicted top-1", metadata.predicted["top1_percent"]
    if source.predictor is None:
        return [skip(claim, f"'{source.name}' has no accuracy predictor")]
    # As a search: a predictor need not know the choices that were not trained.
    predictor, trained = source.predictor, source.trained_space

    def predict() -> str:
        bound = predictor.bind(trained, whole=source.space)
        row = Encoding(trained).encode([metadata.subnet])
        is_chosen = _entry(claimed).get("calibrated_for_search", False) is True
        return _compare(claimed, accuracy_document(bound, row, is_chosen=is_chosen), "%")

    return [attempt(claim, predict)]


def _table(device: str, tables: tuple[Path, ...], identity: str | None) -> LatencyTable:
    """The table of that name, if it is the one that the file was predicted with."""
    try:
        table = load_table(device, tables)
    except UnknownNameError as error:
        raise _UndecidedError("no folder of latency tables here has this one: --tables DIR") from error
    if identity not in (None, table.identity):
        raise _UndecidedError("the table of that name here is another one, perhaps measured since")
    return table


def _entry(claimed: Any) -> dict[str, Any]:
    return dict(claimed) if isinstance(claimed, Mapping) else {"value": claimed}


def _compare(claimed: Any, again: Mapping[str, Any], unit: str) -> str:
    """The value, once every statement beside it is the same."""
    others = []
    for key, value in _entry(claimed).items():
        if _same(value, again.get(key)):
            continue
        if key in _SENTENCES:
            others.append(f"{key} {value}; here {again.get(key, 'none')}")
        else:
            raise MismatchError(f"the metadata says {key} {value}; here it is {again.get(key, 'not stated')}")
    if others:
        raise _UndecidedError(f"{again['value']} {unit}, but the metadata says {', '.join(others)}")
    return f"{again['value']} {unit}"


def _attempt(claim: str, check: Callable[[], str]) -> Check:
    """As `attempt`, but not checked where what is here proves nothing."""
    try:
        return judge(claim, True, check())
    except _UndecidedError as error:
        return skip(claim, error.message)
    except OfaToolkitError as error:
        return judge(claim, False, error.message)


def _same(claimed: Any, again: Any) -> bool:
    if isinstance(claimed, (int, float)) and isinstance(again, (int, float)):
        return bool(abs(again - claimed) <= _ROUNDING + _ROUNDING * abs(claimed))
    if isinstance(claimed, list) and isinstance(again, (list, tuple)):
        return len(claimed) == len(again) and all(_same(*pair) for pair in zip(claimed, again, strict=True))
    return bool(claimed == again)
