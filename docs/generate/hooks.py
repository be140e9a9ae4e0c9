"""Hooks of MkDocs: refuse a page whose generated parts are stale, and put in the pictures."""

from __future__ import annotations

import re
from typing import Any

from generated_parts import renewed
from mkdocs.exceptions import PluginError
from plots import plot

_PICTURE = re.compile(r'<div class="plot" data-plot="([\w:]+)"></div>')


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Return ``markdown`` as it is. Raises ``PluginError`` if a generated part of it is not what it would be now."""
    if renewed(markdown) != markdown:
        raise PluginError(f"{page.file.src_uri} is out of date; `nox -s reference` writes it anew")
    return markdown


def on_post_page(output: str, **_: Any) -> str:
    """Put in the pictures."""
    return _PICTURE.sub(lambda found: plot(found[1]), output)
