"""What a run and a sweep end with on the command line."""

import subprocess
import sys
from pathlib import Path

import pytest
from shrunk import TINY

from bench import conclusion, sweep
from bench.analysis.plain_text import number
from bench.report.__main__ import shown
from bench.store import __main__ as store_commands


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Run a sweep of two chains as a user would, and return where and what it said."""
    where = tmp_path_factory.mktemp("sweep")
    words = [*TINY, "num_generations=2", "metrics.scores=[frechet]", "mixing.synthetic_ratio=0,1"]
    command = [sys.executable, "-m", "bench", "-m", *words]
    return where, subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=where)


def test_a_sweep_ends_with_a_table_verdicts_paths_and_the_next_command(
    ended: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    _, done = ended
    assert done.returncode == 0, done.stderr
    table = [line for line in done.stdout.splitlines() if line.startswith("|")]
    assert table[0] == "| synthetic ratio | gen 0 | gen 1 | seeds |"
    assert [line.split(" |")[0] for line in table[2:4]] == ["| 0.00", "| 1.00"]
    assert [line[:8] for line in done.stdout.splitlines() if line.startswith("- ")] == ["- **0.00", "- **1.00"]
    assert "Next:     python -m bench.report outputs/quick" in done.stderr
    assert done.stderr.count("Next:") == 1, "the chains leave it to the sweep"
    assert "e+0" not in done.stdout + done.stderr


def test_the_chains_of_a_sweep_say_which_of_how_many_they_are() -> None:
    assert sweep.num_chains(["seed=0,1,2", "mixing.synthetic_ratio=0,0.5", "num_generations=2"]) == 6
    assert sweep.num_chains(["seed=range(4)"]) == 4 and sweep.num_chains(["mixing.synthetic_ratio=[0.1,0.2]"]) == 1


def test_the_store_lists_who_uses_a_result(
    ended: tuple[Path, subprocess.CompletedProcess[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    where, _ = ended
    assert store_commands.main(["list", str(where / "outputs" / "store"), "--stage", "train"]) == 0
    lines = capsys.readouterr().out.splitlines()
    users = [line[line.index("blend") :].split("  ")[0] for line in lines]
    assert len(users) == 3
    assert sum("generation 0 ratio 0.00 and 1 more" in user for user in users) == 1
    assert sum(user.startswith("blend-r1.00-") and user.endswith(" generation 1 ratio 1.00") for user in users) == 1


def test_a_folder_without_a_table_is_no_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    conclusion.show([tmp_path], tmp_path)
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("There is no table: ")


def test_a_report_names_three_files_and_counts_the_others() -> None:
    names = ["report.html", "tables.md", "tables.csv", "samples.pdf", "samples.png", "scores.png"]
    assert shown([Path("out") / name for name in names]) == [
        "out/report.html",
        "out/tables.md",
        "out/samples.png",
        "and 3 others in out",
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [(1760.4, "1760"), (51.34, "51.3"), (0.0625, "0.0625"), (0, "0"), (-2.5e-5, "-0.000025"), (123456.7, "123457")],
)
def test_numbers_are_written_as_people_write_them(value: float, text: str) -> None:
    assert number(value) == text
