"""Market data: bars, the Parquet store, import, calendars and alignment of timeframes."""

from ktrdr.core.data.bars import Bars
from ktrdr.core.data.timeframe import TIMEFRAMES, Timeframe

__all__ = ["TIMEFRAMES", "Bars", "Timeframe"]
