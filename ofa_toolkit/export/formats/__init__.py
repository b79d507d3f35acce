"""Formats beside ONNX, each by its maintained converter: one file a format, and one line here.

A format is made from the checked ONNX file or from the network it was checked against. Its packages are
imported when it is used, never before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ofa_toolkit.core.registry import Registry

if TYPE_CHECKING:
    from ofa_toolkit.export.formats.format import Format

FORMATS: Registry[Format] = Registry(
    "format",
    {
        "openvino": "ofa_toolkit.export.formats.openvino:OPENVINO",
        "litert": "ofa_toolkit.export.formats.litert:LITERT",
        "executorch": "ofa_toolkit.export.formats.executorch:EXECUTORCH",
        "coreml": "ofa_toolkit.export.formats.coreml:COREML",
        "ncnn": "ofa_toolkit.export.formats.ncnn:NCNN",
    },
)
