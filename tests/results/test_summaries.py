"""README and start page have the tables that the shipped files of results give, and say what the leaderboard says."""

import re
import runpy
from dataclasses import replace
from pathlib import Path

import made_up

from bench.results import shelf, summaries

ROOT = Path(__file__).parents[2]
ENTRIES = shelf.read(shelf.shipped())
README = (ROOT / "README.md").read_text()


def test_readme_and_start_page_are_what_the_shipped_files_give():
    generate = runpy.run_path(str(ROOT / "docs" / "generate.py"))
    assert generate["readme"](ENTRIES) == README, "run: python docs/generate.py"
    assert generate["start"](ENTRIES) == (ROOT / "docs" / "index.md").read_text(), "run: python docs/generate.py"


def test_every_interval_of_the_findings_is_on_the_page_of_the_remedies():
    (findings,) = re.findall(r"\n- \*\*Dropping samples from.*?\n## ", README, re.DOTALL)
    page = (ROOT / "docs" / "results" / "remedies_mini_v1-1.md").read_text()
    found = re.findall(r"[-+][\d.]+ (?:% )?\([-+][\d.]+ to [-+][\d.]+\)", " ".join(findings.split()))
    assert len(found) >= 6 and not [words for words in found if words not in page]


def test_the_table_of_make_run_has_a_row_for_each_ratio_and_score():
    shown = summaries.quick(ENTRIES)
    rows = [line.split(" | ") for line in shown.splitlines() if re.match(r"\| \d", line)]
    assert [row[0] + row[1] for row in rows] == ["| 0.00FID ↓", "| 0.00coverage ↑", "| 1.00FID ↓", "| 1.00coverage ↑"]
    assert all(len(row) == 2 + 9 for row in rows)
    page = (ROOT / "docs" / re.search(r"\((results/[^)]+)\)", shown)[1]).read_text()
    for row in rows:
        assert f"| {row[0][2:]} | {' | '.join(cell.strip(' |') for cell in row[2:])} |" in page.replace("*", "")


def test_the_table_of_the_protocol_says_what_its_page_says():
    shown = summaries.how_much(ENTRIES)
    page = (ROOT / "docs" / "results" / "collapse_mini_v1-1.md").read_text()
    lines = [line for line in shown.splitlines() if line.startswith("| ")][1:]
    rows = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines]
    assert {"0.00", "0.50", "1.00"} <= {row[0] for row in rows}
    for label, badge, rise, *changes in rows:
        assert f"| {label} | {badge} | {rise} |" in page
        for meaning, change in zip(
            ("any rise of risk", "collapsing variance", "hallucinated data"), changes, strict=True
        ):
            number, span, unit = re.fullmatch(r"([-+.\d]+) (.+) \((.*)\)", change).group(1, 3, 2)
            assert re.search(rf"\| {label} \| {meaning} \| \w+ \| .*: {re.escape(f'{number} ({span}) {unit}')}, ", page)
    last, after = shown.splitlines()[-1].split(f" {summaries.RISING_MEANS}")
    assert last.startswith(("The rise of FID passes 10 %", "No critical ratio")) and last in page
    assert "floor 51 (41 to 57)" in shown and "| floor: real images | 51 (41 to 57) |" in page
    assert after == "", "all of its first split were run on one kind of device"


def test_the_table_of_the_protocol_says_which_conditions_another_device_has_run(tmp_path):
    (gpu,) = made_up.chains((0.5,), (0,))
    rows = [replace(row, environment={**row.environment, "device": "made-up GPU"}) for row in gpu.rows]
    shelf.pack([*made_up.chains((0.0, 1.0), (0,)), replace(gpu, rows=rows)], tmp_path)
    shown = summaries.how_much(shelf.read(tmp_path))
    assert "Conditions were run on different devices (cpu: 0.00, 1.00; made-up GPU: 0.50)" in shown


def test_rising_is_explained_only_where_a_ratio_rises(tmp_path):
    shelf.pack(made_up.chains((0.0, 1.0)), tmp_path)
    shown = summaries.how_much(shelf.read(tmp_path))
    assert "| 1.00 | diverging | " in shown and summaries.RISING_MEANS not in shown
    assert "| rising | " in (own := summaries.how_much(ENTRIES)) and summaries.RISING_MEANS in own
