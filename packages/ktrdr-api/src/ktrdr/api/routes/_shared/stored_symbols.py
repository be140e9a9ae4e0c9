"""Early check that bars of all symbols are stored; without it the operation would fail minutes later."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ktrdr.api.http.problems import ProblemError

if TYPE_CHECKING:
    from ktrdr.core.data.bar_store import BarStore

__all__ = ["check_stored"]

_MOST_NAMED = 20


def check_stored(symbols: Sequence[str] | None, store: BarStore) -> None:
    """Check that bars of each symbol are stored; ``None`` means the symbols of the strategy, which are not checked.

    Raises:
        ProblemError: a symbol has no bars; the detail names the stored symbols.
    """
    if symbols is None:
        return
    from ktrdr.core.data.symbol_spelling import missing_symbol

    stored = sorted({info.symbol for info in store.datasets()})
    missing = [symbol for symbol in symbols if symbol not in stored]
    if missing:
        meant = missing_symbol(missing[0], stored)
        more = ", ..." if len(stored) > _MOST_NAMED else ""
        there = f"stored are {', '.join(stored[:_MOST_NAMED])}{more}" if stored else "nothing is stored yet"
        raise ProblemError(
            422,
            "unknown-symbol",
            "No bars of this symbol",
            f"there are no bars of {', '.join(missing)} on this server; {there}{meant}",
            field="body.symbols",
        )
