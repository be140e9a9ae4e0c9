"""Patterns of names, references, runs, devices and symbols, without anchors, and the name of ensembles."""

from __future__ import annotations

import re

from ktrdr.core.errors import BadInputError

__all__ = [
    "DEVICE_PATTERN",
    "ENSEMBLE",
    "NAME_PATTERN",
    "REFERENCE_PATTERN",
    "RUN_PATTERN",
    "SYMBOL_PATTERN",
    "VERSION_PATTERN",
    "WORLD_PATTERN",
    "check_symbol",
    "is_name",
    "named_market",
]

NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}"
"""Name of a strategy and its models, of an indicator, a fuzzy set or a membership."""

VERSION_PATTERN = r"[1-9][0-9]{0,18}"
"""Version of a model, up to :data:`~ktrdr.core.limits.LARGEST_VERSION`."""

REFERENCE_PATTERN = rf"{NAME_PATTERN}(/{VERSION_PATTERN})?"
"""Reference to a model: ``name`` for its latest version, ``name/3`` for one version."""

RUN_PATTERN = rf"{NAME_PATTERN}/{VERSION_PATTERN}-[1-9][0-9]{{0,8}}"
"""Name of a run: ``name/3-1``, the first run of version 3."""

DEVICE_PATTERN = r"[a-z]+(:[0-9]+)?"
"""Name of a device: ``auto``, ``cpu``, ``cuda:1``."""

ENSEMBLE = "ensemble"
"""Value of ``model.type`` for a model that core makes of several models of one backend."""

WORLD_PATTERN = NAME_PATTERN
"""Name of a synthetic market: ``mean_reversion-7``."""

# ASCII only: Unicode has look-alike letters, separators and invisible characters, which must not be in a file name.
SYMBOL_PATTERN = r"[A-Za-z0-9^][A-Za-z0-9^._=-]{0,31}"
"""Symbol; :func:`check_symbol` checks what a pattern cannot."""

# Device names of Windows, where no directory can have such a name.
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.ASCII | re.IGNORECASE)


def is_name(text: str) -> bool:
    """Return True if ``text`` can be the name of a strategy, an indicator, a fuzzy set or a membership."""
    return re.fullmatch(NAME_PATTERN, text) is not None


def named_market(symbols: str, world: str) -> str:
    """Return symbols with the synthetic market that their bars are from, if they are from one.

    Args:
        symbols: one symbol or several, as they are shown.
        world: name of the synthetic market; empty for imported bars.

    Example:
        >>> from ktrdr.core.names import named_market
        >>> named_market("EURUSD", ""), named_market("MEANREV", "mean_reversion-7")
        ('EURUSD', 'MEANREV (SYNTHETIC market mean_reversion-7)')
    """
    return f"{symbols} (SYNTHETIC market {world})" if world else symbols


def check_symbol(symbol: str) -> str:
    """Return ``symbol`` if it can be the name of a data set.

    A symbol has 1 to 32 characters: ASCII letters, digits, ``^`` and, after the first, ``. _ = -``, but not ``..``. It
    can safely be part of a path.

    Raises:
        BadInputError: ``symbol`` is not such a text.
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
