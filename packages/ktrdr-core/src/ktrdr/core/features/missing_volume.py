"""Detection of missing volume, and the messages about it. Bars always have prices, but may lack volume."""

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
    """Missing volume that an indicator or a filter reads.

    Attributes:
        reader: id of the indicator, or key of the strategy, that reads the volume; for messages.
        type: type of the indicator; empty if the reader is not an indicator.
        timeframe: timeframe of the bars.
        bars: number of bars.
        missing: number of bars without volume.
        first: open of the first bar without volume, ``datetime64[ns]``, UTC.
        needed: number of consecutive bars with volume that the reader needs for its first value.
        longest: largest number of consecutive bars with volume.
        above_zero: whether a volume of 0 counts as missing, too.
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
    """Base bars of one symbol that lose their features because volume is missing.

    Attributes:
        rows: number of base bars that lose their features.
        known: number of base bars that would have features if no volume were missing.
        missing: missing volume by reader; at least one.
    """

    rows: int
    known: int
    missing: tuple[MissingVolume, ...]

    @property
    def reason(self) -> str:
        """Clause that says where volume is missing and what needs it."""
        # A reader without any value explains more than a reader that lacks some.
        named = [each for each in self.missing if each.longest < each.needed] or list(self.missing)
        parts: dict[tuple[str, bool], list[MissingVolume]] = {}
        for each in named:
            parts.setdefault((each.timeframe, each.above_zero), []).append(each)
        return "; ".join(_reason(part) for part in parts.values())

    @property
    def statement(self) -> str:
        """Sentence that says how many bars lose their features, why, and what to do."""
        return f"{self.rows:,} of {self.known:,} bars have no features for lack of volume: {self.reason}; {self.remedy}"

    @property
    def remedy(self) -> str:
        """Clause that says what to do."""
        readers = list(dict.fromkeys(f"`{each.reader}`" for each in self.missing))
        other = "an indicator that does not read it" if len(readers) == 1 else "indicators that do not read it"
        return f"import bars that have a volume, or use {other} in place of {' and '.join(readers)}"


def find_missing_volume(
    strategy: Strategy, sources: Iterable[Source], bars: Mapping[str, Bars]
) -> tuple[MissingVolume, ...]:
    """Return the missing volume, one entry per indicator and timeframe, in order of ``sources``.

    Args:
        strategy: strategy that defines the indicators.
        sources: indicators to check, with their timeframes.
        bars: one symbol's bars per timeframe.
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
    """Return the missing volume of ``bars`` for one reader; ``None`` if none is missing. See :class:`MissingVolume`."""
    present = bars.volume > 0 if above_zero else ~np.isnan(bars.volume)
    missing = np.flatnonzero(~present)
    if not len(missing):
        return None
    # The largest gap between two bars without volume, counting both ends of the data as such bars.
    longest = int(np.diff(missing, prepend=-1, append=len(present)).max()) - 1
    return MissingVolume(
        reader,
        type_name,
        bars.timeframe.name,
        len(present),
        len(missing),
        bars.time[missing[0]],
        needed,
        longest,
        above_zero,
    )


def with_volume(bars: Mapping[str, Bars], *, above_zero: bool = False) -> dict[str, Bars]:
    """Return ``bars`` with a volume of 1 where it is missing, or with ``above_zero`` also where it is 0.

    Indicators of these bars show which bars would have a value if no volume were missing; the values mean nothing.
    """
    filled = {}
    for timeframe, own in bars.items():
        present = own.volume > 0 if above_zero else ~np.isnan(own.volume)
        filled[timeframe] = (
            own if present.all() else dataclasses.replace(own, volume=np.where(present, own.volume, 1.0))
        )
    return filled


def _reason(missing: Sequence[MissingVolume]) -> str:
    """Return the clause about readers of the same bars."""
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
