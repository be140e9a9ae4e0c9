"""The functions of the face give what the workflows give, as frames, lines and HTML; nothing of it ends the process."""

from __future__ import annotations

import dataclasses
import inspect
import re
import signal

import numpy as np
import pandas as pd
import pytest

import ktrdr.core as kt
from ktrdr.core.backtesting.metrics import METRICS
from ktrdr.core.backtesting.results import read_result
from ktrdr.core.face.check_face import Check
from ktrdr.core.face.training_face import Training
from ktrdr.core.jobs.job_settings import BacktestSettings, EvaluationSettings, SweepSettings, TrainingSettings
from ktrdr.core.models.model_store import default_model_store
from ktrdr.core.report.figures import GREEN, RED
from ktrdr.core.runs.run_store import find_run


@pytest.fixture
def training(home, write_strategy):
    return kt.train(write_strategy("waves"), progress=False)


@pytest.fixture
def backtest(training):
    return kt.backtest(training, commission=0.0001, end="2017-06-30", progress=False)


@pytest.mark.parametrize(
    ("function", "settings", "but"),
    [
        (kt.train, TrainingSettings, set()),
        (kt.evaluate, EvaluationSettings, set()),
        (kt.backtest, BacktestSettings, set()),
        (kt.sweep, SweepSettings, {"settings"}),
    ],
)
def test_each_setting_is_a_parameter_with_the_default_of_the_setting(function, settings, but):
    parameters = inspect.signature(function).parameters
    fields = {name: field.default for name, field in settings.model_fields.items() if name not in but}
    assert {name: parameters[name].default for name in fields} == fields
    assert set(parameters) - set(fields) <= {"model", "strategy", "values", "resume", "server", "progress"}


def test_a_training_is_what_its_bundle_says(training):
    bundle = default_model_store().get("waves/1")
    assert (training.model, training.epochs, training.server) == ("waves/1", 3, None)
    assert training.bundle == bundle
    assert training.metrics.loc[("test", "log_loss"), "model"] == bundle.manifest.metrics["test"]["log_loss"]
    assert list(training.metrics.columns) == ["model", "majority class", "last value"]
    assert training.metrics.index.names == ["part", "metric"]
    assert training.metrics.dtypes.eq("float64").all()
    assert training.history.index.tolist() == [1, 2, 3]
    assert training.history["train_loss"].tolist() == [record.metrics["train_loss"] for record in bundle.history()]
    assert training.importance.loc[("fuzzy_set", "rsi")].notna().all()
    assert training.samples.loc["EURUSD", "train"] == sum(training.to_dict()["samples"]["train"].values())
    assert training.trials == 1
    assert re.fullmatch(
        r"<Training waves/1: softmax_regression with example on cpu, epoch \d of 3 kept, test log loss [\d.]+"
        r" \(majority class [\d.]+\)>",
        repr(training),
    )


def test_the_metrics_of_several_seeds_have_their_spread(home, write_strategy):
    training = kt.train(write_strategy("waves"), seeds=3, progress=False)
    spread = ["mean", "sd", "min", "max"]
    assert training.metrics.columns.tolist() == ["model", *spread, "majority class", "last value"]
    for part in ("validation", "test"):
        values = [member.metrics[part]["log_loss"] for member in training.bundle.manifest.members]
        shown = training.metrics.loc[(part, "log_loss"), spread].tolist()
        assert shown == pytest.approx([np.mean(values), np.std(values, ddof=1), min(values), max(values)])
    kept = kt.train(write_strategy("waves"), seed=training.bundle.manifest.seed, progress=False)
    assert kept.bundle.manifest.weights_hash == training.bundle.manifest.weights_hash
    ensemble = kt.train(write_strategy("waves"), seeds=3, ensemble=True, progress=False)
    assert ensemble.bundle.strategy.model.words == "ensemble of 3 softmax_regression"


def test_overrides_of_a_training_are_those_of_the_command(home, write_strategy):
    training = kt.train(
        write_strategy("waves"), epochs=2, seed=7, end=pd.Timestamp("2017-02-28"), symbols="EURUSD", progress=False
    )
    manifest = training.bundle.manifest
    assert (manifest.seed, training.epochs) == (7, 2)
    assert str(manifest.data.end)[:16] == "2017-03-01 00:00"


def test_a_backtest_is_what_its_files_say(backtest):
    result = read_result(find_run(backtest.run))
    assert backtest.run == "waves/1-1"
    assert backtest.directory.is_dir()
    assert backtest.trades.index.tolist() == result.trades["number"].tolist()
    assert len(backtest.trades) > 2
    for name in ("entry_time", "exit_time"):
        assert backtest.trades[name].dt.tz_convert(None).to_numpy().tolist() == result.trades[name].tolist()
    assert backtest.trades["net"].tolist() == result.trades["net"].tolist()
    assert backtest.equity["equity"].tolist() == result.equity["equity"].tolist()
    assert backtest.equity.index.dtype == "datetime64[ns, UTC]"
    assert backtest.positions.loc["EURUSD"]["units"].tolist() == result.symbols[0].positions["units"].tolist()
    assert backtest.reasons.shape[0] == len(backtest.trades)
    assert backtest.metrics.index.tolist() == [info.name for info in METRICS]
    assert list(backtest.metrics.columns) == ["strategy", "buy and hold", "majority class"]
    assert backtest.metrics.loc["net_profit", "strategy"] == result.metrics["net_profit"]
    assert np.isclose(backtest.trades["net"].sum(), backtest.metrics.loc["net_profit", "strategy"], atol=1e-9)
    assert (backtest.settings["commission"], backtest.settings["end"]) == (0.0001, "2017-06-30")
    assert backtest.to_dict()["metrics"] == result.to_json()["metrics"]
    assert re.fullmatch(
        r"<Backtest waves/1: EURUSD 1h, 2017-\d\d-\d\d to 2017-06-30, return -?[\d.]+%, Sharpe -?[\d.]+, \d+ trades>",
        repr(backtest),
    )


def test_a_frame_is_the_users_own(backtest):
    trades = backtest.trades
    trades["net"] = 0.0
    assert backtest.trades["net"].abs().sum() > 0


def test_every_way_to_name_a_model_trades_the_same(training, write_strategy):
    runs = [
        kt.backtest(model, progress=False)
        for model in (
            training,
            training.bundle,
            "waves",
            "waves/1",
            write_strategy("waves"),
            str(write_strategy("waves")),
        )
    ]
    assert len({str(run.metrics.drop("trials").drop("deflated_sharpe").to_dict()) for run in runs}) == 1
    assert [run.run for run in runs] == [f"waves/1-{number}" for number in range(1, 7)]


def test_what_is_no_model_says_what_is(training, write_strategy):
    with pytest.raises(kt.BadInputError, match=r"waves is a strategy, .* train it first, as in kt.backtest\(kt.train"):
        kt.backtest(kt.load_strategy(write_strategy("waves")))
    with pytest.raises(kt.BadInputError, match="a model is needed: .* not a float"):
        kt.explain(1.0)
    with pytest.raises(kt.NotFoundError, match="wave"):
        kt.backtest("wave")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"commission": 1.5}, "commission must be below 1, not 1.5"),
        ({"start": "1.4.2017"}, "start: '1.4.2017' is not a date: write it as 2017-01-31"),
        ({"start": pd.Timestamp("2017-04-01 12:00")}, "start is a day, not a time: give 2017-04-01"),
        ({"start": pd.Timestamp("2017-04-02", tz="Europe/Berlin")}, "start is a day, not a time: give 2017-04-01"),
        ({"start": pd.NaT}, "start: NaT is not a date"),
        ({"symbols": 5}, "symbols: "),
        ({"end": "2017-01-01", "start": "2017-02-01"}, "is before the start"),
        ({"symbols": []}, "symbols is empty; give at least one"),
        ({"symbols": ["EURUSD", "EURUSD"]}, "`EURUSD` is given twice"),
        ({"capital": 0}, "capital must be above 0"),
        ({"device": "gpu!"}, "device must be written like"),
    ],
)
def test_a_wrong_argument_is_named(training, changes, message):
    with pytest.raises(kt.BadInputError, match=message):
        kt.backtest(training, progress=False, **changes)
    assert kt.runs.list().empty


def test_a_sweep_is_a_ranked_table(training):
    sweep = kt.sweep(training, {"risk.stop_loss.atr": [2, 3, 4]}, metric="total_return", progress=False)
    assert sweep.table.index.tolist() == [1, 2, 3]
    assert sweep.table["total_return"].is_monotonic_decreasing
    assert sweep.best == {"risk.stop_loss.atr": sweep.table["risk.stop_loss.atr"].iloc[0]}
    assert sweep.trials == sweep.to_dict()["trial_count"]["number"]
    assert repr(sweep).startswith("<Sweep waves/1: 3 combinations on EURUSD 1h, ")
    for values in (3, "345", None):
        with pytest.raises(kt.BadInputError, match=r"risk.stop_loss.atr: give a list of values to try, such as \["):
            kt.sweep(training, {"risk.stop_loss.atr": values}, progress=False)
    swept = kt.sweep(training, {"risk.stop_loss.atr": np.array([2.0, 3.0])}, metric="total_return", progress=False)
    assert sorted(swept.table["risk.stop_loss.atr"]) == [2.0, 3.0]
    with pytest.raises(kt.BadInputError, match="cannot be swept"):
        kt.sweep(training, {"training.epochs": [1, 2]}, progress=False)


@pytest.mark.parametrize(
    "at",
    [
        "2017-05-02 12:30",
        pd.Timestamp("2017-05-02 14:30", tz="Europe/Berlin"),
        np.datetime64("2017-05-02T12:30"),
    ],
)
def test_an_explanation_is_of_the_bar_at_that_time(training, at):
    explanation = kt.explain(training, at=at)
    assert explanation.time == pd.Timestamp("2017-05-02 12:00", tz="UTC")
    assert explanation.outputs.sum() == pytest.approx(1)
    assert explanation.inputs.index.tolist() == ["1h_rsi_low", "1h_rsi_middle", "1h_rsi_high"]
    assert explanation.decision in repr(explanation)
    with pytest.raises(kt.BadInputError, match="at: 5 is not a date: give text such as"):
        kt.explain(training, at=5)


def test_a_check_is_true_where_nothing_leaks(home, write_strategy):
    check = kt.check(write_strategy("waves"), sample=True, cuts=3, last=400, progress=False)
    assert check.passed
    assert check
    assert check.findings.index.tolist() == ["1h_rsi_low", "1h_rsi_middle", "1h_rsi_high", "label"]
    assert (check.findings["leaks"] == 0).all()
    assert repr(check) == "<Check waves on EURUSD 1h: no look-ahead found at 3 cuts of 400 bars>"


def test_a_check_that_finds_look_ahead_is_false_and_names_it(home, write_strategy):
    clean = kt.check(write_strategy("waves"), sample=True, cuts=2, last=300, progress=False)
    first, *others = clean._report.features
    leak = dataclasses.replace(first, leaks=2, bars_ahead=3)
    check = Check("waves", dataclasses.replace(clean._report, features=(leak, *others)))
    assert not check
    assert not check.passed
    assert check.leaking == ("1h_rsi_low",)
    assert check.findings.loc["1h_rsi_low", ["leaks", "bars_ahead"]].tolist() == [2, 3]
    assert "look-ahead in 1h_rsi_low" in repr(check)


@pytest.mark.parametrize(("other", "colour"), [(-0.1, RED), (0.1, GREEN)])
def test_a_model_below_the_majority_class_is_shown_in_red(training, other, colour):
    manifest = training.bundle.manifest
    loss = manifest.metrics["test"]["log_loss"]
    baselines = {"majority": {"test": {"log_loss": loss + other}}}
    bundle = dataclasses.replace(training.bundle, manifest=manifest.model_copy(update={"baselines": baselines}))
    shown = Training(dataclasses.replace(training._result, bundle=bundle), ())._repr_html_()
    assert f"color: {colour}" in shown.partition("Log loss, test")[2].partition("majority class")[0]


@pytest.mark.parametrize(("changes", "message"), [({"cuts": 0}, "1 bar or more, not at 0"), ({"seed": -4}, "not -4")])
def test_a_check_out_of_range_is_refused(home, write_strategy, changes, message):
    with pytest.raises(kt.BadInputError, match=message):
        kt.check(write_strategy("waves"), sample=True, progress=False, **changes)


def test_stored_runs_are_listed_loaded_and_compared(backtest, training):
    other = kt.backtest(training, commission=0.001, progress=False)
    listed = kt.runs.list()
    assert listed.index.tolist() == ["waves/1-1", "waves/1-2"]
    assert listed.loc["waves/1-1", "total_return"] == backtest.metrics.loc["total_return", "strategy"]
    loaded = kt.runs.load("waves/1-1")
    assert loaded.trades.equals(backtest.trades)
    compared = kt.runs.compare([backtest, "waves/1-2"])
    assert compared.columns.tolist() == ["waves/1-1", "waves/1-2"]
    assert compared.loc["commission", "waves/1-2"] == other.metrics.loc["commission", "strategy"]
    assert kt.runs.load(backtest.directory).run == "waves/1-1"
    assert kt.runs.compare("waves/1-2").columns.tolist() == ["waves/1-2"]
    with pytest.raises(kt.NotFoundError, match="waves/1-9"):
        kt.runs.load("waves/1-9")
    with pytest.raises(kt.BadInputError, match="nothing to compare"):
        kt.runs.compare([])


def test_a_loaded_run_counts_the_trials_that_are_known_by_now(backtest, training):
    before = kt.runs.load(backtest.run).trials
    kt.sweep(training, {"risk.stop_loss.atr": [2, 4]}, end="2017-06-30", progress=False)
    loaded = kt.runs.load(backtest.run)
    assert (loaded.trials, loaded.metrics.loc["trials", "strategy"]) == (before + 2, before + 2)
    listed = kt.runs.list().loc[backtest.run, "deflated_sharpe"]
    assert listed == loaded.metrics.loc["deflated_sharpe", "strategy"]
    assert listed != backtest.metrics.loc["deflated_sharpe", "strategy"]
    assert kt.runs.compare([backtest.run]).loc["trials"].item() == before + 2


def test_a_damaged_run_is_left_out_and_told(backtest, training):
    (backtest.directory / "metrics.json").write_text("{", encoding="utf-8")
    with pytest.warns(UserWarning, match="is damaged"):
        assert kt.runs.list().empty


def test_the_report_is_that_of_the_command_line(backtest, tmp_path):
    path = backtest.report(tmp_path / "deep" / "report.html")
    page = path.read_text(encoding="utf-8")
    assert "waves: backtest of waves/1" in page
    assert "There is no verdict on waves yet" in page
    assert backtest.report() == backtest.directory / "report.html"
    assert backtest.report().read_bytes() == path.read_bytes()


def test_a_plot_has_each_line_of_the_account_on_one_axis_of_time(backtest, training):
    figure = backtest.plot()
    names = [trace.name for trace in figure.data]
    assert {"strategy", "buy and hold", "drawdown", "price", "long", "short"} <= set(names)
    assert len(figure.data[0].y) == len(backtest.equity)
    assert figure.data[0].y[-1] == pytest.approx(backtest.equity["equity"].iloc[-1], rel=1e-6)
    assert len(figure.data[names.index("drawdown")].y) == len(backtest.equity)
    axis = figure.layout.xaxis4
    opens = backtest.equity.index.strftime("%Y-%m-%d")
    assert len(axis.tickvals) > 4
    assert list(axis.ticktext) == [opens[place] for place in axis.tickvals]
    assert [trace.name for trace in training.plot().data][:2] == ["training loss", "validation loss"]


def test_what_a_notebook_shows_needs_no_network_and_no_script(backtest, training):
    sweep = kt.sweep(training, {"risk.stop_loss.atr": [2, 3]}, progress=False)
    explanation = kt.explain(training)
    check = kt.check(kt.load_strategy(training.bundle.strategy_text), sample=True, cuts=2, last=300, progress=False)
    for result in (backtest, training, sweep, explanation, check):
        shown = result._repr_html_()
        assert "<script" not in shown
        assert not re.search(r"(src|href)=|url\(|@import", shown)
        assert len(shown) < 100_000
        assert len(repr(result)) < 260
    assert "<polyline" in backtest._repr_html_()
    assert backtest.warnings[0][1:] in backtest._repr_html_()


def test_an_interrupt_leaves_a_checkpoint_that_resume_goes_on_from(home, write_strategy, monkeypatch):
    path = write_strategy("waves")
    whole = kt.train(path, progress=False).bundle.manifest.weights_hash

    from ktrdr_ml_example import training as backend

    steps, honest = 0, backend._step

    def step(*arguments: object) -> None:
        nonlocal steps
        steps += 1
        if steps == 30:
            signal.raise_signal(signal.SIGINT)
        honest(*arguments)

    monkeypatch.setattr(backend, "_step", step)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(kt.CancelledError, match="call train with the same arguments and resume=True") as stopped:
        kt.train(path, progress=False)
    assert stopped.value.checkpoint is not None
    assert steps == 30
    assert signal.getsignal(signal.SIGINT) is before
    resumed = kt.train(path, resume=True, progress=False)
    assert resumed.to_dict()["resumed"]
    assert resumed.bundle.manifest.weights_hash == whole


def test_an_interrupt_before_the_first_batch_leaves_nothing_to_resume(home, write_strategy):
    raised = []

    def stop(event: object) -> None:
        if not raised:
            raised.append(event)
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(kt.CancelledError, match="was cancelled; nothing is kept that could be resumed"):
        kt.train(write_strategy("waves"), progress=stop)
    with pytest.raises(kt.BadInputError, match="nothing to resume.* leave out resume=True"):
        kt.train(write_strategy("waves"), progress=False, resume=True)


def test_progress_goes_where_the_user_wants_it(training, capsys):
    events = []
    kt.backtest(training, progress=events.append)
    assert [event.step for event in events if event.fraction == 1][:2] == ["bars", "model"]
    assert capsys.readouterr().err == ""
    kt.backtest(training, progress=False)
    assert capsys.readouterr().err == ""
    kt.backtest(training)
    assert "simulation" in capsys.readouterr().err
