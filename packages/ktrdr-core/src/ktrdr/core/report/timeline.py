"""The time axis of the report: one point per bar, and no gaps for times in which the market is closed.

Bars have equal distances, as on a trader's chart, so no line crosses a weekend. If there are more bars than a screen
can show, each point stands for several successive bars.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ktrdr.core.backtesting.tables import Table
from ktrdr.core.short_texts import counted, object_repr

__all__ = ["Timeline"]

_DAY = np.timedelta64(1, "D")


@dataclass(frozen=True, slots=True, eq=False)
class Timeline:
    """Points (places) on the time axis.

    Attributes:
        time: ``datetime64[ns]`` ``(n,)``: opens of the bars of all symbols together; at least one.
        width: bars per place; the last place may have fewer.
    """

    time: np.ndarray
    width: int

    def __repr__(self) -> str:
        return object_repr(self, counted(len(self.time), "bar"), f"{counted(self.width, 'bar')} per place")

    @classmethod
    def of(cls, time: np.ndarray, most: int) -> Timeline:
        """Return a timeline of at most ``most`` places."""
        return cls(time, -(-len(time) // most))

    @property
    def labels(self) -> list[str]:
        """Label of each place: the open of its first bar; only the date if all bars open at midnight."""
        first = self.time[:: self.width]
        daily = not ((self.time - self.time.astype("datetime64[D]")) % _DAY).any()
        return [text.replace("T", " ") for text in np.datetime_as_string(first, unit="D" if daily else "m").tolist()]

    def places(self, time: np.ndarray) -> np.ndarray:
        """Return the place of each time, int64: the place of the last bar that has opened."""
        return np.maximum(np.searchsorted(self.time, time, side="right") - 1, 0) // self.width

    def thin(self, values: np.ndarray) -> np.ndarray:
        """Return the positions of the values to draw, int64.

        With one bar per place, these are all known values. Otherwise they are the first known value, and the lowest,
        highest and last value of each place, so that no spike is lost.

        Args:
            values: values of the bars, float64 ``(n,)``; NaN where they are unknown.
        """
        if self.width == 1:
            return np.flatnonzero(~np.isnan(values))
        n = len(values)
        padded = np.full(-(-n // self.width) * self.width, np.nan)
        padded[:n] = values
        blocks = padded.reshape(-1, self.width)
        known = ~np.isnan(blocks)
        some = np.flatnonzero(known.any(axis=1))
        blocks, known = blocks[some], known[some]
        last = self.width - 1 - known[:, ::-1].argmax(axis=1)
        inside = np.stack((np.nanargmin(blocks, axis=1), np.nanargmax(blocks, axis=1), last))
        return np.unique(np.append(np.flatnonzero(~np.isnan(values))[:1], some * self.width + inside))

    def candles(self, bars: Table) -> tuple[np.ndarray, Table]:
        """Return the places that have bars, and one candle per place: first open, highest high, lowest low, last close.

        Args:
            bars: table with the columns ``time``, ``open``, ``high``, ``low``, ``close``.
        """
        places, starts = np.unique(self.places(bars["time"]), return_index=True)
        ends = np.append(starts[1:], len(bars["time"])) - 1
        return places, {
            "open": bars["open"][starts],
            "high": np.maximum.reduceat(bars["high"], starts),
            "low": np.minimum.reduceat(bars["low"], starts),
            "close": bars["close"][ends],
        }
