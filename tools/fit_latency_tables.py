"""Make the latency tables that ship, from a folder of raw measurements.

    python tools/fit_latency_tables.py RAW_DIR [--out latency_tables] [--only SOURCE ...]

Equal measurements give equal tables. The raw files do not ship; each table names its source.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from latency_fitting import (
    hailo,
    lightnets,
    ncnn,
    network_sources,
    operators,
    qualcomm,
    subnet_sources,
    transfer,
)
from latency_fitting.facts import FACTS
from latency_fitting.tables import FittedTable, write_devices

SOURCES: dict[str, Callable[[Path], Iterator[FittedTable]]] = {
    "help": subnet_sources.help_tables,
    "nasperf": subnet_sources.nasperf_tables,
    "jetson": network_sources.jetson_tables,
    "note10": network_sources.note10_tables,
    "pixel1": network_sources.pixel1_tables,
    "accelnasbench": network_sources.accel_tables,
    "lightnas": lightnets.lightnas_tables,
    "v100-operators": operators.v100_tables,
    "jetson-transfer": transfer.jetson_transfers,
    "a40-transfer": transfer.a40_transfer,
    "hailo": hailo.hailo_tables,
    "ncnn": ncnn.ncnn_tables,
    "qualcomm": qualcomm.qualcomm_tables,
}


def main() -> int:
    """Fit every source and write the device folders."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("raw", type=Path, help="folder of raw measurements")
    parser.add_argument("--out", type=Path, default=Path("latency_tables"))
    parser.add_argument(
        "--only", nargs="+", choices=list(SOURCES), help="sources to fit; the other variants stay as they are"
    )
    options = parser.parse_args()
    tables: list[FittedTable] = []
    for name in options.only or SOURCES:
        started = time.perf_counter()
        for table in SOURCES[name](options.raw):
            tables.append(table)
            shown = "; ".join(
                f"{error.split}: MAPE {error.mape_percent} %, Spearman {error.spearman}"
                for error in table.errors
            )
            bound = "calibrated" if table.content.bound is not None else "uncalibrated"
            print(f"{table.device}:{table.name}  {bound}  {shown}", flush=True)
        print(f"  {name}: {time.perf_counter() - started:.0f} s", flush=True)
    write_devices(options.out, FACTS, tables, keep_others=options.only is not None)
    return 0


if __name__ == "__main__":
    sys.exit(main())
