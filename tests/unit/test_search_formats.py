"""The formats page's schemas against files as they are written."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from ofa_toolkit.pipelines.schemas import SCHEMAS
from ofa_toolkit.pipelines.search.find import find_subnet
from ofa_toolkit.pipelines.search.front import find_front
from ofa_toolkit.spaces.subnet_file import to_document

QUICK: dict[str, Any] = {"population_size": 8, "num_children": 8, "num_generations": 2, "local": None}


def check(document: Any, name: str) -> None:
    schema = SCHEMAS[name]()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(document, schema)


def test_subnets_and_fronts_fit_their_schemas() -> None:
    found = find_subnet(device="jetson-nano", latency="30ms", macs="300M", effort=QUICK)
    check(to_document(found), "subnet")
    with pytest.raises(jsonschema.ValidationError):
        check({**to_document(found), "extra": 1}, "subnet")
    fast = find_subnet(device="hailo-8", throughput="40/s", effort=QUICK)
    assert set(fast.predicted) >= {"throughput_per_s"}
    check(to_document(fast), "subnet")
    front = find_front(device="jetson-nano", against=["latency", "macs"], effort=QUICK)
    check(front.document(), "front")
