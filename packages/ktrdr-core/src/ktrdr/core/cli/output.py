"""Output of commands: tables for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import click

from ktrdr.core.files.json_values import plain_json

__all__ = ["print_json", "print_table", "print_warnings", "to_json"]

_MOST_FOLDED = 500
_WIDEST = 1000


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
    is not folded to the width of the screen, because the layout of ten thousand rows takes seconds.
    """
    cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
    if len(cells) > _MOST_FOLDED:
        _print_unfolded(columns, cells, right, title)
        return
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
    console = Console(soft_wrap=False, highlight=False, markup=False)
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
        click.secho(f"{indent}Warning: {warning}.", fg="yellow")


def _print_unfolded(columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str], title: str) -> None:
    """Print a table in the same layout as a folded one on a screen that is wide enough."""
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    sides = [">" if column in right else "<" for column in columns]
    line = " " + "   ".join(f"{{:{side}{width}}}" for side, width in zip(sides, widths, strict=True))
    rule = " " + "─" * (sum(widths) + 3 * (len(widths) - 1))
    heading = [title] if title else []
    click.echo("\n".join([*heading, "", line.format(*columns), rule, *(line.format(*row) for row in rows), ""]))
