"""The leaderboard is made from files of results alone: pages in the repository are those that the files give."""

import re
import runpy
from dataclasses import replace
from pathlib import Path

import made_up
import matplotlib
import pytest

from bench.analysis.study import studies
from bench.results import pages, shelf

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "docs" / "results"


def texts(folder: Path) -> dict[str, str]:
    """Relative path -> text of every file that is made from results alone; pictures of samples are not."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".png")
    return {path.relative_to(folder).as_posix(): path.read_text() for path in files}


def version_of(figure: str) -> str:
    """The version of Matplotlib that an SVG file says it was drawn with."""
    return re.search(r"Matplotlib v([\d.]+)", figure)[1]


def words_of(figure: str) -> list[str]:
    return sorted(re.findall(r"<text[^>]*>([^<]*)</text>", figure))


def test_the_published_pages_are_those_of_the_shipped_files(tmp_path):
    written = pages.write(shelf.read(shelf.shipped()), tmp_path, PUBLISHED / "samples")
    made, known = texts(tmp_path), texts(PUBLISHED)
    assert sorted(made) == sorted(known), "run: python docs/generate.py"
    for name, text in made.items():
        if name.endswith(".svg") and version_of(known[name]) != matplotlib.__version__:
            assert words_of(text) == words_of(known[name])  # another version draws the same with other digits
        else:
            assert text == known[name], f"{name} differs: run python docs/generate.py"
    shown = {name for text in made.values() for name in re.findall(r"\(samples/([^)]+)\)", text)}
    assert shown == {path.name for path in (PUBLISHED / "samples").iterdir()}, "a picture that no page shows"
    generate = runpy.run_path(str(ROOT / "docs" / "generate.py"))
    assert generate["navigation"](written) == (ROOT / "mkdocs.yml").read_text()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Pages of a protocol of seven arms, with a claim, and of a sweep of another family."""
    folder, out = tmp_path_factory.mktemp("files"), tmp_path_factory.mktemp("pages")
    shelf.pack(made_up.chains((0.0, 0.25, 0.5, 1.0), num_generations=10), folder)
    shelf.pack(made_up.chains((0.5,), noise=1), folder, "jane-doe")
    shelf.pack(made_up.family("vae"), folder)
    (out / "figures").mkdir()
    (out / "old.md").write_text("of a study that is gone")
    pages.write(shelf.read(folder), out)
    return out


def test_a_page_has_verdicts_tables_statements_and_the_command(made):
    page = (made / "collapse_mini_v1-1.md").read_text()
    assert page.startswith("# collapse_mini_v1 version 1\n")
    arms = "mixing.synthetic_ratio=0,0.25,0.5,1 seed=0,1,2"
    assert f"python -m bench -m protocol=collapse_mini_v1 {arms} runtime.num_threads=2\n" in page
    assert re.search(r"\| 1\.00 \| diverging \| \+\d+ % \(\+\d+ to \+\d+\) \| ratio 0 \|", page)
    assert re.search(r"The rise of FID passes 10 % from a synthetic ratio of 0\.\d\d on \(95 % interval", page)
    assert "**FID ↓** · efficientnet_lite0 · against heldout · N = 1024" in page
    assert re.search(r"\| 0\.50 \| \d+ ± \d+ \|", page)
    assert "**Collapse profile**" in page and "Exchange rate in FID" in page
    assert "fingerprint `653b6668d47f0c49" in page
    published = Path(__file__).parents[2] / "docs" / "results" / "collapse_mini_v1-1.md"
    assert pages.REAL_ONLY not in page and pages.REAL_ONLY in published.read_text()
    assert page.count("[run it again](#run-it-again)*") == len(
        re.findall(r"^## (?!Run|Claimed|Other|Not computed)", page, re.MULTILINE)
    )
    pictures = re.findall(r"!\[[^]]*\]\(([^)]+)\)", page)
    assert len(pictures) >= 3 and all((made / name).exists() for name in pictures)


def test_claimed_numbers_are_apart(made):
    page = (made / "collapse_mini_v1-1.md").read_text()
    table = page.split("## Claimed results")[1]
    assert re.search(r"\| jane-doe \| 3 \| 3 \| same within spread \| \d+\.\d \|", table)
    assert "12 chains" in page.split("## Run it again")[0]


def test_the_index_has_a_row_for_each_study_and_families_side_by_side(made):
    index = (made / "index.md").read_text()
    assert re.search(
        r"\| \[collapse_mini_v1 1\]\(collapse_mini_v1-1\.md\) \| ddpm on made-up at 16 px \| 4 · 3 · 10 \| 1.00 \|",
        index,
    )
    assert re.search(r"\| \[vae16 [0-9a-f]{8}\]\(vae16-", index)
    assert "## Families side by side" in index and "figures/families.svg" in index
    assert not (made / "old.md").exists()


def test_equal_files_give_equal_pages(made, tmp_path_factory):
    folder, out = tmp_path_factory.mktemp("files"), tmp_path_factory.mktemp("pages")
    shelf.pack(made_up.family("vae"), folder)
    first = pages.write(shelf.read(folder), out)
    before = {path: path.read_bytes() for path in first}
    assert pages.write(shelf.read(folder), out) == first
    assert {path: path.read_bytes() for path in first} == before


def test_a_page_says_which_conditions_another_device_has_run(tmp_path):
    elsewhere = [
        replace(chain, rows=[replace(row, environment={**row.environment, **changed}) for row in chain.rows])
        for chain in made_up.chains((0.5,))
        for changed in [{"device": "made-up GPU", "code_revision": f"{'1' * 40}+dirty"}]
    ]
    shelf.pack([*made_up.chains((0.0, 1.0)), *elsewhere], tmp_path / "files")
    pages.write(shelf.read(tmp_path / "files"), tmp_path / "pages")
    page = (tmp_path / "pages" / "collapse_mini_v1-1.md").read_text()
    assert "\n- run on cpu, made-up, fp32; on made-up GPU, made-up, fp32: 0.50\n" in page
    assert f"\n- revision {'0' * 12}, {'1' * 12}+dirty\n" in page


def test_a_page_says_on_which_split_another_device_has_run_a_condition(tmp_path):
    """Both splits have ratio 0.50; only that of the second was run on a GPU."""
    plain, gpu = made_up.chains((0.0, 0.5), (0,)), made_up.chains((0.5,), (0,), "data.split_seed=1")[0]
    rows = [replace(row, environment={**row.environment, "device": "made-up GPU"}) for row in gpu.rows]
    second = [*made_up.chains((0.0,), (0,), "data.split_seed=1"), replace(gpu, rows=rows)]
    shelf.pack([*plain, *second], tmp_path / "files")
    pages.write(shelf.read(tmp_path / "files"), tmp_path / "pages")
    page = (tmp_path / "pages" / "collapse_mini_v1-1.md").read_text()
    assert "\n- run on cpu, made-up, fp32; on made-up GPU, made-up, fp32: (data.split_seed=1) 0.50\n" in page


def test_a_study_of_arms_without_a_ratio_has_a_row_of_the_index(tmp_path):
    chains = [
        replace(
            chain,
            rows=[
                replace(row, policy=policy, config={**row.config, "mixing": {"policy": policy}}) for row in chain.rows
            ],
        )
        for policy, ratio in (("accumulate", 0.0), ("augment", 0.5))
        for chain in made_up.chains((ratio,))
    ]
    entries = [shelf.Entry(tmp_path, "arms", "1", "f", "", chain) for chain in chains]
    index = pages.index({("arms", "1"): entries}, {("arms", "1"): studies(chains)}, tmp_path)
    assert re.search(r"\| 2 · 3 · 10 \| 2 arms \| \+?-?\d+ to \+\d+ % \|", index)


def test_studies_of_one_protocol_are_told_apart(tmp_path):
    folder, out = tmp_path / "files", tmp_path / "pages"
    shelf.pack(made_up.chains((0.0, 1.0), (0, 1)), folder)
    shelf.pack(made_up.chains((0.0, 1.0), (0, 1), "data.split_seed=1"), folder)
    pages.write(shelf.read(folder), out)
    index, page = ((out / name).read_text() for name in ("index.md", "collapse_mini_v1-1.md"))
    for split in (0, 1):
        assert f"[collapse_mini_v1 1](collapse_mini_v1-1.md) (data.split_seed={split}) |" in index
        assert f"\n## Verdicts, data.split_seed={split}\n" in page
    assert page.count("## Variance components of FID\n") == 1, "of both, so it has the name of neither"
    assert "results cite collapse_mini_v1 1 --condition '(data.split_seed=1) 1.00'\n" in page
