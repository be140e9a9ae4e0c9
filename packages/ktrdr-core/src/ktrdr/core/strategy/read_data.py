"""Reads the sections ``training_data`` and ``deployment`` of a strategy."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence

from ktrdr.core.data.timeframe import TIMEFRAMES
from ktrdr.core.dates import parse_day
from ktrdr.core.errors import BadInputError
from ktrdr.core.names import check_symbol
from ktrdr.core.parameters import did_you_mean
from ktrdr.core.strategy.model import DateRange, Deployment, TrainingDataSection
from ktrdr.core.strategy.section import Section, kind_of
from ktrdr.core.strategy.section_parameters import parameter_of

__all__ = ["HISTORY", "read_deployment", "read_training_data"]

HISTORY = (
    parameter_of(
        TrainingDataSection,
        "history_required",
        "int",
        minimum=0,
        maximum=10_000_000,
        description="number of bars to read before the first usable bar, if it is more than the indicators need",
    ),
)


def read_training_data(section: Section) -> TrainingDataSection | None:
    """Return the data that the strategy is trained on, or ``None`` after reporting an error."""
    symbols = _read_symbols(section)
    timeframes = _read_timeframes(section)
    dates = _read_dates(section)
    history = section.parameters(HISTORY)
    section.finish({"symbol": "write `symbols: {mode: single, symbol: EURUSD}`"})
    if symbols is None or timeframes is None or dates is None or history is None:
        return None
    names, base = timeframes
    return TrainingDataSection(
        symbols=tuple(symbols), timeframes=tuple(names), base_timeframe=base, date_range=dates, **history
    )


def _read_symbols(section: Section) -> list[str] | None:
    example = "{mode: single, symbol: EURUSD}"
    part = section.section("symbols", required=f"for example `symbols: {example}`", example=f"symbols: {example}")
    if part is None:
        return None
    symbols = _one_or_list(part, "symbol", "multi_symbol")
    part.finish()
    return _checked_symbols(part, symbols)


def _checked_symbols(part: Section, symbols: list[str] | None) -> list[str] | None:
    wrong = False
    for symbol in symbols or ():
        try:
            check_symbol(symbol)
        except BadInputError as error:
            part.error("symbol" if part.has("symbol") else "list", str(error))
            wrong = True
    return None if wrong else symbols


def _read_timeframes(section: Section) -> tuple[list[str], str] | None:
    example = "{mode: single, timeframe: 1h}"
    part = section.section("timeframes", required=f"for example `timeframes: {example}`", example=example)
    if part is None:
        return None
    names = _one_or_list(part, "timeframe", "multi_timeframe")
    base = part.text("base_timeframe")
    part.finish()
    if names is None:
        return None
    names_fit = check_timeframes(part, "timeframe" if part.has("timeframe") else "list", names)
    if base is not None and base not in names:
        if base not in TIMEFRAMES:
            part.error("base_timeframe", unknown_timeframe(base))
        else:
            part.error(
                "base_timeframe",
                f"`base_timeframe: {base}` is not one of the timeframes {', '.join(names)}; choose one of them",
            )
        return None
    return (names, base or names[0]) if names_fit else None


def check_timeframes(section: Section, key: str, names: Sequence[str]) -> bool:
    """Report every timeframe that does not exist. Return True if all of them exist."""
    unknown = [name for name in names if name not in TIMEFRAMES]
    for name in unknown:
        section.error(key, unknown_timeframe(name))
    return not unknown


def unknown_timeframe(name: str) -> str:
    """Return the message for an unknown timeframe, with the known ones."""
    if name.lower() in TIMEFRAMES:
        return f"unknown timeframe `{name}`{did_you_mean(name, TIMEFRAMES)}"
    known = f"use one of {', '.join(TIMEFRAMES)}"
    if re.fullmatch(r"\d+\s*[a-zA-Z]+", name):
        return f"unknown timeframe `{name}`; {known}: each is a whole multiple of the shorter ones"
    return f"unknown timeframe `{name}`; {known}"


def _one_or_list(part: Section, single: str, multiple: str) -> list[str] | None:
    """Read ``{mode: single, <single>: x}`` or ``{mode: <multiple>, list: [x, y]}``."""
    mode = part.choice("mode", ("single", multiple), required=f"`single` or `{multiple}`")
    if mode is None:
        for key in (single, "list"):
            part.node(key)
        return None
    one = part.text(single)
    many = part.texts("list")
    if mode == multiple:
        if one is not None:
            part.error(
                single, f"`mode: {multiple}` takes `list`, not `{single}`; write `list: [...]`, or `mode: single`"
            )
            return None
        if many is None and not part.has("list"):
            part.error("mode", f"`mode: {multiple}` needs `list: [...]`")
        return many
    if one is not None and part.has("list"):
        part.error("list", f"`mode: single` takes `{single}` or a `list` of one, not both; remove one of them")
        return None
    if one is not None:
        return [one]
    if not part.has("list"):
        if not part.has(single):
            part.error("mode", f"`mode: single` needs `{single}: ...`")
        return None
    if many is not None and len(many) > 1:
        part.error("list", f"`mode: single` takes one {single}, not {len(many)}; write `mode: {multiple}` for several")
        return None
    return many


def _read_dates(section: Section) -> DateRange | None:
    part = section.section("date_range", example="{start: 2015-01-01, end: 2020-12-31}")
    beside = [key for key in ("start_date", "end_date") if section.has(key)]
    if part is not None and beside:
        section.error(beside[0], f"dates are given twice: as `{beside[0]}` and as `date_range`; keep one")
        return None
    if section.has("date_range") and part is None:
        return None
    where, keys = (section, ("start_date", "end_date")) if part is None else (part, ("start", "end"))
    start, end = (_read_date(where, key) for key in keys)
    for key in ("start_date", "end_date"):
        section.node(key)
    if part is not None:
        part.finish()
    if any(where.has(key) and value is None for key, value in zip(keys, (start, end), strict=True)):
        return None
    if start is not None and end is not None and start > end:
        where.error(keys[0], f"`{keys[0]}: {start}` is after `{keys[1]}: {end}`; change one of them")
        return None
    return DateRange(start=start, end=end)


def _read_date(section: Section, key: str) -> dt.date | None:
    text = section.text(key)
    if text is None:
        return None
    try:
        return parse_day(text)
    except BadInputError as error:
        section.error(key, f"`{key}`: {error}")
        return None


def read_deployment(section: Section, data: TrainingDataSection | None) -> Deployment | None:
    """Return the data that a trained model may be used on, or ``None`` after reporting an error."""
    symbols_fit, symbols = _read_targets(section, "target_symbols", data.symbols if data else None)
    timeframes_fit, timeframes = _read_targets(section, "target_timeframes", data.timeframes if data else None)
    section.finish()
    if symbols is not None:
        symbols_fit &= _checked_deployment_symbols(section, symbols)
    if timeframes is not None:
        timeframes_fit &= check_timeframes(section, "target_timeframes", timeframes)
    if not (symbols_fit and timeframes_fit):
        return None
    if data is not None and timeframes is not None and data.base_timeframe not in timeframes:
        section.warn(
            "target_timeframes",
            f"the base timeframe `{data.base_timeframe}` is missing here, so every backtest will be refused; add it",
        )
    return Deployment(target_symbols=symbols, target_timeframes=timeframes)


def _checked_deployment_symbols(section: Section, symbols: Sequence[str]) -> bool:
    fits = True
    for symbol in symbols:
        try:
            check_symbol(symbol)
        except BadInputError as error:
            section.error("target_symbols", str(error))
            fits = False
    return fits


def _read_targets(
    section: Section, key: str, trained_on: tuple[str, ...] | None
) -> tuple[bool, tuple[str, ...] | None]:
    """Read a list, or the map of older files: ``{mode: universal | training_only | ..., list | supported: [...]}``.

    Returns whether it is valid, and the names; ``None`` for no restriction.
    """
    node = section.node(key)
    if node is None:
        return True, None
    if isinstance(node.value, list):
        names = section.texts(key)
        return names is not None, None if names is None else tuple(names)
    if not isinstance(node.value, dict):
        section.error(key, f"`{key}` must be a list, such as `[EURUSD]`, not {kind_of(node)}")
        return False, None
    part = Section(section.report, section.entries[key], node.value, section.path_of(key))
    mode = part.text("mode")
    names = part.texts("list") if part.has("list") else part.texts("supported")
    listed = part.has("list") or part.has("supported")
    for known in ("list", "supported"):
        part.node(known)
    part.finish({"groups": f"groups of symbols are not supported; write a list: `{key}: [EURUSD, GBPUSD]`"})
    if part.has("list") and part.has("supported"):
        part.error("supported", "`list` and `supported` mean the same; keep one of them")
        return False, None
    if listed:
        if mode in ("universal", "training_only"):
            part.error("mode", f"`mode: {mode}` takes no list; remove one of them")
            return False, None
        return names is not None, None if names is None else tuple(names)
    if mode == "universal":
        return True, None
    if mode == "training_only":
        return True, trained_on
    part.error(
        "mode" if part.has("mode") else None,
        f"`{key}` has no list; write one, such as `{key}: [...]`, or `mode: universal` for no restriction",
    )
    return False, None
