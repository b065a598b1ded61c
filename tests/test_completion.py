"""The console command, its completion in a real bash, and the commands that the help lists."""

import os
import shutil
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

from bench import usage

ROOT = Path(__file__).parent.parent
COMMAND, TARGET = next(iter(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"].items()))


@pytest.fixture
def installed(tmp_path) -> dict[str, str]:
    """Write the script that pip writes for the entry point; return the environment in which it is found."""
    module, _, function = TARGET.partition(":")
    script = tmp_path / COMMAND
    # By way of sh, as pip writes it for a folder with a space: a first line that names Python directly cannot hold one.
    start = f"#!/bin/sh\n'''exec' '{sys.executable}' \"$0\" \"$@\"\n' '''\n"
    script.write_text(f"{start}import sys\nfrom {module} import {function}\nsys.exit({function}())\n")
    script.chmod(0o755)
    return {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}


def said(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)


def test_the_console_command_is_the_module(installed):
    by_name = said([COMMAND, "--cfg", "job", "seed=7"], installed)
    assert by_name.returncode == 0 and "seed: 7" in by_name.stdout
    wrong = said([COMMAND, "seed=x"], installed)
    assert wrong.returncode == 2 and "seed='x': must be a whole number" in wrong.stderr


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
def test_bash_completes_options_values_and_keys(installed):
    lines = {
        "mixing=acc": {"mixing=accumulate", "mixing=accumulate_subsample"},
        "data=p": {"data=points", "data=procedural"},
        "generator.training.num_s": {"generator.training.num_steps="},
    }
    script = f'eval "$({COMMAND} --shell-completion install=bash)"\ncomplete -p {COMMAND}\n'
    for word in lines:
        line = f"{COMMAND} {word}"
        script += (
            f'COMP_LINE="{line}" COMP_POINT={len(line)} COMP_CWORD=1\nhydra_bash_completion\necho "${{COMPREPLY[@]}}"\n'
        )
    result = said(["bash", "-c", script], installed)
    registered, *found = result.stdout.splitlines()
    assert registered.endswith(f"-F hydra_bash_completion {COMMAND}"), result.stderr
    assert [set(words.split()) for words in found] == list(lines.values())


def test_called_as_a_module_it_installs_itself_for_the_command_and_not_for_python():
    result = said([sys.executable, "-m", "bench", "-sc", "install=bash"], {**os.environ, "PYTHONPATH": str(ROOT)})
    assert result.stdout.rstrip().endswith(f"-F hydra_bash_completion {COMMAND}")


def test_a_shell_without_completion_is_refused_with_those_that_have_it():
    result = said([sys.executable, "-m", "bench", "-sc", "install=csh"], {**os.environ, "PYTHONPATH": str(ROOT)})
    assert result.returncode == 2
    assert "error: --shell-completion: " in result.stderr and "zsh" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_help_lists_every_command():
    listed = {command.split()[2]: about for command, about in usage.commands()}
    files = [f for f in (ROOT / "bench").rglob("*.py") if 'if __name__ == "__main__":' in f.read_text()]
    names = {".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__") for file in files}
    assert listed.keys() == {name for name in names if name != "bench" and not name.startswith("bench.perf")}
    assert {"bench.score", "bench.report", "bench.store", "bench.audit"} <= listed.keys()
    assert all(find_spec(name) and len(about) > 20 for name, about in listed.items())
    page = usage.page([])
    assert all(f"python -m {name} " in page or f"python -m {name}\n" in page for name in listed)
