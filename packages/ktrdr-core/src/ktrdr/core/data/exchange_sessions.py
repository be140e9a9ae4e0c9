"""Sessions of exchanges, from the package `exchange_calendars`."""

from __future__ import annotations

import datetime as dt
import functools
from typing import TYPE_CHECKING

import numpy as np

from ktrdr.core.errors import BadInputError
from ktrdr.core.parameters import did_you_mean

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["exchange_name", "exchange_reach", "exchange_sessions"]

_EPOCH = dt.date(1970, 1, 1)
# Days added on each side, so that a range inside a long holiday contains a session.
_MARGIN = 31


def exchange_name(name: str) -> str:
    """Return the name of an exchange in `exchange_calendars`, such as ``XNYS`` for ``nyse``.

    Raises:
        BadInputError: there is no such exchange.
    """
    import exchange_calendars

    known = {each.upper(): each for each in exchange_calendars.get_calendar_names()}
    name = name.upper()
    if name not in known:
        hint = did_you_mean(name, known) or "; use FX, 24/7 or a market identifier code such as XNYS"
        raise BadInputError(f"unknown calendar `{name}`{hint}")
    return exchange_calendars.resolve_alias(known[name])


@functools.lru_cache(maxsize=32)
def exchange_sessions(name: str, first: int, last: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the sessions of ``name`` from day ``first`` to day ``last`` (included), in days since 1970.

    Returns:
        int64 ``(s,)``: days with a session. int64 ``(p,)`` twice: opens and closes of the parts of the sessions in
        nanoseconds since 1970, UTC, ascending; a break at noon divides a session into two parts.

    Raises:
        BadInputError: the calendar does not cover these days, or the installed package cannot create it.
    """
    schedule = _schedule(name, first, last)

    def instants(column: str) -> np.ndarray:
        return schedule[column].dt.tz_convert("UTC").dt.tz_localize(None).to_numpy("datetime64[ns]").astype(np.int64)

    days = schedule.index.to_numpy("datetime64[D]").astype(np.int64)
    opens, closes, break_start, break_end = (instants(c) for c in ("open", "close", "break_start", "break_end"))
    inside = (days >= first) & (days <= last)
    split = inside & (break_start != np.iinfo(np.int64).min)
    all_opens = np.concatenate((opens[inside], break_end[split]))
    all_closes = np.concatenate((np.where(split, break_start, closes)[inside], closes[split]))
    order = np.argsort(all_opens, kind="stable")
    return days[inside], all_opens[order], all_closes[order]


def exchange_reach(name: str) -> tuple[int | None, int | None]:
    """Return the first and the last day of the calendar ``name``; ``None`` where it has no limit.

    Raises:
        BadInputError: the installed package cannot create the calendar.
    """
    import exchange_calendars
    from exchange_calendars.errors import CalendarError

    _fit_offsets_to_pandas()
    try:
        calendar = exchange_calendars.get_calendar(name)
    except (CalendarError, ValueError, NotImplementedError) as error:
        raise _broken(name) from error
    ends = (calendar.bound_min(), calendar.bound_max())
    return tuple(None if end is None else (end.date() - _EPOCH).days for end in ends)  # type: ignore[return-value]


def _schedule(name: str, first: int, last: int) -> pd.DataFrame:
    import exchange_calendars
    from exchange_calendars.errors import CalendarError

    def between(start: int, end: int) -> pd.DataFrame:
        days = (str(_EPOCH + dt.timedelta(days=day)) for day in (start, end))
        return exchange_calendars.get_calendar(name, *days).schedule

    _fit_offsets_to_pandas()
    try:
        return between(first - _MARGIN, last + _MARGIN)
    except NotImplementedError as error:
        raise _broken(name) from error
    except (CalendarError, ValueError) as error:
        # The request is longer than the bars by a day and the margin: these alone may be out of range.
        lower, upper = exchange_reach(name)
        start = first - _MARGIN if lower is None else max(lower, first - _MARGIN)
        end = last + _MARGIN if upper is None else min(upper, last + _MARGIN)
        if start <= first + 1 and end >= last - 1:
            return between(start, end)
        dates = (_EPOCH + dt.timedelta(days=day) for day in (first, last))
        raise BadInputError(
            f"the calendar {name} does not reach from {' to '.join(map(str, dates))}: {error}"
        ) from error


@functools.cache
def _fit_offsets_to_pandas() -> None:
    """Adapt the offsets of `exchange_calendars` to pandas 3.1, which calls methods of other names.

    Without this, exchanges with an Orthodox Easter (ASEX, XBEL, XBSE, XCYS) and XTAE cannot be created, and XBOM and
    XMOS lack their sessions on Saturdays.
    """
    from exchange_calendars.pandas_extensions.offsets import CompositeCustomBusinessDay, OrthodoxEaster
    from pandas.tseries.offsets import CustomBusinessDay

    if hasattr(CustomBusinessDay, "_apply"):  # pandas before 3.1
        return

    def step(self: CustomBusinessDay, other: dt.datetime) -> dt.datetime:
        day = dt.timedelta(days=1 if self.n > 0 else -1)
        for _ in range(abs(self.n)):
            other = other + day
            while not self.is_on_offset(other):
                other = other + day
        return other

    fitted: tuple[tuple[type, str, object], ...] = (
        (OrthodoxEaster, "_add_datetime", getattr(OrthodoxEaster, "_apply", None)),
        (CompositeCustomBusinessDay, "_add_datetime", step),
        # Step day by day: pandas' shortcut for business days supports a single mask of weekdays.
        (CompositeCustomBusinessDay, "_supports_daily_offset_mask", False),
    )
    for offset, name, value in fitted:
        if name not in vars(offset):
            setattr(offset, name, value)


def _broken(name: str) -> BadInputError:
    from importlib.metadata import version

    installed = " and ".join(f"{package} {version(package)}" for package in ("exchange-calendars", "pandas"))
    return BadInputError(
        f"the calendar {name} cannot be made by the installed {installed}; say another one that keeps similar hours "
        "with --calendar"
    )
