"""One self-contained HTML page: styles, data and the plotting library's JavaScript inside, nothing fetched.

The library is most of the page, so it is in it compressed, and the browser unpacks it.
"""

from __future__ import annotations

import base64
import functools
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files

from ktrdr.core import __version__
from ktrdr.core.report.figures import Figure

__all__ = ["Block", "Card", "Cell", "Column", "MetricRow", "Page", "Picture", "Table", "render"]


@dataclass(frozen=True, slots=True)
class Card:
    """One large number. ``tone`` is ``good``, ``bad`` or empty; ``note`` is what to compare it with."""

    label: str
    value: str
    tone: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure under a title; ``key`` is unique on the page. Those over ``time`` are zoomed together; those that can be
    have a button for a ``log`` scale."""

    key: str
    title: str
    figure: Figure
    note: str = ""
    time: bool = False
    log: bool = False


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table."""

    title: str
    number: bool = False


@dataclass(frozen=True, slots=True)
class Cell:
    """``sort`` is what the column is ordered by, where the text will not do; ``note`` stands below it, smaller."""

    text: str
    css: str = ""
    sort: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A small table under a title."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    note: str = ""


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One metric of the strategy and of what it is compared with."""

    label: str
    values: Sequence[str]
    help: str = ""


@dataclass(frozen=True, slots=True)
class Block:
    """Settings or provenance: preformatted ``text``, or names and values."""

    title: str
    text: str = ""
    entries: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """Everything the page shows, already formatted."""

    title: str
    subtitle: str
    description: str = ""
    warnings: Sequence[str] = ()
    cards: Sequence[Card] = ()
    timeline: Sequence[str] = ()
    wide_figures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()
    trade_columns: Sequence[Column] = ()
    trades: Sequence[Sequence[Cell]] = ()
    trades_note: str = ""
    no_trades: str = ""
    metric_columns: Sequence[str] = ()
    metrics: Sequence[MetricRow] = ()
    metrics_note: str = ""
    paired_figures: Sequence[Picture] = ()
    blocks: Sequence[Block] = ()
    version: str = field(default=__version__)


def render(page: Page) -> str:
    """Return the page as HTML; the same page gives the same text."""
    import jinja2

    environment = jinja2.Environment(autoescape=True, trim_blocks=False, undefined=jinja2.StrictUndefined)
    source = files("ktrdr.core.report").joinpath("page.html.j2").read_text(encoding="utf-8")
    figures = {picture.key: picture.figure for picture in (*page.wide_figures, *page.paired_figures)}
    drawn = {"timeline": page.timeline, "figures": figures}
    # Inside a script element only `</` could end it, and `<!--` change how it is read.
    data = json.dumps(drawn, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return environment.from_string(source).render(page=page, drawn_json=data, plotly=_packed_plotly())


@functools.cache
def _packed_plotly() -> str:
    """Return the plotting library as gzip in base64: four tenths of its length."""
    from plotly.offline import get_plotlyjs

    # 16 + 15: a gzip stream, whose header has no time in it.
    packer = zlib.compressobj(9, zlib.DEFLATED, 16 + 15)
    packed = packer.compress(get_plotlyjs().encode("utf-8")) + packer.flush()
    return base64.b64encode(packed).decode("ascii")
