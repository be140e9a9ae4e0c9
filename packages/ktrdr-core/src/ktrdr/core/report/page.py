"""The report's HTML page, which contains styles, data and the JavaScript of the plotting library.

The library is most of the page, so it is compressed, and the browser unpacks it.
"""

from __future__ import annotations

import base64
import functools
import html
import json
import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

from ktrdr.core import __version__
from ktrdr.core.errors import BadInputError
from ktrdr.core.files.durable import write_atomically
from ktrdr.core.report.figures import Figure
from ktrdr.core.short_texts import counted, object_repr

__all__ = [
    "Banner",
    "Block",
    "Card",
    "Cell",
    "Column",
    "MetricRow",
    "Page",
    "Picture",
    "Point",
    "PointList",
    "Table",
    "render",
    "write_page",
]

_CODE = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True, slots=True)
class Card:
    """One large number. ``tone`` is ``good``, ``bad`` or empty; ``note`` is a number to compare it with."""

    label: str
    value: str
    tone: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure with a title.

    Attributes:
        key: id of the figure, unique on the page.
        title: title above the figure.
        figure: plotly.js specification.
        note: text below the title.
        time: whether the x axis is the page's time axis; figures over time are zoomed together.
        log: whether the figure has a button for a log scale.
    """

    key: str
    title: str
    figure: Figure
    note: str = ""
    time: bool = False
    log: bool = False

    def __repr__(self) -> str:
        return object_repr(self, self.key, self.title)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table."""

    title: str
    number: bool = False


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: text of the cell.
        css: CSS classes.
        sort: number to order the column by; ``None`` to order it by the text.
        note: smaller text below.
    """

    text: str
    css: str = ""
    sort: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A small table with a title."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    note: str = ""

    def __repr__(self) -> str:
        return object_repr(self, self.title, counted(len(self.columns), "column"), counted(len(self.rows), "row"))


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One metric of the strategy, the benchmark and the baselines."""

    label: str
    values: Sequence[str]
    help: str = ""


@dataclass(frozen=True, slots=True)
class Block:
    """Settings or provenance: preformatted ``text``, or names and values."""

    title: str
    text: str = ""
    entries: Sequence[tuple[str, str]] = ()

    def __repr__(self) -> str:
        size = f"{len(self.text):,} characters" if self.text else f"{len(self.entries):,} entries"
        return object_repr(self, self.title, size)


@dataclass(frozen=True, slots=True)
class Banner:
    """A judgement above everything else. ``tone`` is ``good``, ``doubt``, ``bad`` or ``void``."""

    word: str
    sentence: str
    tone: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Point:
    """One entry of a list: a sentence, with a title above it and a smaller text below; both may be empty."""

    text: str
    title: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class PointList:
    """Sentences under a title."""

    title: str
    points: Sequence[Point]
    note: str = ""

    def __repr__(self) -> str:
        return object_repr(self, self.title, counted(len(self.points), "point"))


@dataclass(frozen=True, slots=True)
class Page:
    """Everything the page shows, already formatted.

    ``lists`` and ``first_tables`` stand above the cards and figures, ``last_lists`` below the tables.
    """

    title: str
    subtitle: str
    banner: Banner | None = None
    headline: str = ""
    description: str = ""
    warnings: Sequence[str] = ()
    lists: Sequence[PointList] = ()
    first_tables: Sequence[Table] = ()
    cards: Sequence[Card] = ()
    timeline: Sequence[str] = ()
    wide_figures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()
    last_lists: Sequence[PointList] = ()
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

    def __repr__(self) -> str:
        figures = len(self.wide_figures) + len(self.paired_figures)
        rows = f"{len(self.trades):,} rows of trades"
        tables = len(self.first_tables) + len(self.tables)
        return object_repr(self, self.title, counted(figures, "figure"), counted(tables, "table"), rows)


def render(page: Page) -> str:
    """Return the page as HTML; the same page gives the same text."""
    import jinja2

    environment = jinja2.Environment(autoescape=True, trim_blocks=False, undefined=jinja2.StrictUndefined)
    environment.filters["code"] = _with_code
    source = files("ktrdr.core.report").joinpath("page.html.j2").read_text(encoding="utf-8")
    figures = {picture.key: picture.figure for picture in (*page.wide_figures, *page.paired_figures)}
    drawn = {"timeline": page.timeline, "figures": figures}
    # In a script element, `</` could end the element, and `<!--` would change how it is parsed.
    data = json.dumps(drawn, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return environment.from_string(source).render(page=page, drawn_json=data, plotly=_packed_plotly())


def _with_code(text: str) -> str:
    """Return text escaped for HTML, in which each part between backticks is an element ``code``."""
    # The text is escaped first, so that nothing but these elements is markup.
    return _CODE.sub(r"<code>\1</code>", html.escape(text))


def write_page(page: Callable[[], Page], path: Path) -> Path:
    """Write a page as an HTML file, completely or not at all, and return ``path``.

    Args:
        page: makes the page; it is not called if ``path`` cannot be written.
        path: file to write. Missing directories are created, and an existing file is replaced.

    Raises:
        BadInputError: ``path`` is a directory.
        StoreError: the disk is full, or the path is not writable.
    """
    path = Path(path)
    if path.is_dir():
        raise BadInputError(f"the report cannot be written to {path}, which is a directory; add a file name to it")
    content = render(page()).encode("utf-8")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content)
    return path


@functools.cache
def _packed_plotly() -> str:
    """Return the plotting library as gzip in base64, which is 40 % of its size."""
    from plotly.offline import get_plotlyjs

    # 16 + 15: a gzip stream, whose header has no time in it.
    packer = zlib.compressobj(9, zlib.DEFLATED, 16 + 15)
    packed = packer.compress(get_plotlyjs().encode("utf-8")) + packer.flush()
    return base64.b64encode(packed).decode("ascii")
