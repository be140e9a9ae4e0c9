from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.data.bars import Bars
from ktrdr.core.data.consistency import check_bars
from ktrdr.core.data.timeframe import Timeframe
from ktrdr.core.data.vendor.importer import import_file
from ktrdr.core.data.vendor.short_bars import align, find_short_bars
from ktrdr.core.errors import BadInputError

_MINUTE = 60_000_000_000
_HOUR = 60 * _MINUTE
_NEW_YORK = ZoneInfo("America/New_York")


def _new_york(days: list[str], clocks: list[str]) -> np.ndarray:
    """Opens in nanoseconds since 1970 of every clock on every day, local time of New York."""
    opens = [
        dt.datetime.fromisoformat(f"{day} {clock}").replace(tzinfo=_NEW_YORK).timestamp()
        for day in days
        for clock in clocks
    ]
    return np.array(opens, dtype=np.int64) * 1_000_000_000


def _clocks(time: np.ndarray) -> list[str]:
    """Times as clocks of New York, without repetition, in order."""
    return list(dict.fromkeys(f"{dt.datetime.fromtimestamp(t / 1e9, _NEW_YORK):%H:%M}" for t in time.tolist()))


def _days(first: str, count: int) -> list[str]:
    days = np.arange(np.datetime64(first), np.datetime64(first) + count)
    return [str(day) for day in days if np.is_busday(day)]


_SHARE = ["09:30", "10:00", "11:00", "12:00", "13:00", "14:00", "15:00"]
_PAIR = ["17:15", *(f"{hour:02}:00" for hour in range(18, 24))]


@pytest.mark.parametrize(
    ("timeframe", "clocks", "aligned"),
    [
        ("1h", _SHARE, ["09:00", *_SHARE[1:]]),
        ("2h", ["09:30", "10:00", "12:00", "14:00"], ["08:00", "10:00", "12:00", "14:00"]),
        ("4h", ["09:30", "12:00"], ["08:00", "12:00"]),
        ("1h", _PAIR, ["17:00", *_PAIR[1:]]),
        ("30m", ["17:15", "17:30", "18:00", "18:30"], ["17:00", "17:30", "18:00", "18:30"]),
        ("4h", ["17:15", "20:00"], ["16:00", "20:00"]),
    ],
)
def test_sessions_of_interactive_brokers_in_summer_and_winter(timeframe, clocks, aligned, bars_at):
    days = _days("2024-02-26", 40)  # clocks change on March 10
    time = _new_york(days, clocks)
    short = find_short_bars(time, Timeframe(timeframe).nanoseconds)
    assert short is not None
    assert short.rows.tolist() == list(range(0, len(time), len(clocks)))
    assert not short.merged.any()
    assert short.complete
    bars, kept = align(bars_at(time.view("datetime64[ns]"), timeframe), short)
    check_bars(bars)
    assert _clocks(bars.time.view(np.int64)) == aligned
    assert kept.tolist() == list(range(len(time)))


def test_two_bars_in_one_slot_become_one(bars_at):
    clocks = ["15:00", "16:00", "17:00", "17:15", "18:00"]
    time = _new_york(_days("2024-01-08", 3), clocks)
    bars = bars_at(time.view("datetime64[ns]"))
    bars.volume[13] = np.nan
    short = find_short_bars(time, _HOUR)
    assert short is not None
    assert (short.rows.tolist(), short.merged.tolist()) == ([3, 8, 13], [True] * 3)
    merged, kept = align(bars, short)
    assert kept.tolist() == [0, 1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 14]
    assert _clocks(merged.time.view(np.int64)) == ["15:00", "16:00", "17:00", "18:00"]
    assert (merged.open[2], merged.close[2]) == (bars.open[2], bars.close[3])
    assert (merged.high[2], merged.low[2]) == (max(bars.high[2:4]), min(bars.low[2:4]))
    assert merged.volume[2] == bars.volume[2] + bars.volume[3]
    assert np.isnan(merged.volume[10])
    assert merged.close[3] == bars.close[4]


@pytest.mark.parametrize(
    ("timeframe", "minutes"),
    [
        ("1h", [0, 60, 120, 180]),  # on the grid
        ("1h", [0, 60, 61, 120]),  # not a multiple of five minutes
        ("1h", [0, 60, 120, 167]),  # a snapshot at the end
        ("1h", [0, 60, 80, 100, 120, 180]),  # two in one slot
        ("1h", [0, 30, 60, 90, 120, 150, 180, 240, 300, 360, 420]),  # finer bars before hourly ones
        ("1h", [0, 60, 150, 240, 300]),  # off the grid, with nothing cut short
        ("1d", [0, 90, 1440, 2880]),
        ("1h", [0]),
        ("1h", []),
    ],
)
def test_other_bars_off_the_grid_are_none(timeframe, minutes):
    assert find_short_bars(np.array(minutes, dtype=np.int64) * _MINUTE, Timeframe(timeframe).nanoseconds) is None


def _slow_short(time: list[int], step: int) -> list[int]:
    """The definition, bar by bar; for timeframes of an hour and less."""
    weight: dict[int, int] = {}
    for i, t in enumerate(time):
        follows = i > 0 and t - time[i - 1] < step
        weight[t % step] = weight.get(t % step, 0) + 1 + follows
    phase = max(weight, key=lambda p: (weight[p], p))
    found: dict[int, bool] = {}
    for i, t in enumerate(time):
        slot = (t - phase) // step * step + phase
        off = t != slot and (t - slot) % (5 * _MINUTE) == 0
        first = i == 0 or time[i - 1] <= slot
        last = i == len(time) - 1
        if off and first and (last or time[i + 1] >= slot + step):
            found[i] = not last and time[i + 1] == slot + step
    minutes = [(time[i] - phase) % step for i, cut in found.items() if cut]
    if not minutes:
        return []
    usual = max(sorted(set(minutes)), key=minutes.count)
    same = [i for i in found if (time[i] - phase) % step == usual]
    slots = {(time[i] - phase) // step for i in same}
    rows = [i for i in same if not slots & {(time[i] - phase) // step - 1, (time[i] - phase) // step + 1}]
    return rows if any(found[i] for i in rows) else []


_TIMES = st.lists(st.sampled_from([0, 0, 0, 0, 5, 15, 15, 30, 31]), min_size=2, max_size=14).flatmap(
    lambda minutes: st.lists(st.integers(0, 2), min_size=len(minutes), max_size=len(minutes)).map(
        lambda hours: sorted(
            {int(h) * _HOUR + m * _MINUTE for h, m in zip(np.cumsum(hours).tolist(), minutes, strict=True)}
        )
    )
)


@given(_TIMES, st.sampled_from([30, 60]))
def test_short_bars_are_those_of_the_definition(time, minutes):
    if len(time) < 2:
        return
    step = minutes * _MINUTE
    short = find_short_bars(np.array(time, dtype=np.int64), step)
    assert ([] if short is None else short.rows.tolist()) == _slow_short(time, step)


@given(_TIMES, st.integers(0, 99))
def test_aligned_bars_are_those_of_one_slot_put_together(time, seed):
    if len(time) < 2:
        return
    short = find_short_bars(np.array(time, dtype=np.int64), _HOUR)
    if short is None:
        return
    generator = np.random.default_rng(seed)
    low, middle, high = np.sort(generator.random((3, len(time))) + 1, axis=0)
    times = np.array(time, dtype=np.int64).view("datetime64[ns]")
    bars = Bars("EURUSD", Timeframe("1h"), times, middle, high, low, middle[::-1].copy(), high * 9)
    merged, kept = align(bars, short)
    slots = dict(zip(short.rows.tolist(), short.slots.tolist(), strict=True))
    groups: dict[int, list[int]] = {}
    for i, t in enumerate(time):
        groups.setdefault(slots.get(i, t), []).append(i)
    assert merged.time.view(np.int64).tolist() == list(groups)
    assert kept.tolist() == [rows[0] for rows in groups.values()]
    for i, rows in enumerate(groups.values()):
        assert (merged.open[i], merged.close[i]) == (bars.open[rows[0]], bars.close[rows[-1]])
        assert (merged.high[i], merged.low[i]) == (max(bars.high[rows]), min(bars.low[rows]))
        assert merged.volume[i] == sum(bars.volume[rows])
    steps = np.diff(merged.time.view(np.int64))
    assert short.complete == bool((steps >= _HOUR).all())


def _csv(time: np.ndarray) -> str:
    opens = time.view("datetime64[ns]").astype("datetime64[s]")
    rows = [f"{open_},10,11,9,10.5,{5 + i}" for i, open_ in enumerate(opens)]
    return "\n".join(["time,open,high,low,close,volume", *rows]) + "\n"


def test_the_refusal_proposes_align_and_align_works(store, tmp_path):
    path = tmp_path / "AAPL.csv"
    time = _new_york(_days("2024-01-08", 5), _SHARE)
    path.write_text(_csv(time))
    with pytest.raises(
        BadInputError,
        match=r"AAPL\.csv, line 3: the bar of 2024-01-08 15:00 opens before the one of 2024-01-08 14:30 has closed .*; "
        r"5 bars are short ones that open a session before the grid of 1h begins \(first 2024-01-08 14:30\), as "
        r"Interactive Brokers delivers them; --align puts them on the grid and merges 0 with the grid's bar",
    ):
        import_file(path, store)
    report = import_file(path, store, align=True)
    assert [finding.message for finding in report.validations[0].findings] == [
        "5 short bars were put on the grid, 0 of them merged with the grid's bar of the same slot"
    ]
    assert _clocks(store.read("AAPL", "1h").time.view(np.int64)) == ["09:00", *_SHARE[1:]]
    assert report.validations[0].gaps["unexpected"] == 0


def test_four_hour_bars_of_a_share(store, tmp_path):
    path = tmp_path / "AAPL.csv"
    path.write_text(_csv(_new_york(_days("2024-01-08", 10), ["09:30", "12:00"])))
    with pytest.raises(BadInputError, match="--align puts them on the grid"):
        import_file(path, store, timeframe="4h")
    import_file(path, store, timeframe="4h", align=True)
    assert _clocks(store.read("AAPL", "4h").time.view(np.int64)) == ["08:00", "12:00"]


def test_align_mends_nothing_else(store, tmp_path):
    path = tmp_path / "EURUSD.csv"
    time = _new_york(_days("2024-01-08", 5), ["16:00", "17:00", "17:15", "18:00", "19:00"])
    glitch = np.sort(np.append(time, time[-1] + 17 * _MINUTE))
    path.write_text(_csv(np.append(glitch, glitch[-1] + 43 * _MINUTE)))
    with pytest.raises(BadInputError, match="--align puts them on the grid and merges 5 with"):
        import_file(path, store)
    with pytest.raises(BadInputError, match="line 27: .* opens before .*; 1h bars must be 1h apart: leave one"):
        import_file(path, store, align=True)


def test_align_says_where_it_found_nothing(store, tmp_path, make_bars):
    path = tmp_path / "BTCUSDT.csv"
    path.write_text(_csv(make_bars(30).time.astype(np.int64)))
    report = import_file(path, store, align=True)
    assert report.validations[0].findings[0].message == "no short bars were found, so --align changed nothing"


def test_a_bad_row_is_refused_before_anything_is_aligned(store, tmp_path):
    path = tmp_path / "AAPL.csv"
    text = _csv(_new_york(_days("2024-01-08", 5), _SHARE))
    path.write_text(text.replace(",10,11,9,10.5,5\n", ",10,8,9,10.5,5\n"))
    with pytest.raises(BadInputError, match="line 2: .* has its high 8 below its low 9"):
        import_file(path, store, align=True)
    report = import_file(path, store, align=True, skip_bad=True)
    assert [finding.count for finding in report.validations[0].findings if finding.kind == "aligned"] == [4]


def test_aligned_bars_keep_their_calendar(store, tmp_path):
    time = _new_york(_days("2024-01-08", 5), ["09:30", "10:00", "11:00", "12:00"])
    (tmp_path / "SHARE.csv").write_text(_csv(time))
    import_file(tmp_path / "SHARE.csv", store, align=True, calendar="XNAS")
    assert store.read("SHARE", "1h").calendar == store.calendar("SHARE")
    assert store.calendar("SHARE") is not None
