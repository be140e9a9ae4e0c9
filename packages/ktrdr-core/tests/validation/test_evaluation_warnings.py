"""Warnings about an evaluation: each is told where it applies, and nowhere else."""

from __future__ import annotations

import datetime as dt

import pytest

from ktrdr.core.validation.evaluation_result import FoldResult, Interval, PartTimes, PathResult, SeedResult
from ktrdr.core.validation.evaluation_warnings import account_warnings, fold_warnings, seed_warnings

PERIOD = PartTimes(start=dt.datetime(2017, 1, 1, tzinfo=dt.UTC), end=dt.datetime(2017, 2, 1, tzinfo=dt.UTC))


def fold(number, *, train=5_000, test=1_000, accuracies=(0.5, 0.6)):
    seeds = tuple(SeedResult(seed=seed, best_epoch=3, metrics={"accuracy": own}) for seed, own in enumerate(accuracies))
    return FoldResult(
        fold=number, train=(PERIOD,), validation=(), test=(PERIOD,),
        samples={"train": train, "validation": 0, "test": test}, metrics={}, seeds=seeds, baselines={},
    )  # fmt: skip


def account(**metrics):
    return PathResult(path=1, seed=1, metrics={"sharpe": 1.0, "trades": 100, "total_return": 0.1} | metrics)


def of_folds(folds, *, loss=0.6, baseline=0.7):
    metrics, baselines = {"log_loss": Interval(value=loss)}, {"majority": {"log_loss": baseline}}
    return fold_warnings(folds, 18, "classification", metrics, baselines)


def test_what_suffices_is_no_warning():
    assert of_folds([fold(1), fold(2)]) == ()
    assert seed_warnings("mlp", [fold(1), fold(2)]) == ()
    assert account_warnings(account(), {"sharpe": 0.5}, 0, 10) == ()


@pytest.mark.parametrize(
    ("few", "told"),
    [
        (fold(2, train=179), "in the fold with the fewest, 179 training samples are too few to learn from"),
        (fold(2, test=99), "in the fold with the fewest, 99 test samples are too few to judge by"),
    ],
)
def test_the_fold_with_the_fewest_samples_decides(few, told):
    (warning,) = of_folds([fold(1), few, fold(3)])
    assert warning.startswith(told)


def test_a_model_below_a_baseline_is_told():
    (warning,) = of_folds([fold(1)], loss=0.71)
    assert "the model is below its baseline: on the test part its log loss is 0.71" in warning


def test_equal_seeds_are_told_only_if_they_are_equal_in_every_fold():
    equal = fold(1, accuracies=(0.5, 0.5))
    assert seed_warnings("mlp", [equal, fold(2)]) == ()
    (warning,) = seed_warnings("mlp", [equal, fold(2, accuracies=(0.6, 0.6))])
    assert "the seed changes nothing for mlp: both models have the same metrics" in warning
    assert seed_warnings("mlp", [fold(1, accuracies=(0.5,))]) == ()


@pytest.mark.parametrize(
    ("median", "hold", "spent", "told"),
    [
        (account(sharpe=0.4), 0.5, 0, "the median account is below buy and hold: its Sharpe ratio is 0.40"),
        (account(trades=12), 0.5, 0, "of the median account, 12 trades are too few to judge by"),
        (account(sharpe=None, trades=0), 0.5, 0, "the median account never trades"),
        (account(), 0.5, 3, "the equity of 3 of 10 accounts fell to 0 or below"),
    ],
)
def test_what_is_wrong_with_accounts_is_told(median, hold, spent, told):
    (warning,) = account_warnings(median, {"sharpe": hold}, spent, 10)
    assert warning.startswith(told)
