"""In every space around a published network a predictor is built, and a search with a device uses it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from ofa_tk.app import run
from ofa_toolkit.complexity import count_macs
from ofa_toolkit.evaluation.predictor.ensemble import EnsembleConfig
from ofa_toolkit.latency.table import load_table
from ofa_toolkit.pipelines.evaluation.evaluator import open_evaluator
from ofa_toolkit.pipelines.evaluation.predictor import build_predictor
from ofa_toolkit.pipelines.evaluation.request import EvaluationRequest
from ofa_toolkit.spaces import get_space, lower
from ofa_toolkit.spaces.subnet_file import read_subnet
from ofa_toolkit.supernets import Supernet, save_supernet
from ofa_toolkit.supernets.importing import timm_networks, torchvision_networks
from tests.integration.test_search_pipeline import EFFORT

DEVICE = "jetson-nano"
PUBLISHED = sorted({*timm_networks.SPACE_OF.values(), *torchvision_networks.SPACE_OF.values()})


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if name != "efficientnet-lite0" else name
        for name in PUBLISHED
    ],
)
def test_a_predictor_is_built_and_a_search_meets_its_limits(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    supernet = Supernet(get_space(name).with_num_classes(4))
    folder, out = tmp_path / "supernet", tmp_path / "subnet.json"
    size = min(supernet.space.resolutions)
    space = supernet.space.with_resolutions((size,))
    save_supernet(folder, supernet, trained_space=space)
    request = EvaluationRequest(
        data=f"fake:classes=4,size={size},train=24,test=8", images=8, recalibration_images=8, batch_size=8
    )
    assert build_predictor(
        open_evaluator(folder, request), num_subnets=30, config=EnsembleConfig(num_members=2, num_steps=60)
    )
    ends = [space.smallest(), space.largest()]
    macs = sum(count_macs(lower(space, subnet)) for subnet in ends) // 2
    latencies = [load_table(DEVICE).predict_layers(lower(space, subnet)).latency_ms for subnet in ends]
    limits = ["--device", DEVICE, "--latency", f"{sum(latencies) / 2:.4f}ms", "--macs", f"{macs / 1e6}M"]
    assert run(["search", "--supernet", str(folder), *limits, *EFFORT, "--out", str(out), "--json"]) == 0
    predicted = json.loads(capsys.readouterr().out)["predicted"]
    found = read_subnet(out)
    assert found.space.identity == supernet.space.identity
    assert found.subnet.resolution == size
    assert predicted["macs"]["value"] == count_macs(lower(space, found.subnet)) <= macs
    (latency,) = predicted["latency_ms"].values()
    assert latency["value"] <= sum(latencies) / 2
    assert predicted["top1_percent"]["provenance"] == "fitted"
    assert predicted["top1_percent"]["interval"][0] <= predicted["top1_percent"]["value"]
