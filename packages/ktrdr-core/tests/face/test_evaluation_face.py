"""``kt.evaluate`` and ``kt.evaluations`` give what the files of an evaluation say, as frames, a line and HTML."""

from __future__ import annotations

import json
import re
import signal

import numpy as np
import pandas as pd
import pytest

import ktrdr.core as kt
from ktrdr.core.validation.stored_evaluation import load_evaluation

FOLDS = "validation: {type: cpcv, groups: 4, test_groups: 2, reserve: 0.1}\n"


@pytest.fixture
def file(home, write_strategy):
    path = write_strategy("waves")
    text = re.sub(r"  data_split: .*\n", "", path.read_text(encoding="utf-8"))
    path.write_text(text + FOLDS, encoding="utf-8")
    return path


@pytest.fixture
def evaluation(file):
    return kt.evaluate(file, seeds=2, commission=0.0001, progress=False)


def test_an_evaluation_is_what_its_files_say(evaluation, home):
    stored = load_evaluation("waves/1")
    facts = stored.facts
    assert (evaluation.evaluation, evaluation.server, evaluation.best_epoch) == ("waves/1", None, facts.best_epoch)
    assert evaluation.facts == facts
    assert evaluation.to_dict() == json.loads((home / "evaluations" / "waves" / "1" / "evaluation.json").read_text())

    metrics = evaluation.metrics
    assert metrics.index.names == ["fold", "metric"]
    assert metrics.index.get_level_values("fold").unique().tolist() == ["1", "2", "3", "4", "5", "6", "all"]
    assert metrics.columns.tolist() == ["model", "low", "high", "majority class", "last value"]
    assert metrics.dtypes.eq("float64").all()
    whole = facts.metrics["accuracy"]
    assert metrics.loc[("all", "accuracy"), ["model", "low", "high"]].tolist() == [whole.value, whole.low, whole.high]
    assert metrics.loc[("2", "accuracy"), "majority class"] == facts.folds[1].baselines["majority"]["accuracy"]

    folds = evaluation.folds
    assert folds.index.tolist() == [1, 2, 3, 4, 5, 6]
    assert folds["test_start"].tolist() == [min(part.start for part in fold.test) for fold in facts.folds]
    assert folds["test_start"].dtype == folds["test_end"].dtype == "datetime64[ns, UTC]"
    assert folds["train"].tolist() == [fold.samples["train"] for fold in facts.folds]
    assert folds.loc[1, "best_epoch"] == np.median([seed.best_epoch for seed in facts.folds[0].seeds])

    paths = evaluation.paths
    assert paths.index.names == ["path", "seed"]
    assert paths.index.tolist() == [(path, seed) for path in (1, 2, 3) for seed in (1, 2)]
    assert paths["trades"].tolist() == [each.metrics["trades"] for each in facts.paths]
    assert paths.dtypes.eq("float64").all()
    for name in ("sharpe", "total_return"):
        assert evaluation.spread.loc[name, "median"] == facts.spread[name].median
        assert evaluation.spread.loc[name, "number"] == 6

    equity = evaluation.equity
    assert equity.index.dtype == "datetime64[ns, UTC]"
    assert equity.columns.tolist() == paths.index.tolist()
    np.testing.assert_array_equal(equity.to_numpy().T, stored.curves.equity)
    final = (equity.iloc[-1] / 10_000 - 1).to_numpy()
    np.testing.assert_allclose(final, paths["total_return"].to_numpy(), atol=1e-12)

    assert evaluation.regimes["bars"].dtype == "int64"
    assert evaluation.regimes["share"].sum() == pytest.approx(1.0)
    assert (evaluation.trials, evaluation.reserve.opened, evaluation.reserve.seeds) == (1, 0, ())
    assert evaluation.warnings == facts.warnings
    assert re.fullmatch(
        r"<Evaluation waves/1: EURUSD 1h, 2017-\d\d-\d\d to 2017-\d\d-\d\d, 6 folds with 2 seeds,"
        r" Sharpe -?[\d.]+ \(-?[\d.]+ to -?[\d.]+\)>",
        repr(evaluation),
    )


def test_a_frame_is_the_users_own(evaluation):
    equity = evaluation.equity
    equity.loc[:] = 0.0
    assert (evaluation.equity.to_numpy() > 0).all()


def test_html_plot_and_report(evaluation, tmp_path):
    html = evaluation._repr_html_()
    assert "<svg" in html
    assert "<script" not in html
    assert "6 folds with 2 seeds" in html
    report = evaluation.report()
    assert report == tmp_path / "home" / "evaluations" / "waves" / "1" / "report.html"
    assert report.read_text(encoding="utf-8").lower().startswith("<!doctype html>")
    assert evaluation.report(tmp_path / "own.html") == tmp_path / "own.html"
    with pytest.raises(kt.BadInputError):
        evaluation.report(tmp_path)
    figure = evaluation.plot()
    assert len(figure.data) >= 2
    shown = {trace.name for trace in figure.data}
    assert "buy and hold" in shown


def test_what_is_stored_is_listed_and_loaded(evaluation, file):
    again = kt.evaluate(file, seeds=1, epochs=1, progress=False)
    listed = kt.evaluations.list()
    assert listed.index.tolist() == ["waves/1", "waves/2"]
    assert listed["folds"].tolist() == [6, 6]
    assert listed["seeds"].tolist() == [2, 1]
    assert listed.loc["waves/1", "sharpe"] == evaluation.spread.loc["sharpe", "median"]
    assert listed["start"].dtype == "datetime64[ns, UTC]"
    assert kt.evaluations.load("waves").evaluation == again.evaluation == "waves/2"
    loaded = kt.evaluations.load("waves/1")
    pd.testing.assert_frame_equal(loaded.equity, evaluation.equity)
    pd.testing.assert_frame_equal(loaded.metrics, evaluation.metrics)
    with pytest.raises(kt.BadInputError, match="give the name of an evaluation, such as `name/3`, not a int$"):
        kt.evaluations.load(5)
    with pytest.raises(kt.NotFoundError, match="`waves` has no evaluation 3 in .*; it has 1, 2"):
        kt.evaluations.load("waves/3")


def test_without_any_the_list_has_the_same_columns(home):
    listed = kt.evaluations.list()
    assert listed.empty
    assert listed["sharpe"].dtype == "float64"
    with pytest.raises(kt.NotFoundError):
        kt.evaluations.load("waves")


def test_what_is_damaged_is_left_out_with_a_warning(evaluation, home):
    file = home / "evaluations" / "waves" / "1" / "evaluation.json"
    file.write_text("{}")
    with pytest.warns(UserWarning, match="waves/1"):
        assert kt.evaluations.list().empty
    with pytest.raises(kt.BadInputError):
        kt.evaluations.load("waves/1")


def test_an_interrupt_is_an_exception_and_resume_goes_on(file, evaluation, monkeypatch):
    from ktrdr_ml_example import training

    steps = 0
    honest = training._step

    def step(*given):
        nonlocal steps
        steps += 1
        if steps == 150:
            signal.raise_signal(signal.SIGINT)
        honest(*given)

    monkeypatch.setattr(training, "_step", step)
    with pytest.raises(kt.CancelledError, match="call evaluate with the same arguments and resume=True") as error:
        kt.evaluate(file, seeds=2, commission=0.0001, progress=False)
    assert error.value.checkpoint is not None
    resumed = kt.evaluate(file, seeds=2, commission=0.0001, resume=True, progress=False)
    pd.testing.assert_frame_equal(resumed.equity, evaluation.equity)
    with pytest.raises(kt.BadInputError, match="leave out resume=True"):
        kt.evaluate(file, seeds=2, resume=True, progress=False)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"seeds": 0}, "seeds must be at least 1"),
        ({"commission": 2}, "commission must be below 1"),
        ({"symbols": "GBPUSD"}, "GBPUSD"),
        ({"start": "1.4.2017"}, "start: '1.4.2017' is not a date"),
    ],
)
def test_bad_input_is_an_exception_and_nothing_is_stored(file, home, arguments, said):
    with pytest.raises(kt.BadInputError, match=re.escape(said)):
        kt.evaluate(file, progress=False, **arguments)
    assert not (home / "evaluations").exists()
