"""The README is true: its tree, its commands, its example. `python tests/test_readme.py` writes the tree anew."""

import ast
import re
import shlex
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
TREE = re.compile(r"(?<=<!-- tree -->\n```\n).*?(?=```\n<!-- /tree -->)", re.DOTALL)


def first_line(path: Path) -> str:
    """What a file says of itself: its docstring's or its first comment's first sentence."""
    text = path.read_text()
    if path.suffix == ".py":
        said = (ast.get_docstring(ast.parse(text)) or "").split("\n\n")[0]
    else:
        comments = [line.lstrip("# ") for line in text.splitlines() if line.startswith("#") and "@package" not in line]
        said = next((line for line in comments if line and not line.startswith(("python -m", "make run"))), "")
    sentence = re.split(r"(?<=[.:;])\s", " ".join(said.split()))[0].rstrip(".:;")
    return sentence if len(sentence) <= 100 else sentence[:99].rsplit(" ", 1)[0] + " …"


def tree() -> str:
    """Every file of the package, the configuration and the manifests, with one line each."""
    lines = []
    for top in ("bench", "conf", "data"):
        files = [f for f in sorted((ROOT / top).rglob("*")) if f.suffix in (".py", ".yaml") and "cache" not in f.parts]
        folder = None
        for file in sorted(files, key=lambda f: (f.parent != ROOT / top, f.parent, f.name != "__init__.py", f.name)):
            if file.parent != folder:
                folder = file.parent
                about = first_line(folder / "__init__.py") if (folder / "__init__.py").exists() else ""
                lines.append(f"{str(folder.relative_to(ROOT)) + '/':<38}{about}".rstrip())
            if file.name != "__init__.py":
                lines.append(f"  {file.name:<36}{first_line(file)}".rstrip())
    return "\n".join(lines) + "\n"


def commands() -> list[str]:
    """Every `python -m bench …` line of the README's shell blocks."""
    found = []
    for block in re.findall(r"```(?:bash|sh)\n(.*?)```", README.read_text(), re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            line = line.split("  #")[0].strip()
            if line.startswith("python -m bench "):
                found.append(line)
    return found


def test_the_tree_is_the_tree():
    shown = TREE.search(README.read_text())
    assert shown, "the README has no tree"
    assert shown.group() == tree(), "run: python tests/test_readme.py"


def test_every_file_says_what_it_is():
    silent = [line for line in tree().splitlines() if line.startswith("  ") and len(line.split()) < 2]
    assert not silent


def test_there_are_commands():
    assert len(commands()) >= 5


@pytest.mark.parametrize("command", commands())
def test_every_command_composes(command, tmp_path, monkeypatch):
    from shrunk import composed

    monkeypatch.chdir(tmp_path)
    overrides = [word for word in shlex.split(command)[3:] if word != "-m" and not word.startswith("hydra/launcher")]
    composed(*(first_choice(word) for word in overrides if "=" in word))


def first_choice(override: str) -> str:
    """`seed=0,1,2` -> `seed=0`; a list in brackets is one value."""
    key, _, value = override.partition("=")
    return f"{key}={value}" if value.startswith(("[", "{")) else f"{key}={value.split(',')[0]}"


def test_what_it_links_to_exists_and_nothing_is_left_to_fill_in():
    text = README.read_text()
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if not link.startswith("http")]
    assert links
    assert all((ROOT / link).exists() for link in links)
    assert not re.findall(r"^[A-Z_]{4,}$|TODO|TBD|FIXME", text, re.MULTILINE)


def test_make_targets_named_in_the_readme_exist():
    named = set(re.findall(r"`make ([a-z-]+)`", README.read_text()))
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert named
    assert named <= targets


def test_the_policy_of_ones_own_runs(tiny, tmp_path, monkeypatch):
    from shrunk import composed

    from bench import ledger
    from bench.console import Console
    from bench.loop import run_chain

    code = re.search(r"```python\n# my_policies\.py\n(.*?)```", README.read_text(), re.DOTALL)
    assert code
    assert len(code.group(1).splitlines()) <= 15
    (tmp_path / "my_policies.py").write_text(code.group(1))
    monkeypatch.syspath_prepend(tmp_path)
    command = next(c for c in commands() if "my_policies" in c)
    own = [word for word in shlex.split(command)[3:] if word.lstrip("+").startswith("mixing")]
    directory = run_chain(composed(*tiny, *own, "num_generations=3"), Console())
    assert len(ledger.read(directory / "ledger.jsonl")) == 3


def test_citation_file_is_yaml_with_what_the_format_requires():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert citation["version"] in (ROOT / "pyproject.toml").read_text()
    assert citation["version"] in (ROOT / "CHANGELOG.md").read_text()


if __name__ == "__main__":
    README.write_text(TREE.sub(lambda _: tree(), README.read_text()))
    sys.exit(0)
