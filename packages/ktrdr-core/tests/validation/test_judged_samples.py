"""What an evaluation is compared with, and the kinds of market, against slow references from the bars alone."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from ktrdr.core.validation import judgement
from ktrdr.core.validation.path_accounts import trade_paths
from ktrdr.core.validation.regimes import REGIMES, UNKNOWN, regimes_of

WALK = {"type": "walk_forward", "train": "5w", "test": "2w"}
CLASSES = ("BUY", "HOLD", "SELL")
# Without normalizers all folds share one matrix, and rows of samples are rows of bars.
UNNORMALIZED = ("  - {raw_indicator: roc_5, timeframes: all}\n", "")
HORIZON, THRESHOLD = 4, 0.0005


@pytest.fixture
def bars(bar_store):
    """The evaluated bars."""
    return bar_store.read("EURUSD", "1h", None, np.datetime64("2017-04-01"))


def label_of(bars, row):
    """Name of the label of a bar, from its definition."""
    change = bars.close[row + HORIZON] / bars.close[row] - 1
    return "BUY" if change > THRESHOLD else "SELL" if change < -THRESHOLD else "HOLD"


def rows_of(bars, part):
    """Rows of a test part that have a label: those of the last four bars are not known."""
    start, end = (np.datetime64(at.replace(tzinfo=None), "ns") for at in (part.start, part.end))
    rows = [row for row in range(len(bars) - HORIZON) if start <= bars.time[row] < end]
    assert rows
    return rows


def frequencies(bars, member):
    """Share of each class in the training samples of a fold."""
    counted = Counter(label_of(bars, int(row)) for row in member.data.train.rows)
    # In the order of the classes: of two that are as frequent the first is predicted.
    return {name: counted[name] / counted.total() for name in CLASSES}


def losses(bars, rows, shares):
    return [-math.log(shares[label_of(bars, row)]) for row in rows]


def test_the_majority_class_is_that_of_the_training_samples(load, run, members, bars):
    found = run(load(*UNNORMALIZED, **WALK), seeds=1).facts
    assert len(members) == len(found.folds) > 1
    pooled, right = [], []
    for member, fold in zip(members, found.folds, strict=True):
        (part,) = fold.test
        rows, shares = rows_of(bars, part), frequencies(bars, member)
        assert fold.samples["test"] == len(rows)
        own = losses(bars, rows, shares)
        most = max(shares, key=shares.__getitem__)
        assert fold.baselines["majority"]["log_loss"] == pytest.approx(np.mean(own), rel=1e-9)
        assert fold.baselines["majority"]["accuracy"] == np.mean([label_of(bars, row) == most for row in rows])
        # The test samples themselves would give another loss.
        counted = Counter(label_of(bars, row) for row in rows)
        seen = losses(bars, rows, {name: number / len(rows) for name, number in counted.items()})
        assert np.mean(seen) < np.mean(own) - 1e-6
        pooled += own
        right += [label_of(bars, row) == most for row in rows]
    assert found.baselines["majority"]["log_loss"] == pytest.approx(np.mean(pooled), rel=1e-9)
    assert found.baselines["majority"]["accuracy"] == pytest.approx(np.mean(right), rel=1e-12)


def test_the_account_of_the_majority_trades_the_most_frequent_class(load, run, members, bars, monkeypatch):
    traded = []

    def capture(*arguments, majority, **more):
        traded.append(majority)
        return trade_paths(*arguments, majority=majority, **more)

    monkeypatch.setattr(judgement, "trade_paths", capture)
    run(load(*UNNORMALIZED, **WALK), seeds=1)
    counted = Counter(label_of(bars, int(row)) for member in members for row in member.data.train.rows)
    assert len(set(counted.values())) == len(CLASSES)
    assert [CLASSES[number] for number in traded] == [counted.most_common(1)[0][0]]


def test_each_sample_counts_in_the_kind_of_market_of_its_own_bar(load, run, members, bars):
    evaluation = run(load(*UNNORMALIZED, **WALK), seeds=1)
    kinds, samples = regimes_of(bars.close, "1h"), {}
    outputs = evaluation.out_of_sample["EURUSD"]
    predicted = {time: CLASSES[int(row.argmax())] for time, row in zip(outputs.time, outputs.outputs, strict=True)}
    for member, fold in zip(members, evaluation.facts.folds, strict=True):
        shares = frequencies(bars, member)
        most = max(shares, key=shares.__getitem__)
        for row in rows_of(bars, fold.test[0]):
            truth = label_of(bars, row)
            samples.setdefault(int(kinds[row]), []).append((predicted[bars.time[row]] == truth, most == truth))
    names = {number: REGIMES[number] if number != UNKNOWN else "not known yet" for number in samples}
    assert len(names) > 3
    rows = {row.regime: row for row in evaluation.facts.regimes}
    for number, name in names.items():
        accuracy, majority = np.mean(samples[number], axis=0)
        assert rows[name].accuracy == pytest.approx(accuracy, rel=1e-12), name
        assert rows[name].majority == pytest.approx(majority, rel=1e-12), name
