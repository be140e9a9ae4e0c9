"""Look-ahead and recursive analysis of a whole feature pipeline, on real bars.

Look-ahead analysis computes everything again from data that ends at a random bar, and from data in which the bars after
it have other prices: a value at or before that bar that changes was computed from later bars. Recursive analysis begins
the data at a random bar: the number of bars on which values differ is the history that they need.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ktrdr.core.data.bars import Bars
from ktrdr.core.data.resample import resample
from ktrdr.core.errors import BadInputError
from ktrdr.core.features.columns import FeatureColumn
from ktrdr.core.features.pipeline import FeaturePipeline
from ktrdr.core.work.cancellation import Cancellation
from ktrdr.core.work.progress import NO_PROGRESS, Progress, ProgressEvent

__all__ = ["CheckReport", "Finding", "LabelValues", "check_pipeline"]

LEAST_BARS = 20
"""Minimum number of bars for an analysis."""

# Tolerances of equality: two orders of summation may differ in the last digits of float32.
_ROUNDING = 1e-7
_SETTLED = 1e-6

# Number of bars after a cut that get other prices. The data ends behind them, so that a cut costs about the same
# wherever it is.
_OTHER_BARS = 500


@dataclass(frozen=True, slots=True)
class LabelValues:
    """Labels to check.

    Attributes:
        values: float64 ``(n,)``; NaN where a bar has no label.
        span_end: int64 ``(n,)``; the last bar that each label depends on.
    """

    values: np.ndarray
    span_end: np.ndarray


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of the analysis of one feature, or of the labels.

    Attributes:
        id: feature id; ``label`` for the labels.
        leaks: number of cuts at which a value changed that should not have changed.
        bars_ahead: largest number of bars that a value depends on beyond those it may use; 0 without a leak.
        example: one such change: time, value without later bars (or with others, if ``other_bars``), value with later
            bars.
        other_bars: True if ``example`` is a value that changed with the prices of the later bars and not with their
            number.
        settles_after: bars of history after which the value no longer depends on where the data begins, to 1e-6
            relative; ``None`` if it still depended on it at the end.
    """

    id: str
    leaks: int
    bars_ahead: int
    example: tuple[np.datetime64, float, float] | None
    settles_after: int | None
    other_bars: bool = False


@dataclass(frozen=True, slots=True)
class CheckReport:
    """Result of :func:`check_pipeline`.

    Attributes:
        symbol: symbol of the bars.
        timeframe: base timeframe.
        bars: number of base bars.
        start: open of the first base bar, ``datetime64[ns]``, UTC.
        end: close of the last base bar, ``datetime64[ns]``, UTC.
        cuts: number of bars at which the data was ended, and after which the bars got other prices.
        starts: number of bars at which the data was begun.
        seed: seed of the random choice of those bars.
        history_seen: largest number of bars of history in the recursive analysis; 0 without one.
        warmup: base bars before the first complete row, as the pipeline declares it.
        look_ahead: bars that the labels declare to look ahead; ``None`` without a declaration.
        features: result for each feature, in model input order.
        labels: result for the labels; ``None`` if there were none.
        world: name of the synthetic market that the bars are from; empty for imported bars.
    """

    symbol: str
    timeframe: str
    bars: int
    start: np.datetime64
    end: np.datetime64
    cuts: int
    starts: int
    seed: int
    history_seen: int
    warmup: int
    look_ahead: int | None
    features: tuple[Finding, ...]
    labels: Finding | None
    world: str = ""

    @property
    def leaking(self) -> tuple[str, ...]:
        """Ids of the features, and ``label``, that depend on later bars than they may."""
        found = (*self.features, self.labels) if self.labels else self.features
        return tuple(finding.id for finding in found if finding.leaks)

    def to_json(self) -> dict[str, Any]:
        """Return the report as a JSON-ready map."""
        return {
            "symbol": self.symbol,
            "timeframe": self.timeframe,
            "world": self.world,
            "bars": self.bars,
            "start": str(self.start),
            "end": str(self.end),
            "cuts": self.cuts,
            "starts": self.starts,
            "seed": self.seed,
            "warmup": self.warmup,
            "history_seen": self.history_seen,
            "label_look_ahead": self.look_ahead,
            "clean": not self.leaking,
            "leaking": list(self.leaking),
            "features": [_finding_to_json(finding) for finding in self.features],
            "labels": _finding_to_json(self.labels) if self.labels else None,
        }


def _finding_to_json(finding: Finding) -> dict[str, Any]:
    example = None
    if finding.example:
        time, without, with_future = finding.example
        example = {
            "time": str(time),
            "without_future": without,
            "with_future": with_future,
            "other_bars": finding.other_bars,
        }
    return {
        "id": finding.id,
        "leaks": finding.leaks,
        "bars_ahead": finding.bars_ahead,
        "example": example,
        "settles_after": finding.settles_after,
    }


def check_pipeline(
    pipeline: FeaturePipeline,
    bars: Mapping[str, Bars],
    *,
    labels: Callable[[Bars], LabelValues] | None = None,
    look_ahead: int | None = None,
    derived: Sequence[str] = (),
    cuts: int = 100,
    starts: int = 8,
    seed: int = 0,
    progress: Progress = NO_PROGRESS,
    cancellation: Cancellation | None = None,
) -> CheckReport:
    """Compute features and labels of one symbol on many parts of ``bars``, and compare them with those of all bars.

    Args:
        pipeline: the pipeline to check. It need not be fitted: normalization is fitted on training rows by definition,
            and is not part of this check.
        bars: bars per timeframe, including the pipeline's base timeframe.
        labels: function from base bars to their labels. Labels look ahead by design; the check is that no label
            depends on bars after its own ``span_end``.
        look_ahead: number of bars that the labels declare to look ahead, also checked; ``None`` for no check.
        derived: timeframes to resample from each part of the base bars, as in live use.
        cuts: number of random bars at which to end the data, and after which the bars get other prices.
        starts: number of random bars at which to begin the data; 0 for no recursive analysis, after which
            ``settles_after`` has no meaning.
        seed: seed of the random choice.
        progress: receives an event after each part.
        cancellation: checked before each part; ``None`` for a check that cannot be cancelled.

    Raises:
        BadInputError: there are too few bars, or no bar has all features.
    """
    base_name = pipeline.timeframes[0]
    base = bars[base_name]
    if len(base) < LEAST_BARS:
        raise BadInputError(
            f"{base.symbol} {base_name} has {len(base)} bars; at least {LEAST_BARS} are needed to check anything,"
            " import more with `ktrdr data import`"
        )
    random = np.random.default_rng(seed)
    parts = _Parts(bars, base_name, tuple(derived))
    run = _Run(progress, cancellation or Cancellation())

    computed = pipeline.compute(parts.whole(), complete_rows=False)
    pipeline.require_rows(computed, bars=parts.whole())
    whole = computed.values
    scale = _scales(pipeline.columns, whole)
    tracks = [_Track(column.id) for column in pipeline.columns]
    label_track, whole_labels = _Track("label"), labels(base) if labels else None
    if whole_labels is not None:
        _check_spans(label_track, whole_labels, base, look_ahead)

    # Rows without values cannot reveal a leak, so the cuts begin where the features are warm.
    first = min(int(computed.warm.argmax()), len(base) - 2)
    for cut in run.over("look-ahead", _choose(random, first, len(base) - 1, cuts)):
        leaking: set[int] = set()
        for other_bars, known in ((False, parts.until(cut)), (True, parts.with_other_bars(cut))):
            part = pipeline.compute(known, complete_rows=False).values[: cut + 1]
            changed = _differs(whole[: cut + 1], part, _ROUNDING * scale)
            for position in set(np.flatnonzero(changed.any(axis=0)).tolist()) - leaking:
                row = int(changed[:, position].argmax())
                example = base.time[row], part[row, position], whole[row, position]
                tracks[position].leak(cut + 1 - row, example, other_bars)
                leaking.add(position)
            if (
                labels is not None
                and whole_labels is not None
                and len(tracks) not in leaking
                and _compare_labels(label_track, whole_labels, labels(known[base_name]), cut, base.time, other_bars)
            ):
                leaking.add(len(tracks))

    begins = _choose(random, len(base) // 3, 2 * len(base) // 3, starts)
    for begin in run.over("history", begins):
        part = pipeline.compute(parts.since(begin), complete_rows=False).values
        changed = _differs(whole[begin:], part, _SETTLED * scale)
        for track, column in zip(tracks, changed.T, strict=True):
            track.settle(column)
        if labels is not None and whole_labels is not None:
            label_track.settle(_differs(whole_labels.values[begin:], labels(base[begin:]).values, _SETTLED))

    return CheckReport(
        symbol=base.symbol,
        timeframe=base_name,
        bars=len(base),
        start=base.time[0],
        end=base.close_time[-1],
        cuts=min(cuts, len(base) - 1 - first),
        starts=len(begins),
        seed=seed,
        history_seen=len(base) - int(begins[0]) if len(begins) else 0,
        warmup=pipeline.warmup,
        look_ahead=look_ahead,
        features=tuple(track.finding() for track in tracks),
        labels=label_track.finding() if labels is not None else None,
        world=base.world,
    )


class _Track:
    """Collects the results for one feature."""

    def __init__(self, identifier: str) -> None:
        self._id = identifier
        self._leaks = 0
        self._ahead = 0
        self._example: tuple[np.datetime64, float, float] | None = None
        self._other_bars = False
        self._settles: int | None = 0

    def leak(self, ahead: int, example: tuple[np.datetime64, float, float], other_bars: bool = False) -> None:
        time, without, with_future = example
        self._leaks += 1
        self._ahead = max(self._ahead, ahead)
        if self._example is None:
            self._example, self._other_bars = (time, float(without), float(with_future)), other_bars

    def settle(self, changed: np.ndarray) -> None:
        """Record on which bars (bool ``(n,)``, from the first bar on) values depended on where the data begins."""
        rows = np.flatnonzero(changed)
        after = int(rows[-1]) + 1 if len(rows) else 0
        # Values that are equal on the last few bars only may be equal by chance, such as a saturated membership.
        if after > len(changed) - max(1, len(changed) // 10):
            self._settles = None
        elif self._settles is not None:
            self._settles = max(self._settles, after)

    def finding(self) -> Finding:
        return Finding(self._id, self._leaks, self._ahead, self._example, self._settles, self._other_bars)


class _Parts:
    """Parts of one symbol's bars in all timeframes, each limited to what was known at its end."""

    def __init__(self, bars: Mapping[str, Bars], base: str, derived: tuple[str, ...]) -> None:
        self._bars, self._base, self._derived = bars, base, derived

    def whole(self) -> dict[str, Bars]:
        return self._complete(dict(self._bars))

    def until(self, row: int) -> dict[str, Bars]:
        """Return the bars that were complete at the close of base bar ``row``."""
        base = self._bars[self._base]
        now = base.close_time[row]
        return self._complete(
            {
                name: bars[: int(np.searchsorted(bars.close_time, now, side="right"))]
                for name, bars in self._bars.items()
            }
        )

    def with_other_bars(self, row: int) -> dict[str, Bars]:
        """Return the bars that were complete at the close of base bar ``row``, and other bars after them."""
        base = self._bars[self._base]
        now, price = base.close_time[row], float(base.close[row])
        # A longer bar that began before the cut and ends after it was not complete.
        end = base.time[min(row + _OTHER_BARS, len(base) - 1)] + np.timedelta64(1, "ns")
        return self._complete(
            {
                name: _with_other_prices(
                    bars.between(None, end), int(np.searchsorted(bars.close_time, now, side="right")), price
                )
                for name, bars in self._bars.items()
            }
        )

    def since(self, row: int) -> dict[str, Bars]:
        """Return the bars from base bar ``row`` on."""
        begin = self._bars[self._base].time[row]
        return self._complete({name: bars.between(begin, None) for name, bars in self._bars.items()})

    def _complete(self, bars: dict[str, Bars]) -> dict[str, Bars]:
        return bars | {name: resample(bars[self._base], name) for name in self._derived}


def _with_other_prices(bars: Bars, first: int, price: float) -> Bars:
    """Return ``bars`` with other prices and volumes from position ``first`` on.

    The distance from ``price`` is doubled, in logarithms, and gets the other sign: neither the direction nor the size
    of a move stays the same.
    """
    later = slice(first, None)

    def other(values: np.ndarray, own: np.ndarray) -> np.ndarray:
        changed = values.copy()
        changed[later] = price * (price / own[later]) ** 2
        return changed

    volume = bars.volume.copy()
    volume[later] = 3 * volume[later] + 1
    # What was the high becomes the low.
    return replace(
        bars,
        open=other(bars.open, bars.open),
        high=other(bars.high, bars.low),
        low=other(bars.low, bars.high),
        close=other(bars.close, bars.close),
        volume=volume,
    )


class _Run:
    """Progress events and cancellation of the loops."""

    def __init__(self, progress: Progress, cancellation: Cancellation) -> None:
        self._progress, self._cancellation = progress, cancellation

    def over(self, step: str, rows: np.ndarray) -> Iterator[int]:
        for done, row in enumerate(rows):
            self._cancellation.raise_if_requested()
            yield int(row)
            self._progress(ProgressEvent(step, done + 1, len(rows), "bars", fraction=(done + 1) / len(rows)))


def _choose(random: np.random.Generator, first: int, stop: int, count: int) -> np.ndarray:
    """Return up to ``count`` different rows of ``[first, stop)``, ascending."""
    return np.sort(first + random.choice(stop - first, size=min(count, stop - first), replace=False))


def _scales(columns: Sequence[FeatureColumn], values: np.ndarray) -> np.ndarray:
    """Return the size of a large change of each column: 1 for memberships, else the standard deviation of all bars."""
    scales = np.ones(len(columns))
    for position, column in enumerate(columns):
        known = values[:, position][~np.isnan(values[:, position])]
        if column.kind != "membership" and len(known):
            scales[position] = known.std(dtype=np.float64)
    return scales


def _differs(one: np.ndarray, other: np.ndarray, absolute: np.ndarray | float) -> np.ndarray:
    """Return where values differ by more than 1e-6 of themselves plus ``absolute``; NaN equals NaN."""
    with np.errstate(invalid="ignore"):
        near = np.abs(one - other) <= _SETTLED * np.abs(one) + absolute
    differs: np.ndarray = ~(near | (np.isnan(one) & np.isnan(other)))
    return differs


def _check_spans(track: _Track, labels: LabelValues, base: Bars, look_ahead: int | None) -> None:
    """Record a leak if the ``span_end`` of a label is further ahead than ``look_ahead``."""
    if look_ahead is None:
        return
    beyond = np.where(np.isnan(labels.values), 0, labels.span_end - np.arange(len(base)) - look_ahead)
    if len(beyond) and beyond.max() > 0:
        row = int(beyond.argmax())
        track.leak(int(beyond[row]), (base.time[row], float("nan"), float(labels.values[row])))


def _compare_labels(
    track: _Track, whole: LabelValues, part: LabelValues, cut: int, time: np.ndarray, other_bars: bool
) -> bool:
    """Compare the labels whose ``span_end``, in all data or in the part, is not after bar ``cut``.

    Returns:
        True if one of them changed.
    """
    rows = cut + 1
    known, own = whole.values[:rows], part.values[:rows]
    complete = (~np.isnan(known) & (whole.span_end[:rows] <= cut)) | (~np.isnan(own) & (part.span_end[:rows] <= cut))
    changed = complete & _differs(known, own, _ROUNDING)
    if not changed.any():
        return False
    row = int(changed.argmax())
    # The label should be known at span_end, and yet it changed with bars after the cut.
    reach = cut + 1 - min(int(whole.span_end[row]), cut)
    track.leak(reach, (time[row], own[row], known[row]), other_bars)
    return True
