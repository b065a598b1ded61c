"""The wheel: everything that runs ships in it, and it works in any directory."""

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

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


def bounded(requirements: list[str]) -> set[str]:
    """The names, in one spelling, of the requirements that have a lower bound."""
    parsed = [Requirement(text) for text in requirements]
    low = [one for one in parsed if any(part.operator in (">=", "==", "~=", ">") for part in one.specifier)]
    return {canonicalize_name(one.name) for one in low}


@pytest.mark.parametrize("launcher", ["hydra-ray-launcher", "hydra-submitit-launcher"])
def test_what_a_launcher_asks_for_without_a_lower_bound_has_one_here(launcher):
    """uv goes back to the first release of a package without one sooner than to an older release of another."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    ours = bounded(
        [*project["dependencies"], *(r for extra in project["optional-dependencies"].values() for r in extra)]
    )
    asked = [text for text in metadata.requires(launcher) or [] if "extra ==" not in text]
    assert asked
    names = {canonicalize_name(Requirement(text).name) for text in asked}
    assert names - bounded(asked) - ours == set()


@pytest.mark.slow
@pytest.mark.parametrize("python", ["3.11", "3.13"])
def test_uv_resolves_the_development_extra_to_releases_of_our_days(python, tmp_path):
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("uv is not installed")
    command = [uv, "pip", "compile", str(ROOT / "pyproject.toml"), "--extra", "dev", "--python-version", python]
    done = subprocess.run([*command, "--quiet", "--no-annotate", "--no-header"], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no package index answers: {done.stderr.splitlines()[-1:]}")
    resolved = dict(line.split(" ")[0].split("==") for line in done.stdout.splitlines() if "==" in line)
    least = {"boto3": "1.34", "botocore": "1.34", "six": "1.16", "ray": "2.30", "accelerate": "1.0"}
    assert {name: resolved[name] for name, low in least.items() if Version(resolved[name]) < Version(low)} == {}
