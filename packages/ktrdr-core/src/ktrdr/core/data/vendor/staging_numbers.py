"""SQL that reads the numbers of a file."""

from __future__ import annotations

from ktrdr.core.data.vendor.number_format import (
    CURRENCY_PATTERN,
    GROUPED_PATTERNS,
    GROUPING_SPACES,
    SPACED_PATTERN,
    SUFFIXES,
    NumberFormat,
)

__all__ = ["number_sql"]


def number_sql(text: str, found: NumberFormat, *, volume: bool = False) -> str:
    """Return SQL for the SQL ``text``, stripped, as DOUBLE in this format; null if it is not a number."""
    if found.currency:
        text = f"regexp_replace({text}, '{CURRENCY_PATTERN}', '\\1')"
    if not (volume and found.suffix):
        return f"TRY_CAST({_plain(text, found)} AS DOUBLE)"
    last = f"upper(right({text}, 1))"
    scales = " ".join(f"WHEN '{letter}' THEN {scale}" for letter, scale in SUFFIXES.items())
    letters = "".join(SUFFIXES) + "".join(SUFFIXES).lower()
    bare = _plain(f"regexp_replace({text}, '([0-9])[{letters}]$', '\\1')", found)
    # Decimal arithmetic, so that 1.1 times a million is exactly 1,100,000.
    scaled = f"CAST(TRY_CAST({bare} AS DECIMAL(28, 9)) * CASE {last} {scales} END AS DOUBLE)"
    known = ", ".join(f"'{letter}'" for letter in SUFFIXES)
    return f"CASE WHEN {last} IN ({known}) THEN {scaled} ELSE TRY_CAST({bare} AS DOUBLE) END"


def _plain(text: str, found: NumberFormat) -> str:
    """Return SQL for ``text`` with only digits and a decimal point."""
    if found.spaced:
        bare = f"regexp_replace({text}, '[{_quoted(GROUPING_SPACES)}]', '', 'g')"
        text = f"CASE WHEN regexp_full_match({text}, '{_quoted(SPACED_PATTERN)}') THEN {bare} ELSE {text} END"
    if found.grouped:
        other = "," if found.decimal == "." else "."
        pattern = GROUPED_PATTERNS[found.decimal]
        text = (
            f"CASE WHEN regexp_full_match({text}, '{pattern}') THEN replace({text}, '{other}', '') "
            f"WHEN contains({text}, '{other}') THEN NULL ELSE {text} END"
        )
    return f"replace({text}, ',', '.')" if found.decimal == "," else text


def _quoted(text: str) -> str:
    return text.replace("'", "''")
