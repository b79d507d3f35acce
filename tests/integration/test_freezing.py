"""`training.freeze`: in every method frozen layers end bit for bit as they began, and the others learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from ofa_toolkit.core.errors import ConfigError
from ofa_toolkit.modules import ElasticBatchNorm
from ofa_toolkit.spaces import get_space, lower, restrict
from ofa_toolkit.supernets import Supernet
from ofa_toolkit.training import ALGORITHMS
from ofa_toolkit.training.freezing import freeze_layers, frozen_layers
from tests.integration.small_runs import TINY_SPACE, differing, run, small_config, weights

METHODS: dict[str, dict[str, Any]] = {
    "deps": {"name": "deps", "ramp_share": 0.25, "sort_channels": False},
    "bignas": {"name": "bignas"},
    "ofa": {"name": "ofa", "phase_epochs": [1, 1, 1, 1, 1, 1], "phase_rates": [0.2] * 6},
    "compofa": {"name": "compofa", "phase_epochs": [1, 1, 1], "phase_rates": [0.2] * 3},
    "single": {"name": "single"},
}
SORTING = ("ofa", "compofa")
"""Their phases order channels by importance, whatever is frozen."""


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = small_config({"name": "deps", "warmup_share": 1.0}, space=TINY_SPACE, training={"epochs": 1})
    result, _ = run(config, tmp_path_factory.mktemp("first") / "run")
    return result.folder


def test_every_method_is_covered() -> None:
    # Subnet first takes no weights to start from, so it has none to keep.
    assert {*METHODS, "subnet_first"} == set(ALGORITHMS)


@pytest.mark.parametrize("method", METHODS)
def test_frozen_layers_end_as_they_began(method: str, first: Path, tmp_path: Path) -> None:
    algorithm = METHODS[method]
    if method == "single":
        from ofa_toolkit.spaces.subnet_file import SubnetFile, write_subnet
        from ofa_toolkit.zoo.supernet import load_supernet

        space = load_supernet(str(first)).space
        path = tmp_path / "subnet.json"
        write_subnet(path, SubnetFile(space=space, supernet=str(first), subnet=space.smallest()))
        algorithm = {**algorithm, "subnet": str(path)}
    config = small_config(
        algorithm,
        space=TINY_SPACE,
        training={"epochs": 6, "freeze": 1, "ema_decay": 0.9},
        optimizer={"kind": "adamw", "weight_decay": 0.1},
        init=str(first),
    )
    result, _ = run(config, tmp_path / "run")
    before, after = weights(first / "supernet"), weights(result)
    frozen = [name for name in before if name.startswith(("stem.", "stages.0."))]
    assert any(name.endswith("running_var") for name in frozen)
    for name in frozen:
        old, new = before[name], after[name]
        if method in SORTING:
            old, new = old.flatten().sort().values, new.flatten().sort().values
        assert torch.equal(old, new), name
    others = [name for name in before if name not in frozen]
    assert differing({n: before[n] for n in others}, {n: after[n] for n in others}) != []
    assert not torch.equal(before["classifier.linear.weight"], after["classifier.linear.weight"])


def test_a_frozen_body_leaves_the_classifier_to_learn(first: Path, tmp_path: Path) -> None:
    config = small_config(
        METHODS["deps"], space=TINY_SPACE, training={"epochs": 2, "freeze": "body"}, init=str(first)
    )
    result, _ = run(config, tmp_path / "run")
    changed = differing(weights(first / "supernet"), weights(result))
    assert changed == ["classifier.linear.bias", "classifier.linear.weight"]


def test_what_is_frozen() -> None:
    space = get_space("ofa-mobilenet-v3-w1.0")
    names = [layer.name for layer in lower(space, space.largest()) if layer.has_weights]
    assert frozen_layers(space, "none") == ()
    assert frozen_layers(space, "body") == tuple(names[:-1])
    two = frozen_layers(space, 2)
    assert two == tuple(names[: len(two)])
    assert {name.split(".")[1] for name in two if name.startswith("stages.")} == {"0", "1"}
    assert all(name.startswith("stages.2.") for name in names[len(two) : len(two) + 1])
    every = frozen_layers(space, len(space.stages))
    assert not any(name.startswith("stages.") for name in names[len(every) :])
    with pytest.raises(ConfigError, match=r"6 is out of range; 'ofa-mobilenet-v3-w1.0' has 5 stages"):
        frozen_layers(space, 6)


@pytest.mark.parametrize("value", [0, -1, 1.5, "head"])
def test_values_that_freeze_nothing_are_refused(value: object) -> None:
    with pytest.raises(ConfigError, match=r"training.freeze: expected one of 'none', 'body' or an integer"):
        small_config({"name": "bignas"}, training={"freeze": value}, init="x")


def test_random_weights_are_not_frozen() -> None:
    with pytest.raises(ConfigError, match=r"training.freeze: there are no weights to start from"):
        small_config({"name": "bignas"}, training={"freeze": "body"})


def test_a_single_network_uses_the_statistics_it_keeps() -> None:
    whole = get_space("mobilenet-v3-compact").with_num_classes(3).with_resolutions((8,))
    images = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    one = restrict(whole, depths=(1,), kernel_sizes=(3,), expand_ratios=(3.0,))
    assert one.has_one_subnet
    for space, uses_them in ((whole, False), (one, True)):
        supernet = Supernet(space)
        freeze_layers(supernet, frozen_layers(space, "body"))
        supernet.train()
        norms = [module for module in supernet.modules() if isinstance(module, ElasticBatchNorm)]
        assert {norm.training for norm in norms} == {not uses_them}
        with torch.no_grad():
            trained = supernet(images, space.largest(), use_dropout=False)
            judged = supernet.eval()(images, space.largest())
        assert torch.equal(trained, judged) == uses_them
        assert all(int(norm.num_batches_tracked) == 0 for norm in norms)
        assert all((norm.running_mean == 0).all() for norm in norms)
