from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ktrdr.core.errors import StoreError
from ktrdr.core.fuzzy.definition import FuzzySet, MembershipFunction
from ktrdr.core.report.membership_plot import membership_figure
from ktrdr.core.report.plot_page import write_page
from ktrdr.core.strategy.model import (
    Decisions,
    FuzzyInput,
    IndicatorDefinition,
    Labels,
    ModelSection,
    RawInput,
    Strategy,
    Training,
    TrainingDataSection,
)


def function(kind: str, *parameters: float) -> MembershipFunction:
    return MembershipFunction(type=kind, parameters=parameters)


@pytest.fixture
def strategy() -> Strategy:
    return Strategy(
        name="drawn",
        training_data=TrainingDataSection(symbols=("EURUSD",), timeframes=("1h", "4h"), base_timeframe="1h"),
        indicators={"rsi_14": IndicatorDefinition(type="rsi", parameters={"period": 14, "source": "close"})},
        fuzzy_sets={
            "rsi": FuzzySet(
                indicator="rsi_14",
                memberships={
                    "low": function("trapezoidal", 0, 0, 20, 40),
                    "lowish": function("triangular", 20, 30, 40),
                    "high": function("gaussian", 80, 1),
                },
            ),
            "unused": FuzzySet(indicator="rsi_14", memberships={"any": function("sigmoid", 50, 1)}),
        },
        nn_inputs=(
            FuzzyInput(fuzzy_set="rsi", timeframes=("1h", "4h"), lags=(1,)),
            RawInput(raw_indicator="rsi_14", timeframes=("1h",)),
        ),
        model=ModelSection(type="mlp"),
        decisions=Decisions(),
        training=Training(labels=Labels(source="direction", parameters={})),
    )


@pytest.fixture
def values() -> np.ndarray:
    return np.concatenate(([np.nan] * 14, np.random.default_rng(0).normal(50, 10, 2000), [np.inf]))


def traces(figure: Any, kind: str) -> list[Any]:
    return [trace for trace in figure.data if trace.type == kind]


def texts(figure: Any) -> list[str]:
    return [note.text for note in figure.layout.annotations]


def test_has_a_panel_per_set_and_timeframe_that_feeds_the_model(strategy: Strategy, values: np.ndarray):
    figure = membership_figure(strategy, {("1h", "rsi_14"): values, ("4h", "rsi_14"): values[:500]})
    assert [trace["name"] for trace in traces(figure, "scatter")] == ["low", "lowish", "high"] * 2
    assert len(traces(figure, "bar")) == 2
    shown = texts(figure)
    assert sum("reads rsi_14 on 1h" in text for text in shown) == 1
    assert sum("reads rsi_14 on 4h" in text for text in shown) == 1
    assert not any("unused" in text for text in shown)
    assert {"low", "lowish", "high"} <= set(shown)


def test_the_curves_are_the_membership_functions(strategy: Strategy, values: np.ndarray):
    low = traces(membership_figure(strategy, {("1h", "rsi_14"): values}), "scatter")[0]
    x, y = np.asarray(low["x"]), np.asarray(low["y"])
    np.testing.assert_allclose(y, np.clip((40 - x) / 20, 0, 1), atol=1e-6)
    assert {20.0, 40.0} <= set(x)


def test_the_histogram_is_of_all_finite_values_in_view(strategy: Strategy, values: np.ndarray):
    bars = traces(membership_figure(strategy, {("1h", "rsi_14"): values}), "bar")[0]
    shares = np.asarray(bars["customdata"])
    assert 0.99 < shares.sum() <= 1
    np.testing.assert_allclose(np.asarray(bars["y"]) / np.asarray(bars["y"]).max(), shares / shares.max())


def test_dead_zones_are_in_the_title(strategy: Strategy):
    share = 0.25
    data = np.array([50.0] * 25 + [10.0] * 75)
    figure = membership_figure(strategy, {("1h", "rsi_14"): data})
    assert sum(f"all memberships are 0 on {share:.1%} of bars" in text for text in texts(figure)) == 1


def test_names_that_would_meet_stand_one_above_the_other(strategy: Strategy, values: np.ndarray):
    near = FuzzySet(
        indicator="rsi_14",
        memberships={name: function("gaussian", 50 + shift, 5) for shift, name in enumerate(("one", "two", "three"))},
    )
    figure = membership_figure(strategy.model_copy(update={"fuzzy_sets": {"rsi": near}}), {("1h", "rsi_14"): values})
    notes = figure.layout.annotations
    heights = {note["y"] for note in notes if note["text"] in near.memberships and note["yref"] == "y"}
    assert len(heights) == 3


@pytest.mark.parametrize("data", [np.empty(0), np.full(3, np.nan), np.full(50, 1.1)], ids=["none", "nan", "constant"])
def test_draws_without_values_and_with_one(strategy: Strategy, data: np.ndarray):
    figure = membership_figure(strategy, {("1h", "rsi_14"): data})
    assert len(traces(figure, "scatter")) == 6
    low, high = figure.layout.xaxis.range
    assert np.isfinite([low, high]).all()
    assert low < high


def test_a_strategy_without_fuzzy_inputs_gives_an_empty_picture(strategy: Strategy):
    raw = strategy.model_copy(update={"nn_inputs": strategy.nn_inputs[1:]})
    assert not traces(membership_figure(raw, {}), "scatter")


class _References(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.headings: list[str] = []
        self._in_heading = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_heading = tag == "h1"
        self.found += [value or "" for name, value in attrs if name in ("src", "href") and tag != "a"]

    def handle_data(self, data: str) -> None:
        if self._in_heading:
            self.headings.append(data.strip())
            self._in_heading = False


def test_the_page_needs_nothing_else(strategy: Strategy, values: np.ndarray, tmp_path: Path):
    target = tmp_path / "picture.html"
    write_page(membership_figure(strategy, {("1h", "rsi_14"): values}), target, title="<b> & co", subtitle="x < y")
    text = target.read_text(encoding="utf-8")
    page = _References()
    page.feed(text)
    assert page.found == []
    assert page.headings == ["<b> & co"]
    assert "x &lt; y" in text
    assert len(text) > 1_000_000  # the drawing library itself
    assert [path.name for path in tmp_path.iterdir()] == ["picture.html"]


def test_a_page_that_cannot_be_written_leaves_nothing(
    strategy: Strategy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    target = tmp_path / "picture.html"
    target.write_text("before")
    monkeypatch.setattr("ktrdr.core.files.durable.os.replace", full)
    with pytest.raises(StoreError, match="the disk is full; nothing was written"):
        write_page(membership_figure(strategy, {}), target, title="t", subtitle="s")
    assert [path.name for path in tmp_path.iterdir()] == ["picture.html"]
    assert target.read_text() == "before"
