"""A calendar file changes what is built in, adds markets, and is refused whole, with every fault told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bridge.errors import SettingsError
from bridge.ticks import markets
from bridge.ticks.calendar import Calendar, load
from bridge.ticks.calendar_file import KEYS
from tests.unit.ticks.moments import NEW_YORK, moment

DOCS = Path(__file__).parents[3] / "docs" / "markets.md"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "calendar.yaml"


def read(file: Path, text: str) -> Calendar:
    file.write_text(text, encoding="utf-8")
    return load(file)


def refused(file: Path, text: str) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as refusal:
        read(file, text)
    return tuple(line.removeprefix(f"{file}, ") for line in refusal.value.lines)


def test_an_empty_file_changes_nothing(file: Path) -> None:
    assert read(file, "# nothing yet\n").markets == Calendar.built_in().markets


def test_a_holiday_is_added_to_those_that_are_built_in(file: Path) -> None:
    calendar = read(file, "us: {holidays: [2026-12-01]}")
    noons = [moment(f"{day} 12:00", NEW_YORK) for day in ("2026-11-30", "2026-12-01", "2026-12-02", "2026-12-25")]
    assert [calendar.is_open("us", noon) for noon in noons] == [True, False, True, False]


def test_an_early_close_is_a_time_of_the_day_with_or_without_quotes(file: Path) -> None:
    calendar = read(file, 'us: {early_closes: {2026-12-01: 12:00, 2026-12-02: "15:00"}}')
    for day, close in (("2026-12-01", "12:00"), ("2026-12-02", "15:00"), ("2026-12-24", "13:00")):
        end = moment(f"{day} {close}", NEW_YORK)
        assert [calendar.is_open("us", end - 1), calendar.is_open("us", end)] == [True, False]


def test_sessions_take_the_place_of_those_that_are_built_in_and_the_rest_stays(file: Path) -> None:
    calendar = read(file, "us: {sessions: {mon-fri: 04:00-20:00}}")
    assert calendar.is_open("us", moment("2026-12-01 04:00", NEW_YORK))
    assert not calendar.is_open("us", moment("2026-12-25 12:00", NEW_YORK))
    assert calendar.known_until("us") == Calendar.built_in().known_until("us")


def test_replacing_a_market_forgets_its_holidays(file: Path) -> None:
    calendar = read(file, "us: {replace: true, timezone: America/New_York, sessions: {fri: 09:30-16:00}}")
    assert calendar.is_open("us", moment("2026-12-25 12:00", NEW_YORK))
    assert not calendar.is_open("us", moment("2026-12-24 12:00", NEW_YORK))
    assert calendar.known_until("us") is None


def test_a_new_market_has_the_codes_it_claims(file: Path) -> None:
    text = 'sg: {timezone: Asia/Singapore, codes: ["*.SG"], sessions: {mon-fri: ["09:00-12:00", "13:00-17:00"]}}'
    calendar = read(file, text)
    assert [calendar.market_of(code) for code in ("D05.SG", "D05.SGX", "700.HK")] == ["sg", None, "hk"]
    assert calendar.is_open("sg", moment("2026-12-25 09:00", "Asia/Singapore"))


def test_a_claimed_code_leaves_the_market_that_its_spelling_tells(file: Path) -> None:
    calendar = read(file, "crypto: {codes: [.DJI.US]}")
    assert [calendar.market_of(code) for code in (".DJI.US", "AAPL.US", "BTCUSDT")] == ["crypto", "us", "crypto"]


def test_a_claim_goes_before_the_exchange_that_the_symbol_names(file: Path) -> None:
    calendar = read(file, "gold: {codes: [GOLD], timezone: UTC, sessions: {mon-fri: '09:00-17:00'}}")
    assert calendar.market_of("GOLD", "NYSE:GOLD") == "gold"
    assert calendar.market_of("GOLD2", "NYSE:GOLD2") == "us"


def test_a_session_may_begin_the_evening_before_and_days_may_wrap_around_the_week(file: Path) -> None:
    text = "night: {timezone: UTC, sessions: {sun-mon: 22:00-06:00}, holidays: [2026-12-07]}"
    calendar = read(file, text)
    hours = ["2026-12-05 22:00", "2026-12-06 05:59", "2026-12-06 06:00", "2026-12-06 22:00", "2026-12-13 22:00"]
    assert [calendar.is_open("night", moment(hour)) for hour in hours] == [True, True, False, False, True]


def test_the_example_in_the_documentation_does_what_is_said_of_it(file: Path) -> None:
    examples = re.findall(r"```yaml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert len(examples) == 1
    calendar = read(file, examples[0])
    assert not calendar.is_open("us", moment("2027-01-14 12:00", NEW_YORK))
    assert not calendar.is_open("cn", moment("2027-02-08 10:00", "Asia/Shanghai"))
    assert calendar.known_until("cn") == "2027-12-31"
    assert [calendar.market_of(code) for code in ("NAS100", "UKOIL", "USDCNY")] == ["index-cfd", "brent", None]
    assert calendar.is_open("brent", moment("2026-12-01 20:00", NEW_YORK))
    assert not calendar.is_open("brent", moment("2026-12-01 19:00", NEW_YORK))
    assert not calendar.is_open("index-cfd", moment("2026-12-24 13:15", NEW_YORK))


def test_the_documentation_names_every_market_and_every_key() -> None:
    text = DOCS.read_text(encoding="utf-8")
    assert [name for name in (*markets.built_in(), *KEYS) if f"`{name}`" not in text] == []


def test_the_documentation_says_until_when_the_built_in_holidays_are_known() -> None:
    rows = re.findall(r"^\| (`.*`) \| (\d{4}-\d{2}-\d{2}) \|$", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    said = {market.strip("` "): until for names, until in rows for market in names.split(",")}
    known = {market: rules.known_until for market, rules in markets.built_in().items() if rules.known_until}
    assert said == known


# What is wrong with a file


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("us: {holidays: [25.12.2026]}", "us.holidays: '25.12.2026' cannot be used; give a list of dates"),
        ("us: {holidays: [2026-02-30]}", "us.holidays: '2026-02-30' cannot be used"),
        ("us: {holidays: [20261225]}", "us.holidays: '20261225' cannot be used"),
        ("us: {holidays: [2026-W52-5]}", "us.holidays: '2026-W52-5' cannot be used"),
        ("us: {holidays: {2026-12-25: x}}", "us.holidays: is no list of texts"),
        ("us: {holidays: [[2026-12-25]]}", "us.holidays: is no list of texts"),
        ("us: {holidays: }", "us.holidays: is no list of texts"),
        ("us: {early_closes: {2026-12-24: 25:00}}", "us.early_closes.2026-12-24: '25:00' cannot be used"),
        ("us: {early_closes: {2026-12-24: 1pm}}", "us.early_closes.2026-12-24: '1pm' cannot be used"),
        ("us: {early_closes: {2026-12-24: 12:60}}", "us.early_closes.2026-12-24: '12:60' cannot be used"),
        ("us: {early_closes: {2026-12-24: [12:00]}}", "us.early_closes.2026-12-24: is no single value"),
        ("us: {early_closes: {christmas: 12:00}}", "us.early_closes: 'christmas' cannot be used"),
        ("us: {early_closes: [2026-12-24]}", "us.early_closes: is no mapping"),
        ("us: {sessions: {mo-fr: 09:30-16:00}}", "us.sessions.mo-fr: 'mo-fr' cannot be used; give weekdays"),
        ("us: {sessions: {mon: 9.30-16.00}}", "us.sessions.mon: '9.30-16.00' cannot be used"),
        ("us: {sessions: {mon: 09:30}}", "us.sessions.mon: '09:30' cannot be used"),
        ("us: {sessions: {mon-wed: 09:30-16:00, wed: 09:30-12:00}}", "us.sessions.wed: wed has sessions already"),
        ("us: {sessions: {}}", "us.sessions: a market without sessions is never open"),
        ("us: {timezone: America/Gotham}", "us.timezone: 'America/Gotham' cannot be used; give the IANA name"),
        ("us: {timezone: America}", "us.timezone: 'America' cannot be used"),
        ("us: {timezone: ../etc/passwd}", "us.timezone: '../etc/passwd' cannot be used"),
        ("us: {known_until: soon}", "us.known_until: 'soon' cannot be used; give the last date"),
        ("us: {replace: maybe}", "us.replace: 'maybe' cannot be used; give true"),
        ("us: {replace: true}", "us: replaces what is built in; give it timezone and sessions"),
        ("us: {codes: {a: b}}", "us.codes: is no list of texts"),
        ("us: {holiday: [2026-12-25]}", "us.holiday: no key is called so; there are timezone, sessions"),
        ("us: closed", "us: is no mapping; give any of timezone"),
        ("us: {[a]: b}", "us: has a key that is no text"),
        ("lse: {timezone: Europe/London}", "lse: is no market that is built in; give it timezone and sessions"),
        ("[us]", "is no mapping; write one mapping for each market"),
    ],
)
def test_a_fault_is_told_with_its_line_its_key_and_a_remedy(file: Path, text: str, fault: str) -> None:
    (line,) = refused(file, f"# a comment\n{text}\n")
    assert line.startswith(f"line 2: {fault}")
    assert "; " in line or "there are" in line


def test_all_faults_are_told_at_once_each_with_its_own_line(file: Path) -> None:
    lines = refused(file, "us:\n  holidays:\n  - 2026-12-25\n  - xmas\n  timezone: Mars\nhk:\n  replace: 1\n")
    assert [line.partition(":")[0] for line in lines] == ["line 4", "line 5", "line 7"]


def test_a_key_given_twice_is_a_fault(file: Path) -> None:
    assert refused(file, "us: {}\nhk: {}\nus: {}\n") == ("line 3: us: is given twice, first in line 1; give it once",)
    (line,) = refused(file, "us:\n  holidays: []\n  holidays: []\n")
    assert line == "line 3: us.holidays: is given twice, first in line 2; give it once"


def test_broken_yaml_is_told_with_its_line(file: Path) -> None:
    assert refused(file, "us: {}\nhk: [\n") == ("line 3: is not valid YAML; mend the file",)


def test_a_file_that_is_missing_or_not_utf_8_is_told_by_its_name(file: Path) -> None:
    with pytest.raises(SettingsError, match=rf"{re.escape(str(file))}: No such file.*; give a readable YAML file"):
        load(file)
    file.write_bytes(b"us: \xff")
    with pytest.raises(SettingsError, match="is not UTF-8; save it as UTF-8"):
        load(file)


def test_the_names_of_weekdays_and_truths_are_read_in_the_letters_of_the_documentation(file: Path) -> None:
    calendar = read(file, "x: {timezone: UTC, sessions: {Mon - Tue: 9:00 - 10:00}, replace: false}")
    assert calendar.is_open("x", moment("2026-12-01 09:30"))
