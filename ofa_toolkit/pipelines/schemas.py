"""JSON schemas of the files that are read and written."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ofa_toolkit.core.config_schema import Schema, document_schema, json_schema, line_schema
from ofa_toolkit.evaluation.predictor.card import PredictorCard
from ofa_toolkit.evaluation.predictor.file import FORMAT as PREDICTOR
from ofa_toolkit.latency.device import Device
from ofa_toolkit.latency.kit.build import FORMAT as KIT
from ofa_toolkit.latency.kit.documents import KitDocument, KitResultsLine, ProbesDocument
from ofa_toolkit.latency.kit.probes_file import FORMAT as PROBES
from ofa_toolkit.latency.measuring.documents import MeasurementsLine
from ofa_toolkit.latency.predictors.predictor import PREDICTORS, PredictorDocument
from ofa_toolkit.latency.table_file import FORMAT as TABLE
from ofa_toolkit.latency.table_file import TableDocument
from ofa_toolkit.pipelines.search.documents import FrontDocument
from ofa_toolkit.pipelines.search.front import FORMAT as FRONT
from ofa_toolkit.pipelines.studies.definition import StudyConfig
from ofa_toolkit.spaces.documents import SubnetDocument
from ofa_toolkit.spaces.subnet_file import FORMAT as SUBNET
from ofa_toolkit.training import ALGORITHMS
from ofa_toolkit.training.config import RunConfig
from ofa_toolkit.zoo.card import Card
from ofa_toolkit.zoo.published_subnets import PublishedSubnets


def _recipe() -> Schema:
    return json_schema(RunConfig, "Recipe", algorithm=tuple(ALGORITHMS[name] for name in ALGORITHMS))


def _table() -> Schema:
    """Of the description in a table's header."""
    kinds = [PREDICTORS[name].document for name in PREDICTORS]
    return document_schema(TABLE, TableDocument, {PredictorDocument: kinds})


def _predictor() -> Schema:
    """Of the text in the header of a predictor's file: its card, and what its inputs stand for."""
    card = json_schema(PredictorCard, f"{PREDICTOR.name}, version {PREDICTOR.version}")
    dialect, title = card.pop("$schema"), card.pop("title")
    kind = {"enum": ["resolution", "width", "skip", "block"]}
    choice = {"type": "array", "prefixItems": [kind], "items": {"type": "number"}}
    return {
        "$schema": dialect,
        "title": title,
        "type": "object",
        "additionalProperties": False,
        "properties": {
            **{name: {"const": value} for name, value in PREDICTOR.header.items()},
            "card": card,
            "choices": {"type": "array", "minItems": 1, "items": choice},
        },
        "required": [*PREDICTOR.header, "card", "choices"],
    }


SCHEMAS: Mapping[str, Callable[[], Schema]] = {
    "recipe": _recipe,
    "study": lambda: json_schema(StudyConfig, "Study"),
    "device": lambda: json_schema(Device, "ofa-toolkit/device, version 1"),
    "card": lambda: json_schema(Card, "ofa-toolkit/card, version 1"),
    "published-subnets": lambda: json_schema(PublishedSubnets, "ofa-toolkit/published-subnets, version 1"),
    "accuracy-predictor": _predictor,
    "subnet": lambda: document_schema(SUBNET, SubnetDocument),
    "front": lambda: document_schema(FRONT, FrontDocument),
    "latency-table": _table,
    "latency-probes": lambda: document_schema(PROBES, ProbesDocument),
    "kit": lambda: document_schema(KIT, KitDocument),
    "kit-results": lambda: line_schema("A line of ofa-toolkit/kit-results, version 1", KitResultsLine),
    "measurements": lambda: line_schema("A line of ofa-toolkit/measurements, version 1", MeasurementsLine),
}
"""By the name of the file in the reference."""
