"""A backtest from the bundle to the result, on real bars and with a real (small) model."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ktrdr.core.backtesting.prediction import PredictionError
from ktrdr.core.backtesting.results import read_result, read_summary
from ktrdr.core.backtesting.run import run_backtest
from ktrdr.core.backtesting.symbol_input import SymbolInput
from ktrdr.core.backtesting.tables import read_table
from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.data.calendars import bars_per_year
from ktrdr.core.data.sample import sample_bars
from ktrdr.core.errors import BadInputError, CancelledError, DiskFullError, PluginError
from ktrdr.core.features.inputs import stored_inputs
from ktrdr.core.features.pipeline import FeaturePipeline
from ktrdr.core.jobs.job_settings import BacktestSettings
from ktrdr.core.jobs.refusals import read_settings
from ktrdr.core.models.bundle import Bundle
from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.strategy.model import Deployment, Risk, Sizing
from ktrdr.core.trials.trial_database import SQLiteDatabase
from ktrdr.core.trials.trial_ledger import TrialLedger
from ktrdr.core.work.cancellation import Cancellation

COSTS = {"commission": 0.0001, "slippage": 0.0001}


def of_data(warnings: tuple[str, ...]) -> tuple[str, ...]:
    """Return the warnings that are not of how good the result is, nor of how little there was to judge it by."""
    return tuple(each for each in warnings if not re.search("too few to|is below|the epoch that was kept", each))


@pytest.fixture
def run(bar_store: BarStore, plugins: PluginManager, ledger: TrialLedger):
    def start(bundle: Bundle, *, store: BarStore | None = None, **settings: Any):
        return run_backtest(
            bundle,
            bar_store=store or bar_store,
            plugins=plugins,
            trials=ledger,
            settings=read_settings(BacktestSettings, {**COSTS, **settings}),
        )

    return start


@pytest.fixture(scope="module")
def result(bundle: Bundle, bar_store: BarStore, plugins: PluginManager, tmp_path_factory: pytest.TempPathFactory):
    ledger = TrialLedger(SQLiteDatabase(tmp_path_factory.mktemp("ledger") / "trials.sqlite"))
    settings = BacktestSettings(**COSTS)
    return run_backtest(bundle, bar_store=bar_store, plugins=plugins, trials=ledger, settings=settings)


def columns_of(result: Any, *names: str) -> list[tuple[Any, ...]]:
    return list(zip(*(result.trades[name].tolist() for name in names), strict=True))


class TestAccount:
    def test_it_trades_what_the_model_has_not_seen(self, result, bundle):
        assert len(result.trades["number"]) > 20
        assert {"long", "short"} == set(result.trades["side"])
        end = np.datetime64(bundle.manifest.data.end.replace(tzinfo=None), "ns")
        assert result.start >= end
        assert result.equity["time"][0] == result.start
        assert (result.trades["entry_decision_time"] >= end).all()
        assert result.end == sample_bars().close_time[-1]
        assert not of_data(result.warnings)
        assert "all bars after" in result.period

    def test_every_cent_is_accounted_for(self, result):
        equity, capital = result.equity, result.settings.capital
        np.testing.assert_allclose(equity["cash"] + equity["positions"], equity["equity"], rtol=0, atol=1e-9 * capital)
        value = sum(symbol.positions["value"] for symbol in result.symbols)
        np.testing.assert_allclose(equity["positions"], value, rtol=1e-9, atol=1e-9 * capital)
        assert abs(capital + result.trades["net"].sum() - equity["equity"][-1]) <= 1e-9 * capital
        assert result.metrics["net_profit"] == pytest.approx(result.trades["net"].sum(), abs=1e-9 * capital)

    def test_costs_of_both_legs_are_in_every_trade(self, result):
        """The predecessor left out the commission of the entry."""
        trades = result.trades
        both = trades["units"] * (trades["entry_price"] + trades["exit_price"])
        np.testing.assert_allclose(trades["commission"], both * COSTS["commission"], rtol=1e-9)
        reference = trades["units"] * (trades["entry_reference_price"] + trades["exit_reference_price"])
        np.testing.assert_allclose(trades["slippage"], reference * COSTS["slippage"], rtol=1e-9)
        np.testing.assert_allclose(
            trades["gross"] - trades["commission"] - trades["slippage"], trades["net"], rtol=1e-9, atol=1e-9
        )

    def test_orders_fill_at_the_next_open(self, result):
        bars = sample_bars()
        row = np.searchsorted(bars.time, result.trades["entry_decision_time"])
        np.testing.assert_array_equal(bars.time[row + 1], result.trades["entry_time"])
        np.testing.assert_array_equal(bars.open[row + 1], result.trades["entry_reference_price"])

    def test_benchmark_pays_the_same_costs(self, result):
        bars = sample_bars().between(result.start, None)
        units = 10_000 / (bars.open[0] * 1.0001 * 1.0001)
        assert result.equity["benchmark"][0] == pytest.approx(units * bars.close[0])
        assert result.equity["benchmark"][-1] == pytest.approx(units * bars.close[-1] * 0.9999 * 0.9999)
        assert result.benchmark["final_equity"] == result.equity["benchmark"][-1]

    def test_annualized_by_the_hours_of_the_market(self, result):
        """The predecessor annualized hours with 252."""
        bars = sample_bars()
        assert result.metrics["periods_per_year"] == bars_per_year("EURUSD", "1h", bars.time)
        returns = np.diff(result.equity["equity"], prepend=10_000) / np.append(10_000, result.equity["equity"][:-1])
        assert result.metrics["sharpe"] == pytest.approx(returns.mean() / returns.std(ddof=1) * np.sqrt(6220), rel=0.02)

    def test_open_positions_are_closed_at_the_end_and_marked_so(self, bundle, changed, run):
        always_trades = changed(bundle, decisions={"confidence_threshold": 0.34}, risk=Risk())
        result = run(always_trades, end=dt.date(2017, 10, 18))
        assert result.trades["exit_reason"][-1] == "end_of_data"
        assert result.equity["positions"][-1] == 0
        assert result.symbols[0].positions["units"][-1] == 0


class TestNoLookAhead:
    def test_features_are_those_of_training(self, result, bundle, bar_store):
        pipeline = FeaturePipeline(bundle.strategy).with_normalizers(bundle.normalizers())
        matrix = pipeline.transform(stored_inputs(bar_store, "EURUSD", ("1h", "4h")))
        rows = np.searchsorted(matrix.time, result.trades["entry_decision_time"])
        np.testing.assert_array_equal(result.reasons.entry_features, matrix.values[rows].astype(np.float64))

    def test_what_comes_later_changes_nothing_before(self, result, bundle, run):
        for day in (dt.date(2017, 9, 20), dt.date(2017, 11, 2)):
            shorter = run(bundle, end=day)
            names = ("entry_time", "side", "units", "entry_price", "exit_time", "exit_price", "net")
            finished = [
                row
                for row, reason in zip(columns_of(shorter, *names), shorter.trades["exit_reason"], strict=True)
                if reason != "end_of_data"
            ]
            assert finished == columns_of(result, *names)[: len(finished)]
            assert len(finished) > 3

    def test_a_later_start_makes_the_same_decisions(self, bundle, result, run):
        later = run(bundle, start=dt.date(2017, 10, 9))
        signals = result.symbols[0].positions["signal"]
        np.testing.assert_array_equal(later.symbols[0].positions["signal"], signals[-len(later.equity["time"]) :])

    def test_history_before_the_training_data_is_read_where_it_is_needed(self, bundle, changed, run):
        # The training begins in April here; the backtest in the days before has history only if all is read.
        dates = bundle.strategy.training_data.date_range.model_copy(update={"start": dt.date(2017, 4, 3)})
        late = changed(bundle, training_data={"date_range": dates})
        result = run(late, start=dt.date(2017, 4, 3), end=dt.date(2017, 4, 7))
        assert result.symbols[0].passed["predicted"] == result.symbols[0].bars


class TestReasons:
    def test_outputs_led_to_the_side(self, result):
        assert result.reasons.outputs == ("BUY", "HOLD", "SELL")
        acted = np.where(result.trades["side"] == "long", 0, 2)
        rows = np.arange(len(acted))
        assert (result.reasons.entry_outputs.argmax(axis=1) == acted).all()
        assert (result.reasons.entry_outputs[rows, acted] > 0.35).all()
        by_signal = result.trades["exit_reason"] == "signal"
        assert by_signal.any()
        assert (result.reasons.exit_outputs[by_signal].argmax(axis=1) == 2 - acted[by_signal]).all()
        assert np.isnan(result.reasons.exit_outputs[~by_signal]).all()

    def test_they_can_be_read(self, result):
        reason = result.reasons.of(0, "entry")
        assert set(reason) == {"outputs", "features", "values"}
        assert sum(reason["outputs"].values()) == pytest.approx(1)
        assert set(reason["values"]) == {"1h_rsi_14", "4h_rsi_14", "1h_roc_5"}
        assert 0 <= reason["features"]["1h_rsi_low"] <= 1
        stopped = int(np.flatnonzero(result.trades["exit_reason"] == "stop_loss")[0])
        assert result.reasons.of(stopped, "exit") is None

    def test_values_of_another_timeframe_are_those_of_closed_bars(self, result, bar_store, bundle):
        from ktrdr.core.indicators.computation import compute_indicator

        bars = stored_inputs(bar_store, "EURUSD", ("4h",))["4h"]
        rsi = compute_indicator("rsi", {"period": 14}, bars)["rsi"]
        close = result.trades["entry_decision_time"] + np.timedelta64(1, "h")
        row = np.searchsorted(bars.close_time, close, side="right") - 1
        np.testing.assert_allclose(result.reasons.entry_values[:, result.reasons.values.index("4h_rsi_14")], rsi[row])

    def test_contributions_where_the_model_gives_them(self, bundle, run, predicting, plugins, bar_store):
        real = bundle.load_predictor(plugins)

        @dataclass
        class Explaining:
            input_size: int = real.input_size
            window: int = 3

            def predict(self, features: np.ndarray) -> np.ndarray:
                outputs = real.predict(features)
                outputs[:2] = np.nan
                return outputs

            def contributions(self, features: np.ndarray) -> np.ndarray:
                shares = np.zeros((len(features), self.input_size, 3))
                shares += features[:, :, None]
                shares[2:] += features[:-2, :, None]
                return shares * np.array([1.0, 10.0, 100.0])

        predicting(Explaining())
        result = run(bundle, explain=10_000)
        pipeline = FeaturePipeline(bundle.strategy).with_normalizers(bundle.normalizers())
        matrix = pipeline.transform(stored_inputs(bar_store, "EURUSD", ("1h", "4h")))
        rows = np.searchsorted(matrix.time, result.trades["entry_decision_time"])
        factor = np.where(result.trades["side"] == "long", 1.0, 100.0)[:, None]
        wanted = (matrix.values[rows].astype(np.float64) + matrix.values[rows - 2]) * factor
        np.testing.assert_allclose(result.reasons.entry_contributions, wanted, rtol=1e-6)
        assert "contributions" in result.reasons.of(0, "entry")
        few = run(bundle, explain=3)
        explained = ~np.isnan(few.reasons.entry_contributions).any(axis=1)
        largest = np.sort(np.abs(few.trades["net"]))[-3]
        assert explained.tolist() == (np.abs(few.trades["net"]) >= largest).tolist()

    def test_histograms_of_what_the_sets_read(self, result):
        assert [(h.timeframe, h.fuzzy_set, h.indicator) for h in result.histograms] == [
            ("1h", "rsi", "rsi_14"),
            ("4h", "rsi", "rsi_14"),
        ]
        assert sum(result.histograms[0].counts) == result.symbols[0].bars


class TestFiles:
    def test_equal_input_gives_equal_bytes(self, bundle, run, tmp_path):
        for name in ("a", "b"):
            run(bundle).write(tmp_path / name)
        names = sorted(path.name for path in (tmp_path / "a").iterdir())
        assert names == sorted(path.name for path in (tmp_path / "b").iterdir())
        for name in names:
            assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name

    def test_what_is_read_is_what_was_written(self, result, tmp_path):
        result.write(tmp_path / "a")
        read = read_result(tmp_path / "a")
        read.write(tmp_path / "b")
        for path in (tmp_path / "a").iterdir():
            assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name
        assert read.settings == result.settings
        assert read.trades.keys() == result.trades.keys()
        assert read_summary(tmp_path / "a") == result.to_json()

    def test_a_stored_run_with_the_old_names_of_reference_prices_is_read(self, result):
        """`files/run_with_aims` was written when the columns were `entry_aim` and `exit_aim`."""
        stored = Path(__file__).parent / "files" / "run_with_aims"
        assert {"entry_aim", "exit_aim"} <= set(read_table(stored / "trades.parquet"))
        read = read_result(stored)
        assert list(read.trades) == list(result.trades)
        rows = json.loads((stored / "trades.json").read_text(encoding="utf-8"))
        new = {"entry_aim": "entry_reference_price", "exit_aim": "exit_reference_price"}
        assert read.trade_rows() == [{new.get(name, name): value for name, value in row.items()} for row in rows]
        paid = read.trades["entry_reference_price"] * (1 + 0.0001 * np.where(read.trades["side"] == "long", 1, -1))
        np.testing.assert_allclose(read.trades["entry_price"], paid, rtol=1e-12)

    def test_trades_as_json_have_their_reasons(self, result, tmp_path):
        result.write(tmp_path / "a")
        rows = json.loads((tmp_path / "a" / "trades.json").read_text(encoding="utf-8"))
        assert len(rows) == len(result.trades["number"])
        assert rows[0]["entry_because"]["outputs"]["BUY"] is not None

    def test_all_or_nothing(self, result, tmp_path, monkeypatch):
        def fail(*args: Any, **more: Any) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("ktrdr.core.backtesting.results.write_table", fail)
        with pytest.raises(DiskFullError, match="the disk is full; nothing was written"):
            result.write(tmp_path / "a")
        assert list(tmp_path.iterdir()) == []

    def test_nothing_is_overwritten(self, result, tmp_path):
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "notes.txt").write_text("mine", encoding="utf-8")
        with pytest.raises(BadInputError, match="exists already"):
            result.write(tmp_path / "a")
        assert (tmp_path / "a" / "notes.txt").read_text(encoding="utf-8") == "mine"

    @pytest.mark.parametrize("name", ["result.json", "metrics.json", "model.json", "equity.parquet", "reasons.parquet"])
    def test_a_damaged_file_is_said_in_one_sentence(self, result, tmp_path, name):
        result.write(tmp_path / "a")
        content = (tmp_path / "a" / name).read_bytes()
        (tmp_path / "a" / name).write_bytes(content[: len(content) // 2])
        with pytest.raises(BadInputError, match="is damaged") as error:
            read_result(tmp_path / "a")
        assert "\n" not in str(error.value)


class TestPeriod:
    def test_without_later_bars_the_test_part(self, stocks_bundle, run):
        result = run(stocks_bundle, symbols=("AAPL",))
        test = stocks_bundle.manifest.data.split["AAPL"].test
        assert result.start == np.datetime64(test.start.replace(tzinfo=None), "ns")
        assert "test part" in result.period
        assert not of_data(result.warnings)

    def test_overlap_is_said(self, bundle, run):
        result = run(bundle, start=dt.date(2017, 3, 1), end=dt.date(2017, 3, 31))
        assert len(of_data(result.warnings)) == 1
        assert "(100%) overlap the data the model was trained on" in result.warnings[0]
        assert result.warnings[0] in result.to_json()["warnings"]

    def test_overlap_is_counted(self, bundle, run):
        result = run(bundle, start=dt.date(2017, 1, 2), end=dt.date(2017, 12, 29))
        split = bundle.manifest.data.split["EURUSD"]
        bars = sample_bars().between(result.start, None)
        seen = sum(
            len(bars.between(*(np.datetime64(time.replace(tzinfo=None), "ns") for time in (part.start, part.end))))
            for part in (split.train, split.validation)
        )
        assert result.warnings[0].startswith(f"{seen:,} of the {len(bars):,} bars")

    def test_the_test_part_was_not_fitted(self, bundle, run):
        start = bundle.manifest.data.split["EURUSD"].test.start.date() + dt.timedelta(days=1)
        assert of_data(run(bundle, start=start).warnings) == ()

    def test_an_end_alone_starts_where_training_ended(self, bundle, run):
        assert run(bundle, end=dt.date(2017, 9, 15)).start > np.datetime64("2017-08-31T20:00", "ns")

    def test_an_end_in_the_training_data_needs_a_start(self, bundle, run):
        with pytest.raises(BadInputError, match="lies within the training data of waves/1.*give a start too"):
            run(bundle, end=dt.date(2017, 5, 1))

    def test_nothing_unseen(self, bundle, run):
        data = bundle.manifest.data.model_copy(update={"end": dt.datetime(2018, 1, 1, tzinfo=dt.UTC), "split": {}})
        manifest = bundle.manifest.model_copy(update={"data": data})
        with pytest.raises(BadInputError, match="the model has seen all of them; import later bars"):
            run(Bundle(bundle.directory, manifest))


class TestPortfolio:
    def test_symbols_share_the_cash(self, stocks_bundle, run, changed):
        eager = changed(
            stocks_bundle,
            decisions={"confidence_threshold": 0.0},
            risk=Risk(sizing=Sizing(type="fixed_fraction", value=0.7)),
        )
        result = run(eager, start=dt.date(2012, 7, 2))
        assert {symbol.symbol for symbol in result.symbols} == {"AAPL", "FB"} == set(result.trades["symbol"])
        assert result.orders["reduced"] > 0
        first, second = (symbol.positions["value"] for symbol in result.symbols)
        first = first[-len(second) :]
        both = np.abs(first) + np.abs(second)
        assert (both <= result.equity["equity"][-len(both) :] * 1.05).all()
        assert ((first != 0) & (second != 0)).any()
        assert abs(10_000 + result.trades["net"].sum() - result.equity["equity"][-1]) <= 1e-9 * 10_000
        assert result.metrics["periods_per_year"] == pytest.approx(252, abs=5)
        assert [symbol.calendar for symbol in result.symbols] == ["XNYS", "XNYS"]

    def test_the_stored_calendar_annualizes_what_is_too_short_to_tell(self, stocks_bundle, bar_store, tmp_path):
        manifest, start = stocks_bundle.manifest, np.datetime64("2013-01-01", "ns")
        timeframe = manifest.data.base_timeframe
        short = BarStore(tmp_path / "short")
        short.write_all(bar_store.read(symbol, timeframe, start) for symbol in manifest.data.symbols)
        assert manifest.data.calendars == dict.fromkeys(manifest.data.symbols, "XNYS")
        assert short.set_calendar("AAPL", "24/7") == "24/7"
        # Less than eight whole weeks.
        inputs = [SymbolInput({timeframe: short.read(symbol, timeframe)[:20]}, 0) for symbol in ("AAPL", "FB")]
        assert [each.calendar for each in inputs] == ["24/7", "XNYS"]
        assert [each.bars_per_year for each in inputs] == [pytest.approx(365.2425), pytest.approx(251.6, abs=0.5)]


class TestHonesty:
    def test_a_model_that_never_trades_says_why(self, bundle, run, changed):
        result = run(changed(bundle, decisions={"confidence_threshold": 0.99}))
        assert len(result.trades["number"]) == 0
        assert "0 above the confidence threshold" in result.no_trades
        assert "decisions.confidence_threshold is 0.99" in result.no_trades
        assert result.to_json()["no_trades"] == result.no_trades
        assert result.symbols[0].passed["buy or sell"] > 0

    def test_it_can_be_written_and_read(self, bundle, run, changed, tmp_path):
        run(changed(bundle, decisions={"confidence_threshold": 0.99})).write(tmp_path / "a")
        assert read_result(tmp_path / "a").no_trades

    def test_an_exception_in_prediction_fails_the_run(self, bundle, run, predicting):
        """The predecessor showed a broken model as "0 trades"."""

        class Broken:
            input_size, window = 7, 1

            def predict(self, features: np.ndarray) -> np.ndarray:
                raise RuntimeError("shapes (7,) and (8,)\nnot aligned")

        predicting(Broken())
        with pytest.raises(PredictionError, match=r"failed to predict EURUSD \(RuntimeError: shapes \(7,\) and"):
            run(bundle)
        assert PredictionError.exit_status == 2

    @pytest.mark.parametrize("rows", [slice(None), slice(-1, None)])
    def test_nan_on_complete_rows_fails_the_run(self, bundle, run, predicting, rows):
        class Broken:
            input_size, window = 7, 1

            def predict(self, features: np.ndarray) -> np.ndarray:
                outputs = np.full((len(features), 3), 1 / 3)
                outputs[rows, 1] = np.nan
                return outputs

        predicting(Broken())
        with pytest.raises(PredictionError, match="predicted NaN on"):
            run(bundle)

    def test_outputs_of_a_wrong_shape_fail_the_run(self, bundle, run, predicting):
        class Broken:
            input_size, window = 7, 1

            def predict(self, features: np.ndarray) -> np.ndarray:
                return np.zeros((len(features) - 1, 3))

        predicting(Broken())
        with pytest.raises(PredictionError, match="update its plugin"):
            run(bundle)

    def test_majority_baseline(self, result, bundle):
        (baseline,) = result.baselines
        majority = max(
            bundle.manifest.baselines["majority"]["test"]["per_class"].items(), key=lambda item: item[1]["predicted"]
        )[0]
        assert f"always predicts {majority}" in baseline.statement
        assert ("never trades" in baseline.statement) == (baseline.metrics["trades"] == 0)

    def test_a_majority_of_buys_holds(self, bundle, run):
        baselines = {"majority": {"test": {"per_class": {"BUY": {"predicted": 9}, "HOLD": {}, "SELL": {}}}}}
        buys = Bundle(bundle.directory, bundle.manifest.model_copy(update={"baselines": baselines}))
        (baseline,) = run(buys).baselines
        assert baseline.metrics["trades"] > 0
        assert "always predicts BUY" in baseline.statement


class TestDeployment:
    def test_a_symbol_outside(self, bundle, run, changed):
        only = changed(bundle, deployment=Deployment(target_symbols=("EURUSD",)))
        with pytest.raises(BadInputError, match="must not be used on AAPL.*allows only EURUSD"):
            run(only, symbols=("AAPL",))

    def test_a_timeframe_outside(self, bundle, run, changed):
        with pytest.raises(BadInputError, match="decides on 1h bars.*allows only 1d"):
            run(changed(bundle, deployment=Deployment(target_timeframes=("1d",))))

    def test_the_strategys_own_symbols_as_far_as_allowed(self, stocks_bundle, run, changed):
        only = changed(stocks_bundle, deployment=Deployment(target_symbols=("AAPL", "MSFT")))
        assert [symbol.symbol for symbol in run(only, start=dt.date(2012, 1, 3)).symbols] == ["AAPL"]


class TestBadInput:
    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"capital": -1.0}, "capital must be above 0"),
            ({"capital": float("nan")}, "capital must be a finite number, not nan"),
            ({"capital": float("inf")}, "capital must be a finite number, not inf"),
            ({"commission": 1.0}, "commission must be below 1, not 1 .share of .*write two basis points as 0.0002"),
            ({"slippage": -0.1}, "slippage must be at least 0, not -0.1 .share of the price"),
            ({"symbols": ()}, "symbols is empty; give at least one, or leave it out"),
            ({"symbols": ("EURUSD", "EURUSD")}, "`EURUSD` is given twice"),
            ({"start": dt.date(2018, 1, 2), "end": dt.date(2018, 1, 1)}, "the end .2018-01-01. is before the start"),
            ({"trials": 0}, "trials must be at least 1"),
            ({"explain": -1}, "explain must be at least 0"),
            ({"symbols": ("GBPUSD",)}, "GBPUSD"),
            ({"symbols": ("../etc",)}, "cannot be a symbol"),
            ({"start": dt.date(2019, 1, 1)}, "no 1h bars of EURUSD to trade.*stored are 1h 2017-01-01"),
            ({"start": dt.date(2017, 1, 1), "end": dt.date(2017, 1, 2)}, "too short for its warm-up"),
            ({"device": "cuda:7"}, "no device"),
        ],
    )
    def test_one_sentence(self, bundle, run, settings, message):
        with pytest.raises(BadInputError, match=message) as error:
            run(bundle, **settings)
        assert "\n" not in str(error.value)
        assert error.value.exit_status == 2

    def test_a_model_without_its_plugin(self, bundle, bar_store, ledger, tmp_path):
        nothing = PluginManager(path=[str(tmp_path)], environ={})
        settings = BacktestSettings(inference="native")
        with pytest.raises(PluginError, match="example"):
            run_backtest(bundle, bar_store=bar_store, plugins=nothing, trials=ledger, settings=settings)
        assert ledger.rows() == 0

    def test_a_symbol_whose_normalizers_were_never_fitted(self, bundle, run, tmp_path):
        store = BarStore(tmp_path / "bars")
        store.write(dataclasses.replace(sample_bars(), symbol="GBPUSD"))
        with pytest.raises(BadInputError, match="no normalizers were fitted for `GBPUSD`"):
            run(bundle, store=store, symbols=("GBPUSD",))

    def test_a_cold_start_is_said(self, bundle, run):
        result = run(bundle, start=dt.date(2017, 1, 1), end=dt.date(2017, 2, 1))
        assert any("lack features, so the model makes no decision there" in warning for warning in result.warnings)
        assert result.symbols[0].passed["predicted"] < result.symbols[0].bars

    def test_cancelled(self, bundle, bar_store, plugins, ledger):
        cancellation = Cancellation()
        cancellation.cancel()
        with pytest.raises(CancelledError):
            run_backtest(
                bundle,
                bar_store=bar_store,
                plugins=plugins,
                trials=ledger,
                settings=BacktestSettings(),
                cancellation=cancellation,
            )
        assert ledger.rows() == 0
