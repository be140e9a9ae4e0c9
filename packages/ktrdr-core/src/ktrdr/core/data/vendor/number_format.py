"""Recognition of the number format of a file, from all cells.

``1.234`` is about one if the point is the decimal sign, and 1234 if the comma is. Other cells of the file decide; if
none does, the file is refused as ambiguous.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from ktrdr.core.errors import BadInputError

__all__ = [
    "CURRENCIES",
    "CURRENCY_PATTERN",
    "GROUPED_PATTERNS",
    "GROUPING_SPACES",
    "SPACED_PATTERN",
    "SUFFIXES",
    "Cell",
    "NumberFormat",
    "cell_of",
    "decide_format",
]

CURRENCIES = "$€£¥₹"
"""Currency signs before or after a price."""

GROUPING_SPACES = " \u00a0\u202f\u2009'\u2019"
"""Thousands separators that are never decimal signs: four kinds of spaces, two apostrophes."""

SUFFIXES = {"K": 1_000, "M": 1_000_000, "B": 1_000_000_000}
"""Suffixes of volumes in large units, in upper or lower case, and their factors."""

CURRENCY_PATTERN = rf"^([+-]?)[{CURRENCIES}]\s*|\s*[{CURRENCIES}]$"
"""A currency sign at either end of a number; the first group is the text to keep."""

SPACED_PATTERN = rf"[+-]?[1-9]\d{{0,2}}([{GROUPING_SPACES}]\d{{3}})+([.,]\d*)?"
"""A number with signs of :data:`GROUPING_SPACES`."""

# India writes groups of two digits before the last three.
GROUPED_PATTERNS = {".": r"[+-]?[1-9]\d{0,2}(,\d{2,3})*,\d{3}(\.\d*)?", ",": r"[+-]?[1-9]\d{0,2}(\.\d{3})+(,\d*)?"}
"""A number with thousands separators (the other sign), by its decimal sign."""

_CURRENCY = re.compile(CURRENCY_PATTERN)
_SPACED = re.compile(SPACED_PATTERN, re.ASCII)
_EITHER_POINT = re.compile(r"[+-]?[1-9]\d{0,2}\.\d{3}", re.ASCII)
_EITHER_COMMA = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d+([eE][+-]?\d+)?", re.ASCII)
_POINT = re.compile(rf"{GROUPED_PATTERNS['.']}|[+-]?(\d+\.\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_COMMA = re.compile(rf"{GROUPED_PATTERNS[',']}|[+-]?(\d+,\d*|,\d+)([eE][+-]?\d+)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Cell:
    """The number format of one cell.

    Attributes:
        text: the cell.
        kind: ``point`` or ``comma`` if only that can be the decimal sign; ``either point`` or ``either comma`` if the
            sign could also separate thousands; ``whole`` without either sign; ``none`` if it is not a number.
        short: whole, with at most three digits.
        long: whole, with more than three digits.
        round: ends with the digit 0.
        currency: has a sign of :data:`CURRENCIES`.
        spaced: has a sign of :data:`GROUPING_SPACES`.
        suffix: has one of :data:`SUFFIXES`.
    """

    text: str
    kind: str
    short: bool = False
    long: bool = False
    round: bool = False
    currency: bool = False
    spaced: bool = False
    suffix: bool = False


@dataclass(frozen=True, slots=True)
class NumberFormat:
    """The number format of a file.

    Attributes:
        decimal: the decimal sign, ``.`` or ``,``.
        grouped: the other sign separates thousands.
        currency, spaced, suffix: there are such signs, see :class:`Cell`.
        note: the assumption, or empty.
    """

    decimal: str = "."
    grouped: bool = False
    currency: bool = False
    spaced: bool = False
    suffix: bool = False
    note: str = ""


def cell_of(text: str, *, volume: bool = False) -> Cell:
    """Return the format of the cell ``text``; only a ``volume`` may have a suffix."""
    bare = text.strip()
    without = _CURRENCY.sub(r"\1", bare, count=1)
    currency, bare = without != bare, without
    suffix = volume and bare[-1:].upper() in SUFFIXES and bare[-2:-1].isdigit()
    if suffix:
        bare = bare[:-1]
    spaced = _SPACED.fullmatch(bare) is not None
    if spaced:
        bare = re.sub(f"[{GROUPING_SPACES}]", "", bare)
    kind = _kind(bare)
    digits = bare.lstrip("+-")
    return Cell(
        text,
        kind,
        short=kind == "whole" and len(digits) <= 3,
        long=kind == "whole" and len(digits) > 3,
        round=digits.endswith("0"),
        currency=currency,
        spaced=spaced,
        suffix=suffix,
    )


def _kind(bare: str) -> str:
    if _WHOLE.fullmatch(bare):
        return "whole"
    if _EITHER_POINT.fullmatch(bare):
        return "either point"
    if _EITHER_COMMA.fullmatch(bare):
        return "either comma"
    if _POINT.fullmatch(bare):
        return "point"
    return "comma" if _COMMA.fullmatch(bare) else "none"


def decide_format(
    prices: Collection[Cell], volumes: Collection[Cell], delimiter: str, given: str | None, shown: str
) -> NumberFormat:
    """Return the number format of a file.

    Args:
        prices: one cell of every kind among the prices.
        volumes: one cell of every kind among the volumes.
        delimiter: character between columns; empty for Parquet.
        given: ``point`` or ``comma`` if the user gave the decimal sign.
        shown: the file, for messages.

    Raises:
        BadInputError: both signs are used as decimal sign, or it is ambiguous which one is.
    """
    cells = [*prices, *volumes]
    decimal, note = {"point": ".", "comma": ","}.get(given or "", ""), ""
    if not decimal:
        decimal = _decimal(prices, volumes, delimiter, shown)
        note = "numbers have a decimal comma" if decimal == "," else _by_delimiter(prices, volumes)
    other = "," if decimal == "." else "."
    grouped = any(other in cell.text for cell in cells if cell.kind != "none")
    if grouped and not note:
        note = f"numbers have thousands separated by a {_NAMES[other]}"
    return NumberFormat(
        decimal,
        grouped,
        any(cell.currency for cell in cells),
        any(cell.spaced for cell in cells),
        any(cell.suffix for cell in volumes),
        note,
    )


_NAMES = {".": "point", ",": "comma"}


def _decimal(prices: Collection[Cell], volumes: Collection[Cell], delimiter: str, shown: str) -> str:
    cells = [*prices, *volumes]
    by_kind = {cell.kind: cell for cell in cells}
    if "point" in by_kind and "comma" in by_kind:
        raise BadInputError(
            f"{shown} has numbers with a decimal point ({by_kind['point'].text.strip()}) and with a decimal comma "
            f"({by_kind['comma'].text.strip()}); write all in one way, or say --decimal point or --decimal comma and "
            "leave the other rows out with --skip-bad"
        )
    if "point" in by_kind or "comma" in by_kind:
        return "." if "point" in by_kind else ","
    point, comma = by_kind.get("either point"), by_kind.get("either comma")
    if point is None and comma is None:
        return "."
    told = ""
    if any(cell.spaced for cell in cells) and (point is None or comma is None):
        told = "." if comma is None else ","  # thousands have another separator
    elif comma is None and point is not None:
        told = _of_points(prices, volumes, delimiter)
    elif point is None and comma is not None:
        told = _of_commas(prices, volumes)
    if told:
        return told
    raise _ambiguous(point or comma, shown)


def _by_delimiter(prices: Collection[Cell], volumes: Collection[Cell]) -> str:
    """Return the note if only the commas between columns show that the point is the decimal sign, or nothing."""
    cells = [*prices, *volumes]
    either = next((cell for cell in cells if cell.kind == "either point"), None)
    if either is None or any(cell.kind == "point" or cell.long for cell in cells):
        return ""
    text = either.text.strip()
    return f"{text} is read with a decimal point; say --decimal comma if it is {text.replace('.', '')}"


def _of_points(prices: Collection[Cell], volumes: Collection[Cell], delimiter: str) -> str:
    """Return the decimal sign by cells such as ``1.234`` and whole numbers, or nothing if they do not decide."""
    if any(cell.long for cell in (*prices, *volumes)):
        return "."  # 12345 shows that thousands are not separated
    mixed = any(_crosses_thousand(group) for group in (prices, volumes))
    if delimiter == ",":
        # Programs that separate columns by commas write a decimal point, unless these numbers contradict.
        return "" if mixed else "."
    return "," if mixed else ""


def _of_commas(prices: Collection[Cell], volumes: Collection[Cell]) -> str:
    """Return the decimal sign by cells such as ``1,234``, or nothing."""
    ungrouped = [any(cell.long for cell in group) for group in (prices, volumes) if _has(group, "either comma")]
    if all(ungrouped):
        return ","
    mixed = [_crosses_thousand(group) for group in (prices, volumes) if _has(group, "either comma")]
    return "." if any(mixed) and not any(ungrouped) else ""


def _has(cells: Iterable[Cell], kind: str) -> bool:
    return any(cell.kind == kind for cell in cells)


def _crosses_thousand(cells: Collection[Cell]) -> bool:
    """Return True if there are numbers like ``1.050`` and like ``904``.

    With a decimal sign they would not occur together: a fixed number of decimals gives ``904.000``, and the fewest
    possible give ``1.05``.
    """
    return any(cell.kind.startswith("either") and cell.round for cell in cells) and any(cell.short for cell in cells)


def _ambiguous(cell: Cell | None, shown: str) -> BadInputError:
    assert cell is not None
    text = cell.text.strip()
    sign = "." if "." in text else ","
    bare = re.sub(r"[^\d.,+-]", "", text)
    fraction, whole = bare.replace(sign, "."), bare.replace(sign, "")
    # The option named after the sign is the reading in which that sign is decimal.
    other = _NAMES["," if sign == "." else "."]
    return BadInputError(
        f"{shown}: {text!r} can be {fraction} or {whole}, and no other number in the file tells which; say "
        f"--decimal {_NAMES[sign]} for {fraction}, or --decimal {other} for {whole}"
    )
