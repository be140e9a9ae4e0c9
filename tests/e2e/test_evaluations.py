"""Evaluations of every kind of model give, to the last bit, what a slow reference gives fold by fold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pydantic import TypeAdapter

from ktrdr.core.backtesting.account import trade
from ktrdr.core.backtesting.metrics import account_metrics
from ktrdr.core.backtesting.prepare import SymbolInput
from ktrdr.core.backtesting.summary import account_curve, trading_metrics
from ktrdr.core.backtesting.trades import trade_table
from ktrdr.core.cache.array_cache import NO_CACHE
from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.features.inputs import stored_inputs
from ktrdr.core.features.pipeline import FeaturePipeline
from ktrdr.core.jobs.job_settings import BacktestSettings, EvaluationSettings
from ktrdr.core.labels.make import make_labels
from ktrdr.core.labels.uniqueness import uniqueness_weights
from ktrdr.core.plugins import Split, TrainingData
from ktrdr.core.strategy.loader import load_strategy_text
from ktrdr.core.strategy.model import ValidationSection
from ktrdr.core.training import population
from ktrdr.core.training.baselines import evaluate_baselines
from ktrdr.core.training.evaluation import evaluate_classification, evaluate_regression
from ktrdr.core.training.split import SymbolSplit
from ktrdr.core.training.task import create_task
from ktrdr.core.trials.trial_database import SQLiteDatabase
from ktrdr.core.trials.trial_ledger import TrialLedger
from ktrdr.core.validation.fold_samples import fold_rows
from ktrdr.core.validation.folds import plan_folds
from ktrdr.core.validation.stored_evaluation import load_evaluation, store_evaluation
from ktrdr.core.work import NO_PROGRESS, Cancellation
from ktrdr.core.workflows.run_evaluation import evaluate

NEURAL_KEYS = ("batch_size", "learning_rate", "optimizer", "weight_decay", "gradient_clip", "lr_scheduler",
               "early_stopping", "epochs")  # fmt: skip
DIRECTION = {"replace": {"source": "direction", "horizon": 4, "threshold": 0.0001}}
RETURNS = {"replace": {"source": "forward_return", "horizon": 4}}
QUARTER = {"date_range": {"start": "2017-01-01", "end": "2017-03-31"}}
RAW = [{"fuzzy_set": "rsi", "timeframes": "all"}, {"raw_indicator": "rsi_14", "timeframes": "all"}]
LONGER = [
    {"fuzzy_set": "rsi", "timeframes": ["1h", "4h"]},
    {"raw_indicator": "rsi_14", "timeframes": "all", "normalization": "minmax"},
]
NEURAL = {
    "epochs": 2,
    "learning_rate": 0.02,
    "early_stopping": None,
    "lr_scheduler": None,
    "labels": DIRECTION["replace"],
}
OTHER = dict.fromkeys(NEURAL_KEYS) | {"labels": DIRECTION["replace"]}
SMALL_MLP = {"type": "mlp", "architecture": {"hidden_layers": [7], "dropout": 0.2}}
CPCV = {"type": "cpcv", "groups": 4, "test_groups": 2, "reserve": 0.1}
WALK = {"type": "walk_forward", "train": "5w", "test": 200, "reserve": 0.05}
EASY = {"decisions": {"confidence_threshold": 0.34}}

KINDS = {
    "mlp": {"training_data": QUARTER, "model": {"replace": SMALL_MLP}, "training": NEURAL, "validation": CPCV, **EASY},
    "normalized inputs of two timeframes": {
        "training_data": QUARTER | {"timeframes": {"mode": "multi_timeframe", "list": ["1h", "4h"]}},
        "nn_inputs": LONGER, "model": {"replace": SMALL_MLP}, "training": NEURAL, "validation": WALK, **EASY,
    },
    "regression": {
        "training_data": QUARTER, "nn_inputs": RAW, "model": {"replace": SMALL_MLP}, "validation": CPCV,
        "training": NEURAL | {"labels": RETURNS["replace"], "class_weights": None},
        "decisions": {"replace": {"output_format": "regression", "cost_model": {"round_trip_cost": 0.0001}}},
    },
    "tree": {
        "training_data": QUARTER, "training": OTHER,
        "model": {"replace": {"type": "random_forest", "architecture": {"n_estimators": 5}}},
        "validation": CPCV | {"reserve": 0.0}, **EASY,
    },
    "anfis": {
        "training_data": QUARTER, "nn_inputs": [RAW[0]], "model": {"replace": {"type": "anfis"}}, "training": NEURAL,
        "validation": {"type": "holdout", "train": 0.6, "validation": 0.2, "test": 0.2, "reserve": 0.1}, **EASY,
    },
    "lstm": {
        "training_data": QUARTER, "training": NEURAL, "validation": WALK | {"anchored": True}, **EASY,
        "model": {"replace": {"type": "lstm", "architecture": {"sequence_length": 3, "hidden_size": 5}}},
    },
    "ensemble": {
        "training_data": QUARTER, "training": NEURAL, "validation": CPCV, **EASY,
        "model": {"replace": {"type": "ensemble", "of": SMALL_MLP, "members": {"seeds": 2}}},
    },
    "two symbols": {
        "training_data": {"replace": {
            "symbols": {"mode": "multi_symbol", "list": ["AAPL", "FB"]},
            "timeframes": {"mode": "single", "timeframe": "1d"}, "date_range": {"start": "2011-06-01"},
        }},
        "nn_inputs": RAW, "model": {"replace": SMALL_MLP}, "validation": CPCV, **EASY,
        "training": NEURAL | {
            "labels": {"source": "triple_barrier", "max_holding_period": 5},
            "sample_weights": "uniqueness",
        },
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def load(variant, plugins):
    """Return ``load(validation=..., section=...)``: the main strategy with changed sections."""

    def make(*, validation, **changes):
        loaded = load_strategy_text(variant(**changes), plugins=plugins)
        section = TypeAdapter(ValidationSection).validate_python(validation)
        return replace(loaded, strategy=loaded.strategy.model_copy(update={"validation": section}))

    return make


@pytest.fixture(scope="module")
def run(shared_home, plugins, tmp_path_factory):
    """Return ``run(loaded, settings)``: the evaluation, with a ledger and checkpoints of its own."""

    def start(loaded, settings, **arguments):
        home = tmp_path_factory.mktemp("evaluation")
        return evaluate(
            loaded,
            settings,
            bar_store=BarStore(shared_home / "data"),
            plugins=plugins,
            trials=TrialLedger(SQLiteDatabase(home / "trials.sqlite")),
            **{"checkpoint_root": home / "checkpoints", "cache": NO_CACHE, **arguments},
        )

    return start


class Reference:
    """Evaluates fold by fold: computes features anew, trains each model alone, and predicts bar ranges one by one."""

    def __init__(self, strategy, settings, plugins, store):
        self.strategy = strategy
        self.settings, self.plugins, self.store = settings, plugins, store
        strategy, section = self.strategy, self.strategy.model.learner
        self.plugin, self.model_type = plugins.backend_for(section.type)
        self.crisp = self.model_type.inputs == "crisp"
        timeframes = FeaturePipeline(strategy, crisp=self.crisp).timeframes
        days = strategy.training_data.date_range
        start = None if days.start is None else np.datetime64(days.start, "ns")
        end = None if days.end is None else np.datetime64(days.end, "ns") + np.timedelta64(1, "D")
        self.bars = {
            symbol: stored_inputs(store, symbol, timeframes, start, end) for symbol in strategy.training_data.symbols
        }
        self.base = {symbol: own[timeframes[0]] for symbol, own in self.bars.items()}
        empty = next(iter(self.base.values()))[:0]
        pipeline = FeaturePipeline(strategy, crisp=self.crisp)
        device = plugins.devices(self.plugin.name)[0]
        self.task = create_task(strategy, self.model_type, pipeline.columns, device)
        window = self.model_type.window_parameter
        self.window = 1 if window is None else self.task.architecture[window]
        self.plan = plan_folds(
            strategy.validation,
            {symbol: own.time for symbol, own in self.base.items()},
            look_ahead=make_labels(strategy.training.labels, empty).look_ahead,
            embargo=strategy.training.embargo,
            bar=np.timedelta64(empty.timeframe.nanoseconds, "ns"),
            window=self.window,
        )
        reserve = self.plan.reserve
        if reserve is not None:
            self.bars = {
                symbol: {
                    name: part[: int((part.time < reserve).sum() if place == 0 else (part.close_time <= reserve).sum())]
                    for place, (name, part) in enumerate(own.items())
                }
                for symbol, own in self.bars.items()
            }
            self.base = {symbol: own[timeframes[0]] for symbol, own in self.bars.items()}
        self.times = {symbol: own.time for symbol, own in self.base.items()}
        self.labels = {symbol: make_labels(strategy.training.labels, own) for symbol, own in self.base.items()}
        self.matrices = {symbol: pipeline.compute(own) for symbol, own in self.bars.items()}
        usable = {symbol: self._complete(symbol) & self.labels[symbol].labelled for symbol in self.base}
        self.rows = [fold_rows(self.plan, fold, self.times, usable, self.window) for fold in self.plan.folds]
        size = getattr(getattr(strategy.model, "members", None), "seeds", 1)
        self.seeds = [strategy.training.seed + size * number for number in range(settings.seeds)]
        self.size = size

    def _complete(self, symbol):
        warm = self.matrices[symbol].warm
        return np.array(
            [
                bool(warm[max(row - self.window + 1, 0) : row + 1].all()) and row >= self.window - 1
                for row in range(len(warm))
            ]
        )

    def _features(self, number):
        """Normalized features of a fold, and the row at which each symbol begins."""
        pipeline = FeaturePipeline(self.strategy, crisp=self.crisp)
        stacked, first = [], {}
        for symbol, matrix in self.matrices.items():
            first[symbol] = sum(len(part) for part in stacked)
            train = self.rows[number].train[symbol]
            if not len(train):
                stacked.append(np.full(matrix.values.shape, np.nan, np.float32))
                continue
            used = np.zeros(len(matrix.time), bool)
            for row in train:
                used[row - self.window + 1 : row + 1] = True
            pipeline.fit({symbol: matrix}, {symbol: used})
            stacked.append(pipeline.normalize(matrix).values)
        return np.ascontiguousarray(np.concatenate(stacked)), first

    def _part(self, rows, first, weighted):
        dtype = np.int64 if self.task.classes else np.float32
        labels = np.concatenate([self.labels[symbol].values[own] for symbol, own in rows.items()]).astype(dtype)
        weights = np.ones(len(labels))
        if weighted:
            weights = np.concatenate(
                [uniqueness_weights(self.labels[symbol].span_end, own) for symbol, own in rows.items()]
            )
            weights = weights / weights.mean()
        at = np.concatenate([own + first[symbol] for symbol, own in rows.items()])
        return Split(at, labels, weights.astype(np.float32))

    def outputs(self):
        """Outputs of the test parts: by fold, seed and symbol, NaN outside the test part."""
        found = {}
        trainer = self.plugins.trainer(self.plugin.name)
        weighted = self.strategy.training.sample_weights == "uniqueness"
        self.epochs = {}
        for number, fold in enumerate(self.plan.folds):
            features, first = self._features(number)
            rows = self.rows[number]
            data = TrainingData(
                features, self._part(rows.train, first, weighted), self._part(rows.validation, first, False)
            )
            for seed in self.seeds:
                models = []
                for own in range(seed, seed + self.size):
                    models.append(
                        trainer.train(
                            replace(self.task, seed=own),
                            data,
                            progress=NO_PROGRESS,
                            cancellation=Cancellation(),
                            checkpoint=None,
                        )
                    )
                self.epochs[number, seed] = max(model.best_epoch for model in models)
                for symbol, time in self.times.items():
                    own = features[first[symbol] : first[symbol] + len(time)]
                    shape = (len(time), 3) if self.task.classes else (len(time),)
                    result = np.full(shape, np.nan)
                    for start, end in fold.test if len(rows.train[symbol]) else ():
                        inside = np.flatnonzero((time >= self.plan.time[start]) & (time <= self.plan.time[end - 1]))
                        if not len(inside):
                            continue
                        begin = max(inside[0] - self.window + 1, 0)
                        predicted = [model.predictor().predict(own[begin : inside[-1] + 1]) for model in models]
                        mean = sum(predicted) / len(predicted) if len(predicted) > 1 else predicted[0]
                        result[inside] = mean[inside - begin]
                    found[number, seed, symbol] = result
        return found

    def path_outputs(self, outputs, path, seed):
        """Outputs of all bars on a path, by symbol."""
        found = {}
        for symbol, time in self.times.items():
            own = np.full_like(outputs[0, seed, symbol], np.nan)
            for segment in self.plan.paths[path]:
                for row, at in enumerate(time):
                    if self.plan.time[segment.start] <= at <= self.plan.time[segment.end - 1]:
                        own[row] = outputs[segment.fold - 1, seed, symbol][row]
            found[symbol] = own
        return found

    def common_samples(self):
        """Test samples that every path predicts by a fold that has them, by symbol."""
        found = {}
        tests = [{symbol: set(own.tolist()) for symbol, own in rows.test.items()} for rows in self.rows]
        for symbol, time in self.times.items():
            found[symbol] = [
                row
                for row, at in enumerate(time)
                if all(
                    any(
                        self.plan.time[segment.start] <= at <= self.plan.time[segment.end - 1]
                        and row in tests[segment.fold - 1][symbol]
                        for segment in path
                    )
                    for path in self.plan.paths
                )
            ]
        return {symbol: np.array(rows, dtype=np.int64) for symbol, rows in found.items()}

    def account(self, outputs):
        """Metrics of the account that trades the outputs of a path."""
        first = self.plan.time[min(segment.start for path in self.plan.paths for segment in path)]
        last = self.plan.time[max(segment.end for path in self.plan.paths for segment in path) - 1]
        settings = BacktestSettings(commission=self.settings.commission, slippage=self.settings.slippage)
        inputs, traded = [], []
        for symbol, own in self.bars.items():
            name, base = next(iter(own.items()))
            begin, end = int((base.time < first).sum()), int((base.time <= last).sum())
            inputs.append(SymbolInput({name: base[:end]}, begin))
            traded.append(outputs[symbol][begin:end])
        account = trade(self.strategy, inputs, traded, settings)
        curve = account_curve(account, settings)
        table = trade_table(account.simulation.trades, [market.bars for market in account.markets])
        return account_metrics(curve, brief=True) | trading_metrics(table, curve, account), curve.equity


@pytest.mark.parametrize("kind", KINDS)
def test_an_evaluation_equals_a_reference_fold_by_fold(kind, load, run, plugins, shared_home, tmp_path):
    loaded = load(**KINDS[kind])
    settings = EvaluationSettings(seeds=2, commission=0.0001, slippage=0.0001)
    found = run(loaded, settings)
    reference = Reference(loaded.strategy, settings, plugins, BarStore(shared_home / "data"))
    outputs = reference.outputs()
    facts = found.facts
    assert facts.seeds == tuple(reference.seeds)
    assert [(own.path, own.seed) for own in facts.paths] == [
        (path + 1, seed) for path in range(len(reference.plan.paths)) for seed in reference.seeds
    ]

    evaluated = evaluate_classification if reference.task.classes else evaluate_regression
    more = (reference.task.classes,) if reference.task.classes else ()
    for number, fold in enumerate(facts.folds):
        test = reference.rows[number].test
        truth = np.concatenate([reference.labels[symbol].values[rows] for symbol, rows in test.items()])
        for own in fold.seeds:
            predicted = np.concatenate([outputs[number, own.seed, symbol][rows] for symbol, rows in test.items()])
            expected = evaluated(truth, predicted, *more)
            assert own.metrics == {name: expected[name] for name in own.metrics}
            assert own.best_epoch == reference.epochs[number, own.seed]
        assert fold.samples["test"] == len(truth)
        rows = reference.rows[number]
        split = {
            symbol: SymbolSplit(rows.train[symbol], rows.validation[symbol][:0], own, {})
            for symbol, own in test.items()
        }
        for name, judged in evaluate_baselines(reference.labels, split).items():
            assert fold.baselines[name] == {metric: judged["test"][metric] for metric in fold.baselines[name]}

    common = reference.common_samples()
    truth = np.concatenate([reference.labels[symbol].values[rows] for symbol, rows in common.items()])
    each = []
    for own in facts.paths:
        path = reference.path_outputs(outputs, own.path - 1, own.seed)
        each.append(evaluated(truth, np.concatenate([path[symbol][rows] for symbol, rows in common.items()]), *more))
    for name, interval in facts.metrics.items():
        assert interval.value == pytest.approx(np.mean([own[name] for own in each]), rel=1e-12, abs=1e-15)

    for place, own in enumerate(facts.paths):
        expected, equity = reference.account(reference.path_outputs(outputs, own.path - 1, own.seed))
        assert own.metrics == {name: expected[name] for name in own.metrics}
        np.testing.assert_array_equal(found.curves.equity[place], equity)
    assert any(own.metrics["trades"] for own in facts.paths)

    path, seed = facts.median_path
    for symbol, own in reference.path_outputs(outputs, path - 1, seed).items():
        at = np.searchsorted(reference.times[symbol], found.out_of_sample[symbol].time)
        np.testing.assert_array_equal(found.out_of_sample[symbol].outputs, own[at])
    ratios = sorted(0.0 if own.metrics["sharpe"] is None else own.metrics["sharpe"] for own in facts.paths)
    median = next(own for own in facts.paths if (own.path, own.seed) == facts.median_path)
    assert (median.metrics["sharpe"] or 0.0) == ratios[(len(ratios) - 1) // 2]

    stored = store_evaluation(found, root=tmp_path)
    again = load_evaluation(stored.facts.evaluation, tmp_path)
    assert (again.facts, again.strategy, again.text) == (stored.facts, found.strategy, found.text)
    np.testing.assert_array_equal(again.curves.equity, found.curves.equity)
    for symbol, own in found.out_of_sample.items():
        np.testing.assert_array_equal(again.out_of_sample[symbol].outputs, own.outputs)


class Killed(BaseException):
    """Ends a run at once, as no code of KTRDR catches it."""


def test_killed_within_a_training_it_continues_from_the_checkpoint(load, run, tmp_path, monkeypatch):
    monkeypatch.setattr(population, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    # Long enough that several reports, ten a second, come between the first checkpoint and the end.
    loaded = load(**KINDS["mlp"] | {"training": NEURAL | {"epochs": 90}})
    settings = EvaluationSettings(seeds=2)
    whole = run(loaded, settings)
    seen = []

    def kill(event):
        # The members of a stack are trained together, so the first checkpoint comes before the first of them is done.
        if event.step == "training" and list((tmp_path / "kept").glob("*/checkpoint-*")):
            seen.append(event)
            raise Killed

    with pytest.raises(Killed):
        run(loaded, settings, progress=kill, checkpoint_root=tmp_path / "kept")
    assert seen
    assert seen[0].fraction < 1
    resumed = run(loaded, settings, resume=True, checkpoint_root=tmp_path / "kept")
    but = {"seconds", "trial_count"}  # the ledgers have other ids
    assert resumed.facts.model_dump(exclude=but) == whole.facts.model_dump(exclude=but)
    np.testing.assert_array_equal(resumed.curves.equity, whole.curves.equity)
    np.testing.assert_array_equal(resumed.out_of_sample["EURUSD"].outputs, whole.out_of_sample["EURUSD"].outputs)
