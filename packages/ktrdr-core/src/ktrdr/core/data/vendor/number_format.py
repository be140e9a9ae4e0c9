"""How a vendor writes numbers: told by all of a column, never by its first lines alone.

``1.234`` is one and a bit where the point is the decimal sign, and one thousand two hundred and thirty-four where the
comma is. Other cells of the file decide; where none does, nobody guesses.
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
"""Signs before or after a price."""

GROUPING_SPACES = " \u00a0\u202f\u2009'\u2019"
"""Signs between groups of three digits that cannot be decimal signs: spaces of four kinds, apostrophes of two."""

SUFFIXES = {"K": 1_000, "M": 1_000_000, "B": 1_000_000_000}
"""What follows a volume in large units, in either case."""

CURRENCY_PATTERN = rf"^([+-]?)[{CURRENCIES}]\s*|\s*[{CURRENCIES}]$"
"""A sign of a currency at either end of a number; what stays of it is the first group."""

SPACED_PATTERN = rf"[+-]?[1-9]\d{{0,2}}([{GROUPING_SPACES}]\d{{3}})+([.,]\d*)?"
"""A number with signs of :data:`GROUPING_SPACES`."""

# Groups of two in front of the last three are how India counts.
GROUPED_PATTERNS = {".": r"[+-]?[1-9]\d{0,2}(,\d{2,3})*,\d{3}(\.\d*)?", ",": r"[+-]?[1-9]\d{0,2}(\.\d{3})+(,\d*)?"}
"""A number whose thousands the other sign separates, by its decimal sign."""

_CURRENCY = re.compile(CURRENCY_PATTERN)
_SPACED = re.compile(SPACED_PATTERN, re.ASCII)
_EITHER_POINT = re.compile(r"[+-]?[1-9]\d{0,2}\.\d{3}", re.ASCII)
_EITHER_COMMA = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d+([eE][+-]?\d+)?", re.ASCII)
_POINT = re.compile(rf"{GROUPED_PATTERNS['.']}|[+-]?(\d+\.\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_COMMA = re.compile(rf"{GROUPED_PATTERNS[',']}|[+-]?(\d+,\d*|,\d+)([eE][+-]?\d+)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Cell:
    """What one cell with a number tells.

    Attributes:
        text: the cell.
        kind: ``point`` or ``comma`` where only that can be the decimal sign, ``either point`` or ``either comma`` where
            that sign could as well be one of thousands, ``whole`` without either sign, ``none`` for no number.
        short: whole, of at most three digits.
        long: whole, of more.
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
    """How to read all numbers of a file.

    Attributes:
        decimal: the decimal sign, ``.`` or ``,``.
        grouped: the other sign stands between groups of digits.
        currency, spaced, suffix: such signs are there, see :class:`Cell`.
        note: what was assumed, or empty.
    """

    decimal: str = "."
    grouped: bool = False
    currency: bool = False
    spaced: bool = False
    suffix: bool = False
    note: str = ""


def cell_of(text: str, *, volume: bool = False) -> Cell:
    """Return what the cell ``text`` tells; only a ``volume`` may have a suffix."""
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
    """Return how the numbers of a file are written.

    Args:
        prices: one cell of every kind that is in its prices.
        volumes: the same of its volume.
        delimiter: between its columns; empty for Parquet.
        given: ``point`` or ``comma`` where the user said what the decimal sign is.
        shown: the file, for messages.

    Raises:
        BadInputError: both signs are decimal signs, or nothing tells which one is.
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
        told = "." if comma is None else ","  # thousands have a sign of their own
    elif comma is None and point is not None:
        told = _of_points(prices, volumes, delimiter)
    elif point is None and comma is not None:
        told = _of_commas(prices, volumes)
    if told:
        return told
    raise _ambiguous(point or comma, shown)


def _by_delimiter(prices: Collection[Cell], volumes: Collection[Cell]) -> str:
    """Return what to say where only the commas between columns made a point the decimal sign, or nothing."""
    cells = [*prices, *volumes]
    either = next((cell for cell in cells if cell.kind == "either point"), None)
    if either is None or any(cell.kind == "point" or cell.long for cell in cells):
        return ""
    text = either.text.strip()
    return f"{text} is read with a decimal point; say --decimal comma if it is {text.replace('.', '')}"


def _of_points(prices: Collection[Cell], volumes: Collection[Cell], delimiter: str) -> str:
    """Tell by cells such as ``1.234`` and by whole ones which sign is the decimal one, or return nothing."""
    if any(cell.long for cell in (*prices, *volumes)):
        return "."  # who writes 12345 has no sign for thousands
    mixed = any(_crosses_thousand(group) for group in (prices, volumes))
    if delimiter == ",":
        # A program that separates by commas writes a decimal point, unless these numbers say that it does not.
        return "" if mixed else "."
    return "," if mixed else ""


def _of_commas(prices: Collection[Cell], volumes: Collection[Cell]) -> str:
    """Tell the same by cells such as ``1,234``."""
    ungrouped = [any(cell.long for cell in group) for group in (prices, volumes) if _has(group, "either comma")]
    if all(ungrouped):
        return ","
    mixed = [_crosses_thousand(group) for group in (prices, volumes) if _has(group, "either comma")]
    return "." if any(mixed) and not any(ungrouped) else ""


def _has(cells: Iterable[Cell], kind: str) -> bool:
    return any(cell.kind == kind for cell in cells)


def _crosses_thousand(cells: Collection[Cell]) -> bool:
    """Tell whether ``1.050`` stands beside ``904``.

    With a decimal sign nobody writes that: a fixed number of digits makes the second ``904.000``, as few digits as are
    needed make the first ``1.05``.
    """
    return any(cell.kind.startswith("either") and cell.round for cell in cells) and any(cell.short for cell in cells)


def _ambiguous(cell: Cell | None, shown: str) -> BadInputError:
    assert cell is not None
    text = cell.text.strip()
    sign = "." if "." in text else ","
    bare = re.sub(r"[^\d.,+-]", "", text)
    fraction, whole = bare.replace(sign, "."), bare.replace(sign, "")
    # The reading in which the sign is decimal is that of the option of the same name.
    other = _NAMES["," if sign == "." else "."]
    return BadInputError(
        f"{shown}: {text!r} can be {fraction} or {whole}, and no other number in the file tells which; say "
        f"--decimal {_NAMES[sign]} for {fraction}, or --decimal {other} for {whole}"
    )
