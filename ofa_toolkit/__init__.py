"""Train once-for-all supernets, search subnets for a device budget, extract and export them.

Importing this package imports nothing heavy; each name is imported when it is first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

# Name -> module that defines it. The block below tells type checkers the same; a test compares the two.
_EXPORTS = {
    "__version__": "ofa_toolkit.core.version",
    "SearchSpace": "ofa_toolkit.spaces",
    "Subnet": "ofa_toolkit.spaces",
    "Supernet": "ofa_toolkit.supernets",
    "count_macs": "ofa_toolkit.complexity",
    "count_params": "ofa_toolkit.complexity",
    "evaluate": "ofa_toolkit.pipelines.evaluation.network",
    "export_onnx": "ofa_toolkit.pipelines.export.onnx_file",
    "extract": "ofa_toolkit.supernets",
    "find_front": "ofa_toolkit.pipelines.search.front",
    "find_subnet": "ofa_toolkit.pipelines.search.find",
    "get_space": "ofa_toolkit.spaces",
    "list_devices": "ofa_toolkit.pipelines.listing",
    "list_spaces": "ofa_toolkit.spaces",
    "list_supernets": "ofa_toolkit.pipelines.listing",
    "load_supernet": "ofa_toolkit.zoo.supernet",
    "lower": "ofa_toolkit.spaces",
    "predict": "ofa_toolkit.pipelines.prediction.predict",
    "recalibrate_batchnorm": "ofa_toolkit.supernets",
    "sample_subnets": "ofa_toolkit.spaces",
    "save_supernet": "ofa_toolkit.supernets",
    "train": "ofa_toolkit.pipelines.training.handle",
}
_FRONT_DOOR = (
    "evaluate",
    "export_onnx",
    "find_front",
    "find_subnet",
    "list_devices",
    "list_spaces",
    "list_supernets",
    "load_supernet",
    "predict",
    "train",
)
"""What a first project needs; the other names stay for those who use them."""

if TYPE_CHECKING:
    from ofa_toolkit.complexity import count_macs as count_macs
    from ofa_toolkit.complexity import count_params as count_params
    from ofa_toolkit.core.version import __version__ as __version__
    from ofa_toolkit.pipelines.evaluation.network import evaluate as evaluate
    from ofa_toolkit.pipelines.export.onnx_file import export_onnx as export_onnx
    from ofa_toolkit.pipelines.listing import list_devices as list_devices
    from ofa_toolkit.pipelines.listing import list_supernets as list_supernets
    from ofa_toolkit.pipelines.prediction.predict import predict as predict
    from ofa_toolkit.pipelines.search.find import find_subnet as find_subnet
    from ofa_toolkit.pipelines.search.front import find_front as find_front
    from ofa_toolkit.pipelines.training.handle import train as train
    from ofa_toolkit.spaces import SearchSpace as SearchSpace
    from ofa_toolkit.spaces import Subnet as Subnet
    from ofa_toolkit.spaces import get_space as get_space
    from ofa_toolkit.spaces import list_spaces as list_spaces
    from ofa_toolkit.spaces import lower as lower
    from ofa_toolkit.spaces import sample_subnets as sample_subnets
    from ofa_toolkit.supernets import Supernet as Supernet
    from ofa_toolkit.supernets import extract as extract
    from ofa_toolkit.supernets import recalibrate_batchnorm as recalibrate_batchnorm
    from ofa_toolkit.supernets import save_supernet as save_supernet
    from ofa_toolkit.zoo.supernet import load_supernet as load_supernet


def __getattr__(name: str) -> object:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'ofa_toolkit' has no attribute {name!r}")
    value = getattr(importlib.import_module(_EXPORTS[name]), name)
    if callable(value):
        importlib.import_module("ofa_toolkit.core.requests").describe(value)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(_FRONT_DOOR)
