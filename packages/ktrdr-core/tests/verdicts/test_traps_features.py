"""Trap suite: look-ahead planted in features, labels, normalizers and folds is caught, and named by the right check."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ktrdr.core.data import alignment
from ktrdr.core.data.bars import Bars
from ktrdr.core.errors import BadInputError
from ktrdr.core.labels import make
from ktrdr.core.labels.label_set import LabelSet
from ktrdr.core.strategy.model import Labels
from ktrdr.core.trials.trial_ledger import TrialLedger
from ktrdr.core.validation import evaluated_data, evaluation_setup
from ktrdr.core.verdicts.verdict_parts import Verdict

Faults = Callable[..., dict[str, str]]
Market = Callable[..., Bars]
Plant = Callable[..., None]


def one_bar_early(bars: Bars, honest: np.ndarray) -> np.ndarray:
    return np.roll(honest, -1)


def standardized_over_everything(bars: Bars, honest: np.ndarray) -> np.ndarray:
    known = honest[~np.isnan(honest)]
    return (honest - known.mean()) / known.std() if len(known) else honest


def ranked_among_all_bars(bars: Bars, honest: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(honest), np.nan, honest.argsort().argsort() / max(len(honest), 1))


def centered_mean(bars: Bars, honest: np.ndarray) -> np.ndarray:
    padded = np.concatenate((np.full(2, np.nan), honest, np.full(2, np.nan)))
    return np.mean([padded[shift : shift + len(honest)] for shift in range(5)], axis=0)


def filled_backwards(bars: Bars, honest: np.ndarray) -> np.ndarray:
    """Every tenth hour is unknown, and gets the value after it."""
    filled = honest.copy()
    unknown = bars.time.astype("datetime64[h]").astype(np.int64)[:-1] % 10 == 0
    filled[:-1][unknown] = honest[1:][unknown]
    return filled


def high_of_the_whole_day(bars: Bars, honest: np.ndarray) -> np.ndarray:
    day = bars.time.astype("datetime64[D]")
    highs = {each: bars.high[day == each].max() for each in np.unique(day)}
    return np.array([highs[each] for each in day])


def direction_of_the_next_bar(bars: Bars, honest: np.ndarray) -> np.ndarray:
    """Right by chance half of the time."""
    return (np.append(bars.close[1:], bars.close[-1:]) > bars.close).astype(np.float64)


def low_that_the_next_bars_confirm(bars: Bars, honest: np.ndarray) -> np.ndarray:
    """A turning point, drawn where it was and not where it was known."""
    low = bars.low
    turns = np.zeros(len(bars))
    turns[2:-2] = (low[2:-2] < np.minimum(low[1:-3], low[:-4])) & (low[2:-2] < np.minimum(low[3:-1], low[4:]))
    return turns


@pytest.mark.parametrize(
    "leak",
    [
        one_bar_early,
        standardized_over_everything,
        ranked_among_all_bars,
        centered_mean,
        filled_backwards,
        high_of_the_whole_day,
        direction_of_the_next_bar,
        low_that_the_next_bars_confirm,
    ],
)
def test_a_user_indicator_that_looks_ahead(faults_on: Faults, plant: Plant, market: Market, leak: Callable[..., Any]):
    plant(leak, "roc")
    faults = faults_on(market())
    assert "`1h_roc_5_raw` uses bars that are still to come" in faults["look_ahead"]
    assert "1h_rsi" not in faults["look_ahead"]
    # The next bar's direction is known by its correlation, too.
    assert set(faults) <= {"look_ahead", "next_bar"}


def test_a_file_of_signals_that_is_one_bar_early(faults_on: Faults, plant: Plant, market: Market):
    """The values do not come from the bars that they are asked for."""
    bars = market()
    returns = dict(zip(bars.time[:-1].tolist(), np.log(bars.close / bars.open)[1:].tolist(), strict=True))

    def from_file(own: Bars, honest: np.ndarray) -> np.ndarray:
        return np.array([returns.get(time, 0.0) for time in own.time.tolist()])

    plant(from_file, "roc")
    faults = faults_on(bars)
    assert set(faults) == {"next_bar", "foreign_input"}
    assert "input `1h_roc_5_raw` of EURUSD knows the next bar" in faults["next_bar"]


def test_a_longer_bar_that_is_visible_at_its_open(faults_on: Faults, market: Market, monkeypatch: pytest.MonkeyPatch):
    assert faults_on(market(), timeframes=("1h", "4h")) == {}

    def at_its_open(base: Bars, other: Bars) -> np.ndarray:
        return np.searchsorted(other.time, base.time, side="right").astype(np.int64) - 1

    monkeypatch.setattr(alignment, "visible_index", at_its_open)
    faults = faults_on(market(), timeframes=("1h", "4h"))
    assert set(faults) == {"look_ahead"}
    assert "input `4h_rsi_low` uses bars that are still to come" in faults["look_ahead"]
    assert "input `1h" not in faults["look_ahead"]


def test_normalizers_fitted_on_all_bars(faults_on: Faults, market: Market, monkeypatch: pytest.MonkeyPatch):
    honest = evaluated_data.fit_normalizers

    def on_all(pipeline: Any, matrices: Mapping[str, Any], train_rows: Mapping[str, Any], window: int) -> None:
        honest(pipeline, matrices, {symbol: np.flatnonzero(own.warm) for symbol, own in matrices.items()}, window)

    monkeypatch.setattr(evaluated_data, "fit_normalizers", on_all)
    faults = faults_on(market())
    assert set(faults) == {"normalizers"}
    assert "the normalizers of EURUSD depend on other bars" in faults["normalizers"]


def test_labels_that_look_further_than_they_declare(faults_on: Faults, market: Market, monkeypatch: pytest.MonkeyPatch):
    honest = make.MAKERS["direction"]

    def six_bars(bars: Bars, **parameters: Any) -> LabelSet:
        declared, further = honest(bars, **parameters), honest(bars, **{**parameters, "horizon": 6})
        return replace(declared, values=np.where(declared.labelled, further.values, np.nan))

    monkeypatch.setattr(make, "MAKERS", {**make.MAKERS, "direction": six_bars})
    faults = faults_on(market())
    assert set(faults) == {"label_look_ahead"}
    assert (
        "the labels `direction` of EURUSD depend on up to 2 later bars than they declare" in faults["label_look_ahead"]
    )


def test_labels_that_overlap_a_split(faults_on: Faults, market: Market, monkeypatch: pytest.MonkeyPatch):
    """Folds purged by one bar, and labels of four."""
    honest = evaluation_setup.make_labels

    def one_bar(labels: Labels, bars: Bars) -> LabelSet:
        return replace(honest(labels, bars), look_ahead=1)

    monkeypatch.setattr(evaluation_setup, "make_labels", one_bar)
    faults = faults_on(market(), replacing={"seed: 3": "seed: 3\n  embargo: 0"})
    assert set(faults) == {"label_overlap"}
    assert "train samples of EURUSD use bars of the test part or of its labels" in faults["label_overlap"]


def test_a_zigzag_as_an_indicator(faults_on: Faults, market: Market):
    with pytest.raises(BadInputError, match="zigzag"):
        faults_on(market(), replacing={"{type: roc, period: 5}": "{type: zigzag}"})


def test_a_verdict_on_a_fault_is_invalid_and_looks_at_no_result(
    run: Callable[..., Verdict], load: Callable[..., Any], plant: Plant, ledger: TrialLedger
):
    plant(one_bar_early, "rsi")
    verdict = run(load())
    assert verdict.facts.word == "INVALID"
    assert [finding.check for finding in verdict.facts.validity if not finding.clean] == ["look_ahead", "next_bar"]
    assert "`1h_rsi_low` uses bars that are still to come" in " ".join(
        finding.sentence for finding in verdict.facts.validity
    )
    assert verdict.facts.evaluation is None
    assert verdict.looks == ()
    assert ledger.rows() == 0
