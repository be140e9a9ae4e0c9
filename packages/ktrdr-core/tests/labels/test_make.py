"""Every declared source works with exactly its declared parameters, and what a LabelSet refuses."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import numpy as np
import pytest

from ktrdr.core.data.bars import Bars
from ktrdr.core.data.timeframe import Timeframe
from ktrdr.core.labels.make import MAKERS, LabelSet, make_labels
from ktrdr.core.strategy.label_parameters import LABEL_SOURCES
from ktrdr.core.strategy.model import CLASSES, Labels

Section = Callable[..., Labels]
BarsOf = Callable[..., Bars]


def test_sources_are_those_that_are_declared():
    assert list(MAKERS) == list(LABEL_SOURCES)


@pytest.mark.parametrize("source", LABEL_SOURCES)
def test_parameters_are_those_that_are_declared(source: str):
    taken = [name for name, part in inspect.signature(MAKERS[source]).parameters.items() if name != "bars"]
    assert taken == [parameter.name for parameter in LABEL_SOURCES[source].parameters]


@pytest.mark.parametrize("source", LABEL_SOURCES)
def test_classes_fit_the_kind_of_output(source: str, eurusd: Bars, labels_section: Section):
    made = make_labels(labels_section(source), eurusd)
    if LABEL_SOURCES[source].output == "classification":
        assert made.classes == CLASSES
        assert set(np.unique(made.values[made.labelled])) <= {0.0, 1.0, 2.0}
    else:
        assert made.classes == ()
    assert made.labelled.sum() > 6000
    ahead = (made.span_end - np.arange(len(made)))[made.labelled]
    assert 1 <= ahead.min() <= ahead.max() == made.look_ahead


@pytest.mark.parametrize("source", LABEL_SOURCES)
@pytest.mark.parametrize("n", [0, 1, 2])
def test_too_few_bars_have_no_labels(source: str, n: int, eurusd: Bars, labels_section: Section):
    parameters = {"horizon": 20} if source == "direction" else {}
    made = make_labels(labels_section(source, **parameters), eurusd[:n])
    assert len(made) == n
    assert not made.labelled.any()


@pytest.mark.parametrize(
    ("source", "parameters"),
    [
        ("zigzag", {"zigzag_threshold": 0.5, "label_lookahead": 10_000}),
        ("forward_return", {"horizon": 10_000}),
        ("triple_barrier", {"pt_multiplier": 1e6, "sl_multiplier": 1e6, "max_holding_period": 10_000}),
    ],
)
def test_a_look_ahead_longer_than_the_data_leaves_no_labels(
    source: str, parameters: dict[str, float], eurusd: Bars, labels_section: Section
):
    assert not make_labels(labels_section(source, **parameters), eurusd).labelled.any()


@pytest.mark.parametrize(("source", "name"), [("zigzag", "label_lookahead"), ("triple_barrier", "max_holding_period")])
def test_every_class_occurs_and_follows_the_prices(source: str, name: str, eurusd: Bars, labels_section: Section):
    """On average the price rises after BUY and falls after SELL: the classes are not mixed up."""
    scale = {"zigzag_threshold": 0.003} if source == "zigzag" else {"sl_multiplier": 2.0}
    made = make_labels(labels_section(source, **{name: 20}, **scale), eurusd)
    rows = np.flatnonzero(made.labelled)
    change = eurusd.close[made.span_end[rows]] / eurusd.close[rows] - 1
    buy, hold, sell = (change[made.values[rows] == number] for number in range(3))
    assert min(len(buy), len(hold), len(sell)) > 100
    assert buy.mean() > np.abs(hold).mean() > 0 > sell.mean()


def test_a_label_set_refuses_spans_beyond_what_is_declared():
    values = np.array([0.0, 1.0, np.nan])
    LabelSet(values, np.array([1, 2, 99]), 1, CLASSES)
    with pytest.raises(ValueError, match="1 to 2 bars ahead, but declare 1 to 1"):
        LabelSet(values, np.array([2, 2, 2]), 1, CLASSES)
    with pytest.raises(ValueError, match="0 to 1 bars ahead"):
        LabelSet(values, np.array([1, 1, 2]), 5, CLASSES)
    with pytest.raises(ValueError, match="after the last one"):
        LabelSet(values, np.array([1, 3, 2]), 5, CLASSES)
    with pytest.raises(TypeError, match="values must be float64"):
        LabelSet(values.astype(np.float32), np.array([1, 2, 2]), 1, CLASSES)
    with pytest.raises(TypeError, match="span_end must be int64"):
        LabelSet(values, np.array([1.0, 2.0, 2.0]), 1, CLASSES)


def walk(seed: int, n: int) -> Bars:
    """A market that goes nowhere: bars of 60 steps of a random walk each."""
    random = np.random.default_rng(seed)
    price = np.exp(np.cumsum(random.normal(0, 1.3e-4, n * 60))).reshape(n, 60)
    opened = np.concatenate(([1.0], price[:-1, -1]))
    time = np.datetime64("2020-01-06", "ns") + np.arange(n) * np.timedelta64(3_600_000_000_000, "ns")
    high, low = np.maximum(opened, price.max(axis=1)), np.minimum(opened, price.min(axis=1))
    return Bars("X", Timeframe("1h"), time, opened, high, low, price[:, -1].copy(), np.ones(n))


def test_a_triple_barrier_of_two_to_one_sells_twice_as_often_as_it_buys(labels_section: Section):
    """What the reference says: 65 % SELL where nothing goes up or down, and as many of each at one to one."""
    shares = []
    for profit in (2.0, 1.0):
        section = labels_section("triple_barrier", pt_multiplier=profit, sl_multiplier=1.0)
        made = [make_labels(section, walk(seed, 10_000)) for seed in range(8)]
        values = np.concatenate([each.values[each.labelled] for each in made])
        shares.append((values[:, None] == np.arange(3)).mean(axis=0))
    (buy, hold, sell), (even_buy, _, even_sell) = shares
    # Labels that overlap are few independent ones: of a walk of 20,000 bars the share is within 64 % and 67 %.
    assert 0.64 < sell < 0.67
    assert hold < 0.02
    assert sell / buy == pytest.approx(2.0, abs=0.12)
    assert even_buy == pytest.approx(even_sell, abs=0.02)
