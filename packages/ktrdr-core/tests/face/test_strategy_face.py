"""Strategies as objects: what is loaded, changed, refused and saved."""

from __future__ import annotations

import warnings

import pytest

import ktrdr.core as kt


@pytest.fixture
def strategy(home, write_strategy):
    return kt.load_strategy(write_strategy("waves"))


def test_a_file_its_text_and_its_map_are_the_same_strategy(strategy, write_strategy):
    path = write_strategy("waves")
    assert kt.load_strategy(str(path)) == strategy
    assert kt.load_strategy(path.read_text(encoding="utf-8")) == strategy
    assert kt.load_strategy(strategy.to_dict()) == strategy
    assert strategy.text == path.read_text(encoding="utf-8")
    assert kt.load_strategy(path) != kt.load_strategy(write_strategy("other"))
    assert len({strategy, kt.load_strategy(strategy.to_dict()), strategy.replace({})}) == 1


def test_it_says_in_a_line_what_it_is(strategy):
    assert repr(strategy) == "<Strategy waves: softmax_regression on EURUSD 1h, 3 features>"
    assert strategy.features == ("1h_rsi_low", "1h_rsi_middle", "1h_rsi_high")
    assert strategy["training.epochs"] == 3
    assert strategy["nn_inputs[0].fuzzy_set"] == "rsi"
    with pytest.raises(KeyError, match=r"nothing is written at training.patience in waves"):
        strategy["training.patience"]


def test_replace_gives_what_the_changed_file_would(strategy):
    changed = strategy.replace({"training.epochs": 5, "nn_inputs[0].lags": [1, 2], "training.seed": None})
    expected = strategy.text.replace("epochs: 3", "epochs: 5").replace("all}", "all, lags: [1, 2]}")
    assert changed == kt.load_strategy(expected.replace("  seed: 1\n", ""))
    assert (strategy["training.epochs"], len(strategy.features), len(changed.features)) == (3, 3, 9)
    assert strategy.replace({}) == strategy


def test_replace_refuses_with_the_messages_of_a_file(strategy):
    with pytest.raises(kt.StrategyError, match=r"waves, changed:\d+:\d+: training.epoch: unknown key `epoch`"):
        strategy.replace({"training.epoch": 5})
    with pytest.raises(kt.StrategyError, match="`epochs` must be at least 1, not -3"):
        strategy.replace({"training.epochs": -3})
    with pytest.raises(kt.BadInputError, match="write it like training.epochs"):
        strategy.replace({"training..epochs": 5})


def test_what_is_allowed_and_not_meant_is_told_once(strategy):
    doubtful = {"training.labels": {"source": "triple_barrier"}}
    with pytest.warns(UserWarning, match=r"training") as told:
        changed = strategy.replace(doubtful)
    assert [str(each.message) for each in told] == list(changed.warnings)
    assert "1 warning" in repr(changed) or f"{len(changed.warnings)} warnings" in repr(changed)
    assert told[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        changed.replace({"training.epochs": 4})
    with pytest.warns(UserWarning, match=r"training") as told:
        kt.load_strategy(changed.text)
    assert told[0].filename == __file__


def test_what_is_saved_is_read_again(strategy, tmp_path):
    path = strategy.replace({"training.epochs": 7}).save(tmp_path / "seven.yaml")
    assert kt.load_strategy(path)["training.epochs"] == 7
    strategy.save(str(path))
    assert kt.load_strategy(path) == strategy
    with pytest.raises(kt.BadInputError, match="give a file in a directory that exists"):
        strategy.save(tmp_path / "nowhere" / "x.yaml")
    with pytest.raises(kt.BadInputError, match="give a file in a directory that exists"):
        strategy.save(tmp_path)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("no_such.yaml", "there is no file `no_such.yaml`"),
        (5, "cannot be loaded from a int; give the path of a YAML file, YAML text, or a dict"),
        ({}, "strategy"),
        ("name: x\nmodel: {", "not valid YAML"),
    ],
)
def test_what_is_no_strategy_is_refused(home, source, message):
    with pytest.raises(kt.BadInputError, match=message):
        kt.load_strategy(source)


def test_in_a_notebook_it_shows_its_text_and_nothing_of_it_as_markup(strategy):
    shown = strategy.replace({"description": "<script>alert(1)</script>"})._repr_html_()
    assert "oversold" not in shown
    assert "softmax_regression" in shown
    assert "<script" not in shown


def test_the_example_is_the_strategy_that_is_shipped(monkeypatch):
    assert kt.example_strategy().name == "neuro_mean_reversion"
    assert kt.example_strategy()["training_data.symbols.symbol"] == "EURUSD"
