"""Options of the command line in a message of core, as the query parameters that do the same here."""

from __future__ import annotations

import re
from collections.abc import Collection
from urllib.parse import quote

__all__ = ["as_query"]

# A value behind an option: a choice in small letters, or a word with something in it that no plain word has.
_CHOICES = "(?:day|month)-first|point|comma|open|close"
_VALUE = rf"(?: (?P<value>(?:{_CHOICES})\b|(?=[^\s,;:()]*[A-Z0-9=/+])[^\s,;:()]+))?"


def as_query(message: str, parameters: Collection[str], flags: Collection[str]) -> str:
    """Return ``message`` with ``--skip-bad`` as ``skip_bad=true``, ``--dates day-first`` as ``dates=day-first``.

    Args:
        message: of core, which speaks of the command line.
        parameters: names of query parameters; an option of another name is left as it is.
        flags: those of them that are true or false.
    """

    def spelled(match: re.Match[str]) -> str:
        name = match["name"].replace("-", "_")
        if name not in parameters:
            return match[0]
        value = match["value"]
        if name in flags:
            return f"{name}=true" + ("" if value is None else f" {value}")
        # As it stands in an address, where a plus is a blank.
        return name if value is None else f"{name}={quote(value, safe='=/:.-')}"

    return re.sub(rf"--(?P<name>[a-z]+(?:-[a-z]+)*){_VALUE}", spelled, message)
