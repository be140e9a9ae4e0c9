"""Worlds of bars: copies of a market in which no direction can be predicted, and copies that keep autocorrelation.

The symbols of a market share a timeline, the union of their times. Signs and drawn bars are those of a time, the same
for all symbols, so that what moves together at a time does so in a world.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeAlias

import numpy as np

from ktrdr.core.data.bars import Bars
from ktrdr.core.data.consistency import check_bars
from ktrdr.core.synthetic.random_streams import uniforms
from ktrdr.core.verdicts.garch_worlds import GarchModel, garch_model
from ktrdr.core.verdicts.linear_worlds import block_bootstrap, block_size, normal_scores, order_like, random_phases
from ktrdr.core.verdicts.relative_bars import CLOSE, bars_of_moves, moves_of
from ktrdr.core.verdicts.sign_flips import flip

__all__ = ["WORLD_KINDS", "WorldMaker"]

WORLD_KINDS = ("sign_flips", "garch", "random_phases", "block_bootstrap")
"""Kinds of worlds. No direction can be predicted in the first two; the others keep the autocorrelation of returns."""

# Moves and volumes of the bars after the first.
_Changed: TypeAlias = tuple[np.ndarray, np.ndarray]

# Streams of random numbers that a world may use, and most kinds of worlds.
_STREAMS = 4
_MOST_KINDS = 16


@dataclass(frozen=True, slots=True, eq=False)
class _Market:
    """A symbol with at least two bars; ``m`` is the number of its bars after the first.

    Attributes:
        bars: the bars.
        moves: float64 ``(4, m)``.
        mean: mean log return.
        places: int64 ``(m,)``: position of each bar on the timeline.
        bar_at: int64 ``(times,)``: bar of each time of the timeline, counted from the second one. Times without a
            bar have the bars of the symbol in turn, so the numbers of times of two bars differ by one at most.
    """

    bars: Bars
    moves: np.ndarray
    mean: float
    places: np.ndarray
    bar_at: np.ndarray

    def taken(self, rows: np.ndarray) -> _Changed:
        """Return moves and volumes of the bars at ``rows``, counted from the second one."""
        return self.moves[:, rows], self.bars.volume[1:][rows]


class WorldMaker:
    """Makes worlds of some bars.

    The worlds of a kind are numbered from 0, and each is the same whatever the number of worlds and their order.

    Args:
        base: bars by symbol, of one timeframe; the symbols may have different times.
        seed: seed of the random numbers, not negative.

    Raises:
        BadInputError: bars have errors, such as a price that is not above 0 and so has no logarithm.
    """

    def __init__(self, base: Mapping[str, Bars], seed: int) -> None:
        for bars in base.values():
            check_bars(bars)
        self._base = dict(base)
        self._seed = seed
        times = [bars.time for bars in base.values()]
        self._timeline = np.unique(np.concatenate(times)) if times else np.zeros(0, dtype="datetime64[ns]")
        # A single bar never moves, so it is the same in each world.
        self._markets = {symbol: self._market(bars) for symbol, bars in base.items() if len(bars) > 1}

    def bars(self, kind: str, number: int) -> dict[str, Bars]:
        """Return a world.

        The first bar of each symbol is that of the market, and so are all times. Bars of ``sign_flips`` also keep their
        volume; bars of the other kinds have the volume of the bar that they are made from.

        Args:
            kind: one of :data:`WORLD_KINDS`.
            number: number of the world, from 0.

        Returns:
            Bars by symbol, in the order of ``base``. Their ``world`` names kind and number, as they are no prices of a
            real market.

        Raises:
            ValueError: there is no such kind, or the number is negative.
        """
        if kind not in WORLD_KINDS or number < 0:
            raise ValueError(f"there is no world {number} of the kind {kind!r}")
        make: dict[str, Callable[[int], dict[str, _Changed]]] = {
            "sign_flips": self._sign_flips,
            "garch": self._garch,
            "random_phases": self._random_phases,
            "block_bootstrap": self._block_bootstrap,
        }
        changed = make[kind](_STREAMS * (_MOST_KINDS * number + WORLD_KINDS.index(kind)))
        worlds = {}
        for symbol, bars in self._base.items():
            name = f"{kind}-{number}" + (f" of {bars.world}" if bars.world else "")
            if symbol in changed:
                moves, volume = changed[symbol]
                worlds[symbol] = bars_of_moves(bars, moves, np.concatenate((bars.volume[:1], volume)), name)
            else:
                worlds[symbol] = replace(bars, world=name)
        return worlds

    def _market(self, bars: Bars) -> _Market:
        moves = moves_of(bars)
        places = np.searchsorted(self._timeline, bars.time[1:])
        count = len(places)
        bar_at = np.empty(len(self._timeline), dtype=np.int64)
        absent = np.ones(len(self._timeline), dtype=bool)
        absent[places] = False
        bar_at[places] = np.arange(count)
        bar_at[absent] = np.arange(len(bar_at) - count) % count
        return _Market(bars, moves, float(moves[CLOSE].mean()), places, bar_at)

    def _sign_flips(self, stream: int) -> dict[str, _Changed]:
        flipped = self._coins(stream)
        return {
            symbol: (flip(market.moves, market.mean, flipped[market.places]), market.bars.volume[1:])
            for symbol, market in self._markets.items()
        }

    @cached_property
    def _garch_models(self) -> dict[str, GarchModel]:
        return {
            symbol: garch_model(market.moves, market.mean, market.bars.volume[1:])
            for symbol, market in self._markets.items()
        }

    def _garch(self, stream: int) -> dict[str, _Changed]:
        flipped = self._coins(stream)
        times = len(self._timeline)
        drawn = np.ceil(times * uniforms(self._seed, stream + 1, times)).astype(np.int64) - 1
        return {
            symbol: self._garch_models[symbol].world(market.bar_at[drawn[market.places]], flipped[market.places])
            for symbol, market in self._markets.items()
        }

    @cached_property
    def _scores(self) -> dict[str, np.ndarray]:
        """Normal scores of the returns on the timeline, float64 ``(times,)``; 0, their mean, at times without a bar."""
        scores = {}
        for symbol, market in self._markets.items():
            scores[symbol] = np.zeros(len(self._timeline))
            scores[symbol][market.places] = normal_scores(market.moves[CLOSE])
        return scores

    def _random_phases(self, stream: int) -> dict[str, _Changed]:
        phases = 2 * math.pi * uniforms(self._seed, stream, len(self._timeline) // 2 + 1)
        return {
            symbol: market.taken(
                order_like(random_phases(self._scores[symbol], phases)[market.places], market.moves[CLOSE])
            )
            for symbol, market in self._markets.items()
        }

    @cached_property
    def _block(self) -> int:
        return block_size([market.moves[CLOSE] for market in self._markets.values()], len(self._timeline))

    def _block_bootstrap(self, stream: int) -> dict[str, _Changed]:
        if not self._markets:
            return {}
        times = len(self._timeline)
        drawn = block_bootstrap(uniforms(self._seed, stream, times), times, self._block)
        return {symbol: market.taken(market.bar_at[drawn[market.places]]) for symbol, market in self._markets.items()}

    def _coins(self, stream: int) -> np.ndarray:
        """Return a coin of each time, bool ``(times,)``."""
        return uniforms(self._seed, stream, len(self._timeline)) > 0.5
