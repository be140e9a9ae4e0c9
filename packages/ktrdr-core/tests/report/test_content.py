"""What the page shows is what the result says."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ktrdr.core.backtesting.metrics import METRICS, format_metric
from ktrdr.core.backtesting.results import BacktestResult
from ktrdr.core.report import write_report
from ktrdr.core.report.content import page_of
from ktrdr.core.report.figures import MOST_PLACES
from ktrdr.core.report.trade_list import MOST_ROWS
from ktrdr.core.verdicts.stored_verdict import VerdictEntry


def with_trades(result: BacktestResult, chosen: np.ndarray) -> BacktestResult:
    """Return the result with only, or with many times, the ``chosen`` trades."""
    reasons = {
        field.name: getattr(result.reasons, field.name)[chosen]
        for field in dataclasses.fields(result.reasons)
        if field.name.startswith(("entry_", "exit_"))
    }
    trades = {name: column[chosen] for name, column in result.trades.items()}
    trades["number"] = np.arange(1, len(chosen) + 1)
    return dataclasses.replace(result, trades=trades, reasons=dataclasses.replace(result.reasons, **reasons))


def times(values: np.ndarray) -> list[str]:
    return [text.replace("T", " ") for text in np.datetime_as_string(values, unit="m").tolist()]


def labels(page: Any, trace: dict[str, Any]) -> list[str]:
    """Return the labels of the places of a trace over time."""
    timeline = page.timeline
    return [timeline[place] for place in trace["x"]]


class TestFigures:
    def test_every_section_is_there(self, page):
        shown = set(page.text)
        assert {
            "Equity", "Drawdown", "Price and trades, EURUSD", "Exposure", "Rolling Sharpe ratio", "Returns by year",
            "Worst drawdowns", "Monthly returns", "Trades", "All metrics", "Training",
            "Confusion matrix", "What the model relies on", "Fuzzy set rsi, 1h", "Fuzzy set rsi, 4h", "Settings",
            "From bars to trades", "Model", "Provenance", "Strategy file",
        } <= shown  # fmt: skip
        places = {attributes["data-figure"] for attributes in page.tags("div") if "data-figure" in attributes}
        assert places == set(page.figures)
        for key, figure in page.figures.items():
            assert figure["data"], key
            assert all(len(trace["x"]) for trace in figure["data"]), key

    def test_equity_and_benchmark(self, page, result):
        strategy, held = page.figures["equity"]["data"]
        assert labels(page, strategy) == page.timeline == times(result.equity["time"])
        np.testing.assert_allclose(strategy["y"], result.equity["equity"], rtol=1e-6)
        np.testing.assert_allclose(held["y"], result.equity["benchmark"], rtol=1e-6)
        (drawdown,) = page.figures["drawdown"]["data"]
        assert min(drawdown["y"]) == pytest.approx(result.metrics["max_drawdown"], rel=1e-6)

    def test_entries_and_exits(self, page, result):
        trades = result.trades
        data = {trace["name"]: trace for trace in page.figures["price-0"]["data"]}
        for side in ("long", "short"):
            own = trades["side"] == side
            assert labels(page, data[f"{side} entry"]) == times(trades["entry_time"][own])
            np.testing.assert_allclose(data[f"{side} entry"]["y"], trades["entry_price"][own], rtol=1e-6)
        won = trades["net"] > 0
        assert labels(page, data["exit in profit"]) == times(trades["exit_time"][won])
        assert labels(page, data["exit at a loss"]) == times(trades["exit_time"][~won])
        assert len(data["positions"]["x"]) == 3 * len(won)
        for name in ("open", "high", "low", "close"):
            np.testing.assert_allclose(data["price"][name], result.symbols[0].positions[name], rtol=1e-6)

    def test_monthly_returns(self, page, result):
        (months,) = page.figures["monthly"]["data"]
        monthly = result.metrics["monthly_returns"]
        assert months["y"] == ["2017"]
        assert [value for value in months["z"][0] if value is not None] == list(monthly.values())
        assert [number for number, value in enumerate(months["z"][0], 1) if value is not None] == [9, 10, 11, 12]

    def test_training_curves(self, page, result):
        curves = {trace["name"]: trace for trace in page.figures["training"]["data"]}
        for name, key in (("training loss", "train_loss"), ("validation accuracy", "val_accuracy")):
            np.testing.assert_allclose(curves[name]["y"], [record.metrics[key] for record in result.history], rtol=1e-6)

    def test_confusion_matrix_and_importance(self, page, result):
        judged = result.manifest.metrics["test"]
        (matrix,) = page.figures["confusion"]["data"]
        assert [[int(text.split("<br>")[0]) for text in row] for row in matrix["text"]] == judged["confusion_matrix"]
        (bars,) = page.figures["importance"]["data"]
        importance = result.manifest.importance
        loss = importance["scores"]["log_loss"]
        expected = {each["id"]: each["log_loss"]["mean"] / loss for each in importance["features"]}
        assert dict(zip(bars["y"], bars["x"], strict=True)) == pytest.approx(expected, rel=1e-6)

    def test_memberships_over_values(self, page, result):
        from ktrdr.core.fuzzy.membership import membership

        for number, histogram in enumerate(result.histograms):
            values, *functions = page.figures[f"membership-{number}"]["data"]
            assert sum(values["customdata"]) == pytest.approx(1, abs=1e-3)
            memberships = result.manifest.strategy.fuzzy_sets[histogram.fuzzy_set].memberships
            assert [trace["name"] for trace in functions] == list(memberships)
            for trace, function in zip(functions, memberships.values(), strict=True):
                np.testing.assert_allclose(trace["y"], membership(function, np.array(trace["x"])), atol=1e-4)


class TestTables:
    def test_every_trade_has_its_row_and_reasons(self, page, result):
        shown = "\n".join(page.text)
        rows = page.tags("tr")
        tables = sum(1 + len(table.rows) for table in page_of(result).tables)
        assert len(rows) == 1 + len(result.trades["number"]) + 2 + len(METRICS) + tables
        for number in (0, len(result.trades["number"]) - 1):
            said = result.reasons.of(number, "entry")
            side = "BUY" if result.trades["side"][number] == "long" else "SELL"
            assert f"{side} {said['outputs'][side]:.0%}" in shown
            largest = max(said["features"], key=lambda name: abs(said["features"][name]))
            assert f"{largest} {said['features'][largest]:.2f}" in shown
            assert f"{result.trades['net'][number]:+,.2f}" in page.text
        for reason in np.unique(result.trades["exit_reason"].astype(str)).tolist():
            assert reason.replace("_", " ") in page.text

    def test_what_moved_the_answer_most_comes_first(self, result):
        """Where the model says what each input did; otherwise the largest inputs are named."""
        shares = np.zeros_like(result.reasons.entry_features)
        shares[:, 1], shares[:, 3] = -0.2, 0.125
        told = dataclasses.replace(result, reasons=dataclasses.replace(result.reasons, entry_contributions=shares))
        names, seen = result.reasons.features, result.reasons.entry_features
        for number, row in enumerate(page_of(told).trades):
            expected = f"{names[1]} {seen[number, 1]:.2f} (-0.200), {names[3]} {seen[number, 3]:.2f} (+0.125), "
            assert row[-1].note.startswith(expected)

    def test_every_metric(self, page, result):
        for info in METRICS:
            assert info.label in page.text
            assert format_metric(info.name, result.metrics.get(info.name)) in page.text

    def test_settings_and_provenance(self, page, result):
        shown = "\n".join(page.text)
        provenance = result.provenance
        for value in (
            provenance["data_fingerprint"],
            result.manifest.data.fingerprint,
            provenance["weights_hash"],
            provenance["core_version"],
            "0.0100% of the traded value, per side",
            "95.00% of the equity",
            "3 ATR",
            result.manifest.ref,
            result.strategy_text.strip(),
        ):
            assert value in shown
        git = result.manifest.git
        assert ("not a checkout" if git is None else git.commit) in shown

    def test_warnings_are_above_everything(self, result, tmp_path: Path, read_page: Callable[[str], Any]):
        warned = dataclasses.replace(result, warnings=("the period overlaps the training data",))
        made = read_page(write_report(warned, tmp_path / "r.html").read_text(encoding="utf-8"))
        assert made.text.index("The period overlaps the training data.") < made.text.index("Total return")

    def test_warnings_of_the_training_stand_with_the_model(
        self, result, tmp_path: Path, read_page: Callable[[str], Any]
    ):
        manifest = result.manifest.model_copy(update={"warnings": ("AAPL 1d: 1 jump looks like a split <b>",)})
        made = read_page(
            write_report(dataclasses.replace(result, manifest=manifest), tmp_path / "r.html").read_text("utf-8")
        )
        assert made.text[made.text.index("training warning") + 1] == "AAPL 1d: 1 jump looks like a split <b>"

    def test_no_trades_say_why(self, result, tmp_path: Path, read_page: Callable[[str], Any]):
        silent = dataclasses.replace(
            with_trades(result, np.empty(0, dtype=np.int64)),
            no_trades="The model never traded: it always predicts HOLD.",
        )
        made = read_page(write_report(silent, tmp_path / "r.html").read_text(encoding="utf-8"))
        assert "The model never traded: it always predicts HOLD." in made.text
        assert "sortable" not in str(made.tags("table"))
        assert [trace["name"] for trace in made.figures["price-0"]["data"]] == ["price", "positions"]


class TestMuch:
    def test_many_trades_are_cut_and_that_is_said(self, result):
        many = with_trades(result, np.tile(np.arange(len(result.trades["number"])), 200))
        count = len(many.trades["number"])
        made = page_of(many)
        assert len(made.trades) == MOST_ROWS
        assert (made.trades[0][0].text, made.trades[-1][0].text) == ("1", str(count))
        assert f"the first 500 and the last 500 of {count:,} trades" in made.trades_note
        (price,) = [picture for picture in made.wide_figures if picture.key == "price-0"]
        drawn = sum(len(trace["x"]) for trace in price.figure["data"] if "entry" in trace["name"])
        assert drawn == 2000
        assert f"Of {count:,} trades, the 2,000 with the largest profits and losses are drawn" in price.note

    def test_a_million_bars(self, result, tmp_path: Path):
        n = 1_000_000
        time = np.datetime64("2015-01-01", "ns") + np.arange(n) * np.timedelta64(60, "s")
        walk = 1.1 * np.exp(np.cumsum(np.random.default_rng(0).normal(0, 1e-4, n)))
        walk[123_456] *= 1.5
        zero = np.zeros(n)
        symbol = dataclasses.replace(
            result.symbols[0],
            bars=n,
            positions={
                "time": time,
                **dict.fromkeys(("open", "high", "low", "close"), walk),
                "signal": zero.astype(np.int64),
                "units": zero,
                "value": zero,
            },
        )
        long = dataclasses.replace(
            with_trades(result, np.tile(np.arange(len(result.trades["number"])), 500)),
            symbols=(symbol,),
            equity={
                "time": time,
                "equity": 1e4 * walk,
                "cash": 1e4 * walk,
                "positions": zero,
                "drawdown": walk / np.maximum.accumulate(walk) - 1,
                "benchmark": 9e3 * walk,
            },
        )
        made = page_of(long)
        assert len(made.timeline) == -(-n // 385) <= MOST_PLACES
        for picture in made.wide_figures:
            if picture.time:
                assert all(len(trace["x"]) <= 3 * MOST_PLACES + 1 for trace in picture.figure["data"])
        equity, _, price = made.wide_figures[:3]
        assert "Each point shows 385 successive bars of 1,000,000, as one candle" in price.note
        assert "with their lowest, highest and last value; zooming in shows no more detail" in equity.note
        # A spike of one bar is not lost.
        assert max(price.figure["data"][0]["high"]) == pytest.approx(walk.max(), rel=1e-6)
        assert max(equity.figure["data"][0]["y"]) == pytest.approx(1e4 * walk.max(), rel=1e-6)
        assert write_report(long, tmp_path / "r.html").stat().st_size < 4_500_000

    def test_several_symbols(self, result):
        count = 20
        symbols = [dataclasses.replace(result.symbols[0], symbol=f"S{number:02d}") for number in range(count)]
        trades = dict(result.trades)
        trades["symbol"] = np.array(
            [f"S{5 + number % 12:02d}" for number in range(len(trades["number"]))], dtype=object
        )
        made = page_of(dataclasses.replace(result, symbols=tuple(symbols), trades=trades))
        assert "20 symbols" in made.subtitle
        prices = [picture for picture in made.wide_figures if picture.key.startswith("price-")]
        assert [picture.title[-3:] for picture in prices] == [f"S{number:02d}" for number in range(5, 17)]
        assert "The 12 symbols with the most trades of 20 are drawn" in prices[0].note
        assert [column.title for column in made.trade_columns][:3] == ["#", "symbol", "side"]
        assert {row[1].text for row in made.trades} == {f"S{number:02d}" for number in range(5, 17)}
        assert all(len(row) == len(made.trade_columns) for row in made.trades)


def test_what_the_documentation_describes_is_there(page, result):
    """Every section and column that stands in bold on the page that explains the report."""
    text = (Path(__file__).parents[4] / "docs" / "explanation" / "report.md").read_text(encoding="utf-8")
    described = set(re.findall(r"\*\*(.+?)\*\*", text)) - {"At the top"}
    assert len(described) > 20
    (symbol,) = result.symbols
    several = page_of(
        dataclasses.replace(result, symbols=(symbol, dataclasses.replace(symbol, symbol="OTHER"))),
        VerdictEntry("", None),
    )
    shown = [*page.text, *(each.title for each in (*several.tables, *several.blocks))]
    assert [each for each in described if not any(text.startswith(each) for text in shown)] == []


def test_a_regression_without_evaluation(result):
    """A model without confusion matrix, importance and epochs still has a report, without empty panels."""
    bare = dataclasses.replace(
        result,
        manifest=result.manifest.model_copy(update={"metrics": {}, "importance": None, "baselines": {}, "facts": {}}),
        history=(),
        baselines=(),
        histograms=(),
    )
    made = page_of(bare)
    assert [picture.key for picture in made.paired_figures] == ["monthly", "membership-0", "membership-1"]
    assert "no values in the backtest" in made.paired_figures[1].note
    assert made.metric_columns == ("strategy", "buy and hold")
    assert not re.search(r"None|nan", "".join(value for row in made.metrics for value in row.values))
