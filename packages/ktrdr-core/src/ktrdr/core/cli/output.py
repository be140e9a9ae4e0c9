"""Output of commands: tables for people, JSON for programs."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import click

from ktrdr.core.files.json_values import plain_json

__all__ = ["echo_styled", "print_json", "print_table", "print_warnings", "to_json"]

_MOST_FOLDED = 500
_WIDEST = 1000
_GAP = "   "
_RULE = "─"


def to_json(value: Any) -> str:
    """Return strict JSON: NaN and infinities become ``null``, numpy scalars numbers, and dates ISO text."""
    return json.dumps(plain_json(value), indent=2, ensure_ascii=False, allow_nan=False, default=str)


def print_json(value: Any) -> None:
    """Print ``value`` as JSON on standard output."""
    click.echo(to_json(value))


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    right: Sequence[str] = (),
    whole: Sequence[str] = (),
    title: str = "",
) -> None:
    """Print a table; the columns named in ``right`` are aligned to the right, those in ``whole`` are never folded.

    A table with whole columns has less space between its columns, and may be wider than a narrow screen. A long table
    is not folded to the width of the screen, because the layout of ten thousand rows takes seconds. A character that
    the encoding of the output lacks is a question mark.
    """
    cells = [["" if cell is None else _encodable(str(cell)) for cell in row] for row in rows]
    title = _encodable(title)
    if len(cells) > _MOST_FOLDED or (not whole and _fits_on_screen(columns, cells, title)):
        _print_unfolded(columns, cells, right, title)
        return
    # Importing rich takes a tenth of the time of a short command, so only a table that has to be folded is left to it.
    from rich import box
    from rich.console import Console
    from rich.table import Table

    padding = (0, 1, 0, 0) if whole else (0, 1)
    table = Table(box=box.SIMPLE_HEAD, title=title or None, title_justify="left", pad_edge=False, padding=padding)
    for column in columns:
        table.add_column(
            column, justify="right" if column in right else "left", overflow="fold", no_wrap=column in whole
        )
    for row in cells:
        table.add_row(*row)
    colors: Literal["auto"] | None = "auto" if _styles_wanted() else None
    console = Console(soft_wrap=False, highlight=False, markup=False, color_system=colors)
    if not whole:
        console.print(table)
        return
    # On a screen that is too narrow, whole columns would be cut off.
    needed = console.measure(table, options=console.options.update(width=_WIDEST)).minimum
    console.width = max(console.width, needed)
    with console.capture() as drawn:
        console.print(table)
    # Of 81 characters the last is a blank, which a screen of 80 would show as an empty line.
    click.echo("\n".join(line.rstrip() for line in drawn.get().splitlines()))


def print_warnings(warnings: Iterable[str], indent: str = "") -> None:
    """Print warnings, one line each."""
    for warning in warnings:
        echo_styled(f"{indent}Warning: {warning}.", color="yellow")


def echo_styled(text: str, *, color: str | None = None, bold: bool = False) -> None:
    """Print a text in a color or in bold, and as it is where the user wants no escape codes."""
    click.echo(click.style(text, fg=color, bold=bold or None) if _styles_wanted() else text)


def _encodable(text: str) -> str:
    """Return ``text`` with a question mark for each character that the encoding of the output lacks."""
    # A stream in memory has no encoding, and takes every character.
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, "replace").decode(encoding)


def _styles_wanted() -> bool:
    """Return False where the user wants no escape codes, or the terminal understands none."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") not in {"dumb", "unknown"}


def _fits_on_screen(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str) -> bool:
    """Return True if the title needs one line, no line is wider than the screen, and each character one column wide."""
    texts = [title, *columns, *(text for row in rows for text in row)]
    edges = 2
    width = sum(_widths(columns, rows)) + len(_GAP) * (len(columns) - 1) + edges
    # A title that is wider than its table is folded.
    narrow = len(title) <= width <= shutil.get_terminal_size().columns
    return narrow and all(text.isascii() and text.isprintable() for text in texts)


def _widths(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(columns, *rows, strict=True)]


def _print_unfolded(columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str], title: str) -> None:
    """Print a table in the same layout as a folded one on a screen that is wide enough."""
    widths = _widths(columns, rows)
    sides = [">" if column in right else "<" for column in columns]
    line = " " + _GAP.join(f"{{:{side}{width}}}" for side, width in zip(sides, widths, strict=True))
    dash = _RULE if _encodable(_RULE) == _RULE else "-"
    rule = " " + dash * (sum(widths) + len(_GAP) * (len(widths) - 1))
    heading = line.format(*columns)
    if _styles_wanted():
        title, heading = title and click.style(title, italic=True), click.style(heading, bold=True)
    above = [title] if title else []
    click.echo("\n".join([*above, "", heading, rule, *(line.format(*row) for row in rows), ""]))
