"""`ofa-tk latency predict`: how long given networks take."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ofa_tk import options, output
from ofa_tk.request_options import request_options
from ofa_toolkit.core.quantities import LATENCY, THROUGHPUT
from ofa_toolkit.pipelines.latency.request import PredictionRequest

if TYPE_CHECKING:
    from ofa_toolkit.pipelines.latency.tables import PredictedLatency


@click.command("predict")
@request_options(PredictionRequest)
@options.json_option
def command(request: PredictionRequest, as_json: bool) -> None:
    """Predict the latency of subnets or standard networks.

    NETWORK is a subnet.json, an architecture file of the once-for-all repositories (a dictionary, a
    net.config or its folder), or the name of a standard network such as mobilenet-v3-large.
    """
    from ofa_toolkit.pipelines.latency.tables import predict_latencies

    predictions, confidence = predict_latencies(request), request.confidence
    if as_json:
        output.print_json(predictions)
        return
    pixels = output.numbers("pixels")
    figures = output.numbers("batch", "latency", *([] if confidence is None else [f"{confidence:g} bound"]))
    output.print_table(
        ["network", *pixels, "device", *figures, "provenance", "error"],
        [_row(prediction, confidence) for prediction in predictions],
    )
    for note in dict.fromkeys(note for prediction in predictions for note in prediction.notes):
        output.note(note)
    for warning in dict.fromkeys(warning for prediction in predictions for warning in prediction.warnings):
        output.warn(warning)
    if any(prediction.interval_90_ms or prediction.interval_90_per_s for prediction in predictions):
        output.note("(low to high): nine of ten networks unlike those of the fit lie between.")
    for device, how in {p.device: p.mape_of for p in predictions if p.mape_of is not None}.items():
        output.note(f"error of {device}: {how}")


def _row(prediction: PredictedLatency, confidence: float | None) -> tuple[object, ...]:
    bound = "uncalibrated" if prediction.upper_ms is None else LATENCY.format(prediction.upper_ms)
    return (
        prediction.network,
        prediction.resolution,
        prediction.device,
        prediction.batch_size,
        _latency(prediction),
        *([bound] if confidence is not None else []),
        f"{prediction.provenance}, {prediction.interval}",
        prediction.error,
    )


def _latency(prediction: PredictedLatency) -> str:
    """Latency or throughput, with the interval where there is one."""
    if prediction.latency_ms is None:
        shown, value, interval = THROUGHPUT, prediction.throughput_per_s, prediction.interval_90_per_s
    else:
        shown, value, interval = LATENCY, prediction.latency_ms, prediction.interval_90_ms
    assert value is not None
    if interval is None:
        return shown.format(value)
    low, high = map(shown.format, interval)
    return f"{shown.format(value)} ({low} to {high})"
