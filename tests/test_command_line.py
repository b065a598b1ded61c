"""What a person sees who types something wrong, or asks what this is."""

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from shrunk import composed


def bench(where: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=where)


def test_the_version_is_that_of_this_package(tmp_path: Path) -> None:
    done = bench(tmp_path, "--version")
    version = metadata.version("diffusion-collapse-bench")
    assert (done.returncode, done.stdout) == (0, f"diffusion-collapse-bench {version}\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["num_generation=1", "sed=3"],
            ["num_generation=1: there is no such option", "sed=3: there is no such option"],
        ),
        (
            ["generator.name=mygen", "seed=-1"],
            ["generator.name='mygen': is 'ddpm' here", "seed=-1: must be at least 0"],
        ),
        (
            ["hydra/launcher=slurm", "hydra.launcher.partition=gpu", "seed=0"],
            ["python -m bench -m hydra/launcher=slurm hydra.launcher.partition=gpu seed=0"],
        ),
        (
            ["-m", "seed=0,-1", "num_generation=1", "metrics.k=x"],
            ["num_generation=1: there is no such option", "metrics.k='x'"],
        ),
        (["data=folder", "data.path=nowhere", "generator=gaussian"], ["generator.name='gaussian': learns points"]),
    ],
    ids=["unknown keys", "wrong values", "a launcher without a sweep", "a sweep", "a mismatch"],
)
def test_mistakes_end_with_status_2_and_leave_nothing_behind(tmp_path: Path, words: list[str], said: list[str]) -> None:
    done = bench(tmp_path, *words)
    assert done.returncode == 2 and all(sentence in done.stderr for sentence in said), done.stderr
    assert "Traceback" not in done.stderr and "_schema" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_run_that_fails_before_its_first_result_leaves_no_empty_folder(tmp_path: Path) -> None:
    done = bench(tmp_path, "data=folder", "data.path=nowhere", "output_dir=out", "store_dir=store")
    assert done.returncode == 2 and "there is no such folder" in done.stderr, done.stderr
    assert not (tmp_path / "out").exists()
    sets = "experiment=quick, the default, sets num_generations=9 num_samples=1024 warm_start=True retrain_epochs=4.0"
    assert f"{sets} data.resolution=16" in done.stderr and "for data=folder generator=ddpm_quick too" in done.stderr


def test_the_quick_experiment_on_other_data_is_filed_under_their_name() -> None:
    assert composed("data=folder", "data.path=x").name == "folder"
    assert composed("data=folder", "data.path=x", "name=mine").name == "mine"
    assert composed().name == composed("seed=3").name == "quick"
