"""The report as a person sees it, in a real browser."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.analysis.built import SEED, finished
from tests.report.conftest import Write
from tests.report.large import campaign_of, hostile_campaign

pytestmark = pytest.mark.browser


def opened(browser: Any, page: Path) -> list[str]:
    """Open the page and wait until a figure is drawn; what the console complained of."""
    browser.get_log("browser")
    browser.get(page.as_uri())
    until(lambda: browser.find_elements("css selector", ".plot[data-drawn] .main-svg"))
    return complaints(browser)


def complaints(browser: Any) -> list[str]:
    return [entry["message"] for entry in browser.get_log("browser")]


def until(found: Callable[[], Any], seconds: float = 20.0) -> Any:
    end = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < end, "it never came"
        time.sleep(0.05)
    return value


def click_at(browser: Any, place: Sequence[float]) -> None:
    """A click of the mouse at (x, y) of the window."""
    from selenium.webdriver import ActionChains

    actions = ActionChains(browser)
    actions.w3c_actions.pointer_action.move_to_location(*map(round, place)).click()
    actions.perform()


def scrolled_through(browser: Any) -> None:
    """Every figure comes into sight once."""
    for figure in browser.find_elements("css selector", ".plot"):
        browser.execute_script("arguments[0].scrollIntoView()", figure)
        until(lambda figure=figure: figure.find_elements("css selector", ".main-svg"))


def test_every_figure_is_drawn_and_the_console_stays_silent(
    browser: Any, write_report: Write, tmp_path: Path
) -> None:
    finished(tmp_path / "c")[0].store.close()
    assert opened(browser, write_report(tmp_path / "c")) == []
    scrolled_through(browser)
    assert complaints(browser) == []


def test_a_click_on_a_point_of_the_lineage_shows_its_diff_and_its_runs(
    browser: Any, write_report: Write, tmp_path: Path
) -> None:
    built, leader, _ = finished(tmp_path / "c")
    built.store.close()
    opened(browser, write_report(tmp_path / "c"))
    plot = browser.find_element("css selector", '[data-figure="family"]')
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", plot)
    until(lambda: plot.find_elements("css selector", ".points path"))
    time.sleep(0.5)  # the page stops moving
    place = browser.execute_script(
        "const p = arguments[0], id = arguments[1];"
        "for (const t of p._fullData) { const k = (t.customdata || []).indexOf(id);"
        " if (k >= 0 && t.marker && t.hoverinfo === 'text') {"
        "  const b = p.getBoundingClientRect(), l = p._fullLayout;"
        "  return [b.x + l._size.l + l.xaxis.d2p(t.x[k]), b.y + l._size.t + l.yaxis.d2p(t.y[k])]; } }",
        plot,
        leader,
    )
    click_at(browser, place)
    dialog = until(lambda: browser.find_elements("css selector", "dialog[open]"))[0]
    assert leader[:12] in dialog.text
    added = [one.text for one in dialog.find_elements("css selector", ".add")]
    assert added == ["+LR = 0.3  # knob: log 1e-3 1"]
    assert "screen" in dialog.text


def test_an_id_behind_the_address_opens_that_variant(
    browser: Any, write_report: Write, tmp_path: Path
) -> None:
    built, leader, first = finished(tmp_path / "c")
    built.store.close()
    page = write_report(tmp_path / "c")
    browser.get(f"{page.as_uri()}#{leader[:8]}")
    dialog = until(lambda: browser.find_elements("css selector", "dialog[open]"))[0]
    until(lambda: leader[:12] in dialog.text)
    browser.execute_script(f"location.hash = '{first[:8]}'")
    until(lambda: first[:12] in dialog.text)


def test_a_variant_is_opened_by_keyboard_alone_and_escape_closes_it(
    browser: Any, write_report: Write, tmp_path: Path
) -> None:
    from selenium.webdriver import Keys

    built, leader, _ = finished(tmp_path / "c")
    built.store.close()
    opened(browser, write_report(tmp_path / "c"))
    browser.find_element("id", "wanted").send_keys(leader[:6], Keys.ENTER)
    dialog = until(lambda: browser.find_elements("css selector", "dialog[open]"))[0]
    assert leader[:12] in dialog.text
    browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    until(lambda: not browser.find_elements("css selector", "dialog[open]"))


def test_nothing_that_a_variant_or_a_model_wrote_runs(
    browser: Any, write_report: Write, tmp_path: Path
) -> None:
    child = hostile_campaign(tmp_path / "c")
    said = opened(browser, write_report(tmp_path / "c"))
    scrolled_through(browser)
    browser.execute_script(
        "document.querySelector(`button[data-variant='${arguments[0]}']`).click()", child
    )
    dialog = until(lambda: browser.find_elements("css selector", "dialog[open]"))[0]
    until(lambda: "document.title" in dialog.text)
    for closed in dialog.find_elements("css selector", "details"):
        closed.find_element("css selector", "summary").click()
    time.sleep(0.3)
    assert "owned" not in browser.title.split(":")[0].replace("document.title='owned'", "")
    assert browser.execute_script("return document.querySelectorAll('img').length") == 0
    assert said == [] and complaints(browser) == []


def test_on_a_phone_a_row_of_a_table_is_a_card_with_the_names_of_its_cells(
    browser: Any, write_report: Write, tmp_path: Path
) -> None:
    built, leader, _ = finished(tmp_path / "c")
    built.child(SEED.replace("0.1", "0.4"), leader, idea="warm up for longer " * 20)
    built.store.close()
    page = write_report(tmp_path / "c")
    metrics = {"width": 390, "height": 900, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        opened(browser, page)
        rows = browser.find_elements("css selector", "#front tbody tr")
        assert rows and all(row.size["width"] <= 360 and row.size["height"] < 600 for row in rows)
        cell = rows[0].find_elements("css selector", "td")[-1]
        named = "return getComputedStyle(arguments[0], '::before').content"
        assert browser.execute_script(named, cell) == '"idea"'
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_five_thousand_variants_open_in_under_three_seconds(
    browser: Any, write_report: Write, tmp_path: Path
) -> None:
    page = write_report(campaign_of(tmp_path / "c", int(os.environ.get("REPORT_VARIANTS", "5000"))))
    began = time.monotonic()
    assert opened(browser, page) == []
    ready = time.monotonic() - began
    timing = browser.execute_script(
        "const t = performance.getEntriesByType('navigation')[0]; return t.loadEventEnd"
    )
    print(
        f"\nfirst figure after {ready:.2f} s, loaded after {timing / 1000:.2f} s, "
        f"{page.stat().st_size / 1e6:.1f} MB"
    )
    assert ready < 3.0
