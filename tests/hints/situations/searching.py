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
    Situation(
        typed="ofa-tk search --latency 20ms",
        line="Name one: --device jetson-nano",
        runs={"--device jetson-nano": ""},
    ),
    Situation(
        typed=f"ofa-tk search --supernet {BUNDLED} --macs 10M --space ofa-resnet50",
        line="Leave out --space: the supernet decides it.",
        runs={"without --space": ""},
    ),
    Situation(
        typed="ofa-tk search --space mobilenet-v3-compact --macs 10M",
        line="Name a supernet with --supernet or a predictor file with --predictor, or search for the most "
        "MACs instead: --maximize macs",
        runs={"--maximize macs": ""},
        says=("--supernet", "--predictor"),
    ),
    Situation(
        typed="ofa-tk report",
        line="ofa-tk report --device jetson-nano",
        runs={"ofa-tk report --device jetson-nano": ""},
        is_slow=True,
    ),
    Situation(
        typed="ofa-tk export --onnx",
        given=("a subnet",),
        line="--target onnxruntime-cpu; `ofa-tk latency list` has devices.",
        runs={"ofa-tk latency list": "", "--target onnxruntime-cpu": ""},
    ),
    Situation(
        typed="ofa-tk export --onnx",
        given=("an empty object",),
        line="--supernet NAME|DIR",
        runs={"--supernet NAME|DIR": "needs|neither|not"},
        fill={r"NAME\|DIR": BUNDLED},
    ),
)
