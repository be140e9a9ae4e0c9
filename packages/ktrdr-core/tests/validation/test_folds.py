"""Folds leak nothing: as properties, against a slow reference, and with tests that the properties find broken folds."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ktrdr.core.errors import BadInputError
from ktrdr.core.labels.label_set import LabelSet
from ktrdr.core.strategy.model import (
    CLASSES,
    CpcvValidation,
    DataSplit,
    HoldoutValidation,
    ValidationSection,
    WalkForwardValidation,
)
from ktrdr.core.training.split import PARTS, split_rows
from ktrdr.core.validation import fold_samples
from ktrdr.core.validation.fold_plan import Fold, FoldPlan, FoldRows, Segment
from ktrdr.core.validation.fold_samples import fold_rows
from ktrdr.core.validation.folds import FOLD_VALIDATION, plan_folds

HOUR = np.timedelta64(3_600_000_000_000, "ns")
START = np.datetime64("2020-01-03T20:00", "ns")


@dataclass(frozen=True)
class Case:
    """Bars and samples of several symbols, and how they are folded."""

    validation: ValidationSection
    times: Mapping[str, np.ndarray]
    span_ends: Mapping[str, np.ndarray]
    usable: Mapping[str, np.ndarray]
    look_ahead: int
    embargo: float
    window: int

    def plan(self, fold_validation: float = FOLD_VALIDATION) -> FoldPlan:
        return plan_folds(
            self.validation,
            self.times,
            look_ahead=self.look_ahead,
            embargo=self.embargo,
            bar=HOUR,
            window=self.window,
            fold_validation=fold_validation,
        )

    def rows(self, plan: FoldPlan, fold: Fold) -> FoldRows:
        return fold_rows(plan, fold, self.times, self.usable, self.window)


def sections() -> st.SearchStrategy[ValidationSection]:
    reserve = st.sampled_from([0.0, 0.1, 0.25])
    shares = st.sampled_from([(0.7, 0.15, 0.15), (0.5, 0.25, 0.25), (0.8, 0.0, 0.2)])
    holdout = st.builds(
        lambda parts, left: HoldoutValidation(train=parts[0], validation=parts[1], test=parts[2], reserve=left),
        shares,
        reserve,
    )
    walk = st.sampled_from(
        [
            (60, 20, None),
            (60, 20, 7),
            (50, 30, 30),
            ("3d", "1d", None),
            ("60h", "1d", "12h"),
            ("2d", 30, "1d"),
            (70, "1d", 9),
        ]
    ).flatmap(
        lambda parts: st.builds(
            lambda anchored, left: WalkForwardValidation(
                train=parts[0], test=parts[1], step=parts[2], anchored=anchored, reserve=left
            ),
            st.booleans(),
            reserve,
        )
    )
    groups = st.sampled_from([(2, 1), (4, 1), (4, 2), (5, 3), (6, 2)])
    cpcv = st.builds(
        lambda parts, left: CpcvValidation(groups=parts[0], test_groups=parts[1], reserve=left), groups, reserve
    )
    return st.one_of(holdout, walk, cpcv)


@st.composite
def cases(draw: st.DrawFn, symbols: int = 3, kinds: st.SearchStrategy[ValidationSection] | None = None) -> Case:
    random = np.random.default_rng(draw(st.integers(0, 10_000)))
    look_ahead = draw(st.integers(1, 8))
    window = draw(st.sampled_from([1, 3, 12]))
    times, span_ends, usable = {}, {}, {}
    for symbol in "ABC"[: draw(st.integers(1, symbols))]:
        first, last = draw(st.sampled_from([(0, 150), (0, 90), (40, 150), (70, 140)]))
        hours = np.arange(first, last)
        # Bars that are missing one by one, every second one, or all of some days.
        gaps = draw(st.sampled_from(["none", "some", "half", "days"]))
        if gaps == "some":
            hours = hours[random.random(len(hours)) > 0.2]
        elif gaps == "half":
            hours = hours[hours % 2 == 1]
        elif gaps == "days":
            hours = hours[(hours + 20) // 24 % 3 != 1]
        n = len(hours)
        rows = np.arange(n)
        times[symbol] = START + hours * HOUR
        span_ends[symbol] = np.minimum(rows + random.integers(1, look_ahead + 1, n), n - 1)
        complete = np.lib.stride_tricks.sliding_window_view(random.random(n + window - 1) > 0.01, window).all(axis=1)
        usable[symbol] = complete & (rows >= window - 1) & (span_ends[symbol] > rows)
    return Case(
        draw(kinds if kinds is not None else sections()),
        times,
        span_ends,
        usable,
        look_ahead,
        draw(st.sampled_from([0.0, 0.01, 0.04])),
        window,
    )


def made(case: Case) -> tuple[FoldPlan, list[FoldRows]]:
    """The plan and the samples of its folds; cases with too little data are no examples."""
    try:
        plan = case.plan()
        return plan, [case.rows(plan, fold) for fold in plan.folds]
    except BadInputError:
        assume(False)
        raise


def spans(case: Case, rows: Mapping[str, np.ndarray]) -> list[tuple[np.datetime64, np.datetime64]]:
    """Open of the first and the last bar that each sample's label depends on."""
    return [
        (case.times[symbol][row], case.times[symbol][case.span_ends[symbol][row]])
        for symbol, own in rows.items()
        for row in own
    ]


def overlap(
    some: list[tuple[np.datetime64, np.datetime64]],
    others: list[tuple[np.datetime64, np.datetime64]],
    apart: np.timedelta64 = 0 * HOUR,
) -> bool:
    if not some or not others:
        return False
    first, last = np.array(some).T
    begin, end = np.array(others).T
    return bool(((first[:, None] <= end + apart) & (begin - apart <= last[:, None])).any())


def leaks(case: Case, plan: FoldPlan, fold: Fold, rows: FoldRows) -> list[str]:
    """Return what is wrong with the samples of a fold, without the code under test."""
    found = []
    tested = {plan.time[position] for first, end in fold.test for position in range(first, end)}
    fitted, chosen, judged = (spans(case, getattr(rows, part)) for part in PARTS)
    if overlap(fitted, judged):
        found.append("the label of a training sample overlaps that of a test sample")
    if overlap(chosen, judged):
        found.append("the label of a validation sample overlaps that of a test sample")
    if overlap(fitted, chosen):
        found.append("the label of a training sample overlaps that of a validation sample")
    for part in PARTS:
        for symbol, own in getattr(rows, part).items():
            time = case.times[symbol]
            if (np.diff(own) <= 0).any():
                found.append(f"{part} rows of {symbol} are not ascending")
            for row in own.tolist():
                window = set(time[row - case.window + 1 : row + 1])
                if part != "test" and window & tested:
                    found.append(f"the window of {symbol} {part} row {row} contains a tested bar")
                if part == "test" and time[row] not in tested:
                    found.append(f"{symbol} row {row} is no tested bar")
                if not case.usable[symbol][row]:
                    found.append(f"{symbol} {part} row {row} has no label or no window")
                if plan.reserve is not None and time[case.span_ends[symbol][row]] >= plan.reserve:
                    found.append(f"{symbol} {part} row {row} touches the reserve")
                if row + case.look_ahead >= len(time):
                    found.append(f"{symbol} {part} row {row} is kept because its label was settled early")
    return found


@given(case=cases())
@settings(max_examples=150, deadline=None)
def test_no_fold_leaks(case: Case) -> None:
    plan, rows = made(case)
    for fold, own in zip(plan.folds, rows, strict=True):
        assert leaks(case, plan, fold, own) == []


def one_symbol(window: int) -> Case:
    """200 bars whose labels all look 8 bars ahead."""
    n = 200
    rows = np.arange(n)
    usable = (rows >= window - 1) & (rows + 8 < n)
    times, ends = {"A": START + rows * HOUR}, {"A": np.minimum(rows + 8, n - 1)}
    return Case(CpcvValidation(groups=4, test_groups=1), times, ends, {"A": usable}, 8, 0.01, window)


@pytest.mark.parametrize("window", [1, 3])
def test_labels_that_are_not_purged_are_found(window: int) -> None:
    bare = replace(one_symbol(window), look_ahead=1, embargo=0.0)
    plan = bare.plan()
    found = leaks(bare, plan, plan.folds[1], bare.rows(plan, plan.folds[1]))
    assert "the label of a training sample overlaps that of a test sample" in found
    assert "the label of a training sample overlaps that of a validation sample" in found


@pytest.mark.parametrize("window", [1, 3])
def test_a_validation_part_that_is_the_test_part_is_found_and_refused(window: int) -> None:
    case = one_symbol(window)
    plan = case.plan()
    rows = case.rows(plan, plan.folds[1])
    assert leaks(case, plan, plan.folds[1], rows) == []
    found = leaks(case, plan, plan.folds[1], replace(rows, validation=rows.test))
    assert "the label of a validation sample overlaps that of a test sample" in found
    assert "the window of A validation row 52 contains a tested bar" in found
    peeking = replace(plan.folds[1], validation=plan.folds[1].test)
    with pytest.raises(BadInputError, match="fold 2 has no validation sample"):
        case.rows(plan, peeking)


# The slow reference: every sample is compared with every bar of every other part.


def reference(case: Case, plan: FoldPlan, fold: Fold) -> dict[str, dict[str, list[int]]]:
    """Samples of a fold, from its test ranges and from the bars that it may train on at all."""
    position = {moment: number for number, moment in enumerate(plan.time)}
    before = {symbol: [moment for moment in time if moment in position] for symbol, time in case.times.items()}
    tested = {number for first, end in fold.test for number in range(first, end)}
    forbidden = set(tested)
    for first, end in fold.test:
        reach = end - 1 + case.look_ahead
        for own in before.values():
            for row, moment in enumerate(own):
                if first <= position[moment] < end:
                    reach = max(reach, position[own[min(row + case.look_ahead, len(own) - 1)]])
        forbidden |= set(range(first - case.look_ahead - plan.embargo, first))
        forbidden |= set(range(end, max(reach + 1 + plan.embargo, end + case.window - 1)))
    ordered = sorted(training_bars(case.validation, plan, fold) - forbidden)
    if isinstance(case.validation, HoldoutValidation):
        edge = round(case.validation.train * len(plan.time))
        validating = {number for number in ordered if number >= edge + plan.embargo}
        ordered = [number for number in ordered if number < edge]
        edges = [edge] if case.validation.validation else []
    else:
        count = round(FOLD_VALIDATION * len(ordered))
        validating = set(ordered[len(ordered) - count :])
        edges = [min(validating) - plan.embargo] if validating else []
        ordered = ordered[: len(ordered) - count]
    parts = {
        "train": ({number for number in ordered if all(number + case.look_ahead < edge for edge in edges)}, True),
        "validation": (validating, True),
        "test": (tested, False),
    }
    rows: dict[str, dict[str, list[int]]] = {part: {symbol: [] for symbol in before} for part in parts}
    for symbol, own in before.items():
        for part, (allowed, purged) in parts.items():
            for row, moment in enumerate(own):
                if not case.usable[symbol][row] or row + case.look_ahead >= len(own) or position[moment] not in allowed:
                    continue
                label = range(position[moment], position[own[row + case.look_ahead]] + plan.embargo + 1)
                window = {position[each] for each in own[row - case.window + 1 : row + 1]}
                if purged and (tested.intersection(label) or tested & window):
                    continue
                if part == "train" and validating.intersection(label):
                    continue
                rows[part][symbol].append(row)
        if not rows["train"][symbol]:
            for part in parts:
                rows[part][symbol] = []
    return rows


def training_bars(validation: ValidationSection, plan: FoldPlan, fold: Fold) -> set[int]:
    """Positions that a fold may train on, before purge and embargo."""
    n = len(plan.time)
    tested = {number for first, end in fold.test for number in range(first, end)}
    if isinstance(validation, CpcvValidation):
        return set(range(n)) - tested
    if isinstance(validation, HoldoutValidation) or validation.anchored:
        return set(range(min(tested)))
    if isinstance(validation.train, int):
        return set(range(min(tested) - validation.train, min(tested)))
    # Durations are measured on the clock, and not from bar to bar.
    hours = {"h": 1, "d": 24, "w": 168}[validation.train[-1]] * int(validation.train[:-1])
    step = validation.test if validation.step is None else validation.step
    if isinstance(step, int):
        begin = plan.time[min(tested)]
    else:
        length = {"h": 1, "d": 24, "w": 168}[step[-1]] * int(step[:-1])
        begin = plan.time[0] + hours * HOUR
        while not (begin <= plan.time[min(tested)] < begin + length * HOUR):
            begin += length * HOUR
    return {number for number in range(min(tested)) if plan.time[number] >= begin - hours * HOUR}


@given(case=cases())
@settings(max_examples=100, deadline=None)
def test_samples_are_those_of_the_slow_reference(case: Case) -> None:
    plan, rows = made(case)
    for fold, own in zip(plan.folds, rows, strict=True):
        expected = reference(case, plan, fold)
        for part in PARTS:
            assert {symbol: found.tolist() for symbol, found in getattr(own, part).items()} == expected[part], part


@given(case=cases())
@settings(max_examples=100, deadline=None)
def test_every_tested_bar_is_once_on_each_path(case: Case) -> None:
    plan, _ = made(case)
    folds = {fold.number: fold for fold in plan.folds}
    tested = {number for fold in plan.folds for first, end in fold.test for number in range(first, end)}
    for path in plan.paths:
        bars = [number for part in path for number in range(part.start, part.end)]
        assert bars == sorted(tested)
        for part in path:
            assert any(first <= part.start and part.end <= end for first, end in folds[part.fold].test)
    if isinstance(case.validation, CpcvValidation):
        groups, chosen = case.validation.groups, case.validation.test_groups
        assert tested == set(range(len(plan.time)))
        assert len(plan.folds) == math.comb(groups, chosen)
        assert len(plan.paths) == math.comb(groups - 1, chosen - 1)
        # Every prediction of every fold is on one path.
        used = [(part.start, part.fold) for path in plan.paths for part in path]
        assert len(set(used)) == len(used) == groups * len(plan.paths)
    else:
        assert len(plan.paths) == 1


@given(case=cases())
@settings(max_examples=50, deadline=None)
def test_tested_rows_are_all_bars_of_the_test_parts(case: Case) -> None:
    plan, _ = made(case)
    for fold in plan.folds:
        tested = {plan.time[number] for first, end in fold.test for number in range(first, end)}
        for time in case.times.values():
            assert fold_samples.tested_rows(plan, fold, time).tolist() == [
                row for row, moment in enumerate(time) if moment in tested
            ]


@given(case=cases(symbols=1), shares=st.sampled_from([(0.7, 0.15, 0.15), (0.5, 0.25, 0.25), (0.8, 0.0, 0.2)]))
@settings(max_examples=100, deadline=None)
def test_a_holdout_of_one_symbol_is_the_split_of_a_training(case: Case, shares: tuple[float, float, float]) -> None:
    train, validation, test = shares
    case = replace(case, validation=HoldoutValidation(train=train, validation=validation, test=test))
    time, ends = case.times["A"], case.span_ends["A"]
    labels = LabelSet(np.where(ends > np.arange(len(time)), 1.0, np.nan), ends, case.look_ahead, CLASSES)
    try:
        split = split_rows(
            "A",
            case.usable["A"],
            labels,
            DataSplit(train=train, validation=validation, test=test),
            embargo=case.embargo,
        )
        plan = case.plan()
        rows = case.rows(plan, plan.folds[0])
    except BadInputError:
        assume(False)
        raise
    for part in PARTS:
        assert getattr(rows, part)["A"].tolist() == getattr(split, part).tolist()


def hours(*lengths: int) -> dict[str, np.ndarray]:
    return {symbol: START + np.arange(n) * HOUR for symbol, n in zip("ABC", lengths, strict=False)}


def planned(validation: ValidationSection, times: Mapping[str, np.ndarray], **more: float) -> FoldPlan:
    settings: dict[str, float] = {"look_ahead": 5, "embargo": 0.0, **more}
    return plan_folds(validation, times, bar=HOUR, **settings)  # type: ignore[arg-type]


def test_the_reserve_is_the_end_of_the_time_of_all_symbols() -> None:
    times = {**hours(100), "B": START + np.arange(50, 120) * HOUR}
    plan = planned(CpcvValidation(reserve=0.15), times)
    assert plan.reserve == START + 102 * HOUR
    assert len(plan.time) == 102
    assert plan.time[-1] < plan.reserve
    assert planned(CpcvValidation(), times).reserve is None


def test_walk_forward_in_bars_by_hand() -> None:
    plan = planned(WalkForwardValidation(train=50, test=20), hours(115), fold_validation=0.0)
    assert [(fold.train, fold.test) for fold in plan.folds] == [
        (((0, 45),), ((50, 70),)),
        (((20, 65),), ((70, 90),)),
        (((40, 85),), ((90, 110),)),
    ]
    # The last 5 bars are no longer than the look-ahead.
    longer = planned(WalkForwardValidation(train=50, test=20), hours(116), fold_validation=0.0)
    assert longer.folds[-1].test == ((110, 116),)
    anchored = planned(WalkForwardValidation(train=50, test=20, anchored=True), hours(115), fold_validation=0.0)
    assert [fold.train for fold in anchored.folds] == [((0, 45),), ((0, 65),), ((0, 85),)]


def test_walk_forward_in_steps_predicts_a_bar_with_the_newest_model() -> None:
    plan = planned(WalkForwardValidation(train=50, test=20, step=10), hours(100))
    assert [fold.test for fold in plan.folds] == [((50, 70),), ((60, 80),), ((70, 90),), ((80, 100),), ((90, 100),)]
    assert plan.paths == (
        (Segment(50, 60, 1), Segment(60, 70, 2), Segment(70, 80, 3), Segment(80, 90, 4), Segment(90, 100, 5)),
    )


def test_weekends_do_not_move_the_parts_of_walk_forward() -> None:
    """Each test part is a week of the calendar, whatever hours of it have bars."""
    time = np.datetime64("2020-01-06", "ns") + np.arange(24 * 7 * 6) * HOUR
    open_days = time[(time.astype("datetime64[D]").view("int64") - 4) % 7 < 5]
    plan = planned(WalkForwardValidation(train="2w", test="1w"), {"A": open_days})
    starts = [plan.time[fold.test[0][0]] for fold in plan.folds]
    assert starts == [np.datetime64("2020-01-20", "ns") + week * 168 * HOUR for week in range(4)]
    assert {fold.test[0][1] - fold.test[0][0] for fold in plan.folds} == {120}


def test_labels_of_a_symbol_with_gaps_reach_further() -> None:
    """B's 5 bars are 50 hours, so 50 hours after the test part are purged, for A too."""
    times = {"A": START + np.arange(600) * HOUR, "B": START + np.arange(0, 600, 10) * HOUR}
    plan = planned(CpcvValidation(groups=3, test_groups=1), times, fold_validation=0.0)
    assert plan.folds[1].test == ((200, 400),)
    # The last tested bar of B is 390, and its label reaches 440.
    assert plan.folds[1].train == ((0, 195), (441, 600))
    usable = {symbol: np.ones(len(time), dtype=np.bool_) for symbol, time in times.items()}
    rows = fold_rows(plan, plan.folds[1], times, usable)
    # The label of B's bar 150 reaches bar 200, which is tested.
    own = (times["B"][rows.train["B"]] - START) // HOUR
    assert own[own < 200].max() == 140


def test_a_symbol_without_training_samples_is_not_tested() -> None:
    times = {"A": START + np.arange(300) * HOUR, "B": START + np.arange(200, 300) * HOUR}
    plan = planned(WalkForwardValidation(train=100, test=100), times)
    usable = {symbol: np.ones(len(time), dtype=np.bool_) for symbol, time in times.items()}
    rows = fold_rows(plan, plan.folds[1], times, usable)
    assert len(rows.test["A"])
    assert len(rows.train["B"]) == len(rows.validation["B"]) == len(rows.test["B"]) == 0


REFUSED: list[tuple[ValidationSection, int, dict[str, float], str]] = [
    (CpcvValidation(groups=40), 30, {}, "`validation.groups` is 40, and there are 30 bars"),
    (
        CpcvValidation(groups=6),
        30,
        {},
        "`validation.groups: 6` makes groups of 5 of the 30 bars, and labels look 5 bars ahead",
    ),
    (CpcvValidation(groups=6, test_groups=6), 100, {}, "`test_groups` must be below `groups`, and 6 is not below 6"),
    (
        CpcvValidation(groups=20, test_groups=10),
        900,
        {},
        "20 groups with 10 test groups make 184,756 folds, and the limit is 1,000",
    ),
    (
        CpcvValidation(groups=10**9, test_groups=10**8),
        900,
        {},
        "there are 1,000,000,000 groups, and the limit is 1,000 folds",
    ),
    (CpcvValidation(reserve=0.99), 30, {}, "`validation.reserve: 0.99` takes all 30 bars"),
    (
        CpcvValidation(reserve=0.999),
        3_000,
        {},
        "`validation.groups` is 6, and there are 3 bars before the reserve of 2,997; use fewer groups, a smaller "
        "`validation.reserve` or more data",
    ),
    (
        CpcvValidation(reserve=0.9),
        300,
        {},
        "groups of 5 of the 30 bars before the reserve of 270, .* fewer groups, a smaller `validation.reserve`",
    ),
    (
        CpcvValidation(groups=2, test_groups=1, reserve=0.9),
        300,
        {"embargo": 0.4},
        "of the 15 bars before the reserve of 270 that .* more data, a smaller `validation.reserve`, a shorter",
    ),
    (
        HoldoutValidation(reserve=0.9),
        300,
        {},
        "has 4 of the 30 bars before the reserve of 270, .* more data, a smaller `validation.reserve` or a shorter",
    ),
    (
        WalkForwardValidation(train=500, test=50, reserve=0.9),
        3_000,
        {},
        "there are 300 bars from .* before the reserve of 2,700; write a shorter `train`, a smaller",
    ),
    (CpcvValidation(groups=2, test_groups=1), 30, {"embargo": 0.4}, "a purge of 5 bars and an embargo of 12"),
    (
        WalkForwardValidation(train=500, test=50),
        300,
        {},
        "`validation.train: 500` leaves no bar to test, as there are 300",
    ),
    (WalkForwardValidation(train=50, test=5), 300, {}, "the test part of fold 1 has 5 of the 300 bars"),
    (WalkForwardValidation(train=50, test=10, step=20), 300, {}, "so the 10 bars from 2020-01-06 08:00 on are never"),
    (WalkForwardValidation(train=5, test=50), 300, {}, "of the 5 bars that fold 1 may train on"),
    (
        WalkForwardValidation(train=50, test=2),
        3_000,
        {},
        "`validation.test: 2` makes 1,475 folds of 3,000 bars .*; write a longer `test`$",
    ),
    (
        WalkForwardValidation(train=50, test=2, step=1),
        3_000,
        {},
        "`validation.step: 1` makes 2,950 folds of 3,000 bars .*; write a longer `step`, and a `test` that is at least",
    ),
    (WalkForwardValidation(train="1w", test="1d", step="1h"), 3_000, {}, "`validation.step: 1h` makes 2,832 folds"),
    (HoldoutValidation(), 30, {}, "the test part of fold 1 has 4 of the 30 bars"),
]


@pytest.mark.parametrize(("validation", "bars", "more", "message"), REFUSED)
def test_what_cannot_be_folded_is_one_sentence_with_numbers(
    validation: ValidationSection, bars: int, more: dict[str, float], message: str
) -> None:
    with pytest.raises(BadInputError, match=message) as raised:
        planned(validation, hours(bars), **more)
    assert "\n" not in str(raised.value)
    assert ";" in str(raised.value)


def test_durations_below_a_bar_are_refused() -> None:
    with pytest.raises(BadInputError, match="`validation.step: 1h` is shorter than a bar"):
        plan_folds(
            WalkForwardValidation(train="9d", test="9d", step="1h"),
            hours(300),
            look_ahead=5,
            embargo=0.0,
            bar=np.timedelta64(4 * 3_600_000_000_000, "ns"),
        )


@pytest.mark.parametrize("part", PARTS)
def test_a_fold_without_samples_is_refused(part: str) -> None:
    times = hours(300)
    plan = planned(CpcvValidation(groups=3, test_groups=1), times)
    fold = plan.folds[1]
    usable = {"A": np.ones(300, dtype=np.bool_)}
    for first, end in getattr(fold, part):
        usable["A"][first:end] = False
    with pytest.raises(
        BadInputError, match=f"fold 2 has no {part} sample: of its [0-9]+ bars, 0 have complete features"
    ):
        fold_rows(plan, fold, times, usable)


def test_every_fold_of_a_thousand_is_planned() -> None:
    plan = planned(CpcvValidation(groups=12, test_groups=6), hours(5_000))
    assert len(plan.folds) == 924
    assert len(plan.paths) == 462
    assert plan.folds[-1].number == 924
    assert list(itertools.islice(plan.folds[0].test, 1)) == [(0, 2502)]
