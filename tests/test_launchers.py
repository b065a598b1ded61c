"""A sweep through each of Hydra's launchers on this machine ends with the ledger of the basic one."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from bench import ledger

pytestmark = pytest.mark.slow  # each starts several processes that import torch

SWEEP = ["num_generations=2", "mixing=blend", "mixing.synthetic_ratio=0.5,1"]


def sweep(overrides: list[str], out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    kept = [override for override in overrides if not override.startswith("output_dir=")]
    command = [sys.executable, "-m", "bench", "-m", *kept, f"output_dir={out}", *SWEEP, *more]
    return subprocess.run(command, capture_output=True, text=True, timeout=500)


def ledgers(out: Path) -> dict[str, list[dict[str, Any]]]:
    """Return everything in the rows but times and paths."""
    return {
        chain.id: [
            {
                "scores": row.scores,
                "composition": row.composition,
                "artifacts": row.artifacts,
                "losses": [row.train["mean_loss"], row.train["final_loss"]],
            }
            for row in chain.rows
        ]
        for chain in ledger.read_runs([next(path for path in out.iterdir() if path.name != "store")])
    }


@pytest.fixture(scope="module")
def basic(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A cache, filled by the first test that uses it."""
    return {}


def expected(basic: dict[str, Any], overrides: list[str], out: Path) -> dict[str, list[dict[str, Any]]]:
    if not basic:
        ended = sweep(overrides, out)
        assert ended.returncode == 0, ended.stderr
        basic.update(ledgers(out))
    return basic


LAUNCHERS = [
    pytest.param("processes", "bench.launcher", [], id="processes"),
    pytest.param("slurm_local", "hydra_plugins.hydra_submitit_launcher", [], id="submitit"),
    pytest.param(
        "ray_cluster",
        "hydra_plugins.hydra_ray_launcher",
        ["hydra.launcher.ray.init.num_cpus=2"],
        id="ray",
    ),
]


def installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


@pytest.mark.parametrize(("launcher", "module", "more"), LAUNCHERS)
def test_sweep_through_a_launcher_ends_in_the_same_ledger(
    tiny: list[str], basic: dict[str, Any], tmp_path: Path, launcher: str, module: str, more: list[str]
) -> None:
    if not installed(module):
        pytest.skip(f"{module} is an optional extra and is not installed")
    ended = sweep(tiny, tmp_path / "there", f"hydra/launcher={launcher}", *more)
    assert ended.returncode == 0, ended.stderr
    assert ledgers(tmp_path / "there") == expected(basic, tiny, tmp_path / "here")
    assert len(list((tmp_path / "there" / "store").glob("train/*/*"))) == 3, "generation 0 is shared"


@pytest.mark.parametrize(("launcher", "module", "more"), LAUNCHERS)
def test_failed_chain_of_a_launcher_is_named_and_the_others_run(
    tiny: list[str], tmp_path: Path, launcher: str, module: str, more: list[str]
) -> None:
    if not installed(module):
        pytest.skip(f"{module} is an optional extra and is not installed")
    bad = "generator.training.learning_rate=0.001,1e25"
    flags = [
        f"hydra/launcher={launcher}",
        "generator.training.gradient_clip=1e30",
        bad,
        "mixing.synthetic_ratio=1",
        *more,
    ]
    ended = sweep([*tiny, "generator.training.num_steps=20"], tmp_path, *flags)
    assert ended.returncode == 1, ended.stderr
    assert "1 chain(s) of this sweep failed" in ended.stderr
    assert "learning_rate=1e+25" in ended.stderr and "TrainingError: the loss became" in ended.stderr
    assert len(ledgers(tmp_path)) == 1
