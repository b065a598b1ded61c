"""The lists of planted errors fit the code: `make mutants` runs them."""

import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "mutants"))
from run import ROOT, load

MUTANTS = load()


@pytest.mark.parametrize("room", sorted({mutant.room for mutant in MUTANTS}))
def test_planted_errors_of_a_list_fit_the_code(room, tmp_path):
    for mutant in MUTANTS:
        if mutant.room != room:
            continue
        (tmp_path / mutant.file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / mutant.file, tmp_path / mutant.file)
        mutant.apply(tmp_path)
        if mutant.file.endswith(".py"):  # others are styles and scripts of the page
            compile((tmp_path / mutant.file).read_text(), mutant.file, "exec")
        assert all((ROOT / test).exists() for test in mutant.tests), mutant


def test_an_error_that_does_not_fit_is_refused(tmp_path):
    mutant = MUTANTS[0]
    (tmp_path / mutant.file).parent.mkdir(parents=True)
    (tmp_path / mutant.file).write_text("pass\n")
    with pytest.raises(ValueError, match="occurs 0 times"):
        mutant.apply(tmp_path)
