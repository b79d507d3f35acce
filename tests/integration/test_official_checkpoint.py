"""An official-layout checkpoint from a mirror: fetched, imported, searched, extracted, exported.

The weights are generated; what the imported supernet computes is compared with the reference implementation's
output for the same weights.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from ofa_tk.app import run
from ofa_toolkit.complexity import count_macs
from ofa_toolkit.core import config
from ofa_toolkit.spaces import get_space, lower
from ofa_toolkit.spaces.official_architectures import from_official
from ofa_toolkit.spaces.subnet_file import read_subnet
from ofa_toolkit.supernets import Supernet, extract
from ofa_toolkit.supernets.importing.official_checkpoints import official_supernet_weights
from ofa_toolkit.zoo.card import write_card
from ofa_toolkit.zoo.entries import find_entry
from ofa_toolkit.zoo.supernet import load_supernet
from tests.golden.generated_values import images, reference_networks, value
from tests.unit.zoo.mirror_server import serve

NAME = "ofa-mobilenet-v3-w1.0"
TOLERANCE = 5e-5


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Generated weights of the real network, saved as its authors save theirs."""
    layout = official_supernet_weights(Supernet(get_space(NAME), use_kernel_transforms=True))
    weights = {
        name.replace(".conv.", ".mobile_inverted_conv.", 1)
        if name.startswith("blocks.")
        else name: torch.from_numpy(value(name, tuple(tensor.shape)))
        for name, tensor in layout.items()
    }
    path = tmp_path_factory.mktemp("official") / "checkpoint"
    torch.save({"state_dict": weights}, path)
    return path.read_bytes()


def shadow_entry(folder: Path, content: bytes, mirror: str) -> None:
    """The shipped entry with identity and mirror of the generated checkpoint instead of the real one."""
    entry = find_entry(NAME)
    document = config.to_dict(entry.card)
    git = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    file = document["files"][0]
    document["files"] = [
        {"path": file["path"], "git_blob_sha1": git, "mirrors": [f"{mirror}/{file['path']}"]}
    ]
    folder.mkdir(parents=True)
    for path in entry.folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    write_card(folder / "card.toml", config.from_dict(type(entry.card), document))


def test_from_a_mirror_to_an_exported_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], checkpoint: bytes
) -> None:
    monkeypatch.setenv("OFA_TK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OFA_TK_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("OFA_TK_MIRROR", raising=False)
    monkeypatch.delenv("OFA_TK_OFFLINE", raising=False)
    monkeypatch.chdir(tmp_path)
    with serve(checkpoint, "dies_once") as mirror:
        shadow_entry(tmp_path / "data" / "zoo" / NAME, checkpoint, mirror.url)
        assert run(["zoo", "download", NAME, "--json"]) == 0
        assert len(mirror.requests) == 2
    folder = Path(json.loads(capsys.readouterr().out)["folder"])
    assert load_supernet(NAME).folder == folder
    assert run(["zoo", "verify", NAME]) == 0

    supernet = load_supernet(folder).network
    figures = reference_networks()[NAME]["subnets"][0]
    subnet = from_official(supernet.space, figures["architecture"], resolution=figures["resolution"])
    batch = torch.from_numpy(images(figures["logits"]["batch"], subnet.resolution))
    with torch.no_grad():
        logits = extract(supernet, subnet)(batch).numpy()
    expected = np.array(figures["logits"]["first"])
    scale = figures["logits"]["abs_max"]
    assert np.abs(logits[:, : expected.shape[1]] - expected).max() <= TOLERANCE * scale

    assert run(["search", "--supernet", NAME, "--macs", "150M", "--fix", "resolution=160"]) == 0
    found = read_subnet("subnet.json")
    assert found.supernet == NAME
    assert count_macs(lower(supernet.space, found.subnet)) <= 150e6
    assert run(["export", "--onnx", "--keep-batchnorm", "--target", "onnxruntime-cpu"]) == 0
    session = onnxruntime.InferenceSession("subnet.onnx", providers=["CPUExecutionProvider"])
    picture = images(1, found.subnet.resolution)
    (exported,) = session.run(None, {session.get_inputs()[0].name: picture})
    with torch.no_grad():
        ours = extract(supernet, found.subnet)(torch.from_numpy(picture)).numpy()
    assert np.abs(exported - ours).max() <= 1e-3 * np.abs(ours).max()
