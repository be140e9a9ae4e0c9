"""Folds of an evaluation: walk-forward, combinatorial purged cross-validation, or one split.

Terms are those of M. López de Prado, Advances in Financial Machine Learning (2018), chapters 7 and 12.

- Purge: a label depends on up to ``look_ahead`` bars after its row. Before a test part, those rows are left out whose
  label may reach it. After it, those are left out that the labels of the test part may reach.
- Embargo: further bars left out on both sides. López de Prado leaves out bars after the test part only.
- The validation part of a fold is the end of its own training part, purged and embargoed like a test part. So nothing
  that chooses an epoch or a threshold sees the test part.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np

from ktrdr.core.errors import BadInputError
from ktrdr.core.strategy.model import (
    CpcvValidation,
    DataSplit,
    HoldoutValidation,
    ValidationSection,
    WalkForwardValidation,
)
from ktrdr.core.strategy.validation_parameters import group_problem
from ktrdr.core.training.reserve import reserve_start, timeline
from ktrdr.core.training.split import part_ranges
from ktrdr.core.validation.bar_ranges import count_bars, join, last_bars, up_to, without
from ktrdr.core.validation.fold_plan import Fold, FoldPlan, Range, Segment
from ktrdr.core.validation.fold_times import own_positions
from ktrdr.core.validation.walk_forward import before_words, smaller_words, walk_forward_parts

__all__ = ["FOLD_VALIDATION", "plan_folds"]

_Splits = list[tuple[tuple[Range, ...], tuple[Range, ...]]]

FOLD_VALIDATION = 0.15
"""Share of a fold's training part, at its end, that chooses the best epoch."""


def plan_folds(
    validation: ValidationSection,
    times: Mapping[str, np.ndarray],
    *,
    look_ahead: int,
    embargo: float,
    bar: np.timedelta64,
    window: int = 1,
    fold_validation: float = FOLD_VALIDATION,
    reserve: np.datetime64 | None = None,
) -> FoldPlan:
    """Return the folds of an evaluation, purged and embargoed on the timeline of all symbols.

    :func:`~ktrdr.core.validation.fold_samples.fold_rows` chooses the samples, and purges each symbol by its own bars.

    Args:
        validation: kind and settings of the folds.
        times: opens of each symbol's base bars, ``datetime64[ns]`` ascending, UTC, with those of the reserve.
        look_ahead: largest number of bars that a label depends on after its row.
        embargo: fraction of the bars before the reserve that is left out on both sides of a test part, rounded up to
            whole bars.
        bar: length of a base bar.
        window: number of rows that one sample uses.
        fold_validation: share of a fold's training part that is its validation part. A holdout has its own.
        reserve: open of the first bar of the reserve; by default ``validation.reserve`` of the bars given.

    Raises:
        BadInputError: there are no bars before the reserve, more groups than bars, a test part that is not longer than
            ``look_ahead``, a fold whose training part is empty, or more folds than are allowed.
    """
    start = reserve if reserve is not None else reserve_start(times.values(), validation.reserve)
    time = timeline(times.values())
    reserved = 0 if start is None else int(np.count_nonzero(time >= start))
    time = time[: len(time) - reserved]
    left_out = math.ceil(round(embargo * len(time), 6))
    owned = [own_positions(time, own) for own in times.values()]
    chosen: tuple[Range, ...] = ()
    if isinstance(validation, HoldoutValidation):
        split = DataSplit(train=validation.train, validation=validation.validation, test=validation.test)
        ranges = part_ranges(len(time), split, embargo)
        splits: _Splits = [((ranges["train"],), (ranges["test"],))]
        paths: tuple[tuple[Segment, ...], ...] = ((Segment(*ranges["test"], 1),),)
        chosen, fold_validation = join([ranges["validation"]]), validation.validation
    elif isinstance(validation, WalkForwardValidation):
        parts = walk_forward_parts(validation, time, bar=bar, look_ahead=look_ahead, reserved=reserved)
        splits = [((train,), (test,)) for train, test in parts]
        paths = (_stitched([test for _, (test,) in splits]),)
    else:
        splits, paths = _combinations(validation, len(time), look_ahead, reserved)
    folds = []
    for number, (training, tested) in enumerate(splits, 1):
        shortest = min(end - first for first, end in tested)
        if shortest <= look_ahead:
            raise BadInputError(_too_short(number, shortest, len(time), look_ahead, reserved))
        zones = [_zone(test, owned, look_ahead, left_out, window) for test in tested]
        own = without(training, zones)
        if isinstance(validation, HoldoutValidation):
            validating = without(chosen, zones)
        else:
            validating = last_bars(own, round(fold_validation * count_bars(own)))
        train = up_to(own, validating[0][0] - look_ahead - left_out) if validating else own
        if not train or (fold_validation > 0 and not validating):
            raise BadInputError(_nothing_left(number, count_bars(training), look_ahead, left_out, reserved))
        folds.append(Fold(number, train, validating, join(tested)))
    return FoldPlan(time, tuple(folds), paths, look_ahead, left_out, start)


def _zone(test: Range, owned: Sequence[np.ndarray], look_ahead: int, embargo: int, window: int) -> Range:
    """Return the bars that no training sample may be in: the test part, and what is left out on both sides.

    Args:
        test: the test part.
        owned: positions of each symbol's bars on the timeline.
        look_ahead: bars to purge.
        embargo: further bars left out on both sides.
        window: number of rows of a sample; no window of a training sample may begin in the test part.
    """
    first, end = test
    reach = end - 1 + look_ahead
    for positions in owned:
        rows = int(np.searchsorted(positions, end))
        # The labels of a symbol with gaps reach further in time.
        if rows and positions[rows - 1] >= first:
            reach = max(reach, int(positions[min(rows - 1 + look_ahead, len(positions) - 1)]))
    return first - look_ahead - embargo, max(reach + 1 + embargo, end + window - 1)


def _combinations(
    validation: CpcvValidation, bars: int, look_ahead: int, reserved: int
) -> tuple[_Splits, tuple[tuple[Segment, ...], ...]]:
    """Return training and test part of every combination of test groups, and the paths.

    The groups differ by at most one bar. On path ``p``, each group is predicted by the ``p``-th fold that tests it.
    """
    groups, tested = validation.groups, validation.test_groups
    if problem := group_problem(groups, tested):
        raise BadInputError(f"`validation.groups`: {problem}")
    if groups > bars:
        raise BadInputError(
            f"`validation.groups` is {groups:,}, and there are {bars:,} bars{before_words(reserved)}; use fewer groups"
            f"{smaller_words(reserved)} or more data"
        )
    size, longer = divmod(bars, groups)
    if size <= look_ahead:
        raise BadInputError(
            f"`validation.groups: {groups}` makes groups of {size:,} of the {bars:,} bars{before_words(reserved)}, and"
            f" labels look {look_ahead:,} bars ahead, so a group must have more; use fewer groups"
            f"{smaller_words(reserved)}, more data, or a shorter look-ahead in `training.labels`"
        )
    edges = [group * size + min(group, longer) for group in range(groups + 1)]
    ranges = [(edges[group], edges[group + 1]) for group in range(groups)]
    splits = []
    folds_of: list[list[int]] = [[] for _ in range(groups)]
    for number, combination in enumerate(itertools.combinations(range(groups), tested), 1):
        test = tuple(ranges[group] for group in combination)
        splits.append((without([(0, bars)], test), join(test)))
        for group in combination:
            folds_of[group].append(number)
    paths = tuple(
        tuple(Segment(*ranges[group], folds_of[group][path]) for group in range(groups))
        for path in range(len(folds_of[0]))
    )
    return splits, paths


def _stitched(tests: Sequence[Range]) -> tuple[Segment, ...]:
    """Return the path of a walk-forward validation: each bar is predicted by the newest model that tests it."""
    ends = [test[0] for test in tests[1:]] + [tests[-1][1]]
    return tuple(
        Segment(first, end, number) for number, ((first, _), end) in enumerate(zip(tests, ends, strict=True), 1)
    )


def _too_short(number: int, bars: int, total: int, look_ahead: int, reserved: int) -> str:
    return (
        f"the test part of fold {number} has {bars:,} of the {total:,} bars{before_words(reserved)}, and labels look"
        f" {look_ahead:,} bars ahead, so it must have more; write fewer or longer parts under `validation`,"
        f" or use more data{smaller_words(reserved)} or a shorter look-ahead in `training.labels`"
    )


def _nothing_left(number: int, bars: int, look_ahead: int, embargo: int, reserved: int) -> str:
    return (
        f"of the {bars:,} bars{before_words(reserved)} that fold {number} may train on, a purge of {look_ahead:,} bars"
        f" and an embargo of {embargo:,} beside every other part leave none; write fewer or longer parts under"
        f" `validation`, or use more data{smaller_words(reserved)}, a shorter look-ahead in"
        " `training.labels`, or a smaller `training.embargo`"
    )
