"""Which column of a vendor's file is what."""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ktrdr.core.errors import BadInputError
from ktrdr.core.parameters import did_you_mean

__all__ = ["ROLES", "Layout", "assign_roles", "read_layout"]

ROLES = ("time", "day", "open", "high", "low", "close", "volume", "symbol")
"""What a column can be. ``day`` and ``time`` together: date and time of day in two columns."""

_PRICES = ("open", "high", "low", "close")
_DELIMITERS = (",", ";", "\t", "|")
_LINES = 200
_PREAMBLE_LINES = 10

# Spellings in lower case without anything but letters and digits; the first that is there wins.
_SPELLINGS: Mapping[str, tuple[str, ...]] = {
    "time": (
        "unix", "unixtime", "unixtimestamp", "epoch", "epochtime", "timestamp", "opentime", "timestampms",
        "timestamputc", "datetime", "datetimeutc", "utc", "gmt", "utctime", "gmttime", "timeutc", "timegmt", "dateutc",
        "dategmt", "localtime", "bartime", "starttime", "time", "ts", "t", "date", "dates", "day", "dtyyyymmdd",
        "tradedate", "tradingdate", "indexlevel0", "index",
    ),
    "open": ("open", "o", "openprice", "1open", "priceopen", "first", "openingprice"),
    "high": ("high", "h", "highprice", "2high", "pricehigh", "max", "highest"),
    "low": ("low", "l", "lowprice", "3low", "pricelow", "min", "lowest"),
    "close": ("close", "c", "closeprice", "4close", "priceclose", "closelast", "last", "closingprice", "price"),
    "volume": ("volume", "vol", "v", "5volume", "6volume", "basevolume", "tickvolume", "tickvol", "tottrdqty"),
    "symbol": ("symbol", "ticker", "instrument", "pair", "currencypair", "ric", "code", "sym", "asset", "name"),
}  # fmt: skip
_DAYS = ("date", "day", "dtyyyymmdd", "tradedate", "tradingdate", "dateutc", "dategmt")
_TIMES_OF_DAY = ("time", "timeofday", "timeutc", "timegmt", "utctime", "gmttime", "hour")
_ADJUSTED = re.compile(r"^adj(usted|usted?d)?(close|open|high|low|volume|price)|adj(usted)?close$")
# Files without a header: Binance has 12 columns that start with the open time in epoch units.
_BARE_COLUMNS = {
    5: ("time", *_PRICES),
    6: ("time", *_PRICES, "volume"),
    12: ("time", *_PRICES, "volume", "", "", "", "", "", ""),
}
_BARE_TWO_COLUMNS = {6: ("day", "time", *_PRICES), 7: ("day", "time", *_PRICES, "volume")}


@dataclass(frozen=True, slots=True)
class Layout:
    """How a text file is laid out.

    Attributes:
        delimiter: between columns.
        skip: lines before the first bar.
        columns: names as in the file; numbers as text where there is no header.
        roles: position of the column for each role it has.
        sample: the first rows, as text.
        notes: what was assumed.
    """

    delimiter: str
    skip: int
    columns: tuple[str, ...]
    roles: Mapping[str, int]
    sample: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]


def read_layout(path: Path, shown: Path, given: Mapping[str, str]) -> Layout:
    """Return the layout of the UTF-8 text file ``path``.

    Args:
        path: what is read.
        shown: the name for messages.
        given: column names by role, as the user gave them; they win over known spellings.

    Raises:
        BadInputError: no delimiter makes columns of bars of it, a column is missing, or two could be meant.
    """
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        lines = [line.rstrip("\r\n") for line in itertools.islice(file, _LINES)]
    for position, line in enumerate(lines[:_PREAMBLE_LINES]):
        for delimiter in _DELIMITERS:
            names = _split(line, delimiter)
            if _is_header(names, given):
                return _with_header(lines, position, delimiter, names, shown, given)
    bare = None if given else _without_header(lines)
    if bare is not None:
        return bare
    first = next(line for line in lines if line.strip())
    raise BadInputError(
        f"{shown}: found no columns for open, high, low and close in its first lines, separated by comma, semicolon, "
        f"tab or |; the first line is {first[:100]!r}. If they have other names, say so, such as --column open=PX_OPEN"
    )


def assign_roles(names: Sequence[str], shown: Path, given: Mapping[str, str]) -> tuple[dict[str, int], tuple[str, ...]]:
    """Return the position of the column for each role, and notes on what was left out.

    Raises:
        BadInputError: a column is missing, or two could be meant.
    """
    plain = [_plain(name) for name in names]
    roles: dict[str, int] = {}
    for role, wanted in given.items():
        if role not in ROLES:
            raise BadInputError(f"--column {role}={wanted}: unknown role `{role}`; roles are {', '.join(ROLES)}")
        if wanted not in names:
            hint = did_you_mean(wanted, names) or f"; its columns are {', '.join(names)}"
            raise BadInputError(f"{shown}: there is no column `{wanted}` for {role}{hint}")
        roles[role] = list(names).index(wanted)
    notes: list[str] = []
    for role, spellings in _SPELLINGS.items():
        if role not in roles:
            _find(role, spellings, plain, names, roles, notes, shown)
    if "time" not in given and "day" not in given:
        _split_time(plain, roles)
    if "time" not in roles and plain and plain[0] == "" and 0 not in roles.values():
        roles["time"] = 0  # the index of a data frame, written without a name
    missing = [role for role in ("time", *_PRICES) if role not in roles]
    if missing:
        raise BadInputError(
            f"{shown} has no column for {' and '.join(missing)}; its columns are {', '.join(names)}. "
            f"Say which it is with --column {missing[0]}=NAME"
        )
    adjusted = [name for name, text in zip(names, plain, strict=True) if _ADJUSTED.search(text)]
    adjusted = [name for name in adjusted if list(names).index(name) not in roles.values()]
    if adjusted:
        notes.append(f"adjusted prices are left out ({', '.join(adjusted)}): bars hold prices as traded")
    other = [
        name for position, name in enumerate(names) if position not in roles.values() and name not in adjusted and name
    ]
    if other:
        notes.append(f"left out: {', '.join(other)}")
    return roles, tuple(notes)


def _find(
    role: str,
    spellings: Sequence[str],
    plain: Sequence[str],
    names: Sequence[str],
    roles: dict[str, int],
    notes: list[str],
    shown: Path,
) -> None:
    for spelling in spellings:
        places = [place for place, text in enumerate(plain) if text == spelling and place not in roles.values()]
        if len(places) > 1:
            listed = ", ".join(names[place] for place in places)
            raise BadInputError(f"{shown} has several columns for {role} ({listed}); keep one of them")
        if places:
            roles[role] = places[0]
            return
    if role == "volume":
        places = [place for place, text in enumerate(plain) if text.startswith("volume")]
        if places:
            roles[role] = places[0]
            notes.append(f"volume is taken from {names[places[0]]}")


def _split_time(plain: Sequence[str], roles: dict[str, int]) -> None:
    """Take date and time of day from two columns, if there are two and none holds both."""
    if "time" not in roles or plain[roles["time"]] not in (*_DAYS, *_TIMES_OF_DAY):
        return
    days = [place for place, text in enumerate(plain) if text in _DAYS]
    times = [place for place, text in enumerate(plain) if text in _TIMES_OF_DAY]
    if len(days) == 1 and len(times) == 1:
        roles["day"], roles["time"] = days[0], times[0]


def _with_header(
    lines: Sequence[str], position: int, delimiter: str, names: list[str], shown: Path, given: Mapping[str, str]
) -> Layout:
    roles, notes = assign_roles(names, shown, given)
    sample = tuple(
        tuple(row) for row in (_split(line, delimiter) for line in lines[position + 1 :]) if len(row) == len(names)
    )
    if position:
        notes = (*notes, f"skipped {position} lines before the header")
    if not any(line.strip() for line in lines[position + 1 :]):
        raise BadInputError(f"{shown} has a header and no bars")
    return Layout(delimiter, position + 1, tuple(names), roles, sample, notes)


def _without_header(lines: Sequence[str]) -> Layout | None:
    for delimiter in _DELIMITERS:
        rows = [tuple(_split(line, delimiter)) for line in lines if line.strip()]
        width = len(rows[0])
        if any(len(row) != width for row in rows):
            continue
        for shapes, first_price in ((_BARE_COLUMNS, 1), (_BARE_TWO_COLUMNS, 2)):
            roles = shapes.get(width, ())
            if roles and all(_is_number(cell) for cell in rows[0][first_price : first_price + 4]):
                # In six columns, date and time of day apart leave no volume: only the text tells.
                if first_price == 1 and ":" in rows[0][1]:
                    continue
                if not re.match(r"\d", rows[0][0].strip()) or (first_price == 2 and ":" not in rows[0][1]):
                    continue
                note = f"no header: columns are taken as {', '.join(role for role in roles if role)}"
                return Layout(
                    delimiter,
                    0,
                    tuple(str(i + 1) for i in range(width)),
                    {role: place for place, role in enumerate(roles) if role},
                    tuple(rows),
                    (note,),
                )
    return None


def _is_header(names: Sequence[str], given: Mapping[str, str]) -> bool:
    """A header names at least two of the four prices, or what the user said it does."""
    plain = {_plain(name) for name in names}
    found = sum(1 for role in _PRICES if given.get(role) in names or plain & set(_SPELLINGS[role]))
    return len(names) >= 4 and found >= 2


def _split(line: str, delimiter: str) -> list[str]:
    row = next(csv.reader([line], delimiter=delimiter), [])
    return [cell.strip() for cell in row]


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _is_number(text: str) -> bool:
    return re.fullmatch(r"\s*-?\d+([.,]\d+)?([eE][+-]?\d+)?\s*", text) is not None
