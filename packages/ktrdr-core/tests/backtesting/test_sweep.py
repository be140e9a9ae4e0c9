"""A sweep comes to what as many backtests come to, ordered, and with all of them counted as trials."""

from __future__ import annotations

import json

import pytest

from ktrdr.core.backtesting.run import run_backtest
from ktrdr.core.cli.main import cli
from ktrdr.core.cli.sweep import print_sweep
from ktrdr.core.errors import BadInputError, CancelledError
from ktrdr.core.jobs.job_settings import MOST_TRIALS, BacktestSettings, SweepSettings
from ktrdr.core.jobs.kinds import JOB_KINDS, parse_job
from ktrdr.core.strategy.loader import load_strategy_text
from ktrdr.core.sweeps.candidates import CandidateStrategies
from ktrdr.core.sweeps.grid import check_sweep, trials_of
from ktrdr.core.work.cancellation import Cancellation
from ktrdr.core.workflows import run_sweep
from ktrdr.core.workflows.run_job import run_job

SETTINGS = {"decisions.confidence_threshold": (0.34, 0.4), "risk.stop_loss.atr": (2, 3.5, 5)}


@pytest.fixture
def make_job(bundle, home):
    def make(**more):
        given = {"model": bundle.manifest.ref, "settings": SETTINGS, "commission": 0.0001, "slippage": 0.0001}
        return parse_job("sweep", {**given, **more})

    return make


@pytest.fixture
def run(ledger):
    def run_it(job, **more):
        return run_sweep.sweep(job.model, job.to(SweepSettings), **{"trials": ledger, **more}).to_json()

    return run_it


@pytest.fixture
def candidate(bundle, changed):
    """Return ``candidate(changes)``: a bundle of the same model whose strategy has other decisions and risk."""

    def run(changes):
        strategy = CandidateStrategies(bundle.manifest.strategy, bundle.strategy_text).strategy(changes)
        return changed(bundle, decisions=strategy.decisions, risk=strategy.risk)

    return run


def test_each_row_is_the_backtest_of_that_strategy(make_job, run, candidate, bar_store, plugins, ledger):
    """To the last digit; and that backtest is no trial more."""
    result = run(make_job(top=4))
    assert result["trials"] == len(result["rows"]) == result["trial_count"]["known"] == 6
    assert result["resampled"] == 4
    for place, row in enumerate(result["rows"], start=1):
        assert row["metrics"]["trials"] == 6
        alone = run_backtest(
            candidate(row["settings"]),
            bar_store=bar_store,
            plugins=plugins,
            trials=ledger,
            settings=BacktestSettings(commission=0.0001, slippage=0.0001),
        )
        assert (alone.trial_count.known, alone.trial_count.chosen_among) == (6, 6)
        # The interval is resampled for the rows that are shown.
        interval = {name: alone.metrics[name] if place <= 4 else None for name in ("sharpe_low", "sharpe_high")}
        assert None not in (alone.metrics["sharpe_low"], alone.metrics["sharpe_high"])
        assert row["metrics"] == {name: alone.metrics[name] for name in row["metrics"]} | interval
    assert ledger.rows() == 6
    assert len({row["metrics"]["net_profit"] for row in result["rows"]}) > 1
    assert json.loads(json.dumps(result, allow_nan=False)) == result


@pytest.mark.parametrize(("metric", "sign"), [("sharpe", -1), ("max_drawdown", -1), ("costs", 1)])
def test_the_best_is_first_and_what_is_not_defined_last(make_job, run, metric, sign):
    thresholds = {"decisions.confidence_threshold": (0.34, 0.36, 0.4, 0.999)}
    rows = run(make_job(settings=thresholds, metric=metric))["rows"]
    values = [row["metrics"][metric] for row in rows]
    known = [value for value in values if value is not None]
    assert values == sorted(known, key=lambda value: sign * value) + [None] * (len(values) - len(known))
    assert sorted(row["trial"] for row in rows) == [1, 2, 3, 4]
    # With a threshold nothing reaches, nothing is traded, and its Sharpe ratio is not defined.
    assert (None in values) == (metric == "sharpe")


def test_more_trials_deflate_the_same_result_more(make_job, run):
    few = run(make_job(settings={"risk.stop_loss.atr": (2, 3)}))
    more = run(make_job(settings={"risk.stop_loss.atr": (2, 3, *(4 + i / 10 for i in range(48)))}))
    assert (few["trial_count"]["known"], more["trial_count"]["known"]) == (2, 50)

    def of(result, value):
        return next(row["metrics"] for row in result["rows"] if row["settings"]["risk.stop_loss.atr"] == value)

    assert of(few, 2)["sharpe"] == of(more, 2)["sharpe"]
    assert of(few, 2)["deflated_sharpe"] > of(more, 2)["deflated_sharpe"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"training.epochs": (1, 2)}, "cannot be swept on a trained model"),
        ({"decisions": (1,)}, "cannot be swept on a trained model"),
        ({"risk.": (1,)}, "cannot be swept on a trained model"),
        ({"decisions.output_format": ("regression",)}, "cannot be swept, as it is fixed by the training; remove it"),
        ({"decisions.confidence_treshold": (0.5,)}, "did you mean `confidence_threshold`"),
        ({"decisions.confidence_threshold": (0.5, 7)}, "confidence_threshold=7: "),
        ({"risk.max_holding_period": (5, 0)}, "max_holding_period=0: "),
        ({"risk.stop_loss.atr": (2, 2)}, "has the same value twice"),
        ({"risk.stop_loss.atr": ()}, "atr. is empty; give at least one"),
        ({"risk.stop_loss.atr": tuple(range(1, 200)), "risk.take_profit.atr": tuple(range(1, 200))}, "39,601"),
    ],
)
def test_a_mistake_anywhere_is_found_before_anything_runs(make_job, run, monkeypatch, settings, message):
    monkeypatch.setattr(run_sweep, "prepare_sweep", lambda *args, **more: pytest.fail("it ran"))
    with pytest.raises(BadInputError, match=message) as caught:
        run(make_job(settings=settings))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("metric", ["sharp", "trades", "monthly_returns"])
def test_what_has_no_better_cannot_be_ordered_by(make_job, bundle, metric):
    with pytest.raises(BadInputError, match=f"cannot be ordered by `{metric}`"):
        check_sweep(make_job(metric=metric), bundle)


@pytest.mark.parametrize("metric", ["sharpe_low", "sharpe_high"])
def test_what_is_resampled_for_some_rows_alone_cannot_be_ordered_by(make_job, run, ledger, metric):
    with pytest.raises(BadInputError, match=f"`{metric}`, which is resampled only for .* shown; order it by sharpe$"):
        run(make_job(metric=metric))
    assert ledger.rows() == 0


def test_combinations_are_all_there_once_the_last_setting_changing_fastest(make_job):
    found = trials_of(make_job())
    assert len(found) == 6 <= MOST_TRIALS
    assert [tuple(each.values()) for each in found] == [(a, b) for a in (0.34, 0.4) for b in (2, 3.5, 5)]


def test_a_changed_strategy_is_the_one_a_file_with_that_change_gives(bundle):
    changes = {"decisions.filters.min_signal_separation": 9, "risk.stop_loss": None, "risk.take_profit.percent": 2.5}
    text = bundle.strategy_text
    ours = CandidateStrategies(bundle.manifest.strategy, text).strategy(changes)
    assert ours.decisions.filters.min_signal_separation == 9
    assert ours.risk.stop_loss is None
    assert (ours.risk.take_profit.kind, ours.risk.take_profit.value) == ("percent", 2.5)
    # Unchanged it is what the loader makes of the file.
    plain = CandidateStrategies(bundle.manifest.strategy, text).strategy({})
    assert (plain.decisions, plain.risk) == (load_strategy_text(text).strategy.decisions, bundle.manifest.strategy.risk)


def test_it_stops_on_request_and_nothing_is_recorded(make_job, run, ledger, monkeypatch):
    cancellation = Cancellation()
    ran = []
    original = run_sweep.run_trial

    def trial(*args):
        ran.append(1)
        cancellation.cancel()
        return original(*args)

    monkeypatch.setattr(run_sweep, "run_trial", trial)
    with pytest.raises(CancelledError):
        run(make_job(), cancellation=cancellation)
    assert len(ran) == 1
    assert ledger.rows() == 0


def test_one_that_stops_when_all_is_traded_is_recorded_although_nothing_is_shown(make_job, run, ledger, monkeypatch):
    cancellation = Cancellation()
    original = run_sweep.rank

    def rank(*args):
        cancellation.cancel()
        return original(*args)

    monkeypatch.setattr(run_sweep, "rank", rank)
    with pytest.raises(CancelledError):
        run(make_job(), cancellation=cancellation)
    assert ledger.rows() == 6


def test_it_is_a_job_like_the_others(make_job):
    assert "sweep" in JOB_KINDS
    events = []
    job = make_job()
    result = run_job("sweep", job.model_dump(mode="json"), progress=events.append)
    assert result["trials"] == 6
    assert (events[-1].done, events[-1].total, events[-1].fraction) == (6, 6, 1.0)


def run_command(arguments, capsys):
    status = cli.main(args=arguments, standalone_mode=False)
    return status, capsys.readouterr().out


def test_the_command_prints_the_best_rows(make_job, bundle, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    ref = bundle.manifest.ref
    options = ["--set", "decisions.confidence_threshold=0.34, 0.4", "--set", "risk.max_holding_period=null,9"]
    with pytest.raises(BadInputError, match="atr"):
        run_command(["sweep", ref, *options, "--set", "risk.take_profit.atr=-1"], capsys)
    _, out = run_command(["sweep", ref, *options, "--json"], capsys)
    result = json.loads(out)
    assert result["trials"] == 4
    assert result["resampled"] == 4
    print_sweep(result, 3)
    shown = capsys.readouterr().out
    assert "1 more row: --top 4" in shown
    assert "a: decisions.confidence_threshold\nb: risk.max_holding_period\n" in shown
    best = result["rows"][0]["metrics"]["net_profit"]
    said = "The best of 4 looks better by luck than it is; " if best > 0 else "Even the best of 4 makes no profit, "
    assert said in shown
    assert "\nCounted: 4 trials known to this ledger.\n  Their Sharpe ratios have" in shown


@pytest.mark.parametrize(
    ("profit", "said"),
    [
        (12.5, "The best of 2 looks better by luck than it is; the deflated Sharpe ratio accounts for that."),
        (-12.5, "Even the best of 2 makes no profit, although choosing the best makes it look better."),
        (0.0, "Even the best of 2 makes no profit, although choosing the best makes it look better."),
    ],
)
def test_a_best_that_loses_is_not_said_to_look_good(make_job, run, capsys, profit, said):
    result = run(make_job(settings={"risk.stop_loss.atr": (2, 3)}))
    result["rows"][0]["metrics"]["net_profit"] = profit
    print_sweep(result, 2)
    shown = capsys.readouterr().out
    assert said in shown
    assert "looks good" not in shown


def test_a_sweep_ends_where_a_backtest_of_its_bars_does(make_job, run, bundle, bar_store, plugins, ledger):
    result = run(make_job(settings={"risk.stop_loss.atr": (2, 3)}))
    alone = run_backtest(bundle, bar_store=bar_store, plugins=plugins, trials=ledger, settings=BacktestSettings())
    assert (result["start"], result["end"]) == (alone.to_json()["start"], alone.to_json()["end"])


def test_a_distance_of_few_percent_is_warned_of(make_job, run):
    warnings = run(make_job(settings={"risk.stop_loss.percent": (0.03, 2), "risk.stop_loss.atr": (None,)}))["warnings"]
    few = "risk.stop_loss.percent: `percent: 0.03` is 0.03 % of the price; for 3 % write `percent: 3`"
    assert [each for each in warnings if "percent" in each] == [few]


@pytest.mark.parametrize("given", ["risk.stop_loss.atr", "risk.stop_loss.atr=", "=3", "risk.stop_loss.atr={a: 1}"])
def test_what_is_no_setting_is_one_sentence(make_job, bundle, given):
    with pytest.raises(BadInputError, match="--set"):
        cli.main(args=["sweep", bundle.manifest.ref, "--set", given], standalone_mode=False)
