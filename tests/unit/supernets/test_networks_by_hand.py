"""Layers, channels and names of supernets at values worked out by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ofa_toolkit.core.errors import CheckpointError, ExportError, MismatchError
from ofa_toolkit.spaces import get_space, lower, restrict
from ofa_toolkit.spaces.layer_spec import LayerSpec
from ofa_toolkit.supernets import Supernet, build_network, extract, sort_channels
from ofa_toolkit.supernets.finiteness import first_not_finite
from ofa_toolkit.supernets.importing.checkpoint_file import read_checkpoint
from ofa_toolkit.supernets.importing.official_config import official_config
from ofa_toolkit.supernets.importing.official_names import modern_name, official_names
from ofa_toolkit.supernets.importing.published import supernet_from_published
from ofa_toolkit.supernets.importing.timm_networks import check_same_output, epsilon_of
from ofa_toolkit.supernets.module_counts import ModuleCounts, count_module
from ofa_toolkit.supernets.supernet import run_weightless

SPACE = get_space("mobilenet-v3-compact").with_num_classes(3)


def layer(kind: Any, **values: Any) -> LayerSpec:
    shapes = {"in_channels": 1, "out_channels": 1, "in_size": 3, "out_size": 3}
    return LayerSpec(**{"name": kind, "kind": kind, "inputs": ("input",), **shapes, **values})


def square(*pixels: float) -> Tensor:
    side = math.isqrt(len(pixels))
    return torch.tensor(pixels).view(1, 1, side, side)


NINE = square(*(float(number) for number in range(1, 10)))


class TestLayers:
    """Layers without weights, in the supernet and cut out of it."""

    @pytest.mark.parametrize(
        ("spec", "others", "expected"),
        [
            (layer("global_avg_pool"), [], [5]),
            (layer("avg_pool", kernel_size=2), [], [3, 4, 6, 7]),
            (layer("avg_pool", kernel_size=2, stride=2), [], [3]),
            # What lies beyond the image does not count where sizes are rounded up.
            (layer("avg_pool", kernel_size=2, stride=2, ceil_mode=True), [], [3, 4.5, 7.5, 9]),
            (layer("max_pool", kernel_size=2), [], [5, 6, 8, 9]),
            (layer("max_pool", kernel_size=2, stride=2), [], [5]),
            (layer("max_pool", kernel_size=2, stride=2, ceil_mode=True), [], [5, 6, 8, 9]),
            (layer("max_pool", kernel_size=3, stride=2, padding=1), [], [5, 6, 8, 9]),
            (layer("add", inputs=("input", "input")), [2 * NINE], [3.0 * n for n in range(1, 10)]),
            (layer("scale", inputs=("input", "input")), [square(3.0)], [3.0 * n for n in range(1, 10)]),
            (layer("concat", inputs=("input", "input")), [-NINE], [*range(1, 10), *range(-1, -10, -1)]),
            (layer("activation"), [], list(range(1, 10))),
        ],
    )
    def test_weightless(self, spec: LayerSpec, others: list[Tensor], expected: list[float]) -> None:
        found = run_weightless(spec, [NINE, *others])
        assert found.flatten().tolist() == pytest.approx(expected)
        if not others:
            assert build_network([spec])(NINE).flatten().tolist() == pytest.approx(expected)
        elif others[0].shape == NINE.shape:
            outputs = {"add": 2 * NINE, "scale": NINE**2, "concat": torch.cat([NINE, NINE], 1)}
            torch.testing.assert_close(build_network([spec])(NINE), outputs[spec.kind])

    def test_uneven_padding_is_below_and_right(self) -> None:
        spec = layer("conv", kernel_size=2, extra_padding=1)
        network = build_network(
            [spec], tensors_of=lambda _: ({"weight": square(1.0, 10.0, 100.0, 1000.0)}, None)
        )
        found = network(square(1.0, 2.0, 3.0, 4.0)).flatten().tolist()
        assert found == [4321, 402, 43, 4]

    def test_what_a_network_has_where_nothing_is_said(self) -> None:
        layers = [
            layer("conv", name="a", out_channels=2, batch_norm=True, bn_eps=0.5, activation="relu"),
            layer("global_avg_pool", name="p", inputs=("a",), in_channels=2, out_channels=2, out_size=1),
            layer("linear", name="c", inputs=("p",), in_channels=2, out_channels=4, in_size=1, out_size=1),
        ]
        network = build_network(layers)
        norm = network.get_submodule("a.bn")
        assert isinstance(norm, nn.BatchNorm2d)
        assert (norm.momentum, norm.eps, norm.affine, norm.track_running_stats) == (0.1, 0.5, True, True)
        assert not [module for module in network.modules() if isinstance(module, nn.Dropout)]
        assert network(NINE).shape == (1, 4)
        assert {n: tuple(p.shape) for n, p in network.named_parameters()} == {
            "a.conv.weight": (2, 1, 1, 1),
            "a.bn.weight": (2,),
            "a.bn.bias": (2,),
            "c.linear.weight": (4, 2),
        }
        told = build_network(layers, dropout=0.25, bn_momentum=0.3, outputs={"x": "a", "y": "p"})
        dropout, norm = told.get_submodule("c.dropout"), told.get_submodule("a.bn")
        assert (getattr(dropout, "p", None), getattr(norm, "momentum", None)) == (0.25, 0.3)
        found = told.eval()(NINE)
        assert {key: tuple(value.shape) for key, value in found.items()} == {
            "x": (1, 2, 3, 3),
            "y": (1, 2, 1, 1),
        }
        assert bool((found["x"] >= 0).all())

    def test_runs_of_layers_are_one_module(self) -> None:
        graph = build_network(lower(SPACE, SPACE.smallest())).graph
        called = {str(node.target) for node in graph.nodes if node.op == "call_module"}
        assert "stages.0.0" in called
        assert not {name for name in called if name.startswith("stages.0.0.")}
        # Squeeze and excite reads the depthwise convolution's output beside the product.
        assert "stages.1.0" not in called
        parts = ("expand", "depthwise", "project")
        assert {f"stages.1.0.{part}" for part in parts} < called
        assert "classifier" in called

    def test_layers_with_and_without_biases(self) -> None:
        for bias in (False, True):
            spec = layer("linear", in_channels=9, out_channels=2, bias=bias)
            network = build_network([spec])
            assert [n for n, _ in network.named_parameters()] == [
                "linear.linear.weight",
                "linear.linear.bias",
            ][: 1 + bias]
            spec = layer("conv", in_channels=4, out_channels=4, groups=2, bias=bias)
            parts = dict(build_network([spec]).named_parameters())
            assert parts["conv.conv.weight"].shape == (4, 2, 1, 1)
            assert ("conv.conv.bias" in parts) == bias

    def test_a_supernet_of_which_nothing_is_said(self) -> None:
        supernet = Supernet(SPACE)
        assert (supernet.dropout, supernet.bn_momentum, supernet.use_kernel_transforms) == (0, 0.1, False)
        network = extract(supernet, SPACE.smallest())
        assert not [module for module in network.modules() if isinstance(module, nn.Dropout)]
        assert network.training
        assert not extract(supernet.eval(), SPACE.smallest()).training
        assert not [name for name in supernet.state_dict() if "matrix" in name]
        matrices = [
            name for name in Supernet(SPACE, use_kernel_transforms=True).state_dict() if "matrix" in name
        ]
        # One for each of 15 blocks, from 5 to 3.
        assert len(matrices) == 15
        assert all(name.startswith("stages.") and ".depthwise." in name for name in matrices)

    def test_a_part_gives_what_is_wanted(self) -> None:
        torch.manual_seed(0)
        supernet = Supernet(SPACE).eval()
        layers = lower(SPACE, SPACE.largest())
        images = torch.randn(1, 3, 16, 16)
        whole = supernet(images, SPACE.largest())
        names = {layers[1].name, layers[5].name}
        first = supernet.run_part(layers[:8], {"input": images}, {*names, layers[7].name, "input"})
        assert first.keys() == {*names, layers[7].name, "input"}
        read = {name for spec in layers[8:] for name in spec.inputs} & {spec.name for spec in layers[:8]}
        carried = supernet.run_part(layers[:8], {"input": images}, read)
        rest = supernet.run_part(layers[8:], carried, {layers[-1].name})
        torch.testing.assert_close(rest[layers[-1].name], whole)


class TestSorting:
    """A block of 16 channels whose ratios 3, 4 and 6 have 48, 64 and 96 in the middle."""

    @pytest.mark.parametrize(
        ("protected", "ends"), [(0, [96]), (1, [64, 96]), (2, [48, 64, 96]), (3, [48, 64, 96])]
    )
    def test_ranges_that_stay_together(self, protected: int, ends: list[int]) -> None:
        supernet = Supernet(SPACE)
        name = "stages.0.1"
        weight = supernet.layer(f"{name}.project").weighted.weight
        assert weight.shape[1] == 96
        generator = torch.Generator().manual_seed(0)
        importance = torch.randperm(96, generator=generator).float() + 1
        with torch.no_grad():
            weight.zero_()
            # In absolute values over all that read it.
            weight[0, :, 0, 0], weight[1, :, 0, 0] = importance / 4, -importance * 3 / 4
        [move] = [
            move
            for move in sort_channels(supernet, num_protected_widths=protected)
            if move.name == f"{name}.project.conv.weight"
        ]
        expected: list[int] = []
        for start, end in zip([0, *ends], ends, strict=False):
            expected += sorted(range(start, end), key=lambda channel: -float(importance[channel]))
        assert move.dim == 1
        assert move.order.tolist() == expected

    def test_everything_of_a_channel_moves(self) -> None:
        supernet = Supernet(SPACE)
        name = "stages.1.1"
        parts = {part: supernet.layer(f"{name}.{part}") for part in ("expand", "depthwise", "project")}
        count = parts["project"].weighted.weight.shape[1]
        with torch.no_grad():
            for part, dim in (("expand", 0), ("depthwise", 0), ("project", 1)):
                own = parts[part].weighted.weight
                shape = [1, 1, 1, 1]
                shape[dim] = count
                own.copy_(torch.arange(1.0, count + 1).view(shape).expand_as(own))
                batch_norm = parts[part].bn
                if part != "project" and batch_norm is not None:
                    for values in (batch_norm.weight, batch_norm.bias, batch_norm.running_mean):
                        values.copy_(torch.arange(1.0, count + 1))
            expand = supernet.layer(f"{name}.se.expand").weighted
            reduce = supernet.layer(f"{name}.se.reduce").weighted
            hidden = expand.weight.shape[1]
            expand.weight.copy_(torch.arange(1.0, hidden + 1).view(1, -1, 1, 1).expand_as(expand.weight))
            assert expand.bias is not None
            assert reduce.bias is not None
            expand.bias.copy_(torch.arange(1.0, count + 1))
            reduce.bias.copy_(torch.arange(1.0, hidden + 1))
            reduce.weight.copy_(
                torch.arange(1.0, count + 1).view(1, -1, 1, 1)
                + 1000 * torch.arange(1.0, hidden + 1).view(-1, 1, 1, 1)
            )
        sort_channels(supernet)
        falling, units = list(range(count, 0, -1)), list(range(hidden, 0, -1))
        for part in ("expand", "depthwise"):
            batch_norm = parts[part].bn
            assert batch_norm is not None
            assert parts[part].weighted.weight[:, 0, 0, 0].tolist() == falling
            for values in (batch_norm.weight, batch_norm.bias, batch_norm.running_mean):
                assert values.tolist() == falling
        assert parts["project"].weighted.weight[0, :, 0, 0].tolist() == falling
        assert expand.weight[0, :, 0, 0].tolist() == units
        assert (expand.bias.tolist(), reduce.bias.tolist()) == (falling, units)
        assert reduce.weight[0, :, 0, 0].tolist() == [1000 * hidden + value for value in falling]
        assert reduce.weight[:, 0, 0, 0].tolist() == [1000 * unit + count for unit in units]

    @pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam])
    def test_what_the_optimizer_remembers_moves_along(self, kind: Any) -> None:
        torch.manual_seed(0)
        supernet = Supernet(SPACE)
        settings = {"momentum": 0.9} if kind is torch.optim.SGD else {}
        optimizer = kind(supernet.parameters(), lr=0.0, **settings)
        for parameter in supernet.parameters():
            parameter.grad = parameter.detach().clone()
        optimizer.step()
        before = {name: parameter.detach().clone() for name, parameter in supernet.named_parameters()}
        sort_channels(supernet, optimizer=optimizer)
        changed = 0
        for name, parameter in supernet.named_parameters():
            changed += not torch.equal(parameter, before[name])
            state = optimizer.state[parameter]
            if kind is torch.optim.SGD:
                torch.testing.assert_close(state["momentum_buffer"], parameter.detach())
            else:
                torch.testing.assert_close(state["exp_avg"], 0.1 * parameter.detach())
                torch.testing.assert_close(state["exp_avg_sq"], 0.001 * parameter.detach().square())
                assert state["step"] == 1
        # Two weights of each of 15 blocks read or make channels at least.
        assert changed > 30


class TestOfficialLayout:
    """As the once-for-all repositories write it."""

    def test_names_of_a_mobilenet(self) -> None:
        space = get_space("ofa-mobilenet-v3-w1.0")
        names = official_names(space, lower(space, space.largest()), elastic=True)
        expected = {
            "stem.conv.conv.weight": "first_conv.conv.weight",
            "stem.block.depthwise.bn.bias": "blocks.0.conv.depth_conv.bn.bias",
            "stem.block.project.conv.weight": "blocks.0.conv.point_linear.conv.weight",
            "stages.0.0.expand.conv.weight": "blocks.1.conv.inverted_bottleneck.conv.conv.weight",
            "stages.0.0.depthwise.bn.running_var": "blocks.1.conv.depth_conv.bn.bn.running_var",
            "stages.0.0.depthwise.conv.matrix_5to3": "blocks.1.conv.depth_conv.conv.5to3_matrix",
            "stages.1.0.se.reduce.conv.bias": "blocks.5.conv.depth_conv.se.fc.reduce.bias",
            "stages.4.3.project.conv.weight": "blocks.20.conv.point_linear.conv.conv.weight",
            "head.expand.conv.weight": "final_expand_layer.conv.weight",
            "head.mix.conv.weight": "feature_mix_layer.conv.weight",
            "classifier.linear.bias": "classifier.linear.bias",
        }
        assert {name: names[name] for name in expected} == expected
        # A network of two blocks a stage numbers those it has.
        names = official_names(space, lower(space, space.smallest()), elastic=False)
        assert names["stages.1.0.project.conv.weight"] == "blocks.3.conv.point_linear.conv.weight"
        assert names["stages.0.0.depthwise.bn.weight"] == "blocks.1.conv.depth_conv.bn.weight"
        assert not any("matrix" in name for name in names)
        names = official_names(space, lower(space, space.smallest()), elastic=True)
        assert names["stages.1.0.project.conv.weight"] == "blocks.5.conv.point_linear.conv.conv.weight"

    def test_names_of_a_resnet(self) -> None:
        space = get_space("ofa-resnet50")
        names = official_names(space, lower(space, space.largest()), elastic=True)
        expected = {
            "stages.0.0.conv.conv.weight": "input_stem.0.conv.conv.weight",
            "stages.0.1.conv.conv.weight": "input_stem.1.conv.conv.conv.weight",
            "stages.1.0.conv.conv.weight": "input_stem.2.conv.conv.weight",
            "stages.2.0.conv1.conv.weight": "blocks.0.conv1.conv.conv.weight",
            "stages.3.1.conv2.bn.weight": "blocks.5.conv2.bn.bn.weight",
            "stages.5.3.conv3.conv.weight": "blocks.17.conv3.conv.conv.weight",
            "classifier.linear.weight": "classifier.linear.linear.weight",
        }
        assert {name: names[name] for name in expected} == expected
        proxyless = get_space("ofa-proxyless-w1.3")
        names = official_names(proxyless, lower(proxyless, proxyless.largest()), elastic=True)
        assert names["head.expand.conv.weight"] == "feature_mix_layer.conv.weight"

    def test_old_names(self) -> None:
        assert modern_name("module.blocks.1.mobile_inverted_conv.x") == "blocks.1.conv.x"
        assert modern_name("blocks.1.module.x") == "blocks.1.module.x"

    def test_the_config_of_a_network(self) -> None:
        space = get_space("ofa-mobilenet-v3-w1.0")
        config = official_config(space, space.smallest(128))
        order = {"dropout_rate": 0, "ops_order": "weight_bn_act"}
        plain = {"dilation": 1, "groups": 1, "bias": False, "has_shuffle": False, "use_se": False}
        shapes = {"kernel_size": 3, "stride": 2, "in_channels": 3, "out_channels": 16}
        assert config["first_conv"] == {
            "name": "ConvLayer",
            **shapes,
            **plain,
            "use_bn": True,
            "act_func": "h_swish",
            **order,
        }
        shapes = {"kernel_size": 1, "stride": 1, "in_channels": 960, "out_channels": 1280}
        assert config["feature_mix_layer"] == {
            "name": "ConvLayer",
            **shapes,
            **plain,
            "use_bn": False,
            "act_func": "h_swish",
            **order,
        }
        assert config["final_expand_layer"]["out_channels"] == 960
        assert config["bn"] == {"momentum": 0.1, "eps": 1e-5, "ws_eps": None}
        assert config["classifier"] == {
            "name": "LinearLayer",
            "in_features": 1280,
            "out_features": 1000,
            "bias": True,
            "use_bn": False,
            "act_func": None,
            **order,
        }
        # The fixed block, and two in each of five stages.
        assert len(config["blocks"]) == 11
        fixed, first, second, third = config["blocks"][:4]
        identity = {"name": "IdentityLayer", "use_bn": False, "act_func": None, **order}
        assert fixed["shortcut"] == {**identity, "in_channels": 16, "out_channels": 16}
        conv = {"name": "MBConvLayer", "kernel_size": 3, "act_func": "relu", "use_se": False}
        assert fixed["conv"] == {
            **conv,
            "in_channels": 16,
            "out_channels": 16,
            "stride": 1,
            "expand_ratio": 1,
            "mid_channels": None,
            "groups": None,
        }
        assert first == {
            "name": "ResidualBlock",
            "conv": {
                **conv,
                "in_channels": 16,
                "out_channels": 24,
                "stride": 2,
                "expand_ratio": 3,
                "mid_channels": 48,
            },
            "shortcut": None,
        }
        assert second["shortcut"] == {**identity, "in_channels": 24, "out_channels": 24}
        assert (third["conv"]["use_se"], third["conv"]["mid_channels"]) == (True, 72)
        proxyless = get_space("ofa-proxyless-w1.3")
        config = official_config(proxyless, proxyless.largest())
        assert config["name"] == "ProxylessNASNets"
        assert "final_expand_layer" not in config
        for other in ("ofa-resnet50", "efficientnet-lite0"):
            with pytest.raises(ExportError):
                official_config(get_space(other), get_space(other).largest())


def test_the_first_tensor_that_is_not_finite() -> None:
    right, whole = torch.ones(2), torch.tensor([1, 2])
    assert first_not_finite({"a": right, "b": [right, whole], "c": None, "d": 3}) is None
    assert first_not_finite({"a": right, "b": [right, torch.tensor([0.0, math.inf])]}) == "b.1"
    assert first_not_finite({"x": {"y": {0: torch.tensor(math.nan)}}, "z": torch.tensor(math.nan)}) == "x.y.0"
    assert first_not_finite((torch.tensor(-math.inf),)) == "0"
    assert first_not_finite(torch.ones(1)) is None


class TestPublished:
    """Layers matched by their order."""

    @pytest.fixture
    def weights(self) -> dict[str, Tensor]:
        """Of the whole supernet, under names of no meaning."""
        torch.manual_seed(0)
        own = Supernet(SPACE).state_dict()
        numbers: dict[str, int] = {}
        named = {}
        for name, tensor in own.items():
            place, _, part = name.rpartition(".")
            named[f"features.{numbers.setdefault(place, len(numbers))}.{part}"] = tensor.clone()
        return named

    @pytest.mark.parametrize("eps", [None, 1e-5, 1e-3])
    def test_an_epsilon_of_their_own(self, weights: dict[str, Tensor], eps: float | None) -> None:
        found = supernet_from_published(weights, SPACE.with_num_classes(9), source="it", bn_eps=eps)
        assert found.space == SPACE
        assert not found.training
        for tensor, (name, own) in zip(weights.values(), found.state_dict().items(), strict=True):
            shift = 0.0 if eps is None or not name.endswith("running_var") else eps - SPACE.bn_eps
            torch.testing.assert_close(own, tensor + shift if shift else tensor)

    def test_what_does_not_fit(self, weights: dict[str, Tensor]) -> None:
        first = next(iter(weights))
        variance = next(name for name in weights if name.endswith("running_var"))
        classifier = [name for name in weights if weights[name].ndim == 2][-1].rpartition(".")[0]
        cases: list[tuple[dict[str, Tensor], float | None, type[Exception], str]] = [
            ({first: torch.ones(1)}, None, MismatchError, "has shape"),
            ({first: weights[first] * math.nan}, None, CheckpointError, "not finite"),
            ({first.replace("weight", "bias"): torch.ones(1)}, None, MismatchError, "has a 'bias'"),
            ({variance: torch.zeros_like(weights[variance])}, 1e-6, MismatchError, "too small for the space"),
            ({"more.weight": torch.ones(3, 2)}, None, MismatchError, "layers with weights"),
        ]
        for changes, eps, error, message in cases:
            with pytest.raises(error, match=message):
                supernet_from_published({**weights, **changes}, SPACE, source="it", bn_eps=eps)
        without = {n: t for n, t in weights.items() if not n.startswith(classifier)}
        with pytest.raises(MismatchError):
            supernet_from_published(without, SPACE, source="it")
        with pytest.raises(MismatchError, match="holds no classifier"):
            supernet_from_published({}, SPACE, source="it")
        counters = {n: t for n, t in weights.items() if not n.endswith("num_batches_tracked")}
        supernet_from_published(counters, SPACE, source="it")


def test_outputs_are_alike_to_a_ten_thousandth_of_the_largest() -> None:
    scores = torch.tensor([[1.0, -1000.0]])

    def off_by(difference: float) -> nn.Module:
        class Network(nn.Module):
            def forward(self, images: Tensor) -> Tensor:
                return images + torch.tensor([[difference, 0.0]])

        return Network()

    check_same_output(off_by(0.0), off_by(0.09), scores, "It")
    with pytest.raises(MismatchError, match="It computes something else"):
        check_same_output(off_by(0.0), off_by(-0.11), scores, "It")
    with pytest.raises(MismatchError):
        check_same_output(off_by(0.0), off_by(math.nan), scores, "It")


@pytest.mark.parametrize("is_training", [True, False])
def test_what_a_module_costs(is_training: bool) -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 2, 3, padding=1, bias=False),
        nn.BatchNorm2d(2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(2, 5),
    ).train(is_training)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    # 27 products for each of two channels of 16 pixels, then 2 for each of 5 outputs.
    assert count_module(network, 4) == ModuleCounts(macs=16 * 2 * 27 + 10, params=54 + 4 + 15)
    assert network.training == is_training
    torch.testing.assert_close(network.state_dict(), before, rtol=0, atol=0)
    assert count_module(nn.ReLU(), 4) == ModuleCounts(macs=0, params=0)


def test_the_epsilon_of_a_network() -> None:
    assert epsilon_of(nn.Sequential(nn.BatchNorm2d(1, eps=0.5), nn.BatchNorm2d(2, eps=0.5))) == 0.5
    for eps in ((0.5, 0.25), ()):
        with pytest.raises(MismatchError, match="one is expected"):
            epsilon_of(nn.Sequential(*(nn.BatchNorm2d(1, eps=value) for value in eps)))


@pytest.mark.parametrize(("depth", "is_found"), [(4, True), (5, False)])
def test_weights_lie_four_dictionaries_deep_at_most(depth: int, is_found: bool, tmp_path: Path) -> None:
    content: Any = {"stem.conv.x": torch.ones(1)}
    for _ in range(depth):
        content = {"a": content}
    torch.save(content, tmp_path / "x.pt")
    if is_found:
        assert read_checkpoint(tmp_path / "x.pt").place == "a.a.a.a"
    else:
        with pytest.raises(CheckpointError, match="it holds 'a'"):
            read_checkpoint(tmp_path / "x.pt")


@pytest.mark.parametrize(("count", "end"), [(6, "'5'"), (7, "'5', ...")])
def test_a_file_without_weights_is_described_by_its_keys(count: int, end: str, tmp_path: Path) -> None:
    torch.save({str(number): number for number in range(count)}, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match=f"{end}\\.$".replace("...", r"\.\.\.")):
        read_checkpoint(tmp_path / "x.pt")


def test_spaces_of_one_choice_sort_nothing_apart() -> None:
    small = restrict(SPACE, expand_ratios=[6])
    assert {move.dim for move in sort_channels(Supernet(small), num_protected_widths=1)} == {0, 1}
