"""Random subnets of every space, for every target: the file passes the linter and equals the network."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from torch import fx, nn

from ofa_toolkit.complexity import count_macs
from ofa_toolkit.core.errors import ExportError
from ofa_toolkit.core.precision import FILE_PRECISIONS, FilePrecision
from ofa_toolkit.core.rng import generator, torch_seed
from ofa_toolkit.export.comparison import ModelRunner, check_comparison, compare, synthetic_images
from ofa_toolkit.export.exporter import FileForm, write_model
from ofa_toolkit.export.lint import lint
from ofa_toolkit.export.target_devices import Target, resolve_target, target_names
from ofa_toolkit.graphs import count_folded_params, count_graph
from ofa_toolkit.spaces import SearchSpace, Subnet, get_space, list_spaces, lower, sample_subnets
from ofa_toolkit.supernets import build_network, fold_batchnorm
from tests.every_space import EVERY_SPACE

RESOLUTION = 36  # odd maps on the way down, so that pools that round up do so


def targets() -> list[Target]:
    """Every target that reads ONNX files, those that accept the same things once."""
    distinct = {}
    for name in target_names():
        try:
            target = resolve_target(name)
        except ExportError:
            continue  # phones
        precisions = tuple(target.supports(precision) for precision in FILE_PRECISIONS)
        distinct[target.generation.name, target.max_opset, target.takes_dynamic_batch, precisions] = target
    return list(distinct.values())


TARGETS = targets()


def forms(precision: FilePrecision) -> list[FileForm]:
    """One form for each distinct way a file is written in a precision."""
    distinct = {}
    for target in TARGETS:
        row = target.generation
        if target.supports(precision) is not False:
            has_hard_swish = row.operators is None or "HardSwish" in row.operators
            distinct[row.export_opset, has_hard_swish, row.reads_half_constants, row.int8] = target
    return [FileForm(target=target, precision=precision, batch_size=2) for target in distinct.values()]


def small(name: str) -> SearchSpace:
    """The space at a small resolution, with few classes."""
    return get_space(name).with_num_classes(7).with_resolutions((RESOLUTION,))


def trained(space: SearchSpace, subnet: Subnet, seed: int) -> fx.GraphModule:
    """A plain network whose batch norms are not the identity."""
    torch.manual_seed(torch_seed(seed, "export", space.name))
    network = build_network(lower(space, subnet)).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.3, 0.3)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.2, 0.2)
    return network


def export_and_compare(name: str, precision: FilePrecision, num_subnets: int) -> None:
    space = small(name)
    images = synthetic_images(RESOLUTION, 4)
    for number, subnet in enumerate(sample_subnets(space, num_subnets, generator(3, "export", name))):
        layers = lower(space, subnet)
        network = trained(space, subnet, number)
        weights = fold_batchnorm(network)
        for form in forms(precision):
            model = write_model(layers, weights, form)
            comparison = compare(ModelRunner(model), network, images)
            if precision == "fp32":
                check_comparison(comparison, precision)
            else:
                assert comparison.max_relative_error < 3e-2
            counts = count_graph(model)
            assert (counts.macs, counts.params) == (count_macs(layers), count_folded_params(layers))
            lint_everywhere(model, form)


def lint_everywhere(model: onnx.ModelProto, form: FileForm) -> None:
    """No target for which the file would be written alike may object."""
    for target in TARGETS:
        if target.generation == form.target.generation and target.supports(form.precision) is not False:
            assert [finding for finding in lint(model, target) if finding.severity == "error"] == []


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("name", EVERY_SPACE)
def test_two_subnets_of_every_space(name: str, precision: FilePrecision) -> None:
    export_and_compare(name, precision, 2)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("name", list_spaces())
def test_twenty_subnets_of_every_space(name: str, precision: FilePrecision) -> None:
    export_and_compare(name, precision, 20)


def quantise_and_compare(name: str, num_subnets: int) -> None:
    space = small(name)
    draw = generator(4, "export", name)
    batches = list(draw.standard_normal((4, 2, 3, RESOLUTION, RESOLUTION), dtype=np.float32))
    images = synthetic_images(RESOLUTION, 4)
    for number, subnet in enumerate(sample_subnets(space, num_subnets, draw)):
        layers = lower(space, subnet)
        network = trained(space, subnet, number)
        weights = fold_batchnorm(network)
        for form in forms("int8"):
            model = write_model(layers, weights, form, calibration=batches)
            assert compare(ModelRunner(model), network, images).max_relative_error < 1.0
            assert count_graph(model).params == count_folded_params(layers)
            lint_everywhere(model, form)


@pytest.mark.parametrize("name", ["mobilenet-v3-compact"])
def test_two_quantised_subnets(name: str) -> None:
    quantise_and_compare(name, 2)


@pytest.mark.slow
@pytest.mark.parametrize("name", list_spaces())
def test_twenty_quantised_subnets_of_every_space(name: str) -> None:
    quantise_and_compare(name, 20)
