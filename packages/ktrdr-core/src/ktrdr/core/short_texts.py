"""Texts that fit on a line, as ``repr`` and listings show them."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["counted", "first_words", "object_repr", "quoted", "short_repr"]

_LONGEST_REPR = 120
_LONGEST_FACT = 48
_LONGEST_QUOTE = 60


def counted(number: int, noun: str) -> str:
    """Return a number and its noun, such as ``1 trade`` or ``1,545 bars``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def first_words(words: Sequence[str], most: int = 3) -> str:
    """Return the first ``most`` words, separated by spaces, and the number of the others: ``A B C and 2 more``."""
    more = f" and {len(words) - most:,} more" if len(words) > most else ""
    return " ".join(words[:most]) + more


def quoted(text: str) -> str:
    """Return a text of unknown origin in quotes: at most 60 characters, none of which moves a cursor."""
    return _cut(repr(text[:_LONGEST_QUOTE]), _LONGEST_QUOTE)


def short_repr(text: str) -> str:
    """Return ``<text>`` for ``__repr__`` on one line of at most 120 characters; ``...`` stands for the rest."""
    return f"<{_cut(text, _LONGEST_REPR - len('<>'))}>"


def object_repr(shown: object, *facts: str) -> str:
    """Return ``<Class fact, fact>`` as :func:`short_repr` does; a long fact is cut, and an empty one left out."""
    return short_repr(f"{type(shown).__name__} {', '.join(_cut(fact, _LONGEST_FACT) for fact in facts if fact)}")


def _cut(text: str, most: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 3]}..."
