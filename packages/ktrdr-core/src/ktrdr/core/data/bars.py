"""Bars: market data in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ktrdr.core.data.timeframe import Timeframe

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Bars"]

_COLUMNS = ("open", "high", "low", "close", "volume")


@dataclass(frozen=True, slots=True, eq=False)
class Bars:
    """OHLCV bars of one symbol and timeframe, strictly ascending in time.

    Attributes:
        symbol: such as ``EURUSD``.
        timeframe: length of a bar.
        time: ``datetime64[ns]`` ``(n,)``: the **open** of each bar, UTC. A bar is visible from open + timeframe.
        open, high, low, close: float64 ``(n,)`` prices.
        volume: float64 ``(n,)``; NaN where the vendor gave none.
        calendar: name of the market's calendar that is stored with the data set (see
            :mod:`ktrdr.core.data.calendars`); ``None`` derives it from the symbol.
        world: name of the synthetic market that the bars come from, such as ``mean_reversion-7``; empty for imported
            bars.

    Example:
        >>> import ktrdr.core as kt
        >>> _ = kt.data.import_sample()
        >>> bars = kt.data.Bars.from_frame("EURUSD", "1h", kt.data.load("EURUSD", "1h"))
        >>> len(bars), str(bars.end)
        (6225, '2017-12-29T22:00:00.000000000')
    """

    symbol: str
    timeframe: Timeframe
    time: np.ndarray
    open: np.ndarray
    high: np.ndarray
    low: np.ndarray
    close: np.ndarray
    volume: np.ndarray
    calendar: str | None = field(default=None, kw_only=True)
    world: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        n = len(self.time)
        if self.time.dtype != np.dtype("datetime64[ns]"):
            raise TypeError(f"time must be datetime64[ns], not {self.time.dtype}")
        for name in _COLUMNS:
            column = getattr(self, name)
            if column.dtype != np.float64 or column.shape != (n,):
                raise TypeError(f"{name} must be float64 of shape ({n},), not {column.dtype} {column.shape}")

    def __len__(self) -> int:
        return len(self.time)

    def __getitem__(self, rows: slice) -> Bars:
        """Return the bars of a slice of positions; arrays are views."""
        columns = (getattr(self, name)[rows] for name in _COLUMNS)
        return Bars(self.symbol, self.timeframe, self.time[rows], *columns, calendar=self.calendar, world=self.world)

    @property
    def close_time(self) -> np.ndarray:
        """``datetime64[ns]`` ``(n,)``: the close of each bar, from which it is visible, UTC."""
        return self.time + np.timedelta64(self.timeframe.nanoseconds, "ns")

    @property
    def end(self) -> np.datetime64:
        """``datetime64[ns]``: the close of the last bar, UTC. There must be at least one bar."""
        return self[-1:].close_time[0]

    def between(self, start: np.datetime64 | None, end: np.datetime64 | None) -> Bars:
        """Return the bars that open in ``[start, end)``.

        Args:
            start: ``datetime64``, UTC; ``None`` for no limit.
            end: ``datetime64``, UTC; ``None`` for no limit.

        Returns:
            The bars, as views of these arrays.
        """
        low = 0 if start is None else int(np.searchsorted(self.time, start, side="left"))
        high = len(self) if end is None else int(np.searchsorted(self.time, end, side="left"))
        return self[low : max(low, high)]

    def to_frame(self) -> pd.DataFrame:
        """Return a DataFrame with a UTC ``DatetimeIndex`` named ``time``."""
        import pandas as pd

        index = pd.DatetimeIndex(self.time, name="time").tz_localize("UTC")
        return pd.DataFrame({name: getattr(self, name) for name in _COLUMNS}, index=index)

    @classmethod
    def from_frame(
        cls,
        symbol: str,
        timeframe: Timeframe | str,
        frame: pd.DataFrame,
        *,
        calendar: str | None = None,
        world: str = "",
    ) -> Bars:
        """Return bars from a DataFrame in the form of :meth:`to_frame`.

        Args:
            symbol: such as ``EURUSD``.
            timeframe: length of a bar.
            frame: index: the open of each bar, ascending; without a zone it is UTC. Columns ``open``, ``high``,
                ``low``, ``close``, ``volume``: numbers.
            calendar: name of the market's calendar; ``None`` derives it from the symbol.
            world: name of the synthetic market that the bars come from; empty for real ones.

        Returns:
            The bars.
        """
        index = frame.index
        if index.tz is not None:  # type: ignore[attr-defined]
            index = index.tz_convert("UTC").tz_localize(None)  # type: ignore[attr-defined]
        return cls(
            symbol,
            Timeframe(timeframe) if isinstance(timeframe, str) else timeframe,
            np.ascontiguousarray(index.to_numpy(dtype="datetime64[ns]")),
            *(np.ascontiguousarray(frame[name].to_numpy(dtype=np.float64)) for name in _COLUMNS),
            calendar=calendar,
            world=world,
        )
