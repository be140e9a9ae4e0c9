"""When a market is open, and how many bars it makes in a year.

Three kinds: ``FX`` (Sunday 17:00 to Friday 17:00 in New York, which is how 24/5 markets keep their week), ``24/7`` for
crypto currencies, and exchanges by their market identifier code (``XNYS``, ``XLON``, ...) from ``exchange_calendars``.
"""

from __future__ import annotations

import datetime as dt
import functools
import re
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np

from ktrdr.core.data.timeframe import Timeframe
from ktrdr.core.errors import BadInputError
from ktrdr.core.parameters import did_you_mean

__all__ = ["Intervals", "MarketCalendar", "bars_per_year", "calendar_for"]

_DAY = 86_400_000_000_000
_HOUR = 3_600_000_000_000
_DAYS_PER_YEAR = 365.2425
_WEEKS_PER_YEAR = _DAYS_PER_YEAR / 7
_FEWEST_WEEKS = 8

_METALS = frozenset({"XAU", "XAG", "XPT", "XPD"})
_CURRENCIES = _METALS | {
    "USD", "EUR", "GBP", "JPY", "CHF", "AUD", "NZD", "CAD", "SEK", "NOK", "DKK", "PLN", "CZK", "HUF", "TRY", "ZAR",
    "MXN", "SGD", "HKD", "CNH", "CNY", "THB", "INR", "KRW", "BRL", "ILS", "RUB", "RON",
}  # fmt: skip
_CRYPTO = frozenset({
    "BTC", "XBT", "ETH", "XRP", "LTC", "BCH", "ADA", "SOL", "DOT", "DOGE", "BNB", "AVAX", "LINK", "MATIC", "POL", "TRX",
    "ATOM", "UNI", "XLM", "ETC", "FIL", "NEAR", "ALGO", "AAVE", "EOS", "XMR", "DASH", "ZEC", "XTZ", "SHIB", "PEPE",
    "TON", "SUI", "APT", "ARB", "OP",
})  # fmt: skip
_STABLECOINS = ("USDT", "USDC", "BUSD", "TUSD", "DAI")
# Suffixes of symbols as Yahoo and most vendors write them.
_EXCHANGE_SUFFIXES = {
    "L": "XLON", "DE": "XETR", "F": "XFRA", "PA": "XPAR", "AS": "XAMS", "BR": "XBRU", "MI": "XMIL", "MC": "XMAD",
    "SW": "XSWX", "ST": "XSTO", "CO": "XCSE", "OL": "XOSL", "HE": "XHEL", "VI": "XWBO", "WA": "XWAR", "T": "XTKS",
    "HK": "XHKG", "SS": "XSHG", "KS": "XKRX", "TW": "XTAI", "AX": "XASX", "NZ": "XNZE", "TO": "XTSE", "SA": "BVMF",
    "BO": "XBOM", "JO": "XJSE", "TA": "XTAE", "SI": "XSES", "LS": "XLIS", "IR": "XDUB", "PR": "XPRA", "IS": "XIST",
}  # fmt: skip
_DEFAULT_EXCHANGE = "XNYS"


@dataclass(frozen=True, slots=True)
class Intervals:
    """Ascending intervals of time without overlap, ``int64`` nanoseconds since 1970, ``[open, close)``."""

    open: np.ndarray
    close: np.ndarray

    def covered(self, start: np.ndarray, end: np.ndarray) -> np.ndarray:
        """Return how many nanoseconds of each ``[start, end)`` lie inside the intervals, int64 ``(n,)``."""
        return self._until(end) - self._until(start)

    def _until(self, time: np.ndarray) -> np.ndarray:
        if not len(self.open):
            return np.zeros(len(time), dtype=np.int64)
        before = np.concatenate(([0], np.cumsum(self.close - self.open)))
        index = np.searchsorted(self.open, time, side="right") - 1
        inside = np.minimum(time, self.close[index]) - self.open[index]
        return np.where(index < 0, 0, before[index] + inside)


@dataclass(frozen=True, slots=True)
class MarketCalendar:
    """Hours of one market.

    Attributes:
        name: ``FX``, ``24/7`` or a market identifier code.
        break_hours: for ``FX``, hours without trading at the start of each day (1 for metals, else 0).
    """

    name: str
    break_hours: int = 0

    def sessions(self, start: np.datetime64, end: np.datetime64, timeframe: Timeframe) -> Intervals:
        """Return when bars of ``timeframe`` are due between ``start`` and ``end``.

        For daily bars of an exchange these are whole days (UTC) with a session, since such bars are labelled with the
        date; weekly bars are due all the time.
        """
        first, last = _days(start, end)
        if self.name == "24/7" or timeframe.name == "1w":
            return Intervals(np.array([first * _DAY]), np.array([(last + 1) * _DAY]))
        if self.name == "FX":
            days = np.arange(first, last + 1)
            return self._fx_days(days[_is_weekday(days) & ~_is_fx_holiday(days)])
        days, opens, closes = _exchange(self.name, first, last)
        return Intervals(days * _DAY, (days + 1) * _DAY) if timeframe.name == "1d" else Intervals(opens, closes)

    def holidays(self, start: np.datetime64, end: np.datetime64) -> Intervals:
        """Return the closed weekdays between ``start`` and ``end``."""
        first, last = _days(start, end)
        days = np.arange(first, last + 1)
        if self.name == "24/7":
            return Intervals(days[:0], days[:0])
        if self.name == "FX":
            return self._fx_days(days[_is_weekday(days) & _is_fx_holiday(days)])
        closed = np.setdiff1d(days[_is_weekday(days)], _exchange(self.name, first, last)[0])
        return Intervals(closed * _DAY, (closed + 1) * _DAY)

    def bars_per_year(self, timeframe: Timeframe) -> float:
        """Return how many bars of ``timeframe`` an average year has."""
        if timeframe.name == "1w":
            return _WEEKS_PER_YEAR
        if self.name == "24/7":
            return _DAYS_PER_YEAR * 86400 / timeframe.seconds
        if self.name == "FX":
            days = (_DAYS_PER_YEAR - 2) * 5 / 7
            return days * max(1.0, (24 - self.break_hours) * 3600 / timeframe.seconds)
        first, last = (int(np.datetime64(day, "D").astype(np.int64)) for day in ("2010-01-01", "2019-12-31"))
        days_open, opens, closes = _exchange(self.name, first, last)
        per_session = np.ceil((closes - opens) / timeframe.nanoseconds).sum() / len(days_open)
        return len(days_open) / (last - first + 1) * _DAYS_PER_YEAR * max(1.0, float(per_session))

    def _fx_days(self, days: np.ndarray) -> Intervals:
        close = days * _DAY + _new_york_five(days)
        open_ = (days - 1) * _DAY + _new_york_five(days - 1) + self.break_hours * _HOUR
        return Intervals(open_, close)


def calendar_for(symbol: str, calendar: str | None = None) -> MarketCalendar:
    """Return the calendar named ``calendar``, or else the one that the spelling of ``symbol`` tells.

    Two currency codes (``EURUSD``, ``EUR-USD``, ``EURUSD=X``) are FX; a crypto currency against anything is 24/7; a
    suffix such as ``.L`` or ``.T`` names its exchange; everything else is taken to trade in New York (``XNYS``).

    Raises:
        BadInputError: there is no calendar of that name.
    """
    base, quote = _pair(symbol)
    metal = 1 if base in _METALS else 0
    if calendar is not None:
        name = "FX" if calendar.upper() in ("FX", "24/5") else calendar.upper()
        if name not in ("FX", "24/7"):
            _check_exchange(name)
        return MarketCalendar(name, metal if name == "FX" else 0)
    if base in _CURRENCIES and quote in _CURRENCIES:
        return MarketCalendar("FX", metal)
    if base in _CRYPTO or quote in _STABLECOINS:
        return MarketCalendar("24/7")
    suffix = symbol.rpartition(".")[2] if "." in symbol else ""
    return MarketCalendar(_EXCHANGE_SUFFIXES.get(suffix, _DEFAULT_EXCHANGE))


def bars_per_year(
    symbol: str, timeframe: Timeframe | str, times: np.ndarray | None = None, *, calendar: str | None = None
) -> float:
    """Return how many bars a year has, to annualize what is measured per bar.

    Where ``times`` (``datetime64``, ascending opens) hold at least eight whole weeks, the data themselves say it: the
    mean number of bars in a week, times 52.1775. Counted are weeks between two others with bars, so neither a range
    that starts on a Wednesday nor a hole in the data changes the result. Otherwise the calendar of the symbol says it
    (:func:`calendar_for`).
    """
    frame = Timeframe(str(timeframe))
    if times is not None and len(times) > 2:
        week = (times.astype("datetime64[s]").astype(np.int64) - 4 * 86400) // (7 * 86400)
        weeks, counts = np.unique(week, return_counts=True)
        counts = counts[1:-1][weeks[2:] - weeks[:-2] == 2]
        if len(counts) >= _FEWEST_WEEKS:
            return float(counts.mean()) * _WEEKS_PER_YEAR
    return calendar_for(symbol, calendar).bars_per_year(frame)


def _pair(symbol: str) -> tuple[str, str]:
    """Split a symbol into base and quote currency; the quote is empty where it is no pair."""
    text = symbol.upper().removesuffix("=X")
    parts = re.split(r"[-_.]", text)
    if len(parts) == 2:
        return parts[0], parts[1]
    for coin in _STABLECOINS:
        if text.endswith(coin) and len(text) > len(coin):
            return text.removesuffix(coin), coin
    for length in (3, 4, 5):
        base, quote = text[:length], text[length:]
        if (base in _CRYPTO or length == 3) and (quote in _CURRENCIES or quote in _CRYPTO):
            return base, quote
    return text, ""


def _days(start: np.datetime64, end: np.datetime64) -> tuple[int, int]:
    """Days since 1970 that surround ``[start, end]``, with one more on each side."""
    return (
        int(start.astype("datetime64[D]").astype(np.int64)) - 1,
        int(end.astype("datetime64[D]").astype(np.int64)) + 1,
    )


def _is_weekday(days: np.ndarray) -> np.ndarray:
    return (days + 3) % 7 < 5  # 1970-01-01 was a Thursday


def _is_fx_holiday(days: np.ndarray) -> np.ndarray:
    day = days.astype("datetime64[D]")
    in_year = (day - day.astype("datetime64[Y]").astype("datetime64[D]")).astype(np.int64)
    christmas = day.astype("datetime64[M]").astype(np.int64) % 12 == 11
    in_month = (day - day.astype("datetime64[M]").astype("datetime64[D]")).astype(np.int64)
    return (in_year == 0) | (christmas & (in_month == 24))


def _new_york_five(days: np.ndarray) -> np.ndarray:
    """Nanoseconds from 00:00 UTC to 17:00 in New York of each day."""
    known, index = np.unique(days, return_inverse=True)
    return np.array([_five_o_clock(int(day)) for day in known], dtype=np.int64)[index]


@functools.lru_cache(maxsize=65536)
def _five_o_clock(day: int) -> int:
    date = dt.date(1970, 1, 1) + dt.timedelta(days=day)
    local = dt.datetime.combine(date, dt.time(17), tzinfo=ZoneInfo("America/New_York"))
    offset = local.utcoffset()
    assert offset is not None
    return 17 * _HOUR - int(offset.total_seconds()) * 1_000_000_000


def _check_exchange(name: str) -> None:
    import exchange_calendars

    names = exchange_calendars.get_calendar_names()
    if name not in names:
        hint = did_you_mean(name, names) or "; use FX, 24/7 or a market identifier code such as XNYS"
        raise BadInputError(f"unknown calendar `{name}`{hint}")


@functools.lru_cache(maxsize=32)
def _exchange(name: str, first: int, last: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the days with a session, and the opens and closes of its parts (a lunch break splits it)."""
    import exchange_calendars
    from exchange_calendars.errors import CalendarError

    start, end = (dt.date(1970, 1, 1) + dt.timedelta(days=day) for day in (first, last))
    # A month more on each side, or a range inside a long holiday would have no session at all.
    margin = dt.timedelta(days=31)
    try:
        calendar = exchange_calendars.get_calendar(name, start=str(start - margin), end=str(end + margin))
    except (CalendarError, ValueError) as error:
        raise BadInputError(f"the calendar {name} does not reach from {start} to {end}: {error}") from error
    schedule = calendar.schedule

    def instants(column: str) -> np.ndarray:
        return schedule[column].dt.tz_convert("UTC").dt.tz_localize(None).to_numpy("datetime64[ns]").astype(np.int64)

    days = schedule.index.to_numpy("datetime64[D]").astype(np.int64)
    opens, closes, break_start, break_end = (instants(c) for c in ("open", "close", "break_start", "break_end"))
    inside = (days >= first) & (days <= last)
    split = inside & (break_start != np.iinfo(np.int64).min)
    all_opens = np.concatenate((opens[inside], break_end[split]))
    all_closes = np.concatenate((np.where(split, break_start, closes)[inside], closes[split]))
    order = np.argsort(all_opens, kind="stable")
    return days[inside], all_opens[order], all_closes[order]
