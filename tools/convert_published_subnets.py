"""Write `subnets.toml` of the official zoo entries from a CSV file of published specialised networks.

    python tools/convert_published_subnets.py specialised.csv zoo

One row a network, its lists joined by `-` and zero for skipped blocks (columns `net_id`, `space`,
`width_mult`, `resolution`, `d`, `ks`, `e`, `macs`, `top1`, `finetune_epochs`, `latency_ms`, `batch`,
`device`, `runtime`, `precision`). Every MAC count is recomputed from the architecture and must agree.
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from ofa_toolkit.complexity import count_macs
from ofa_toolkit.core import files
from ofa_toolkit.spaces import get_space, lower
from ofa_toolkit.zoo.card import dumps
from ofa_toolkit.zoo.published_subnets import SUBNETS_FILE, PublishedSubnet, PublishedSubnets

SPACES = {
    ("ofa_mbv3", "1.0"): "ofa-mobilenet-v3-w1.0",
    ("ofa_mbv3", "1.2"): "ofa-mobilenet-v3-w1.2",
    ("ofa_proxyless", "1.3"): "ofa-proxyless-w1.3",
}
SOURCE = (
    "github.com/han-cai/files at a7c9bcd5, ofa/ofa_specialized/<name>/net.config and run.config; "
    "accuracy, latency and epochs are those of the names; MACs counted from the architecture"
)
LICENCE = "The repository states no licence; the code of once-for-all is under the MIT licence."


def main() -> None:
    """Read the CSV file and write one file an entry."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("csv", type=Path)
    parser.add_argument("zoo", type=Path)
    arguments = parser.parse_args()
    by_entry: dict[str, list[PublishedSubnet]] = defaultdict(list)
    with arguments.csv.open(newline="") as file:
        for row in csv.DictReader(file):
            name = SPACES[row["space"], row["width_mult"]]
            by_entry[name].append(_read(row, name))
    for name, subnets in by_entry.items():
        ordered = tuple(sorted(subnets, key=lambda subnet: subnet.macs))
        content = PublishedSubnets(source=SOURCE, licence=LICENCE, subnets=ordered)
        files.write_text(arguments.zoo / name / SUBNETS_FILE, dumps(content))
        print(f"{name}: {len(ordered)}")


def _read(row: Mapping[str, str], space_name: str) -> PublishedSubnet:
    depths = tuple(map(int, row["d"].split("-")))
    subnet = PublishedSubnet(
        name=row["net_id"],
        resolution=int(row["resolution"]),
        depths=depths,
        kernel_sizes=_per_stage(row["ks"], depths, get_space(space_name).stages[0].max_depth),
        expand_ratios=_per_stage(row["e"], depths, get_space(space_name).stages[0].max_depth),
        macs=int(row["macs"]),
        top1_percent=float(row["top1"]),
        finetune_epochs=int(row["finetune_epochs"]),
        latency_ms=float(row["latency_ms"]) if row["latency_ms"] else None,
        device=row["device"] if row["latency_ms"] else None,
        batch_size=int(row["batch"]) if row["batch"] else None,
        runtime=row["runtime"] or "unknown",
        precision=row["precision"] or "unknown",
    )
    macs = count_macs(lower(get_space(space_name), subnet.subnet))
    if macs != subnet.macs:
        raise SystemExit(f"{subnet.name}: {macs} MACs by our count, {subnet.macs} in the table.")
    return subnet


def _per_stage(text: str, depths: tuple[int, ...], slots: int) -> tuple[tuple[int, ...], ...]:
    values = list(map(int, text.split("-")))
    return tuple(tuple(values[index * slots : index * slots + depth]) for index, depth in enumerate(depths))


if __name__ == "__main__":
    main()
