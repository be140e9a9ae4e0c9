"""Samples and normalizers of a training that depend on tested bars are found; purged folds are clean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from ktrdr.core.cache.array_cache import NO_CACHE
from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.data.bars import Bars
from ktrdr.core.features.symbol_cache import SymbolCache
from ktrdr.core.validation import evaluated_data
from ktrdr.core.validation.evaluated_data import EvaluatedData, prepare_data
from ktrdr.core.validation.evaluation_setup import EvaluationSetup
from ktrdr.core.validation.fold_plan import FoldRows
from ktrdr.core.validation.fold_samples import fold_rows
from ktrdr.core.verdicts.training_rows import check_label_overlap, check_normalizers
from ktrdr.core.work.cancellation import Cancellation
from ktrdr.core.work.progress import NO_PROGRESS
from ktrdr.core.work.steps import Steps

Parts = tuple[EvaluationSetup, EvaluatedData, list[FoldRows]]
Market = Callable[..., Bars]


@pytest.fixture
def parts(set_up_on: Callable[..., tuple[EvaluationSetup, BarStore]], market: Market) -> Callable[..., Parts]:
    """Return ``parts(bars, ..., window=1)``: an evaluation, its data, and the samples of its folds."""

    def make(*series: Bars, window: int = 1) -> Parts:
        setup, _ = set_up_on(*(series or (market(),)))
        caches = {symbol: SymbolCache(NO_CACHE, own) for symbol, own in setup.bars.items()}
        training = setup.strategy.training
        steps = Steps(NO_PROGRESS, Cancellation())
        data = prepare_data(setup.pipeline, training, setup.bars, window, caches, steps)
        return setup, data, [fold_rows(setup.plan, fold, setup.times, data.usable, window) for fold in setup.plan.folds]

    return make


def overlap(parts: Parts, rows: list[FoldRows] | None = None, window: int = 1) -> str:
    setup, data, own = parts
    finding = check_label_overlap(setup.plan, own if rows is None else rows, setup.times, data.labels, window)
    return "" if finding.clean else finding.sentence


def with_row(rows: FoldRows, part: str, row: int) -> FoldRows:
    return replace(rows, **{part: {"EURUSD": np.sort(np.append(getattr(rows, part)["EURUSD"], row))}})


def test_purged_folds_are_clean(parts: Callable[..., Parts]):
    assert overlap(parts()) == ""
    assert overlap(parts(window=10), window=10) == ""


def test_folds_of_symbols_with_gaps_are_clean(parts: Callable[..., Parts], market: Market):
    other = market(symbol="GBPUSD", seed=9)
    keep = np.random.default_rng(2).random(len(other)) < 0.5
    columns = (getattr(other, name)[keep] for name in ("time", "open", "high", "low", "close", "volume"))
    assert overlap(parts(market(), Bars("GBPUSD", other.timeframe, *columns, calendar="24/7"))) == ""


@pytest.mark.parametrize("part", ["train", "validation"])
@pytest.mark.parametrize(("steps", "shares"), [(-5, False), (-4, True), (0, True)])
def test_a_sample_whose_label_reaches_a_test_part_is_found(
    parts: Callable[..., Parts], part: str, steps: int, shares: bool
):
    """Labels look four bars ahead."""
    made = parts()
    setup, _, rows = made
    # The fold whose test part begins last.
    number = max(range(len(rows)), key=lambda each: setup.plan.folds[each].test[0][0])
    start = setup.plan.folds[number].test[0][0]
    rows[number] = with_row(rows[number], part, start + steps)
    sentence = overlap(made, rows)
    assert bool(sentence) == shares
    if shares:
        assert sentence.startswith(f"fold {number + 1}: 1 {part} samples of EURUSD use bars of the test part")
        assert "the look-ahead that the label source declares" in sentence


@pytest.mark.parametrize(("steps", "shares"), [(3, True), (4, False)])
def test_a_sample_among_the_labels_of_the_test_part_is_found(parts: Callable[..., Parts], steps: int, shares: bool):
    made = parts()
    setup, _, rows = made
    number = min(range(len(rows)), key=lambda each: setup.plan.folds[each].test[-1][1])
    end = setup.plan.folds[number].test[-1][1]
    rows[number] = with_row(rows[number], "train", end + steps)
    assert bool(overlap(made, rows)) == shares


def test_a_window_that_begins_in_a_test_part_is_found(parts: Callable[..., Parts]):
    made = parts(window=10)
    setup, _, rows = made
    number = min(range(len(rows)), key=lambda each: setup.plan.folds[each].test[-1][1])
    end = setup.plan.folds[number].test[-1][1]
    later = [*rows]
    later[number] = with_row(rows[number], "train", end + 8)
    assert "1 train samples" in overlap(made, later, window=10)
    later[number] = with_row(rows[number], "train", end + 9)
    assert overlap(made, later, window=10) == ""


def test_normalizers_of_training_rows_are_clean(parts: Callable[..., Parts]):
    setup, data, rows = parts()
    finding = check_normalizers(data, setup.plan, rows)
    assert finding.clean
    assert "3 folds" in finding.sentence


def test_normalizers_fitted_on_all_bars_are_found(parts: Callable[..., Parts], monkeypatch: pytest.MonkeyPatch):
    setup, data, rows = parts()
    honest = evaluated_data.fit_normalizers

    def on_all(pipeline: object, matrices: dict[str, object], train_rows: dict[str, object], window: int) -> None:
        warm = {symbol: np.flatnonzero(matrix.warm) for symbol, matrix in data.matrices.items()}
        honest(pipeline, matrices, {symbol: warm[symbol][window - 1 :] for symbol in train_rows}, window)

    monkeypatch.setattr(evaluated_data, "fit_normalizers", on_all)
    finding = check_normalizers(data, setup.plan, rows)
    assert not finding.clean
    assert finding.sentence.startswith("fold 1: the normalizers of EURUSD depend on other bars; fold ")
