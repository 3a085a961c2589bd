"""The live page as a person watches it, in a real browser."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from evo.runtime.monitor import LiveFile
from evo.serve import watching
from population.reading import pending
from population.store import Store
from tests.analysis.built import SEED, finished
from tests.report.large import campaign_of, hostile_campaign
from tests.report.serving import TOKEN, served
from tests.report.test_browser import click_at, complaints, until
from tests.report.test_serve import live, running

pytestmark = pytest.mark.browser


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Changes are read at once: the machine has nothing else to do."""
    monkeypatch.setattr(watching, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr(watching, "CPU_SHARE", 1e9)


def text_of(browser: Any, css: str) -> str:
    return " ".join(one.text for one in browser.find_elements("css selector", css))


def test_a_campaign_is_watched_while_it_runs(browser: Any, tmp_path: Path) -> None:
    built, leader, _ = finished(tmp_path / "c")
    child = built.child(SEED.replace("0.1", "0.7"), leader, idea="a higher rate")
    live(tmp_path / "c", child)
    with running(tmp_path / "c"), served(tmp_path) as base:
        browser.get(f"{base}/")
        until(lambda: browser.find_elements("link text", "c"))[0].click()
        until(lambda: "a higher rate" in text_of(browser, "#now"))
        assert "searching" in text_of(browser, "#now h2")
        opened = browser.find_element("css selector", "#now details summary")
        opened.click()
        assert "+LR = 0.7" in text_of(browser, "#now details pre")
        built.run(child, 1.2345)
        until(lambda: "a higher rate" in text_of(browser, "#front"))
        assert browser.find_elements("css selector", "#now details[open]")  # it stays open
        found = browser.find_element("css selector", f'#parts button[data-variant="{child}"]')
        browser.execute_script("arguments[0].click()", found)
        until(lambda: "+LR = 0.7" in text_of(browser, "#dossier-body"))
        (tmp_path / "c" / "live.json").unlink()
        until(lambda: not text_of(browser, "#now").strip())
        assert complaints(browser) == []
    built.store.close()


def test_the_page_connects_again_when_the_server_comes_back(browser: Any, tmp_path: Path) -> None:
    built, leader, _ = finished(tmp_path / "c")
    with served(tmp_path) as base:
        browser.get(f"{base}/campaign/c/")
        until(lambda: browser.find_elements("css selector", ".hero h1"))
    until(lambda: "does not answer" in text_of(browser, "#link"))
    live(tmp_path / "c", leader)
    port = int(base.rsplit(":", 1)[1])
    with running(tmp_path / "c"), served(tmp_path, port=port):
        until(lambda: leader[:8] in text_of(browser, "#now"), 40)
        until(lambda: not text_of(browser, "#link"))
    built.store.close()
    complaints(browser)  # of the connections that failed meanwhile


def test_nothing_that_a_variant_or_a_model_wrote_runs_in_the_live_page(
    browser: Any, tmp_path: Path
) -> None:
    child = hostile_campaign(tmp_path / "c")
    live(tmp_path / "c", child)
    with running(tmp_path / "c"), served(tmp_path) as base:
        for path in ("/", "/campaign/c/"):
            browser.get(f"{base}{path}")
            until(lambda: browser.find_elements("css selector", "#content"))
        until(lambda: browser.find_elements("css selector", "#now button.variant"))[0].click()
        until(lambda: browser.find_elements("css selector", "#dossier[open] pre"))
        for one in browser.find_elements("css selector", "#dossier details summary"):
            one.click()
        assert browser.title != "owned" and not browser.find_elements("css selector", "img")


def test_dead_branches_open_by_mouse_and_by_keyboard_and_fold_again(
    browser: Any, tmp_path: Path
) -> None:
    from selenium.webdriver import Keys

    campaign_of(tmp_path / "c", 200)

    def dots() -> int:
        return len(browser.find_elements("css selector", '[data-figure="family"] .points path'))

    with served(tmp_path / "c") as base:
        browser.get(f"{base}/campaign/c/")
        complaints(browser)  # of the page before, whose server has ended
        plot = until(lambda: browser.find_elements("css selector", '[data-figure="family"]'))[0]
        browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", plot)
        chosen = until(lambda: browser.find_elements("css selector", ".folds select"))[0]
        before = until(dots)
        said = chosen.find_element("css selector", "option").text
        assert said.endswith("variants on dead branches are folded")
        chosen.send_keys(Keys.ARROW_DOWN)
        until(lambda: dots() > before)
        button = browser.find_element("css selector", ".folds button")
        button.send_keys(Keys.ENTER)
        until(lambda: button.text == "Fold all")
        assert dots() > 200
        button.send_keys(Keys.SPACE)
        until(lambda: dots() == before)
        place = browser.execute_script(MARK, plot)
        click_at(browser, place)
        until(lambda: dots() > before)
        assert not browser.find_elements("css selector", "dialog[open]")
        assert complaints(browser) == []


MARK = """
const p = arguments[0], t = p._fullData.find((one) => (one.customdata || [""])[0].startsWith("fold "));
const b = p.getBoundingClientRect(), l = p._fullLayout;
return [b.x + l._size.l + l.xaxis.d2p(t.x[0]), b.y + l._size.t + l.yaxis.d2p(t.y[0])];
"""


def test_a_new_run_is_drawn_into_the_figure_before_the_page_is_read_again(
    browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "LEAST_SECONDS", 3600.0)
    built, leader, _ = finished(tmp_path / "c")
    with served(tmp_path / "c") as base:
        browser.get(f"{base}/campaign/c/")
        complaints(browser)  # of the page before, whose server has ended
        until(lambda: browser.find_elements("css selector", ".plot[data-drawn] .main-svg"))
        built.run(leader, 2.2222, 70)
        until(lambda: "1 run since this page" in text_of(browser, "#since"))
        names = "return arguments[0]._fullData.map((one) => one.name)"
        plot = browser.find_element("css selector", '[data-figure="progress"]')
        until(lambda: "since then" in browser.execute_script(names, plot))
        assert complaints(browser) == []
    built.store.close()


def test_in_the_dark_page_and_figures_are_light_on_dark(browser: Any, tmp_path: Path) -> None:
    finished(tmp_path / "c")[0].store.close()
    dark = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", dark)
    try:
        with served(tmp_path / "c") as base:
            browser.get(f"{base}/campaign/c/")
            until(lambda: browser.find_elements("css selector", ".plot[data-drawn] .xtick text"))
            paper, ink, tick = browser.execute_script(LIGHTNESS)
            assert paper < 0.2 and ink > 0.7 and tick > 0.7
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


LIGHTNESS = """
const of = (css) => css.match(/\\d+/g).slice(0, 3).map(Number).reduce((a, b) => a + b) / 765;
const style = (one) => getComputedStyle(one);
return [of(style(document.body).backgroundColor), of(style(document.body).color),
        of(style(document.querySelector(".xtick text")).fill)];
"""


@pytest.mark.parametrize("width", [1280, 390])
def test_ten_thousand_variants_are_seen_within_two_seconds_of_the_servers_answer(
    browser: Any, tmp_path: Path, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "LEAST_SECONDS", 3600.0)
    folder = campaign_of(tmp_path / "c", int(os.environ.get("REPORT_VARIANTS", "10000")))
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        with served(folder) as base:
            browser.get(f"{base}/campaign/c/")
            complaints(browser)  # of the page before, whose server has ended
            until(lambda: browser.execute_script(PAINTED) is not None)
            painted = browser.execute_script(PAINTED)
            tree = browser.find_element("css selector", '[data-figure="family"]')
            browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", tree)
            until(lambda: tree.find_elements("css selector", ".points path"))
            shown = len(tree.find_elements("css selector", ".points path"))
            assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        print(
            f"\n{width} px: painted {painted:.0f} ms after the answer began, {shown:,} marks in the tree"
        )
        assert painted < 2000 and shown < 2000
        assert complaints(browser) == []
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


PAINTED = """
const painted = performance.getEntriesByName("first-contentful-paint")[0];
return painted ? painted.startTime - performance.getEntriesByType("navigation")[0].responseStart : null;
"""


def test_steering_by_keyboard_becomes_a_row(browser: Any, tmp_path: Path) -> None:
    finished(tmp_path / "c")[0].store.close()
    with served(tmp_path, steer=True) as base:
        browser.get(f"{base}/campaign/c/")
        form = until(lambda: browser.find_element("id", "steering"))
        form.find_element("name", "text").send_keys("tie the embeddings")
        form.find_element("name", "author").send_keys("ada")
        form.find_element("name", "token").send_keys("wrong\n")
        until(lambda: "not the one" in text_of(browser, "#answer"))
        form.find_element("name", "token").clear()
        form.find_element("name", "token").send_keys(f"{TOKEN}\n")
        until(lambda: text_of(browser, "#answer") == "idea put in")
    with Store.open(tmp_path / "c" / "campaign.db") as store:
        assert [(one.kind, one.author) for one in pending(store)] == [("idea", "ada")]
    complaints(browser)  # the refusal is one


@pytest.mark.parametrize("width", [1280, 390])
def test_the_live_page_is_no_wider_than_the_window(
    browser: Any, tmp_path: Path, width: int
) -> None:
    built, leader, _ = finished(tmp_path / "c")
    built.store.close()
    board = live(tmp_path / "c", leader, points=40)
    LiveFile(tmp_path / "c", board).write()
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        with running(tmp_path / "c"), served(tmp_path) as base:
            for path in ("/", "/campaign/c/", "/?with=c"):
                browser.get(f"{base}{path}")
                until(lambda: browser.find_elements("css selector", "#content"))
                wide = browser.execute_script("return document.documentElement.scrollWidth")
                assert wide <= width, (path, wide, json.dumps(metrics))
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
