"""Net returns per UTC day, compact enough to store for every trial."""

from __future__ import annotations

import base64
import datetime as dt
import zlib
from dataclasses import dataclass

import numpy as np

from ktrdr.core.errors import BadInputError
from ktrdr.core.short_texts import short_repr

__all__ = ["MOST_DAYS", "DailyReturns", "daily_returns", "day_ends"]

MOST_DAYS = 1_000
"""Number of calendar days kept of a trial, the newest."""

_EPOCH = dt.date(1970, 1, 1)


@dataclass(frozen=True, slots=True, eq=False)
class DailyReturns:
    """Returns on consecutive calendar days (UTC), 0 on days without a bar.

    Attributes:
        first: the first day, as number of days since 1970-01-01.
        values: float32 ``(days,)``, at most :data:`MOST_DAYS`, finite.
        packed: the result of :meth:`to_json`, if it is known already: packing costs more than the rest of a row.
    """

    first: int
    values: np.ndarray
    packed: dict[str, str] | None = None

    def __repr__(self) -> str:
        return short_repr(f"DailyReturns: {len(self.values):,} days from {_EPOCH + dt.timedelta(days=self.first)}")

    def to_json(self) -> dict[str, str]:
        """Return ``{"first": "2017-10-02", "float32": base64 of the compressed little-endian values}``."""
        if self.packed is not None:
            return self.packed
        packed = zlib.compress(np.ascontiguousarray(self.values, dtype="<f4").tobytes(), 6)
        return {
            "first": (_EPOCH + dt.timedelta(days=self.first)).isoformat(),
            "float32": base64.b64encode(packed).decode("ascii"),
        }

    @classmethod
    def from_json(cls, data: dict[str, str]) -> DailyReturns:
        """Return the returns that :meth:`to_json` described.

        Raises:
            BadInputError: ``data`` is not such a map, or holds more than :data:`MOST_DAYS` days.
        """
        try:
            first = (dt.date.fromisoformat(data["first"]) - _EPOCH).days
            packed = base64.b64decode(data["float32"], validate=True)
            unpacking = zlib.decompressobj()
            # Unpack at most one byte more than allowed: a decompression bomb is refused, not unpacked.
            content = unpacking.decompress(packed, 4 * MOST_DAYS + 1)
            if not unpacking.eof or not content or len(content) % 4 or len(content) > 4 * MOST_DAYS:
                raise ValueError("its length is wrong")
            values = np.frombuffer(content, dtype="<f4").astype(np.float32)
            if not np.isfinite(values).all():
                raise ValueError("it holds a number that is not finite")
        except (KeyError, TypeError, ValueError, OverflowError, zlib.error) as error:
            raise BadInputError(
                f"the daily returns of a trial cannot be read ({error}); export it again from its ledger"
            ) from None
        return cls(first, values, {"first": data["first"], "float32": data["float32"]})


def day_ends(time: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the days with a bar (int64, days since 1970-01-01), and the position of the last bar of each day.

    Args:
        time: ``datetime64[ns]`` ``(n,)``: opens of bars, ascending, UTC.
    """
    days = time.astype("datetime64[D]").astype(np.int64)
    last = np.flatnonzero(np.diff(days, append=days[-1:] + 1))
    return days[last], last


def daily_returns(equity: np.ndarray, capital: float, ends: tuple[np.ndarray, np.ndarray]) -> DailyReturns | None:
    """Return the daily returns of an account, ``None`` if there is no bar.

    Returns are 0 after the first day that ends with an equity of 0 or less.

    Args:
        equity: float64 ``(n,)``: equity at the closes of the bars.
        capital: equity before the first bar.
        ends: result of :func:`day_ends` for the bars.
    """
    days, last = ends
    if not len(days):
        return None
    levels = np.concatenate(([capital], equity[last]))
    before = levels[:-1]
    alive = np.minimum.accumulate(before) > 0
    returns = np.zeros(len(last))
    np.divide(levels[1:], before, out=returns, where=alive)
    returns[alive] -= 1
    first = max(int(days[0]), int(days[-1]) - MOST_DAYS + 1)
    kept = days >= first
    values = np.zeros(int(days[-1]) - first + 1, dtype=np.float32)
    # Clipped, so that every value fits into float32.
    values[days[kept] - first] = np.clip(returns[kept], -1e6, 1e6)
    return DailyReturns(first, values)
