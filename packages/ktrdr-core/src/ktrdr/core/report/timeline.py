"""The axis of everything that is drawn over time: one place per bar, none for the time a market is closed.

Bars follow each other at equal distances, as on a trader's chart, so no line runs across a weekend. Where there are
more bars than a screen can show, each place is of a run of bars.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ktrdr.core.backtesting.tables import Table

__all__ = ["Timeline"]

_DAY = np.timedelta64(1, "D")


@dataclass(frozen=True, slots=True, eq=False)
class Timeline:
    """Places on the axis.

    Attributes:
        time: ``datetime64[ns]`` ``(n,)``: opens of the bars of all symbols together; at least one.
        width: bars of a place; the last may have fewer.
    """

    time: np.ndarray
    width: int

    @classmethod
    def of(cls, time: np.ndarray, most: int) -> Timeline:
        """Return a timeline of at most ``most`` places."""
        return cls(time, -(-len(time) // most))

    @property
    def labels(self) -> list[str]:
        """What each place is called: the open of its first bar, without the hour if no bar has one."""
        first = self.time[:: self.width]
        daily = not ((self.time - self.time.astype("datetime64[D]")) % _DAY).any()
        return [text.replace("T", " ") for text in np.datetime_as_string(first, unit="D" if daily else "m").tolist()]

    def places(self, time: np.ndarray) -> np.ndarray:
        """Return the place of each of ``time``, int64: that of the last bar that has opened."""
        return np.maximum(np.searchsorted(self.time, time, side="right") - 1, 0) // self.width

    def thin(self, values: np.ndarray) -> np.ndarray:
        """Return the positions of ``values``, float64 ``(n,)`` of the bars, to draw: all that are known, or the first,
        and the lowest, highest and last of each place, so that no spike is lost."""
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
        """Return the places that have ``bars`` (columns ``time``, ``open``, ``high``, ``low``, ``close``), and one
        candle of each: first open, highest high, lowest low, last close."""
        places, starts = np.unique(self.places(bars["time"]), return_index=True)
        ends = np.append(starts[1:], len(bars["time"])) - 1
        return places, {
            "open": bars["open"][starts],
            "high": np.maximum.reduceat(bars["high"], starts),
            "low": np.minimum.reduceat(bars["low"], starts),
            "close": bars["close"][ends],
        }
