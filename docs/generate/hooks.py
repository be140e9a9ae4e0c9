"""Hooks of MkDocs: refuse pages with outdated generated parts, and insert the plots."""

from __future__ import annotations

import re
from typing import Any

from generated_parts import renewed
from mkdocs.exceptions import PluginError
from plots import plot

_PICTURE = re.compile(r'<div class="plot" data-plot="([\w:]+)"></div>')


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Return ``markdown`` unchanged. Raises ``PluginError`` if a generated part of the page is outdated."""
    if renewed(markdown) != markdown:
        raise PluginError(f"{page.file.src_uri} is out of date; `nox -s reference` updates it")
    return markdown


def on_post_page(output: str, **_: Any) -> str:
    """Insert the plots."""
    return _PICTURE.sub(lambda found: plot(found[1]), output)
