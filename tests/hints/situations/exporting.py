"""Exported files: options, targets, checks, bundles."""

from tests.hints.given import BUNDLED, FAKE
from tests.hints.situation import PARSED, Situation

ONNX = "ofa-tk export --onnx --target onnxruntime-cpu"
INT8 = f"{ONNX} --precision int8 --data {FAKE}"
MAPS = f"{ONNX} --features --supernet efficientnet-lite0"

EXPORTING = (
    Situation(
        typed="ofa-tk extract --features",
        given=("a subnet",),
        line="In Python features(images, strides=(2, 4, 8)), or a supernet for larger images, such as "
        "--supernet efficientnet-lite0.",
        runs={"--supernet efficientnet-lite0": ""},
        is_quick=True,
    ),
    Situation(
        typed=f"{MAPS} --precision int8 --data {FAKE}",
        base=MAPS,
        line="--precision fp16, and quantise the whole detector",
        runs={"--precision fp16": ""},
    ),
    Situation(
        typed="ofa-tk export --features --tensorrt --target jetson-nano",
        given=("a subnet",),
        line="Write the file with --onnx; trtexec --onnx=FILE builds the engine.",
        base="ofa-tk export --features --target jetson-nano --supernet efficientnet-lite0",
        runs={"--onnx": PARSED},
    ),
    Situation(
        typed="ofa-tk predict subnet.onnx photos",
        base=MAPS,
        given=("photos", "a file of maps"),
        line="Export it again without --features.",
        runs={"without --features": ""},
    ),
    Situation(
        typed="ofa-tk extract --features --supernet efficientnet-lite0 --layout official --out features",
        line="--layout torch",
        runs={"--layout torch": ""},
    ),
    Situation(
        typed="ofa-tk export --onnx --target jetson-nano --precision int8",
        given=("a subnet",),
        line="--precision fp16",
        runs={"--precision fp16": ""},
    ),
    Situation(
        typed="ofa-tk export --onnx --target titan-xp --precision fp16",
        given=("a subnet",),
        line="--precision fp32",
        runs={"--precision fp32": ""},
    ),
    Situation(
        typed="ofa-tk export --onnx --target somethingelse",
        given=("a subnet",),
        line="Name what it runs: --target onnxruntime-cpu",
        runs={"--target onnxruntime-cpu": ""},
    ),
    Situation(
        typed="ofa-tk export --onnx --target tensorrt-12.0",
        given=("a subnet",),
        line="--target tensorrt-11.0",
        runs={"--target tensorrt-11.0": ""},
    ),
    Situation(
        unseen="needs a device that does not say what it runs",
        base="ofa-tk export --onnx",
        given=("a subnet",),
        line="--target onnxruntime-cpu, or a generation such as tensorrt-8.6.",
        runs={"--target onnxruntime-cpu": ""},
    ),
    Situation(
        typed="ofa-tk export --onnx --target note10",
        base="ofa-tk export --target note10",
        given=("a subnet",),
        line="--format litert",
        runs={"--format litert": PARSED},
    ),
    Situation(
        unseen="needs the packages of other formats",
        base="ofa-tk export --format ncnn --input uint8",
        line="Leave out --input and --output.",
        runs={"without --input": PARSED},
        says=("--output",),
    ),
    Situation(
        unseen="needs the packages of other formats",
        base="ofa-tk export --format ncnn --batch-size 2",
        line="--batch-size 1",
        runs={"--batch-size 1": PARSED},
    ),
    Situation(
        unseen="needs the packages of other formats",
        line="pip install --force-reinstall pnnx",
        says=("--force-reinstall",),
    ),
    Situation(
        unseen="says as many as a front has",
        base="ofa-tk export --front front.json --pack pack",
        line="--count 5",
        runs={"--count 5": PARSED},
    ),
    Situation(
        unseen="printed after a pack was written; a pack's program has a test of its own",
        line="python pack/adaptive.py --deadline 15ms IMAGE",
        says=("--deadline",),
    ),
    Situation(
        unseen="needs files of other formats",
        base="ofa-tk benchmark subnet.onnx --provider cuda",
        line="--provider cpu",
        runs={"--provider cpu": PARSED},
    ),
    Situation(
        typed="ofa-tk export --onnx --target jetson-nano --dynamic-batch",
        base="ofa-tk export --onnx --target jetson-nano",
        given=("a subnet",),
        line="Use --batch-size N, not --dynamic-batch.",
        fill={"N": "2"},
        runs={"--batch-size N": ""},
        says=("--dynamic-batch",),
    ),
    Situation(
        typed=f"{ONNX} --precision int8",
        given=("a subnet",),
        line="--data SOURCE, such as imagefolder:DIR",
        fill={"SOURCE": FAKE},
        runs={"--data SOURCE": PARSED},
    ),
    Situation(
        typed="ofa-tk export --tensorrt --target onnxruntime-cpu",
        given=("a subnet",),
        line="--target DEVICE, or a generation such as tensorrt-8.6",
        fill={"DEVICE": "jetson-nano"},
        runs={"--target DEVICE": PARSED},
    ),
    Situation(
        typed=f"{ONNX} --output classes",
        given=("a subnet",),
        line="--output probabilities",
        runs={"--output probabilities": ""},
    ),
    Situation(
        typed=f"{ONNX} --output topk=11",
        given=("a subnet",),
        line="--output topk=5",
        runs={"--output topk=5": ""},
    ),
    Situation(
        unseen="needs a network whose normalisation is not known",
        base=f"{ONNX} --input uint8",
        line="Leave out --input: the file takes normalised images.",
        runs={"without --input": PARSED},
    ),
    Situation(
        unseen="needs a network that overflows",
        base=f"{ONNX} --precision fp16",
        given=("a subnet",),
        line="--precision fp32, or int8 where the target has it",
        runs={"--precision fp32": ""},
    ),
    Situation(
        unseen="needs a network that loses accuracy",
        base=INT8,
        line="Use another precision, or allow it: --max-drop 1.5",
        runs={"--max-drop 1.5": PARSED},
    ),
    Situation(
        unseen="needs a network that loses accuracy",
        base=f"{ONNX} --precision fp16",
        line="Give images to judge the accuracy on: --data SOURCE",
        fill={"SOURCE": FAKE},
        runs={"--data SOURCE": PARSED},
    ),
    Situation(
        unseen="needs a network that loses accuracy",
        base=INT8,
        line="Use another precision, or other int8 ranges: --calibration percentile",
        runs={"--calibration percentile": PARSED},
    ),
    Situation(
        unseen="needs a network changed after it was cut out, in Python",
        line="For other classes train from the supernet: ofa-tk finetune; torch.onnx.export writes any "
        "network, unchecked.",
        says=("ofa-tk finetune",),
    ),
    Situation(
        typed="ofa-tk verify plain.onnx",
        given=("a foreign ONNX file",),
        line="`ofa-tk lint FILE --target DEVICE` checks any ONNX file.",
        fill={"FILE": "plain.onnx", "DEVICE": "jetson-nano"},
        runs={"ofa-tk lint FILE --target DEVICE": ""},
    ),
    Situation(
        typed="ofa-tk verify plain.onnx",
        given=("a foreign ONNX file",),
        line="The file carries no metadata of ofa-toolkit: it was not written by `ofa-tk export`.",
        says=("`ofa-tk export`",),
    ),
    Situation(
        unseen="needs a file of another release",
        given=("a subnet for the nano",),
        line="Export the subnet again: ofa-tk export --onnx",
        runs={"ofa-tk export --onnx": ""},
    ),
    Situation(
        typed=f"ofa-tk predict {BUNDLED} photos --top 99",
        given=("photos",),
        line="--top 10",
        runs={"--top 10": ""},
    ),
    Situation(
        typed="ofa-tk lint weights.onnx --target jetson-nano",
        given=("a subnet for the nano", "a zip archive"),
        line="`ofa-tk export --onnx` writes an ONNX file.",
        runs={"ofa-tk export --onnx": ""},
    ),
    Situation(
        typed="ofa-tk lint damaged.onnx --target jetson-nano",
        given=("a subnet for the nano", "a damaged file"),
        line="`ofa-tk export --onnx` writes one.",
        runs={"ofa-tk export --onnx": ""},
    ),
    Situation(
        typed=ONNX,
        given=("a subnet",),
        line="ofa-tk benchmark subnet.onnx",
        runs={"ofa-tk benchmark subnet.onnx": ""},
        shortened="--runs 5",
    ),
    Situation(
        typed="ofa-tk export --onnx",
        given=("a subnet for the nano",),
        line="ofa-tk verify subnet.onnx",
        runs={"ofa-tk verify subnet.onnx": ""},
    ),
    Situation(
        typed="ofa-tk export --bundle board --target onnxruntime-cpu",
        file="board/MODEL.md",
        given=("a subnet",),
        line="`ofa-tk verify model.onnx` checks all of this again.",
        fill={"model.onnx": "board/model.onnx"},
        runs={"ofa-tk verify model.onnx": ""},
    ),
    Situation(
        typed="ofa-tk benchmark subnet.onnx --provider cuda",
        given=("a subnet", "an ONNX file"),
        line="pip install onnxruntime-gpu",
    ),
    Situation(
        typed="ofa-tk benchmark subnet.onnx --batch-size 2",
        base=ONNX,
        given=("a subnet", "an ONNX file"),
        line="Export with --dynamic-batch to try several.",
        runs={"--dynamic-batch": ""},
    ),
    Situation(
        unseen="printed by quickstart, which has its own test",
        given=("a subnet", "an ONNX file"),
        line="ofa-tk verify subnet.onnx --tables .",
        runs={"ofa-tk verify subnet.onnx --tables .": ""},
    ),
    Situation(
        typed="ofa-tk export --onnx --subnet official.json",
        given=("a subnet as its authors write it",),
        line="--supernet NAME|DIR",
        runs={"--supernet NAME|DIR": "needs|neither|not"},
        fill={r"NAME\|DIR": BUNDLED},
    ),
)
