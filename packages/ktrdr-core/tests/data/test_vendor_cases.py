"""Files as vendors write them, from public bug reports: own data in the shape of theirs, with the values they hold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ktrdr.core.data.vendor.importer import ImportReport, import_file
from ktrdr.core.errors import BadInputError

Import = Callable[..., tuple[ImportReport, list[list[object]]]]


@pytest.fixture
def bring(store, tmp_path: Path) -> Import:
    """Write a file, import it, and return the report and the stored rows: time, open, high, low, close, volume."""

    def run(name: str, text: str, **options: object) -> tuple[ImportReport, list[list[object]]]:
        (tmp_path / name).write_text(text, encoding="utf-8")
        report = import_file(tmp_path / name, store, **options)  # type: ignore[arg-type]
        bars = store.read(report.writes[0].symbol, report.writes[0].timeframe)
        columns = (bars.open, bars.high, bars.low, bars.close, bars.volume)
        times = [str(time)[:16].replace("T", " ") for time in bars.time.astype("datetime64[s]")]
        return report, [[time, *(float(c[i]) for c in columns)] for i, time in enumerate(times)]

    return run


def _findings(report: ImportReport) -> str:
    return "\n".join(finding.message for finding in report.validations[0].findings)


# --- 1: headings ------------------------------------------------------------------------------------------------------

_YFINANCE = """Price,Close,High,Low,Open,Volume
Ticker,ACME,ACME,ACME,ACME,ACME
Date,,,,,
2024-01-02,10.2,10.5,10.0,10.1,1000
2024-01-03,10.4,10.6,10.1,10.2,1200
2024-01-04,10.3,10.5,10.2,10.4,900
"""


@pytest.mark.parametrize("options", [{}, {"columns": {"time": "Price"}, "skip_bad": True}])
def test_yfinance_writes_three_lines_of_head(bring, options):
    report, rows = bring("ACME_1d.csv", _YFINANCE, symbol="ACME", **options)
    assert rows == [
        ["2024-01-02 00:00", 10.1, 10.5, 10.0, 10.2, 1000],
        ["2024-01-03 00:00", 10.2, 10.6, 10.1, 10.4, 1200],
        ["2024-01-04 00:00", 10.4, 10.5, 10.2, 10.3, 900],
    ]
    assert "left out" not in _findings(report)


_KRAKEN = """1700000100,36500.1,36510.0,36490.0,36505.5,1.25,12
1700000400,36505.5,36520.0,36500.0,36515.0,0.75,7
1700000700,36515.0,36530.0,36510.0,36511.0,2.5,31
"""


@pytest.mark.parametrize(
    "columns", [None, {"time": "1", "open": "2", "high": "3", "low": "4", "close": "5", "volume": "6"}]
)
def test_kraken_writes_no_head_and_counts_trades(bring, columns):
    report, rows = bring("XBTUSD_5.csv", _KRAKEN, symbol="XBTUSD", timeframe="5m", columns=columns)
    assert len(rows) == 3
    assert rows[0] == ["2023-11-14 22:15", 36500.1, 36510, 36490, 36505.5, 1.25]
    assert any("no header" in note for note in report.notes)


@pytest.mark.parametrize("mean_first", [True, False])
def test_a_mean_price_beside_the_volume_is_told_by_low_and_high_across_a_thousand(bring, mean_first):
    rows = []
    bars = [("998", "1,002", "1,014"), ("990", "995", "1,001"), ("996", "999", "1,010")]
    for hour, (low, mean, high) in enumerate(bars):
        two = [mean, f"{500 + hour},120"] if mean_first else [f"{500 + hour},120", mean]
        rows.append(";".join([f"2024-01-02 0{hour}:00", mean, high, low, mean, *two, "7"]))
    _, stored = bring("BTCUSD.csv", "\n".join(rows))
    assert [row[5] for row in stored] == [500_120, 501_120, 502_120]
    assert stored[0][1:5] == [1002, 1014, 998, 1002]


def test_metatrader_has_no_real_volume_of_currencies(bring):
    head = "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>\n"
    text = head + (
        "2024.01.02\t00:00:00\t1.10400\t1.10450\t1.10380\t1.10420\t1523\t0\t2\n"
        "2024.01.02\t01:00:00\t1.10420\t1.10500\t1.10410\t1.10480\t1410\t0\t1\n"
        "2024.01.02\t02:00:00\t1.10480\t1.10490\t1.10400\t1.10410\t1288\t0\t1\n"
    )
    _, rows = bring("EURUSD_H1.csv", text, symbol="EURUSD")
    assert [row[5] for row in rows] == [1523, 1410, 1288]
    assert rows[1] == ["2024-01-02 01:00", 1.1042, 1.105, 1.1041, 1.1048, 1410]


# --- 2: numbers -------------------------------------------------------------------------------------------------------


def test_a_point_for_thousands_in_the_volume_beside_prices_with_a_decimal_comma(bring):
    text = """Date;Time;Open;High;Low;Close;Volume
02.01.2024;09:00;828,95;850,10;800,00;840,20;1.234
02.01.2024;10:00;840,20;860,00;810,00;820,00;12.100
02.01.2024;11:00;840,20;860,00;810,00;820,00;999
"""
    _, rows = bring("DAX_1h.csv", text, symbol="DAX", calendar="XETR")
    assert [row[5] for row in rows] == [1234, 12100, 999]
    assert rows[0][1:5] == [828.95, 850.1, 800, 840.2]


def test_a_point_for_thousands_far_below_the_first_rows(bring):
    lines = ["Date;Time;Open;High;Low;Close"]
    for hour in range(220):
        day, clock = 15 + hour // 24, hour % 24
        lines.append(f"{day:02}.01.2024;{clock:02}:00;900,50;901,50;899,50;900,00")
    lines += [f"24.01.2024;{clock:02}:00;1.050;1.060;1.040;1.055" for clock in (4, 5, 6)]
    _, rows = bring("XBTCOM_1h.csv", "\n".join(lines), symbol="XBTCOM", calendar="24/7")
    assert rows[0][1:5] == [900.5, 901.5, 899.5, 900]
    assert [row[1:5] for row in rows[-3:]] == [[1050, 1060, 1040, 1055]] * 3


def test_investing_com_quotes_groups_of_three_and_shortens_volume(bring):
    text = """"Date","Price","Open","High","Low","Vol.","Change %"
"01/05/2024","1,234.50","1,230.00","1,240.00","1,225.00","1.20M","0.37%"
"01/04/2024","1,230.00","1,220.00","1,235.00","1,215.00","950.10K","0.82%"
"12/29/2023","1,220.00","1,210.00","1,225.00","1,205.00","","0.10%"
"""
    _, rows = bring("ACMI_1d.csv", text)
    assert rows[0][:5] == ["2023-12-29 00:00", 1210, 1225, 1205, 1220]
    assert np.isnan(rows[0][5])
    assert rows[1:] == [
        ["2024-01-04 00:00", 1220, 1235, 1215, 1230, 950_100],
        ["2024-01-05 00:00", 1230, 1240, 1225, 1234.5, 1_200_000],
    ]


def test_nasdaq_com_writes_dollars(bring):
    text = """Date,Close/Last,Volume,Open,High,Low
01/05/2024,$10.30,900,$10.40,$10.50,$10.20
01/04/2024,$10.40,1200,$10.20,$10.60,$10.10
12/29/2023,$10.20,1000,$10.10,$10.50,$10.00
"""
    _, rows = bring("ACMN_1d.csv", text)
    assert rows[2] == ["2024-01-05 00:00", 10.4, 10.5, 10.2, 10.3, 900]


# --- 3: times ---------------------------------------------------------------------------------------------------------


def _hours(clocks: list[str]) -> str:
    rows = [f"{clock},{100 + i},{101 + i},{99 + i},{100 + i},5" for i, clock in enumerate(clocks)]
    return "\n".join(["time,open,high,low,close,volume", *rows]) + "\n"


_BACK = ["2023-11-04 23:00", *(f"2023-11-05 {hour:02}:00" for hour in (0, 1, 1, 2, 3, 4, 5))]


def test_an_hour_that_comes_twice_is_told_by_the_order_of_rows(bring):
    _, rows = bring("BTC-USD_1h.csv", _hours(_BACK), symbol="BTC-USD", timezone="America/New_York")
    assert [(row[0], row[1]) for row in rows] == [
        (f"2023-11-05 {hour:02}:00", 100 + i) for i, hour in enumerate(range(3, 11))
    ]


def test_half_hours_that_come_twice_are_told_by_the_order_of_rows(bring):
    clocks = ["00:00", "00:30", "01:00", "01:30", "02:00", "02:30", "02:00", "02:30", "03:00", "03:30"]
    text = _hours([f"2024-10-27 {clock}" for clock in clocks])
    _, rows = bring("ETH-USD_30m.csv", text, symbol="ETH-USD", timezone="Europe/Berlin")
    assert [row[1] for row in rows] == list(range(100, 110))
    assert (rows[0][0], rows[4][0], rows[6][0], rows[9][0]) == (
        "2024-10-26 22:00", "2024-10-27 00:00", "2024-10-27 01:00", "2024-10-27 02:30",
    )  # fmt: skip


def test_of_an_hour_that_comes_twice_one_bar_alone_is_not_guessed(bring):
    text = _hours(_BACK[:3] + _BACK[4:])
    options = {"symbol": "BTC-USD", "timezone": "America/New_York"}
    with pytest.raises(BadInputError, match=r"line 4: 2023-11-05 01:00 .* clocks .* --skip-bad"):
        bring("BTC-USD_1h.csv", text, **options)
    _, rows = bring("BTC-USD_1h.csv", text, skip_bad=True, **options)
    assert [row[0][11:13] for row in rows] == ["03", "04", "07", "08", "09", "10"]


_IB = ["10,10.2,9.9,10.1,100", "10.1,10.3,10.0,10.2,90", "10.2,10.2,10.1,10.15,70"]


@pytest.mark.parametrize(
    ("form", "timezone"),
    [
        ("20240102  09:3{}:00", "America/New_York"), ("20240102 09:3{}:00 US/Eastern", None),
        ("2024-01-02 09:3{}:00 America/New_York", None), ("20240102 09:3{}:00 EST", None),
    ],
)  # fmt: skip
def test_interactive_brokers_names_the_zone_after_the_time(bring, form, timezone):
    rows = [f"{form.format(minute)},{row}" for minute, row in enumerate(_IB)]
    text = "\n".join(["date,open,high,low,close,volume", *rows])
    report, rows = bring("ACIB_1m.csv", text, timezone=timezone)
    assert [row[0] for row in rows] == ["2024-01-02 14:30", "2024-01-02 14:31", "2024-01-02 14:32"]
    assert rows[2][1:] == [10.2, 10.2, 10.1, 10.15, 70]
    assert "outside" not in _findings(report)


def test_the_end_of_a_day_is_the_start_of_the_next(bring):
    text = """Date,Time,Open,High,Low,Close,Volume
2024-01-02,23:00,10,10.2,9.9,10.1,100
2024-01-02,24:00,10.1,10.3,10.0,10.2,90
2024-01-03,01:00,10.2,10.2,10.1,10.15,70
"""
    _, rows = bring("BTCEUR_1h.csv", text, symbol="BTC-EUR", label="close")
    assert [row[0] for row in rows] == ["2024-01-02 22:00", "2024-01-02 23:00", "2024-01-03 00:00"]


# --- 5 and others: rows that are no bars ------------------------------------------------------------------------------


def test_yahoo_writes_null_for_a_day_without_data(bring):
    text = """Date,Open,High,Low,Close,Adj Close,Volume
2020-08-27,100,104,99,103,103,10
2020-08-28,null,null,null,null,null,null
2020-08-31,26,27,25,26.5,26.5,4.0E+06
2020-09-01,26.5,27,25,26.5,26.5,1.25E+07
"""
    with pytest.raises(BadInputError, match="line 3: open 'null' is not a number; .*--skip-bad"):
        bring("ACMY_1d.csv", text)
    report, rows = bring("ACMY_1d.csv", text, skip_bad=True)
    assert rows == [
        ["2020-08-27 00:00", 100, 104, 99, 103, 10],
        ["2020-08-31 00:00", 26, 27, 25, 26.5, 4_000_000],
        ["2020-09-01 00:00", 26.5, 27, 25, 26.5, 12_500_000],
    ]
    assert "line 3: open 'null' is not a number" in _findings(report)
    assert "2020-08-31 00:00 (4 to 1)" in _findings(report)
    assert any("Adj Close" in note for note in report.notes)


def test_dukascopy_fills_weekends_with_flat_bars(bring):
    text = """Gmt time,Open,High,Low,Close,Volume
05.01.2024 20:00:00.000,1.1,1.2,1.0,1.1,5.5
05.01.2024 21:00:00.000,1.1,1.2,1.0,1.1,5.5
05.01.2024 22:00:00.000,1.1,1.1,1.1,1.1,0
05.01.2024 23:00:00.000,1.1,1.1,1.1,1.1,0
06.01.2024 00:00:00.000,1.1,1.1,1.1,1.1,0
"""
    report, rows = bring("EURGBP_H1.csv", text)
    assert len(rows) == 5
    assert _findings(report) == (
        "3 bars lie outside the hours of FX (first 2024-01-05 22:00): check the time zone and the calendar"
    )


def test_barchart_ends_with_a_line_about_the_download(bring):
    text = """Time,Open,High,Low,Last,Change,%Chg,Volume
01/05/2024,10.4,10.5,10.2,10.3,-0.1,-0.97%,900
01/04/2024,10.2,10.6,10.1,10.4,0.2,1.96%,1200
12/29/2023,10.1,10.5,10.0,10.2,0.1,0.99%,1000
"Downloaded from Barchart.com as of 01-05-2024 10:33am CST"
"""
    with pytest.raises(BadInputError, match="line 5: .*--skip-bad"):
        bring("ACMB_1d.csv", text)
    report, rows = bring("ACMB_1d.csv", text, skip_bad=True)
    assert [(row[0], row[4]) for row in rows] == [
        ("2023-12-29 00:00", 10.2),
        ("2024-01-04 00:00", 10.4),
        ("2024-01-05 00:00", 10.3),
    ]
    assert "line 5" in _findings(report)


def test_blank_lines_count_as_lines(bring):
    head = "Date,Open,High,Low,Close,Volume\n2024-01-02,10,11,9,10,5\n"
    text = head + "\n\n2024-01-03,10,11,9,10,5\n2024-01-04,10,9,11,10,5\n"
    with pytest.raises(BadInputError, match="line 6: the bar of 2024-01-04 00:00 has its high 9 below its low 11"):
        bring("BLK_1d.csv", text)


def test_a_price_below_zero_is_refused(bring, store):
    text = """Date,Open,High,Low,Close,Volume
2020-04-17,19.00,20.00,17.31,18.27,126000
2020-04-20,17.73,17.85,-40.32,-37.63,247000
2020-04-21,-14.00,13.86,-16.74,10.01,2290
"""
    with pytest.raises(BadInputError, match=r"line [34]: the bar of 2020-04-2[01] .* which is not above 0"):
        bring("CLK20_1d.csv", text)
    assert not store.root.exists()
