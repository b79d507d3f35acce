"""Latency tables: predicting, measuring, kits, importing, calibrating."""

from tests.hints.given import BUNDLED
from tests.hints.situation import PARSED, Situation

SPACE = "mobilenet-v3-compact"
BOARD = "--device my-board --runtime tensorrt --precision fp16"
KIT = f"ofa-tk latency kit build --space {SPACE} --num-probes 5"
LOG = "ofa-tk latency import trtexec.txt --device my-board --precision fp16 --batch-size 1"
RUN = "ofa-tk latency kit run --ssh user@board"
MEASURE = f"ofa-tk latency measure --space {SPACE}"

PREDICTING = (
    Situation(
        typed="ofa-tk latency list",
        line="`ofa-tk latency show DEVICE` tells conditions, sources and caveats.",
        fill={"DEVICE": "jetson-nano"},
        runs={"ofa-tk latency show DEVICE": ""},
    ),
    Situation(
        typed="ofa-tk latency show my-gadget",
        line="On the machine itself:   ofa-tk latency measure --space ofa-mobilenet-v3-w1.0 "
        "--device my-gadget",
        runs={"ofa-tk latency measure --space ofa-mobilenet-v3-w1.0 --device my-gadget": PARSED},
    ),
    Situation(
        typed="ofa-tk latency show my-gadget",
        line="With a kit for it:       ofa-tk latency kit build --space ofa-mobilenet-v3-w1.0 --target "
        "onnxruntime-cpu",
        runs={"ofa-tk latency kit build --space ofa-mobilenet-v3-w1.0 --target onnxruntime-cpu": ""},
        shortened="--num-probes 3",
    ),
    Situation(
        typed="ofa-tk latency show my-gadget",
        given=("results of a kit",),
        line="ofa-tk latency import results.jsonl --device my-gadget",
        runs={"ofa-tk latency import results.jsonl --device my-gadget": ""},
    ),
    Situation(
        typed="ofa-tk latency show my-gadget",
        line="From ten timed networks: ofa-tk latency calibrate --plan 10 --space ofa-mobilenet-v3-w1.0 "
        "--device my-gadget",
        runs={"ofa-tk latency calibrate --plan 10 --space ofa-mobilenet-v3-w1.0 --device my-gadget": ""},
    ),
    Situation(
        typed="ofa-tk latency predict imagenet.json --device my-cpu --tables tables",
        given=("a measured device", "a subnet for ImageNet"),
        line="`ofa-tk latency show my-cpu` tells what each variant covers.",
        base="ofa-tk latency show my-cpu --tables tables",
        runs={"ofa-tk latency show my-cpu": "Unknown device"},
    ),
    Situation(
        typed=f"ofa-tk search --supernet {BUNDLED} --device jetson-nano --latency 5ms --confidence 0.9",
        line="Leave out --confidence, or keep a margin of your own.",
        runs={"without --confidence": ""},
    ),
)

MEASURING = (
    Situation(
        typed=f"{MEASURE} --device my-cpu --runtime onnxruntime --processor cuda",
        line="pip install onnxruntime-gpu, or leave out --processor cuda.",
        runs={"without --processor cuda": PARSED},
    ),
    Situation(
        typed=f"{MEASURE} --device my-cpu --runtime torch --processor cuda",
        line="Leave out --processor cuda.",
        runs={"without --processor cuda": PARSED},
    ),
    Situation(
        typed=f"{MEASURE} --device my-cpu --runtime tensorrt",
        line="Add --processor cuda on a machine with an NVIDIA GPU.",
        runs={"--processor cuda": "[Tt]ensor[Rr][Tt]|GPU"},
    ),
    Situation(
        unseen="needs a machine without TensorRT",
        line="measure with trtexec: ofa-tk latency kit build --target NAME",
        fill={"NAME": "tensorrt-8.6"},
        runs={"ofa-tk latency kit build --target NAME": ""},
        shortened=f"--space {SPACE} --num-probes 5",
    ),
    Situation(
        unseen="needs measurements begun with other settings",
        base=MEASURE,
        line="Add --restart to throw the old measurements away, or measure with the old settings.",
        runs={"--restart": PARSED},
    ),
    Situation(
        unseen="needs a space of few networks",
        line="Ask for fewer with --fit-networks and --check-networks.",
        says=("--fit-networks", "--check-networks"),
    ),
    Situation(
        unseen="needs a table of another machine",
        base=MEASURE,
        line="File this machine under another name: --device NAME.",
        fill={"NAME": "other-cpu"},
        runs={"--device NAME": PARSED},
    ),
    Situation(
        typed=f"{MEASURE} --device my-cpu --tables tables --passes 1 --fit-networks 8 --check-networks 8",
        line="ofa-tk latency show my-cpu --tables tables",
        runs={"ofa-tk latency show my-cpu --tables tables": ""},
    ),
)

KITS = (
    Situation(
        typed=f"{KIT} --target my-gadget",
        line="Name what it runs: --target onnxruntime-cpu",
        runs={"--target onnxruntime-cpu": ""},
    ),
    Situation(
        typed=f"{KIT} --target onnxruntime-cpu",
        given=("results of a kit",),
        line="ofa-tk latency import results.jsonl --device my-board",
        runs={"ofa-tk latency import results.jsonl --device my-board": ""},
    ),
    Situation(
        typed=f"{KIT} --target onnxruntime-cpu --precision fp16",
        line="Leave out --precision.",
        runs={"without --precision": ""},
    ),
    Situation(
        unseen="printed on the board",
        base=f"{KIT} --target tensorrt-11",
        line="This trtexec has no --fp16 (TensorRT 11 takes the precision from the network) and the kit "
        "holds no fp16 networks. Add --typed to: ofa-tk latency kit build",
        runs={"--typed": ""},
        says=("--fp16", "ofa-tk latency kit build"),
    ),
    Situation(
        unseen="printed on the board",
        given=("results of a kit",),
        line="Next, on your workstation: ofa-tk latency import results.jsonl",
        runs={"ofa-tk latency import results.jsonl": "do not say their device"},
    ),
    Situation(
        unseen="printed on the board",
        given=("results of a kit",),
        line="Next, on your workstation: ofa-tk latency import results.jsonl --device NAME",
        fill={"NAME": "my-board"},
        runs={"ofa-tk latency import results.jsonl --device NAME": ""},
    ),
    Situation(
        unseen="needs a space of few networks",
        line="Ask for fewer with --num-probes.",
        says=("--num-probes",),
    ),
    Situation(
        typed="ofa-tk latency import results.jsonl",
        given=("results of a kit",),
        line="Add --device NAME.",
        fill={"NAME": "my-board"},
        runs={"--device NAME": ""},
    ),
    Situation(
        typed="ofa-tk latency import results.jsonl --device my-board",
        given=("results of a kit",),
        line="ofa-tk latency show my-board",
        runs={"ofa-tk latency show my-board": ""},
    ),
)

BOARDS = (
    Situation(
        typed=f"ofa-tk latency devices --like odd.csv --space {SPACE} --batch-size 1",
        given=("measurements with a mistake",),
        line=f"ofa-tk latency import odd.csv --device my-board --space {SPACE}",
        runs={f"ofa-tk latency import odd.csv --device my-board --space {SPACE}": "do not say their runtime"},
    ),
    Situation(
        typed="ofa-tk latency kit run --ssh 'no host'",
        line="--ssh user@board",
        runs={"--ssh user@board": PARSED},
    ),
    Situation(
        unseen="needs a board",
        base=RUN,
        line="Name a Python of 3.6 or newer that is there: --python /usr/bin/python3",
        runs={"--python /usr/bin/python3": PARSED},
    ),
    Situation(
        unseen="needs a board",
        base=RUN,
        line="Name --trtexec PATH, or --python PATH of an environment that has onnxruntime.",
        runs={"--trtexec PATH": PARSED, "--python PATH": PARSED},
    ),
    Situation(
        unseen="needs a board",
        base=RUN,
        line="Name it: --device my-board",
        runs={"--device my-board": PARSED},
    ),
    Situation(
        unseen="needs a board",
        base=RUN,
        line="Add --force to replace it, or file it under another name: --device NAME",
        runs={"--force": PARSED, "--device NAME": PARSED},
    ),
)

IMPORTING = (
    Situation(
        typed="ofa-tk latency import words.txt --device my-board",
        given=("a text",),
        line="Name its format with --format, or its columns as `ofa-tk latency import --help` has them.",
        runs={"ofa-tk latency import --help": ""},
        says=("--format",),
    ),
    Situation(
        typed="ofa-tk latency import probes.json",
        given=("timed probes",),
        line="ofa-tk latency calibrate probes.json --device NAME --runtime NAME --precision fp16",
        fill={"NAME": "tensorrt"},
        runs={"ofa-tk latency calibrate probes.json --device NAME --runtime NAME --precision fp16": ""},
    ),
    Situation(
        typed=f"{LOG} --subnet subnet.json",
        given=("a subnet", "a log of trtexec"),
        line="Add --space NAME.",
        fill={"NAME": SPACE},
        runs={"--space NAME": "too few"},
    ),
    Situation(
        typed=f"{LOG} --space {SPACE}",
        given=("a subnet", "a log of trtexec"),
        line="Add --subnet subnet.json once for every network, in their order.",
        runs={"--subnet subnet.json": "too few"},
    ),
    Situation(
        unseen="needs a profile of another network",
        line="Profile a network that `ofa-tk export` or a kit wrote, and give its --subnet.",
        says=("`ofa-tk export`", "--subnet"),
    ),
    Situation(
        unseen="needs a log of a run that failed",
        line="Leave it out, and the --subnet that belongs to it.",
        says=("--subnet",),
    ),
    Situation(
        typed=f"ofa-tk latency import odd.csv --space {SPACE} {BOARD} --batch-size 1",
        given=("measurements with a mistake",),
        line=f"`ofa-tk latency audit odd.csv --space {SPACE}` names the rows; --accept-findings imports "
        "them all the same.",
        runs={f"ofa-tk latency audit odd.csv --space {SPACE}": "fails the audit", "--accept-findings": ""},
    ),
    Situation(
        unseen="needs the file that a known table was made from",
        base=f"ofa-tk latency import note10.yaml --space {SPACE}",
        line="--device note10 files it where it comes from, --accept-findings as 'mine'.",
        runs={"--device note10": PARSED, "--accept-findings": PARSED},
    ),
)

CALIBRATING = (
    Situation(
        typed=f"ofa-tk latency calibrate probes.json {BOARD}",
        given=("two timed probes",),
        line=f"About ten give most of the benefit: `ofa-tk latency calibrate --samples --space {SPACE}`",
        runs={f"ofa-tk latency calibrate --samples --space {SPACE}": ""},
    ),
    Situation(
        typed=f"ofa-tk latency calibrate results.jsonl {BOARD}",
        given=("results of a kit",),
        line="`ofa-tk latency import results.jsonl` reads the results of a kit.",
        runs={"ofa-tk latency import results.jsonl": "do not say their device"},
    ),
    Situation(
        typed=f"ofa-tk latency calibrate nothing.json {BOARD}",
        line="`ofa-tk latency calibrate --plan 10 --space NAME` writes a file to fill in.",
        fill={"NAME": SPACE},
        runs={"ofa-tk latency calibrate --plan 10 --space NAME": ""},
    ),
    Situation(
        typed=f"ofa-tk latency calibrate --plan 10 --space {SPACE} --batch-size 7",
        line="Name tables of another batch size with --like.",
        says=("--like",),
    ),
    Situation(
        typed=f"ofa-tk latency calibrate probes.json {BOARD.replace('my-board', 'jetson-nano')} --chip other",
        given=("timed probes",),
        line="Leave the option out, or file another device under another name: --device NAME",
        fill={"NAME": "my-board"},
        runs={"--device NAME": ""},
    ),
    Situation(
        typed=f"ofa-tk latency calibrate probes.json {BOARD} --like v100",
        given=("timed probes", "a calibrated board"),
        line="Add --force to replace it.",
        runs={"--force": ""},
    ),
    Situation(
        typed=f"ofa-tk latency calibrate --plan 10 --space {SPACE} --device my-board",
        line="ofa-tk latency calibrate probes.json --device my-board --runtime onnxruntime --precision fp32",
        runs={
            "ofa-tk latency calibrate probes.json --device my-board --runtime onnxruntime "
            "--precision fp32": "0 measured networks: too few"  # before their times are filled in
        },
    ),
    Situation(
        typed=f"ofa-tk latency calibrate --plan 10 --space {SPACE}",
        given=("timed probes",),
        line="Name another path with --out, or add --force.",
        runs={"--force": ""},
        says=("--out",),
    ),
    Situation(
        typed=f"ofa-tk latency calibrate --plan 10 --space {SPACE} --device my-board --force",
        line="As ONNX files with a program that times them; its results go to `ofa-tk latency import`:",
        says=("`ofa-tk latency import`",),
    ),
    Situation(
        typed=f"ofa-tk latency calibrate --plan 10 --space {SPACE} --device my-board",
        line="ofa-tk latency kit build --probes probes.json --target onnxruntime-cpu",
        runs={"ofa-tk latency kit build --probes probes.json --target onnxruntime-cpu": ""},
    ),
)

LATENCY = (*PREDICTING, *MEASURING, *KITS, *BOARDS, *IMPORTING, *CALIBRATING)
