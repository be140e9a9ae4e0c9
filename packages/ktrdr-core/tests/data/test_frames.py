"""Bars from DataFrames and back: exact, and as an import of the same frame written to a file."""

from __future__ import annotations

import datetime as dt
import re
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ktrdr.core.data as data
from ktrdr.core.data.bar_store import default_store
from ktrdr.core.data.frames import instant
from ktrdr.core.errors import BadInputError, NotFoundError

COLUMNS = ["open", "high", "low", "close", "volume"]


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    directory = tmp_path / "home"
    monkeypatch.setenv("KTRDR_HOME", str(directory))
    return directory


def bars(n: int = 48, *, start: str = "2017-01-02 00:00", freq: str = "h", tz: str | None = "UTC", seed: int = 0):
    """Plausible random bars with a volume that is unknown here and there."""
    generator = np.random.default_rng(seed)
    open_, close = 100 + generator.normal(0, 1, n), 100 + generator.normal(0, 1, n)
    high, low = np.maximum(open_, close) + generator.random(n), np.minimum(open_, close) - generator.random(n)
    volume = np.where(generator.random(n) < 0.1, np.nan, generator.integers(1, 10**6, n))
    index = pd.date_range(start, periods=n, freq=freq, tz=tz, name="time", unit="ns")
    return pd.DataFrame(dict(zip(COLUMNS, (open_, high, low, close, volume), strict=True)), index=index)


def stored(symbol: str = "EURUSD", timeframe: str = "1h") -> pd.DataFrame:
    return data.load(symbol, timeframe)


def refused(frame, message, **options):
    with pytest.raises(BadInputError, match=message) as caught:
        data.from_frame(frame, **{"symbol": "EURUSD"} | options)
    assert "\n" not in str(caught.value)
    assert "--" not in str(caught.value)
    assert not re.search(r"\bfile\b", str(caught.value))
    assert data.list().empty


class TestLoad:
    def test_a_frame_of_floats_with_the_opens_in_utc(self):
        data.import_sample()
        frame = data.load("EURUSD", "1h")
        assert (frame.index.name, str(frame.index.dtype)) == ("time", "datetime64[ns, UTC]")
        assert frame.columns.tolist() == COLUMNS
        assert set(frame.dtypes.astype(str)) == {"float64"}
        assert len(frame) == 6225

    def test_a_timeframe_that_is_made_of_a_finer_one(self):
        data.import_sample()
        hours, fours = data.load("EURUSD", "1h"), data.load("EURUSD", "4h")
        high = hours["high"].resample("4h").max().dropna()
        np.testing.assert_array_equal(fours["high"], high[: len(fours)])

    @pytest.mark.parametrize(
        "start",
        [
            "2017-01-03",
            "2017-01-03T00:00Z",
            dt.date(2017, 1, 3),
            dt.datetime(2017, 1, 3),
            dt.datetime(2017, 1, 3, 2, tzinfo=dt.timezone(dt.timedelta(hours=2))),
            pd.Timestamp("2017-01-03"),
            pd.Timestamp("2017-01-02 19:00", tz="America/New_York"),
            np.datetime64("2017-01-03"),
        ],
    )
    def test_a_time_in_any_form(self, start):
        data.import_sample()
        frame = data.load("EURUSD", "1h", start, pd.Timestamp("2017-01-04"))
        assert frame.index[0] == pd.Timestamp("2017-01-03", tz="UTC")
        assert frame.index[-1] == pd.Timestamp("2017-01-03 23:00", tz="UTC")

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            ("soon", "^start: 'soon' is not a date: write it as 2017-01-31"),
            (2017, "^start: 2017 is not a date: give text such as '2017-01-31', a date"),
            (pd.NaT, "^start: 'NaT' is not a date"),
            (dt.date(1066, 1, 1), "outside 1678 to 2261"),
        ],
    )
    def test_what_is_no_time(self, value, message):
        with pytest.raises(BadInputError, match=message):
            instant(value, "start")

    def test_an_end_before_the_start(self):
        with pytest.raises(BadInputError, match="is not after the start"):
            data.load("EURUSD", "1h", "2017-01-03", "2017-01-02")

    def test_what_is_not_stored(self):
        with pytest.raises(NotFoundError, match=r"none are stored\); `kt.data.import_files\(FILE\)` adds some"):
            data.load("EURUSD", "1h")


class TestRoundTrip:
    @given(
        n=st.integers(2, 60),
        seed=st.integers(0, 2**32 - 1),
        timeframe=st.sampled_from([("1m", "min"), ("15m", "15min"), ("1h", "h"), ("4h", "4h"), ("1d", "D")]),
        zone=st.sampled_from(["UTC", None, "Asia/Tokyo", "America/New_York"]),
    )
    def test_every_bit_comes_back(self, n, seed, timeframe, zone):
        name, freq = timeframe
        frame = bars(n, start="2017-01-03", freq=freq, tz=zone, seed=seed)
        if default_store().has("EURUSD", name):
            data.delete("EURUSD")
        data.from_frame(frame, symbol="EURUSD", timeframe=name)
        expected = frame.tz_localize("UTC") if zone is None else frame.tz_convert("UTC")
        pd.testing.assert_frame_equal(stored(timeframe=name), expected, check_exact=True, check_freq=False)
        assert stored(timeframe=name).to_numpy().tobytes() == expected.to_numpy().tobytes()

    def test_what_load_gives_is_unchanged(self):
        data.import_sample()
        result = data.from_frame(data.load("EURUSD", "1h"), symbol="EURUSD")
        assert result.table.loc[0, ["added", "replaced", "unchanged"]].tolist() == [0, 0, 6225]

    def test_the_frame_is_not_changed(self):
        frame = bars()
        before = frame.copy(deep=True)
        data.from_frame(frame, symbol="EURUSD")
        pd.testing.assert_frame_equal(frame, before)


def _named(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.rename(columns=str.title).rename_axis("Date")


def _split_year(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[frame.index.day_of_week < 5]


# Frames as notebooks have them, and options; each is stored once as a frame and once from a file of it.
SHAPES = {
    "utc": (bars(), {}),
    "naive": (bars(tz=None), {}),
    "naive with a zone": (bars(tz=None), {"timezone": "Europe/Berlin"}),
    "naive with an offset": (bars(tz=None), {"timezone": "-03:00"}),
    "clocks go back": (bars(300, start="2017-10-27 00:00", tz="America/New_York"), {}),
    "clocks go forward": (bars(300, start="2017-03-10 00:00", tz="America/New_York"), {}),
    "an hour that occurs twice": (
        bars(100, start="2017-11-04 00:00", tz="America/New_York").tz_localize(None),
        {"timezone": "America/New_York"},
    ),
    "capitals": (_named(bars()), {}),
    "newest first": (bars()[::-1], {}),
    "a column of times": (bars(tz=None).reset_index(), {}),
    "no volume": (bars().drop(columns="volume"), {}),
    "whole numbers": (bars().fillna(5).assign(open=100, high=200, low=50, close=60).astype({"volume": "int64"}), {}),
    "adjusted closes": (_named(bars()).assign(**{"Adj Close": 1.0}), {}),
    "more columns": (bars().assign(trades=3), {}),
    "two volumes": (bars().assign(volume=0.0, tickvol=7.0), {}),
    "daily bars of a share": (_split_year(bars(60, freq="D", tz="America/New_York")), {"symbol": "AAPL"}),
    "daily bars of a currency": (_split_year(bars(60, freq="D", tz=None)), {}),
    "closes": (bars(), {"label": "close"}),
    "other names": (bars().rename(columns={"close": "PX"}), {"columns": {"close": "PX"}}),
    "an infinite price left out": (bars().replace({"high": {bars()["high"].iloc[3]: np.inf}}), {"skip_bad": True}),
    "missing prices left out": (bars().mask(bars() > 101.5), {"skip_bad": True}),
    "a calendar": (bars(), {"calendar": "24/7"}),
    "symbols in a column": (
        pd.concat([bars(tz=None).assign(symbol="AAA"), bars(tz=None, seed=1).assign(symbol="BBB")]),
        {"symbol": None, "calendar": "24/7"},
    ),
    "one of the symbols": (
        pd.concat([bars(tz=None).assign(symbol="AAA"), bars(tz=None, seed=1).assign(symbol="BBB")]),
        {"symbol": "BBB", "calendar": "24/7"},
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_frame_is_stored_as_the_same_frame_written_to_a_file(shape, tmp_path, monkeypatch):
    frame, given_options = SHAPES[shape]
    options = {"symbol": "EURUSD"} | given_options
    monkeypatch.setenv("KTRDR_HOME", str(tmp_path / "by file"))
    path = tmp_path / "frame.csv"
    frame.to_csv(path, float_format="%.17g")
    by_file = data.import_files(path, **options)
    listed = data.list().drop(columns="bytes")
    loaded = [data.load(write.symbol, write.timeframe) for write in by_file.writes]

    monkeypatch.setenv("KTRDR_HOME", str(tmp_path / "by frame"))
    by_frame = data.from_frame(frame, **options)
    pd.testing.assert_frame_equal(by_frame.table, by_file.table)
    pd.testing.assert_frame_equal(data.list().drop(columns="bytes"), listed)
    for write, expected in zip(by_frame.writes, loaded, strict=True):
        pd.testing.assert_frame_equal(data.load(write.symbol, write.timeframe), expected, check_exact=True)
    assert len(by_frame.warnings) == len(by_file.warnings)


class TestColumnsAndTimes:
    """Frames that no file can be."""

    def test_dates_as_objects(self):
        frame = bars(5, freq="D", tz=None)
        frame.index = pd.Index([time.date() for time in frame.index], dtype=object)
        data.from_frame(frame, symbol="EURUSD")
        assert stored(timeframe="1d").index[0] == pd.Timestamp("2017-01-02", tz="UTC")

    def test_datetimes_with_zones_as_objects(self):
        frame = bars(5)
        frame.index = pd.Index(frame.index.to_pydatetime(), dtype=object)
        data.from_frame(frame, symbol="EURUSD")
        np.testing.assert_array_equal(stored().to_numpy(), bars(5).to_numpy())

    def test_periods_are_their_starts(self):
        frame = bars(5, tz=None)
        frame.index = frame.index.to_period("h")
        data.from_frame(frame, symbol="EURUSD")
        assert stored().index[0] == pd.Timestamp("2017-01-02", tz="UTC")

    @pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
    def test_times_of_any_resolution(self, unit):
        data.from_frame(bars().set_axis(bars().index.as_unit(unit)), symbol="EURUSD")
        pd.testing.assert_frame_equal(stored(), bars(), check_freq=False)

    def test_nullable_and_decimal_numbers(self):
        frame = bars(5).fillna(7).astype({"open": "Float64", "volume": "Int64"}, errors="ignore")
        frame["volume"] = pd.array([1, None, 3, 4, 5], dtype="Int64")
        frame["high"] = [Decimal(repr(value)) for value in frame["high"]]
        data.from_frame(frame, symbol="EURUSD")
        assert np.isnan(stored()["volume"].iloc[1])
        np.testing.assert_array_equal(stored()["high"], bars(5)["high"])

    def test_a_level_of_the_index_holds_the_symbol(self):
        both = pd.concat({"AAA": bars(), "BBB": bars(seed=1)}, names=["symbol", "time"])
        result = data.from_frame(both, calendar="24/7")
        assert result.table["symbol"].tolist() == ["AAA", "BBB"]
        pd.testing.assert_frame_equal(stored("BBB"), bars(seed=1), check_freq=False)

    @pytest.mark.parametrize("prices_first", [True, False])
    def test_headings_with_tickers(self, prices_first):
        both = pd.concat({"AAA": bars(), "BBB": bars(seed=1)}, axis=1)
        both = both.swaplevel(axis=1) if prices_first else both
        data.from_frame(both, symbol="BBB", calendar="24/7")
        pd.testing.assert_frame_equal(stored("BBB"), bars(seed=1), check_freq=False)
        one = both.loc[:, both.columns.get_level_values(1 if prices_first else 0) == "AAA"]
        assert data.from_frame(one, calendar="24/7").table["symbol"].tolist() == ["AAA"]

    def test_the_index_wins_over_a_column_of_times(self):
        frame = bars().assign(timestamp=pd.Timestamp("2001-01-01"))
        result = data.from_frame(frame, symbol="EURUSD")
        assert stored().index[0] == pd.Timestamp("2017-01-02", tz="UTC")
        assert result.notes == ("left out: timestamp",)

    def test_another_symbol_than_the_one_in_the_frame(self):
        result = data.from_frame(bars().assign(symbol="eur/usd"), symbol="EURUSD")
        assert result.notes == ("symbol eur/usd is stored as EURUSD",)

    def test_rows_left_out_are_reported(self):
        frame = bars()
        frame.iloc[3, 0] = np.nan
        result = data.from_frame(frame, symbol="EURUSD", skip_bad=True)
        assert "1 row is no bar and was left out: iloc[3]: open is missing" in result.warnings[0]
        assert len(stored()) == len(frame) - 1


class TestRefused:
    def test_a_column_is_missing(self):
        refused(bars().drop(columns="low"), r'the frame has no column for low; .* columns=\{"low": "NAME"\}$')

    def test_two_columns_are_the_same(self):
        refused(pd.concat([bars(), bars()[["open"]]], axis=1), "several columns for open .*; keep one of them")

    def test_times_in_disorder(self):
        frame = bars()
        refused(frame.iloc[[0, 1, 5, 3, 4]], r"iloc\[3\]: 2017-01-02 03:00 comes after .*; sort the frame by time$")

    def test_times_that_are_there_twice(self):
        frame = bars()
        message = r"iloc\[3\]: the time 2017-01-02 02:00 occurs twice; keep the row that counts in the frame$"
        refused(pd.concat([frame[:3], frame[2:]]), message)

    def test_no_time_in_the_index(self):
        message = r"its index holds whole numbers: make the times its index, such as with frame.index = pd.to_datetime"
        refused(bars().reset_index(drop=True), message)

    def test_times_as_text(self):
        refused(
            bars().set_axis(bars().index.astype(str)), r"such as '2017-.*frame.index = pd.to_datetime\(frame.index\)$"
        )

    def test_times_as_numbers(self):
        frame = bars().reset_index()
        frame["time"] = frame["time"].astype("int64") // 10**6
        refused(frame, r'frame\["time"\] = pd.to_datetime\(frame\["time"\], unit="ms"\)$')

    def test_numbers_that_are_no_times(self):
        refused(bars().reset_index().assign(time=range(48)), "make the times the index of the frame")

    def test_a_day_and_a_time_of_day(self):
        frame = bars().reset_index(drop=True).assign(date="2017-01-02", time="00:00")
        refused(frame, r"put both in one column with pd.to_datetime\(frame\['date'\] \+ ' ' \+ frame\['time'\]\)")

    def test_times_with_a_zone_and_without(self):
        frame = bars(3)
        frame.index = pd.Index(
            [dt.datetime(2017, 1, 2, h, tzinfo=dt.UTC if h else None) for h in range(3)], dtype=object
        )
        refused(frame, r"frame.index = pd.to_datetime\(frame.index, utc=True\)$")

    def test_times_beyond_nanoseconds(self):
        frame = bars(3)
        frame.index = pd.DatetimeIndex(np.array(["3000-01-01", "3000-01-02", "3000-01-03"], dtype="datetime64[s]"))
        refused(frame, "outside 1678 to 2261")

    def test_a_zone_that_the_times_have(self):
        refused(bars(), "say their own zone; leave out `timezone`$", timezone="UTC")

    def test_nan(self):
        frame = bars()
        frame.iloc[[3, 5], 1] = np.nan
        refused(
            frame,
            r"iloc\[3\]: high is missing \(and 1 more such rows\); .*, or leave such rows out with skip_bad=True$",
        )

    def test_nat(self):
        frame = bars().reset_index()
        frame.loc[2, "time"] = pd.NaT
        refused(frame, r"iloc\[2\]: the time is missing")

    def test_nothing_but_nan(self):
        frame = bars(3).assign(open=np.nan)
        refused(frame, "has no bars: leave out skip_bad=True to see what is wrong", skip_bad=True)

    def test_no_rows(self):
        refused(bars()[:0], "the frame has no bars: it has no rows")

    @pytest.mark.parametrize(
        ("value", "name"), [("1,234", "holds text, such as '1,234': .*pd.to_numeric"), (True, "bool")]
    )
    def test_prices_that_are_no_numbers(self, value, name):
        refused(bars().assign(close=value), rf'frame\["close"\] .*{name}')

    def test_prices_of_other_objects(self):
        refused(bars(2).assign(close=[object(), object()]), "holds object values, not numbers")

    def test_an_impossible_bar(self):
        frame = bars()
        frame.iloc[4, 1] = 1.0
        refused(frame, r"iloc\[4\]: the bar of 2017-01-02 04:00 has its high 1 below .*; correct the frame, or leave")

    def test_a_symbol_that_cannot_be_one(self):
        refused(bars(), "'EUR/USD' cannot be a symbol", symbol="EUR/USD")

    def test_no_symbol(self):
        refused(bars(), "no column with the symbol: give it with `symbol`$", symbol=None)

    def test_a_symbol_that_is_not_there(self):
        frame = pd.concat([bars().assign(symbol="AAA"), bars().assign(symbol="BBB")])
        refused(frame, "has no bars of EURUSD: take AAA or BBB with `symbol`$")

    def test_a_symbol_is_missing_in_a_row(self):
        frame = bars().assign(symbol="AAA")
        frame.iloc[7, -1] = None
        refused(
            frame,
            r"iloc\[7\]: the symbol is missing; correct the frame, or take one symbol with `symbol`$",
            symbol=None,
        )

    def test_several_tickers_of_which_none_is_chosen(self):
        both = pd.concat({"AAA": bars(), "BBB": bars(seed=1)}, axis=1)
        refused(both, r'several tickers side by side \(AAA, BBB\); take one with symbol="AAA"$', symbol=None)

    def test_headings_of_three_levels(self):
        refused(pd.concat({"x": pd.concat({"AAA": bars()}, axis=1)}, axis=1), "headings of 3 levels: keep the level")

    def test_a_symbol_that_can_be_two_things(self):
        refused(bars(), 'say which with calendar="24/7" or calendar="XNYS"$', symbol="SOL")

    @pytest.mark.parametrize("thing", [bars()["open"], [1, 2], "EURUSD.csv", None])
    def test_no_frame(self, thing):
        with pytest.raises(
            BadInputError, match="bars must be a pandas DataFrame, not (Series|list|str|NoneType): give one"
        ):
            data.from_frame(thing, symbol="EURUSD")

    def test_the_frame_of_another_library(self):
        class DataFrame:
            __module__ = "polars.dataframe"

        refused(DataFrame(), r"not DataFrame: write frame.to_pandas\(\)")

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"label": "x"}, "label `x` is neither"),
            ({"timeframe": "3h"}, "unknown timeframe `3h`"),
            ({"timeframe": "4h"}, "leave out `timeframe`: they look like 1h"),
            ({"timezone": "Mars"}, "unknown time zone `Mars`"),
            ({"calendar": "mars"}, "unknown calendar `MARS`"),
            ({"columns": {"opn": "open"}}, "unknown role `opn`"),
            ({"columns": {"open": "opn"}}, "did you mean `open`"),
        ],
    )
    def test_options(self, options, message):
        refused(bars(), message, **options)
