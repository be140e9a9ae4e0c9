from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.data.bars import Bars
from ktrdr.core.data.calendars import MarketCalendar
from ktrdr.core.data.gaps import outside_hours
from ktrdr.core.data.sample import sample_bars
from ktrdr.core.data.shifted_clock import Clock, TimesRead, clock_remedy, propose_clock
from ktrdr.core.data.timeframe import Timeframe
from ktrdr.core.data.validation import validate_bars
from ktrdr.core.data.vendor.importer import import_file

_FX = MarketCalendar("FX")
_HOUR = np.timedelta64(1, "h")


def _zone(name: str) -> dt.tzinfo:
    return dt.timezone(dt.timedelta(hours=int(name[:3]))) if name[0] in "+-" else ZoneInfo(name)


def _local(time: np.ndarray, zone: str) -> np.ndarray:
    """Write instants on the clock of a zone, one by one."""
    seconds = time.astype("datetime64[s]").astype(np.int64).tolist()
    written = [dt.datetime.fromtimestamp(second, _zone(zone)).replace(tzinfo=None) for second in seconds]
    return np.array(written, dtype="datetime64[ns]")


def _moving(time: np.ndarray, timeframe: str = "1h", symbol: str = "EURUSD") -> Bars:
    price = 1 + np.random.default_rng(0).random(len(time))
    return Bars(symbol, Timeframe(timeframe), time, price, price + 1, price - 0.5, price, price)


def _sessions(market: str, timeframe: str, first: str, last: str) -> np.ndarray:
    """Opens of all bars of an exchange, on the grid of the timeframe."""
    step = Timeframe(timeframe).nanoseconds
    hours = MarketCalendar(market).sessions(np.datetime64(first), np.datetime64(last), Timeframe(timeframe))
    pieces = [
        np.arange(open_ // step * step, close, step) for open_, close in zip(hours.open, hours.close, strict=True)
    ]
    time = np.concatenate(pieces).view("datetime64[ns]")
    return time[(time >= np.datetime64(first)) & (time < np.datetime64(last) + np.timedelta64(1, "D"))]


def _propose(bars: Bars, market: MarketCalendar = _FX, read: TimesRead | None = None):
    return propose_clock(bars, market, outside_hours(bars, market), read or TimesRead(dt.UTC))


_ZONES = [
    "America/New_York", "America/Chicago", "Europe/London", "Europe/Berlin", "Europe/Athens", "Asia/Tokyo", "+02:00",
    "-05:00",
]  # fmt: skip


@pytest.mark.parametrize("zone", _ZONES)
def test_a_year_of_a_currency_pair_tells_its_zone(zone):
    proposal = _propose(_moving(_local(sample_bars().time, zone)))
    assert proposal is not None
    assert (proposal.clock, proposal.exact) == (Clock(zone), True)


def test_without_a_change_of_clocks_the_markets_own_zone_comes_first():
    january = sample_bars().time[:600]
    proposal = _propose(_moving(_local(january, "-05:00")))
    assert proposal is not None
    assert (proposal.clock, proposal.equal, proposal.same) == (Clock("America/New_York"), Clock("-05:00"), True)
    assert clock_remedy(proposal, TimesRead(dt.UTC)) == (
        "read in America/New_York they lie inside (-05:00 gives the same times here); delete "
        "the data set and import it again with --timezone America/New_York"
    )


def test_the_right_clock_gets_no_proposal():
    assert _propose(_moving(sample_bars().time)) is None


@pytest.mark.parametrize("zone", ["America/New_York", "America/Chicago"])
@pytest.mark.parametrize("timeframe", ["5m", "1h"])
def test_shares_tell_their_zone(zone, timeframe):
    time = _sessions("XNYS", timeframe, "2023-02-20", "2023-04-07")
    proposal = _propose(_moving(_local(time, zone), timeframe), MarketCalendar("XNYS"))
    assert proposal is not None
    assert (proposal.clock, proposal.exact, proposal.equal) == (Clock(zone), True, None)


def test_an_exchange_with_a_break_and_another_own_zone():
    time = _sessions("XTKS", "1h", "2023-03-01", "2023-03-31")
    proposal = _propose(_moving(_local(time, "Asia/Tokyo")), MarketCalendar("XTKS"))
    assert proposal is not None
    assert (proposal.clock, proposal.exact, proposal.same) == (Clock("Asia/Tokyo"), True, True)


def test_one_day_is_evidence_for_the_markets_own_zone_only():
    day = _sessions("XNYS", "1h", "2023-03-01", "2023-03-01")
    own = _propose(_moving(_local(day, "America/New_York")), MarketCalendar("XNYS"))
    assert own is not None
    assert own.clock == Clock("America/New_York")
    assert _propose(_moving(_local(day, "America/Chicago")), MarketCalendar("XNYS")) is None


def test_closes_taken_for_opens():
    time = sample_bars().time
    proposal = _propose(_moving(time + _HOUR))
    assert proposal is not None
    assert proposal.clock == Clock("UTC", "close")
    both = _propose(_moving(_local(time + _HOUR, "America/New_York")))
    assert both is not None
    assert both.clock == Clock("America/New_York", "close")
    assert clock_remedy(both, TimesRead(dt.UTC)).startswith("read as closes in America/New_York they lie inside; ")
    assert clock_remedy(both, TimesRead(dt.UTC)).endswith("with --timezone America/New_York --label close")


def test_opens_taken_for_closes():
    read = TimesRead(ZoneInfo("Europe/Berlin"), "close")
    proposal = _propose(_moving(sample_bars().time - _HOUR), read=read)
    assert proposal is not None
    assert proposal.clock == Clock("Europe/Berlin", "open")
    assert clock_remedy(proposal, read) == (
        "read as opens they lie inside (Europe/London with --label close gives the same times here); "
        "delete the data set and import it again with --timezone Europe/Berlin and "
        "without --label close"
    )


@pytest.mark.parametrize("zone", ["America/New_York", "UTC"])
def test_a_zone_that_was_given_and_is_wrong(zone):
    written = _local(sample_bars().time, zone)
    berlin = ZoneInfo("Europe/Berlin")
    proposal = _propose(_moving(_utc(written, "Europe/Berlin")), read=TimesRead(berlin))
    assert proposal is not None
    assert proposal.clock == Clock(zone)
    assert clock_remedy(proposal, TimesRead(berlin)).endswith(f"import it again with --timezone {zone}")


def test_times_that_say_a_zone_that_is_wrong():
    said = TimesRead(dt.UTC, said=True)
    proposal = _propose(_moving(_local(sample_bars().time, "America/New_York")), read=said)
    assert proposal is not None
    assert clock_remedy(proposal, said) == (
        "read in America/New_York they lie inside; write the file's times without a zone, such as 2017-01-31 14:00, "
        "delete the data set and import it again with --timezone America/New_York"
    )
    several = TimesRead(None, said=True)
    assert _propose(_moving(_local(sample_bars().time, "America/New_York")), read=several) is None
    closes = _propose(_moving(sample_bars().time + _HOUR), read=several)
    assert closes is not None
    assert clock_remedy(closes, several).endswith("; delete the data set and import it again with --label close")


def test_a_broker_whose_clock_follows_new_york():
    # Midnight of many brokers' servers is 17:00 in New York; no zone changes its clocks on the days of both.
    proposal = _propose(_moving(_local(sample_bars().time, "America/New_York") + 7 * _HOUR))
    assert proposal is not None
    assert (proposal.clock, proposal.exact) == (Clock("Europe/Athens"), False)
    assert "they lie inside, except for a few;" in clock_remedy(proposal, TimesRead(dt.UTC))


@pytest.mark.parametrize("market", ["XLON", "XTKS", "XHKG", "XBOM"])
def test_a_wrong_calendar_is_no_shifted_clock(market):
    for last in ("2022-12-30", "2022-02-25"):
        assert _propose(_moving(_sessions(market, "1h", "2022-01-03", last)), MarketCalendar("XNYS")) is None


def test_weekends_filled_with_flat_bars_are_no_shifted_clock():
    time = np.arange(np.datetime64("2017-01-02", "ns"), np.datetime64("2017-03-01", "ns"), _HOUR)
    bars = _moving(time)
    filled = outside_hours(bars, _FX)
    for column in (bars.high, bars.low):
        column[filled] = bars.close[filled]
    bars.volume[filled] = 0
    assert len(filled) > 300
    assert _propose(bars) is None


def test_a_few_hours_too_many_are_no_shifted_clock():
    time = sample_bars().time
    assert _propose(_moving(np.sort(np.append(time, np.datetime64("2017-03-04T12", "ns"))))) is None
    early = [open_ - _HOUR for open_ in time[1:][np.diff(time) > 24 * _HOUR]]
    assert _propose(_moving(np.sort(np.append(time, np.array(early))))) is None


def test_always_open_and_daily_bars_have_no_clock_to_be_shifted():
    time = _local(sample_bars().time, "America/New_York")
    assert _propose(_moving(time), MarketCalendar("24/7")) is None
    days = np.arange(np.datetime64("2017-01-01", "ns"), np.datetime64("2017-03-01", "ns"), 24 * _HOUR)
    assert _propose(_moving(days, "1d")) is None


def _utc(written: np.ndarray, zone: str) -> np.ndarray:
    """Read times on the clock of a zone, one by one."""
    read = [time.replace(tzinfo=_zone(zone)).timestamp() for time in written.astype("datetime64[s]").tolist()]
    return (np.array(read, dtype=np.int64) * 1_000_000_000).view("datetime64[ns]")


@given(
    zone=st.sampled_from([*_ZONES, "America/Los_Angeles", "Asia/Kolkata", "+07:00"]),
    label=st.sampled_from(["open", "close"]),
    read=st.sampled_from(["UTC", "Europe/Athens", "America/Chicago"]),
    first=st.integers(0, 5000),
    count=st.integers(200, 1200),
)
def test_bars_lie_inside_when_they_are_read_as_proposed(zone, label, read, first, count):
    right = sample_bars().time[first : first + count]
    written = _local(right + (label == "close") * _HOUR, zone)
    was = _moving(_utc(written, read))
    proposal = _propose(was, read=TimesRead(ZoneInfo(read)))
    if proposal is None:
        return  # the weeks lie inside as they were read, or too few of them tell
    now = _moving(_utc(written, proposal.clock.zone) - (proposal.clock.label == "close") * _HOUR)
    left = len(outside_hours(now, _FX))
    assert left <= 0.1 * len(outside_hours(was, _FX))
    assert (left == 0) == proposal.exact
    if proposal.clock == Clock(zone, label):
        assert np.array_equal(now.time, right)


def test_a_remedy_that_is_followed(store, tmp_path):
    bars = sample_bars()[1000:1600]
    path = tmp_path / "EURUSD.csv"
    written = _local(bars.time + _HOUR, "America/New_York").astype("datetime64[s]")
    rows = [
        f"{time},{o!r},{h!r},{low!r},{c!r},1"
        for time, o, h, low, c in zip(
            written, *(getattr(bars, name).tolist() for name in ("open", "high", "low", "close")), strict=True
        )
    ]
    path.write_text("\n".join(["time,open,high,low,close,volume", *rows]))
    findings = import_file(path, store).validations[0].findings
    (message,) = (finding.message for finding in findings if finding.kind == "outside_hours")
    assert message.endswith(
        "read as closes in America/New_York they lie inside; delete the data set and import it again with --timezone "
        "America/New_York --label close"
    )
    store.delete("EURUSD", "1h")
    assert import_file(path, store, timezone="America/New_York", label="close").validations[0].findings == ()
    assert np.array_equal(store.read("EURUSD", "1h").time, bars.time)


def test_stored_bars_are_told_of_too():
    report = validate_bars(_moving(_local(sample_bars().time, "America/New_York")))
    assert [finding.message for finding in report.findings if finding.kind == "outside_hours"] == [
        "225 bars lie outside the hours of FX (first 2017-01-01 17:00): read in America/New_York they lie inside; if "
        "it was imported without --timezone, delete the data set and import it again with --timezone America/New_York"
    ]
