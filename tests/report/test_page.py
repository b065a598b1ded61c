"""The page in a real browser: opened from a file, with the network cut off."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fabricate
import pytest

from bench import report
from bench.report import style

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
        patch.setattr(style, "FORMATS", ())
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


def pixels(driver: Any, selector: str = "#browser canvas") -> list[str]:
    script = f"return [...document.querySelectorAll({json.dumps(selector)})].map(c => c.toDataURL())"
    return driver.execute_script(script)


def choose(driver: Any, element: str, value: Any) -> None:
    script = "const e = document.getElementById(arguments[0]); e.value = arguments[1];"
    script += "e.dispatchEvent(new Event(e.type === 'range' ? 'input' : 'change'))"
    driver.execute_script(script, element, str(value))


def test_the_file_holds_everything_and_is_small(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert len(text) < 15_000_000
    assert not re.findall(r"""(?:src|href|action)=["'](?!data:|#|%)[^"']+""", text)
    assert "default-src 'none'" in text
    addresses = set(re.findall(r"https?://[^\s\"'<)]+", text))
    assert addresses == {"http://www.w3.org/2000/svg"}  # the name of a language, not a place to go


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
def test_charts_are_drawn_and_follow_their_controls(browser: Any) -> None:
    assert count(browser, "#curves .curve") == 2
    assert count(browser, "#curves .band") == 2
    assert count(browser, "#curves .point") == 2 * 3
    assert count(browser, "#verdicts .verdict") == 2
    assert count(browser, "#bars svg") == 2
    assert count(browser, "#heat tbody tr") == 4  # two ratios, the floor and the control
    before = browser.execute_script("return document.querySelector('#curves .curve').getAttribute('d')")
    choose(browser, "measure", 2)
    after = browser.execute_script("return document.querySelector('#curves .curve').getAttribute('d')")
    assert before != after
    assert "recall" in browser.execute_script("return document.getElementById('heat-title').textContent")
    choose(browser, "seed", 3)
    assert count(browser, "#curves .band") == 0  # one seed has no range
    browser.execute_script("document.querySelector('#legend button').click()")
    assert count(browser, "#curves .curve") == 1
    browser.execute_script("document.querySelector('#legend button').click()")
    choose(browser, "seed", "all")
    choose(browser, "measure", 0)


@needs_browser
def test_the_slider_moves_the_pictures(browser: Any) -> None:
    choose(browser, "generation", 0)
    start = pixels(browser)
    assert start[0] == start[1]  # generation 0 is shared by all ratios
    choose(browser, "generation", 2)
    end = pixels(browser)
    assert end[0] == start[0]  # made up to stay the same at ratio 0
    assert end[1] != start[1]
    choose(browser, "sample-seed", 3)
    assert pixels(browser)[0] != end[0]
    browser.execute_script("document.getElementById('neighbours').click()")
    heights = browser.execute_script("return [...document.querySelectorAll('#browser canvas')].map(c => c.height)")
    browser.execute_script("document.getElementById('neighbours').click()")
    alone = browser.execute_script("return [...document.querySelectorAll('#browser canvas')].map(c => c.height)")
    assert all(h > 1.9 * a for h, a in zip(heights, alone, strict=True))
    assert count(browser, "#path canvas") == 2 * 3
    path = pixels(browser, "#path canvas")
    browser.execute_script("document.getElementById('probe-next').click()")
    assert pixels(browser, "#path canvas") != path


@needs_browser
def test_the_keyboard_is_enough(browser: Any) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    choose(browser, "generation", 1)
    slider = browser.find_element(By.ID, "generation")
    slider.send_keys(Keys.ARROW_RIGHT)
    assert browser.execute_script("return document.getElementById('generation-now').textContent") == "2"
    chart = browser.find_element(By.CSS_SELECTOR, "#curves svg")
    browser.execute_script("arguments[0].focus()", chart)
    browser.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    told = browser.execute_script("const t = document.getElementById('tip'); return t.hidden ? '' : t.textContent")
    assert told.startswith("generation 1")
    assert "0.00" in told and "1.00" in told
    unnamed = browser.execute_script(
        "return [...document.querySelectorAll('button, select, input')].filter(e => !e.labels?.length"
        " && !e.textContent.trim() && !e.getAttribute('aria-label')).length"
    )
    assert unnamed == 0


@needs_browser
def test_tables_are_offered_and_commands_are_shown(browser: Any, page: Path) -> None:
    assert count(browser, "#downloads button") == 6  # three tables, two cards, citations
    shown = browser.execute_script("return document.getElementById('markdown').textContent")
    assert shown == (page.parent / "tables.md").read_text(encoding="utf-8")
    commands = browser.execute_script("return [...document.querySelectorAll('.command pre')].map(p => p.textContent)")
    assert "python -m bench mixing.synthetic_ratio=1.0 seed=3" in commands
    assert len(commands) == 4


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_themes_are_readable(browser: Any, scheme: str) -> None:
    """WCAG contrast of 4.5 for running text, in the theme that the system asks for."""
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.refresh()
    ready(browser)
    assert browser.execute_script("return document.documentElement.dataset.theme") == scheme
    low = browser.execute_script(CONTRAST)
    assert low == []


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
    name = "</script><img src=x onerror=document.title='pwned'>"
    data = {"name": "procedural", "kind": "flowers", "resolution": 16, "note": name}
    sweep = fabricate.sweep(tmp_path, ratios=(0.0,), seeds=(0,), num_generations=1, data=data, pictures=False)
    made = report.write([sweep], tmp_path / "out")
    browser.get((tmp_path / "out" / "report.html").as_uri())
    ready(browser)
    assert browser.title != "pwned"
    assert name in browser.execute_script("return document.getElementById('chains').textContent")
    assert count(browser, "#browser .gone") == 1  # no pictures: said, not broken
    assert made.paths[0].name == "report.html"


@needs_browser
def test_several_studies_share_one_page(browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style, "FORMATS", ())
    for version, ratios in ((1, (0.0, 0.5, 1.0)), (2, (0.25,))):
        protocol = {"name": "p", "version": version}
        fabricate.sweep(tmp_path, ratios=ratios, seeds=(0,), num_generations=3, sweep=f"s{version}", protocol=protocol)
    report.write([tmp_path], tmp_path / "out", mixed=True)
    browser.get((tmp_path / "out" / "report.html").as_uri())
    ready(browser)
    assert count(browser, "#study option") == 2
    assert count(browser, "#curves .curve") == 3
    choose(browser, "study", 1)
    assert count(browser, "#curves .curve") == 1
    assert "p version 2" in browser.execute_script("return document.getElementById('eyebrow').textContent")
    assert count(browser, "#browser canvas") == 1
    assert browser.get_log("browser") == []
