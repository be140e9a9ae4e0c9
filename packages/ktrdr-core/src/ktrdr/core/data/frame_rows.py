"""Rows of a pandas DataFrame, as an import reads them: columns by their names, times, numbers."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import numpy as np

from ktrdr.core.data.vendor.raw_bars import RawBars
from ktrdr.core.data.vendor.vendor_columns import (
    assign_roles,
    check_roles,
    columns_of_ticker,
    is_spelled,
    spare_volumes,
)
from ktrdr.core.data.vendor.vendor_times import epoch_unit
from ktrdr.core.errors import BadInputError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FrameRows", "FrameTimes", "frame_columns", "frame_times", "is_times", "numbers", "read_frame"]

_PRICES = ("open", "high", "low", "close")
_MINUTE = 60_000_000_000
_MISSING = np.iinfo(np.int64).min
_NAMED = 10
_SHOWN = "the frame"


@dataclass(frozen=True, slots=True, eq=False)
class FrameTimes:
    """Times of a frame.

    Attributes:
        written: int64 ``(n,)``, nanoseconds since 1970 on the clock of the frame's zone; the lowest int64 for NaT.
        offset: int64 ``(n,)``, minutes that ``written`` is ahead of UTC; None for times without a zone.
    """

    written: np.ndarray
    offset: np.ndarray | None

    @property
    def utc(self) -> np.ndarray:
        """Times in UTC, int64 ``(n,)``: nanoseconds since 1970; times without a zone are taken as UTC."""
        return self.written if self.offset is None else self.written - self.offset * _MINUTE

    @property
    def missing(self) -> np.ndarray:
        """Mask, bool ``(n,)``: True where there is no time (NaT)."""
        return self.written == _MISSING


@dataclass(slots=True)
class FrameRows:
    """Rows of a frame; an import reads them like the rows of a file.

    The attributes are those of :class:`~ktrdr.core.data.vendor.raw_bars.StagedRows`. ``names`` has the symbol of each
    row, or is None where one symbol holds for all.
    """

    times: FrameTimes
    prices: Mapping[str, np.ndarray]
    names: np.ndarray | None
    good: np.ndarray
    symbols: dict[str, tuple[int, int, int]]
    notes: list[str] = field(default_factory=list)
    bad_rows: list[str] = field(default_factory=list)
    bad_count: int = 0
    zone: ZoneInfo | None = None

    @property
    def shown(self) -> str:
        """What messages call the frame."""
        return _SHOWN

    @property
    def zoned(self) -> bool:
        """True if the times have a zone."""
        return self.times.offset is not None

    def place(self, row: int) -> str:
        """Return where a row is: its position, as ``frame.iloc`` takes it."""
        return f"iloc[{row}]"

    def places(self, rows: list[int]) -> list[str]:
        """Return where rows are."""
        return [self.place(row) for row in rows]

    def raw_bars(self, symbol: str) -> RawBars:
        """Return the rows of one symbol."""
        chosen = self.good if self.names is None else self.good & (self.names == symbol)
        offset = self.times.offset
        return RawBars(
            np.flatnonzero(chosen),
            self.times.written[chosen],
            None if offset is None else offset[chosen],
            {name: values[chosen] for name, values in self.prices.items()},
        )


def read_frame(frame: Any, *, columns: Mapping[str, str], symbol: str | None, skip_bad: bool) -> FrameRows:
    """Read a frame.

    Args:
        frame: a pandas DataFrame.
        columns: the frame's column for a role (``time``, ``open``, ...), where its name is not known.
        symbol: which one to take where the symbols stand side by side in the columns.
        skip_bad: leave out rows without a time or a price instead of refusing the frame.

    Raises:
        BadInputError: the frame has no columns of bars, a column is no time or no number, or a row lacks one.
    """
    import pandas as pd

    check_roles(columns)
    given = {role: str(name) for role, name in columns.items()}
    names, parts, ticker = frame_columns(frame, given, symbol)
    if "time" not in given and parts and is_times(parts[0]) and isinstance(parts[0], pd.Index):
        given["time"] = names[0]
    roles, notes, left_out = assign_roles(names, _SHOWN, given)
    if "day" in roles:
        day, time = names[roles["day"]], names[roles["time"]]
        raise BadInputError(
            f"{_SHOWN} has the day in `{day}` and the time of day in `{time}`: put both in one column with"
            f" pd.to_datetime(frame[{day!r}] + ' ' + frame[{time!r}]), and drop the two"
        )
    times = frame_times(parts[roles["time"]], names[roles["time"]])
    prices = {role: numbers(parts[roles[role]], names[roles[role]]) for role in _PRICES}
    spare = spare_volumes(names, roles, given)
    volume, chosen = _volume([roles["volume"], *spare] if "volume" in roles else list(spare), parts, names)
    prices["volume"] = volume if volume is not None else np.full(len(times.written), np.nan)
    symbols = _symbols(parts[roles["symbol"]]) if "symbol" in roles else None
    found = FrameRows(times, prices, symbols, np.ones(len(times.written), dtype=bool), {}, list(notes))
    _note_volume(found, names, roles, chosen, left_out)
    _leave_out_bad_rows(found, skip_bad)
    if not found.good.any():
        remedy = "leave out --skip-bad to see what is wrong" if found.bad_count else "it has no rows"
        raise BadInputError(f"{_SHOWN} has no bars: {remedy}")
    found.symbols = _spans(found, ticker)
    return found


def frame_columns(frame: Any, given: Mapping[str, str], symbol: str | None) -> tuple[list[str], list[Any], str]:
    """Return names and values of a frame's columns, and the ticker that its headings name, or nothing.

    The levels of the index come first, as columns; an index that only counts rows is left out.

    Raises:
        BadInputError: it is no DataFrame, or its headings name several tickers of which none was chosen.
    """
    import pandas as pd

    if not isinstance(frame, pd.DataFrame):
        foreign = type(frame).__module__.partition(".")[0] in ("polars", "pyarrow")
        remedy = "write frame.to_pandas()" if foreign else "give one with columns such as open, high, low and close"
        raise BadInputError(f"bars must be a pandas DataFrame, not {type(frame).__name__}: {remedy}")
    names, ticker = _headings(frame, symbol)
    parts = [frame.iloc[:, place] for place in range(frame.shape[1])]
    kept = [place for place, name in enumerate(names) if name]
    names, parts = [names[place] for place in kept], [parts[place] for place in kept]
    levels = [frame.index.get_level_values(level) for level in range(frame.index.nlevels)]
    used = [level for level in levels if level.name is not None or not pd.api.types.is_numeric_dtype(level.dtype)]
    if not used and "time" not in given and not any(is_spelled("time", name) for name in names):
        kind = "whole numbers" if pd.api.types.is_integer_dtype(frame.index.dtype) else f"{frame.index.dtype} values"
        raise BadInputError(
            f"{_SHOWN} has no column for time, and its index holds {kind}: make the times its index, such as with"
            ' frame.index = pd.to_datetime(times), or rename their column with frame.rename(columns={"NAME": "time"})'
        )
    # Times in the index win over a column of times.
    used.sort(key=lambda level: not is_times(level))
    return [*("" if level.name is None else str(level.name) for level in used), *names], [*used, *parts], ticker


def frame_times(values: Any, name: str) -> FrameTimes:
    """Return the times of a column or of an index.

    Args:
        values: a pandas Series or Index.
        name: of the column, for messages.

    Raises:
        BadInputError: these are no times, or times outside of 1678 to 2261.
    """
    import pandas as pd

    target = "frame.index" if isinstance(values, pd.Index) else f'frame["{name}"]'
    if isinstance(values.dtype, pd.PeriodDtype):
        values = pd.PeriodIndex(values).to_timestamp()
    elif pd.api.types.is_object_dtype(values.dtype):
        values = _of_objects(values, target)
    if getattr(values.dtype, "kind", "") != "M":
        raise _no_times(values, target)
    found = pd.DatetimeIndex(values)
    try:
        wall = found.tz_localize(None).as_unit("ns").asi8
        if found.tz is None:
            return FrameTimes(wall, None)
        utc = found.tz_convert("UTC").tz_localize(None).as_unit("ns").asi8
    except (pd.errors.OutOfBoundsDatetime, OverflowError):
        raise BadInputError(
            f"{_SHOWN}: {target} has times outside 1678 to 2261, the years KTRDR can count in nanoseconds"
        ) from None
    ahead = np.where(wall == _MISSING, 0, wall - utc)
    if (ahead % _MINUTE).any():  # local mean time, before zones were in use
        return FrameTimes(utc, np.zeros(len(utc), dtype=np.int64))
    return FrameTimes(wall, ahead // _MINUTE)


def numbers(values: Any, name: str) -> np.ndarray:
    """Return a column as float64 ``(n,)``, NaN where a value is missing.

    Raises:
        BadInputError: it holds anything but numbers.
    """
    import pandas as pd

    column, dtype = f'frame["{name}"]', values.dtype
    number = pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_bool_dtype(dtype)
    text = next((value for value in values if isinstance(value, str)), None) if not number else None
    if text is not None:
        raise BadInputError(
            f"{_SHOWN}: {column} holds text, such as {text[:40]!r}: make it numbers with {column} ="
            f" pd.to_numeric({column}), or write it to CSV and read that with `ktrdr data import`"
        )
    if (number and dtype.kind != "c") or pd.api.types.is_object_dtype(dtype):
        try:
            return np.asarray(values.to_numpy(dtype=np.float64, na_value=np.nan), dtype=np.float64)
        except (TypeError, ValueError):
            pass  # refused below
    raise BadInputError(
        f"{_SHOWN}: {column} holds {dtype} values, not numbers: make it numbers, or leave the column out"
    )


def _headings(frame: pd.DataFrame, symbol: str | None) -> tuple[list[str], str]:
    """Return the headings, those of other tickers empty, and the ticker that they name, or nothing."""
    headings = frame.columns
    if headings.nlevels == 1:
        return [str(name) for name in headings], ""
    levels = [[str(name) for name in headings.get_level_values(level)] for level in range(headings.nlevels)]
    priced = [
        level for level in levels if len({role for role in _PRICES for name in level if is_spelled(role, name)}) > 1
    ]
    if len(levels) != 2 or not priced:
        raise BadInputError(
            f"{_SHOWN} has headings of {len(levels)} levels: keep the level with open, high, low and close, such as"
            " with frame.columns = frame.columns.get_level_values(0)"
        )
    other = levels[1] if priced[0] is levels[0] else levels[0]
    names, ticker = columns_of_ticker(["", *priced[0]], ["Ticker", *other], _SHOWN, symbol)
    return names[1:], ticker


def is_times(values: Any) -> bool:
    """Tell whether these are times by their dtype, or Python's dates and times by the first of them."""
    import pandas as pd

    if pd.api.types.is_object_dtype(values.dtype):
        first = next((value for value in values if not pd.isna(value)), None)
        return isinstance(first, dt.date | np.datetime64)
    return values.dtype.kind == "M" or isinstance(values.dtype, pd.PeriodDtype)


def _of_objects(values: Any, target: str) -> Any:
    """Return Python's dates and times as a DatetimeIndex; other objects as they are."""
    import pandas as pd

    known = [value for value in values if not pd.isna(value)]
    if not known or not all(isinstance(value, dt.date | np.datetime64) for value in known):
        return values
    zoned = {getattr(value, "tzinfo", None) is not None for value in known}
    if len(zoned) > 1:
        raise BadInputError(
            f"{_SHOWN}: {target} mixes times with a zone and without; make all of them UTC with {target} ="
            f" pd.to_datetime({target}, utc=True)"
        )
    try:
        return pd.DatetimeIndex(pd.to_datetime(values, utc=zoned == {True}))
    except (pd.errors.OutOfBoundsDatetime, OverflowError):
        return values


def _no_times(values: Any, target: str) -> BadInputError:
    """Return the error for values that are no times, with what makes them times."""
    import pandas as pd

    first = next((value for value in values if not pd.isna(value)), None)
    if isinstance(first, str):
        return BadInputError(
            f"{_SHOWN}: {target} holds text, such as {first[:40]!r}, not times: make it times with {target} ="
            f" pd.to_datetime({target})"
        )
    unit = epoch_unit(str(first)) if isinstance(first, int | float | np.number) else ""
    if unit:
        return BadInputError(
            f"{_SHOWN}: {target} holds numbers, such as {first}, not times: make it times with {target} ="
            f' pd.to_datetime({target}, unit="{unit}")'
        )
    return BadInputError(
        f"{_SHOWN}: {target} holds {values.dtype} values, not times: make the times the index of the frame, or a"
        " column `time`"
    )


def _volume(places: Sequence[int], parts: Sequence[Any], names: Sequence[str]) -> tuple[np.ndarray | None, int | None]:
    """Return the first volume that is not 0 throughout, and its position; of several the first if all are 0."""
    if not places:
        return None, None
    for place in places:
        values = numbers(parts[place], names[place])
        if len(places) == 1 or np.nanmax(values, initial=0.0) > 0:
            return values, place
    return numbers(parts[places[0]], names[places[0]]), places[0]


def _note_volume(
    found: FrameRows, names: Sequence[str], roles: Mapping[str, int], chosen: int | None, left_out: Sequence[str]
) -> None:
    rest = [name for name in left_out if chosen is None or name != names[chosen]]
    if chosen is not None and "volume" in roles and chosen != roles["volume"]:
        first = names[roles["volume"]]
        rest.insert(0, first)
        found.notes.append(f"volume is taken from {names[chosen]}: {first} has none on any bar")
    if rest:
        found.notes.append(f"left out: {', '.join(rest)}")


def _symbols(values: Any) -> np.ndarray:
    """Return the symbol of each row as text, empty where it is missing: objects ``(n,)``."""
    import pandas as pd

    return np.array(["" if pd.isna(value) else str(value).strip() for value in values], dtype=object)


def _leave_out_bad_rows(found: FrameRows, skip_bad: bool) -> None:
    """Refuse rows without a time or a price, or take note of them."""
    reason = np.full(len(found.good), "", dtype=object)
    for role in reversed(_PRICES):
        reason[np.isnan(found.prices[role])] = f"{role} is missing"
    reason[found.times.missing] = "the time is missing"
    bad = np.flatnonzero(reason != "")
    if not len(bad):
        return
    first = f"{found.place(int(bad[0]))}: {reason[bad[0]]}"
    if not skip_bad:
        more = f" (and {len(bad) - 1} more such rows)" if len(bad) > 1 else ""
        raise BadInputError(
            f"{_SHOWN}, {first}{more}; correct the frame, such as with frame.dropna(), or leave such rows out with"
            " --skip-bad"
        )
    found.good[bad] = False
    found.bad_rows = [f"{found.place(int(row))}: {reason[row]}" for row in bad[:_NAMED]]
    found.bad_count = len(bad)


def _spans(found: FrameRows, ticker: str) -> dict[str, tuple[int, int, int]]:
    """Return first row, last row and number of the good rows of each symbol."""
    rows = np.flatnonzero(found.good)
    if found.names is None:
        return {ticker: (int(rows[0]), int(rows[-1]), len(rows))}
    spans = {}
    for name in sorted(set(found.names[rows])):
        own = rows[found.names[rows] == name]
        spans[str(name)] = (int(own[0]), int(own[-1]), len(own))
    return spans
