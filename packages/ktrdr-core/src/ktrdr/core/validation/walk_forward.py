"""Training and test parts of walk-forward validation, in bars or durations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ktrdr.core.data.times import format_time
from ktrdr.core.errors import BadInputError
from ktrdr.core.limits import MOST_FOLDS
from ktrdr.core.strategy.model import WalkForwardValidation
from ktrdr.core.strategy.part_length import read_length
from ktrdr.core.validation.fold_plan import Range

__all__ = ["before_words", "smaller_words", "walk_forward_parts"]

_LATEST = np.iinfo(np.int64).max


def walk_forward_parts(
    validation: WalkForwardValidation, time: np.ndarray, *, bar: np.timedelta64, look_ahead: int, reserved: int = 0
) -> Iterator[tuple[Range, Range]]:
    """Yield training and test part of each fold, before purge and embargo.

    The first test part begins after the training part of the first fold. Durations are counted from the first bar on,
    whether there are bars at that time or not, so weekends do not move the parts. Left out are test parts without bars,
    those that the next one begins at the same bar as, and a last one that the end of the data cuts to ``look_ahead``
    bars or fewer.

    Args:
        validation: lengths of the parts.
        time: ``datetime64[ns]`` ascending: opens of the bars, not empty.
        bar: length of a bar.
        look_ahead: largest number of bars that a label depends on after its row.
        reserved: number of bars in the reserve, which ``time`` is without.

    Raises:
        BadInputError: there is no bar to test, there are more folds than are allowed, a duration is shorter than a bar,
            or bars between two test parts are in neither.
    """
    clock = _Clock(time.astype(np.int64))
    train, test = (_length(validation, key, bar) for key in ("train", "test"))
    step = test if validation.step is None else _length(validation, "step", bar)
    place = clock.moved(_Place(int(clock.moments[0]), 0), train)
    if place.row >= len(time):
        raise BadInputError(
            f"`validation.train: {validation.train}` leaves no bar to test, as there are"
            f" {_extent(time, reserved)}; write a shorter `train`{smaller_words(reserved)}, or use more data"
        )
    if (number := clock.steps(place, step)) > MOST_FOLDS:
        key, longer = "step", "`step`, and a `test` that is at least as long"
        if validation.step is None:
            key, longer = "test", "`test`"
        raise BadInputError(
            f"`validation.{key}: {getattr(validation, key)}` makes {number:,} folds of {_extent(time, reserved)}, and"
            f" the limit is {MOST_FOLDS:,}; write a longer {longer}"
        )
    folds, tested = 0, place.row
    while place.row < len(time):
        first, after = place.row, clock.moved(place, test).row
        end = min(after, len(time))
        begin = 0 if validation.anchored else clock.moved(place, -train).row
        place = clock.moved(place, step)
        if first in (end, place.row) or (folds and after >= len(time) and end - first <= look_ahead):
            continue
        if first > tested:
            raise BadInputError(
                f"`validation.step: {validation.step}` is longer than `test: {validation.test}`, so the"
                f" {first - tested:,} bars from {format_time(time[tested])} on are never tested; leave `step` out,"
                " or write a shorter one"
            )
        folds, tested = folds + 1, max(tested, end)
        yield (begin, first), (first, end)


@dataclass(frozen=True, slots=True)
class _Place:
    """A moment in nanoseconds, and the first bar at or after it."""

    moment: int
    row: int


@dataclass(frozen=True, slots=True, eq=False)
class _Clock:
    """Moves a place by a number of bars or a duration.

    Attributes:
        moments: int64 opens of the bars in nanoseconds.
    """

    moments: np.ndarray

    def moved(self, place: _Place, length: int | np.timedelta64) -> _Place:
        if isinstance(length, int):
            row = max(0, min(place.row + length, len(self.moments)))
            return _Place(int(self.moments[row]) if row < len(self.moments) else _LATEST, row)
        # Python's integers, as a late bar and a long duration may exceed 64 bits.
        moment = min(place.moment + int(length.astype(np.int64)), _LATEST)
        return _Place(moment, int(np.searchsorted(self.moments, moment)))

    def steps(self, place: _Place, step: int | np.timedelta64) -> int:
        """Return how many steps it takes from ``place`` to the end of the bars."""
        if isinstance(step, int):
            return -(-(len(self.moments) - place.row) // step)
        return (int(self.moments[-1]) - place.moment) // int(step.astype(np.int64)) + 1


def _length(validation: WalkForwardValidation, key: str, bar: np.timedelta64) -> int | np.timedelta64:
    written = getattr(validation, key)
    length = read_length(written)
    if not isinstance(length, int) and length < bar:
        raise BadInputError(f"`validation.{key}: {written}` is shorter than a bar; write at least the length of one")
    return length


def _extent(time: np.ndarray, reserved: int) -> str:
    return f"{len(time):,} bars from {format_time(time[0])} to {format_time(time[-1])}{before_words(reserved)}"


def before_words(reserved: int) -> str:
    """Return words to write after a number of bars: that ``reserved`` others are in the reserve, if any are."""
    return f" before the reserve of {reserved:,}" if reserved else ""


def smaller_words(reserved: int) -> str:
    """Return the remedy of fewer bars in the reserve, to write into a list of remedies, if any are there."""
    return ", a smaller `validation.reserve`" if reserved else ""
