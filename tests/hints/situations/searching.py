"""Searches, reports about them, and predictors."""

from tests.hints.given import BUNDLED
from tests.hints.situation import Situation

SEARCHING = (
    Situation(
        typed=f"ofa-tk search --supernet {BUNDLED} --macs 10M",
        line="ofa-tk export --onnx --target onnxruntime-cpu",
        runs={"ofa-tk export --onnx --target onnxruntime-cpu": ""},
    ),
    Situation(
        typed=f"ofa-tk search --supernet {BUNDLED} --device jetson-nano --latency 5ms --out 'my net.json'",
        line="ofa-tk export --onnx --subnet 'my net.json'",
        runs={"ofa-tk export --onnx --subnet 'my net.json'": ""},
        is_slow=True,
    ),
)
