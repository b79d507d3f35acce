"""Latency on devices: tables, predictions, bounds, calibration (no torch), and measuring."""

from __future__ import annotations

from ofa_toolkit.latency.device import Device, Variant, read_device, write_device
from ofa_toolkit.latency.table import (
    BoundLatency,
    LatencyTable,
    NetworkPrediction,
    list_devices,
    load_table,
    read_table,
    write_table,
)

__all__ = [
    "BoundLatency",
    "Device",
    "LatencyTable",
    "NetworkPrediction",
    "Variant",
    "list_devices",
    "load_table",
    "read_device",
    "read_table",
    "write_device",
    "write_table",
]
