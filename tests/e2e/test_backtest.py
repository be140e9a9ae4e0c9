"""Backtests of every kind of model the real backends make."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ktrdr.core.backtesting.results import BacktestResult, read_result
from ktrdr.core.backtesting.run import run_backtest
from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.fuzzy.membership import membership
from ktrdr.core.jobs.job_settings import BacktestSettings
from ktrdr.core.models.archive import export_bundle, import_bundle
from ktrdr.core.models.bundle import Bundle
from ktrdr.core.models.model_store import ModelStore
from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.report import write_report
from ktrdr.core.trials.trial_database import SQLiteDatabase
from ktrdr.core.trials.trial_ledger import TrialLedger

MODELS: dict[str, dict[str, Any]] = {
    "mlp": {"type": "mlp", "architecture": {"hidden_layers": [16]}},
    "lstm": {"type": "lstm", "architecture": {"sequence_length": 8, "hidden_size": 8, "num_layers": 1}},
    "anfis": {"type": "anfis", "architecture": {}},
    "gradient_boosting": {"type": "gradient_boosting", "architecture": {}},
}
# The one strategy there is, with what its optimizer says left to the defaults: not every type has one.
PLAIN_TRAINING = {
    "labels": {"source": "direction", "horizon": 6, "threshold": 0.0005},
    "data_split": {"train": 0.7, "validation": 0.15, "test": 0.15},
    "seed": 1,
}


@pytest.fixture(scope="session")
def trained(
    variant: Callable[..., str], train_text: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Bundle]:
    """Return ``trained(kind)``: a model of that kind, trained once."""
    known: dict[str, Bundle] = {}

    def make(kind: str) -> Bundle:
        if kind not in known:
            epochs = {} if kind == "gradient_boosting" else {"epochs": 3}
            labels = {"labels": {"source": "forward_return", "horizon": 6}} if kind == "regression" else {}
            decisions = {"confidence_threshold": 0.34}
            if kind == "regression":
                decisions = {"output_format": "regression", "confidence_threshold": None} | {
                    "cost_model": {"round_trip_cost": 0.00001, "min_edge_multiplier": 1.0}
                }
            # A rule for every combination of memberships: fewer inputs.
            inputs = [
                {"fuzzy_set": "rsi", "timeframes": "all", "lags": [1]},
                {"fuzzy_set": "macd_line", "timeframes": "all"},
            ]
            text = variant(
                **({"nn_inputs": inputs} if kind == "anfis" else {}),
                model={"replace": MODELS.get(kind, MODELS["mlp"])},
                training={"replace": PLAIN_TRAINING | epochs | labels},
                decisions=decisions,
            )
            known[kind] = train_text(text, tmp_path_factory.mktemp(kind), device="cpu").bundle
        return known[kind]

    return make


@pytest.fixture
def run(shared_home: Path, plugins: PluginManager, tmp_path: Path) -> Callable[..., BacktestResult]:
    ledger = TrialLedger(SQLiteDatabase(tmp_path / "trials.sqlite"))

    def start(bundle: Bundle, **settings: Any) -> BacktestResult:
        return run_backtest(
            bundle,
            bar_store=BarStore(shared_home / "data"),
            plugins=plugins,
            trials=ledger,
            settings=BacktestSettings(commission=0.00002, slippage=0.00002, device="cpu", **settings),
        )

    return start


@pytest.mark.parametrize("kind", [*MODELS, "regression"])
class TestEveryKind:
    def test_accounts_add_up_and_files_repeat(self, trained, run, tmp_path, kind):
        bundle = trained(kind)
        result = run(bundle, explain=5)
        assert len(result.trades["number"]) > 0, result.no_trades
        # Nothing is wrong with the data or the period; how good the result is, is another matter.
        assert not [each for each in result.warnings if not re.search("is below|too few to judge by", each)]
        assert abs(10_000 + result.trades["net"].sum() - result.equity["equity"][-1]) <= 1e-9 * 10_000
        result.write(tmp_path / "a")
        run(bundle, explain=5).write(tmp_path / "b")
        for path in (tmp_path / "a").iterdir():
            assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name
        read = read_result(tmp_path / "a")
        pages = [write_report(each, tmp_path / f"{k}.html").read_bytes() for k, each in enumerate((result, read))]
        assert pages[0] == pages[1]

    def test_an_imported_copy_decides_the_same(self, trained, run, tmp_path, kind):
        bundle = trained(kind)
        archive = export_bundle(ModelStore(bundle.directory.parents[1]), bundle.ref, tmp_path)
        copy = import_bundle(ModelStore(tmp_path / "models"), archive).bundle
        one, other = run(bundle, explain=0), run(copy, explain=0)
        assert one.trades["net"].tolist() == other.trades["net"].tolist()


class TestReasons:
    def test_contributions_add_up_to_the_prediction_less_the_average(self, trained, run, plugins):
        bundle = trained("mlp")
        result = run(bundle, explain=20)
        shares = result.reasons.entry_contributions
        explained = ~np.isnan(shares).any(axis=1)
        assert explained.sum() == min(20, len(shares))
        said = result.reasons.entry_outputs[np.arange(len(shares)), np.where(result.trades["side"] == "long", 0, 2)]
        base = said[explained] - shares[explained].sum(axis=1)
        # What is left is the same for all trades of a side: the prediction for the average sample.
        for side in ("long", "short"):
            own = base[result.trades["side"][explained] == side]
            assert np.ptp(own) < 0.01 if len(own) else True

    def test_a_model_with_memberships_of_its_own_shows_those_of_the_file_too(self, trained, run):
        bundle = trained("anfis")
        result = run(bundle, explain=0)
        reasons = result.reasons
        assert "1h_rsi_value" in reasons.features
        column = reasons.features.index("1h_rsi_oversold")
        values = reasons.entry_values[:, reasons.values.index("1h_rsi_14")]
        function = bundle.strategy.fuzzy_sets["rsi"].memberships["oversold"]
        np.testing.assert_allclose(reasons.entry_features[:, column], membership(function, values))
