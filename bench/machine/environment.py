"""The software that a number was measured with: versions, code revision, command line. Every ledger row records it."""

import platform
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig

PACKAGES = (
    "diffusion-collapse-bench",
    "torch",
    "torchvision",
    "diffusers",
    "torch-fidelity",
    "torchmetrics",
    "numpy",
    "hydra-core",
)


@cache
def describe() -> dict[str, Any]:
    """Return versions and the code revision as plain JSON values. They are collected once per process."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {name: _version(name) for name in PACKAGES},
        "code_revision": code_revision(),
    }


class _FromPython:
    """State: whether a chain is run from Python, and its overrides; None: not known."""

    running = False
    overrides: Sequence[str] | None = None


@contextmanager
def run_from_python(overrides: Sequence[str] | None) -> Iterator[None]:
    """Make `command` use these overrides instead of the process's, for the body of the `with`. None: not known."""
    _FromPython.running, _FromPython.overrides = True, overrides
    try:
        yield
    finally:
        _FromPython.running = False


def command() -> str | None:
    """Return the shell command that runs this chain alone, whether it runs by itself, in a sweep or from Python; None
    if there is none, because the configuration was changed after it was composed."""
    overrides: Sequence[str] | None = _FromPython.overrides
    if not _FromPython.running:
        overrides = HydraConfig.get().overrides.task if HydraConfig.initialized() else sys.argv[1:]
    return None if overrides is None else shlex.join(["python", "-m", "bench", *overrides])


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def code_revision() -> str | None:
    """Return the git commit of the running code, with `+dirty` if tracked files differ; None outside a checkout."""
    here = Path(__file__).resolve().parent
    try:
        head = _git(here, "rev-parse", "HEAD")
        dirty = _git(here, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("+dirty" if dirty else "")


def _git(directory: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(directory), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()
