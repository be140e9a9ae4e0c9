"""A training of a strategy with the section `validation`: its reserve is not touched, and its fractions are used."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import numpy as np
import pytest

from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.data.sample import sample_bars
from ktrdr.core.data.times import instant_of
from ktrdr.core.errors import BadInputError
from ktrdr.core.models.manifest import SplitBoundaries
from ktrdr.core.plugins.contract import Device, PluginInfo
from ktrdr.core.strategy.loader import load_strategy_text
from ktrdr.core.training.reserve import before_reserve, cut_reserve, reserve_period, reserve_start
from ktrdr.core.training.run_checkpoint import run_key

NO_DATES = ("  date_range: {start: 2017-01-01, end: 2017-03-31}\n", "")
HOLDOUT = (
    "training:\n",
    "validation: {type: holdout, train: 0.5, validation: 0.25, test: 0.25, reserve: 0.8}\ntraining:\n",
)
SAME = "training:\n", "training:\n  data_split: {train: 0.5, validation: 0.25, test: 0.25}\n"


def store_of(path, bars):
    store = BarStore(path)
    store.write(bars)
    return store


@pytest.fixture
def start():
    """Open of the first bar of a reserve of 80 % of the sample."""
    return reserve_start([sample_bars().time], 0.8)


def test_the_model_is_that_of_data_without_the_reserve(make_executor, load, tmp_path, start):
    whole = make_executor(load(*NO_DATES, *HOLDOUT)).execute().bundle
    alone = store_of(tmp_path / "alone", sample_bars().between(None, start))
    cut = make_executor(load(*NO_DATES, *SAME), bar_store=alone).execute().bundle
    one, other = whole.manifest, cut.manifest
    assert one.weights_hash == other.weights_hash
    assert whole.normalizers() == cut.normalizers()
    assert one.metrics == other.metrics
    assert one.baselines == other.baselines
    # The description of the data is that of the bars that were used, with the reserve in addition.
    assert one.data.model_copy(update={"split": {}}) == other.data.model_copy(update={"split": {}})
    assert one.data.split["EURUSD"].model_copy(update={"reserve": None}) == other.data.split["EURUSD"]


def test_prices_in_the_reserve_change_nothing(make_executor, load, tmp_path, start):
    """Not the weights, nor a metric or a label: a row whose label would look into the reserve has none."""
    bars = sample_bars()
    later = bars.time >= start
    prices = {
        name: np.where(later, getattr(bars, name) * 3.0, getattr(bars, name))
        for name in ("open", "high", "low", "close")
    }
    text = load(*NO_DATES, *HOLDOUT)
    honest = make_executor(text).execute()
    other = make_executor(text, bar_store=store_of(tmp_path / "other", replace(bars, **prices))).execute()
    assert honest.bundle.manifest.weights_hash == other.bundle.manifest.weights_hash
    assert honest.bundle.manifest.metrics == other.bundle.manifest.metrics
    assert honest.bundle.manifest.data == other.bundle.manifest.data
    assert honest.samples == other.samples


def test_the_manifest_tells_the_reserve(make_executor, load, start):
    split = make_executor(load(*NO_DATES, *HOLDOUT)).execute().bundle.manifest.data.split["EURUSD"]
    assert split.reserve is not None
    assert instant_of(split.reserve.start) == start
    assert instant_of(split.reserve.end) == sample_bars().end
    assert split.test is not None
    assert split.test.end <= split.reserve.start
    assert SplitBoundaries(train=split.train).reserve is None


@pytest.mark.parametrize(
    ("section", "said"),
    [
        (
            "{type: cpcv}",
            "(70%, 15% and 15% of the bars, as the folds of `validation: cpcv` are those of `ktrdr evaluate`)",
        ),
        (
            "{type: walk_forward, train: 500, test: 50}",
            "(70%, 15% and 15% of the bars, as the folds of `validation: walk",
        ),
        ("{type: holdout, train: 0.5, validation: 0.25, test: 0.25}", ""),
    ],
)
def test_other_kinds_train_on_the_default_fractions_and_say_so_once(make_executor, load, section, said):
    events = []
    result = make_executor(load("training:\n", f"validation: {section}\ntraining:\n"), progress=events.append).execute()
    messages = [event.message for event in events if "of the bars, as" in event.message]
    assert [event.step for event in events if said and said in event.message] == (["split"] if said else [])
    assert len(messages) == bool(said)
    assert not [event for event in events if event.step == "reserve"]
    expected = make_executor(load() if said else load(*SAME)).execute()
    assert result.samples == expected.samples
    assert result.bundle.manifest.weights_hash == expected.bundle.manifest.weights_hash


def test_the_progress_tells_the_size_of_the_reserve(make_executor, load):
    events = []
    make_executor(load(*NO_DATES, *HOLDOUT), progress=events.append).execute()
    assert [event.message for event in events if event.step == "reserve"] == ["", "4,980 bars are not touched"]


def test_the_key_of_a_checkpoint_depends_on_the_section(load):
    plugin, device = PluginInfo(name="torch", version="1.0", contract="2.0", model_types=()), Device("cpu", "cpu")
    sections = ["{type: cpcv}", "{type: cpcv, reserve: 0.1}", "{type: holdout}", "{type: holdout, reserve: 0.1}"]
    texts = [load(), *(load("training:\n", f"validation: {section}\ntraining:\n") for section in sections)]
    keys = [run_key(each.strategy, "f" * 64, plugin, device) for each in texts]
    assert len(set(keys)) == len(keys)
    # Without the section it is that of the version before the section: interrupted runs can be resumed.
    before = run_key(load_strategy_text(texts[0].text).strategy, "f" * 64, plugin, device)
    assert before == "68478150e24e13c424dab41e"


def test_the_reserve_of_two_symbols_begins_at_the_same_time(stock_store):
    bars = {symbol: {"1d": stock_store.read(symbol, "1d")} for symbol in ("AAPL", "FB")}
    base = {symbol: own["1d"] for symbol, own in bars.items()}
    start = reserve_start([own.time for own in base.values()], 0.01)
    cut = cut_reserve(bars, start)
    # FB has bars on 33 of the last 33 days of AAPL.
    assert [len(base[symbol]) - len(own["1d"]) for symbol, own in cut.items()] == [33, 33]
    period = reserve_period(base, start)
    assert period is not None
    assert (instant_of(period.start), instant_of(period.end)) == (start, base["AAPL"].end)
    assert period.start.tzinfo is dt.UTC
    assert reserve_period(base, None) is None
    assert cut_reserve(bars, None) == bars


def test_a_symbol_without_bars_before_the_reserve_is_named(make_executor, load_stocks, stock_store):
    text = load_stocks("training:\n", "validation: {type: cpcv, reserve: 0.1}\ntraining:\n")
    with pytest.raises(BadInputError, match="FB has no 1d bars before the reserve, which begins at 2011-"):
        make_executor(text, bar_store=stock_store).execute()


def test_a_longer_bar_that_closes_in_the_reserve_is_left_out(bar_store):
    hours, days = bar_store.read("EURUSD", "1h"), bar_store.read("EURUSD", "1h")
    start = hours.time[1000]
    cut = before_reserve({"1h": hours, "again": days}, start)
    assert len(cut["1h"]) == 1000
    assert cut["again"].end <= start
    late = before_reserve({"1h": hours, "again": days}, start + np.timedelta64(30, "m"))
    assert len(late["1h"]) == 1001
    assert len(late["again"]) == 1000


def test_a_reserve_that_leaves_nothing_is_refused(make_executor, load):
    text = load("training:\n", "validation: {type: cpcv, reserve: 0.9999}\ntraining:\n")
    with pytest.raises(BadInputError, match="`validation.reserve: 0.9999` takes all 1,5.. bars and leaves none"):
        make_executor(text).execute()


@pytest.mark.parametrize(
    ("dates", "same"), [({"end": "2017-05-31"}, True), ({"start": "2017-01-20"}, False), ({"end": "2017-02-28"}, False)]
)
def test_the_dates_of_a_run_do_not_move_the_reserve(make_executor, load, dates, same):
    """Nor does a training reach it, whatever the end of the run is."""
    text = load("training:\n", "validation: {type: holdout, reserve: 0.2}\ntraining:\n")
    usual, other = (make_executor(text, **own).execute().bundle.manifest for own in ({}, dates))
    kept, parts = usual.data.split["EURUSD"], other.data.split["EURUSD"]
    assert parts.reserve == kept.reserve
    assert parts.test.end <= kept.reserve.start
    assert (other.weights_hash == usual.weights_hash) == same


def test_dates_of_the_file_without_bars_are_told(make_executor, load):
    text = load(
        *("start: 2017-01-01, end: 2017-03-31", "start: 2031-01-01, end: 2031-03-31"),
        *("training:\n", "validation: {type: holdout, reserve: 0.2}\ntraining:\n"),
    )
    with pytest.raises(BadInputError, match="no 1h bars from 2031-01-01 to 2031-03-31, the dates of the strategy file"):
        make_executor(text, start="2017-01-01", end="2017-03-31").execute()
