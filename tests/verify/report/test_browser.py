"""The report in a real browser: headless Chromium at phone and desk width, light and dark.

The browser is found on PATH, or named by ``ORTMILL_CHROMIUM``. Without one the tests are skipped
loudly; with ``ORTMILL_REQUIRE_BROWSER=1`` they fail instead.
"""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kit.report_example import example, example_document
from tests.paths.measure import Samples
from tests.paths.result import Row
from tests.paths.show import write as write_paths
from verify.report.document import parse
from verify.report.html import write_report

pytestmark = pytest.mark.browser

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--hide-scrollbars",
)  # fmt: skip
WIDTHS = (400, 1400)
THEMES = ("light", "dark")


def without_browser(reason: str) -> None:
    """Skip so that nobody takes it for a pass, or fail where a browser is required."""
    message = f"THE REPORT WAS NOT LOOKED AT IN A BROWSER: {reason}"
    if os.environ.get("ORTMILL_REQUIRE_BROWSER") == "1":
        pytest.fail(message)
    warnings.warn(message, stacklevel=2)
    pytest.skip(message)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    names = (os.environ.get("ORTMILL_CHROMIUM"), "chromium", "chromium-browser", "google-chrome")
    binary = next((found for name in names if name and (found := shutil.which(name))), None)
    driver = shutil.which("chromedriver")
    if binary is None:
        without_browser("no chromium, chromium-browser or google-chrome on PATH")
    if driver is None:
        without_browser("no chromedriver on PATH")
    try:
        from selenium import webdriver
    except ImportError:
        without_browser("selenium is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = str(binary)
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    session = webdriver.Chrome(
        options=options, service=webdriver.ChromeService(executable_path=str(driver))
    )
    try:
        yield session
    finally:
        session.quit()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    document = example_document()
    document["checks"][0]["status"] = "failed"
    document["checks"][0]["evidence"]["<script>alert(1)</script>"] = "w" * 900
    earlier = example(seed=2, scale=1.2, created="2025-02-20T10:00:00Z")
    path = tmp_path_factory.mktemp("report") / "a report.html"
    write_report(parse(document), path, history=[earlier])
    return path


@pytest.fixture(params=[(width, theme) for width in WIDTHS for theme in THEMES], ids=str)
def shown(request: pytest.FixtureRequest, browser: Any, page: Path) -> tuple[Any, int, str]:
    width, theme = request.param
    browser.get("about:blank")
    browser.get_log("browser"), browser.get_log("performance")
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"media": "", "features": [{"name": "prefers-color-scheme", "value": theme}]},
    )
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False},
    )
    browser.get(page.as_uri())
    return browser, width, theme


def test_the_page_loads_alone_and_without_complaint(shown: tuple[Any, int, str]) -> None:
    browser, _, _ = shown
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    requests = [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    ]
    assert any(url.startswith("file:") for url in requests), "the log must hold the page itself"
    assert [url for url in requests if not url.startswith(("file:", "data:", "about:"))] == []
    assert len([url for url in requests if url.startswith("file:")]) == 1
    assert browser.get_log("browser") == []
    assert browser.execute_script("return document.scripts.length") == 0


def test_the_figures_are_on_the_first_screen(shown: tuple[Any, int, str]) -> None:
    browser, _, _ = shown
    bottom = browser.execute_script(
        "return document.querySelector('.five').getBoundingClientRect().bottom"
    )
    assert bottom <= 900


@pytest.mark.parametrize("theme", THEMES)
def test_the_page_of_the_paths_fits_a_phone_in_both_themes(
    theme: str, browser: Any, tmp_path: Path
) -> None:
    row = Row(
        key="A", name="in the process", provider="CPU", claimed="1", verdict="not run", reason=""
    )
    write_paths(tmp_path, [row], {"A": Samples()}, budget_ms=20.0, about={}, advice="GO with A")
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"media": "", "features": [{"name": "prefers-color-scheme", "value": theme}]},
    )
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 400, "height": 900, "deviceScaleFactor": 1, "mobile": False},
    )
    browser.get((tmp_path / "paths.html").as_uri())
    width, left, colour = browser.execute_script(
        "const h1 = document.querySelector('h1'); return [document.documentElement.scrollWidth,"
        "h1.getBoundingClientRect().left, getComputedStyle(h1).color]"
    )
    assert width == 400
    assert left >= 8
    assert (colour == "rgb(255, 255, 255)") == (theme == "dark")


def test_nothing_is_wider_than_the_page(shown: tuple[Any, int, str]) -> None:
    browser, width, _ = shown
    assert browser.execute_script("return document.documentElement.scrollWidth") == width
    wide = browser.execute_script(
        """
        for (const one of document.querySelectorAll('details')) one.open = true;
        const inside = e => e.closest('.scroll') || e.closest('svg') || e.closest('.checks > thead')
            || e.classList.contains('skip');
        return [...document.body.querySelectorAll('*')].filter(e => !inside(e))
            .filter(e => e.getBoundingClientRect().right > innerWidth + 0.5)
            .map(e => e.tagName + '.' + e.className);
        """
    )
    assert wide == []
    assert browser.execute_script("return document.documentElement.scrollWidth") == width


def test_one_drawing_of_each_picture_is_seen_and_says_what_it_shows(
    shown: tuple[Any, int, str],
) -> None:
    browser, width, _ = shown
    pictures = browser.execute_script(
        """
        return [...document.querySelectorAll('svg:not([aria-hidden=true])')].map(s => ({
            form: s.getAttribute('class'), role: s.getAttribute('role'),
            label: s.getAttribute('aria-label') || '', seen: s.getBoundingClientRect().width > 100,
            height: s.getBoundingClientRect().height, text: s.querySelectorAll('text').length,
        }));
        """
    )
    assert all(one["role"] == "img" and len(one["label"]) > 20 for one in pictures)
    hidden = "wide" if width < 540 else "narrow"
    assert {one["form"] for one in pictures if not one["seen"]} == {hidden}
    assert not [one for one in pictures if one["form"] == hidden and one["seen"]]
    assert all(one["height"] > 60 for one in pictures if one["seen"])
    assert len([one for one in pictures if one["seen"]]) == 9


def test_the_text_in_pictures_can_be_read(shown: tuple[Any, int, str]) -> None:
    browser, _, _ = shown
    smallest = browser.execute_script(
        """
        return Math.min(...[...document.querySelectorAll('figure svg text')]
            .map(t => t.getBoundingClientRect()).filter(b => b.width > 0).map(b => b.height));
        """
    )
    assert smallest >= 9


def test_the_theme_reaches_page_and_pictures(shown: tuple[Any, int, str]) -> None:
    browser, _, theme = shown
    ground, ink = browser.execute_script(
        """
        const text = [...document.querySelectorAll('figure svg text')]
            .find(t => t.getBoundingClientRect().width > 0 && /candidate/.test(t.textContent));
        return [getComputedStyle(document.body).backgroundColor, getComputedStyle(text).fill];
        """
    )
    bright = [sum(int(p) for p in c[c.index("(") + 1 : -1].split(",")[:3]) for c in (ground, ink)]
    assert (bright[0] > 600 and bright[1] < 200) == (theme == "light")
    assert (bright[0] < 150 and bright[1] > 600) == (theme == "dark")


def test_statuses_have_words_that_are_seen(shown: tuple[Any, int, str]) -> None:
    browser, _, _ = shown
    words = browser.execute_script(
        "return [...document.querySelectorAll('.checks .status')].map(e => e.innerText.trim())"
    )
    assert len(words) == 12
    assert set(words) == {"passed", "failed", "inconclusive", "not run"}


def test_print_is_light_and_unfolds_the_evidence(browser: Any, page: Path) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"media": "print", "features": [{"name": "prefers-color-scheme", "value": "dark"}]},
    )
    browser.get(page.as_uri())
    ground, folded, heights = browser.execute_script(
        """
        const shut = [...document.querySelectorAll('.checks details:not([open]) > dl')];
        return [getComputedStyle(document.body).backgroundColor, shut.length,
                shut.map(e => e.checkVisibility({contentVisibilityAuto: true})
                              ? e.getBoundingClientRect().height : 0)];
        """
    )
    assert ground == "rgb(255, 255, 255)"
    assert folded > 3
    assert min(heights) > 10
