"""Indicators on pandas DataFrames."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ktrdr.core.data.bars import Bars
from ktrdr.core.data.frame_rows import frame_columns, frame_times, is_times, numbers
from ktrdr.core.data.python_words import python_messages
from ktrdr.core.data.timeframe import Timeframe
from ktrdr.core.data.times import format_time
from ktrdr.core.data.vendor.vendor_columns import is_spelled
from ktrdr.core.errors import BadInputError, PluginError
from ktrdr.core.indicators.computation import compute_indicator
from ktrdr.core.indicators.registry import default_registry, get_indicator
from ktrdr.core.indicators.types import MEANS, IndicatorType

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["compute", "list"]

_COLUMNS = ("open", "high", "low", "close", "volume")


def list() -> pd.DataFrame:
    """Return all indicator types: KTRDR's own, then those of installed distributions.

    Returns:
        Index ``name``. Columns: ``parameters``, a dict of each parameter's default (``...`` where there is none);
        ``outputs``, a tuple of names; ``inputs``, a tuple of the columns that it reads, ``source`` for the one that the
        parameter ``source`` chooses; ``warmup``, the number of bars before the first value at the defaults, NaN if
        a parameter has no default; ``description``; ``origin``, the distribution; ``problem``, the reason why the type
        cannot be used, or empty.

    Example:
        >>> import ktrdr.core as kt
        >>> kt.indicators.list().loc["macd", ["parameters", "outputs"]].to_dict()["outputs"]
        ('macd', 'signal', 'histogram')
        >>> kt.indicators.list().loc["rsi", "parameters"]
        {'period': 14, 'source': 'close'}
    """
    import pandas as pd

    registry = default_registry()
    problems = dict(registry.problems())
    rows = []
    for name in registry.names():
        try:
            rows.append(_row(registry.get(name), registry.origin(name)))
        except PluginError as error:
            problems.setdefault(name, str(error))
    rows += [{"name": name, "problem": problem} for name, problem in problems.items()]
    columns = ["name", "parameters", "outputs", "inputs", "warmup", "description", "origin", "problem"]
    return pd.DataFrame(rows, columns=columns).set_index("name")


def compute(name: str, bars: pd.DataFrame | Bars, /, **parameters: Any) -> pd.Series | pd.DataFrame:
    """Compute an indicator.

    The value of a row depends only on that row and earlier ones. Rows in the warm-up are NaN. A row on which a column
    that the indicator reads is NaN has no value either, and the warm-up restarts after it.

    Args:
        name: of the indicator type, such as ``"rsi"``, or an alias; :func:`list` returns all.
        bars: a DataFrame as :func:`ktrdr.core.data.load` returns it, or with columns named otherwise that an import
            recognizes (``Close``, ``closing price``, ...); only the columns that the indicator reads are needed.
            Times, its index or a column, must ascend. Or :class:`~ktrdr.core.data.bars.Bars`.
        parameters: those that differ from their defaults, such as ``period=10``.

    Returns:
        float64, with the index of the DataFrame: a Series for an indicator with one output, else a DataFrame with a
        column per output. For ``Bars`` the index is their opens, ``datetime64[ns, UTC]``.

    Raises:
        BadInputError: there is no such indicator or parameter, a parameter is out of range, a column is missing or no
            number, or the times do not ascend.
        PluginError: the indicator is another distribution's, and failed.

    Example:
        >>> import ktrdr.core as kt
        >>> _ = kt.data.import_sample()
        >>> bars = kt.data.load("EURUSD", "1h")
        >>> kt.indicators.compute("rsi", bars, period=10).tail(2).round(2).tolist()
        [58.28, 63.43]
        >>> kt.indicators.compute("bbands", bars).columns.tolist()
        ['upper', 'middle', 'lower']
    """
    import pandas as pd

    with python_messages(noun="frame"):
        indicator = get_indicator(name)
        if isinstance(bars, Bars):
            given, index = bars, bars.to_frame().index
        else:
            given, index = _bars(indicator, bars, parameters), bars.index
        outputs = compute_indicator(name, parameters, given)
    if len(outputs) == 1:
        ((output, values),) = outputs.items()
        return pd.Series(values, index=index, name=output)
    return pd.DataFrame(outputs, index=index)


def _row(indicator: IndicatorType, origin: str) -> dict[str, Any]:
    parameters, problems = indicator.validate({})
    return {
        "name": indicator.name,
        "parameters": {each.name: ... if each.required else each.default for each in indicator.parameters},
        "outputs": indicator.outputs,
        "inputs": (*indicator.inputs, *(("source",) if indicator.has_source else ())),
        "warmup": None if problems else indicator.warmup(parameters),
        "description": indicator.description,
        "origin": origin,
        "problem": "",
    }


def _bars(indicator: IndicatorType, frame: Any, parameters: Mapping[str, Any]) -> Bars:
    """Return the columns of a frame that the indicator reads as bars; the others are NaN.

    Values depend neither on the symbol nor on the timeframe.
    """
    if getattr(getattr(frame, "columns", None), "nlevels", 1) > 1:
        raise BadInputError(
            "the frame has headings of several levels: keep the columns of one symbol, such as with"
            ' frame.xs("AAPL", axis=1, level=1)'
        )
    names, parts, _ = frame_columns(frame, {}, None)
    times = next(place for place, part in enumerate(parts) if _is_time(names[place], part))
    time = frame_times(parts[times], names[times]).utc
    late = np.flatnonzero(np.diff(time) <= 0)
    if len(late):
        row = int(late[0])
        before, after = (format_time(np.datetime64(int(time[each]), "ns")) for each in (row, row + 1))
        raise BadInputError(
            f"the frame, iloc[{row + 1}]: {after} does not come after {before}; put the rows in order of time with"
            " frame.sort_index(), and keep one row of each time"
        )
    wanted = _wanted(indicator, parameters)
    columns = {each: np.full(len(time), np.nan) for each in _COLUMNS}
    for each in wanted:
        place = next((place for place, text in enumerate(names) if is_spelled(each, text)), None)
        if place is None:
            raise BadInputError(
                f"indicator `{indicator.name}` reads {', '.join(wanted)}, and the frame has no column for {each}: name"
                f' a column so with frame.rename(columns={{"NAME": "{each}"}})'
            )
        columns[each] = numbers(parts[place], names[place])
    return Bars("FRAME", Timeframe("1m"), time.view("datetime64[ns]"), *columns.values())


def _wanted(indicator: IndicatorType, parameters: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the columns that the indicator reads with these parameters, in the order of a bar's."""
    values, problems = indicator.validate(parameters)
    source = () if problems or not indicator.has_source else MEANS.get(values["source"], (values["source"],))
    read = {*indicator.inputs, *source}
    return tuple(each for each in _COLUMNS if each in read)


def _is_time(name: str, values: Any) -> bool:
    return is_times(values) or is_spelled("time", name)
