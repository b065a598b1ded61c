"""README and docs are true: the tree, every command, every example, the generated page."""

import ast
import importlib.util
import re
import runpy
import shlex
from pathlib import Path

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

from bench import protocols
from bench.errors import ConfigError

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]
FILES = [f for top in ("bench", "conf", "data") for f in sorted((ROOT / top).rglob("*")) if "cache" not in f.parts]


def blocks(page: Path, language: str) -> list[str]:
    """The fenced code blocks of a page."""
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


def commands() -> list[str]:
    """Every line with `-m bench` or `-m bench.module` in the shell blocks of README and docs and at the head of the
    files of conf/, each once."""
    lines = [line for page in PAGES for block in blocks(page, "bash") for line in block.splitlines()]
    heads = [line for file in FILES if file.suffix == ".yaml" for line in file.read_text().splitlines()]
    lines += [line.removeprefix("# ") for line in heads if line.startswith("# python -m bench ")]
    return list(dict.fromkeys(line.split("  #")[0].strip() for line in lines if " -m bench" in line))


RUNS = [command for command in commands() if " -m bench " in f"{command} "]
TOOLS = [command for command in commands() if " -m bench." in command]


def test_the_readme_is_short():
    assert len(README.read_text().splitlines()) <= 150


def test_the_tree_names_every_room_and_module_once():
    shown = re.search(r"(?<=<!-- tree -->\n```\n).*?(?=```\n<!-- /tree -->)", README.read_text(), re.DOTALL)
    assert shown, "the README has no tree"
    first, *lines = shown.group().splitlines()
    assert first == "bench/"
    assert len(lines) <= 18
    rows = [re.fullmatch(r"( *)(\S+(?: \S+)*) {2,}(\S.*)", line) for line in lines]
    assert all(rows), "a line without names and a description"
    assert not [row for row in rows if row[3].endswith(("…", "et al", "et al."))]
    inside = [name for row in rows if row[1] for name in row[2].split()]
    others = [name for row in rows if not row[1] for name in row[2].split()]
    modules = [f.stem for f in (ROOT / "bench").glob("*.py") if f.stem != "__init__"]
    folders = [f"{f.parent.name}/" for f in (ROOT / "bench").glob("*/__init__.py")]
    assert sorted(inside) == sorted([*modules, *folders])
    assert sorted(others) == ["conf/", "data/", "docs/", "tests/"]
    assert all((ROOT / name).is_dir() for name in others)


def describes_itself(path: Path) -> bool:
    """Whether a file begins with a docstring, or has a comment that is more than a command."""
    text = path.read_text()
    if path.suffix == ".py":
        return bool(ast.get_docstring(ast.parse(text)))
    comments = [line.lstrip("# ") for line in text.splitlines() if line.startswith("#") and "@package" not in line]
    return any(line and not line.startswith(("python -m", "make run")) for line in comments)


def test_every_file_says_what_it_is():
    files = [f for f in FILES if f.suffix in (".py", ".yaml") and f.name != "__init__.py"]
    assert not [file for file in files if not describes_itself(file)]


def test_there_are_commands():
    assert len([line for block in blocks(README, "bash") for line in block.splitlines() if "-m bench" in line]) >= 5
    assert len(RUNS) >= 20 and len(TOOLS) >= 10


@pytest.mark.parametrize("command", RUNS)
def test_every_command_composes(command, tmp_path, monkeypatch):
    from shrunk import composed

    monkeypatch.chdir(tmp_path)
    words = shlex.split(command)
    overrides = [word for word in words[words.index("bench") + 1 :] if not word.startswith("hydra")]
    given = [word for word in overrides if "=" in word]
    read = OverridesParser.create().parse_overrides(given)
    swept = [one.key_or_group for one in read if one.is_sweep_override()]
    if any((ROOT / "conf" / key).is_dir() for key in swept):  # each component must have the options that are given
        protocols.compose_tree([word for word, one in zip(given, read, strict=True) if not one.is_sweep_override()])
    try:
        composed(*map(first_choice, given))
    except ConfigError as error:
        if all("needs the package" in one.allowed for one in getattr(error, "errors", (error,))):
            pytest.skip(str(error))
        raise


def first_choice(override: str) -> str:
    """`seed=0,1,2` -> `seed=0`; a list in brackets is one value."""
    key, _, value = override.partition("=")
    first = re.match(r"\[[^\]]*\]|\{[^}]*\}|[^,]*", re.sub(r"^choice\((.*)\)$", r"\1", value))
    return f"{key}={first[0] if first else ''}"


@pytest.mark.parametrize("command", TOOLS)
def test_every_tool_exists_with_the_options_shown(command):
    _, _, module, *words = shlex.split(command)
    spec = importlib.util.find_spec(module)
    assert spec
    if spec.submodule_search_locations:
        spec = importlib.util.find_spec(f"{module}.__main__")
    code = Path(spec.origin).read_text()
    assert not [word for word in words if word.startswith("--") and f'"{word}"' not in code]
    if module == "bench.store":
        assert f'"{words[0]}"' in code


def test_the_configuration_page_is_that_of_the_dataclasses():
    page = runpy.run_path(str(ROOT / "docs" / "generate.py"))["page"]()
    assert (ROOT / "docs" / "configuration.md").read_text() == page, "run: python docs/generate.py"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_what_it_links_to_exists_and_nothing_is_left_to_fill_in(page):
    text = page.read_text()
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)]+)\)", text) if not link.startswith("http")]
    assert links or page is not README
    assert all((page.parent / link).exists() for link in links)
    assert not re.findall(r"^[A-Z_]{4,}$|TODO|TBD|FIXME", text, re.MULTILINE)


def test_every_page_is_in_the_navigation_and_in_the_readme():
    navigation = (ROOT / "mkdocs.yml").read_text()
    pages = [page.relative_to(ROOT / "docs").as_posix() for page in PAGES[1:]]
    assert pages
    assert not [name for name in pages if f" {name}\n" not in navigation]
    shown = [name for name in pages if "/" not in name or name.endswith("/index.md")]
    assert not [name for name in shown if f"(docs/{name})" not in README.read_text()]


def test_wide_tables_stay_on_the_page():
    (sheet,) = re.findall(r"^extra_css: \[(.+)\]$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert "table { display: block; overflow-x: auto; }" in (ROOT / "docs" / sheet).read_text()


def test_the_pages_of_a_folder_are_in_its_index():
    for index in (ROOT / "docs").glob("*/index.md"):
        pages = [page.name for page in index.parent.glob("*.md") if page != index]
        assert not [name for name in pages if f"]({name})" not in index.read_text()]


def test_make_targets_that_are_named_exist():
    named = {target for page in PAGES for target in re.findall(r"`make ([a-z-]+)`", page.read_text())}
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert named
    assert named <= targets


@pytest.mark.slow
def test_the_examples_of_python_use_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for code in blocks(ROOT / "docs" / "python.md", "python"):
        exec(compile(code, "docs/python.md", "exec"), names)
    assert names["same_distance"] == pytest.approx(names["distance"], rel=1e-6)
    assert set(names["fids"]) == {(0, 0), (0, 1), (0, 2)}
    assert names["fids"][0, 2] == pytest.approx(names["distance"], rel=1e-6)
    assert names["report"].page.resolve() == tmp_path / "outputs" / "small" / "report" / "report.html"
    assert names["report"].page.exists() and names["image"].size == (16, 16)
    assert names["table"].index.tolist() == [0.0, 0.5] and names["table"].columns.tolist() == [0, 1, 2]
    assert set(names["scores"]) == {"fid", "precision"}
    assert "FID" in capsys.readouterr().out


def test_citation_file_is_yaml_with_what_the_format_requires():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert citation["version"] in (ROOT / "pyproject.toml").read_text()
    assert citation["version"] in (ROOT / "CHANGELOG.md").read_text()
