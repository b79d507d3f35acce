"""Searches, reports about them, and predictors."""

from tests.hints.given import BUNDLED, FAKE
from tests.hints.situation import PARSED, Situation

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
    Situation(
        unseen="needs a table that covers some resolutions only",
        base="ofa-tk search --device jetson-nano --latency 20ms",
        line="A search keeps to what it covers with --fix resolution=192,224",
        runs={"--fix resolution=192,224": ""},
    ),
    Situation(
        unseen="needs a table that covers no resolution wholly",
        line="Measure it: `ofa-tk latency measure --space mobilenet-v3-compact --device NAME`, or choose "
        "another variant.",
        fill={"NAME": "my-cpu"},
        runs={"ofa-tk latency measure --space mobilenet-v3-compact --device NAME": PARSED},
    ),
    Situation(
        typed=f"ofa-tk search --supernet {BUNDLED} --minimize macs --maximize macs",
        base=f"ofa-tk search --supernet {BUNDLED}",
        line="Bound the other one, such as --macs 100M, and name only the figure that counts.",
        runs={"--macs 100M": ""},
    ),
    Situation(
        unseen="needs a table of throughput alone",
        base="ofa-tk search --device jetson-nano --against latency --pareto front.json",
        line="Ask for --throughput 300/s; a front may be --against macs.",
        runs={"--throughput 300/s": PARSED, "--against macs": PARSED},
    ),
    Situation(
        typed="ofa-tk report nothing.json",
        line="`ofa-tk search --device NAME --pareto front.json` writes one.",
        fill={"NAME": "jetson-nano"},
        runs={"ofa-tk search --device NAME --pareto front.json": ""},
    ),
    Situation(
        typed="ofa-tk search --supernet runs/try --macs 8M",
        given=("a run",),
        line="Build one: ofa-tk predictor build --supernet runs/try --data DATA, or search for the most MACs "
        "instead: --maximize macs",
        fill={"DATA": FAKE},
        runs={"ofa-tk predictor build --supernet runs/try --data DATA": "", "--maximize macs": ""},
        shortened="--images 20 --num-subnets 30 --recalibration-images 20",
    ),
    Situation(
        unseen="needs measurements of a space of the user's",
        line="ofa-tk search --space FILE.toml --maximize macs --latency 5ms",
        fill={"FILE.toml": "mine.toml"},
        runs={"ofa-tk search --space FILE.toml --maximize macs --latency 5ms": PARSED},
    ),
    Situation(
        unseen="needs a machine slower than the limit",
        base=f"ofa-tk search --supernet {BUNDLED} --latency 5ms",
        line="Search with a table of this machine: `ofa-tk latency measure --space mobilenet-v3-compact`, "
        "then --device this-cpu",
        runs={
            "ofa-tk latency measure --space mobilenet-v3-compact": PARSED,
            "--device this-cpu": "ofa-tk latency measure",
        },
    ),
    Situation(
        typed=f"ofa-tk search --supernet {BUNDLED} --macs 8M --method exhaustive",
        line="Use --method evolution, or restrict the space with --fix and --max.",
        runs={"--method evolution": ""},
        says=("--fix", "--max"),
    ),
)
