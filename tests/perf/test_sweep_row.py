"""The two ways to run a sweep produce the same chains, and differ only in their stores."""

from pathlib import Path

import pytest

from bench.perf import compare_sweep

SIZE = "num_generations=2 mixing.synthetic_ratio=0.5,1 generator.training.num_steps=2 data.num_train=16 "
SIZE += "data.num_heldout=16 metrics.num_images=16 num_samples=16"


@pytest.mark.slow  # `make perf-short` runs the row
def test_a_sweep_makes_each_result_once_and_the_chains_apart_all_of_them(tmp_path: Path):
    (_, shared), (_, apart) = (
        compare_sweep.sweep(tmp_path / "a", SIZE),
        compare_sweep.sweep(tmp_path / "b", SIZE, compare_sweep.APART),
    )
    made, all_made = compare_sweep.results(shared), compare_sweep.results(apart)
    assert all_made["train"] == 8 and all_made["real"] == 4
    assert made["train"] == 4, "generation 0 once; generation 1 at 0.5 twice, at 1.0, where all is taken, once"
    assert made["real"] == made["floor"] == 1
    assert made.keys() == all_made.keys()
    scores = compare_sweep.scores(shared)
    assert len(scores) == 4 and all(len(chain) == 2 and all(chain) for chain in scores.values())
    assert scores == compare_sweep.scores(apart)
    seconds, again = compare_sweep.sweep(shared, SIZE)
    assert seconds > 0 and compare_sweep.results(again) == made


def test_a_sweep_that_fails_is_no_row(tmp_path: Path):
    with pytest.raises(RuntimeError, match=r"(?s)exit status 2.*foo"):
        compare_sweep.sweep(tmp_path, SIZE, "foo.bar=1")
