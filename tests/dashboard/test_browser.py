"""The dashboard as a person sees it, in headless Chromium. One browser for the file."""

from __future__ import annotations

import json
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from dashboard.panels import PAGES
from tests.dashboard.browser import PAINTED, chromium, painted, serving
from tests.dashboard.gold import (
    END,
    columns_of,
    playback_cells,
    write,
    write_everything,
    write_live,
)

# Each text's contrast with what is behind it (WCAG 2.2, 1.4.3), of those that are too low.
TOO_LOW = """() => {
  const rgba = (text) => text.match(/[\\d.]+/g).map(Number);
  const over = (top, below) => {
    const alpha = top[3] ?? 1;
    return [0, 1, 2].map((place) => top[place] * alpha + below[place] * (1 - alpha));
  };
  const luminance = (colour) => colour
    .map((part) => part / 255)
    .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    .reduce((sum, part, place) => sum + part * [0.2126, 0.7152, 0.0722][place], 0);
  const behind = (element) => {
    const layers = [];
    for (let each = element; each; each = each.parentElement)
      layers.push(rgba(getComputedStyle(each).backgroundColor));
    const root = matchMedia("(prefers-color-scheme: dark)").matches ? [0, 0, 0] : [255, 255, 255];
    return layers.reverse().reduce((below, layer) => over(layer, below), root);
  };
  const found = [];
  let texts = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !element.checkVisibility()) continue;
    if (element.closest("noscript, option")) continue;
    texts += 1;
    const style = getComputedStyle(element);
    const ground = behind(element);
    const levels = [luminance(over(rgba(style.color), ground)), luminance(ground)].sort();
    const contrast = (Math.max(...levels) + 0.05) / (Math.min(...levels) + 0.05);
    const size = parseFloat(style.fontSize);
    const isLarge = size >= 24 || (size >= 18.66 && parseInt(style.fontWeight) >= 700);
    if (contrast < (isLarge ? 3 : 4.5))
      found.push(`${contrast.toFixed(2)}: ${element.className} ${element.textContent.trim()}`);
  }
  return { texts, found };
}"""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("browser")
    write_everything(root, seed=5)
    return root


@pytest.fixture(scope="module")
def address(root):
    with serving(root) as address:
        yield address


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser, address):
    """A page; at its end nothing may have gone wrong in it, and nothing have left the host."""
    wrong, asked = [], []
    page = browser.new_page(viewport={"width": 1300, "height": 900})
    page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    yield page
    page.close()
    assert wrong == []
    assert {urlsplit(url).netloc for url in asked if not url.startswith("data:")} == {
        urlsplit(address).netloc
    }


@pytest.mark.parametrize("path", PAGES)
def test_every_panel_paints(page, address, path):
    painted(page, f"{address}{path}?viewer=a&video=v1&ticker=A")
    states = {
        panel.get_attribute("id"): panel.get_attribute("data-state")
        for panel in page.query_selector_all("[data-panel]")
    }
    assert list(states) == list(PAGES[path])
    old = {"status"}  # the tables are of some day
    assert states == {name: "stale" if name in old else "ok" for name in PAGES[path]}
    assert page.locator("#connection").text_content() == "Live: shows what comes"


def test_charts_are_drawn_and_their_figures_open_as_a_table(page, address):
    painted(page, address)
    for name in ("time_series", "countries", "cdn"):
        chart = page.locator(f"#{name} .chart")
        assert chart.bounding_box()["height"] > 100
        assert chart.get_attribute("aria-label")
        table = page.locator(f"#{name} .figures table")
        assert not table.is_visible()
        page.locator(f"#{name} .figures summary").press("Enter")
        assert table.is_visible()


def test_a_filter_lands_in_the_url_without_a_reload_and_survives_one(page, address):
    painted(page, address)
    page.evaluate("window.isTheSamePage = true")
    page.locator("[name=isp]").select_option("Rheinkabel")
    page.locator("[name=metric]").select_option("rebuffering_share")
    page.wait_for_selector(PAINTED, state="detached")
    query = {"isp": ["Rheinkabel"], "metric": ["rebuffering_share"]}
    assert parse_qs(urlsplit(page.url).query) == query
    assert page.evaluate("window.isTheSamePage")
    assert page.locator("#isp_edge tbody tr").count() == 1
    page.reload()
    assert page.locator("[name=isp]").input_value() == "Rheinkabel"
    page.go_back()
    page.wait_for_selector(PAINTED, state="detached")
    assert page.locator("[name=metric]").input_value() == "concurrent_plays"
    assert parse_qs(urlsplit(page.url).query) == {"isp": ["Rheinkabel"]}


def test_a_cell_of_the_heat_map_leads_to_its_network_and_edge(page, address):
    painted(page, address)
    cell = page.locator("#isp_edge td a").first
    edge = page.locator("#isp_edge thead th").nth(1).text_content()
    cell.click()
    page.wait_for_selector(PAINTED, state="detached")
    assert parse_qs(urlsplit(page.url).query)["edge"] == [edge]
    assert page.locator("[name=edge]").input_value() == edge


def test_live_values_change_without_a_reload(page, address, root):
    from playwright.sync_api import expect

    write_live(root, 400)
    painted(page, address + "/player?video=v1")
    page.evaluate("window.isTheSamePage = true")
    active = page.locator("#live_active_users .value")
    watching = page.locator("#live_video_viewers .value")
    expect(active).to_have_text("400")
    expect(watching).to_have_text("200")
    write_live(root, 432)
    expect(active).to_have_text("432", timeout=5_000)
    expect(watching).to_have_text("216", timeout=5_000)
    assert page.evaluate("window.isTheSamePage")


def test_a_video_of_the_live_page_leads_to_its_player(page, address):
    painted(page, address + "/live")
    page.locator("#live_popular_videos a").first.click()
    page.wait_for_url("**/player?video=v1")
    page.wait_for_selector(PAINTED, state="detached")
    assert page.locator("[name=video]").input_value() == "v1"
    page.evaluate("window.isTheSamePage = true")
    page.locator("#live_popular_videos a").nth(1).click()
    page.wait_for_url("**/player?video=v2")
    assert page.evaluate("window.isTheSamePage")


def test_new_gold_changes_the_page_and_an_open_table_stays_open(page, address, root):
    from playwright.sync_api import expect

    painted(page, address)
    page.locator("#time_series summary").click()
    cells = playback_cells(seed=5)
    many = [cells[0] | {"minute": END - timedelta(minutes=1), "concurrent_plays": [9_000] * 6}]
    try:
        write(root, "gold.noc_playback", columns_of(many), mode="append")
        value = page.locator("#status .tile.current .value")
        expect(value).to_contain_text(",", timeout=5_000)
        assert page.locator("#time_series table").is_visible()
    finally:
        write(root, "gold.noc_playback", columns_of(cells))


def test_the_keyboard_reaches_filters_panels_and_what_is_in_them(page, address):
    painted(page, address)
    reached = []
    for _ in range(120):
        page.keyboard.press("Tab")
        focused = page.evaluate(
            """() => {
              const each = document.activeElement;
              // what Bokeh draws is outlined as a whole
              const outline = getComputedStyle(each.closest(".chart") ?? each).outlineStyle;
              return [each.id || each.name || each.className || each.tagName, outline];
            }"""
        )
        if focused[0] == "BODY":
            break
        reached.append(focused)
    names = [name for name, _ in reached]
    filters = ("interval", "country", "isp", "edge", "device", "version", "video", "metric")
    for name in ("skip", *filters, "viewer", *PAGES["/"]):
        assert name in names, name
    assert "SUMMARY" in names
    assert [name for name, outline in reached if outline not in ("solid", "auto")] == []


def test_enter_on_a_tile_chooses_its_metric(page, address):
    painted(page, address)
    tile = page.get_by_role("link", name="Rebuffering")
    tile.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(PAINTED, state="detached")
    assert parse_qs(urlsplit(page.url).query) == {"metric": ["rebuffering_share"]}
    # the keyboard goes on from where it was
    assert page.evaluate("document.activeElement.textContent") == "Rebuffering"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", PAGES)
def test_texts_stand_out_from_what_is_behind_them(page, address, scheme, path):
    page.emulate_media(color_scheme=scheme)
    painted(page, f"{address}{path}?viewer=a&ticker=A")
    for summary in page.query_selector_all("summary"):
        summary.click()
    seen = page.evaluate(TOO_LOW)
    assert seen["texts"] > 20
    assert seen["found"] == []


def test_charts_follow_a_change_of_the_scheme(page, address):
    page.emulate_media(color_scheme="light")
    painted(page, address)
    with page.expect_request(lambda request: "/panels/countries?scheme=dark" in request.url):
        page.emulate_media(color_scheme="dark")


def test_a_narrow_screen_needs_no_sideways_scrolling(page, address):
    page.set_viewport_size({"width": 390, "height": 800})
    for path in PAGES:
        painted(page, address + path)
        assert page.evaluate("document.scrollingElement.scrollWidth") <= 390, path


def test_a_panel_that_fails_keeps_what_it_showed_and_says_so(page, address):
    painted(page, address)
    shown = page.locator("#status .value").first.text_content()
    answer = json.dumps({"state": "error", "message": "That went wrong."})
    page.route("**/panels/status?*", lambda route: route.fulfill(body=answer))
    page.locator("[name=interval]").select_option("3h")
    page.wait_for_selector("#status[data-state=error]")
    assert page.locator("#status .message.error").text_content() == "That went wrong."
    assert page.locator("#status .value").first.text_content() == shown


def test_a_page_says_when_the_dashboard_is_gone_and_goes_on_when_it_is_back(browser, root):
    page = browser.new_page()
    try:
        with serving(root) as address:
            painted(page, address + "/live")
        page.wait_for_selector("#connection[data-state=cut]")
        assert page.locator("#connection").text_content() == (
            "Not connected: what is shown may be old"
        )
        assert page.locator("#live_active_users .value").is_visible()
        with serving(root, urlsplit(address).port):
            page.wait_for_selector("#connection[data-state=live]")
    finally:
        page.close()


def test_an_empty_lakehouse_is_a_page_too(browser, tmp_path):
    page = browser.new_page()
    try:
        with serving(tmp_path) as address:
            painted(page, address)
            assert "There are no gold tables yet" in page.locator("main").text_content()
            assert page.locator("[data-state=empty]").count() == len(PAGES["/"])
    finally:
        page.close()
