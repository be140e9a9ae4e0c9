"""What things may be called: patterns of names, references, runs, devices and symbols, without anchors."""

from __future__ import annotations

import re

from ktrdr.core.errors import BadInputError

__all__ = [
    "DEVICE_PATTERN",
    "NAME_PATTERN",
    "REFERENCE_PATTERN",
    "RUN_PATTERN",
    "SYMBOL_PATTERN",
    "VERSION_PATTERN",
    "check_symbol",
    "is_name",
]

NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}"
"""A strategy, and with it a model; an indicator, a fuzzy set, a membership."""

VERSION_PATTERN = r"[1-9][0-9]{0,18}"
"""A version of a model, up to :data:`~ktrdr.core.limits.LARGEST_VERSION`."""

REFERENCE_PATTERN = rf"{NAME_PATTERN}(/{VERSION_PATTERN})?"
"""A model: ``name`` for its latest version, ``name/3`` for one."""

RUN_PATTERN = rf"{NAME_PATTERN}/{VERSION_PATTERN}-[1-9][0-9]{{0,8}}"
"""A run of a model: ``name/3-1``."""

DEVICE_PATTERN = r"[a-z]+(:[0-9]+)?"
"""What a model runs on: ``auto``, ``cpu``, ``cuda:1``."""

# ASCII only: look-alike letters, separators and invisible characters of Unicode have no business in a file name.
SYMBOL_PATTERN = r"[A-Za-z0-9^][A-Za-z0-9^._=-]{0,31}"
"""A symbol, as far as a pattern can say it: :func:`check_symbol` says the rest."""

# Device names of Windows: a directory of that name cannot be made there.
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.ASCII | re.IGNORECASE)


def is_name(text: str) -> bool:
    """Return True if ``text`` can name a strategy, an indicator, a fuzzy set or a membership."""
    return re.fullmatch(NAME_PATTERN, text) is not None


def check_symbol(symbol: str) -> str:
    """Return ``symbol`` if it can name a data set.

    Allowed are 1 to 32 characters: ASCII letters, digits, ``^``, and after the first also ``. _ = -``, without ``..``,
    so a symbol is always one harmless part of a path.

    Raises:
        BadInputError: anything else.
    """
    if (
        not isinstance(symbol, str)
        or not re.fullmatch(SYMBOL_PATTERN, symbol)
        or ".." in symbol
        or symbol.endswith(".")
        or _RESERVED.fullmatch(symbol)
    ):
        raise BadInputError(
            f"{symbol!r} cannot be a symbol: use up to 32 letters, digits and ^ . _ = -, starting with a letter, "
            "digit or ^, such as EURUSD, BRK.B or ^GSPC"
        )
    return symbol
