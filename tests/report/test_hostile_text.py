"""Names of a user can be anything, and what is stored can be damaged: a report is made of it all the same."""

import csv
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import fabricate
import numpy as np
import pytest

from bench import ledger
from bench.analysis.plain_text import plain
from bench.report import tables, write
from bench.report.markup import element

MADE = (
    "%DATA%",
    "🐦 ",
    "\u202ert l",
    "a\u2028b",
    "nul\0",
    "a $ b",
    "$\\frac{$",
    "]]></script>",
    "a | pipe",
    "line\nbreak",
    "x" * 300,
)
NAMES = [f"={i}" + "".join(part) for i, part in enumerate((MADE[:5], MADE[5:]))]


@pytest.mark.parametrize("name", NAMES, ids=["first", "second"])
def test_any_name_stands_in_every_part_of_a_report(tmp_path: Path, name: str) -> None:
    file = tmp_path / "runs" / "one" / ledger.FILENAME
    for generation in range(2):
        row = fabricate.row(0.5, generation, 0)
        counts = fabricate.survival(0.1, fabricate.SPACE) | {"parameters": {"attribute": name}}
        counts["counts"] = {name if key == "daisy" else key: value for key, value in counts["counts"].items()}
        mixing = {"policy": "custom", "function": f"m:{name}", "parameters": {}}
        row = replace(row, sweep=name, policy="custom", config={**row.config, "name": name, "mixing": mixing})
        ledger.append(file, replace(row, scores=[*row.scores, counts]))
    report = write([tmp_path / "runs"], tmp_path / "report")
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert page.count('<script type="application/json" id="data">{"uris"') == 1 and page.endswith("</html>\n")
    for path in report.paths:
        if path.suffix == ".svg":
            ET.parse(path)
        if path.suffix in (".md", ".tex", ".html"):
            assert not set(path.read_text(encoding="utf-8")) & set("\0\u2028\u202e"), path
    markdown = [report.text, *(p.read_text(encoding="utf-8") for p in report.paths if p.suffix == ".md")]
    for line in [line for text in markdown for line in text.splitlines() if line.startswith(("| ", "- "))]:
        assert not re.search(r"(?<!\\)\| pipe", line), line
    latex = (tmp_path / "report" / "tables.tex").read_text(encoding="utf-8")
    assert all(sign < "\u0180" for sign in latex)
    for table in ("tables.csv", "statements.csv"):
        with (tmp_path / "report" / table).open(encoding="utf-8", newline="") as lines:
            rows = list(csv.DictReader(lines))
        assert rows and all(row["study"].startswith("'=") for row in rows), table


def test_a_cell_is_never_a_formula_and_a_number_stays_one() -> None:
    assert [tables.inert(value) for value in ("=1", "+1", "-1", "@A", "\tx", "a=1", "", -1.5, None)] == [
        "'=1", "'+1", "'-1", "'@A", "'\tx", "a=1", "", -1.5, None,
    ]  # fmt: skip


def test_long_labels_are_cut_and_stay_different() -> None:
    first, second = plain("x" * 500 + "a"), plain("x" * 500 + "b")
    assert first != second and len(first) <= 96 and "…" in first
    assert plain("blend (r 0.5)") == "blend (r 0.5)"
    assert element("p", "a\0\ud800b\nc", title="\u2028") == '<p title="�">a��b\nc</p>'


def test_damaged_pictures_are_left_out_and_named(tmp_path: Path) -> None:
    runs = fabricate.sweep(tmp_path, ratios=(0.5,), seeds=(0,), num_generations=4)
    empty_array, empty_file, truncated, _ = sorted((tmp_path / "store").rglob("probes.npy"))
    np.save(empty_array, np.zeros((0, 3, 16, 16), np.uint8))
    empty_file.write_bytes(b"")
    truncated.write_bytes(truncated.read_bytes()[:200])
    (neighbours,) = (tmp_path / "store").rglob("items.npy")
    neighbours.write_bytes(neighbours.read_bytes()[:200])
    said = write([runs], tmp_path / "report").text
    assert said.count("has no items") == 1
    assert said.count("is not a readable array") == 2
