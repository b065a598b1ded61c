"""The page in a real browser: opened from a file, with the network cut off."""

import base64
import dataclasses
import io
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fabricate
import numpy as np
import pytest
from html_tree import parse
from PIL import Image

from bench import ledger, report
from bench.report import style
from bench.report.curves import Curves
from bench.report.figures import Figures
from bench.report.page_parts import offered

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed (extra: dev)")
needs_browser = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None, reason="chromium and chromedriver are not installed (Debian: chromium-driver)"
)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("page")
    sweep = fabricate.sweep(directory, ratios=(0.0, 1.0), seeds=(0, 3), num_generations=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(style, "FORMATS", ("svg",))
        return next(p for p in report.write([sweep], directory / "report").paths if p.suffix == ".html")


@pytest.fixture(scope="module")
def browser(page: Path) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1200,900"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        driver.get(page.as_uri())
        ready(driver)
        yield driver
    finally:
        driver.quit()


def ready(driver: Any) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(driver, 20).until(
        lambda d: d.execute_script("return document.documentElement.dataset.ready") == "yes"
    )


def count(driver: Any, selector: str) -> int:
    return driver.execute_script(f"return document.querySelectorAll({json.dumps(selector)}).length")


def pixels(driver: Any, selector: str = ".browser canvas") -> list[str]:
    script = f"return [...document.querySelectorAll({json.dumps(selector)})].map(c => c.toDataURL())"
    return driver.execute_script(script)


def choose(driver: Any, selector: str, value: Any) -> None:
    script = "const e = document.querySelector(arguments[0]); e.value = arguments[1];"
    script += "e.dispatchEvent(new Event(e.type === 'range' ? 'input' : 'change'))"
    driver.execute_script(script, selector, str(value))


def click(driver: Any, selector: str) -> None:
    driver.execute_script("document.querySelector(arguments[0]).click()", selector)


def text(driver: Any, selector: str) -> str:
    return driver.execute_script("return document.querySelector(arguments[0]).textContent", selector)


def lightness(driver: Any, element: Any) -> np.ndarray:
    """Return an element as it is displayed, 0 black to 1 white."""
    box = driver.execute_script("const r = arguments[0].getBoundingClientRect(); return [r.x, r.y + scrollY]", element)
    clip = {"x": box[0], "y": box[1], **element.size, "scale": 1}
    taken = driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(taken["data"]))).convert("L")) / 255


def visible(driver: Any, selector: str) -> int:
    """Return how many elements are displayed."""
    script = "return [...document.querySelectorAll(arguments[0])].filter(e => e.getClientRects().length).length"
    return driver.execute_script(script, selector)


def test_the_file_holds_everything_and_is_small(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert len(text) < 15_000_000
    assert not re.findall(r"""(?:src|href|action)=["'](?!data:|#|%)[^"']+""", text)
    assert "default-src 'none'" in text
    assert not re.findall(r"https?://[^\s\"'<)]+", text)


def test_the_page_is_complete_without_its_script(page: Path) -> None:
    """JavaScript draws nothing but samples: figures, tables, verdicts, commands and files are in the HTML."""
    body = page.read_text(encoding="utf-8").split('<script type="application/json"')[0]
    assert body.count("<svg") == len(list(page.parent.glob("*.svg"))) - 1  # the strip's samples can be browsed instead
    assert 'class="verdict"' in body and "<table" in body and "python -m bench mixing" in body
    script = (Path(style.__file__).parent / "page.js").read_text(encoding="utf-8")
    assert not re.search(r"createElementNS|<svg|<path|polyline|innerHTML", script)


@needs_browser
def test_it_opens_without_an_error_and_without_the_network(browser: Any) -> None:
    assert browser.get_log("browser") == []
    requests = [
        json.loads(entry["message"])["message"]["params"]["request"]["url"]
        for entry in browser.get_log("performance")
        if json.loads(entry["message"])["message"]["method"] == "Network.requestWillBeSent"
    ]
    assert any(url.startswith("file:") for url in requests)
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []


@needs_browser
def test_figures_and_tables_follow_their_controls(browser: Any) -> None:
    assert visible(browser, ".verdict") == 2
    assert visible(browser, ".scores svg") == 4  # curves, last generation, phase diagram, trajectories
    assert visible(browser, ".scores table") == 4
    assert visible(browser, ".training svg") == visible(browser, ".survival svg") == 1
    assert visible(browser, ".scores tbody tr") == 4 + 3 + 3 + 3  # two ratios and the floor; FID has a control, too
    options = browser.execute_script("return [...document.querySelectorAll('.choice option')].map(o => o.textContent)")
    assert options[0].startswith("FID, coverage, precision, recall · efficientnet_lite0 · against heldout")
    shown = [i for i, words in enumerate(options) if words.startswith("density")]
    choose(browser, ".choice", shown[0])
    assert (visible(browser, ".scores svg"), visible(browser, ".scores table")) == (1, 1)
    assert "density ↑" in browser.execute_script(VISIBLE_TEXTS)
    choose(browser, ".choice", 0)
    assert "FID ↓" in browser.execute_script(VISIBLE_TEXTS)


VISIBLE_TEXTS = """
return [...document.querySelectorAll('.scores svg text')].filter(e => e.getClientRects().length).map(e => e.textContent)
"""


@needs_browser
def test_a_condition_is_hidden_and_shown_again_in_every_figure(browser: Any) -> None:
    before = [visible(browser, f"svg [data-condition='{i}']") for i in (0, 1)]
    assert before[0] == before[1] >= 2 * 3 + 1  # a line and a band in three panels, a path
    click(browser, ".toggles button")
    assert [visible(browser, f"svg [data-condition='{i}']") for i in (0, 1)] == [0, before[1]]
    pressed = "return document.querySelector('.toggles button').getAttribute('aria-pressed')"
    assert browser.execute_script(pressed) == "false"
    click(browser, ".toggles button")
    assert [visible(browser, f"svg [data-condition='{i}']") for i in (0, 1)] == before
    assert browser.execute_script(pressed) == "true"


@needs_browser
def test_the_slider_moves_the_pictures(browser: Any) -> None:
    choose(browser, ".generation", 0)
    start = pixels(browser)
    assert start[0] == start[1]  # generation 0 is shared by all ratios
    choose(browser, ".generation", 2)
    end = pixels(browser)
    assert end[0] == start[0]  # made up to stay the same at ratio 0
    assert end[1] != start[1]
    choose(browser, ".seed", 3)
    assert pixels(browser)[0] != end[0]
    click(browser, "input.neighbours")
    assert visible(browser, ".about-neighbours") == 1
    heights = browser.execute_script("return [...document.querySelectorAll('.browser canvas')].map(c => c.height)")
    click(browser, "input.neighbours")
    alone = browser.execute_script("return [...document.querySelectorAll('.browser canvas')].map(c => c.height)")
    assert all(h > 1.9 * a for h, a in zip(heights, alone, strict=True))
    assert count(browser, ".path canvas") == 2 * 3
    path = pixels(browser, ".path canvas")
    click(browser, ".next")
    assert pixels(browser, ".path canvas") != path
    assert text(browser, ".probe") == "sample 2 of 16"
    click(browser, ".back")
    assert pixels(browser, ".path canvas") == path


@needs_browser
def test_samples_are_chosen_with_the_pointer(browser: Any) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    canvas = browser.execute_script("return document.querySelector('.browser canvas')")
    browser.execute_script("arguments[0].scrollIntoView({ block: 'center', behavior: 'instant' })", canvas)
    size = canvas.size
    last_in_row = ActionChains(browser).move_to_element_with_offset(canvas, size["width"] // 2 - 30, 0)
    last_in_row.perform()
    hovered = browser.execute_script("return arguments[0].title", canvas)
    assert hovered.startswith("sample ")
    last_in_row.click().perform()
    assert text(browser, ".probe") == f"{hovered} of 16"


@needs_browser
def test_the_keyboard_is_enough(browser: Any) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    choose(browser, ".generation", 1)
    browser.find_element(By.CSS_SELECTOR, ".generation").send_keys(Keys.ARROW_RIGHT)
    assert text(browser, ".now") == "2"
    scores = browser.find_element(By.CSS_SELECTOR, ".choice")
    scores.send_keys(Keys.ARROW_DOWN)
    assert visible(browser, ".scores svg") == 1
    scores.send_keys(Keys.ARROW_UP)
    assert visible(browser, ".scores svg") == 4
    browser.execute_script("document.querySelector('.toggles button').focus()")
    for shown in ("false", "true"):
        browser.switch_to.active_element.send_keys(Keys.SPACE)
        assert browser.switch_to.active_element.get_attribute("aria-pressed") == shown
    unnamed = browser.execute_script(
        "return [...document.querySelectorAll('button, select, input')].filter(e => !e.labels?.length"
        " && !e.textContent.trim() && !e.getAttribute('aria-label')).length"
    )
    assert unnamed == 0


@needs_browser
def test_tables_are_offered_and_commands_are_shown(browser: Any, page: Path) -> None:
    offered = "return [...document.querySelectorAll('#files a')].map(a => [a.download, a.href])"
    files = dict(browser.execute_script(offered))
    tables = {"tables.md", "tables.csv", "tables.tex", "statements.csv"}
    assert set(files) == tables | {"card.json", "card.md", "citations.bib"}
    for name, address in files.items():
        assert base64.b64decode(address.split(",")[1]).decode() == (page.parent / name).read_text(encoding="utf-8")
    assert text(browser, "#markdown") == (page.parent / "tables.md").read_text(encoding="utf-8")
    commands = browser.execute_script("return [...document.querySelectorAll('.command pre')].map(p => p.textContent)")
    assert "python -m bench mixing.synthetic_ratio=1.0 seed=3" in commands
    assert len(commands) == 4


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_themes_are_readable(browser: Any, scheme: str) -> None:
    """Running text has a WCAG contrast of 4.5 in the theme that the system asks for, and figures follow the theme."""
    from selenium.webdriver.common.by import By

    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.refresh()
    ready(browser)
    assert browser.execute_script("return document.documentElement.dataset.theme") == scheme
    low = browser.execute_script(CONTRAST)
    assert low == []
    for figure in browser.find_elements(By.CSS_SELECTOR, ".training svg, .scores .panel:not([hidden]) svg"):
        shades = lightness(browser, figure)
        ground = float(np.median(shades))  # most of a figure is its ground; text and lines must differ from it
        assert ground > 0.9 if scheme == "light" else ground < 0.2
        assert np.percentile(np.abs(shades - ground), 99) > 0.4


@needs_browser
@pytest.mark.parametrize("width", [360, 1200])
def test_nothing_is_wider_than_the_screen(browser: Any, width: int) -> None:
    """Wide figures and tables scroll inside their own frame, and labels stay readable."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        browser.refresh()
        ready(browser)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        assert min(browser.execute_script(LABEL_SIZES)) >= 7.5
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


LABEL_SIZES = """
return [...document.querySelectorAll('svg text')].filter(e => e.getClientRects().length).map(e => {
  const { a, b } = e.getScreenCTM();
  return parseFloat(getComputedStyle(e).fontSize) * Math.hypot(a, b);
})
"""


CONTRAST = """
const pen = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
const rgba = (colour) => {
  pen.fillStyle = colour;
  pen.fillRect(0, 0, 1, 1);
  return [...pen.getImageData(0, 0, 1, 1).data];
};
const linear = (v) => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
const light = (c) => [.2126, .7152, .0722].reduce((sum, w, i) => sum + w * linear(c[i] / 255), 0);
const clear = (colour) => ['transparent', 'rgba(0, 0, 0, 0)'].includes(colour);
const ground = (e) => {
  for (; e; e = e.parentElement) {
    const colour = getComputedStyle(e).backgroundColor;
    if (!clear(colour)) return rgba(colour);
  }
  return [255, 255, 255];
};
const texts = 'h1, h2, h3, p, .words, .badge, td, th, label, summary, dd, dt, button, pre, nav a, footer, small, .pm';
return [...document.querySelectorAll(texts)].filter(e => e.offsetParent && e.textContent.trim()).map(e => {
  const [a, b] = [light(rgba(getComputedStyle(e).color)), light(ground(e))];
  return [e.textContent.slice(0, 40), (Math.max(a, b) + .05) / (Math.min(a, b) + .05)];
}).filter(([, ratio]) => ratio < 4.5);
"""


@needs_browser
def test_text_from_a_ledger_cannot_become_code(browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "</script><img src=x onerror=document.title='pwned'>%DATA%%SCRIPT%"
    data = {"name": "procedural", "kind": "flowers", "resolution": 16, "note": name}
    sweep = fabricate.sweep(tmp_path, ratios=(0.0,), seeds=(0,), num_generations=1, data=data, pictures=False)
    made = report.write([sweep], tmp_path / "out")
    browser.get((tmp_path / "out" / "report.html").as_uri())
    ready(browser)
    assert browser.title != "pwned"
    assert count(browser, "img") == 0
    assert name in text(browser, ".provenance")
    assert text(browser, ".samples .gone") == "The samples of these runs are not in their store."
    assert made.paths[0].name == "report.html"


@needs_browser
def test_several_studies_share_one_page(browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style, "FORMATS", ("svg",))
    for version, ratios in ((1, (0.0, 0.5, 1.0)), (2, (0.25,))):
        protocol = {"name": "p", "version": version}
        fabricate.sweep(tmp_path, ratios=ratios, seeds=(0,), num_generations=3, sweep=f"s{version}", protocol=protocol)
    report.write([tmp_path], tmp_path / "out", mixed=True)
    browser.get((tmp_path / "out" / "report.html").as_uri())
    ready(browser)
    assert count(browser, "#study option") == 2
    assert (visible(browser, "article"), visible(browser, "nav"), visible(browser, ".verdict")) == (1, 1, 3)
    assert "p version 1" in text(browser, "article:not([hidden]) .eyebrow")
    choose(browser, "#study", 1)
    assert (visible(browser, "article"), visible(browser, "nav"), visible(browser, ".verdict")) == (1, 1, 1)
    assert "p version 2" in text(browser, "article:not([hidden]) .eyebrow")
    assert visible(browser, ".browser canvas") == 1
    assert browser.get_log("browser") == []


@contextmanager
def phone(browser: Any, page: Path, width: int = 390) -> Iterator[None]:
    size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        browser.get(page.as_uri())
        ready(browser)
        yield
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


IN_VIEW = """
return [...document.querySelectorAll(arguments[0])].filter(e => e.getClientRects().length).map(e => {
  const [box, frame] = [e.getBoundingClientRect(), e.closest('.scroll').getBoundingClientRect()];
  return box.left >= frame.left - 1 && box.right <= frame.right + 1;
});
"""


@needs_browser
def test_a_phone_has_navigation_and_tables_begin_with_the_last_generation(browser: Any, page: Path) -> None:
    with phone(browser, page):
        links = browser.execute_script(
            "return [...document.querySelectorAll('nav a')].map(a => [a.textContent, a.hash, a.offsetHeight])"
        )
        names = ["Summary", "Statements", "Scores", "Samples", "Class survival", "Training", "Provenance", "Files"]
        assert [name for name, _, _ in links] == names
        assert min(height for _, _, height in links) >= 36  # as high as a finger
        assert all(count(browser, target) == 1 for _, target, _ in links)
        last = browser.execute_script(IN_VIEW, ".scores tr > :nth-last-child(2):not([colspan])")
        assert len(last) == 4 * 3 and all(last)  # a head and two ratios, with the number of seeds beside it
        assert all(browser.execute_script(IN_VIEW, ".scores th:first-child"))  # with the name of the condition
        choose(browser, ".generation", 2)
        assert browser.execute_script(IN_VIEW, ".path td.now") == [True] * 2
        choose(browser, ".generation", 0)
        assert browser.execute_script(IN_VIEW, ".path td.now") == [True] * 2


@needs_browser
def test_a_long_name_is_not_wider_than_a_phone(browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style, "FORMATS", ("svg",))
    for generation in range(2):
        row = fabricate.row(1.0, generation, 0, policy="custom")
        mixing = {"policy": "custom", "function": f"{'module_of_mine.' * 4}rules:{'a_long_name_' * 5}"}
        row = dataclasses.replace(row, config={**row.config, "mixing": mixing})
        ledger.append(tmp_path / "s" / row.chain / ledger.FILENAME, row)
    report.write([tmp_path / "s"], tmp_path / "out")
    with phone(browser, tmp_path / "out" / "report.html"):
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 390


@needs_browser
def test_a_condition_has_one_colour_in_light_and_dark(browser: Any, page: Path) -> None:
    script = """
      const parts = [...document.querySelectorAll('svg [data-condition] path, .swatch')];
      return parts.map(e => { const s = getComputedStyle(e); return [s.stroke, s.fill, s.backgroundColor, s.filter]; });
    """
    seen = []
    for scheme in ("light", "dark"):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        browser.get(page.as_uri())
        ready(browser)
        ground = browser.execute_script(
            "return [...document.querySelectorAll('.drawing, .drawing svg')].map(e => getComputedStyle(e).filter)"
        )
        assert set(ground) == {"none"}
        themed = {"rgb(255, 255, 255)": "ground", "rgb(27, 31, 35)": "ground"}  # the edge of a marker
        themed |= {"rgb(29, 33, 37)": "ink", "rgb(231, 234, 236)": "ink"}  # the shape of a marker, before it is placed
        seen.append([[themed.get(colour, colour) for colour in part] for part in browser.execute_script(script)])
    assert seen[0] == seen[1] and len(seen[0]) > 10


def test_a_cell_says_what_it_is_and_figures_are_offered_for_download(page: Path) -> None:
    tree = parse(page.read_text(encoding="utf-8"))
    table = tree.one("section", "scores").all("table")[0]
    told = [cell.attributes["title"] for cell in table.all("tr")[2].all("td")[:3]]
    shown = [cell.text for cell in table.all("tr")[2].all("td")[:3]]
    assert [words.split(" · ")[0] for words in told] == [
        f"synthetic ratio 1.00, generation {generation}: FID ↓ {text}" for generation, text in enumerate(shown)
    ]
    links = {
        link.attributes["download"]: link.attributes["href"] for link in tree.all("a") if "download" in link.attributes
    }
    for path in page.parent.glob("*.svg"):
        body = (links[path.name] or "").removeprefix("data:image/svg+xml;base64,")
        assert base64.b64decode(body) == path.read_bytes()


def test_a_large_report_offers_fewer_kinds_of_files(tmp_path: Path) -> None:
    paths = [tmp_path / f"a.{kind}" for kind in ("png", "svg", "pdf")]
    for path in paths:
        path.write_bytes(b"x" * 3000)
    nothing: dict[str, Any] = {field.name: [] for field in dataclasses.fields(Figures)}
    figures = Figures(**{**nothing, "phase": paths, "curves": [Curves([], list(paths))]})
    for budget, kinds in ((24_000, [".png", ".svg", ".pdf"]), (23_999, [".svg", ".pdf"]), (1, [".svg"])):
        kept = offered(figures, budget)
        assert [path.suffix for path in kept.phase] == [path.suffix for path in kept.curves[0].paths] == kinds
