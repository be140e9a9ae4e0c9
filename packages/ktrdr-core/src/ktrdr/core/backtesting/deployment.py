"""Limits of a strategy's ``deployment`` section on the symbols and timeframes of a backtest."""

from __future__ import annotations

from collections.abc import Sequence

from ktrdr.core.errors import BadInputError
from ktrdr.core.models.manifest import Manifest
from ktrdr.core.names import check_symbol

__all__ = ["symbols_to_trade"]


def symbols_to_trade(manifest: Manifest, asked: Sequence[str] | None) -> tuple[str, ...]:
    """Return the symbols of a backtest.

    These are the requested symbols. Without a request they are the symbols of the training that the strategy's
    ``deployment`` allows, and if it allows none of those, all symbols that ``deployment`` names.

    Args:
        manifest: manifest of the model.
        asked: requested symbols; ``None`` for the default.

    Raises:
        BadInputError: the base timeframe or a requested symbol is outside ``deployment``.
    """
    strategy = manifest.strategy
    allowed, timeframes = strategy.deployment.target_symbols, strategy.deployment.target_timeframes
    base = strategy.training_data.base_timeframe
    if timeframes is not None and base not in timeframes:
        raise BadInputError(
            f"model {manifest.ref} decides on {base} bars, and its strategy's deployment.target_timeframes allows only"
            f" {', '.join(timeframes)}; add {base} there and train it again"
        )
    if asked is not None:
        for symbol in asked:
            check_symbol(symbol)
            if allowed is not None and symbol not in allowed:
                raise BadInputError(
                    f"model {manifest.ref} must not be used on {symbol}: its strategy's deployment.target_symbols"
                    f" allows only {', '.join(allowed)}"
                )
        return tuple(asked)
    trained = strategy.training_data.symbols
    if allowed is None:
        return trained
    return tuple(symbol for symbol in trained if symbol in allowed) or allowed
