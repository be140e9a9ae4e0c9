"""Symbols: which names a data set may have."""

from __future__ import annotations

import re

from ktrdr.core.errors import BadInputError

__all__ = ["check_symbol"]

# ASCII only: look-alike letters, separators and invisible characters of Unicode have no business in a file name.
_SYMBOL = re.compile(r"[A-Za-z0-9^][A-Za-z0-9^._=-]{0,31}", re.ASCII)
# Device names of Windows: a directory of that name cannot be made there.
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.ASCII | re.IGNORECASE)


def check_symbol(symbol: str) -> str:
    """Return ``symbol`` if it can name a data set.

    Allowed are 1 to 32 characters: ASCII letters, digits, ``^``, and after the first also ``. _ = -``, without ``..``,
    so a symbol is always one harmless part of a path.

    Raises:
        BadInputError: anything else.
    """
    if (
        not isinstance(symbol, str)
        or not _SYMBOL.fullmatch(symbol)
        or ".." in symbol
        or symbol.endswith(".")
        or _RESERVED.fullmatch(symbol)
    ):
        raise BadInputError(
            f"{symbol!r} cannot be a symbol: use up to 32 letters, digits and ^ . _ = -, starting with a letter, "
            "digit or ^, such as EURUSD, BRK.B or ^GSPC"
        )
    return symbol
