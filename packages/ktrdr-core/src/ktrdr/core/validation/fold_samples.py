"""Samples of a fold: rows of each symbol's own bars, purged by them.

A symbol has bars where others have none, or none where they have some. So its labels and windows, which are counted in
its own bars, can reach further in time than those of the timeline, and are compared with the parts once more.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ktrdr.core.errors import BadInputError
from ktrdr.core.short_texts import counted
from ktrdr.core.validation.bar_ranges import mask_of
from ktrdr.core.validation.fold_plan import Fold, FoldPlan, FoldRows, Range
from ktrdr.core.validation.fold_times import own_positions

__all__ = ["fold_rows", "tested_rows"]


def fold_rows(
    plan: FoldPlan, fold: Fold, times: Mapping[str, np.ndarray], usable: Mapping[str, np.ndarray], window: int = 1
) -> FoldRows:
    """Choose the samples of each part of a fold.

    A sample is a usable row in the range of the part whose label cannot reach the reserve or the end of the data. That
    of a training sample cannot reach the validation part or a test part, or come nearer than the embargo, and none of
    its ``window`` rows is tested; likewise that of a validation sample and the test parts.

    A symbol without a training sample has no samples in the other parts either: its normalizers cannot be fitted, and
    its bars are not predicted in this fold.

    Args:
        plan: the plan that ``fold`` is of.
        fold: the fold.
        times: opens of each symbol's base bars, ``datetime64[ns]`` ascending, UTC, as the plan was made of.
        usable: bool, one for each bar, by symbol: the row has a label and a complete window.
        window: number of rows that one sample uses.

    Raises:
        BadInputError: a part of the fold with bars has no sample of any symbol.
    """
    held_out = {"train": (*fold.validation, *fold.test), "validation": fold.test, "test": ()}
    rows: dict[str, dict[str, np.ndarray]] = {part: {} for part in held_out}
    for symbol, time in times.items():
        positions = own_positions(plan.time, time)
        for part, others in held_out.items():
            ranges = getattr(fold, part)
            own = _rows(positions, usable[symbol], ranges, others, fold.test, plan, window)
            known = part == "train" or len(rows["train"][symbol])
            rows[part][symbol] = own if known else own[:0]
    for part, found in rows.items():
        ranges = getattr(fold, part)
        if ranges and not any(len(own) for own in found.values()):
            raise BadInputError(_no_sample(plan, fold, part, times, usable))
    return FoldRows(**rows)


def tested_rows(plan: FoldPlan, fold: Fold, time: np.ndarray) -> np.ndarray:
    """Return the rows of a symbol's bars in the test parts of a fold, int64 ascending; with a label or without.

    Args:
        plan: the plan that ``fold`` is of.
        fold: the fold.
        time: opens of the symbol's base bars, ``datetime64[ns]`` ascending, UTC.
    """
    return np.flatnonzero(mask_of(fold.test, own_positions(plan.time, time)))


def _rows(
    positions: np.ndarray,
    usable: np.ndarray,
    ranges: tuple[Range, ...],
    others: tuple[Range, ...],
    tested: tuple[Range, ...],
    plan: FoldPlan,
    window: int,
) -> np.ndarray:
    """Return the samples of one part of one symbol.

    Args:
        positions: positions of the symbol's bars on the timeline.
        usable: which rows have a label and a complete window.
        ranges: the part.
        others: parts that the labels must not reach.
        tested: the test part.
        plan: purge and embargo.
        window: number of rows of a sample.
    """
    # The label of a later row may reach the reserve, or the end of the data.
    last = max(0, len(positions) - plan.look_ahead)
    rows = np.flatnonzero(usable[:last] & mask_of(ranges, positions[:last]))
    rows = rows[rows >= window - 1]
    if not others:
        return rows
    place, reach = positions[rows], positions[rows + plan.look_ahead]
    starts = np.sort([first for first, _ in others])
    following = np.searchsorted(starts, place, side="right")
    limit = np.append(starts - plan.embargo, np.iinfo(np.int64).max)[following]
    tested_so_far = np.concatenate(([0], np.cumsum(mask_of(tested, positions))))
    clean = tested_so_far[rows + 1] == tested_so_far[rows - window + 1]
    return rows[(reach < limit) & clean]


def _no_sample(
    plan: FoldPlan, fold: Fold, part: str, times: Mapping[str, np.ndarray], usable: Mapping[str, np.ndarray]
) -> str:
    ranges = getattr(fold, part)
    inside = {symbol: mask_of(ranges, own_positions(plan.time, time)) for symbol, time in times.items()}
    bars = sum(int(mask.sum()) for mask in inside.values())
    labelled = sum(int((mask & usable[each][: len(mask)]).sum()) for each, mask in inside.items())
    return (
        f"fold {fold.number} has no {part} sample: of its {counted(bars, 'bar')}, {labelled:,} have complete features"
        " and a label, and no label of those keeps clear of the other parts, as labels look"
        f" {counted(plan.look_ahead, 'bar')} ahead and the embargo is {counted(plan.embargo, 'bar')}; use more data,"
        " write fewer or longer parts under `validation`, or use shorter periods in the indicators or in"
        " `training.labels`"
    )
