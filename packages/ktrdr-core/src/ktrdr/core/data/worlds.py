"""The world of bars: imported ones, or a synthetic market with a name."""

from __future__ import annotations

from collections.abc import Iterable

from ktrdr.core.data.bars import Bars
from ktrdr.core.errors import BadInputError

__all__ = ["common_world", "market_words"]


def market_words(world: str) -> str:
    """Return ``bars of the synthetic market mean_reversion-7``, or ``imported bars``."""
    return f"bars of the synthetic market {world}" if world else "imported bars"


def common_world(bars: Iterable[Bars]) -> str:
    """Return the world that all ``bars`` are of; see :attr:`.Bars.world`.

    Args:
        bars: of one symbol or several, at least one.

    Raises:
        BadInputError: they are of different worlds.
    """
    first, *others = bars
    for other in others:
        if other.world != first.world:
            raise BadInputError(
                f"the symbols are of different markets: {first.symbol} has {market_words(first.world)}, {other.symbol} "
                f"{market_words(other.world)}; choose symbols of one market"
            )
    return first.world
