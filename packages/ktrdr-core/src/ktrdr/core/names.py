"""Names a strategy file may give to things."""

from __future__ import annotations

import re

__all__ = ["NAME_PATTERN", "is_name"]

NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}"


def is_name(text: str) -> bool:
    """Return True if ``text`` can name a strategy, an indicator, a fuzzy set or a membership."""
    return re.fullmatch(NAME_PATTERN, text, re.ASCII) is not None
