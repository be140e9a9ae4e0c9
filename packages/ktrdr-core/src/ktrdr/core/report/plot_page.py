"""Writing of one figure as a self-contained HTML file."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

from ktrdr.core.files.durable import write_atomically

__all__ = ["write_page"]

_CONFIG = {"displaylogo": False, "responsive": True, "modeBarButtonsToRemove": ["select2d", "lasso2d"]}

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ margin: 0 auto; max-width: 1100px; padding: 24px 16px; color: #2b2f36; background: #fff;
  font: 14px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }}
h1 {{ font-size: 20px; margin: 0; }}
p {{ margin: 4px 0 12px; color: #5b6270; }}
</style>
</head>
<body>
<h1>{title}</h1>
<p>{subtitle}. Grey: distribution of the values; lines: degree of membership.</p>
{figure}
</body>
</html>
"""


def write_page(figure: Any, path: Path, *, title: str, subtitle: str) -> None:
    """Write a plotly figure to a self-contained HTML file, completely or not at all.

    Args:
        figure: plotly ``Figure`` of membership functions.
        path: file to write.
        title: title of the page.
        subtitle: the bars that the values are from; a sentence without its full stop.
    """
    text = _PAGE.format(
        title=html.escape(title),
        subtitle=html.escape(subtitle),
        figure=figure.to_html(full_html=False, include_plotlyjs=True, config=_CONFIG),
    )
    write_atomically(path, text.encode())
