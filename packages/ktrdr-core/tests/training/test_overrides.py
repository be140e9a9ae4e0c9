"""What a run says otherwise than its strategy."""

from __future__ import annotations

import datetime as dt

import pytest

from ktrdr.core.errors import BadInputError
from ktrdr.core.strategy.model import Strategy
from ktrdr.core.training.overrides import override


def test_nothing_given_changes_nothing(load):
    strategy = load().strategy
    assert override(strategy) == strategy


def test_each_takes_the_place_of_what_the_strategy_says(load):
    strategy = load().strategy
    changed = override(
        strategy,
        symbols=["AAPL", "FB"],
        start=dt.date(2017, 2, 1),
        end=dt.date(2017, 2, 28),
        seed=2**32 - 1,
        epochs=1,
    )
    assert changed.training_data.symbols == ("AAPL", "FB")
    assert (changed.training_data.date_range.start, changed.training_data.date_range.end) == (
        dt.date(2017, 2, 1),
        dt.date(2017, 2, 28),
    )
    assert (changed.training.seed, changed.training.epochs) == (2**32 - 1, 1)
    # The rest is untouched, and the whole is a strategy that a bundle can keep.
    assert (
        changed.model_copy(update={"training_data": strategy.training_data, "training": strategy.training}) == strategy
    )
    assert Strategy.model_validate_json(changed.model_dump_json()) == changed


def test_one_date_leaves_the_other(load):
    changed = override(load().strategy, end=dt.date(2017, 2, 28))
    assert changed.training_data.date_range.start == dt.date(2017, 1, 1)


def test_epochs_count_as_given_so_that_a_model_without_them_refuses(load):
    loaded = load("  epochs: 6\n", "")
    assert "epochs" not in loaded.strategy.training.given
    assert "epochs" in override(loaded.strategy, epochs=3).training.given


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"symbols": []}, "no symbols"),
        ({"symbols": ["AAPL", "AAPL"]}, "`AAPL` is given twice"),
        ({"symbols": ["../x"]}, "cannot be a symbol"),
        ({"start": dt.date(2017, 4, 1)}, "begin (2017-04-01) after they end (2017-03-31)"),
        ({"seed": -1}, "seed must be from 0"),
        ({"seed": 2**32}, "seed must be from 0"),
        ({"epochs": 0}, "epochs must be from 1"),
    ],
)
def test_what_cannot_be_is_refused(load, arguments, message):
    with pytest.raises(BadInputError) as caught:
        override(load().strategy, **arguments)
    assert message in str(caught.value)
