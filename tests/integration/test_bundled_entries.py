"""Every figure on the card of a bundled supernet, measured again from the weights that ship.

The images are not part of the repository: `OFA_TK_TEST_DATA_<NAME>` (upper case, `_` for `-`) names the
data set of an entry as `--data` takes it, such as `npz:FILE`.
"""

from __future__ import annotations

import os
import re

import pytest

from ofa_toolkit.core import resources
from ofa_toolkit.pipelines.zoo.verify import TOLERANCE_POINTS, verify_entry
from ofa_toolkit.zoo.entries import ZooEntry, load_entry

BUNDLED = [
    entry
    for path in sorted(resources.data_path("zoo").iterdir())
    if path.is_dir() and (entry := load_entry(path, "bundled")).card.layout == "ofa-toolkit"
]


@pytest.mark.slow
@pytest.mark.parametrize("entry", BUNDLED, ids=lambda entry: entry.name)
def test_every_figure_of_the_card_is_measured_again(entry: ZooEntry) -> None:
    variable = "OFA_TK_TEST_DATA_" + re.sub(r"[.-]", "_", entry.name).upper()
    data = os.environ.get(variable)
    if data is None:
        pytest.skip(f"set {variable} to the data set of {entry.name}")
    findings = verify_entry(entry, data=data)
    figures = [finding for finding in findings if finding.measured is not None]
    assert len(figures) == len(entry.card.accuracy) >= 2
    for finding in figures:
        assert finding.claimed is not None
        assert finding.measured is not None
        assert abs(finding.claimed - finding.measured) <= TOLERANCE_POINTS, finding.detail
    assert all(finding.is_right for finding in findings)
