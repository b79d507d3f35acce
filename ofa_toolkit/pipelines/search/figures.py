"""Every figure of a subnet with its unit, its interval and how it came about, as `subnet.json` holds it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ofa_toolkit.evaluation.predictor.predictor import BoundAccuracy
from ofa_toolkit.latency.table import BoundLatency

if TYPE_CHECKING:
    from ofa_toolkit.pipelines.search.context import SearchContext
    from ofa_toolkit.spaces.documents import AccuracyFigure, CostFigure, PredictedFigures

INTERVAL_CONFIDENCE = 0.9

# A limit holds for figures as they are told: a search judges them rounded to as many decimals as are written.
LATENCY_DECIMALS = 5
THROUGHPUT_DECIMALS = 2
ACCURACY_DECIMALS = 3


def predicted(context: SearchContext, row: Any, *, is_chosen: bool = True) -> PredictedFigures:
    """Every figure of one encoded subnet `(1, genes)`, each with how it came about.

    Args:
        context: Of the search.
        row: The subnet.
        is_chosen: Whether the search chose it.
    """
    document: PredictedFigures = {}
    if context.accuracy is not None:
        document["top1_percent"] = accuracy_document(context.accuracy, row, is_chosen=is_chosen)
    confidence = context.request.confidence or INTERVAL_CONFIDENCE
    for name, bound in context.latencies.items():
        described = latency_document(bound, row, confidence)
        if bound.is_throughput:
            described["value"] = round(float(bound.throughput(row)[0]), THROUGHPUT_DECIMALS)
            document.setdefault("throughput_per_s", {})[name] = described
        else:
            document.setdefault("latency_ms", {})[name] = described
    document["macs"] = {"value": int(context.figure("macs")(row)[0]), "provenance": "counted"}
    document["params"] = {"value": int(context.figure("params")(row)[0]), "provenance": "counted"}
    document["peak_activation_bytes"] = {
        "value": int(context.figure("memory")(row)[0]),
        "bytes_per_value": context.bytes_per_value,
        "provenance": "counted",
    }
    return document


def accuracy_document(accuracy: BoundAccuracy, row: Any, *, is_chosen: bool) -> AccuracyFigure:
    """Predicted top-1 of one encoded subnet `(1, genes)` in percent, with what is known of it.

    Args:
        accuracy: The predictor, bound.
        row: The subnet.
        is_chosen: Whether it was chosen by its prediction: value and interval are then for such subnets, if
            errors on them are known; `calibrated_for_search` says so.
    """
    card = accuracy.predictor.card
    low, high = accuracy.interval(row, INTERVAL_CONFIDENCE, is_chosen=is_chosen)
    value = accuracy.predict_chosen(row) if is_chosen else accuracy.predict(row)
    return {
        "value": round(float(value[0]), ACCURACY_DECIMALS),
        "interval": [round(float(end[0]), ACCURACY_DECIMALS) for end in (low, high)],
        "confidence": INTERVAL_CONFIDENCE,
        "provenance": card.provenance,
        "is_extrapolation": bool(accuracy.is_extrapolation(row)[0]),
        "calibrated_for_search": is_chosen and accuracy.is_calibrated_for_search,
        "dataset": card.dataset,
    }


def latency_document(bound: BoundLatency, row: Any, confidence: float) -> CostFigure:
    """Predicted latency of one encoded subnet `(1, genes)` in ms, with the conditions of its table."""
    variant = bound.table.variant
    document: CostFigure = {
        "value": round(float(bound.predict(row)[0]), LATENCY_DECIMALS),
        "provenance": bound.provenance,
        "interval": bound.interval,
        "table": bound.identity,
        "runtime": variant.runtime,
        "runtime_version": variant.runtime_version,
        "precision": variant.precision,
        "batch_size": variant.batch_size,
        "clocks": variant.clocks,
        "source": variant.source,
    }
    if bound.is_calibrated:
        document["upper_bound"] = round(float(bound.upper_bound(row, confidence)[0]), LATENCY_DECIMALS)
        document["confidence"] = confidence
    error = bound.error
    document["error"] = error.text
    document["is_checked"] = error.is_checked
    if error.percent is not None and error.is_checked:
        document["mape_percent"] = error.percent
    if error.how is not None:
        document["mape_of"] = error.how
    if error.by_device:
        document["checked_on"] = error.by_device
    if notes := bound.notes(row):
        document["extrapolations"] = list(notes)
    if bound.provenance in ("transferred", "modelled"):
        document["caveats"] = list(variant.caveats)
    return document
