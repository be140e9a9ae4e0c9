"""What the page on the known edge says holds: of the shipped strategy beside gradient boosting, and on random walks."""

from __future__ import annotations

import known_edge
import pytest


@pytest.mark.slow
def test_the_shipped_strategy_is_as_accurate_as_gradient_boosting(tmp_path, monkeypatch):
    """Two years of training against a fifth of the million bars of the page, which takes a fifth of its time."""
    monkeypatch.setenv("KTRDR_HOME", str(tmp_path / "home"))
    found = known_edge.known_edge(tmp_path, tested=20_000, boosted_bars=200_000, seeds=(42,))
    print(found)
    (shipped,) = found["shipped_strategy"]
    assert shipped["accuracy"] >= found["gradient_boosting"]["accuracy"] - 0.02
    assert found["optimum"]["accuracy"] > found["gradient_boosting"]["accuracy"] > found["majority"] + 0.05
    assert found["optimum"]["sharpe"] >= 4
    assert shipped["sharpe"] >= 3


@pytest.mark.slow
def test_on_random_walks_the_shipped_strategy_is_no_better_than_the_majority(tmp_path, monkeypatch):
    monkeypatch.setenv("KTRDR_HOME", str(tmp_path / "home"))
    found = known_edge.walks(tmp_path)
    print(found)
    assert len(found["accuracy_less_majority"]) == 10
    assert abs(found["mean"]) <= 2 * found["standard_error"]
    assert found["standard_error"] < 0.02
