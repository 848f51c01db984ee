"""The page in a real browser: what a person sees, and what nobody can do to it.

One headless Chromium serves all tests, and each opens the page of a bridge of its own.
"""

import json
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Self

import pytest

from bridge.model import State, SymbolState
from bridge.observe import HttpServer, Identity, Site
from bridge.settings import Settings
from bridge.snapshots import Accounts, ControlSnapshot, FeedSnapshot, LinkState
from tests.integration.browser import REMEDY, Browser, find_browser

pytestmark = pytest.mark.browser

NOW_US = 1_790_000_000_000_000

ACCOUNTS = Accounts(received=1_234_567, published=1_234_560, duplicate=7)
CONNECTED = LinkState(0, 17, connected=True, since_us=NOW_US - 90_000_000, settled=True, accepted=3)


@dataclass
class Bridge:
    """A bridge that is nothing but its snapshots, served as the real one serves them."""

    symbols: tuple[SymbolState, ...] = ()
    link: LinkState = CONNECTED
    _server: HttpServer = field(init=False)

    def __enter__(self) -> Self:
        settings = Settings(kafka={"bootstrap_servers": "127.0.0.1:9"}, upstream={"plan": "professional"})
        site = Site(
            Identity(settings, "pod-7", "9.9"),
            lambda: FeedSnapshot(time.monotonic(), ACCOUNTS, (self.link,), self.symbols, last_tick_us=NOW_US - 250_000),
            lambda: ControlSnapshot(time.monotonic(), member=True, owned=(0,), caught_up=(0,)),
            wall_us=lambda: NOW_US,
        )
        self._server = HttpServer("127.0.0.1", 0, site.respond, self)
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.port}/"

    def stop(self) -> None:
        self._server.stop()

    def exception(self, event: str, **fields: Any) -> None:
        raise AssertionError(event, fields)


LIVE = SymbolState("700.HK", "700.HK", State.LIVE, last_tick_us=NOW_US - 3_000_000, price="512.500000")
QUICK = SymbolState("AAPL.US", "AAPL.US", State.LIVE, last_tick_us=NOW_US - 500_000, price="99.10", priority=5)
WAITING = SymbolState("BTCUSDT", "BTCUSDT", State.WAITING)
REJECTED = SymbolState("NOPE.US", "NOPE.US", State.REJECTED, "venue_600", "the venue does not know it")
CAPPED = SymbolState("TSLA.US", "TSLA.US", State.OVER_CAP, "plan_full")

SHOWN = "[...document.querySelectorAll('#rows tr')].map(row => row.cells[0].textContent)"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = find_browser()
    if program is None:
        told = f"NO BROWSER, the page is not tested: {REMEDY}"
        if os.environ.get("CI") == "true":
            pytest.fail(told)
        pytest.skip(told)
    browser = Browser(program, tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.close()


@pytest.fixture
def bridge() -> Iterator[Bridge]:
    with Bridge((LIVE, QUICK, WAITING, REJECTED, CAPPED)) as bridge:
        yield bridge


@pytest.fixture
def page(browser: Browser, bridge: Bridge) -> Browser:
    """The page, once it shows the first answer."""
    browser.open(bridge.address)
    return browser


def text(page: Browser, selector: str) -> str:
    return str(page.ask(f"document.querySelector({json.dumps(selector)}).textContent"))


def press(page: Browser, title: str) -> None:
    page.ask(f"[...document.querySelectorAll('button')].find(b => b.textContent.startsWith('{title}')).click()")


def test_the_page_loads_without_a_complaint(page: Browser) -> None:
    assert page.complaints == []


def test_problems_stand_first(page: Browser) -> None:
    assert page.ask(SHOWN) == ["NOPE.US", "TSLA.US", "BTCUSDT", "700.HK", "AAPL.US"]


def test_the_summary_says_how_it_stands(page: Browser) -> None:
    assert text(page, "#verdict") == "✓ Ready"
    assert text(page, "#connected") == "1 of 1 connected"
    assert text(page, "#partitions") == "Partition 0✓ for 90 sAccepted3 of 3,000Session17"
    assert "Received1,234,567" in text(page, "#accounts")
    assert "✓ adds up" in text(page, "#accounts")
    assert "Last tick0.3 s ago" in text(page, "#accounts")


def test_a_row_shows_price_and_age_as_the_bridge_sees_them(page: Browser) -> None:
    cells = page.ask("[...[...document.querySelectorAll('#rows tr')].at(-2).cells].map(cell => cell.textContent)")
    assert cells == ["700.HK", "700.HK", "live", "", "512.500000", "3.0 s", "0"]


def test_a_column_sorts_and_sorts_back(page: Browser) -> None:
    press(page, "Price")
    assert page.ask(SHOWN) == ["AAPL.US", "700.HK", "BTCUSDT", "NOPE.US", "TSLA.US"]
    assert page.ask("document.querySelector('[aria-sort]').textContent") == "Price"
    press(page, "Price")
    assert page.ask(SHOWN) == ["700.HK", "AAPL.US", "BTCUSDT", "NOPE.US", "TSLA.US"]
    assert page.ask("document.querySelector('[aria-sort]').ariaSort") == "descending"


@pytest.mark.parametrize(
    ("typed", "shown"), [(".US", ["NOPE.US", "TSLA.US", "AAPL.US"]), ("live .us", ["AAPL.US"]), ("zzz", [])]
)
def test_the_filter_keeps_what_has_every_word(page: Browser, typed: str, shown: list[str]) -> None:
    page.ask(f"$('filter').value = '{typed}'; $('filter').dispatchEvent(new Event('input'))")
    assert page.ask(SHOWN) == shown
    assert text(page, "#shown") == f"{len(shown)} of 5 shown"


def test_a_state_can_be_shown_alone(page: Browser) -> None:
    press(page, "problems 2")
    assert page.ask(SHOWN) == ["NOPE.US", "TSLA.US"]
    press(page, "live 2")
    assert page.ask(SHOWN) == ["700.HK", "AAPL.US"]
    press(page, "live 2")
    assert len(page.ask(SHOWN)) == 5


def test_the_page_follows_the_bridge(page: Browser, bridge: Bridge) -> None:
    bridge.symbols = (replace(WAITING, state=State.STALE), LIVE)
    bridge.link = replace(bridge.link, connected=False, down_since=0.0, reason="silence")
    page.until("$('verdict').textContent === '✗ Not ready'")
    assert page.ask(SHOWN) == ["BTCUSDT", "700.HK"]
    assert text(page, "#connected") == "0 of 1 connected"
    assert text(page, "#unready") == "upstream: partition 0: down for more than 60 s (silence)"
    assert page.ask("$('stale').hidden") is True


def test_old_data_is_called_old_when_the_bridge_is_gone_and_new_when_it_is_back(page: Browser) -> None:
    page.ask("realFetch = fetch; fetch = () => Promise.reject(new TypeError('gone'))")
    page.until("!$('stale').hidden")
    assert re.fullmatch(
        r"No news from the bridge: it cannot be reached\. What you see is from .*\d\d.*\.", text(page, "#stale")
    )
    assert page.ask("getComputedStyle(document.querySelector('main')).opacity") == "0.55"
    assert page.ask(SHOWN)[0] == "NOPE.US"
    page.ask("fetch = realFetch")
    page.until("$('stale').hidden")


def test_a_bridge_that_stops_is_noticed(page: Browser, bridge: Bridge) -> None:
    bridge.stop()
    page.until("!$('stale').hidden")


def test_nothing_an_operator_writes_becomes_markup(browser: Browser) -> None:
    evil = "<img src=x onerror='document.title=666'>"
    with Bridge(
        (SymbolState(evil, evil, State.REJECTED, evil, evil),), LinkState(0, reason=evil, detail=evil)
    ) as bridge:
        browser.open(bridge.address)
        assert browser.ask(SHOWN) == [evil]
        assert browser.ask("document.querySelectorAll('img').length") == 0
        assert "666" not in text(browser, "title")
        assert browser.complaints == []


def test_three_thousand_symbols_are_shown_and_redrawn_in_good_time(browser: Browser) -> None:
    symbols = tuple(
        replace(LIVE, symbol=f"HKEX:{number:05}", code=f"{number}.HK", last_tick_us=NOW_US - 1_000 * number)
        for number in range(3000)
    )
    with Bridge(symbols) as bridge:
        browser.open(bridge.address)
        assert len(browser.ask(SHOWN)) == 3000
        took_ms = browser.ask("""(() => {
          const began = performance.now();
          for (const row of answer.symbols) row.last_tick_us -= 60e6;
          sortBy(COLUMNS[5]);
          document.body.offsetHeight;
          return performance.now() - began;
        })()""")
        assert browser.ask(SHOWN)[0] == "HKEX:00000"
        assert took_ms < 1000, "a redraw must be done before the next answer comes"


@pytest.mark.parametrize(("scheme", "dark"), [("light", False), ("dark", True)])
def test_the_page_is_light_or_dark_as_the_system_is(page: Browser, scheme: str, dark: bool) -> None:
    page.prefer(scheme)
    red = int(page.ask("getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0]"))
    assert (red < 100) is dark


def test_every_control_has_a_name(page: Browser) -> None:
    nameless = """[...document.querySelectorAll('input, button, meter, table, section')].filter(
      e => !(e.textContent.trim() || e.ariaLabel || e.getAttribute('aria-labelledby') || e.labels?.length)
    ).length"""
    assert page.ask(nameless) == 0
