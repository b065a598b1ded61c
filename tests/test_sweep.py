"""What a sweep knows of its chains before the first one runs: their configurations, and whether all are finished."""

import itertools
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from shrunk import TINY, composed

from bench import finished, ledger
from bench.config import Config, from_hydra
from bench.console import Console
from bench.errors import ConfigError
from bench.loop import run_chain
from bench.sweep import Combinations, check_values, with_value

COMMON = [*TINY, "num_generations=2", "metrics.scores=[frechet]"]

SWEEPS = [
    ["seed=range(3)"],
    ["mixing=blend,window", "mixing.synthetic_ratio=0,0.25,[0.1,0.2,0.3]", "num_generations=4"],
    ["experiment=quick,none", "name=a", "generator.unet.channels=[32,64],[16,32]"],
    ["+mixing.parameters.x=1,2", "mixing=custom", "mixing.function='a:b','c:d'"],
    ["seed=1", "protocol=none,collapse_v1_flowers", "metrics.scores=[frechet],[kernel,frechet]"],
    ["num_samples=null,${metrics.num_images}", "metrics.k=choice(2,3)"],
]


@pytest.mark.parametrize("overrides", SWEEPS, ids=lambda overrides: overrides[0])
def test_combinations_are_what_hydra_composes(overrides: list[str]) -> None:
    combinations = Combinations(overrides)
    lines = list(itertools.product(*combinations.choices))
    assert len(lines) > 1
    for line, tree in zip(lines, combinations.all(), strict=True):
        assert from_hydra(tree) == composed(*line), line


def test_each_value_once_is_as_many_as_there_are_values():
    combinations = Combinations(["seed=0,1,2", "mixing=blend,window", "num_generations=2,3"])
    seen = [from_hydra(tree) for tree in combinations.each_value_once()]
    assert len(seen) == 1 + 2 + 1 + 1
    assert [c.seed for c in seen] == [0, 1, 2, 0, 0]
    assert [c.mixing.policy for c in seen].count("window") == 1


def test_plain_values_are_told_from_the_rest():
    tree = Combinations(["seed=0"])._tree(["seed=0"])
    assert from_hydra(with_value(tree, "seed=5")).seed == 5
    assert tree.seed == 0
    for other in ("mixing=replace", "seed=text", "+seed=1", "nothing=1", "~seed", "data={kind: birds}"):
        assert with_value(tree, other) is None, other


def test_wrong_values_are_all_named():
    errors = check_values(Combinations(["mixing.synthetic_ratio=0.5,7,8", "seed=0,-1"]))
    assert {(e.key, e.value) for e in errors if isinstance(e, ConfigError)} == {
        ("mixing.synthetic_ratio", 7.0),
        ("mixing.synthetic_ratio", 8.0),
        ("seed", -1),
    }


@pytest.fixture(scope="module")
def over(tmp_path_factory: pytest.TempPathFactory) -> list[Config]:
    """Two chains that have run to their end."""
    out = tmp_path_factory.mktemp("over")
    configs = [composed(*COMMON, f"output_dir={out}/outputs", f"mixing.synthetic_ratio={ratio}") for ratio in (0, 1)]
    for config in configs:
        run_chain(config, Console(quiet=True))
    return configs


def test_a_finished_sweep_is_read_and_says_so(over: list[Config], capfd: pytest.CaptureFixture[str]):
    before = snapshot(over[0])
    assert finished.all_read(over)
    lines = capfd.readouterr().err.splitlines()
    assert [line.split(" · ")[1].split(":")[0] for line in lines] == ["generation 0", "generation 1"] * 2
    assert all(line.endswith("from the store") for line in lines)
    assert snapshot(over[0]) == before


def test_what_is_not_finished_is_left_to_the_runs(over: list[Config], capfd: pytest.CaptureFixture[str]):
    def altered(*more: str) -> Config:
        return composed(*COMMON, f"output_dir={over[0].output_dir}", "mixing.synthetic_ratio=1", *more)

    assert finished.all_read([over[0], altered()])
    assert capfd.readouterr().err
    for more in ("num_generations=3", "seed=1", "name=other", "tracking=wandb", f"store_dir={over[0].output_dir}/new"):
        before = snapshot(over[0])
        assert not finished.all_read([over[0], altered(more)]), more
        assert capfd.readouterr().err == "" and snapshot(over[0]) == before, more


def test_a_lost_result_is_noticed_and_made_again(over: list[Config], tmp_path: Path):
    row = ledger.read(ledger_of(over[0]))[1]
    lost = Path(row.store_dir) / row.artifacts["score"]
    shutil.move(lost, tmp_path / "lost")
    assert not finished.all_read(over)
    run_chain(over[0], Console(quiet=True))
    assert lost.exists() and finished.all_read(over)


def test_another_result_than_the_ledgers_is_left_to_the_run(over: list[Config], monkeypatch: pytest.MonkeyPatch):
    """As after an update of the code: the store may have the new result, from another chain, and the ledger the old."""
    rows = ledger.read(ledger_of(over[0]))
    rows[1].artifacts["train"] = rows[0].artifacts["train"]
    monkeypatch.setattr(finished, "recorded", lambda config: rows)
    before = snapshot(over[0])
    assert not finished.all_read([over[0]])
    assert snapshot(over[0]) == before


def test_the_command_again_launches_nothing(over: list[Config]):
    command = [sys.executable, "-m", "bench", "-m", *COMMON, f"output_dir={over[0].output_dir}"]
    again = subprocess.run([*command, "mixing.synthetic_ratio=0,1"], capture_output=True, text=True, timeout=300)
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("from the store") == 4
    launched = Path(over[0].output_dir) / over[0].name / ".hydra" / "multirun.yaml"  # Hydra's sweeper leaves it behind
    assert not launched.exists()
    longer = subprocess.run(
        [*command, "mixing.synthetic_ratio=0", "num_generations=3"], capture_output=True, text=True, timeout=300
    )
    assert longer.returncode == 0 and launched.exists(), longer.stderr
    assert longer.stderr.count("from the store") == 2


def ledger_of(config: Config) -> Path:
    return Path(config.output_dir) / config.name / finished.chain_id(config) / ledger.FILENAME


def snapshot(config: Config) -> dict[str, bytes]:
    """Every file that the chains have written, the store's lock and scratch folders included."""
    out = Path(config.output_dir)
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}
