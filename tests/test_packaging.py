"""The wheel: everything that runs ships in it, and it works in any directory."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> zipfile.ZipFile:
    source = tmp_path_factory.mktemp("source")
    for name in ("bench", "conf", "data"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "cache"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = "from setuptools import build_meta; print(build_meta.build_wheel('dist'))"
    done = subprocess.run([sys.executable, "-c", build], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return zipfile.ZipFile(source / "dist" / done.stdout.split()[-1])


def test_every_file_is_in_the_wheel_but_the_measurements_of_speed(wheel):
    shipped = set(wheel.namelist())
    assert not [name for name in shipped if name.startswith("bench/perf")]
    homes = {"bench": "bench", "conf": "bench/conf", "data": "bench/data"}
    for top, home in homes.items():
        for file in (ROOT / top).rglob("*"):
            relative = file.relative_to(ROOT / top)
            if file.is_file() and not {"__pycache__", "cache", "perf"} & set(relative.parts):
                assert f"{home}/{relative}" in shipped, relative


def test_it_runs_from_any_directory(wheel, tmp_path):
    wheel.extractall(tmp_path / "installed")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "installed")}
    where = subprocess.run(
        [sys.executable, "-c", "import bench, bench.conf, bench.data; print(bench.__file__, bench.conf.__file__)"],
        cwd=tmp_path, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert where.stdout.count(str(tmp_path / "installed")) == 2, where.stdout + where.stderr
    done = subprocess.run(
        [sys.executable, "-m", "bench", "experiment=flowers64", "--cfg", "job"],
        cwd=tmp_path, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "feature_space: inception_v3" in done.stdout
