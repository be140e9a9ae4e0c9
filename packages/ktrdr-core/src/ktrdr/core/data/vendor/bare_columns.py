"""Recognition of the columns of files without headings, by their values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from ktrdr.core.data.vendor.number_format import CURRENCIES, GROUPING_SPACES
from ktrdr.core.errors import BadInputError

__all__ = ["bare_roles"]

_ORDERS = (("open", "high", "low", "close"), ("open", "close", "high", "low"))
_FEWEST = 5
# A few bars that contradict the order of columns are errors in the file, not another order.
_MOST = 0.9
# The prices of a row are compared with both decimal signs: 998 and 1,014 are only close with a decimal point.
_SIGNS = (".", ",")
_CLOCK = re.compile(r"\d{1,2}:\d{2}.*|\d{1,6}")
_DATE = re.compile(r"\d{8}|\d{1,4}([-/.])\d{1,2}\1\d{1,4}")


def bare_roles(
    rows: Sequence[Sequence[str]], given: Mapping[str, str], shown: Path
) -> tuple[dict[str, int], str] | None:
    """Return the position of each role's column and a note on the assumption, or None if the rows are no bars.

    Prices are the four columns after the time, as open, high, low, close, or as open, close, high, low if only that is
    possible. The next column is the volume. If three columns follow the prices and the first of them is between low and
    high on every bar, it is a mean price and the volume comes after it.

    Args:
        rows: cells of the first rows, all of one width.
        given: column numbers, from 1, by role, from the user.
        shown: the file, for messages.

    Raises:
        BadInputError: the user gave no valid column number, or volume and mean price cannot be distinguished.
    """
    width = len(rows[0])
    named = {role: _number(role, wanted, width, shown) for role, wanted in given.items()}
    if {"time", "open", "high", "low", "close"} <= named.keys():
        return named, "no header: columns are those that --column numbers"
    first = _first_price(rows, width)
    if first is None:
        return None
    order = next((order for order in _ORDERS if _signs(rows, first, order)), _ORDERS[0])
    roles = {role: first + place for place, role in enumerate(order)}
    roles |= {"time": 0} if first == 1 else {"day": 0, "time": 1}
    volume = None if "volume" in named else _volume(rows, first, width, roles, shown)
    if volume is not None:
        roles["volume"] = volume
    roles |= named
    listed = ", ".join(sorted(roles, key=lambda role: roles[role]))
    other = [str(place + 1) for place in range(width) if place not in roles.values()]
    left_out = f"; left out: {', '.join(other)}" if other else ""
    return roles, f"no header: columns are taken as {listed}{left_out}"


def _number(role: str, wanted: str, width: int, shown: Path) -> int:
    if not wanted.isdecimal() or not 1 <= int(wanted) <= width:
        raise BadInputError(
            f"{shown} has no header, so there is no column `{wanted}` for {role}; give its number, from 1 to {width}, "
            f"such as --column {role}=1"
        )
    return int(wanted) - 1


def _first_price(rows: Sequence[Sequence[str]], width: int) -> int | None:
    """Return the position of the first price: after a time, or after a day and a time of day."""
    head = rows[0]
    if width < _FEWEST or not re.match(r"\d", head[0]):
        return None
    apart = width > _FEWEST and _DATE.fullmatch(head[0]) is not None and _CLOCK.fullmatch(head[1]) is not None
    # An open without decimals looks like a time of day; the other prices decide.
    if apart and ":" not in head[1]:
        apart = not any(_signs(rows, 1, order) for order in _ORDERS)
    first = 2 if apart else 1
    prices = head[first : first + 4]
    return first if any(all(_value(cell, sign) is not None for cell in prices) for sign in _SIGNS) else None


def _signs(rows: Sequence[Sequence[str]], first: int, order: Sequence[str]) -> list[str]:
    """Return the decimal signs with which prices in this order form possible bars."""
    return [sign for sign in _SIGNS if _fits(rows, first, order, sign)]


def _fits(rows: Sequence[Sequence[str]], first: int, order: Sequence[str], sign: str) -> bool:
    possible = 0
    for row in rows:
        values = [_value(cell, sign) for cell in row[first : first + 4]]
        known = [value for value in values if value is not None]
        if len(known) == 4:
            bar = dict(zip(order, known, strict=True))
            possible += bar["high"] == max(known) and bar["low"] == min(known)
    return possible >= _MOST * len(rows)


def _volume(rows: Sequence[Sequence[str]], first: int, width: int, roles: Mapping[str, int], shown: Path) -> int | None:
    place = first + 4
    if place >= width:
        return None
    if first == 2 or width - place != 3:
        return place
    order = sorted(_ORDERS[0], key=lambda role: roles[role])
    signs = _signs(rows, first, order) or _SIGNS
    means = [
        position for position in (place, place + 1) if any(_is_mean(rows, position, roles, sign) for sign in signs)
    ]
    if len(means) == 2:
        raise BadInputError(
            f"{shown} has no header, and its columns {place + 1} and {place + 2} could both be the volume; say which "
            f"with --column volume={place + 1} or --column volume={place + 2}"
        )
    return place + 1 if means == [place] else place


def _is_mean(rows: Sequence[Sequence[str]], position: int, roles: Mapping[str, int], sign: str) -> bool:
    for row in rows:
        low, mean, high = (_value(row[place], sign) for place in (roles["low"], position, roles["high"]))
        if low is None or mean is None or high is None or not low <= mean <= high:
            return False
    return True


def _value(text: str, sign: str) -> float | None:
    """Return the number with decimal sign ``sign``, to compare the numbers of one row; None if it is not a number."""
    bare = re.sub(f"[{CURRENCIES}{GROUPING_SPACES}]", "", text)
    try:
        return float(bare.replace("," if sign == "." else ".", "").replace(sign, "."))
    except ValueError:
        return None
