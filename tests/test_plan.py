"""`python -m bench plan`: what is said to be done is what a run then does."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from shrunk import composed
from test_ledger import make_row

from bench import ledger, plan
from bench.errors import DataError
from bench.loop import run_chain
from bench.machine.console import Console

SMALL = ["experiment=tiny", "generator.training.num_steps=2", "metrics.scores=[frechet]", "runtime.device=cpu"]


def trainings(out: Path) -> set[str]:
    return {f"train/{path.name}" for path in (out / "store" / "train").glob("*/*")}


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run one chain of the tiny experiment, and return its output_dir."""
    out = tmp_path_factory.mktemp("plan") / "outputs"
    run_chain(composed(*SMALL, f"output_dir={out}", "mixing.synthetic_ratio=0"), Console(quiet=True))
    return out


def test_a_plan_names_the_trainings_that_a_run_makes(out: Path) -> None:
    overrides = [*SMALL, f"output_dir={out}", "mixing.synthetic_ratio=0,1", "num_generations=3"]
    before = trainings(out)
    configs = [composed(*line) for line in plan.chains_of(overrides)]
    found = plan.plan(configs)
    assert len(before) == 2 and len(found.chains) == 2 and len(found.trainings) == 5, "generation 0 is shared"
    assert set(found.trainings) - set(found.to_do(list(found.trainings))) == before
    assert trainings(out) == before, "a plan makes nothing"
    shown = plan.lines(found)
    assert shown[1].startswith("trainings   5 different, 2 in ") and shown[1].endswith(", 3 to do")
    assert "one chain at a time: trainings at the speed of 2 in" in shown[4]
    for config in configs:
        run_chain(config, Console(quiet=True))
    after = plan.plan(configs)
    assert set(after.trainings) == trainings(out) and after.to_do(list(after.trainings)) == []
    assert plan.lines(after)[4] == "time        none: everything is in the store"


def test_the_time_counts_what_is_to_do_at_the_speed_of_what_was_done(out: Path) -> None:
    base = [*SMALL, f"output_dir={out}", "seed=7"]
    short, long = (plan.plan([composed(*base, f"generator.training.num_steps={steps}")]) for steps in (1000, 1000_000))
    network = plan._network(next(iter(short.specs[key] for key in short.trainings)))
    rate = plan.speeds(short)[0][network]
    assert rate > 0 and [sum(p.trainings.values()) for p in (short, long)] == [2 * 8 * 1000, 2 * 8 * 1000_000]
    hours = float(plan.lines(long)[3].removeprefix("time").split()[0])
    assert hours == pytest.approx(2 * 8 * 1000_000 / rate / 3600, rel=0.2)
    other = plan.plan([composed(*base, "generator.unet.channels=[24,48]")])
    assert "unknown: the store has no training of this network" in plan.lines(other)[3]


def test_scoring_is_what_is_left_of_a_generation(tmp_path: Path) -> None:
    for number, remedy in enumerate(({}, {"seconds": 3.0}, {"seconds": 3.0})):
        seconds = {"wall_seconds": 10.0, "train": {"seconds": 4.0}, "remedy": remedy, "sample": {"seconds": 2.0}}
        ledger.append(tmp_path / "sweep" / f"chain-{number}" / "ledger.jsonl", replace(make_row(0), **seconds))
    assert plan.scoring_seconds(tmp_path / "store") == 1.0
    assert plan.scoring_seconds(tmp_path / "elsewhere" / "store") == 0.0


def test_every_combination_of_a_sweep_is_a_chain() -> None:
    lines = list(plan.chains_of(["seed=0,1,2", "mixing=blend,replace", "metrics.k=3"]))
    assert len(lines) == 6 and ["seed=2", "mixing=replace", "metrics.k=3"] in lines


def test_how_many_items_there_are_is_not_guessed(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", images=np.zeros((150, 8, 8, 3), np.uint8))
    data = ["data=npz", f"data.path={tmp_path}/x.npz", f"output_dir={tmp_path}"]
    assert len(plan.plan([composed(*SMALL, *data)]).trainings) == 2
    with pytest.raises(DataError, match="num_train=null"):
        plan.plan([composed(*SMALL, *data, "data.num_train=null")])


def test_the_command_tells_mistakes_like_a_run(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench", "plan", "-m", "experiment=tiny", "num_generation=2", "seed=0,1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.startswith("error: num_generation=2: there is no such option")
    assert not list(tmp_path.iterdir())
