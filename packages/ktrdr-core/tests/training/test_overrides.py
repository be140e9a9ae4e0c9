"""Overrides of a strategy for one run."""

from __future__ import annotations

import datetime as dt

import pytest

from ktrdr.core.errors import BadInputError
from ktrdr.core.jobs.job_settings import EvaluationSettings, TrainingSettings
from ktrdr.core.strategy.model import Strategy
from ktrdr.core.training.overrides import override, override_evaluated


def test_nothing_given_changes_nothing(load):
    strategy = load().strategy
    assert override(strategy, TrainingSettings()) == strategy


def test_each_takes_the_place_of_what_the_strategy_says(load):
    strategy = load().strategy
    settings = TrainingSettings(
        symbols=("AAPL", "FB"),
        start=dt.date(2017, 2, 1),
        end=dt.date(2017, 2, 28),
        seed=2**32 - 1,
        epochs=1,
    )
    changed = override(strategy, settings)
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
    changed = override(load().strategy, TrainingSettings(end=dt.date(2017, 2, 28)))
    assert changed.training_data.date_range.start == dt.date(2017, 1, 1)


def test_epochs_count_as_given_so_that_a_model_without_them_refuses(load):
    loaded = load("  epochs: 6\n", "")
    assert "epochs" not in loaded.strategy.training.given
    assert "epochs" in override(loaded.strategy, TrainingSettings(epochs=3)).training.given


def test_days_that_are_reversed_together_with_those_of_the_strategy_are_refused(load):
    with pytest.raises(BadInputError, match=r"start \(2017-04-01\) after they end \(2017-03-31\)"):
        override(load().strategy, TrainingSettings(start=dt.date(2017, 4, 1)))


ENSEMBLE = ("{type: softmax_regression}", "{type: ensemble, of: {type: softmax_regression}, members: {seeds: 4}}")


def test_seeds_alone_leave_the_model_as_it_is(load):
    strategy = load().strategy
    assert override(strategy, TrainingSettings(seeds=3)).model == strategy.model


def test_an_ensemble_of_the_seeds_is_the_one_that_a_strategy_can_write(load):
    made = override(load().strategy, TrainingSettings(seeds=4, ensemble=True))
    assert made == load(*ENSEMBLE).strategy


def test_a_strategy_that_is_an_ensemble_keeps_its_members_or_gets_the_given_number(load):
    strategy = load(*ENSEMBLE).strategy
    assert override(strategy, TrainingSettings()) == strategy
    assert override(strategy, TrainingSettings(ensemble=True)) == strategy
    more = override(strategy, TrainingSettings(seeds=7, ensemble=True))
    assert more.model.members.seeds == 7
    assert more.model.of == strategy.model.of


@pytest.mark.parametrize(
    ("written", "settings", "message"),
    [
        ((), {"ensemble": True}, "`ensemble` needs the number of its members; add `seeds`, such as 5"),
        (
            (),
            {"ensemble": True, "seeds": 65},
            "an ensemble has at most 64 members, not 65; lower `seeds`, or leave out `ensemble`",
        ),
        (
            ENSEMBLE,
            {"seeds": 7},
            "strategy `waves` is an ensemble of 4 seeds already; leave out `seeds`, or add `ensemble` to train it with "
            "7 members",
        ),
        (ENSEMBLE, {"seeds": 65, "ensemble": True}, "an ensemble has at most 64 members, not 65; lower `seeds`"),
    ],
)
def test_seeds_and_ensembles_that_do_not_fit_are_refused(load, written, settings, message):
    strategy = load(*written).strategy
    with pytest.raises(BadInputError) as caught:
        override(strategy, TrainingSettings(**settings))
    assert message in str(caught.value)


def test_the_remedy_for_a_reserve_names_the_split_that_it_takes_the_place_of(load):
    strategy = load().strategy
    for given, told in (
        ((), "reserve: 0.15}`, or leave out"),
        (("data_split",), "reserve: 0.15}` in place of `training.data_split`, or"),
    ):
        training = strategy.training.model_copy(update={"given": given})
        with pytest.raises(BadInputError, match=told):
            override_evaluated(
                strategy.model_copy(update={"training": training, "validation": None}), EvaluationSettings(reserve=True)
            )
