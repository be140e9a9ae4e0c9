"""Translation of command line options in messages of core to query parameters of the API."""

from __future__ import annotations

import re
from collections.abc import Collection
from urllib.parse import quote

__all__ = ["as_query"]

# The value after an option: one of the lower-case choices, or a word with a character that plain words do not have.
_CHOICES = "(?:day|month)-first|point|comma|open|close"
_VALUE = rf"(?: (?P<value>(?:{_CHOICES})\b|(?=[^\s,;:()]*[A-Z0-9=/+])[^\s,;:()]+))?"


def as_query(message: str, parameters: Collection[str], flags: Collection[str]) -> str:
    """Return ``message`` with ``--skip-bad`` as ``skip_bad=true``, ``--dates day-first`` as ``dates=day-first``.

    Args:
        message: of core, with options of the command line.
        parameters: names of query parameters; options of other names are not changed.
        flags: the parameters that are true or false.
    """

    def spelled(match: re.Match[str]) -> str:
        name = match["name"].replace("-", "_")
        if name not in parameters:
            return match[0]
        value = match["value"]
        if name in flags:
            return f"{name}=true" + ("" if value is None else f" {value}")
        # Quoted as in a URL, where a plus means a space.
        return name if value is None else f"{name}={quote(value, safe='=/:.-')}"

    return re.sub(rf"--(?P<name>[a-z]+(?:-[a-z]+)*){_VALUE}", spelled, message)
