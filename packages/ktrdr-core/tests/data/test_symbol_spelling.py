"""What a symbol can name, by its spelling."""

from __future__ import annotations

import pytest

from ktrdr.core.data.calendars import calendar_for
from ktrdr.core.data.symbol_spelling import missing_symbol, readings


@pytest.mark.parametrize(
    ("symbol", "calendar"),
    [
        ("SOL-USD", "24/7"), ("SOLUSDT", "24/7"), ("LINKUSD", "24/7"), ("ETH_BTC", "24/7"), ("BTC-PERP", "24/7"),
        ("PEPEUSDT", "24/7"), ("NEWCOINUSDT", "24/7"), ("XBTUSD", "24/7"), ("btc-usd", "24/7"),
        ("SOL.AX", "XASX"), ("UNI.MI", "XMIL"), ("LINK.L", "XLON"), ("LTC.US", "XNYS"), ("ATOM.DE", "XETR"),
        ("US500", "FX"), ("US30", "FX"), ("NAS100", "FX"), ("DE40", "FX"), ("GER40", "FX"), ("UK100", "FX"),
        ("JP225", "FX"), ("FRA40", "FX"), ("SPX500_USD", "FX"), ("US500.cash", "FX"), ("DEUIDXEUR", "FX"),
        ("LIGHTCMDUSD", "FX"), ("BCO_USD", "FX"), ("XTIUSD", "FX"), ("USOIL", "FX"), ("NAS100USD", "FX"),
        ("GOLDUSD", "FX"), ("XAUUSD", "FX"),
        ("NQ", "CMES"), ("YM", "CMES"), ("RTY", "CMES"), ("GC", "CMES"), ("ZB", "CMES"), ("6E", "CMES"),
        ("ES=F", "CMES"), ("CL=F", "CMES"), ("GC=F", "CMES"), ("KC=F", "IEPA"), ("ESZ24", "CMES"), ("CLM2025", "CMES"),
        ("FDAX", "XEUR"), ("VX", "us_futures"),
        ("^GSPC", "XNYS"), ("^DJI", "XNYS"), ("^VIX", "XNYS"), ("^GDAXI", "XETR"), ("^FTSE", "XLON"),
        ("^N225", "XTKS"), ("^HSI", "XHKG"), ("N225", "XTKS"), ("BCO", "XNYS"), ("STI", "XNYS"), ("ESTA", "XNYS"),
        ("SOLV", "XNYS"), ("DASHING", "XNYS"),
    ],
)  # fmt: skip
def test_one_reading(symbol, calendar):
    assert [reading.calendar for reading in readings(symbol)] == [calendar]


@pytest.mark.parametrize(
    ("symbol", "calendars"),
    [
        *((coin, ["24/7", "XNYS"]) for coin in (
            "DASH", "LTC", "SUI", "SOL", "TON", "APT", "LINK", "ETH", "BTC", "UNI", "NEAR", "OP", "ARB", "sol")),
        *((code, ["XNYS", "CMES"]) for code in ("ES", "CL", "SI", "NG", "ZS")),
        ("KC", ["XNYS", "IEPA"]), ("GOLD", ["XNYS", "FX"]), ("WTI", ["XNYS", "FX"]), ("DAX", ["XNYS", "XETR"]),
    ],
)  # fmt: skip
def test_several_readings(symbol, calendars):
    assert [reading.calendar for reading in readings(symbol)] == calendars


@pytest.mark.parametrize(("symbol", "hours"), [("EURUSD", 0), ("XAUUSD", 1), ("US500", 1), ("XTIUSD", 1), ("GOLD", 1)])
def test_contracts_and_metals_rest_for_an_hour(symbol, hours):
    assert calendar_for(symbol, "FX").break_hours == hours
    assert calendar_for(symbol, "XNYS").break_hours == 0


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("eurusd", "EURUSD"), ("EURUS", "EURUSD"), ("EUR-USD", "EURUSD"), ("EURSUD", "EURUSD"), ("EURUSD=X", "EURUSD"),
        ("MFST", "MSFT"), ("BRK.B", "BRK-B"), ("BTCUSD", "BTC-USD"),
        ("GBPUSD", None), ("USDJPY", None), ("AAPL", None), ("NVDA", None), ("X", None),
    ],
)  # fmt: skip
def test_a_symbol_is_suggested_only_if_it_is_nearly_the_same(written, meant):
    hint = missing_symbol(written, ["EURUSD", "MSFT", "BRK-B", "BTC-USD"])
    assert hint == (f", did you mean `{meant}`?" if meant else "")
