"""Tables of results, on the terminal and in Markdown for docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

__all__ = [
    "FIGURES",
    "HEADER",
    "duration",
    "figures_of",
    "limit",
    "markdown",
    "number",
    "show",
    "tables_of",
    "without_empty",
]

HEADER = ("of", "size", "program", "CPU", "wall", "times ours", "grows as", "memory")
FIGURES = ("limit", "measured", "aim", "")


def number(value: float) -> str:
    """Return ``value`` with about three significant digits."""
    if value and abs(value) < 0.01:
        return f"{value:.1e}"
    digits = 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    return f"{value:,.{digits}f}"


def duration(seconds: float) -> str:
    """Return a time in µs, ms or s."""
    for factor, unit in ((1e6, "µs"), (1e3, "ms")):
        if seconds * factor < 1000:
            return f"{number(seconds * factor)} {unit}"
    return f"{number(seconds)} s"


def limit(figure: dict[str, Any]) -> str:
    """Return the limit of a figure in words."""
    if figure["at_most"] is not None:
        return f"at most {figure['at_most']:,.10g} {figure['unit']}".rstrip()
    return "" if figure["at_least"] is None else f"at least {figure['at_least']:,.10g} {figure['unit']}".rstrip()


def _memory(row: dict[str, Any]) -> str:
    if "added_mib" in row:
        return f"+{number(max(row['added_mib'], 0))} MiB"
    return f"{number(row['peak_mib'])} MiB" if "peak_mib" in row else ""


def tables_of(found: dict[str, Any]) -> dict[str, list[tuple[str, ...]]]:
    """Return title -> a line for each contest, size and program, in the columns of ``HEADER``.

    The first column is empty for a contest with the name of the title.
    """
    exponents = {(each["contest"], each["program"]): each["exponent"] for each in found["growth"]}
    last = {(row["contest"], row["program"]): row["size"] for row in found["rows"]}
    compared = {row["contest"] for row in found["rows"] if not row["ours"]}
    tables: dict[str, list[tuple[str, ...]]] = {}
    before = ""
    for row in found["rows"]:
        key = (row["contest"], row["program"])
        ratio = row[f"ratio_{row['clock']}"]
        middle, low, high = (number(ratio[name]) for name in ("median", "q1", "q3"))
        tables.setdefault(row["group"], []).append(
            (
                "" if row["contest"] in (row["group"], before) else row["contest"],
                f"{row['size']:,} {row['unit']}" if row["unit"] else "",
                row["program"],
                duration(row["cpu"]["median"]),
                duration(row["wall"]["median"]),
                ("1" if row["contest"] in compared else "") if row["ours"] else f"{middle} ({low} to {high})",
                f"n^{exponents[key]:.2f}" if key in exponents and row["size"] == last[key] else "",
                _memory(row),
            )
        )
        before = row["contest"]
    return tables


def without_empty(
    header: Sequence[str], lines: Sequence[Sequence[str]]
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return header and lines without empty columns."""
    kept = [at for at in range(len(header)) if any(line[at] for line in lines)]
    return tuple(header[at] for at in kept), [tuple(line[at] for at in kept) for line in lines]


def figures_of(found: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return a line per figure of a benchmark, in the columns of ``FIGURES``."""
    words = {True: "met", False: "MISSED", None: ""}
    return [
        (
            each["name"],
            f"{number(each['value'])} {each['unit']}".rstrip(),
            limit(each),
            "" if found["quick"] else words[each["met"]],
        )
        for each in found["figures"]
    ]


def show(found: dict[str, Any]) -> None:
    """Print the results of a benchmark."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if not console.is_terminal:
        console.width = 140
    if found["quick"]:
        console.print("[yellow]Tiny sizes, which only show that everything runs. The numbers mean nothing.[/yellow]")
    named = [(name, *without_empty(HEADER, lines)) for name, lines in tables_of(found).items()]
    if found["figures"]:
        named.append((f"{found['benchmark']}: figures", FIGURES, figures_of(found)))
    for title, header, lines in named:
        table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
        for column in header:
            left = column in ("of", "program", "limit", "aim", "")
            table.add_column(column, justify="left" if left else "right", no_wrap=column != "limit")
        for line in lines:
            table.add_row(*(f"[red]{cell}[/red]" if cell == "MISSED" else cell for cell in line))
        console.print(table)


def markdown(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    rows = [header, ["---"] * len(header), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
