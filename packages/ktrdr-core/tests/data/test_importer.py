from __future__ import annotations

import errno
import gzip
import io
import os
import zipfile
from pathlib import Path

import duckdb
import numpy as np
import pytest

from ktrdr.core.data.exporter import export_bars
from ktrdr.core.data.loading import bars_digest, fingerprint
from ktrdr.core.data.sample import sample_bars
from ktrdr.core.data.vendor import watched
from ktrdr.core.data.vendor.importer import import_file
from ktrdr.core.data.vendor.vendor_bars import detect_timeframe
from ktrdr.core.errors import BadInputError, CancelledError, StoreError
from ktrdr.core.work.cancellation import Cancellation

_HEAD = "time,open,high,low,close,volume\n"


@pytest.fixture
def file(tmp_path):
    """Write a file and return its path."""

    def write(content: str | bytes, name: str = "EURUSD.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def _times(store, symbol="EURUSD", timeframe="1h") -> list[str]:
    return [str(time)[:16] for time in store.read(symbol, timeframe).time.astype("datetime64[s]")]


def _three(form: str, head: str = "time,open,high,low,close", separator: str = ",") -> str:
    """Three hourly bars from 2017-01-31 22:00 whose times are written with a strftime format."""
    import datetime as dt

    lines = [head.replace(",", separator)]
    for hour in range(3):
        time = (dt.datetime(2017, 1, 31, 22) + dt.timedelta(hours=hour)).strftime(form)
        lines.append(separator.join([time, "1.1", "1.3", "1.0", "1.2"]))
    return "\n".join(lines) + "\n"


_THREE = ["2017-01-31T22:00", "2017-01-31T23:00", "2017-02-01T00:00"]


def test_the_vendors_hourly_file_is_the_sample(store, file):
    bars = sample_bars()
    lines = ["Time,Open,High,Low,Close,Volume"]
    for i, time in enumerate(bars.time.astype("datetime64[s]").tolist()):
        values = [repr(float(c[i])) for c in (bars.open, bars.high, bars.low, bars.close, bars.volume)]
        lines.append(",".join([time.strftime("%d.%m.%Y %H:%M:%S.000"), *values]))
    report = import_file(file("\n".join(lines), "EURUSD_1h_2017_dukascopy.csv"), store)
    assert fingerprint(map(bars_digest, [store.read("EURUSD", "1h")])) == fingerprint(map(bars_digest, [bars]))
    assert report.validations[0].findings == ()
    assert report.notes == ("dates are read day-first", "symbol EURUSD is taken from the file's name")


def test_the_vendors_file_with_five_stocks(store, stocks_file, tree):
    report = import_file(stocks_file, store)
    rows = {write.symbol: write.rows for write in report.writes}
    assert rows == {"AAPL": 3270, "FB": 196, "GOOG": 2148, "IBM": 3270, "MSFT": 3270}
    assert "adjusted prices are left out (Adj Close): bars hold prices as traded" in report.notes
    for validation in report.validations:
        assert validation.timeframe == "1d"
        assert validation.calendar == "XNYS"
        assert validation.missing_bars == 0
    splits = {
        validation.symbol: [str(time)[:10] for time in finding.times]
        for validation in report.validations
        for finding in validation.findings
        if finding.kind == "split_like_jump"
    }
    assert splits == {"AAPL": ["2000-06-21", "2005-02-28"], "MSFT": ["2003-02-18"]}
    bars = store.read("AAPL", "1d")
    assert (bars.open[0], bars.close[0], bars.volume[0]) == (118.56, 130.31, 9616100)
    assert str(bars.time[0])[:16] == "2000-03-01T00:00"

    before = tree(store.root)
    again = import_file(stocks_file, store)
    assert {(write.added, write.replaced) for write in again.writes} == {(0, 0)}
    assert tree(store.root) == before


def test_one_symbol_of_several(store, stocks_file):
    report = import_file(stocks_file, store, symbol="FB")
    assert [info.symbol for info in store.datasets()] == ["FB"]
    assert "left out: 4 other symbols (AAPL, GOOG, IBM, MSFT)" in report.notes
    with pytest.raises(
        BadInputError, match="has no bars of TSLA: take AAPL or FB or GOOG or IBM or MSFT with --symbol"
    ):
        import_file(stocks_file, store, symbol="TSLA")


@pytest.mark.parametrize(
    "form",
    [
        "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M:%S+00:00", "%Y-%m-%d %H:%M:%S+00",
        "%Y/%m/%d %H:%M", "%Y.%m.%d %H:%M", "%Y%m%d %H%M%S", "%Y%m%d %H:%M:%S", "%Y%m%d%H%M%S", "%Y%m%d%H%M",
        "%d.%m.%Y %H:%M:%S.000", "%d/%m/%Y %H:%M", "%d-%m-%Y %H:%M:%S", "%m/%d/%Y %H:%M", "%m/%d/%Y %I:%M %p",
        "%d-%b-%Y %H:%M", "%d %b %Y %H:%M", "%Y-%m-%d %I-%p", "%s", "%s000", "%s000000", "%s000000000", "%s.0",
        "%Y-%m-%d %H:%M:%S.000000", "%Y-%m-%d %H:%M:%S UTC", "%d.%m.%Y %H:%M:%S GMT+0000",
    ],
)  # fmt: skip
def test_ways_to_write_times(store, file, form, monkeypatch):
    import time

    monkeypatch.setenv("TZ", "UTC")  # strftime("%s") counts in local time
    time.tzset()
    import_file(file(_three(form)), store)
    assert _times(store) == _THREE


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize(
    "head",
    [
        "Time,Open,High,Low,Close", "Gmt time,Open,High,Low,Close", "<DATE>,<OPEN>,<HIGH>,<LOW>,<CLOSE>", "t,o,h,l,c",
        "date,1. open,2. high,3. low,4. close", "OPEN_TIME,OPEN_PRICE,HIGH_PRICE,LOW_PRICE,CLOSE_PRICE",
        "Date,Open,High,Low,Close/Last", '"Datetime","Open","High","Low","Close"', ",open,high,low,close",
    ],
)  # fmt: skip
def test_spellings_and_delimiters(store, file, head, separator):
    import_file(file(_three("%Y-%m-%d %H:%M", head, separator)), store)
    assert _times(store) == _THREE
    assert store.read("EURUSD", "1h").close.tolist() == [1.2] * 3


def test_columns_in_any_order_and_extra_ones(store, file):
    text = "symbol,close,trades,low,high,open,date,Volume USD\nEURUSD,1.2,7,1.0,1.3,1.1,2017-01-31 22:00,5\n"
    text += "EURUSD,1.2,7,1.0,1.3,1.1,2017-01-31 23:00,\n"
    report = import_file(file(text, "any.csv"), store)
    bars = store.read("EURUSD", "1h")
    assert (bars.open[0], bars.high[0], bars.low[0], bars.close[0], bars.volume[0]) == (1.1, 1.3, 1.0, 1.2, 5)
    assert np.isnan(bars.volume[1])
    assert "volume is taken from Volume USD" in report.notes
    assert "left out: trades" in report.notes


@pytest.mark.parametrize("zone", ["", " UTC"])
@pytest.mark.parametrize("later", [(), ("100000", "103000")])
def test_clocks_that_all_lack_a_leading_zero(store, file, zone, later):
    # All of them have five digits, so that 13000 could be taken for 13:00:0.
    clocks = [f"{hour}{minute}00" for hour in range(3) for minute in ("00", "30")] + list(later)
    rows = "".join(f"2017/01/31 {clock}{zone},1.1,1.3,1.0,1.2,5\n" for clock in clocks)
    import_file(file(_HEAD + rows), store)
    assert _times(store, timeframe="30m") == [f"2017-01-31T{clock:0>6}"[:13] + f":{clock[-4:-2]}" for clock in clocks]


def test_date_and_time_of_day_in_two_columns(store, file):
    head = "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>\n"
    text = (
        head + "2017.01.31\t22:00:00\t1.1\t1.3\t1.0\t1.2\t5\t0\t1\n2017.01.31\t23:00:00\t1.1\t1.3\t1.0\t1.2\t5\t0\t1\n"
    )
    import_file(file(text.encode("utf-16")), store)
    assert _times(store) == _THREE[:2]


def test_epoch_wins_over_text(store, file):
    text = "https://www.vendor.example\nunix,date,symbol,open,high,low,close,Volume BTC,Volume USD\n"
    text += "1485900000,2017-01-31 22:00:00,BTC/USD,1.1,1.3,1.0,1.2,5,6\n"
    text += "1485903600,2017-01-31 23:00:00,BTC/USD,1.1,1.3,1.0,1.2,5,6\n"
    report = import_file(file(text), store, symbol="BTCUSD")
    assert _times(store, "BTCUSD") == _THREE[:2]
    assert "skipped 1 line before the header" in report.notes
    assert "symbol BTC/USD is stored as BTCUSD" in report.notes


def test_files_without_header(store, file):
    binance = "1485900000000,1.1,1.3,1.0,1.2,5,1485903599999,6,7,8,9,0\n"
    binance += "1485903600000,1.1,1.3,1.0,1.2,5,1485907199999,6,7,8,9,0\n"
    import_file(file(binance, "BTCUSDT-1h-2017-01.csv"), store)
    assert _times(store, "BTCUSDT") == _THREE[:2]
    histdata = "20170131 220000;1.1;1.3;1.0;1.2;0\n20170131 230000;1.1;1.3;1.0;1.2;0\n"
    import_file(file(histdata), store)
    assert _times(store) == _THREE[:2]
    metatrader = "2017.01.31,22:00,1.1,1.3,1.0,1.2,5\n2017.01.31,23:00,1.1,1.3,1.0,1.2,5\n"
    import_file(file(metatrader, "GBPUSD.csv"), store)
    assert _times(store, "GBPUSD") == _THREE[:2]


def test_decimal_comma(store, file):
    text = "Date;Open;High;Low;Close;Volume\n31.01.2017 22:00;1,1;1,3;1,0;1,2;5,5\n31.01.2017 23:00;1,1;1,3;1,0;1,2;6\n"
    report = import_file(file(text), store)
    assert store.read("EURUSD", "1h").volume.tolist() == [5.5, 6]
    assert "numbers have a decimal comma" in report.notes


def test_newest_first_is_turned_round(store, file):
    head, *rows = _three("%Y-%m-%d %H:%M").splitlines()
    report = import_file(file("\n".join([head, *reversed(rows)])), store)
    assert _times(store) == _THREE
    assert "rows were newest first and were reversed" in report.notes


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_encodings_and_line_ends(store, file, ending, encoding):
    text = _three("%Y-%m-%d %H:%M", "time,open,high,low,close").replace("time,", "Zeit°,").replace("\n", ending)
    import_file(file(text.encode(encoding)), store, columns={"time": "Zeit°"})
    assert _times(store) == _THREE


def test_gzip_and_zip_are_told_by_content(store, file, tmp_path):
    text = _three("%Y-%m-%d %H:%M")
    import_file(file(gzip.compress(text.encode()), "EURUSD.csv"), store)
    with zipfile.ZipFile(tmp_path / "GBPUSD_1h.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("__MACOSX/._x.csv", "junk")
        archive.writestr("folder/x.csv", text)
    import_file(tmp_path / "GBPUSD_1h.zip", store)
    assert _times(store, "EURUSD") == _times(store, "GBPUSD") == _THREE


@pytest.mark.parametrize("kind", ["TIMESTAMP", "TIMESTAMP_NS", "TIMESTAMPTZ", "BIGINT", "VARCHAR", "DATE"])
def test_parquet(store, tmp_path, kind):
    path = tmp_path / "AAPL_[1].parquet"
    step = "DAY" if kind == "DATE" else "HOUR"
    values = {
        "BIGINT": "epoch_ms(t)", "VARCHAR": "strftime(t, '%Y-%m-%d %H:%M')", "TIMESTAMPTZ": "t AT TIME ZONE 'UTC'",
    }.get(kind, f"t::{kind}")  # fmt: skip
    with duckdb.connect() as connection:
        connection.execute(
            f'COPY (SELECT {values} AS "Datetime", 1.1 AS "Open", 1.3::FLOAT AS "High", 1 AS "Low", 1.2 AS "Close", '
            f"7 AS \"Volume\" FROM (SELECT TIMESTAMP '2017-01-31 22:00' + to_{step.lower()}s(i) AS t "
            f"FROM range(3) r(i))) "
            f"TO '{tmp_path}/x.parquet' (FORMAT parquet)"
        )
    (tmp_path / "x.parquet").rename(path)
    import_file(path, store, symbol="AAPL")
    if kind == "DATE":
        assert _times(store, "AAPL", "1d") == ["2017-01-31T00:00", "2017-02-01T00:00", "2017-02-02T00:00"]
    else:
        assert _times(store, "AAPL") == _THREE


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet"])
def test_what_was_exported_comes_back_unchanged(store, make_bars, same_bars, tmp_path, suffix):
    bars = make_bars(500)
    bars.volume[7] = np.nan
    path = tmp_path / f"EURUSD{suffix}"
    export_bars(bars, path)
    import_file(path, store)
    assert same_bars(store.read("EURUSD", "1h"), bars)
    with pytest.raises(BadInputError, match="exists already"):
        export_bars(bars, path)
    export_bars(bars[:3], path, overwrite=True)
    assert [entry.name for entry in tmp_path.iterdir() if entry.is_file()] == [path.name]


def test_export_to_a_full_disk_leaves_the_old_file(make_bars, tmp_path, monkeypatch):
    path = tmp_path / "x.csv"
    path.write_text("old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="the disk is full; nothing was written"):
        export_bars(make_bars(3), path, overwrite=True)
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.csv"]
    assert path.read_text() == "old"


@pytest.mark.parametrize(
    ("zone", "expected"),
    [
        (None, "2017-01-31T22:00"), ("UTC", "2017-01-31T22:00"), ("Europe/Berlin", "2017-01-31T21:00"),
        ("America/New_York", "2017-02-01T03:00"), ("+02:00", "2017-01-31T20:00"), ("-05:00", "2017-02-01T03:00"),
    ],
)  # fmt: skip
def test_time_zones(store, file, zone, expected):
    import_file(file(_three("%Y-%m-%d %H:%M")), store, timezone=zone)
    assert _times(store)[0] == expected


def test_daylight_saving_in_the_file(store, file):
    text = _HEAD + "2017-03-12 01:00:00-05:00,1,2,1,1,1\n2017-03-12 03:00:00-04:00,1,2,1,1,1\n"
    text += "2017-03-12 04:00:00-04:00,1,2,1,1,1\n"
    import_file(file(text), store)
    assert _times(store) == ["2017-03-12T06:00", "2017-03-12T07:00", "2017-03-12T08:00"]


def test_daylight_saving_by_zone(store, file):
    text = _HEAD + "2017-03-12 01:00,1,2,1,1,1\n2017-03-12 03:00,1,2,1,1,1\n2017-03-12 04:00,1,2,1,1,1\n"
    import_file(file(text), store, timezone="America/New_York")
    assert _times(store) == ["2017-03-12T06:00", "2017-03-12T07:00", "2017-03-12T08:00"]


def test_daily_bars_of_an_exchange_keep_their_date(store, file):
    text = "Date,Open,High,Low,Close\n" + "".join(
        f"2017-03-{day:02} 00:00:00-0{5 if day < 12 else 4}:00,1,2,1,1\n" for day in (9, 10, 13, 14, 15)
    )
    import_file(file(text, "MSFT.csv"), store)
    assert _times(store, "MSFT", "1d")[::2] == ["2017-03-09T00:00", "2017-03-13T00:00", "2017-03-15T00:00"]
    import_file(file(text.replace("-05:00", "").replace("-04:00", ""), "IBM.csv"), store, timezone="America/New_York")
    assert _times(store, "IBM", "1d") == _times(store, "MSFT", "1d")


def test_label_at_close(store, file):
    import_file(file(_three("%Y-%m-%d %H:%M")), store, label="close")
    assert _times(store)[0] == "2017-01-31T21:00"


def test_ambiguous_dates_can_be_told(store, file):
    text = _HEAD + "02/03/2017 10:00,1,2,1,1,1\n02/03/2017 11:00,1,2,1,1,1\n"
    with pytest.raises(BadInputError, match="day and month cannot be told apart .*--dates day-first"):
        import_file(file(text), store)
    import_file(file(text), store, dates="day-first")
    import_file(file(text, "GBPUSD.csv"), store, dates="month-first")
    assert (_times(store)[0], _times(store, "GBPUSD")[0]) == ("2017-03-02T10:00", "2017-02-03T10:00")


def test_columns_can_be_told(store, file):
    text = "when,bid_o,bid_h,bid_l,bid_c\n2017-01-31 22:00,1.1,1.3,1.0,1.2\n2017-01-31 23:00,1.1,1.3,1.0,1.2\n"
    given = {"time": "when", "open": "bid_o", "high": "bid_h", "low": "bid_l", "close": "bid_c"}
    import_file(file(text), store, columns=given)
    assert _times(store) == _THREE[:2]
    with pytest.raises(BadInputError, match="there is no column `bid_x` for open"):
        import_file(file(text), store, columns=given | {"open": "bid_x"})
    with pytest.raises(BadInputError, match="unknown role `opening`"):
        import_file(file(text), store, columns=given | {"opening": "bid_o"})


def test_bad_rows_are_left_out_only_on_request(store, file):
    text = _HEAD + "2017-01-01 00:00,1,2,1,1,1\n2017-01-01 01:00,1,2,x,1,1\n"
    text += "2017-01-01 02:00,1,1,2,1,1\n2017-01-01 03:00,1,2,1,1,1\n"
    text += "2017-01-01 04:00,1,2,1,1,1\n"
    with pytest.raises(BadInputError, match="line 3: low 'x' is not a number; .*--skip-bad"):
        import_file(file(text), store)
    report = import_file(file(text), store, skip_bad=True)
    assert _times(store) == ["2017-01-01T00:00", "2017-01-01T03:00", "2017-01-01T04:00"]
    left_out = [finding for finding in report.validations[0].findings if finding.kind == "left_out"]
    assert [finding.count for finding in left_out] == [1, 1]
    assert "line 3: low 'x' is not a number" in left_out[0].message


def test_a_bar_with_several_faults_is_left_out_once(store, file):
    rows = [f"2017-01-01 0{hour}:00,1,2,1,1,1\n" for hour in range(4)]
    text = _HEAD + "".join(rows) + "2017-01-01 04:00,1,-2,-1,0,1\n"
    report = import_file(file(text), store, skip_bad=True)
    assert [finding.count for finding in report.validations[0].findings if finding.kind == "left_out"] == [1]


_ROW = "2017-01-01 00:00,1.1,1.3,1.0,1.2,5\n"
_NEXT = "2017-01-01 01:00,1.1,1.3,1.0,1.2,5\n"
_THIRD = "2017-01-01 02:00,1.1,1.3,1.0,1.2,5\n"


def _archive(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, _HEAD)
    return buffer.getvalue()


# fmt: off
_BAD_FILES: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "is empty"),
    "blank": ("\n \n", "is empty"),
    "only a header": (_HEAD, "has a header and no bars"),
    "wrong delimiter": ((_HEAD + _ROW).replace(",", ":"), "found no columns for open, high, low and close"),
    "delimiter changes": (_HEAD + (_ROW + _NEXT).replace(",", ";"),
                          r"line 2: has 1 column where 6 are expected \(and 1 more such lines\); the header's"),
    "missing column": ("time,open,high,close\n1,2,3,4\n",
                       "has no column for low; its columns are time, open, high, close"),
    "no time column": ("open,high,low,close\n1,2,3,4\n", "has no column for time"),
    "two columns for one role": ("time,open,open,high,low,close\n" + _ROW, "has several columns for open"),
    "text in a price": (_HEAD + _ROW + _NEXT.replace("1.3", "abc"), "line 3: high 'abc' is not a number"),
    "thousands in twos": (_HEAD + _ROW + _NEXT.replace("1.3", '"1,30,0.5"'), "line 3: high '1,30,0.5' is not a number"),
    "empty price": (_HEAD + _ROW + _NEXT.replace("1.3", ""), "line 3: high is missing"),
    "nan price": (_HEAD + _ROW + _NEXT.replace("1.3", "nan"), "line 3: the bar of 2017-01-01 01:00 has no finite high"),
    "infinite price": (_HEAD + _ROW + _NEXT.replace("1.3", "inf"), "line 3: the bar of 2017-01-01 01:00 has no finite"),
    "text in volume": (_HEAD + _ROW + _NEXT.replace(",5", ",5X"), "line 3: volume '5X' is not a number"),
    "high below low": (_HEAD + _ROW + _NEXT.replace("1.3", "0.9"), "line 3: .* has its high 0.9 below its low 1"),
    "open outside": (_HEAD + _ROW + _NEXT.replace("1.1", "0.9"),
                     "line 3: .* has its open 0.9 outside low 1 to high 1.3"),
    "negative price": (_HEAD + _ROW + _NEXT.replace("1.0", "-1.0"), "line 3: .* has low -1, which is not above 0"),
    "zero price": (_HEAD + _ROW + _NEXT.replace("1.0", "0"), "line 3: .* has low 0, which is not above 0"),
    "negative volume": (_HEAD + _ROW + _NEXT.replace(",5", ",-5"), "line 3: .* has volume -5"),
    "duplicate": (_HEAD + _ROW + _NEXT + _NEXT, "line 4: the time 2017-01-01 01:00 occurs twice"),
    "unsorted": (_HEAD + _NEXT + _ROW + _THIRD,
                 "line 3: 2017-01-01 00:00 comes after 2017-01-01 01:00; sort the file by time$"),
    "no time": (_HEAD + _ROW + "when,1.1,1.3,1.0,1.2,5\n", "line 3: time 'when' cannot be read"),
    "no known time": (_HEAD + "Tuesday,1.1,1.3,1.0,1.2,5\n", "'Tuesday' is not in a known time format"),
    "impossible date": (_HEAD + _ROW + _NEXT.replace("-01 ", "-32 "), "line 3: time '2017-01-32 01:00' cannot be read"),
    "zone and no zone": (_HEAD + _ROW.replace(":00", ":00Z", 1) + _NEXT, r"mixes times with a zone \(Z\) and without"),
    "mixed zones": (
        _HEAD + _ROW.replace(":00", ":00+01:00", 1) + _NEXT.replace(":00", ":00-05:00", 1),
        r"mixes time zones \(\+01:00, -05:00\)",
    ),
    "no epoch": (_HEAD + "1485900000,1,2,1,1,5\n14859036000,1,2,1,1,5\n", "line 3: time '14859036000' cannot be read"),
    "day-first and month-first": (
        _HEAD + _ROW.replace("2017-01-01", "31/01/2017") + _NEXT.replace("2017-01-01", "02/13/2017"),
        "dates are day-first and month-first in one column",
    ),
    "seconds": (_HEAD + _ROW.replace("00:00", "00:00:30") + _NEXT.replace("01:00", "01:00:30"),
                "is not a whole minute"),
    "part of a second": (_HEAD + "1485900000,1.5,2,1,1,5\n1485903600,1.5,2,1,1,5\n1485907200.4,1,2,1,1,5\n",
                         "line 4: .* is not a whole minute"),
    "odd step": (_HEAD + _ROW + _NEXT.replace("01:00", "00:07"), "most bars are 0:07:00 apart, which is not"),
    "single bar": (_HEAD + _ROW, "has a single bar, which does not tell its timeframe: give it with --timeframe"),
    "too many columns": (_HEAD + _ROW + _NEXT.replace("\n", ",9\n"), "line 3: has 7 columns where 6 are expected"),
    "open quote": (_HEAD + _ROW + '2017-01-01 01:00,"1.1,1.3,1.0,1.2,5\n', "line 3: Value with unterminated quote"),
    "binary": (b"\x00\x01\x02" * 500, "is neither text nor Parquet"),
    "Parquet cut off": (b"PAR1" + b"x" * 500, "is a damaged or cut off Parquet file"),
    "gzip cut off": (gzip.compress((_HEAD + _ROW * 500).encode())[:-20], "is damaged or cut off"),
    "zip cut off": (b"PK\x03\x04" + b"x" * 500, "is not a readable zip archive"),
    "gzip of nothing but zeros": (gzip.compress(bytes(20 << 20)), "more than 50 times its size.*: unpack it"),
    "gzip in gzip": (gzip.compress(gzip.compress(bytes(9999))), "is neither text nor Parquet"),
    "zip of thousands": (_archive(*(f"{number}.csv" for number in range(6000))), "holds thousands of files, one is"),
    "empty in gzip": (gzip.compress(b""), "holds nothing"),
    "symbol with a path": (
        "symbol," + _HEAD + "../x," + _ROW + "../x," + _NEXT,
        r"'\.\./x' cannot be a symbol: .*--symbol gives another name"
    ),
    "symbol missing": ("symbol," + _HEAD + "A," + _ROW + "," + _NEXT, "line 3: the symbol is missing"),
}
# fmt: on


@pytest.mark.parametrize("name", _BAD_FILES)
def test_bad_file_gets_one_clear_message_and_changes_nothing(store, file, make_bars, tree, name):
    store.write(make_bars(10, symbol="EURUSD", seed=9))
    before = tree(store.root)
    content, message = _BAD_FILES[name]
    path = file(content)
    with pytest.raises(BadInputError, match=message) as caught:
        import_file(path, store)
    text = str(caught.value)
    assert str(path) in text
    assert "\n" not in text
    assert tree(store.root) == before


def test_truncated_parquet(store, tmp_path, make_bars):
    path = tmp_path / "EURUSD.parquet"
    export_bars(make_bars(5_000), path)
    content = path.read_bytes()
    for length in (10, 1000, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(BadInputError, match="is a damaged or cut off Parquet file"):
            import_file(path, store)
    assert not store.root.exists()


def test_arguments_that_are_wrong(store, file, tmp_path):
    path = file(_three("%Y-%m-%d %H:%M"))
    cases = [
        ({"symbol": "../x"}, "'../x' cannot be a symbol"),
        ({"timeframe": "3h"}, "unknown timeframe `3h`"),
        (
            {"timeframe": "4h"},
            "no two bars are 4h apart, so these are no 4h bars; leave out --timeframe: they look like 1h",
        ),
        ({"timeframe": "1m"}, "no two bars are 1m apart"),
        ({"timezone": "Mars/Base"}, "unknown time zone `Mars/Base`"),
        ({"timezone": "../../etc/passwd"}, "unknown time zone"),
        ({"calendar": "XXXX"}, "unknown calendar `XXXX`"),
        ({"dates": "y"}, "dates `y` is neither"),
        ({"label": "y"}, "label `y` is neither"),
    ]
    for arguments, message in cases:
        with pytest.raises(BadInputError, match=message):
            import_file(path, store, **arguments)
    with pytest.raises(BadInputError, match="does not exist"):
        import_file(tmp_path / "no.csv", store)
    with pytest.raises(BadInputError, match="is a directory"):
        import_file(tmp_path, store)
    with pytest.raises(BadInputError, match="its name does not start with one .*--symbol"):
        import_file(file(_three("%Y-%m-%d %H:%M"), "prices.csv"), store)
    with pytest.raises(BadInputError, match="its times say their own zone; leave out --timezone"):
        import_file(file(_three("%Y-%m-%dT%H:%MZ")), store, timezone="UTC")
    assert not store.root.exists()


def test_unreadable_file(store, file, monkeypatch):
    path = file(_three("%Y-%m-%d %H:%M"))

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(BadInputError, match="cannot be read: Permission denied"):
        import_file(path, store)


@pytest.mark.parametrize("hour", ["2017-03-12 02:00", "2017-11-05 01:00"])
def test_times_that_clocks_skip_or_repeat_are_refused(store, file, hour):
    text = _HEAD + f"{hour},1,2,1,1,1\n{hour[:12]}3:00,1,2,1,1,1\n"
    with pytest.raises(
        BadInputError, match=f"line 2: {hour} occurs once although clocks in America/New_York show it twice"
    ):
        import_file(file(text, "BTCUSD.csv"), store, timezone="America/New_York")


def test_one_bad_symbol_stops_the_file(store, file):
    text = "symbol," + _HEAD + "".join(f"{s},{r}" for s in ("AAA", "BBB") for r in (_ROW, _NEXT))
    text = text[: text.rindex("1.3")] + "0.1" + text[text.rindex("1.3") + 3 :]
    with pytest.raises(BadInputError, match="BBB, line 5: .* has its high 0.1 below its low 1"):
        import_file(file(text), store)
    assert not store.root.exists()


def test_cancel(store, file):
    cancellation = Cancellation()
    cancellation.cancel()
    with pytest.raises(CancelledError):
        import_file(file(_three("%Y-%m-%d %H:%M")), store, cancellation=cancellation)
    assert not store.root.exists()


@pytest.fixture
def long_file(make_bars, tmp_path, monkeypatch) -> Path:
    """A file that takes long compared with how often progress is looked at."""
    monkeypatch.setattr(watched, "_SECONDS", 0.002)
    export_bars(make_bars(60_000, timeframe="1m", symbol="BTCUSDT"), tmp_path / "BTCUSDT.csv")
    return tmp_path / "BTCUSDT.csv"


def test_progress_while_a_long_file_is_read(store, long_file):
    events = []
    import_file(long_file, store, progress=events.append)
    assert list(dict.fromkeys(event.step for event in events)) == ["reading", "checking", "writing"]
    reading = [event for event in events if event.step == "reading"]
    fractions = [event.fraction for event in reading]
    assert fractions == sorted(fractions)
    assert fractions[0] == 0.0
    assert fractions[-1] == 1.0
    assert any(0 < event.fraction < 1 and (event.total, event.unit) == (100, "%") for event in reading)


def test_progress_does_not_go_back_where_a_file_is_read_again(store, long_file):
    with long_file.open("a") as file:
        file.write("a footer\n")
    events = []
    import_file(long_file, store, skip_bad=True, progress=events.append)
    fractions = [event.fraction for event in events if event.step == "reading"]
    assert fractions == sorted(fractions)
    assert len(fractions) > 2


def test_cancel_while_a_long_file_is_read(store, long_file):
    cancellation = Cancellation()

    def stop_early(event):
        assert event.step == "reading"
        cancellation.cancel()

    with pytest.raises(CancelledError):
        import_file(long_file, store, progress=stop_early, cancellation=cancellation)
    assert not store.root.exists()
    assert import_file(long_file, store).writes[0].rows == 60_000


def test_large_files_keep_their_order(store, file, make_bars, same_bars, tmp_path):
    # DuckDB reads large files in parallel pieces; the rows must come in the order of the file all the same.
    bars = make_bars(400_000, timeframe="1m", symbol="BTCUSDT")
    export_bars(bars, tmp_path / "BTCUSDT.csv")
    import_file(tmp_path / "BTCUSDT.csv", store)
    assert same_bars(store.read("BTCUSDT", "1m"), bars)


def test_detect_timeframe():
    minutes = np.cumsum([0, 5, 5, 5, 60, 5, 1440]) * 60_000_000_000
    timeframe = detect_timeframe(minutes)
    assert timeframe is not None
    assert timeframe.name == "5m"
    assert detect_timeframe(minutes[:1]) is None
    assert detect_timeframe(np.array([0, 7, 14]) * 60_000_000_000) is None
