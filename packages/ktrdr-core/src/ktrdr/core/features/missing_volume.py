"""Which bars lack the volume that something reads, and what to say of that. Prices are never missing, volume may be."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ktrdr.core.data.bars import Bars
from ktrdr.core.data.times import format_time
from ktrdr.core.features.sources import Source
from ktrdr.core.indicators.registry import get_indicator
from ktrdr.core.strategy.model import Strategy

__all__ = ["MissingVolume", "VolumeLoss", "find_missing_volume", "measure_missing", "with_volume"]


@dataclass(frozen=True, slots=True)
class MissingVolume:
    """Volume that something reads and that some bars lack.

    Attributes:
        reader: what reads it, for messages: an indicator's id, or a key of the strategy.
        type: of the indicator; empty if it is none.
        timeframe: of the bars.
        bars: how many there are.
        missing: how many of them lack it.
        first: open of the first that does, ``datetime64[ns]``.
        needed: volumes in a row that the first value takes.
        longest: most volumes in a row that there are.
        above_zero: a volume of 0 counts as missing too.
    """

    reader: str
    type: str
    timeframe: str
    bars: int
    missing: int
    first: np.datetime64
    needed: int
    longest: int
    above_zero: bool = False


@dataclass(frozen=True, slots=True)
class VolumeLoss:
    """What missing volume costs one symbol.

    Attributes:
        rows: base bars that would have what is wanted of them if no volume were missing, and have not.
        known: base bars that would have it.
        missing: what is missing; at least one.
    """

    rows: int
    known: int
    missing: tuple[MissingVolume, ...]

    @property
    def reason(self) -> str:
        """Where volume is missing and what needs it: a clause."""
        # What can have no value at all explains more than what has some.
        named = [each for each in self.missing if each.longest < each.needed] or list(self.missing)
        parts: dict[tuple[str, bool], list[MissingVolume]] = {}
        for each in named:
            parts.setdefault((each.timeframe, each.above_zero), []).append(each)
        return "; ".join(_reason(part) for part in parts.values())

    @property
    def statement(self) -> str:
        """What it costs, and why, and what to do: a sentence."""
        return f"missing volume costs {self.rows:,} of {self.known:,} bars their features: {self.reason}; {self.remedy}"

    @property
    def remedy(self) -> str:
        """What to do: a clause."""
        readers = list(dict.fromkeys(f"`{each.reader}`" for each in self.missing))
        other = "an indicator that does not read it" if len(readers) == 1 else "indicators that do not read it"
        return f"import bars that have a volume, or use {other} in place of {' and '.join(readers)}"


def find_missing_volume(
    strategy: Strategy, sources: Iterable[Source], bars: Mapping[str, Bars]
) -> tuple[MissingVolume, ...]:
    """Return what lacks volume, one entry per indicator and timeframe, in order of ``sources``.

    Args:
        strategy: defines the indicators.
        sources: what is read.
        bars: of one symbol, per timeframe.
    """
    found: dict[tuple[str, str], MissingVolume | None] = {}
    for timeframe, reference in sources:
        identifier = reference.partition(".")[0]
        if (timeframe, identifier) in found:
            continue
        definition = strategy.indicators[identifier]
        indicator = get_indicator(definition.type)
        by_source = indicator.has_source and definition.parameters["source"] == "volume"
        if by_source or "volume" in indicator.inputs:
            found[timeframe, identifier] = measure_missing(
                bars[timeframe],
                identifier,
                indicator.warmup(definition.parameters) + 1,
                type_name=indicator.name,
                above_zero=by_source and indicator.positive,
            )
    return tuple(each for each in found.values() if each is not None)


def measure_missing(
    bars: Bars, reader: str, needed: int, *, type_name: str = "", above_zero: bool = False
) -> MissingVolume | None:
    """Return the missing volume of ``bars`` for one reader; None if none is missing. See :class:`MissingVolume`."""
    there = bars.volume > 0 if above_zero else ~np.isnan(bars.volume)
    missing = np.flatnonzero(~there)
    if not len(missing):
        return None
    # The bars between one that lacks it and the next, the ends of the data included.
    longest = int(np.diff(missing, prepend=-1, append=len(there)).max()) - 1
    return MissingVolume(
        reader,
        type_name,
        bars.timeframe.name,
        len(there),
        len(missing),
        bars.time[missing[0]],
        needed,
        longest,
        above_zero,
    )


def with_volume(bars: Mapping[str, Bars], *, above_zero: bool = False) -> dict[str, Bars]:
    """Return ``bars`` with a volume of 1 where there is none, or with ``above_zero`` also where it is 0.

    They tell what would be known of the bars if no volume were missing, not what it would be.
    """
    filled = {}
    for timeframe, own in bars.items():
        there = own.volume > 0 if above_zero else ~np.isnan(own.volume)
        filled[timeframe] = own if there.all() else dataclasses.replace(own, volume=np.where(there, own.volume, 1.0))
    return filled


def _reason(missing: Sequence[MissingVolume]) -> str:
    """Return the clause for readers of the same bars."""
    first = missing[0]
    what = "volume above 0" if first.above_zero else "volume"
    if first.missing == first.bars:
        readers = " and ".join(_named(each) for each in missing)
        read = "reads" if len(missing) == 1 else "read"
        return f"none of its {first.bars:,} {first.timeframe} bars has a {what}, which {readers} {read}"
    have = "has" if first.missing == 1 else "have"
    needs = ", ".join(
        f"{_named(each)} needs {'it' if each.needed == 1 else f'{each.needed:,} in a row'}" for each in missing
    )
    never = ""
    if first.longest < max(each.needed for each in missing):
        never = f", of which there {'is' if first.longest == 1 else 'are'} never more than {first.longest:,}"
    return (
        f"{first.missing:,} of its {first.bars:,} {first.timeframe} bars {have} no {what} (the first:"
        f" {format_time(first.first)}), and {needs}{never}"
    )


def _named(missing: MissingVolume) -> str:
    return f"`{missing.reader}`" + (f" ({missing.type})" if missing.type and missing.type != missing.reader else "")
