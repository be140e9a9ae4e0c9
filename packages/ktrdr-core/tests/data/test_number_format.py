"""How numbers are written: told by all cells, or refused with both readings."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.data.vendor.number_format import SUFFIXES, Cell, NumberFormat, cell_of, decide_format
from ktrdr.core.data.vendor.staging_numbers import number_sql
from ktrdr.core.errors import BadInputError

_GROUPS = ["", ",", ".", " ", "\u00a0", "\u202f", "'"]


@pytest.fixture(scope="module")
def connection():
    with duckdb.connect() as connection:
        yield connection


def _read(connection, texts: list[str], found: NumberFormat, *, volume: bool = False) -> list[float | None]:
    rows = connection.execute(
        f"SELECT {number_sql('trim(x)', found, volume=volume)} FROM (SELECT unnest(?::VARCHAR[]) AS x)", [texts]
    ).fetchall()
    return [row[0] for row in rows]


def _slow(text: str, decimal: str, *, volume: bool) -> float | None:
    """Read one number by hand: one sign after the other."""
    bare = text.strip()
    for sign in "$€£¥₹":
        if bare.lstrip("+-").startswith(sign):
            bare = bare.replace(sign, "", 1).replace("- ", "-").replace("+ ", "+")
            bare = re.sub(r"^([+-]?)\s+", r"\1", bare)
            break
        if bare.endswith(sign):
            bare = bare[:-1].rstrip()
            break
    scale = 1
    if volume and bare and bare[-1].upper() in SUFFIXES and bare[-2:-1].isdigit():
        scale, bare = SUFFIXES[bare[-1].upper()], bare[:-1]
    whole, sign, fraction = bare.partition(decimal)
    digits = whole.lstrip("+-")
    for group in (*" \u00a0\u202f\u2009'\u2019", "," if decimal == "." else "."):
        parts = digits.split(group)
        if len(parts) > 1:
            last = len(parts[-1]) == 3
            middle = all(len(part) == 3 or (group == "," and len(part) == 2) for part in parts[1:-1])
            if not (last and middle and 1 <= len(parts[0]) <= 3 and all(part.isdigit() for part in parts)):
                return None
            if parts[0].startswith("0"):
                return None
            digits = "".join(parts)
            if "e" in fraction.lower():
                return None
    try:
        return float(
            Decimal(f"{whole[: len(whole) - len(whole.lstrip('+-'))]}{digits}{'.' * bool(sign)}{fraction}") * scale
        )
    except (InvalidOperation, ValueError):
        return None


@st.composite
def written(draw) -> tuple[list[str], list[Decimal], str, str]:
    """Numbers, and how one program writes all of them."""
    decimal = draw(st.sampled_from(".,"))
    group = draw(st.sampled_from([sign for sign in _GROUPS if sign != decimal]))
    digits = draw(st.integers(0, 5))
    fixed = draw(st.booleans())
    currency = draw(st.sampled_from(["", "$", "€"]))
    values = [Decimal(value).scaleb(-digits) for value in draw(st.lists(st.integers(1, 10**9), min_size=1, max_size=8))]
    texts = []
    for value in values:
        whole, _, fraction = f"{value:.{digits}f}".partition(".")
        if not fixed:
            fraction = fraction.rstrip("0")
        head = f"{int(whole):,}".replace(",", group)
        texts.append(currency + head + (decimal + fraction if fraction else ""))
    return texts, values, decimal, draw(st.sampled_from([",", ";", "\t"]))


def _decided(cells: list[Cell], delimiter: str, right: str) -> tuple[NumberFormat, str]:
    """Return the format; where it is refused as ambiguous, that of the option that is right, and the refusal."""
    try:
        return decide_format(cells, [], delimiter, None, "x.csv"), ""
    except BadInputError as error:
        return decide_format(cells, [], delimiter, right, "x.csv"), str(error)


@given(written())
def test_what_is_read_is_what_was_written_or_refused_as_ambiguous(connection, case):
    texts, values, decimal, delimiter = case
    cells = [cell_of(text) for text in texts]
    assert all(cell.kind != "none" for cell in cells)
    found, refused = _decided(cells, delimiter, "point" if decimal == "." else "comma")
    assert not refused or re.search("can be .* or .*; say --decimal (point|comma) for .*, or --decimal ", refused)
    read = _read(connection, texts, found)
    if read != [float(value) for value in values]:
        # Between commas a point is a decimal sign unless a cell says otherwise: then all are read as thousandths,
        # which no cell of the file shows.
        assert (delimiter, decimal) == (",", ",")
        assert read == [pytest.approx(float(value) / 1000, rel=1e-12) for value in values]


@given(
    st.lists(st.text("0129.,$€'KM -+e", min_size=1, max_size=9), min_size=1, max_size=12),
    st.sampled_from(["point", "comma"]),
    st.booleans(),
)
def test_a_cell_is_read_as_by_hand(connection, texts, decimal, volume):
    cells = [cell_of(text, volume=volume) for text in texts]
    found = decide_format([] if volume else cells, cells if volume else [], ";", decimal, "x.csv")
    for cell, value in zip(cells, _read(connection, texts, found, volume=volume), strict=True):
        slow = _slow(cell.text, found.decimal, volume=volume)
        if cell.kind in ("whole", "either point", "either comma", decimal):
            assert value == slow, cell
        elif value is not None:  # DuckDB knows more ways to write a number than vendors have
            assert value == slow or slow is None, cell


@pytest.mark.parametrize(
    ("prices", "volumes", "delimiter", "decimal"),
    [
        (["904,00", "1.050"], [], ";", ","),  # case 04: the comma says what the point is
        (["828,95"], ["1.234", "999"], ";", ","),
        (["1,234.50"], ["1.20M"], ",", "."),
        (["151.234"], ["1523"], "\t", "."),  # who writes 1523 separates no thousands
        (["151.234"], [], ",", "."),
        (["904", "1.050"], [], ";", ","),  # with a decimal point it were 904.000, or 1.05
        (["1.234.567"], [], ";", ","),
        (["12,34,567"], [], ";", "."),
        (["0.123"], [], ";", "."),
        (["0,123"], [], ";", ","),
        (["1 234,5"], [], ";", ","),
        (["1'234.567"], [], ";", "."),
        (["904", "1,050"], [], ";", "."),
        (["1,234", "12345"], [], ";", ","),
        (["7", "8"], ["9"], ";", "."),
        (["1.234", "1 234"], [], ";", "."),  # a space separates thousands
        (["1,234"], ["12'345"], ";", ","),
    ],
)
def test_other_cells_tell(prices, volumes, delimiter, decimal):
    found = decide_format(
        [cell_of(text) for text in prices], [cell_of(text, volume=True) for text in volumes], delimiter, None, "x.csv"
    )
    assert found.decimal == decimal


def test_what_only_the_delimiter_told_is_said():
    found = decide_format([cell_of("151.234")], [cell_of("7")], ",", None, "x.csv")
    assert found.note == "151.234 is read with a decimal point; say --decimal comma if it is 151234"
    assert decide_format([cell_of("151.234")], [cell_of("1523")], ",", None, "x.csv").note == ""
    assert decide_format([cell_of("151.234"), cell_of("99.5")], [], ",", None, "x.csv").note == ""


@pytest.mark.parametrize(
    ("prices", "volumes"),
    [(["904", "1,050"], ["1,234", "12345"]), (["1,234"], ["1,234", "12345"]), (["1,234"], ["12345"])],
)
def test_prices_and_volumes_that_speak_for_different_signs_decide_nothing(prices, volumes):
    cells = [cell_of(text) for text in prices], [cell_of(text, volume=True) for text in volumes]
    with pytest.raises(BadInputError, match="can be"):
        decide_format(*cells, ";", None, "x.csv")


@pytest.mark.parametrize(
    ("prices", "delimiter", "message"),
    [
        (["1.234"], ";", "'1.234' can be 1.234 or 1234, .*--decimal point for 1.234, or --decimal comma for 1234"),
        (["1,234"], ";", "'1,234' can be 1.234 or 1234, .*--decimal comma for 1.234, or --decimal point for 1234"),
        (["$1,234"], ",", "'\\$1,234' can be 1.234 or 1234"),
        (["904", "1.050"], ",", "can be 1.050 or 1050"),
        (["904", "1.055"], ";", "can be 1.055 or 1055"),
        (["10.25", "828,95"], ";", r"a decimal point \(10.25\) and with a decimal comma \(828,95\)"),
        (["1.234", "1,234"], ";", "can be"),
    ],
)
def test_what_stays_ambiguous_is_refused(prices, delimiter, message):
    with pytest.raises(BadInputError, match=message):
        decide_format([cell_of(text) for text in prices], [], delimiter, None, "x.csv")
