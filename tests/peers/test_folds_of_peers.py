"""Folds are those of skfolio, purgedcv and scikit-learn, where these define the same.

Where they differ from us:

- skfolio tests at least two groups. Its last group is longer if the bars cannot be divided evenly; ours and purgedcv's
  differ by at most one bar.
- An embargo is left out after a test part alone in skfolio and purgedcv, as in López de Prado; ours on both sides.
  purgedcv counts it from the end of the test part, so that it overlaps the purge; ours and skfolio's follow the purge.
- ``train_size`` of skfolio and purgedcv is the length after the purge; ours is that before it.
- purgedcv's walk-forward tests the end of the data, ours begins with the first possible test part.
- purgedcv purges by the label of each test sample. Ours purges by the labels that the bars of the test part may have,
  and by ``look_ahead`` bars of the timeline at least, so it never keeps a row that purgedcv leaves out.
- None of them cuts a validation part from the training part, so ours is set to nothing here.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest
from purgedcv import CombinatorialPurgedCV as PurgedcvCpcv
from purgedcv import WalkForwardSplit, purge, reconstruct_paths
from skfolio.model_selection import CombinatorialPurgedCV as SkfolioCpcv
from skfolio.model_selection import WalkForward
from sklearn.model_selection import TimeSeriesSplit

from ktrdr.core.strategy.model import CpcvValidation, ValidationSection, WalkForwardValidation
from ktrdr.core.validation.fold_plan import FoldPlan, Range
from ktrdr.core.validation.fold_samples import fold_rows
from ktrdr.core.validation.folds import plan_folds

HOUR = np.timedelta64(3_600_000_000_000, "ns")
START = np.datetime64("2020-01-06", "ns")  # a Monday


def hours(n: int) -> np.ndarray:
    return START + np.arange(n) * HOUR


def plan(
    validation: ValidationSection, times: Mapping[str, np.ndarray], look_ahead: int, embargo: float = 0.0
) -> FoldPlan:
    return plan_folds(validation, times, look_ahead=look_ahead, embargo=embargo, bar=HOUR, fold_validation=0.0)


def bars_of(ranges: tuple[Range, ...]) -> list[int]:
    return [bar for first, end in ranges for bar in range(first, end)]


def label_ends(time: np.ndarray, look_ahead: int) -> np.ndarray:
    """Close of the last bar that the label of each bar depends on, as if the hours went on."""
    longer = np.concatenate([time, time[-1] + (1 + np.arange(look_ahead)) * HOUR])
    return longer[look_ahead:] + HOUR


GROUPS = [(6, 2), (5, 3), (10, 2), (4, 3), (3, 2)]


@pytest.mark.parametrize(("groups", "tested"), GROUPS)
@pytest.mark.parametrize(("look_ahead", "embargo"), [(1, 0), (7, 0), (7, 5)])
def test_cpcv_is_that_of_skfolio(groups: int, tested: int, look_ahead: int, embargo: int) -> None:
    n = 60 * groups
    ours = plan(CpcvValidation(groups=groups, test_groups=tested), {"A": hours(n)}, look_ahead, embargo / n)
    peer = SkfolioCpcv(n_folds=groups, n_test_folds=tested, purged_size=look_ahead, embargo_size=embargo)
    theirs = list(peer.split(np.zeros((n, 1))))
    assert len(ours.folds) == len(theirs)
    for fold, (train, tests) in zip(ours.folds, theirs, strict=True):
        assert bars_of(fold.test) == np.concatenate(tests).tolist()
        # Our embargo before each test part is the only difference.
        before = {bar for first, _ in fold.test for bar in range(first - look_ahead - embargo, first)}
        assert bars_of(fold.train) == [bar for bar in train.tolist() if bar not in before]


@pytest.mark.parametrize(("groups", "tested"), GROUPS)
def test_paths_are_those_of_skfolio(groups: int, tested: int) -> None:
    ours = plan(CpcvValidation(groups=groups, test_groups=tested), {"A": hours(20 * groups)}, 1)
    ids = SkfolioCpcv(n_folds=groups, n_test_folds=tested, purged_size=1).get_path_ids()
    assert len(ours.paths) == ids.max() + 1
    for number, combination in enumerate(itertools.combinations(range(groups), tested)):
        for place, group in enumerate(combination):
            path = ours.paths[ids[number, place]]
            assert path[group].start == 20 * group
            assert path[group].fold == number + 1


@pytest.mark.parametrize(("groups", "tested"), [*GROUPS, (6, 1), (2, 1)])
@pytest.mark.parametrize("rest", [0, 1])
def test_cpcv_and_its_paths_are_those_of_purgedcv(groups: int, tested: int, rest: int) -> None:
    n, look_ahead = 30 * groups + rest, 6
    time = hours(n)
    ours = plan(CpcvValidation(groups=groups, test_groups=tested), {"A": time}, look_ahead)
    peer = PurgedcvCpcv(
        groups, tested, prediction_times=pd.Series(time), evaluation_times=pd.Series(label_ends(time, look_ahead))
    )
    theirs = list(peer.split(np.zeros((n, 1))))
    for fold, (train, test) in zip(ours.folds, theirs, strict=True):
        assert bars_of(fold.test) == test.tolist()
        assert bars_of(fold.train) == train.tolist()
    numbers = [np.full(len(test), float(number)) for number, (_, test) in enumerate(theirs, 1)]
    joined = reconstruct_paths(numbers, [test for _, test in theirs], groups, tested, n)
    for path, expected in zip(ours.paths, joined, strict=True):
        assert [part.fold for part in path for _ in range(part.start, part.end)] == expected.tolist()


@pytest.mark.parametrize("anchored", [False, True])
@pytest.mark.parametrize("rest", [0, 9, 31])
def test_walk_forward_is_that_of_skfolio(anchored: bool, rest: int) -> None:
    look_ahead, n = 8, 500 + rest
    ours = plan(WalkForwardValidation(train=100, test=40, anchored=anchored), {"A": hours(n)}, look_ahead)
    peer = WalkForward(
        train_size=100 - look_ahead, test_size=40, purged_size=look_ahead, expand_train=anchored, reduce_test=True
    )
    theirs = list(peer.split(np.zeros((n, 1))))
    # A last part that is no longer than the look-ahead is none of ours: there are 500 - 100 = 10 times 40 bars.
    assert len(theirs) == 10 + (rest > 0)
    assert len(ours.folds) == 10 + (rest > look_ahead)
    for fold, (train, test) in zip(ours.folds, theirs, strict=False):
        assert bars_of(fold.train) == train.tolist()
        assert bars_of(fold.test) == test.tolist()


def test_walk_forward_in_weeks_is_that_of_skfolio() -> None:
    """Weeks of the calendar without weekends; the data begin on a Monday, so our weeks are those of the calendar."""
    time = hours(24 * 7 * 8)
    time = time[(time.astype("datetime64[D]").view(np.int64) - 4) % 7 < 5]
    ours = plan(WalkForwardValidation(train="2w", test="1w"), {"A": time}, 8)
    peer = WalkForward(train_size=2, test_size=1, freq="W-MON", purged_size=8, reduce_test=True)
    theirs = list(peer.split(pd.DataFrame({"x": 0.0}, index=pd.DatetimeIndex(time))))
    assert len(ours.folds) == len(theirs) == 6
    for fold, (train, test) in zip(ours.folds, theirs, strict=True):
        assert bars_of(fold.train) == train.tolist()
        assert bars_of(fold.test) == test.tolist()


@pytest.mark.parametrize("anchored", [False, True])
def test_walk_forward_is_that_of_purgedcv(anchored: bool) -> None:
    look_ahead, n = 8, 500
    time = hours(n)
    ours = plan(WalkForwardValidation(train=100, test=40, anchored=anchored), {"A": time}, look_ahead)
    peer = WalkForwardSplit(
        10,
        40,
        train_size=None if anchored else 100 - look_ahead,
        window="expanding" if anchored else "sliding",
        prediction_times=pd.Series(time),
        evaluation_times=pd.Series(label_ends(time, look_ahead)),
    )
    for fold, (train, test) in zip(ours.folds, peer.split(np.zeros((n, 1))), strict=True):
        assert bars_of(fold.train) == train.tolist()
        assert bars_of(fold.test) == test.tolist()


def test_anchored_walk_forward_is_that_of_scikit_learn() -> None:
    ours = plan(WalkForwardValidation(train=100, test=40, anchored=True), {"A": hours(500)}, 8)
    theirs = TimeSeriesSplit(n_splits=10, test_size=40, gap=8).split(np.zeros((500, 1)))
    for fold, (train, test) in zip(ours.folds, theirs, strict=True):
        assert bars_of(fold.train) == train.tolist()
        assert bars_of(fold.test) == test.tolist()


SHAPES: dict[str, dict[str, np.ndarray]] = {
    "one symbol with gaps": {"A": hours(600)[np.random.default_rng(3).random(600) > 0.3]},
    "equal histories": {"A": hours(600), "B": hours(600)},
    "a symbol of every fifth hour": {"A": hours(600), "B": hours(600)[::5]},
    "different histories": {"A": hours(600), "B": hours(400), "C": hours(600)[250:]},
    "closed at night": {"A": hours(600), "B": hours(600)[np.arange(600) % 24 < 8]},
}
EQUAL = {"one symbol with gaps", "equal histories", "a symbol of every fifth hour", "closed at night"}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("look_ahead", [1, 6])
def test_samples_of_several_symbols_are_those_that_purgedcv_keeps(shape: str, look_ahead: int) -> None:
    """purgedcv is given the rows of all symbols, with the time of each and the time at which its label is known."""
    times = SHAPES[shape]
    usable = {symbol: np.ones(len(time), dtype=np.bool_) for symbol, time in times.items()}
    ours = plan(CpcvValidation(groups=5, test_groups=2), times, look_ahead)
    # Rows without a label, at the end of a history, are no samples.
    opens = np.concatenate([time[:-look_ahead] for time in times.values()])
    known = np.concatenate([time[look_ahead:] + HOUR for time in times.values()])
    firsts = dict(zip(times, np.cumsum([0, *(len(time) - look_ahead for time in times.values())]), strict=False))
    for fold in ours.folds:
        tested = np.isin(opens, ours.time[bars_of(fold.test)])
        kept = purge(np.flatnonzero(~tested), np.flatnonzero(tested), pd.Series(opens), pd.Series(known))
        rows = fold_rows(ours, fold, times, usable)
        own = np.concatenate([rows.train[symbol] + firsts[symbol] for symbol in times])
        assert np.isin(own, kept).all()
        assert len(own)
        if shape in EQUAL:
            assert own.tolist() == kept.tolist()
        # What purgedcv keeps in addition is near a test part.
        assert len(kept) - len(own) <= 2 * len(times) * (look_ahead + 1) * len(fold.test)
