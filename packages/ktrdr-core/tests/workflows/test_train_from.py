"""The model to use: trained from an evaluation on all bars before the reserve, and traded on its out-of-sample path."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from ktrdr.core.data.bar_store import default_store
from ktrdr.core.data.resample import resample
from ktrdr.core.data.sample import sample_bars
from ktrdr.core.errors import BadInputError, NotFoundError
from ktrdr.core.files.safetensors import read_safetensors, write_safetensors
from ktrdr.core.jobs.job_settings import BacktestSettings, EvaluationSettings, SweepSettings, TrainingSettings
from ktrdr.core.models.model_store import default_model_store
from ktrdr.core.models.out_of_sample import OUT_OF_SAMPLE_FILE
from ktrdr.core.training import executor
from ktrdr.core.training.task import fit_model
from ktrdr.core.validation.stored_evaluation import store_evaluation
from ktrdr.core.workflows.places import trials_in
from ktrdr.core.workflows.run_backtest import backtest
from ktrdr.core.workflows.run_evaluation import evaluate
from ktrdr.core.workflows.run_explanation import explain
from ktrdr.core.workflows.run_sweep import sweep
from ktrdr.core.workflows.run_training import train

TEXT = """
name: waves
training_data:
  symbols: {mode: single, symbol: EURUSD}
  timeframes: {mode: multi_timeframe, list: [1h, 4h]}
  date_range: {start: 2017-01-01, end: 2017-03-31}
indicators: {rsi_14: {type: rsi, period: 14}}
fuzzy_sets:
  rsi: {indicator: rsi_14, low: [0, 25, 45], middle: [30, 50, 70], high: [55, 75, 100]}
nn_inputs:
  - {fuzzy_set: rsi, timeframes: [1h, 4h]}
  - {raw_indicator: rsi_14, timeframes: [1h], normalization: zscore}
model: {type: softmax_regression}
decisions: {confidence_threshold: 0.34}
risk: {stop_loss: {atr: 3}}
validation: {type: cpcv, groups: 4, test_groups: 2, reserve: 0.2}
training:
  labels: {source: direction, horizon: 4, threshold: 0.0005}
  epochs: 3
  batch_size: 64
  learning_rate: 0.5
  seed: 5
"""
COSTS = {"commission": 0.0001, "slippage": 0.00005}


@pytest.fixture
def evaluated(home, tmp_path, example_plugins):
    """Return ``evaluated(text=..., **settings)``: a stored evaluation of the strategy."""

    def run(text=TEXT, **settings):
        path = tmp_path / "waves.yaml"
        path.write_text(text, encoding="utf-8")
        asked = EvaluationSettings(**{"seeds": 2, **COSTS, **settings})
        return store_evaluation(evaluate(path, asked, plugins=example_plugins))

    return run


@pytest.fixture
def model(evaluated, example_plugins):
    """The evaluation, and the training from it."""
    evaluation = evaluated()
    return evaluation, train(None, TrainingSettings(evaluation="waves"), plugins=example_plugins)


def median_account(evaluation):
    facts = evaluation.facts
    return next(n for n, own in enumerate(facts.paths) if (own.path, own.seed) == facts.median_path)


def test_it_is_trained_on_all_bars_before_the_reserve_with_the_median_of_the_best_epochs(model):
    evaluation, result = model
    facts, manifest = evaluation.facts, result.bundle.manifest
    epochs = sorted(seed.best_epoch for fold in facts.folds for seed in fold.seeds)
    assert result.epochs == result.best_epoch == facts.best_epoch == int(np.median(epochs))
    parts = manifest.data.split["EURUSD"]
    assert (parts.validation, parts.test) == (None, None)
    assert (parts.train.start, parts.train.end) == (facts.period.start, facts.reserve.period.start)
    assert (parts.reserve.start, parts.reserve.end) == (facts.reserve.period.start, facts.reserve.period.end)
    assert manifest.data.fingerprint == facts.data_fingerprint
    assert manifest.data.rows == {"EURUSD": 1248}
    assert manifest.seed == manifest.strategy.training.seed == 5
    assert (manifest.metrics, manifest.importance) == ({}, None)
    # All bars but the first, whose RSI of 4 hours is unknown, and the last 4, whose labels are.
    assert 1248 - 4 - 70 <= result.samples["train"]["EURUSD"] <= 1248 - 4 - 50
    assert result.samples["test"]["EURUSD"] == result.samples["validation"]["EURUSD"] == 0


def test_learning_rates_are_planned_for_the_epochs_of_the_evaluation(evaluated, example_plugins, monkeypatch):
    tasks = []

    def capture(trainer, task, data, **more):
        tasks.append(task)
        return fit_model(trainer, task, data, **more)

    evaluation = evaluated(TEXT.replace("epochs: 3", "epochs: 12"))
    monkeypatch.setattr(executor, "fit_model", capture)
    train(None, TrainingSettings(evaluation="waves"), plugins=example_plugins)
    (task,) = tasks
    assert task.settings["epochs"] == evaluation.facts.best_epoch < 12
    assert (task.settings["schedule_epochs"], task.settings["keep_last"]) == (12, True)


def test_its_bundle_has_the_figures_and_predictions_of_the_evaluation(model):
    evaluation, result = model
    facts, record = evaluation.facts, result.bundle.manifest.evaluation
    assert (record.reference, record.kind, record.folds, record.seeds) == ("waves/1", "cpcv", 6, 2)
    assert record.accounts == len(facts.paths) == 6
    assert record.spread["sharpe"]["median"] == facts.spread["sharpe"].median
    assert record.metrics["accuracy"] == facts.metrics["accuracy"].model_dump()
    assert record.account == {"capital": 10_000.0, **COSTS}
    stored = default_model_store().verify("waves/1").out_of_sample()
    assert np.array_equal(stored["EURUSD"].time, evaluation.out_of_sample["EURUSD"].time)
    assert np.array_equal(stored["EURUSD"].outputs, evaluation.out_of_sample["EURUSD"].outputs, equal_nan=True)
    assert (result.trial_count, result.look) == (None, None)


def test_a_training_from_an_evaluation_is_the_same_each_time(model, example_plugins):
    _, result = model
    again = train(None, TrainingSettings(evaluation="waves/1"), plugins=example_plugins)
    assert again.bundle.ref == "waves/2"
    assert again.bundle.manifest.weights_hash == result.bundle.manifest.weights_hash


def test_without_days_the_median_account_is_traded_again_to_the_last_bit(model, example_plugins):
    evaluation, result = model
    traded = backtest(result.bundle, BacktestSettings(**COSTS), plugins=example_plugins)
    place = median_account(evaluation)
    assert np.array_equal(traded.equity["equity"], evaluation.curves.equity[place])
    assert np.array_equal(traded.equity["benchmark"], evaluation.curves.buy_and_hold)
    assert np.array_equal(traded.equity["time"], evaluation.curves.time)
    for name, value in evaluation.facts.paths[place].metrics.items():
        if name not in ("sharpe_low", "sharpe_high", "trials", "deflated_sharpe"):
            assert traded.metrics[name] == value, name
    assert len(traded.trades["number"]) == evaluation.facts.paths[place].metrics["trades"] > 0


def test_without_days_nothing_says_that_the_bars_were_seen(model, example_plugins):
    evaluation, result = model
    traded = backtest(result.bundle, BacktestSettings(**COSTS), plugins=example_plugins)
    path, seed = evaluation.facts.median_path
    assert traded.period.startswith(
        f"the out-of-sample path of evaluation waves/1 (cpcv of 6 folds x 2 seeds), path {path} with seed {seed}"
    )
    assert "no contributions" in traded.period
    assert not [warning for warning in traded.warnings if "overlap" in warning]
    known = {name: traded.provenance[name] for name in ("inference", "evaluation", "path", "seed")}
    assert known == {"inference": "out_of_sample", "evaluation": "waves/1", "path": path, "seed": seed}


def test_reasons_have_memberships_and_outputs_but_no_contributions(model, example_plugins):
    _, result = model
    reasons = backtest(result.bundle, BacktestSettings(**COSTS), plugins=example_plugins).reasons
    assert not np.isnan(reasons.entry_outputs).any()
    assert np.isnan(reasons.entry_contributions).all()
    raw = [place for place, name in enumerate(reasons.features) if "raw" in name or name.endswith("rsi_14")]
    fuzzy = [place for place in range(len(reasons.features)) if place not in raw]
    assert raw
    assert not np.isnan(reasons.entry_features[:, fuzzy]).any()
    # Each fold has normalizers of its own, which are not stored.
    assert np.isnan(reasons.entry_features[:, raw]).all()


def test_the_same_account_is_the_same_trial_and_other_costs_are_another(model, example_plugins):
    _, result = model
    assert backtest(result.bundle, BacktestSettings(**COSTS), plugins=example_plugins).trial_count.known == 1
    assert backtest(result.bundle, BacktestSettings(), plugins=example_plugins).trial_count.known == 2


def test_the_path_is_the_trial_of_its_own_seeds(model, evaluated, example_plugins):
    evaluation, result = model
    assert result.bundle.manifest.evaluation.trained_with == evaluation.facts.seeds == (5, 6)
    evaluated(seed=9)
    assert backtest(result.bundle, BacktestSettings(**COSTS), plugins=example_plugins).trial_count.known == 2
    other = train(None, TrainingSettings(evaluation="waves/2"), plugins=example_plugins)
    assert backtest(other.bundle, BacktestSettings(**COSTS), plugins=example_plugins).trial_count.known == 2
    assert backtest(other.bundle, BacktestSettings(), plugins=example_plugins).trial_count.known == 3


@pytest.mark.parametrize("dates", [{"end": "2017-05-31"}, {"end": "2017-02-28"}], ids=lambda own: own["end"])
def test_it_is_trained_from_an_evaluation_with_other_dates_too(evaluated, example_plugins, dates):
    facts = evaluated(**dates).facts
    manifest = train(None, TrainingSettings(evaluation="waves"), plugins=example_plugins).bundle.manifest
    assert manifest.data.fingerprint == facts.data_fingerprint
    parts = manifest.data.split["EURUSD"]
    assert f"{parts.reserve.start:%Y-%m-%d %H:%M} to {parts.reserve.end:%Y-%m-%d}" == "2017-03-14 21:00 to 2017-03-31"
    assert parts.train.end <= parts.reserve.start


def test_it_needs_no_plugin_for_its_path(model, example_plugins, monkeypatch):
    _, result = model

    def refuse(*_):
        raise AssertionError("the plugin is not needed")

    monkeypatch.setattr(type(example_plugins), "loader", refuse)
    assert backtest(result.bundle, BacktestSettings(), plugins=example_plugins).trades["number"].size


def test_a_sweep_trades_the_path_too(model, example_plugins):
    evaluation, result = model
    found = sweep(
        result.bundle, SweepSettings(settings={"risk.stop_loss.atr": (3.0, 2.0)}, **COSTS), plugins=example_plugins
    ).to_json()
    assert found["period"].startswith("the out-of-sample path of evaluation waves/1")
    unchanged = next(row for row in found["rows"] if row["settings"] == {"risk.stop_loss.atr": 3.0})
    assert (
        unchanged["metrics"]["total_return"]
        == evaluation.facts.paths[median_account(evaluation)].metrics["total_return"]
    )


@pytest.mark.parametrize(
    ("option", "given"),
    [("device", "cuda"), ("device", "cpu"), ("inference", "native"), ("inference", "portable")],
)
def test_an_option_without_effect_on_the_path_is_refused(model, example_plugins, option, given):
    _, result = model
    values = {"settings": {"risk.stop_loss.atr": (3.0, 2.0)}}
    said = f"predictions that are stored with waves/1 are traded, .* leave out --{option}, or give days with --start"
    for run, asked in (
        (backtest, BacktestSettings(**{option: given})),
        (sweep, SweepSettings(**values, **{option: given})),
    ):
        with pytest.raises(BadInputError, match=said):
            run(result.bundle, asked, plugins=example_plugins)
    days = {"start": "2017-02-01", "end": "2017-02-28"}
    traded = backtest(result.bundle, BacktestSettings(**days, inference="native"), plugins=example_plugins)
    assert traded.provenance["inference"] == "native"


def test_with_days_it_predicts_itself_and_has_seen_all_bars_before_the_reserve(model, example_plugins):
    _, result = model
    asked = BacktestSettings(start="2017-02-01", end="2017-02-28")
    traded = backtest(result.bundle, asked, plugins=example_plugins)
    bars = traded.symbols[0].bars
    assert traded.warnings[0].startswith(f"{bars:,} of the {bars:,} bars (100%) overlap the data")
    assert traded.provenance["inference"] in ("portable", "native")
    assert "evaluation" not in traded.provenance


def test_bars_that_were_imported_later_change_neither_the_training_nor_the_path(home, evaluated, example_plugins):
    sample = sample_bars()
    store = default_store()
    store.delete("EURUSD", "1h")
    store.write(sample[:1500])
    text = TEXT.replace("  date_range: {start: 2017-01-01, end: 2017-03-31}\n", "")
    evaluation = evaluated(text)
    before = train(None, TrainingSettings(evaluation="waves"), plugins=example_plugins)
    store.write(sample)
    after = train(None, TrainingSettings(evaluation="waves"), plugins=example_plugins)
    assert after.bundle.manifest.weights_hash == before.bundle.manifest.weights_hash
    assert after.bundle.manifest.evaluation == before.bundle.manifest.evaluation
    traded = backtest(after.bundle, BacktestSettings(**COSTS), plugins=example_plugins)
    assert np.array_equal(traded.equity["equity"], evaluation.curves.equity[median_account(evaluation)])


@pytest.mark.parametrize("stored", [True, False])
def test_without_a_reserve_later_bars_do_not_change_the_last_bar_of_a_longer_timeframe(
    home, evaluated, example_plugins, stored
):
    """A stored bar of 4 hours that ends after the last hour was evaluated; one made of the hours was not."""
    sample, store = sample_bars(), default_store()
    longer = resample(sample, "4h")
    opens = np.flatnonzero(np.isin(sample.time, longer.time))
    n = int(opens[opens > 1400][0]) + 2
    until = sample.close_time[n - 1]
    last = int(np.searchsorted(longer.time, until)) - 1
    assert longer.close_time[last] > until
    store.delete("EURUSD", "1h")
    store.write(sample[:n])
    if stored:
        store.write(longer[: last + 1])
    text = TEXT.replace("  date_range: {start: 2017-01-01, end: 2017-03-31}\n", "").replace(", reserve: 0.2", "")
    evaluated(text)
    before = train(None, TrainingSettings(evaluation="waves"), plugins=example_plugins)
    store.write(sample)
    if stored:
        store.write(longer)
    after = train(None, TrainingSettings(evaluation="waves"), plugins=example_plugins)
    assert after.bundle.manifest.data.fingerprint == before.bundle.manifest.data.fingerprint
    assert after.bundle.manifest.weights_hash == before.bundle.manifest.weights_hash


@pytest.mark.parametrize("reserve", ["0.2", "0.0"])
def test_other_bars_are_refused_by_the_training_and_by_the_path(home, evaluated, example_plugins, reserve):
    evaluated(TEXT.replace("reserve: 0.2", f"reserve: {reserve}"))
    result = train(None, TrainingSettings(evaluation="waves"), plugins=example_plugins)
    sample, store = sample_bars(), default_store()
    close = sample.close.copy()
    close[700] = sample.high[700]
    store.delete("EURUSD", "1h")
    store.write(dataclasses.replace(sample, close=close))
    with pytest.raises(BadInputError, match="the stored bars are not those of evaluation waves/1.*ktrdr evaluate"):
        train(None, TrainingSettings(evaluation="waves"), plugins=example_plugins)
    assert default_model_store().versions("waves") == (1,)
    with pytest.raises(
        BadInputError, match="the stored 1h bars of EURUSD until .* are not those of evaluation waves/1"
    ):
        backtest(result.bundle, plugins=example_plugins)
    # The remedy works.
    backtest(result.bundle, BacktestSettings(start="2017-05-01"), plugins=example_plugins)


def test_missing_bars_of_the_path_are_refused(model, example_plugins):
    _, result = model
    sample, store = sample_bars(), default_store()
    store.delete("EURUSD", "1h")
    keep = np.arange(len(sample)) != 500
    columns = {name: getattr(sample, name)[keep] for name in ("time", "open", "high", "low", "close", "volume")}
    store.write(dataclasses.replace(sample, **columns))
    with pytest.raises(BadInputError, match="are not those of evaluation waves/1"):
        backtest(result.bundle, plugins=example_plugins)


def test_a_symbol_that_was_not_evaluated_is_refused_for_the_path(model, example_plugins):
    _, result = model
    with pytest.raises(BadInputError, match="evaluation waves/1 has no predictions of GBPUSD, only of EURUSD; give a"):
        backtest(result.bundle, BacktestSettings(symbols=("GBPUSD",)), plugins=example_plugins)


SUBJECTS = {
    "unknown": ("wives", NotFoundError, "there is no evaluation of `wives`.*did you mean `waves`"),
    "number": ("waves/7", NotFoundError, "strategy `waves` has no evaluation 7"),
}


@pytest.mark.parametrize("case", sorted(SUBJECTS))
def test_an_evaluation_that_is_not_stored_is_refused(evaluated, example_plugins, case):
    evaluated()
    name, error, said = SUBJECTS[case]
    with pytest.raises(error, match=said):
        train(None, TrainingSettings(evaluation=name), plugins=example_plugins)
    assert default_model_store().names() == ()


def test_a_strategy_and_an_evaluation_are_one_too_many(tmp_path, evaluated, example_plugins):
    evaluated()
    with pytest.raises(BadInputError, match="evaluation waves has a strategy already; leave out"):
        train(tmp_path / "waves.yaml", TrainingSettings(evaluation="waves"), plugins=example_plugins)
    with pytest.raises(BadInputError, match="needs a strategy, or an evaluation"):
        train(None, plugins=example_plugins)


def test_a_missing_plugin_is_one_sentence(evaluated, tmp_path):
    from ktrdr.core.plugins.manager import PluginManager

    evaluated()
    empty = tmp_path / "nothing"
    empty.mkdir()
    with pytest.raises(BadInputError, match="softmax_regression") as caught:
        train(None, TrainingSettings(evaluation="waves"), plugins=PluginManager(path=[str(empty)], environ={}))
    assert "\n" not in str(caught.value)
    assert default_model_store().names() == ()


def test_a_damaged_evaluation_is_refused(home, evaluated, example_plugins):
    evaluated()
    (home / "evaluations" / "waves" / "1" / "evaluation.json").write_text("{}", encoding="utf-8")
    with pytest.raises(BadInputError, match="waves/1"):
        train(None, TrainingSettings(evaluation="waves/1"), plugins=example_plugins)


def test_an_evaluation_whose_predictions_no_bundle_may_have_trains_nothing(home, evaluated, example_plugins):
    evaluated()
    path = home / "evaluations" / "waves" / "1" / "curves.safetensors"
    arrays = {name: array.copy() for name, array in read_safetensors(path, 2**30).items()}
    arrays["outputs/EURUSD"].fill(7.0)
    write_safetensors(path, arrays)
    with pytest.raises(BadInputError, match="evaluation waves/1 is damaged: .* not probabilities of 3 classes"):
        train(None, TrainingSettings(evaluation="waves"), plugins=example_plugins)
    assert default_model_store().names() == ()


class TestReserve:
    """The reserve is closed until it is opened, and each different look at it counts."""

    def test_days_inside_it_are_refused_with_days_that_work(self, model, example_plugins):
        _, result = model
        inside = "99 of the bars to trade are in the reserve of waves/1, 2017-03-14 21:00 to 2017-03-31 21:00.*"
        said = inside + "choose days until 2017-03-13 or from 2017-04-01, or open the reserve with --reserve: each diff"
        for days in ({"start": "2017-03-10", "end": "2017-03-20"}, {"end": "2017-03-20"}):
            with pytest.raises(BadInputError, match=said):
                backtest(result.bundle, BacktestSettings(**days), plugins=example_plugins)
        with pytest.raises(BadInputError, match="312 of the bars to trade"):
            backtest(result.bundle, BacktestSettings(start="2017-03-01"), plugins=example_plugins)
        for days in ({"start": "2017-03-01", "end": "2017-03-13"}, {"start": "2017-04-01", "end": "2017-04-30"}):
            backtest(result.bundle, BacktestSettings(**days), plugins=example_plugins)

    def test_it_is_opened_as_a_whole_and_each_different_look_counts(self, model, example_plugins):
        evaluation, result = model
        first = backtest(result.bundle, BacktestSettings(reserve=True), plugins=example_plugins)
        reserve = evaluation.facts.reserve
        assert first.period.startswith("the reserve of waves/1")
        assert first.symbols[0].bars == reserve.bars
        assert str(first.start) == f"{reserve.period.start:%Y-%m-%dT%H:%M:%S}.000000000"
        assert (first.trial_count.known, first.trial_count.reserve_opened) == (1, 1)
        assert first.to_json()["trial_count"]["reserve_opened"] == 1
        assert first.trial_count.facts["reserve"] == "1 trial looked at the reserve, this one included."
        again = backtest(result.bundle, BacktestSettings(reserve=True), plugins=example_plugins)
        assert again.trial_count.reserve_opened == 1  # the same trial, seen again
        dearer = backtest(result.bundle, BacktestSettings(reserve=True, **COSTS), plugins=example_plugins)
        assert dearer.trial_count.reserve_opened == 2
        part = backtest(result.bundle, BacktestSettings(reserve=True, start="2017-03-20"), plugins=example_plugins)
        assert part.trial_count.reserve_opened == 3
        ends = backtest(result.bundle, BacktestSettings(reserve=True, end="2017-03-17"), plugins=example_plugins)
        assert ends.trial_count.reserve_opened == 4
        assert str(ends.end) == "2017-03-17T21:00:00.000000000"

    def test_an_opening_by_another_name_counts_too(self, model, evaluated, example_plugins):
        _, result = model
        backtest(result.bundle, BacktestSettings(reserve=True), plugins=example_plugins)
        evaluated(TEXT.replace("name: waves", "name: billows").replace("middle: [30, 50, 70]", "middle: [35, 50, 65]"))
        other = train(None, TrainingSettings(evaluation="billows"), plugins=example_plugins)
        opened = backtest(other.bundle, BacktestSettings(reserve=True), plugins=example_plugins)
        assert opened.trial_count.reserve_opened == 2

    def test_a_backtest_outside_of_it_opens_nothing(self, model, example_plugins):
        _, result = model
        outside = BacktestSettings(start="2017-04-01", end="2017-04-30", reserve=True)
        assert backtest(result.bundle, outside, plugins=example_plugins).trial_count.reserve_opened is None
        assert backtest(result.bundle, plugins=example_plugins).trial_count.reserve_opened is None

    def test_a_sweep_never_opens_it(self, model, example_plugins):
        _, result = model
        values = {"risk.stop_loss.atr": (3.0, 2.0)}
        with pytest.raises(
            BadInputError, match="a sweep would choose on it; backtest the settings that it chooses with"
        ):
            sweep(result.bundle, SweepSettings(settings=values, start="2017-03-20"), plugins=example_plugins)
        with pytest.raises(ValueError, match="reserve"):
            SweepSettings(settings=values, reserve=True)

    def test_a_later_training_on_its_days_is_counted(self, model, tmp_path, example_plugins):
        _, result = model
        path = tmp_path / "later.yaml"
        text = TEXT.replace("name: waves", "name: later").replace(
            "validation: {type: cpcv, groups: 4, test_groups: 2, reserve: 0.2}\n", ""
        )
        path.write_text(text, encoding="utf-8")
        later = train(path, plugins=example_plugins)
        assert later.bundle.manifest.data.split["EURUSD"].reserve is None
        opened = backtest(result.bundle, BacktestSettings(reserve=True), plugins=example_plugins)
        assert opened.trial_count.reserve_opened == 2

    def test_a_model_without_one_says_so(self, evaluated, example_plugins):
        evaluated(TEXT.replace("reserve: 0.2", "reserve: 0.0"))
        result = train(None, TrainingSettings(evaluation="waves"), plugins=example_plugins)
        for days in ({}, {"start": "2017-03-01"}):
            with pytest.raises(
                BadInputError, match="model waves/1 has no reserve of EURUSD, so there is nothing to open"
            ):
                backtest(result.bundle, BacktestSettings(reserve=True, **days), plugins=example_plugins)

    def test_an_end_before_it_is_no_part_of_it(self, model, example_plugins):
        _, result = model
        with pytest.raises(BadInputError, match="the reserve of waves/1 begins at 2017-03-14 21:00, after the end"):
            backtest(result.bundle, BacktestSettings(reserve=True, end="2017-03-01"), plugins=example_plugins)


def test_an_explanation_is_of_the_model_itself(model, example_plugins):
    _, result = model
    explained = explain(result.bundle, plugins=example_plugins)
    assert explained.model == "waves/1"
    assert explained.outputs.keys() == {"BUY", "HOLD", "SELL"}


def test_the_command_trains_backtests_and_shows_figures_as_those_of_the_evaluation(evaluated, ktrdr, tmp_path):
    evaluated()
    status, out, err = ktrdr("train", "--from", "waves")
    assert status == 0, err
    assert "evaluation     waves/1, cpcv of 6 folds x 2 seeds" in out
    assert "out of sample  Sharpe ratio" in out
    assert "fitted to      all bars until 2017-03-14" in out
    status, out, err = ktrdr("backtest", "waves", "--commission", "0.0001", "--slippage", "0.00005")
    assert status == 0, err
    assert "Period: the out-of-sample path of evaluation waves/1" in out
    status, out, _ = ktrdr("models", "show", "waves")
    assert status == 0
    assert "waves/1, cpcv of 6 folds x 2 seeds" in out
    assert "reserve               2017-03-14 to 2017-03-31" in out
    status, out, err = ktrdr("backtest", "waves", "--reserve", "--report", tmp_path / "page.html")
    assert status == 0, err
    assert "1 trial looked at the reserve, this one included." in out
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "1 trial looked at the reserve, this one included." in page
    assert "cpcv of 6 folds x 2 seeds" in page
    assert ktrdr("models", "verify", "waves")[0] == 0
    assert ktrdr("models", "export", "waves", tmp_path / "waves.zip")[0] == 0
    status, out, _ = ktrdr("models", "import", tmp_path / "waves.zip", "--json")
    assert status == 0, out


REFUSED = {
    "strategy too": (
        ("waves.yaml", "--from", "waves"),
        "evaluation waves has a strategy already; leave out waves.yaml",
    ),
    "nothing": ((), "give a STRATEGY to train, or an evaluation of one with --from"),
    "seed": (("--from", "waves", "--seed", "3"), "takes strategy, data, seed and epochs from it; leave out `--seed`"),
    "epochs": (("--from", "waves", "--epochs", "3"), "leave out `--epochs`"),
    "symbols": (("--from", "waves", "--symbols", "EURUSD"), "leave out `--symbols`"),
    "start": (("--from", "waves", "--start", "2017-01-01"), "leave out `--start`"),
    "end": (("--from", "waves", "--end", "2017-01-31"), "leave out `--end`"),
    "ensemble": (("--from", "waves", "--seeds", "3", "--ensemble"), "leave out `--seeds`"),
    "no name": (("--from", "a b"), "--from must be written like rsi_reversion/1, not 'a b'"),
    "unknown": (("--from", "waves"), "there is no evaluation of `waves`"),
}


@pytest.mark.parametrize("case", sorted(REFUSED))
def test_what_cannot_be_trained_is_refused_in_one_sentence(home, ktrdr, case):
    arguments, said = REFUSED[case]
    status, _, err = ktrdr("train", *arguments)
    assert status == 2
    assert said in err
    assert "Traceback" not in err


def test_the_device_may_be_chosen(evaluated, example_plugins):
    evaluated()
    assert train(None, TrainingSettings(evaluation="waves", device="cpu"), plugins=example_plugins).device.name == "cpu"


def test_python_trains_from_an_evaluation(evaluated):
    import ktrdr.core as kt

    evaluated()
    training = kt.train(evaluation=kt.evaluations.load("waves"), progress=False)
    assert ", from evaluation waves/1" in repr(training)
    assert training.metrics.empty
    assert "Sharpe ratio, out of sample" in training._repr_html_()
    traded = kt.backtest(training, reserve=True, progress=False)
    assert traded.reserve_opened == 1
    assert kt.backtest(training, progress=False).reserve_opened is None
    with pytest.raises(BadInputError, match="give one of them"):
        kt.train(progress=False)
    with pytest.raises(BadInputError, match="give one of them"):
        kt.train("waves.yaml", evaluation="waves", progress=False)
    with pytest.raises(BadInputError, match="not a int"):
        kt.train(evaluation=3, progress=False)
    with pytest.raises(BadInputError, match="with a server, give the name of one of its evaluations"):
        kt.train(evaluation=kt.evaluations.load("waves"), server="http://127.0.0.1:1", progress=False)


def test_the_result_and_the_bundle_are_json(model):
    _, result = model
    told = json.loads(json.dumps(result.to_json()))
    assert told["evaluation"]["reference"] == "waves/1"
    assert OUT_OF_SAMPLE_FILE in result.bundle.manifest.files


def test_the_count_of_openings_follows_the_ledger(model, example_plugins, home):
    from ktrdr.core.runs.run_store import store_run
    from ktrdr.core.workflows.compare_runs import summary_by_now

    _, result = model
    directory = store_run(backtest(result.bundle, BacktestSettings(reserve=True), plugins=example_plugins))
    backtest(result.bundle, BacktestSettings(reserve=True, **COSTS), plugins=example_plugins)
    assert summary_by_now(directory, trials=trials_in(None))["trial_count"]["reserve_opened"] == 2


class TestOrdinaryModel:
    """A model with parts of its own has the same reserve."""

    @pytest.fixture
    def trained(self, home, tmp_path, example_plugins):
        path = tmp_path / "own.yaml"
        text = TEXT.replace("  - {raw_indicator: rsi_14, timeframes: [1h], normalization: zscore}\n", "")
        path.write_text(text.replace("name: waves", "name: own"), encoding="utf-8")
        return train(path, plugins=example_plugins)

    def test_without_days_it_trades_what_comes_after_the_reserve(self, trained, example_plugins):
        traded = backtest(trained.bundle, plugins=example_plugins)
        assert traded.period == (
            "all bars after the training data and the reserve of own/1, which end at 2017-03-31 21:00"
        )
        assert str(traded.start) == "2017-04-02T21:00:00.000000000"
        assert traded.trial_count.reserve_opened is None

    def test_without_later_bars_it_trades_its_test_part(self, trained, example_plugins):
        store, sample = default_store(), sample_bars()
        store.delete("EURUSD", "1h")
        store.write(sample.between(None, np.datetime64("2017-03-31T21", "ns")))
        traded = backtest(trained.bundle, plugins=example_plugins)
        assert traded.period.startswith("the test part of the training data of own/1")
        assert str(traded.end) == "2017-03-14T21:00:00.000000000"

    def test_its_reserve_is_closed_until_it_is_opened(self, trained, example_plugins):
        with pytest.raises(BadInputError, match="312 of the bars to trade are in the reserve of own/1"):
            backtest(trained.bundle, BacktestSettings(start="2017-03-01"), plugins=example_plugins)
        opened = backtest(trained.bundle, BacktestSettings(reserve=True), plugins=example_plugins)
        assert (opened.symbols[0].bars, opened.trial_count.reserve_opened) == (312, 1)
        # The first backtest of a model is the trial of its training elsewhere, but not on the reserve.
        values = {"risk.stop_loss.atr": (3.0, 2.0)}
        with pytest.raises(BadInputError, match="a sweep would choose on it"):
            sweep(trained.bundle, SweepSettings(settings=values, end="2017-03-20"), plugins=example_plugins)

    def test_another_symbol_has_no_reserve(self, trained, example_plugins):
        default_store().write(dataclasses.replace(sample_bars(), symbol="GBPUSD"))
        days = BacktestSettings(symbols=("GBPUSD",), start="2017-03-20", end="2017-03-24")
        traded = backtest(trained.bundle, days, plugins=example_plugins)
        assert traded.trial_count.reserve_opened is None


def test_bars_that_all_come_later_are_refused(home, evaluated, example_plugins):
    sample, store = sample_bars(), default_store()
    store.delete("EURUSD", "1h")
    store.write(sample[:1500])
    evaluated(TEXT.replace("  date_range: {start: 2017-01-01, end: 2017-03-31}\n", ""))
    store.delete("EURUSD", "1h")
    store.write(sample[2000:4000])
    with pytest.raises(BadInputError, match="the stored bars are not those of evaluation waves/1"):
        train(None, TrainingSettings(evaluation="waves"), plugins=example_plugins)
