"""Reports on points and on text: their own pictures and words, and none of images."""

import dataclasses
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fabricate
import numpy as np
import pytest
from html_tree import Node, parse
from PIL import Image

from bench import ledger, recording, report
from bench.files import sha256_of
from bench.report import style

WORDS = ["the", "dog", "sees", "<b>no</b>", "&amp;", "a"]
OF_IMAGES = re.compile(r"\b(images?|pixels?|pictures? of other)\b", re.IGNORECASE)
NUM_GENERATIONS = 13
MODULE = """
from bench.config import DataConfig as Config
VERSION, KIND, WORDS = 1, "{kind}", {words}
def true_risk(given, items):
    return (items ** 2).sum(axis=1) / 2
def decode(given, items):
    return [" ".join(WORDS[t] for t in row) for row in items]
"""


def items_of(kind: str, ratio: float, generation: int, seed: int) -> np.ndarray:
    """Points that shrink, or sequences that repeat one word, with the ratio and the generation."""
    rng = np.random.default_rng(seed)
    share = ratio * generation / NUM_GENERATIONS
    if kind == "points":
        return rng.normal(size=(200, 2)) * (1 - share)
    tokens = rng.integers(0, 6, (4, 12)).astype(np.int32)
    return np.where(rng.random((4, 12)) < share, 0, tokens).astype(np.int32)


def sweep(directory: Path, kind: str) -> Path:
    """Write ledgers, probes and what shows them, as a run leaves them, of a data set whose module is gone by now."""
    real = directory / "store" / "real" / fabricate.REAL[:2] / fabricate.REAL / "train" / "items.npy"
    real.parent.mkdir(parents=True)
    np.save(real, items_of(kind, 0, 0, 99))
    for ratio in (0.0, 1.0):
        for seed in (0,):
            for generation in range(NUM_GENERATIONS):
                row = fabricate.row(ratio, generation, seed, store_dir=str(directory / "store"))
                stage, digest, file = row.artifacts["probes"].split("/")
                probes = items_of(kind, ratio, generation, seed)
                path = directory / "store" / stage / digest[:2] / digest / file
                path.parent.mkdir(parents=True, exist_ok=True)
                np.save(path, probes)
                config = {**row.config, "data": {"name": "custom", "module": f"data_of_{kind}", "parameters": {}}}
                row = dataclasses.replace(
                    row,
                    dataset=f"made-up {kind}",
                    config=config,
                    generator="made-up generator",
                    train={"seconds": 1.0},
                    environment={**row.environment, "data_kind": kind},
                    checksums={"probes": sha256_of(path)},
                )
                ledger.append(directory / "s" / row.chain / ledger.FILENAME, row)
                recording.show(directory / "s" / row.chain, row, probes)
    return directory / "s"


def reported(directory: Path, kind: str) -> Path:
    """Return the directory of a report."""
    (directory / f"data_of_{kind}.py").write_text(MODULE.format(kind=kind, words=WORDS))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(directory))
        runs = sweep(directory, kind)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(style, "FORMATS", ("svg",))
        report.write([runs], directory / "report")
    return directory / "report"


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return reported(tmp_path_factory.mktemp("points"), "points")


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return reported(tmp_path_factory.mktemp("tokens"), "tokens")


@pytest.fixture(params=["points", "tokens"])
def made(request: Any) -> tuple[str, Path]:
    """The kind, and the directory of its report."""
    return request.param, request.getfixturevalue(request.param)


def words(node: Node) -> str:
    """Return the text of a part of the page without commands, configurations and drawings' numbers."""
    if node.tag in ("pre", "script", "style"):
        return ""
    return " ".join(child if isinstance(child, str) else words(child) for child in node.children)


def test_no_word_of_a_report_is_about_images(made: tuple[str, Path]) -> None:
    _, out = made
    for name in ("tables.md", "card.md", "statements.csv"):
        found = OF_IMAGES.findall((out / name).read_text())
        assert not found, name
    page = parse((out / "report.html").read_text())
    text = words(page)
    assert not OF_IMAGES.findall(text), [text[m.start() - 60 : m.end() + 60] for m in OF_IMAGES.finditer(text)]
    assert not page.all("label", "check"), "there are no nearest images to show"


def test_items_have_their_own_name(made: tuple[str, Path]) -> None:
    kind, out = made
    name = {"points": "points", "tokens": "sequences"}[kind]
    text = (out / "tables.md").read_text()
    assert f"| floor: real {name} | 21 |" in text and " px" not in text
    drawn = "".join(path.read_text() for path in out.glob("*.svg"))
    for said in (f"real {name}", f"training {name}", f"{name} found /"):
        assert said in drawn, said


def test_points_have_a_picture_per_condition_and_generation(points: Path) -> None:
    section = parse((points / "report.html").read_text()).one("section", "samples")
    assert len(section.one("div", "planes").all("div", "row")) == 2
    assert "blue: the true density, its outlines around 50, 90 and 99 %" in section.text
    assert "all pictures have the same axes" in section.text and not section.all("span", "stepper")
    strip = (points / "samples.svg").read_text()
    assert strip.count("<image") == 2 * 7, "seven generations of both conditions"
    assert "the same noise and axes in every generation" in strip and "outlines around 50" in strip
    assert [g for g in range(13) if f"gen. {g}<" in strip] == [0, 2, 4, 6, 8, 10, 12]


def test_text_is_text_through_the_generations(tokens: Path) -> None:
    section = parse((tokens / "report.html").read_text()).one("section", "samples")
    tables = section.all("table", "texts")
    assert len(tables) == 3
    for i, table in enumerate(tables):
        for row, generation in zip(table.all("tr")[1:], [0, 2, 4, 6, 8, 10, 12], strict=True):
            assert row.one("th").text == f"gen {generation}"
            for cell, ratio in zip(row.all("td"), (0.0, 1.0), strict=True):
                drawn = items_of("tokens", ratio, generation, 0)[i]
                assert cell.text == " ".join(WORDS[t] for t in drawn)
                assert not cell.all("b"), "words of a corpus are no HTML"
    strip = (tokens / "samples.svg").read_text()
    assert [g for g in range(13) if f"generation {g}<" in strip] == [0, 4, 8, 12]
    assert "the same random numbers in every generation" in strip


def test_a_picture_of_points_is_that_of_the_recording(points: Path) -> None:
    drawn = np.asarray(Image.open(next(points.parent.glob("s/blend-r1*seed0*/probes/generation_0012.png"))))
    assert (drawn < 60).all(axis=2).sum() > 100
    assert len(list(points.parent.glob("s/*/probes/plane.npz"))) == 2


@pytest.fixture
def browser(made: tuple[str, Path]) -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed (extra: dev)")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("chromium and chromedriver are not installed (Debian: chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1200,900"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    opened = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        opened.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride", {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": False}
        )
        opened.get((made[1] / "report.html").as_uri())
        from selenium.webdriver.support.ui import WebDriverWait

        WebDriverWait(opened, 20).until(
            lambda d: d.execute_script("return document.documentElement.dataset.ready") == "yes"
        )
        yield opened
    finally:
        opened.quit()


def test_the_page_works_on_a_phone(made: tuple[str, Path], browser: Any) -> None:
    kind, _ = made
    assert browser.get_log("browser") == []
    assert browser.execute_script("const e = document.documentElement; return e.scrollWidth <= e.clientWidth")
    if kind == "tokens":
        selected = browser.execute_script(
            "const cell = document.querySelector('.texts td'); getSelection().selectAllChildren(cell);"
            "return getSelection().toString()"
        )
        assert selected == " ".join(WORDS[t] for t in items_of("tokens", 0.0, 0, 0)[0])
        return
    read = "return [...document.querySelectorAll('.browser canvas')].map(c => [c.width, c.toDataURL()])"
    last = browser.execute_script(read)
    assert len(last) == 2 and all(width >= 240 for width, _ in last)
    browser.execute_script(
        "const e = document.querySelector('.generation'); e.value = 0; e.dispatchEvent(new Event('input'))"
    )
    first = browser.execute_script(read)
    assert first[0][1] == first[1][1], "generation 0 of one seed is the same at both ratios"
    assert last[0][1] != last[1][1] and first[1][1] != last[1][1]
