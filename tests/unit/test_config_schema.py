"""Schemas made from configuration classes: what is bundled fits them, what cannot be read does not."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import jsonschema
import pytest
from safetensors import safe_open

from ofa_toolkit.core import toml
from ofa_toolkit.core.config import Bounds, from_dict
from ofa_toolkit.core.config_schema import json_schema
from ofa_toolkit.core.errors import ConfigError
from ofa_toolkit.core.resources import data_path
from ofa_toolkit.pipelines.schemas import SCHEMAS

FILES = {
    "recipe": sorted(data_path("configs").glob("*.toml")),
    "study": sorted(data_path("configs").glob("studies/*.toml")),
    "device": sorted(data_path("latency_tables").glob("*/device.toml")),
    "card": sorted(data_path("zoo").glob("*/card.toml")),
    "published-subnets": sorted(data_path("zoo").glob("*/*subnets*.toml")),
    "accuracy-predictor": sorted(data_path("zoo").glob("*/accuracy_predictor.safetensors")),
}


@dataclass(frozen=True, kw_only=True)
class Wheel:
    """A part."""

    radius: Annotated[float, Bounds(above=0, at_most=2)]
    "In metres."
    kind: Literal["steel", "rubber"] = "steel"


@dataclass(frozen=True, kw_only=True)
class Cart:
    """A whole."""

    front: Wheel
    "The wheel ahead."
    others: tuple[Wheel, ...] = ()
    load: tuple[int, float] | None = None
    names: dict[str, bool] = field(default_factory=dict)


RIGHT: dict[str, Any] = {"front": {"radius": 2, "kind": "rubber"}}


@pytest.mark.parametrize(
    ("change", "is_right"),
    [
        ({}, True),
        ({"load": [3, 1.5], "names": {"a": True}, "others": [{"radius": 0.1}]}, True),
        ({"load": "none"}, True),
        ({"front": {"radius": 0}}, False),
        ({"front": {"radius": 2.1}}, False),
        ({"front": {"kind": "steel"}}, False),
        ({"front": {"radius": 1, "kind": "wood"}}, False),
        ({"frnt": {}}, False),
        ({"load": [3]}, False),
        ({"load": [3, 1.5, 2]}, False),
        ({"names": {"a": "yes"}}, False),
        ({"others": {"radius": 1}}, False),
    ],
)
def test_a_schema_takes_what_reading_takes(change: dict[str, Any], is_right: bool) -> None:
    document = RIGHT | change
    validator = jsonschema.Draft202012Validator(json_schema(Cart, "cart"))
    assert validator.is_valid(document) == is_right
    if is_right:
        from_dict(Cart, document)
    else:
        with pytest.raises(ConfigError):
            from_dict(Cart, document)


def test_a_schema_carries_help_and_defaults() -> None:
    front = json_schema(Cart, "cart")["properties"]["front"]
    assert front["description"] == "The wheel ahead."
    assert front["properties"]["kind"] == {"enum": ["steel", "rubber"], "default": "steel"}
    assert front["required"] == ["radius"]


@pytest.mark.parametrize("name", SCHEMAS)
def test_bundled_files_fit_their_schema_and_no_others(name: str) -> None:
    schema = SCHEMAS[name]()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    assert FILES[name]
    for path in FILES[name]:
        document = _read(path)
        assert not list(validator.iter_errors(document)), path
        assert not validator.is_valid({**document, "no_such_setting": 1})


def _read(path: Path) -> dict[str, Any]:
    if path.suffix == ".toml":
        return toml.load(path)
    with safe_open(path, framework="numpy") as file:
        document: dict[str, Any] = json.loads(file.metadata()["ofa-toolkit"])
    return document
