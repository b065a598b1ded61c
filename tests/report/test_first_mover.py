"""The table of the first mover's advantage: what it compares, in which pairs, and what it leaves out."""

from pathlib import Path
from typing import Any

import configs as c
import numpy as np
import pytest
from echo import Echo, Lines, small

from bench import audit, loop
from bench.analysis.results_card import card
from bench.analysis.study import Study, studies
from bench.config import JoinConfig
from bench.ledger import read_runs
from bench.report.build import write
from bench.report.first_mover_statement import advantages, first_mover
from bench.report.vetting_statement import vetting
from bench.vetting.oracle import Config as OracleConfig
from bench.watermarks.pixel_pattern import Config as PatternConfig
from bench.witness import statements


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """First movers of seeds 0 to 2, marked ones, newcomers of seeds 1 to 3, and vetted ones."""
    Echo(monkeypatch)

    def run(seed: int, **changes: Any) -> None:
        loop.run_chain(small(tmp_path, **{"seed": seed, "name": "first", "num_generations": 3, **changes}), Lines())

    for seed in (0, 1, 2):
        run(seed)
        run(seed, name="marked", watermark=c.checked(PatternConfig(strength=60)))
    chain = str(next((tmp_path / "first").glob("*seed1*")))
    for seed in (1, 2, 3):
        for generation in (0, 1):
            late = {"name": "late", "num_generations": 1}
            run(seed, join=JoinConfig(chain=chain, generation=generation, ratio=0.5), **late)
        run(seed, join=JoinConfig(chain=chain, generation=1, ratio=0.5), vetting=OracleConfig(), **late)
    (found,) = studies(read_runs([tmp_path / name for name in ("first", "marked", "late")]))
    return found


def test_newcomers_are_paired_with_the_unmarked_first_mover_of_their_seed(study):
    plain = next(condition for condition in study.conditions if condition.is_plain)
    assert plain.label == "0.40" and plain.joined == {}
    found = {(one.condition.label, one.measure.metric): one for one in advantages(study)}
    label = "0.40 + joined after generation {} (ratio 0.5)"
    assert {name for name, _ in found} == {
        label.format(0),
        label.format(1),
        "0.40 + vetting oracle + joined after generation 1 (ratio 0.5)",
    }
    one = found[label.format(1), "fid"]
    late, first = (study.values(condition, 0, one.measure) for condition in (one.condition, plain))
    assert late.keys() == {1, 2, 3} and one.difference.n == 2
    assert one.difference.mean == pytest.approx(np.mean([late[seed] - first[seed] for seed in (1, 2)]))
    assert (one.first_mover, one.newcomer) == pytest.approx(
        tuple(np.mean([values[1], values[2]]) for values in (first, late))
    )


def test_the_table_is_on_the_page_and_the_card_is_that_of_the_witness(study, tmp_path):
    (statement,) = first_mover(study)
    assert [row[1:3] for row in statement.rows if row[3] == "FID"] == [
        [f"generation {generation}", "50 %"] for generation in (0, 1, 1)
    ]
    assert all(record["num_seeds"] == 2 and record["low_95"] is not None for record in statement.records)
    write([tmp_path / name for name in ("first", "late")], tmp_path / "report")
    assert "First mover’s advantage" in (tmp_path / "report" / "report.html").read_text()
    chains = [chain for by_seed in study.chains.values() for chain in by_seed.values()]
    assert list(statements.examine(card(study), chains)) == []
    assert audit.main([str(tmp_path / "late")]) == 0


def test_vetting_of_a_newcomer_s_generation_0_is_stated(study):
    (statement,) = vetting(study)
    assert [row[1:4] for row in statement.rows] == [["0", "0.500", "0.000"]]


def test_without_newcomers_there_is_nothing_to_state(tmp_path, monkeypatch):
    Echo(monkeypatch)
    loop.run_chain(small(tmp_path, num_generations=1), Lines())
    (alone,) = studies(read_runs([tmp_path / "echo"]))
    assert list(first_mover(alone)) == []
