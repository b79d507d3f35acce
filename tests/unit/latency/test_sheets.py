"""Delimited text as spreadsheets and tools write it: every dialect gives the same networks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ofa_toolkit.core.errors import FileFormatError
from ofa_toolkit.latency.importing.detection import detect_format
from ofa_toolkit.latency.importing.measurements import ImportContext
from ofa_toolkit.latency.importing.networks_csv import read_csv
from ofa_toolkit.latency.importing.sheet import LATENCY, read_sheet
from ofa_toolkit.spaces import get_space
from ofa_toolkit.spaces.official_architectures import from_official

SPACE = get_space("ofa-mobilenet-v3-w1.0")
CONTEXT = ImportContext(space=SPACE)
FIRST = {"d": [3, 3, 2, 3, 4], "ks": [3, 5] * 10, "e": [3, 6, 4, 4] * 5, "r": [160]}
SECOND = {"d": [2, 2, 2, 2, 2], "ks": 7, "e": 6, "r": 224}
EXPECTED = [(from_official(SPACE, FIRST), 20.593), (from_official(SPACE, SECOND), 1234.5)]


def joined(mark: str) -> list[list[str]]:
    return [[mark.join(map(str, FIRST[key])) for key in ("d", "ks", "e")], ["2-2-2-2-2", "7", "6"]]


def table(header: str, first: str, second: str, delimiter: str = ",", mark: str = "-") -> str:
    cells = joined(mark)
    rows = [["160", *cells[0], first], ["224", *cells[1], second]]
    return "\n".join([header, *(delimiter.join(row) for row in rows)]) + "\n"


PLAIN = table("resolution,d,ks,e,latency_ms", "20.593", "1234.5")
DICTIONARIES = (
    f'Sub-network,Date,Latency (ms)\n"{ {"wid": None, **FIRST} }",2024-05-01,20.593\n'
    f'"{SECOND}",2024-05-02,1234.5\n'
)
ROWS: list[dict[str, object]] = [
    {"resolution": 160, **{key: FIRST[key] for key in ("d", "ks", "e")}, "latency_ms": 20.593, "note": None},
    {"resolution": 224, "d": [2] * 5, "ks": "7", "e": 6, "latency_ms": 1234.5, "note": None},
]
DIALECTS = {
    "JSON rows": json.dumps(ROWS),
    "JSON rows under a name": json.dumps({"device": "nano", "results": ROWS}),
    "JSON lines": "\n".join(map(json.dumps, ROWS)),
    "JSON columns": json.dumps({name: [row[name] for row in ROWS] for name in ROWS[0]}),
    "pandas' columns": json.dumps({n: {str(i): row[n] for i, row in enumerate(ROWS)} for n in ROWS[0]}),
    "pandas' rows": json.dumps({str(i): row for i, row in enumerate(ROWS)}),
    "pandas' split": json.dumps(
        {"columns": [*ROWS[0]], "index": [0, 1], "data": [[*r.values()] for r in ROWS]}
    ),
    "plain": PLAIN,
    "crlf": PLAIN.replace("\n", "\r\n"),
    "semicolons": table("resolution;d;ks;e;latency_ms", "20,593", "1234,5", ";"),
    "thousands": table("resolution;d;ks;e;latency_ms", "20,593", "1.234,5", ";"),
    "swiss": table("resolution;d;ks;e;latency_ms", "20.593", "1'234.5", ";"),
    "american": table("resolution,d,ks,e,latency_ms", "20.593", '"1,234.5"'),
    "german in quotes": table("resolution,d,ks,e,latency_ms", '"20,5930"', '"1234,5"'),
    "tabs": table("resolution\td\tks\te\tlatency_ms", "20.593", "1234.5", "\t"),
    "bars": table("resolution|d|ks|e|latency_ms", "20.593", "1234.5", "|"),
    "blanks": table("resolution , d , ks , e , latency_ms ", " 20.593", " 1234.5 ", " , "),
    "brackets": table("Resolution,D,KS,E,Latency (ms)", "20.593", "1234.5"),
    "square brackets": table("r,depth,kernel_size,expand_ratio,latency [ms]", "20.593", "1234.5"),
    "seconds": table("res,d,k,e,latency_s", "0.020593", "1.2345"),
    "microseconds": table("image_size,d,ks,e,Latency / µs", "20593", "1234500"),
    "units in cells": table("resolution,d,ks,e,Latency", "20.593 ms", "1.2345 s"),
    "remarks": "# measured in May\n\nsep=,\n" + PLAIN + "\n,,,,\n",
    "remarks between": PLAIN.replace("\n", "\n# the board was warm\n"),
    "a Markdown table": table("resolution|d|ks|e|latency_ms", "20.593", "1234.5", "|").replace(
        "ms\n", "ms\n---|:-:|---|---|---:\n"
    ),
    "unit in the middle": table("res,d,k,e,latency_ms_mean", "20.593", "1234.5"),
    "another word for the time": table("res,d,k,e,Runtime (ms)", "20.593", "1234.5"),
    "underlines": table("resolution,d,ks,e,latency_ms", "20.593", "1234.5", mark="_"),
    "times": table("resolution,d,ks,e,latency_ms", "20.593", "1234.5", mark="x"),
    "sizes": PLAIN.replace("160,", "160x160,").replace("224,", "224px,"),
    "quoted numbers": table("resolution;d;ks;e;latency_ms", "20.593", "1234.5", ";", "', '"),
    "wrapped dictionaries": f"id;config;latency_ms\n1;{ {'arch': FIRST} };20.593\n2;{SECOND};1234.5\n",
    "lists": table("resolution;d;ks;e;latency_ms", "20.593", "1234.5", ";", ", ").replace(
        joined(", ")[0][0], f"[{joined(', ')[0][0]}]"
    ),
    "spread beside it": table("resolution,d,ks,e,mean_ms,std_ms,p90_ms", "20.593,0.1,21", "1234.5,2,1300"),
    "median beside a mean": table(
        "resolution,d,ks,e,median latency (ms),mean latency (ms)", "20.593,9", "1234.5,9"
    ),
    "dictionaries": DICTIONARIES,
    "json": "arch;latency_ms\n"
    + "".join(
        '"' + json.dumps(each).replace('"', '""') + f'";{ms}\n'
        for each, ms in ((FIRST, 20.593), (SECOND, 1234.5))
    ),
}


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_dialects(name: str, encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(DIALECTS[name].encode(encoding))
    networks = read_csv([path], CONTEXT).networks
    assert [(n.subnet, pytest.approx(n.latency_ms)) for n in networks] == EXPECTED


@pytest.mark.parametrize("name", [name for name in DIALECTS if "JSON" in name or "pandas" in name])
def test_tables_in_json_are_known_by_their_content(name: str, tmp_path: Path) -> None:
    for ending in ("json", "jsonl", "txt"):
        path = tmp_path / f"rows.{ending}"
        path.write_text(DIALECTS[name])
        assert detect_format(path) == "csv"


@pytest.mark.parametrize("text", ["[]", "{}", "3", "[[1]]", '{"a": [1], "lat": [1, 2]}', '[{"a": 1}, 2]'])
def test_other_json_is_no_table(text: str, tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text(text)
    with pytest.raises(FileFormatError, match="of no known format"):
        detect_format(tmp_path / "rows.json")


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("", "is empty", ""),
        (
            "resolution,d,ks,e\n",
            "needs one column with the latency; it has resolution, d, ks, e",
            "latency_ms",
        ),
        ("PK\x03\x04\0\0", "is a workbook or a zip archive", "Save the table as CSV."),
        ("<html><table>", "is a page in HTML or XML", "Save the table as CSV."),
        ("d,ks,e,fps,latency\n2,3,3,9,1\n", "'latency' does not say its unit", "'latency (ms)'"),
        ("d,ks,e,latency_ms,time_s\n", "it has several: 'latency_ms', 'time_s'", ""),
        ("resolution,d,ks,e,Latency\n160,2,3,3,20\n", "'Latency' does not say its unit", "'Latency (ms)'"),
        (
            table("resolution,d,ks,e,latency_ms", '"20,593"', '"1,234"'),
            "'20,593' can be read in two ways",
            "",
        ),
        (
            table("resolution;d;ks;e;latency_ms", "20,5", "20.5", ";"),
            "'20.5' can be read in two ways",
            "points",
        ),
        ("resolution,d,ks,e,latency_ms\n160,2,3,3,20,5\n", "line 2: 6 cells under 5 column names", "quotes"),
        ("resolution,latency_ms\n160,2\n", "has no column that tells the subnet; it has resolution", "ks"),
        ("d,ks,e,latency_ms\n2,3,3,2\n", "line 2: no resolution is stated", "column resolution"),
        ("arch;latency_ms\n{print(1)};2\n", "line 2: '{print(1)}...' is no dictionary", ""),
        ("resolution;arch;latency_ms\n160;{'d':2,'ks':3,'e':3,'r':224};2\n", "resolution 160 beside", ""),
        (
            table("resolution,d,ks,e,latency_s", "20 ms", "1"),
            "the cell's unit is not that of 'latency_s'",
            "",
        ),
    ],
)
def test_what_cannot_be_read_names_the_cause(text: str, message: str, hint: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(text)
    with pytest.raises(FileFormatError) as caught:
        read_csv([path], CONTEXT)
    assert message in caught.value.message
    assert hint in str(caught.value.hint)


def test_line_numbers_are_those_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("# a remark\n" + PLAIN)
    assert [(number, row[LATENCY]) for number, row in read_sheet(path).rows] == [(3, "20.593"), (4, "1234.5")]
    path.write_text('resolution,note,latency_ms\n32,"warm,\nthen hot",2.5\n48,cold,3.5\n')
    rows = read_sheet(path).rows
    assert [(number, row["note"]) for number, row in rows] == [(3, "warm,\nthen hot"), (4, "cold")]


def test_a_spreadsheet_of_windows(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(DIALECTS["microseconds"].encode("cp1252"))
    assert read_csv([path], CONTEXT).networks[0].latency_ms == pytest.approx(20.593)
