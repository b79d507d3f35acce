"""The maps of random subnets as outputs of a file: named, linted, counted, and equal to the network's."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ofa_toolkit.complexity import count_macs
from ofa_toolkit.core.precision import FilePrecision
from ofa_toolkit.core.rng import generator
from ofa_toolkit.export.comparison import ModelRunner, check_comparison, synthetic_images
from ofa_toolkit.export.exporter import FileForm, write_model
from ofa_toolkit.export.feature_maps import compare_maps, described_maps
from ofa_toolkit.export.lint import lint
from ofa_toolkit.export.target_devices import resolve_target
from ofa_toolkit.graphs import count_graph
from ofa_toolkit.spaces import get_space, list_spaces, lower, sample_subnets
from ofa_toolkit.supernets import backbone, fold_batchnorm
from ofa_toolkit.supernets.backbone import without_head
from tests.properties.test_export_of_every_space import trained

RESOLUTION = 64
TARGETS = ("tensorrt-7.1", "tensorrt-8.2", "tensorrt-11.0", "onnxruntime-cpu")


OF_PHOTOS = [name for name in list_spaces() if max(get_space(name).resolutions) >= 128]


def export_and_compare(
    name: str, precision: FilePrecision, num_subnets: int, targets: Sequence[str] = TARGETS
) -> None:
    space = get_space(name).with_num_classes(7).with_resolutions((RESOLUTION,))
    for subnet in sample_subnets(space, num_subnets, generator(5, "features", name)):
        whole = lower(space, subnet)
        layers, body = without_head(whole), backbone(trained(space, subnet, 0), whole)
        for target in map(resolve_target, targets):
            if target.supports(precision) is False:
                continue
            form = FileForm(target=target, precision=precision, gives_maps=True)
            model = write_model(layers, fold_batchnorm(body), form)
            found = compare_maps(ModelRunner(model).run_all, body, synthetic_images(RESOLUTION, 2))
            check_comparison(found, precision)
            assert found.agreement_percent is None
            assert count_graph(model).macs == count_macs(layers) < count_macs(whole)
            assert [finding for finding in lint(model, target) if finding.severity == "error"] == []
            shapes = {
                value.name: tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
                for value in model.graph.output
            }
            assert shapes == {
                output: (1, entry["channels"], entry["size"], entry["size"])
                for output, entry in described_maps(whole).items()
            }
            assert {side for _, _, side, _ in shapes.values()} == {8, 4, 2}


@pytest.mark.parametrize("name", ["mobilenet-v3-small", "efficientnet-lite0"])
def test_a_subnet_with_squeeze_excite_and_one_without(name: str) -> None:
    export_and_compare(name, "fp16", 1, ["tensorrt-8.2"])


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("name", OF_PHOTOS)
def test_ten_subnets_of_every_space(name: str, precision: FilePrecision) -> None:
    export_and_compare(name, precision, 10)
