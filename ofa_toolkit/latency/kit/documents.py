"""What a measuring kit, its results and a file of probes say, as types, from which their schemas are made.

The agent that writes the results runs on boards with Python 3.6, without these classes.
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict

from typing_extensions import NotRequired

from ofa_toolkit.core.precision import FilePrecision, FloatPrecision
from ofa_toolkit.spaces.documents import ChoicesDocument, Count, Duration, Positive
from ofa_toolkit.spaces.space_file import Reference


class NetworkFile(TypedDict):
    """An ONNX file of a kit."""

    name: str
    "Path within the kit."
    sha256: str


class KitProbe(TypedDict):
    """A network to time."""

    id: str
    row: list[Count]
    "The encoded subnet."
    subnet: dict[str, Any]
    "As in a `subnet.json`."
    macs: Positive
    files: dict[FloatPrecision, NetworkFile]
    "By the precision of their tensors."


class KitDocument(TypedDict):
    """`kit.json`."""

    id: str
    "Hash of the networks."
    made_by: str
    target: str
    is_for_device: NotRequired[bool]
    "Whether the target is a device; for software on any device the import has to name it."
    space: Reference
    "Name of a registered space, or the table of another one."
    space_identity: str
    num_classes: Positive
    batch_size: Positive
    precision: FilePrecision
    "Timed by default."
    opset: Positive
    ir_version: Positive
    probes: list[KitProbe]
    "In the order of timing."


class StateDocument(TypedDict):
    """A look at the board."""

    clocks_hz: dict[str, int]
    temperatures_c: dict[str, float]
    nvidia_smi: str | None
    load: float | None


class SessionLine(TypedDict):
    """Opens each run of the agent."""

    type: Literal["session"]
    format: Literal["ofa-toolkit/kit-results"]
    version: Literal[1]
    kit: str
    target: str
    space: Reference
    num_classes: Positive
    batch_size: Positive
    precision: FilePrecision
    backend: Literal["trtexec", "onnxruntime"]
    backend_version: str | None
    arguments: list[str]
    cuda_graph: bool | None
    power_mode: str | None
    governors: NotRequired[str | None]
    board: dict[str, Any]
    state: StateDocument
    time: str
    "UTC."


class _Times(TypedDict):
    median_ms: Duration
    min_ms: Duration
    max_ms: NotRequired[Duration]
    mean_ms: NotRequired[Duration]
    p25_ms: NotRequired[Duration]
    p75_ms: NotRequired[Duration]
    num_runs: Positive | None
    version: NotRequired[str | None]
    "Of TensorRT, as the run told it."
    warnings: NotRequired[list[str]]


class _Timing(TypedDict):
    probe: str
    subnet: dict[str, Any]
    "As in a `subnet.json`."
    precision: FilePrecision
    seconds: float
    "Everything, making an engine included."
    state: StateDocument


class ResultLine(_Timing, _Times):
    """A network that was timed."""

    type: Literal["result"]


class FailureLine(_Timing):
    """A network that could not be timed."""

    type: Literal["failure"]
    error: str


class ReferenceLine(_Times):
    """The session's first network, timed again."""

    type: Literal["reference"]
    probe: str
    state: StateDocument


class FailedReferenceLine(TypedDict):
    """It could not be timed again."""

    type: Literal["reference"]
    probe: str
    state: StateDocument
    error: str


KitResultsLine = SessionLine | ResultLine | FailureLine | ReferenceLine | FailedReferenceLine


class ProbeDocument(ChoicesDocument):
    """A subnet of a file of probes."""

    latency_ms: Duration | None
    "Of a batch; null where it is not measured yet."


class ProbesDocument(TypedDict):
    """`probes.json`."""

    space: Reference
    num_classes: NotRequired[Count]
    "Outputs of the classifier; the space's own where a file of before does not say."
    probes: list[ProbeDocument]
