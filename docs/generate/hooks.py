"""Hooks of MkDocs: fill the reference pages.

A line ``{{ keys training.labels }}`` of a page under ``reference/`` is replaced by what the generator of that name in
:mod:`tables` makes of the argument. A generator that does not exist, or what it cannot find, ends the build.
"""

from __future__ import annotations

import re
from typing import Any

from mkdocs.exceptions import PluginError
from plots import plot
from tables import GENERATORS

_PLACE = re.compile(r"^\{\{ ([\w-]+)(?: (\S+))? \}\}$", re.MULTILINE)
_PICTURE = re.compile(r'<div class="plot" data-plot="([\w:]+)"></div>')


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Put in what is generated."""
    if not page.file.src_uri.startswith("reference/"):
        return markdown
    arguments = {found[2] for found in _PLACE.finditer(markdown) if found[2]}

    def fill(found: re.Match[str]) -> str:
        if found[1] not in GENERATORS:
            raise PluginError(f"{page.file.src_uri}: no generator `{found[1]}`; there are {', '.join(GENERATORS)}")
        return GENERATORS[found[1]](found[2] or "", arguments)

    return _PLACE.sub(fill, markdown)


def on_post_page(output: str, **_: Any) -> str:
    """Put in the pictures."""
    return _PICTURE.sub(lambda found: plot(found[1]), output)
