"""Overrides of a strategy for one run, written into the strategy that the model keeps."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from ktrdr.core.data.symbols import check_symbol
from ktrdr.core.errors import BadInputError
from ktrdr.core.strategy.model import Strategy

__all__ = ["override"]

_LARGEST_SEED = 2**32 - 1


def override(
    strategy: Strategy,
    *,
    symbols: Sequence[str] | None = None,
    start: dt.date | None = None,
    end: dt.date | None = None,
    seed: int | None = None,
    epochs: int | None = None,
) -> Strategy:
    """Return ``strategy`` with what is not ``None`` in place of what it says. Days are UTC and inclusive.

    Raises:
        BadInputError: a value is out of range, a symbol is not one or comes twice, or the dates are reversed.
    """
    data = strategy.training_data
    data_changes: dict[str, Any] = {}
    if symbols is not None:
        data_changes["symbols"] = _checked_symbols(symbols)
    dates = {name: day for name, day in (("start", start), ("end", end)) if day is not None}
    if dates:
        date_range = data.date_range.model_copy(update=dates)
        if date_range.start and date_range.end and date_range.start > date_range.end:
            raise BadInputError(
                f"the dates to train on begin ({date_range.start}) after they end ({date_range.end});"
                " both days are included, so give a start that is not after the end"
            )
        data_changes["date_range"] = date_range

    training = strategy.training
    training_changes: dict[str, Any] = {}
    if seed is not None:
        training_changes["seed"] = _in_range("seed", seed, 0, _LARGEST_SEED)
    if epochs is not None:
        training_changes["epochs"] = _in_range("epochs", epochs, 1, 1_000_000)
        # As if the file said so: refused where the model type has no epochs.
        training_changes["given"] = tuple(dict.fromkeys((*training.given, "epochs")))
    return strategy.model_copy(
        update={
            "training_data": data.model_copy(update=data_changes),
            "training": training.model_copy(update=training_changes),
        }
    )


def _checked_symbols(symbols: Sequence[str]) -> tuple[str, ...]:
    if not symbols:
        raise BadInputError("there are no symbols to train on; name at least one")
    for symbol in symbols:
        check_symbol(symbol)
        if list(symbols).count(symbol) > 1:
            raise BadInputError(f"symbol `{symbol}` is given twice; name each once")
    return tuple(symbols)


def _in_range(name: str, value: int, least: int, most: int) -> int:
    if not least <= value <= most:
        raise BadInputError(f"{name} must be from {least} to {most:,}, not {value}")
    return value
