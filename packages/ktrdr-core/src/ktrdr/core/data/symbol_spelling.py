"""The markets that a symbol can belong to, by its spelling.

Most symbols have one reading, and so one calendar; some tickers can name several things. The names of calendars are
those of :mod:`ktrdr.core.data.calendars`. The first of several readings is the default.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass

from ktrdr.core.parameters import did_you_mean

__all__ = ["Reading", "missing_symbol", "pause_hours", "readings"]


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading of a symbol: its ``calendar``, and ``what`` the symbol names, such as ``a coin``."""

    calendar: str
    what: str


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
# Suffixes of a coin for its perpetual futures without a quote currency.
_PERPETUALS = frozenset({"PERP", "PERPETUAL", "SWAP"})
# Suffixes of symbols as Yahoo and most vendors write them.
_EXCHANGE_SUFFIXES = {
    "L": "XLON", "DE": "XETR", "F": "XFRA", "PA": "XPAR", "AS": "XAMS", "BR": "XBRU", "MI": "XMIL", "MC": "XMAD",
    "SW": "XSWX", "ST": "XSTO", "CO": "XCSE", "OL": "XOSL", "HE": "XHEL", "VI": "XWBO", "WA": "XWAR", "T": "XTKS",
    "HK": "XHKG", "SS": "XSHG", "KS": "XKRX", "TW": "XTAI", "AX": "XASX", "NZ": "XNZE", "TO": "XTSE", "SA": "BVMF",
    "BO": "XBOM", "JO": "XJSE", "TA": "XTAE", "SI": "XSES", "LS": "XLIS", "IR": "XDUB", "PR": "XPRA", "IS": "XIST",
    "BK": "XBKK", "JK": "XIDX", "KL": "XKLS", "US": "XNYS",
}  # fmt: skip
_NEW_YORK = "XNYS"
# A missing or additional letter (EURUS, AAPLE) or two swapped letters (MFST) count as similar; EURUSD and GBPUSD (0.67)
# do not.
_NEARLY = 0.75

# Indices outside New York as Yahoo writes them, with a caret. They are computed while their exchange is open.
_INDICES = {
    "GDAXI": "XETR", "MDAXI": "XETR", "STOXX50E": "XETR", "STOXX": "XETR", "FTSE": "XLON", "FTMC": "XLON",
    "FCHI": "XPAR", "AEX": "XAMS", "BFX": "XBRU", "IBEX": "XMAD", "SSMI": "XSWX", "ATX": "XWBO", "OMX": "XSTO",
    "OMXC25": "XCSE", "OMXH25": "XHEL", "OSEAX": "XOSL", "N225": "XTKS", "HSI": "XHKG", "HSCE": "XHKG",
    "KS11": "XKRX", "TWII": "XTAI", "AXJO": "XASX", "AORD": "XASX", "NZ50": "XNZE", "STI": "XSES", "BSESN": "XBOM",
    "NSEI": "XBOM", "GSPTSE": "XTSE", "BVSP": "BVMF", "MXX": "XMEX", "MERV": "XBUE", "JKSE": "XIDX", "KLSE": "XKLS",
}  # fmt: skip
# Those that are written without it, too, and are the ticker of no share.
_BARE_INDICES = frozenset({"GDAXI", "STOXX50E", "FTSE", "FCHI", "N225", "AXJO"})

# Contracts of brokers on indices and commodities: nearly around the clock, with an hour's pause after New York's 17:00.
_CONTRACTS = re.compile(
    r"(US|SPX|USA)500|US30|USA30|WS30|DJ30|NAS100|US100|USTEC|US2000|(DE|GER|DEU)(30|40)|UK100|GBR100|JP225|JPN225|"
    r"(FRA|FR|F)40|(EU|EUSTX|STOXX|ESTX)50|(ESP|ES)35|(IT|ITA)40|(NETH|NL|NLD)25|(SWI|CH|CHE)20|(HK|HKG)(33|50)|"
    r"(AUS|AU)200|(CHINA|CN)50|(SG|SGP)(25|30)|VOLX|(US|UK)OIL|XTI|XBR|WTICO|BRENT|NATGAS|NGAS|XNG|COPPER|SILVER",
    re.ASCII,
)
# Only with a currency after them: OANDA's BCO_USD, Dukascopy's DEUIDXEUR and LIGHTCMDUSD.
_QUOTED_CONTRACTS = re.compile(r"BCO|WTI|GOLD|[A-Z0-9]+(IDX|CMD)", re.ASCII)

# Codes of futures. Those of CME, CBOT, NYMEX and COMEX share a calendar. The futures of Cboe trade as long; the
# calendar `XCBF` has only their hours of the day.
_FUTURES = {
    **dict.fromkeys(
        (
            "ES", "NQ", "YM", "RTY", "EMD", "NKD", "MES", "MNQ", "MYM", "M2K", "CL", "MCL", "QM", "BZ", "NG", "QG",
            "HO", "RB", "GC", "MGC", "SI", "SIL", "HG", "PL", "PA", "ZB", "UB", "ZN", "TN", "ZF", "ZT", "ZQ", "SR3",
            "ZC", "ZW", "KE", "ZS", "ZM", "ZL", "ZO", "ZR", "LE", "GF", "HE", "6A", "6B", "6C", "6E", "6J", "6M",
            "6N", "6S",
        ),
        "CMES",
    ),
    **dict.fromkeys(("DX", "KC", "SB", "CT", "CC", "OJ"), "IEPA"),
    **dict.fromkeys(("FDAX", "FDXM", "FDXS", "FESX", "FGBL", "FGBM", "FGBS", "FGBX", "FSMI"), "XEUR"),
    **dict.fromkeys(("VX", "VXM"), "us_futures"),
}  # fmt: skip
# Codes that are, or were, the ticker of a share or fund in New York as well.
_ALSO_SHARES = frozenset({
    "ES", "CL", "BZ", "NG", "MGC", "SI", "SIL", "HG", "PL", "PA", "UB", "ZN", "ZF", "ZT", "ZS", "ZM", "LE", "GF", "HE",
    "DX", "KC", "SB", "CC", "KE", "EMD",
})  # fmt: skip
_COMMODITY_OR_SHARE = frozenset({"GOLD", "WTI"})
_DELIVERY = re.compile(r"(?P<code>[A-Z0-9]{2,4})[FGHJKMNQUVXZ]\d{1,4}", re.ASCII)  # ESZ4, CLM2025


@functools.lru_cache(maxsize=16384)
def readings(symbol: str) -> tuple[Reading, ...]:
    """Return the readings of ``symbol``, at least one.

    Two currency codes (``EURUSD``, ``EUR-USD``, ``EURUSD=X``) are FX, a coin against anything (``SOL-USD``,
    ``SOLUSDT``) is 24/7, a suffix such as ``.L`` or ``.T`` names its exchange, ``=F`` says that it is a future, and a
    contract on an index or a commodity (``US500``) keeps the week of FX. A bare coin (``SOL``) may be a share too, as
    may the bare code of a future (``ES``). Everything else is taken to trade in New York.
    """
    text = symbol.upper()
    share = Reading(_NEW_YORK, "a share")
    delivery = _DELIVERY.fullmatch(text)
    if text.endswith("=F"):
        return (Reading(_FUTURES.get(text.removesuffix("=F"), "CMES"), "a future"),)
    if delivery is not None and delivery["code"] in _FUTURES:
        return (Reading(_FUTURES[delivery["code"]], "a future"),)
    if text in _BARE_INDICES or (text.startswith("^") and text[1:] in _INDICES):
        return (Reading(_INDICES[text.removeprefix("^")], "an index"),)
    base, quote = _pair(symbol)
    if base in _CURRENCIES and quote in _CURRENCIES:
        return (Reading("FX", "a currency pair"),)
    if quote in _STABLECOINS or (base in _CRYPTO and quote in _CURRENCIES | _CRYPTO | _PERPETUALS):
        return (Reading("24/7", "a coin"),)
    if _is_contract(base, quote):
        return (Reading("FX", "a contract"),)
    suffix = text.rpartition(".")[2] if "." in text else ""
    if suffix in _EXCHANGE_SUFFIXES:
        return (Reading(_EXCHANGE_SUFFIXES[suffix], "a share"),)
    if base in _CRYPTO:
        return (Reading("24/7", "a coin"), share)
    if text in _COMMODITY_OR_SHARE:
        return (share, Reading("FX", "a commodity"))
    if text == "DAX":
        return (share, Reading("XETR", "an index"))
    if text in _FUTURES:
        future = Reading(_FUTURES[text], "a future")
        return (share, future) if text in _ALSO_SHARES else (future,)
    return (share,)


def pause_hours(symbol: str) -> int:
    """Return the hours after 17:00 in New York in which ``symbol`` does not trade, if its calendar is ``FX``."""
    base, quote = _pair(symbol)
    return 1 if base in _METALS or base in _COMMODITY_OR_SHARE or _is_contract(base, quote) else 0


def _is_contract(base: str, quote: str) -> bool:
    quoted = quote in _CURRENCIES and _QUOTED_CONTRACTS.fullmatch(base) is not None
    return quoted or _CONTRACTS.fullmatch(base) is not None


def _pair(symbol: str) -> tuple[str, str]:
    """Split a symbol into base and quote; the quote is empty if the symbol is not a pair."""
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
    base, quote = text[:-3], text[-3:]
    if quote in _CURRENCIES and _is_contract(base, quote):
        return base, quote
    return text, ""


def missing_symbol(symbol: str, stored: Iterable[str]) -> str:
    """Return ``", did you mean `EURUSD`?"`` if ``stored`` has a symbol similar to ``symbol``, else an empty string.

    The threshold is high: symbols are short, and two pairs with the same currency are similar without being confused.
    """
    return did_you_mean(symbol, stored, cutoff=_NEARLY)
