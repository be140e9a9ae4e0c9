"""What `ktrdr evaluate` prints of an evaluation, on a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ktrdr.core.cli.evaluation_lines import print_evaluation
from ktrdr.core.validation.evaluation_parts import Evaluation
from ktrdr.core.validation.evaluation_result import PathResult, ReserveResult
from ktrdr.core.validation.spread import spread_over

Make = Callable[..., Evaluation]


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[Evaluation], list[str]]:
    monkeypatch.setenv("COLUMNS", "80")

    def printed(evaluation: Evaluation) -> list[str]:
        print_evaluation(evaluation.facts)
        return capsys.readouterr().out.splitlines()

    return printed


def cells(lines: list[str], first: str) -> list[str]:
    """Return the words of the line that begins with ``first``."""
    (line,) = (line for line in lines if line.strip().startswith(first))
    return line.split()


@pytest.mark.parametrize("output", ["classification", "regression"])
def test_tables_fit_on_80_columns(make_evaluation: Make, lines, output: str):
    printed = lines(make_evaluation(output=output))
    assert max(len(line) for line in printed if line.startswith(" ")) <= 80
    # No cell is cut off.
    assert not any("…" in line for line in printed)


def test_folds_have_intervals_beside_the_baseline(make_evaluation: Make, lines):
    evaluation = make_evaluation()
    printed = lines(evaluation)
    fold = evaluation.facts.folds[1]
    opens = f"{fold.test[0].start:%Y-%m-%d},", f"{fold.test[1].start:%m-%d}"
    assert cells(printed, "2  ") == ["2", *opens, "41.2%", "39.1..43.4", "37.2%", "0.061", "0.024..0.098"]
    assert cells(printed, "log loss")[2:] == ["1.071", "(1.064", "to", "1.079)", "1.093", "1.097"]
    assert cells(printed, "low volatility, rising")[3:] == ["60%", "41.0%", "37.0%", "5.00%", "0.80", "2.00%"]
    assert "Counted: 3 trials known to this ledger." in printed
    assert "Warning: the median account trades rarely." in printed


def test_the_spread_is_that_of_the_accounts(make_evaluation: Make, lines):
    evaluation = make_evaluation()
    printed, spread = lines(evaluation), evaluation.facts.spread["sharpe"]
    values = (spread.min, spread.low, spread.median, spread.high, spread.max, evaluation.facts.buy_and_hold["sharpe"])
    assert cells(printed, "Sharpe ratio")[2:] == [f"{value:.2f}" for value in values]


def test_a_single_account_has_no_quartiles(make_evaluation: Make, lines):
    facts = make_evaluation(seeds=1).facts
    own = facts.paths[0].metrics
    one = make_evaluation(
        seeds=1, paths=facts.paths[:1], median_path=(1, 0), spread={"sharpe": spread_over([own["sharpe"]])}
    )
    printed = lines(one)
    assert cells(printed, "1 account") == ["1", "account", "strategy", "hold"]
    assert cells(printed, "Sharpe ratio")[2:] == [f"{own['sharpe']:.2f}", f"{facts.buy_and_hold['sharpe']:.2f}"]


def test_a_regression_has_no_majority(make_evaluation: Make, lines):
    printed = lines(make_evaluation(output="regression"))
    assert cells(printed, "1  ")[2:] == ["0.00123", "0.00119..0.00128", "0.00124", "0.033", "-0.021..0.087"]
    assert cells(printed, "low volatility, rising")[3:] == ["60%", "0.410", "5.00%", "0.80", "2.00%"]


def test_the_reserve_and_a_synthetic_market_are_named(make_evaluation: Make, lines):
    facts = make_evaluation().facts
    reserve = ReserveResult(
        period=facts.period,
        bars=700,
        opened=1,
        seeds=(PathResult(path=1, seed=0, metrics={"sharpe": 0.7, "total_return": 0.031, "trades": 12}),),
        metrics=facts.metrics,
        buy_and_hold={"sharpe": 0.2, "total_return": 0.011},
    )
    printed = lines(make_evaluation(reserve=reserve, world="walk, seed 3"))
    assert any("EURUSD (synthetic market: walk, seed 3), 1h" in line for line in printed)
    assert any(line.startswith("Reserve, opened: ") for line in printed)
    assert cells(printed, "seed 0") == ["seed", "0", "0.70", "3.10%", "-", "12"]
    closed = reserve.model_copy(update={"opened": 0, "seeds": ()})
    printed = lines(make_evaluation(reserve=closed))
    assert any("Reserve, closed: " in line for line in printed)
    assert not any(line.strip().startswith("seed 0") for line in printed)
