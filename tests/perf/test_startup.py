"""Help and mistakes are answered before anything heavy is imported: which modules, not how many seconds."""

import json
import subprocess
import sys

import pytest

from bench import usage
from bench.perf import compare_startup
from bench.perf.pairs import table

HEAVY = {"torch", "diffusers", "torchvision", "torchmetrics", "torch_fidelity", "wandb", "matplotlib", "scipy"}


def run(*arguments: str) -> tuple[subprocess.CompletedProcess[str], set[str]]:
    """Run a command as a user would, and return it with the names of all packages that it imported."""
    command = [sys.executable, "-X", "importtime", "-m", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return done, compare_startup.imported(done.stderr)


def test_help_imports_nothing_heavy_and_shows_groups_and_config():
    done, modules = run("bench", "--help", "mixing.synthetic_ratio=0.25")
    assert done.returncode == 0 and "hydra" in modules
    assert not modules & HEAVY
    assert "\nmixing: accumulate, " in done.stdout and "\nhydra/launcher: processes, " in done.stdout
    assert "  synthetic_ratio: 0.25\n" in done.stdout


def test_help_for_an_override_that_does_not_exist_names_it():
    done, modules = run("bench", "--help", "foo.bar=1")
    assert done.returncode == 2 and "foo.bar=1: there is no such option" in done.stderr
    assert "Traceback" not in done.stderr
    assert not modules & HEAVY


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["foo.bar=1"], 2, "error: foo.bar=1: there is no such option"),
        (["seed=inf"], 2, "error: seed=inf: must be a whole number and must be at least 0\n"),
        (["-m", "seed=0,nan"], 2, "error: seed=nan: must be a whole number and must be at least 0\n"),
        (["generator.training.batch_size=-1"], 2, "generator.training.batch_size=-1: must be at least 1"),
        (["protocol=collapse_v1_flowers", "generator.training.batch_size=3"], 2, "generator.training.batch_size=3"),
        (["-m", "generator.training.batch_size=8,-1"], 2, "generator.training.batch_size=-1: must be at least 1"),
    ],
)
def test_a_mistake_imports_nothing_heavy(arguments: list[str], status: int, message: str):
    done, modules = run("bench", *arguments)
    assert done.returncode == status and message in done.stderr
    assert "hydra" in modules and not modules & HEAVY


@pytest.mark.parametrize("command", ["report", "score", "store", "audit", "tracking.replay", "tracking.dashboard"])
def test_the_other_commands_help_imports_nothing_heavy(command: str):
    done, modules = run(f"bench.{command}", "--help")
    assert done.returncode == 0 and f"bench.{command}" in done.stdout
    assert "argparse" in modules and not modules & HEAVY


def test_hydra_answers_help_with_other_flags():
    assert usage.requested(["--help"]) and usage.requested(["seed=1", "-h"])
    assert not usage.requested(["--help", "--resolve"]) and not usage.requested(["seed=1"]) and not usage.requested([])


def test_every_command_is_compared_with_its_limit():
    rows = list(compare_startup.rows(num_runs=1))
    assert [row.row for row in rows] == list(compare_startup.COMMANDS)
    for row in rows:
        assert row.theirs == [compare_startup.LIMIT] and row.flaw is None
        assert row.reached is (0 < row.ours[0] <= compare_startup.LIMIT)


def test_a_start_that_imports_torch_has_missed_however_fast(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(compare_startup, "COMMANDS", {"python -c pass": 0})
    monkeypatch.setattr(compare_startup, "imported", lambda importtime: {"torch"})
    (row,) = compare_startup.rows(num_runs=1)
    assert row.reached is False and row.ratio.median > row.target
    assert "MISSED: imports torch" in table([row])[2]
    assert json.loads(json.dumps(row.as_json(), allow_nan=False))["flaw"] == "imports torch"
