"""Texts that fit on a line, as ``repr`` and listings show them."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["first_words", "short_repr"]

_LONGEST_REPR = 120


def first_words(words: Sequence[str], most: int = 3) -> str:
    """Return the first ``most`` words, separated by spaces, and the number of the others: ``A B C and 2 more``."""
    more = f" and {len(words) - most:,} more" if len(words) > most else ""
    return " ".join(words[:most]) + more


def short_repr(text: str) -> str:
    """Return ``<text>`` for ``__repr__``, at most 120 characters long; ``...`` stands for what is cut off."""
    most = _LONGEST_REPR - len("<>")
    return f"<{text if len(text) <= most else text[: most - 3] + '...'}>"
