"""Recognition of the columns of a file by their headings."""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ktrdr.core.data.vendor.bare_columns import bare_roles
from ktrdr.core.data.vendor.number_format import cell_of
from ktrdr.core.errors import BadInputError
from ktrdr.core.limits import MOST_COLUMNS
from ktrdr.core.parameters import did_you_mean

__all__ = [
    "Layout",
    "Wanted",
    "assign_roles",
    "check_roles",
    "columns_of_ticker",
    "is_spelled",
    "read_layout",
    "spare_volumes",
]

ROLES = ("time", "day", "open", "high", "low", "close", "volume", "symbol")
"""Roles of columns. ``day`` and ``time`` together are the date and the time of day in two columns."""

_PRICES = ("open", "high", "low", "close")
_DELIMITERS = (",", ";", "\t", "|")
_LINES = 200
_PREAMBLE_LINES = 10

# Spellings in lower case, only letters and digits; the first one that occurs wins.
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
# yfinance begins the line with the ticker of each column with one of these.
_TICKERS = ("ticker", "tickers")
_LINES_UNDER_HEADER = 3


@dataclass(frozen=True, slots=True)
class Layout:
    """The layout of a text file.

    Attributes:
        delimiter: character between columns.
        skip: number of lines before the first bar.
        columns: names as in the file; numbers as text if there is no header.
        roles: position of the column of each role.
        sample: the first rows, as text.
        notes: assumptions.
        left_out: names of columns without a role.
        spare_volumes: positions of further volume columns, used if that of ``roles`` is 0 throughout.
        symbol: the symbol in the head of the file, or empty.
    """

    delimiter: str
    skip: int
    columns: tuple[str, ...]
    roles: Mapping[str, int]
    sample: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    spare_volumes: tuple[int, ...] = ()
    symbol: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Options of the user: column names by role (numbers from 1 without a header), and the symbol to take."""

    columns: Mapping[str, str]
    symbol: str | None = None


def check_roles(columns: Mapping[str, str]) -> None:
    """Check that all roles are known.

    Raises:
        BadInputError: a role is unknown.
    """
    for role, name in columns.items():
        if role not in ROLES:
            raise BadInputError(f"--column {role}={name}: unknown role `{role}`; roles are {', '.join(ROLES)}")


def read_layout(path: Path, shown: Path, wanted: Wanted) -> Layout:
    """Return the layout of the UTF-8 text file ``path``.

    Args:
        path: the file to read.
        shown: its name for messages.
        wanted: options of the user, which take precedence over known headings.

    Raises:
        BadInputError: no delimiter gives columns of bars, a column is missing, or a role is ambiguous.
    """
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        lines = [line.rstrip("\r\n") for line in itertools.islice(file, _LINES)]
    first = next((line for line in lines if line.strip()), None)
    if first is None:
        raise BadInputError(f"{shown} is empty, or begins with {_LINES} empty lines: fetch it again")
    for position, line in enumerate(lines[:_PREAMBLE_LINES]):
        for delimiter in _DELIMITERS:
            names = _split(line, delimiter)
            if len(names) > MOST_COLUMNS:
                raise BadInputError(
                    f"{shown}, line {position + 1}: has {len(names):,} columns, more than the {MOST_COLUMNS:,}"
                    " allowed; keep time, open, high, low, close and volume"
                )
            if _is_header(names, wanted.columns):
                return _with_header(lines, position, delimiter, names, shown, wanted)
    bare = _without_header(lines, shown, wanted.columns)
    if bare is not None:
        return bare
    raise BadInputError(
        f"{shown}: found no columns for open, high, low and close in its first lines, separated by comma, semicolon, "
        f"tab or |; the first line is {first[:100]!r}. Say which they are by their headings, such as --column "
        "open=PX_OPEN, or by their numbers where there are none, such as --column open=2"
    )


def assign_roles(
    names: Sequence[str], shown: Path | str, given: Mapping[str, str]
) -> tuple[dict[str, int], tuple[str, ...], tuple[str, ...]]:
    """Return the position of the column for each role, notes, and the names of the columns that are left out.

    Raises:
        BadInputError: a column is missing, or a role is ambiguous.
    """
    plain = [_plain(name) for name in names]
    roles: dict[str, int] = {}
    for role, wanted in given.items():
        if wanted not in names:
            hint = did_you_mean(wanted, names) or f"; its columns are {', '.join(name for name in names if name)}"
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
        named = ", ".join(name for name in names if name)
        raise BadInputError(
            f"{shown} has no column for {' and '.join(missing)}; its columns are {named}. "
            f"Say which it is with --column {missing[0]}=NAME"
        )
    adjusted = [name for name, text in zip(names, plain, strict=True) if _ADJUSTED.search(text)]
    adjusted = [name for name in adjusted if list(names).index(name) not in roles.values()]
    if adjusted:
        notes.append(f"adjusted prices are left out ({', '.join(adjusted)}): bars hold prices as traded")
    left_out = [
        name for position, name in enumerate(names) if position not in roles.values() and name not in adjusted and name
    ]
    return roles, tuple(notes), tuple(left_out)


def _find(
    role: str,
    spellings: Sequence[str],
    plain: Sequence[str],
    names: Sequence[str],
    roles: dict[str, int],
    notes: list[str],
    shown: Path | str,
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
    """Use two columns for date and time of day, if there are two and no column has both."""
    if "time" not in roles or plain[roles["time"]] not in (*_DAYS, *_TIMES_OF_DAY):
        return
    days = [place for place, text in enumerate(plain) if text in _DAYS]
    times = [place for place, text in enumerate(plain) if text in _TIMES_OF_DAY]
    if len(days) == 1 and len(times) == 1:
        roles["day"], roles["time"] = days[0], times[0]


def _with_header(
    lines: Sequence[str], position: int, delimiter: str, names: list[str], shown: Path, wanted: Wanted
) -> Layout:
    body = [_split(line, delimiter) for line in lines[position + 1 :]]
    heads = [row for row in (_split(line, delimiter) for line in lines[:position]) if len(row) == len(names)]
    under = _under_header(body, names)
    heads += under
    tickers = next((row for row in heads if _plain(row[0]) in _TICKERS), None)
    columns, symbol = (names, "") if tickers is None else columns_of_ticker(names, tickers, shown, wanted.symbol)
    given = dict(wanted.columns)
    if not given.keys() & {"time", "day"} and any(is_spelled("time", row[0]) for row in under):
        given["time"] = names[0]  # the index, whose name is on a separate line
    roles, notes, left_out = assign_roles(columns, shown, given)
    fitting = (_without_empty_ends(row, len(names)) for row in body[len(under) :])
    sample = tuple(tuple(row) for row in fitting if len(row) == len(names))
    if position:
        notes = (*notes, f"skipped {_lines(position)} before the header")
    if under:
        notes = (*notes, f"skipped {_lines(len(under))} under the header")
    if not any(line.strip() for line in lines[position + 1 + len(under) :]):
        raise BadInputError(f"{shown} has a header and no bars: fetch it again")
    spare = spare_volumes(columns, roles, given)
    return Layout(delimiter, position + 1 + len(under), tuple(names), roles, sample, notes, left_out, spare, symbol)


def _without_empty_ends(row: Sequence[str], width: int) -> Sequence[str]:
    """Return the row without the empty cells that a separator at the end of a line causes."""
    return row[:width] if not any(row[width:]) else row


def _lines(count: int) -> str:
    return "1 line" if count == 1 else f"{count} lines"


def _under_header(body: Sequence[Sequence[str]], names: Sequence[str]) -> list[list[str]]:
    """Return the lines under a header that belong to it, without any number: tickers, units, the index name."""
    under: list[list[str]] = []
    for row in body[:_LINES_UNDER_HEADER]:
        if len(row) != len(names) or any(re.search(r"\d", cell) for cell in row[:1]) or any(map(_is_number, row)):
            break
        if all(cell.lower() in ("", "null", "nan", "-") for cell in row[1:]) and row[0] == "":
            break
        under.append(list(row))
    # Without a number below them, these lines are bars that cannot be read.
    rest = body[len(under) : len(under) + 1]
    return under if rest and any(map(_is_number, rest[0])) else []


def columns_of_ticker(
    names: Sequence[str], tickers: Sequence[str], shown: Path | str, symbol: str | None
) -> tuple[list[str], str]:
    """Return the headings of one ticker's columns (the others empty), and the ticker."""
    found = list(dict.fromkeys(ticker for ticker in tickers[1:] if ticker))
    if len(found) == 1:
        return list(names), found[0]
    if symbol not in found:
        raise BadInputError(
            f"{shown} has the columns of several tickers side by side ({', '.join(found[:8])}); take one with "
            f"--symbol {found[0]}"
        )
    kept = [name if ticker in ("", symbol) else "" for name, ticker in zip(names[1:], tickers[1:], strict=True)]
    return [names[0], *kept], symbol or ""


def spare_volumes(names: Sequence[str], roles: Mapping[str, int], given: Mapping[str, str]) -> tuple[int, ...]:
    """Return the positions of further volume columns, in order of preference.

    There are none if the user chose the volume column.
    """
    if "volume" in given:
        return ()
    plain = [_plain(name) for name in names]
    return tuple(
        place
        for spelling in _SPELLINGS["volume"]
        for place, text in enumerate(plain)
        if text == spelling and place not in roles.values()
    )


def _without_header(lines: Sequence[str], shown: Path, given: Mapping[str, str]) -> Layout | None:
    for delimiter in _DELIMITERS:
        rows = [tuple(_split(line, delimiter)) for line in lines if line.strip()]
        width = len(rows[0])
        same = [row for row in rows if len(row) == width]
        if width == 1 or 2 * len(same) < len(rows):
            continue
        found = bare_roles(same, given, shown)
        if found is not None:
            roles, note = found
            return Layout(delimiter, 0, tuple(str(i + 1) for i in range(width)), roles, tuple(same), (note,))
    return None


def _is_header(names: Sequence[str], given: Mapping[str, str]) -> bool:
    """Return True if at least two of the four prices are named, by known headings or by those of the user."""
    found = sum(1 for role in _PRICES if given.get(role) in names or any(is_spelled(role, name) for name in names))
    return len(names) >= 4 and found >= 2


def is_spelled(role: str, name: str) -> bool:
    """Tell whether ``name`` is a known heading of a column with this role."""
    return _plain(name) in _SPELLINGS[role]


def _split(line: str, delimiter: str) -> list[str]:
    try:
        row = next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:  # longer than any cell: no line of a table
        row = [line]
    return [cell.strip() for cell in row]


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _is_number(text: str) -> bool:
    return cell_of(text, volume=True).kind != "none"
