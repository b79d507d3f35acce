"""What a front's file says, as types, from which its schema is made."""

from __future__ import annotations

from typing import TypedDict

from ofa_toolkit.spaces.documents import ChoicesDocument, PredictedFigures, SearchDocument
from ofa_toolkit.spaces.space_file import Reference


class MemberDocument(ChoicesDocument):
    """A subnet of a front."""

    top1_percent: float
    costs: list[float]
    "In the order of the front's `costs`: ms, MACs, parameters, bytes."
    predicted: PredictedFigures


class FrontDocument(TypedDict):
    """A front."""

    space: Reference
    "Name of a registered space, or the table of another one."
    supernet: str
    costs: list[str]
    "Such as `macs` or `latency:<device>:<variant>`."
    members: list[MemberDocument]
    "Cheapest first."
    search: SearchDocument
    warnings: list[str]
