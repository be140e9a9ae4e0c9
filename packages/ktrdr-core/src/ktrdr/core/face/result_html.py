"""Results as HTML in a notebook: cards and a small picture, without scripts, styles of a page or a network."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ktrdr.core.data.times import format_time
from ktrdr.core.report.content import sentence
from ktrdr.core.report.figures import BLUE, GREEN, GREY, RED
from ktrdr.core.report.page import Card
from ktrdr.core.report.timeline import Timeline

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["card_row", "line_picture", "paragraph", "result_block", "table_html", "warning_list"]

_TONES = {"good": GREEN, "bad": RED, "": "inherit"}
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 720, 220, 64, 8, 24, 22
_MOST_PLACES = 600
_MOST_ROWS = 25
_CELL = "padding: 1px 12px 1px 0; font-variant-numeric: tabular-nums"
_LINES = ((BLUE, ""), (GREY, "5 4"))


def result_block(title: str, *parts: str) -> str:
    """Return a result: a title in bold, and the ``parts``, which are HTML."""
    return (
        '<div style="font: 13px/1.45 var(--jp-ui-font-family, system-ui, sans-serif); max-width: 760px;'
        ' overflow-x: auto">'
        f'<div style="font-weight: 600; margin-bottom: 6px">{html.escape(title)}</div>{"".join(parts)}</div>'
    )


def paragraph(text: str) -> str:
    """Return a sentence below the title."""
    return f'<div style="margin: 4px 0">{html.escape(sentence(text))}</div>'


def warning_list(warnings: Sequence[str]) -> str:
    """Return warnings, each beside a mark; nothing if there are none."""
    return "".join(
        f'<div style="border-left: 3px solid {RED}; padding: 2px 0 2px 8px; margin: 4px 0">'
        f"{html.escape(sentence(warning))}</div>"
        for warning in warnings
    )


def card_row(cards: Sequence[Card]) -> str:
    """Return cards beside each other."""
    shown = "".join(
        '<div style="border: 1px solid rgba(128,128,128,.35); border-radius: 6px; padding: 6px 10px; min-width: 120px">'
        f'<div style="opacity: .75; font-size: 12px">{html.escape(card.label)}</div>'
        f'<div style="font-size: 18px; font-weight: 600; color: {_TONES[card.tone]}">{html.escape(card.value)}</div>'
        f'<div style="opacity: .75; font-size: 11px; min-height: 1.3em">{html.escape(card.note)}</div></div>'
        for card in cards
    )
    return f'<div style="display: flex; flex-wrap: wrap; gap: 8px; margin: 8px 0">{shown}</div>'


def table_html(frame: pd.DataFrame, number: str, missing: str = "") -> str:
    """Return a frame as a table: at most 25 rows, with space between columns whatever the styles of the page.

    Args:
        frame: its index has one level.
        number: format of float64 values, such as ``.4g``.
        missing: stands for NaN.
    """
    heading = frame.copy().rename_axis(columns=str(frame.index.name))
    heading.index.name = None
    table: str = heading.to_html(
        border=0, float_format=lambda value: format(value, number), na_rep=missing, max_rows=_MOST_ROWS
    )
    return (
        table.replace(' style="text-align: right;"', "")
        .replace("<th>", f'<th style="{_CELL}; text-align: left">')
        .replace("<td>", f'<td style="{_CELL}; text-align: right">')
    )


def line_picture(time: np.ndarray, lines: dict[str, np.ndarray], title: str) -> str:
    """Return up to two lines over time as an SVG.

    Args:
        time: ``datetime64[ns]`` ``(n,)``, UTC, at least one.
        lines: maps names to float64 ``(n,)``; NaN and infinite values are left out.
        title: says what is drawn.
    """
    timeline = Timeline.of(time, _MOST_PLACES)
    known = np.concatenate([values[np.isfinite(values)] for values in lines.values()])
    if not len(known):
        return ""
    low, high = float(known.min()), float(known.max())
    room = (high - low) or max(abs(high), 1.0) * 0.02
    low, high = low - 0.04 * room, high + 0.04 * room
    places = max((len(time) - 1) // timeline.width, 1)

    def x(position: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * position / places

    def y(value: float) -> float:
        return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (high - value) / (high - low)

    drawn = []
    for value in _ticks(low, high):
        drawn.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="currentColor"'
            f' stroke-opacity=".15"/>{_text(_LEFT - 6, y(value) + 4, f"{value:,.6g}", "end")}'
        )
    for number, (name, values) in enumerate(lines.items()):
        colour, dash = _LINES[number]
        keep = timeline.thin(np.where(np.isfinite(values), values, np.nan))
        points = " ".join(f"{x(row // timeline.width):.1f},{y(values[row]):.1f}" for row in keep.tolist())
        drawn.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.6" stroke-dasharray="{dash}"/>'
        )
        left = _LEFT + 170 * (number + 1)
        drawn.append(
            f'<line x1="{left}" x2="{left + 24}" y1="10" y2="10" stroke="{colour}" stroke-width="2"'
            f' stroke-dasharray="{dash}"/>{_text(left + 30, 14, name, "start")}'
        )
    drawn.append(_text(_LEFT, 14, title, "start"))
    drawn.append(_text(_LEFT, _HEIGHT - 6, format_time(time[0])[:10], "start"))
    drawn.append(_text(_WIDTH - _RIGHT, _HEIGHT - 6, format_time(time[-1])[:10], "end"))
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" style="width: 100%; max-width: {_WIDTH}px; height: auto" role="img"'
        f' aria-label="{html.escape(title)}">{"".join(drawn)}</svg>'
    )


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="11" fill="currentColor" text-anchor="{anchor}">'
        f"{html.escape(text)}</text>"
    )


def _ticks(low: float, high: float) -> list[float]:
    """Return three to six round numbers from ``low`` to ``high``."""
    size = 10.0 ** np.floor(np.log10((high - low) / 3))
    step = next(size * factor for factor in (5, 2, 1) if (high - low) / (size * factor) >= 3)
    return [float(number * step) for number in range(int(np.ceil(low / step)), int(np.floor(high / step)) + 1)]
