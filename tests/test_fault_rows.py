"""The quick rows of the fault tester; `make faults` runs all of them, many times."""

from pathlib import Path

import pytest
from faults.shared import generator_of
from faults.table import ROWS, Row


@pytest.mark.parametrize("row", [row for row in ROWS if row.quick], ids=lambda row: row.cause.__name__)
def test_nothing_is_lost(tmp_path: Path, row: Row) -> None:
    tally = row.cause(tmp_path / "place", row.quick, generator_of(row.name))
    assert tally.tried == row.quick and not tally.troubles


def test_every_row_is_described() -> None:
    assert all(row.cause.__doc__ and row.short <= row.full for row in ROWS)
    assert len({row.name for row in ROWS}) == len(ROWS)
