"""However the best of many settings is presented, it counts as the best of many."""

from __future__ import annotations

import pytest
import yaml

from ktrdr.core.models.model_store import default_model_store

# A hundred settings of the same model, over the two months after its training data.
GRID = {
    "decisions.confidence_threshold": [round(0.334 + step / 500, 3) for step in range(10)],
    "risk.stop_loss.atr": [1.5 + step / 4 for step in range(10)],
}
MONTHS = {"start": "2017-04-01", "end": "2017-05-31"}


@pytest.fixture
def swept(way, write_strategy):
    """A sweep of a model that is not among its own cells."""
    way.train(write_strategy("honest", threshold=0.5))
    return way.sweep("honest", GRID, **MONTHS)


@pytest.fixture
def best(swept):
    return swept["rows"][0]


@pytest.fixture
def forged(best, write_strategy):
    """A file with the settings of the best row, under another name."""
    settings = best["settings"]
    return write_strategy(
        "found_at_once",
        threshold=settings["decisions.confidence_threshold"],
        stop=settings["risk.stop_loss.atr"],
    )


def is_one_of_a_hundred(shown, best, trials=100):
    assert shown["trial_count"]["known"] == trials
    assert shown["trial_count"]["chosen_among"] == 100
    assert shown["metrics"]["trials"] == trials
    same = [name for name in best["metrics"] if name not in ("deflated_sharpe", "trials")]
    assert {name: shown["metrics"][name] for name in same} == {name: best["metrics"][name] for name in same}
    if trials == 100:
        assert shown["metrics"]["deflated_sharpe"] == best["metrics"]["deflated_sharpe"]


def test_a_file_with_the_settings_of_the_best_row_is_still_one_of_all(way, swept, best, forged):
    assert swept["trial_count"]["known"] == swept["trials"] == 100
    assert best["metrics"]["deflated_sharpe"] < best["metrics"]["probabilistic_sharpe"]
    way.train(forged)
    shown = way.backtest("found_at_once", **MONTHS)
    is_one_of_a_hundred(shown, best)
    # Nor does it help to ask again, or to remove what led there.
    for _ in range(3):
        is_one_of_a_hundred(way.backtest("found_at_once", **MONTHS), best)
    for model in ("honest/1", "found_at_once/1"):
        default_model_store().delete(model)
    way.train(forged)
    is_one_of_a_hundred(way.backtest("found_at_once/2", **MONTHS), best)


def test_the_command_that_deletes_models_deletes_no_trial(way, swept, best, forged, ktrdr):
    assert ktrdr("models", "delete", "honest/1", "--yes")[0] == 0
    way.train(forged)
    is_one_of_a_hundred(way.backtest("found_at_once", **MONTHS), best)


def test_another_way_to_write_the_same_choice_is_the_same_choice(way, swept, best, forged):
    """Keys in another order, what is a default written, other words in it."""
    document = dict(reversed(yaml.safe_load(forged.read_text(encoding="utf-8")).items()))
    document |= {"description": "An idea that came to me", "deployment": {"target_symbols": {"mode": "training_only"}}}
    document["decisions"]["position_awareness"] = True
    document["training"] |= {"sample_weights": "none"}
    forged.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    way.train(forged)
    is_one_of_a_hundred(way.backtest("found_at_once", **MONTHS), best)


def test_a_sweep_of_the_best_row_alone_is_nothing_new(way, swept, best):
    alone = way.sweep("honest", {name: [value] for name, value in best["settings"].items()}, **MONTHS)
    assert alone["rows"][0]["metrics"] == best["metrics"]
    assert alone["trial_count"] == swept["trial_count"]


def test_other_costs_are_another_choice(way, swept, forged):
    way.train(forged)
    dearer = way.backtest("found_at_once", commission=0.0001, **MONTHS)
    assert dearer["trial_count"]["known"] == 101
    assert dearer["trial_count"]["chosen_among"] == 100


def test_bars_that_nobody_looked_at_are_new(way, swept, best, forged):
    way.train(forged)
    later = way.backtest("found_at_once", start="2017-06-01", end="2017-07-31")
    assert later["trial_count"]["known"] == later["metrics"]["trials"] == 1
    assert later["metrics"]["deflated_sharpe"] == later["metrics"]["probabilistic_sharpe"]
    # That it was chosen among many is said where it does not count, too.
    assert later["trial_count"]["chosen_among"] == 100
    is_one_of_a_hundred(way.backtest("found_at_once", **MONTHS), best)
    # Whatever overlaps both counts both, and itself.
    assert way.backtest("found_at_once", start="2017-05-31", end="2017-06-01")["trial_count"]["known"] == 102


def test_what_was_made_elsewhere_can_be_added_and_nothing_can_be_taken_off(way, swept, best, forged):
    way.train(forged)
    more = way.backtest("found_at_once", trials=5, **MONTHS)
    assert (more["trial_count"]["number"], more["trial_count"]["known"], more["trial_count"]["elsewhere"]) == (
        105,
        100,
        5,
    )
    assert more["metrics"]["trials"] == 105
    assert more["metrics"]["deflated_sharpe"] < best["metrics"]["deflated_sharpe"]
    least = way.backtest("found_at_once", trials=1, **MONTHS)
    assert least["metrics"]["trials"] == 101
    # It is said anew each time, and not kept.
    is_one_of_a_hundred(way.backtest("found_at_once", **MONTHS), best)
    again = way.sweep("honest", GRID, trials=5, **MONTHS)
    assert again["rows"][0]["metrics"]["trials"] == 105
    assert again["rows"][0]["metrics"]["deflated_sharpe"] == more["metrics"]["deflated_sharpe"]


def test_a_model_says_from_how_many_it_was_chosen(way, swept, best, forged, ktrdr):
    way.train(forged)
    assert "chosen among          100 settings of a sweep" in ktrdr("models", "show", "found_at_once")[1]
    # The model that was swept has settings that are none of the hundred.
    assert "chosen among" not in ktrdr("models", "show", "honest")[1]
