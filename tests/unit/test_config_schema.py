"""Schemas made from configuration classes: what is bundled fits them, what cannot be read does not."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

import jsonschema
import pytest
from safetensors import safe_open
from typing_extensions import NotRequired

from ofa_toolkit.core import toml
from ofa_toolkit.core.config import Bounds, from_dict
from ofa_toolkit.core.config_schema import document_schema, json_schema, line_schema
from ofa_toolkit.core.errors import ConfigError
from ofa_toolkit.core.file_format import FileFormat
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


class Branch(TypedDict):
    """Of a tree; every kind has more."""

    kind: str


class Leaf(TypedDict):
    """An end."""

    kind: Literal["leaf"]
    area: Annotated[float, Bounds(above=0)]
    "In square metres."


class Fork(TypedDict):
    """Holds others."""

    kind: Literal["fork"]
    ends: list[Branch]
    label: NotRequired[str | None]


class Notes(TypedDict, total=False):
    """All may be missing."""

    by_tool: dict[Literal["saw", "axe"], int]


class Tree(Notes):
    """A document."""

    root: Branch


LEAF = {"kind": "leaf", "area": 1}
TREE: dict[str, Any] = {"format": "tree", "version": 2, "root": LEAF}


@pytest.mark.parametrize(
    ("document", "is_right"),
    [
        (TREE, True),
        ({**TREE, "version": 1}, False),
        ({"root": LEAF}, False),
        ({**TREE, "by_tool": {"saw": 3}}, True),
        ({**TREE, "by_tool": {"file": 3}}, False),
        ({**TREE, "height": 3}, False),
        ({**TREE, "root": {"kind": "leaf"}}, False),
        ({**TREE, "root": {"kind": "leaf", "area": 0}}, False),
        ({**TREE, "root": {"kind": "bush", "area": 1}}, False),
        ({**TREE, "root": {"kind": "fork", "ends": [LEAF, {"kind": "fork", "ends": []}]}}, True),
        ({**TREE, "root": {"kind": "fork", "ends": [{"kind": "fork"}]}}, False),
        ({**TREE, "root": {"kind": "fork", "ends": [], "label": None}}, True),
        ({**TREE, "root": {"kind": "fork", "ends": [], "label": 3}}, False),
    ],
)
def test_schemas_of_documents(document: dict[str, Any], is_right: bool) -> None:
    schema = document_schema(FileFormat("tree", 2, "a tree"), Tree, {Branch: [Leaf, Fork]})
    jsonschema.Draft202012Validator.check_schema(schema)
    assert jsonschema.Draft202012Validator(schema).is_valid(document) == is_right
    assert schema["title"] == "tree, version 2"
    assert schema["$defs"]["Leaf"]["properties"]["area"]["description"] == "In square metres."


def test_schemas_of_lines() -> None:
    validator = jsonschema.Draft202012Validator(line_schema("lines", Leaf | Notes))
    assert [validator.is_valid(line) for line in (LEAF, {"by_tool": {}}, {**LEAF, "by_tool": {}})] == [
        True,
        True,
        False,
    ]


@pytest.mark.parametrize("name", FILES)
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
