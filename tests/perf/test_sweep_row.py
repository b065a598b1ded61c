"""The measurement of a sweep counts what it says it counts."""

import time
from pathlib import Path

import pytest

from bench.perf import sweep
from bench.perf.sweep import Run, Size, Stage, TimedStore


def test_own_seconds_are_those_outside_inner_stages(tmp_path: Path):
    store = TimedStore(tmp_path)

    def inner(out: Path, work: Path) -> dict[str, int]:
        time.sleep(0.3)
        return {}

    def outer(out: Path, work: Path) -> dict[str, int]:
        store.make("inner", {"a": 1}, inner)
        store.make("inner", {"a": 1}, inner)
        time.sleep(0.05)
        return {}

    started = time.perf_counter()
    store.make("outer", {}, outer)
    whole = time.perf_counter() - started
    kinds = [(stage.key.split("/")[0], stage.reused) for stage in store.stages]
    assert kinds == [("inner", False), ("inner", True), ("outer", False)]
    first, found, last = (stage.seconds for stage in store.stages)
    assert first >= 0.3 and last >= 0.05 and found < first
    assert last <= whole - 0.3
    assert first + found + last == pytest.approx(whole, abs=0.02)


def test_the_share_is_the_seconds_of_results_that_an_earlier_chain_made():
    run = Run(
        seconds=[3.5, 4.0],
        stages=[
            [Stage("train/a", 2.0, False), Stage("train/a", 0.5, True), Stage("score/a", 1.0, False)],
            [Stage("train/a", 1.5, False), Stage("score/b", 1.0, False), Stage("score/b", 0.0, True)],
        ],
    )
    assert run.share == pytest.approx(1.5 / 6.0)
    assert run.made() == {"score": 2, "train": 2}
    assert run.facts()["seconds in stages that were found"] == 0.5
    assert run.facts()["seconds outside stages"] == pytest.approx(1.5)


def test_a_sweep_makes_each_result_once_and_the_chains_apart_all_of_them(tmp_path: Path):
    size = Size((0.5, 1.0), num_generations=2, num_images=16, num_steps=2, num_repeats=1, num_again=1, allowance=0.1)
    sweep.register_schemas()
    assert len(size.chains()) == 4
    shared, apart = sweep.both_ways(size, tmp_path, first=0)
    assert apart.made()["train"] == 8 and apart.made()["real"] == 4
    assert shared.made()["train"] == 4, "generation 0 once; generation 1 at 0.5 twice, at 1.0, where all is taken, once"
    assert shared.made()["real"] == shared.made()["floor"] == 1
    keys = [stage.key for chain in shared.stages for stage in chain if not stage.reused]
    assert len(keys) == len(set(keys))
    assert {stage.key for chain in apart.stages for stage in chain} == set(keys)
    assert shared.share == 0 and 0.3 < apart.share < 0.9
    assert sweep.run_again(size, tmp_path / "shared") > 0
