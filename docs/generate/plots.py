"""The plots of the reference, as SVG elements in the page that take the colour of its text."""

from __future__ import annotations

import functools
import html
import io
import re
from collections.abc import Callable, Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from ktrdr.core.data.bars import Bars
from ktrdr.core.data.sample import sample_bars
from ktrdr.core.fuzzy.definition import MembershipFunction
from ktrdr.core.fuzzy.membership import membership
from ktrdr.core.indicators.computation import compute_indicator
from ktrdr.core.labels.make import make_labels
from ktrdr.core.report.figures import BLUE, GREEN, GREY, ORANGE, RED, SET_COLOURS
from ktrdr.core.strategy.label_parameters import LABEL_SOURCES
from ktrdr.core.strategy.model import CLASSES, Labels

__all__ = ["MEMBERSHIP_EXAMPLES", "plot"]

_FIRST_DAY, _BARS = np.datetime64("2017-03-06"), 240
"""The plotted part of the sample: two weeks with a fall, a rise, a setback and a jump."""

_FOR_HOURS: Mapping[str, Mapping[str, float]] = {
    "zigzag": {"zigzag_threshold": 0.005},
    "turning_points": {"reversal": 0.005},
    "direction": {"threshold": 0.001},
}
"""Parameters for hourly bars, of labels whose defaults are for daily bars."""

_INK = "#010203"
"""Placeholder for the colour of the page's text; no line uses this colour."""

_DECIMALS = re.compile(r"\d+\.\d{3,}")

_STYLE: Mapping[str, Any] = {
    "svg.fonttype": "none",
    "font.size": 9.0,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.5,
    "axes.grid": True,
    "grid.color": GREY,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.4,
    "legend.frameon": False,
    "axes.formatter.useoffset": False,
}

# For values from 0 to 100, as of RSI; the examples show the effect of the parameters.
MEMBERSHIP_EXAMPLES: Mapping[str, Mapping[str, tuple[float, ...]]] = {
    "triangular": {"[0, 0, 40]": (0, 0, 40), "[30, 50, 70]": (30, 50, 70), "[60, 100, 100]": (60, 100, 100)},
    "trapezoidal": {
        "[0, 0, 25, 42]": (0, 0, 25, 42),
        "[30, 45, 55, 70]": (30, 45, 55, 70),
        "[58, 75, 100, 100]": (58, 75, 100, 100),
    },
    "gaussian": {"[30, 10]": (30, 10), "[60, 5]": (60, 5), "[60, 20]": (60, 20)},
    "sigmoid": {"[30, -0.3]": (30, -0.3), "[70, 0.3]": (70, 0.3), "[70, 1]": (70, 1)},
    "bell": {"[10, 2, 30]": (10, 2, 30), "[20, 2, 65]": (20, 2, 65), "[20, 6, 65]": (20, 6, 65)},
}
"""Plotted parameters for each type of membership function."""


def plot(what: str) -> str:
    """Return the plot ``<kind>:<name>`` as an SVG element."""
    kind, _, name = what.partition(":")
    draw, label = _KINDS[kind]
    style: Any = {**_STYLE, "svg.hashsalt": what}
    with mpl.rc_context(style):
        return _svg(draw(name), label.format(name))


@functools.cache
def _sample() -> tuple[Bars, slice]:
    bars = sample_bars()
    first = int(np.searchsorted(bars.time, _FIRST_DAY))
    return bars, slice(first, first + _BARS)


def _figure(panels: int, height: float) -> tuple[Figure, list[Axes]]:
    # Margins in inches, the same for all plots, so that plots below each other are aligned.
    width, above, below = 7.4, 0.24, 0.24
    figure = Figure(figsize=(width, height))
    FigureCanvasSVG(figure)
    figure.subplots_adjust(left=0.52 / width, right=1 - 0.14 / width, top=1 - above / height, bottom=below / height)
    figure.subplots_adjust(hspace=0.2)
    ratios = [1.0] if panels == 1 else [1.0, 1.25]
    return figure, list(figure.subplots(panels, 1, sharex=True, squeeze=False, height_ratios=ratios)[:, 0])


def _draw_indicator(name: str) -> Figure:
    bars, part = _sample()
    outputs = {output: values[part] for output, values in compute_indicator(name, {}, bars).items()}
    low, high = bars.low[part].min(), bars.high[part].max()
    beside = {
        output: values
        for output, values in outputs.items()
        if not (np.nanmin(values) >= 2 * low - high and np.nanmax(values) <= 2 * high - low)
    }
    figure, axes = _figure(2 if beside else 1, 3.3 if beside else 2.6)
    _draw_price(axes[0], bars, part)
    for colour, (output, values) in zip(SET_COLOURS, outputs.items(), strict=False):
        _draw_output(axes[-1] if output in beside else axes[0], output, values, colour)
    for axis in axes:
        _legend(axis)
    if max(abs(np.nanmin(values)) for values in outputs.values()) > 1e6:
        axes[-1].yaxis.set_major_formatter(EngFormatter(sep=""))
    _days(axes[-1], bars.time[part])
    return figure


def _draw_price(axis: Axes, bars: Bars, part: slice) -> None:
    x = np.arange(_BARS)
    # The ranges of all bars as one line with gaps, because 240 SVG elements would be slow and large.
    gap = np.full(_BARS, np.nan)
    reach = np.stack((bars.low[part], bars.high[part], gap), axis=1).ravel()
    axis.plot(np.repeat(x, 3), reach, color=GREY, linewidth=0.8, alpha=0.6)
    axis.plot(x, bars.close[part], color=GREY, linewidth=1.1, label="EURUSD")


def _draw_output(axis: Axes, output: str, values: np.ndarray, colour: str) -> None:
    if output == "histogram":
        axis.fill_between(
            np.arange(len(values)), values, step="mid", color=colour, alpha=0.5, linewidth=0, label=output
        )
    elif len(np.unique(values[~np.isnan(values)])) <= 3:
        axis.step(np.arange(len(values)), values, where="mid", color=colour, label=output)
    else:
        axis.plot(values, color=colour, label=output)


def _draw_membership(kind: str) -> Figure:
    figure, (axis,) = _figure(1, 2.0)
    for colour, (label, parameters) in zip(SET_COLOURS, MEMBERSHIP_EXAMPLES[kind].items(), strict=False):
        x = np.unique([*np.linspace(0, 100, 151), *(each for each in parameters if 0 <= each <= 100)])
        degrees = membership(MembershipFunction(type=kind, parameters=parameters), x)
        axis.plot(x, degrees, color=colour, label=label)
        axis.fill_between(x, degrees, color=colour, alpha=0.10, linewidth=0)
    axis.set(xlim=(0, 100), ylim=(0, 1.05), yticks=[0, 0.5, 1])
    _legend(axis)
    return figure


def _draw_labels(source: str) -> Figure:
    bars, part = _sample()
    declared = LABEL_SOURCES[source]
    parameters = {parameter.name: parameter.default for parameter in declared.parameters}
    # The defaults are for daily bars; for hourly bars half a percent is a swing.
    parameters |= _FOR_HOURS.get(source, {})
    values = make_labels(Labels(source=source, parameters=parameters), bars).values[part]
    x, close = np.arange(_BARS), bars.close[part]
    if declared.output == "classification":
        figure, axes = _figure(1, 2.6)
        _draw_price(axes[0], bars, part)
        for number, (name, colour) in enumerate(zip(CLASSES, (GREEN, GREY, RED), strict=True)):
            own = values == number
            if name != "HOLD":
                axes[0].scatter(x[own], close[own], s=11, color=colour, label=name, zorder=3, linewidth=0)
    else:
        figure, axes = _figure(2, 3.3)
        _draw_price(axes[0], bars, part)
        _draw_output(axes[1], "label", values, BLUE)
        axes[1].axhline(0, color=ORANGE, linewidth=0.8)
    for axis in axes:
        _legend(axis)
    _days(axes[-1], bars.time[part])
    return figure


def _legend(axis: Axes) -> None:
    handles, labels = axis.get_legend_handles_labels()
    axis.legend(
        handles,
        labels,
        loc="lower left",
        bbox_to_anchor=(0, 1.0),
        ncols=len(labels),
        handlelength=1.2,
        columnspacing=1.4,
        borderaxespad=0.1,
        borderpad=0.1,
    )
    axis.margins(x=0.01)


def _days(axis: Axes, time: np.ndarray) -> None:
    """Mark every second day; bars are drawn without gaps, so a weekend has no width."""
    days = time.astype("datetime64[D]")
    first = np.flatnonzero(np.diff(days, prepend=days[:1] - 1).astype(int))[::2]
    axis.set_xticks(first, [f"{days[row].astype(object):%-d %b}" for row in first])


def _rounded(found: re.Match[str]) -> str:
    return f"{float(found[0]):.2f}".rstrip("0").rstrip(".")


def _svg(figure: Figure, label: str) -> str:
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    # Only ids with a reference are kept, because ids are shared by all plots of a page.
    used = set(re.findall(r'(?:url\(#|href="#)([^")]+)', text))
    text = re.sub(r' id="([^"]+)"', lambda found: found[0] if found[1] in used else "", text)
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r"\s*\n\s*", " ", text)
    # Coordinates are rounded to a hundredth of a pixel; texts between tags are not changed.
    text = re.sub(r' (?:d|x|y|transform)="[^"]+"', lambda found: _DECIMALS.sub(_rounded, found[0]), text)
    text = text.replace(_INK, "currentColor").replace("'DejaVu Sans', 'Bitstream Vera Sans'", "inherit")
    text = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", text)
    return text.replace("<svg ", f'<svg class="plot" role="img" aria-label="{html.escape(label)}" ', 1)


_KINDS: Mapping[str, tuple[Callable[[str], Figure], str]] = {
    "indicator": (_draw_indicator, "{} on hourly EURUSD, 6 to 17 March 2017"),
    "membership": (_draw_membership, "membership functions of type {}"),
    "label": (_draw_labels, "labels of {} on hourly EURUSD, 6 to 17 March 2017"),
}
