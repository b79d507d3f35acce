"""Outputs that are there already, and parts of the installation that are not."""

from tests.hints.given import BUNDLED
from tests.hints.situation import Situation

PUBLISHED = "flops-482M_top1-79.6_finetune-75"

FILES = (
    Situation(
        typed=f"ofa-tk zoo show {PUBLISHED} --out mine.json",
        given=("a file of the user",),
        line="Name another path, or add --force.",
        runs={"--force": ""},
    ),
    Situation(
        typed="ofa-tk extract --out network",
        given=("a subnet", "a network"),
        line="Name another folder, or add --force.",
        runs={"--force": ""},
    ),
    Situation(
        unseen="needs a package that is there and broken",
        line="ofa-tk doctor",
        runs={"ofa-tk doctor": ""},
    ),
    Situation(
        unseen="needs an incomplete installation",
        line="Reinstall with: pip install --force-reinstall --no-deps ofa-toolkit",
        says=("--force-reinstall", "--no-deps"),
    ),
    Situation(unseen="needs an installation without it", line="pip install onnxruntime"),
    Situation(unseen="needs an installation without it", line="pip install 'ofa-toolkit[slurm]'"),
    Situation(
        typed="ofa-tk extract",
        line="`ofa-tk search` writes ./subnet.json.",
        runs={"ofa-tk search": ""},
    ),
    Situation(
        typed=f"ofa-tk extract --supernet {BUNDLED} --subnet wrong.json --out network",
        given=("a subnet out of its space",),
        line="`ofa-tk spaces show mobilenet-v3-compact` lists every choice.",
        runs={"ofa-tk spaces show mobilenet-v3-compact": ""},
    ),
    Situation(
        typed="ofa-tk latency predict subnet.json --device jetson-nano",
        given=("a subnet of a space of the user",),
        line="Name the space's file or the supernet, such as --space FILE.toml",
        runs={"--space FILE.toml": ""},
        fill={"FILE.toml": "mine.toml"},
    ),
    Situation(
        typed="ofa-tk latency predict official.json --device jetson-nano",
        given=("a subnet as its authors write it",),
        line="Name the space, such as --space ofa-mobilenet-v3-w1.0.",
        runs={"--space ofa-mobilenet-v3-w1.0": ""},
    ),
)
