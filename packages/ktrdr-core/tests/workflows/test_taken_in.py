"""A home from before there was a ledger of trials: what is stored there becomes the first rows of it."""

from __future__ import annotations

import json
import shutil

import pytest

from ktrdr.core.jobs.job_settings import BacktestSettings
from ktrdr.core.models.archive import export_bundle, import_bundle
from ktrdr.core.models.model_store import default_model_store
from ktrdr.core.runs.run_store import store_run
from ktrdr.core.trials.trial_database import SQLiteDatabase, default_database
from ktrdr.core.trials.trial_ledger import TrialLedger
from ktrdr.core.workflows.places import trials_in
from ktrdr.core.workflows.run_backtest import backtest
from ktrdr.core.workflows.run_training import train

APRIL = BacktestSettings.model_validate({"start": "2017-04-01", "end": "2017-04-30"})
MAY = BacktestSettings.model_validate({"start": "2017-05-01", "end": "2017-05-31"})


def as_it_was(run):
    """Take out of a run what was not there before the ledger."""
    for name, part, keys in (("result.json", None, ["trial_count"]), ("metrics.json", "metrics", ["sharpe_error"])):
        content = json.loads((run / name).read_text(encoding="utf-8"))
        for key in keys:
            del (content if part is None else content[part])[key]
        (run / name).write_text(json.dumps(content), encoding="utf-8")


@pytest.fixture
def old_home(home, write_strategy, tmp_path):
    """Three models that differ in their threshold, the second of them deleted; April traded by the first two."""
    elsewhere = TrialLedger(SQLiteDatabase(tmp_path / "elsewhere.sqlite"))
    for threshold in (0.34, 0.35, 0.36):
        train(write_strategy("waves", threshold=threshold), trials=elsewhere)
    for model in ("waves/1", "waves/2"):
        as_it_was(store_run(backtest(model, APRIL, trials=elsewhere)))
    default_model_store().delete("waves/2")
    assert not (home / "trials.sqlite").exists()
    return home


def rows_of(ledger):
    return sorted((listed.row.model, listed.row.kind) for listed in ledger.page())


def test_models_and_runs_are_taken_in_and_marked(old_home):
    ledger = trials_in(None)
    assert rows_of(ledger) == [
        ("waves/1", "backtest"),
        ("waves/1", "training"),
        ("waves/2", "backtest"),
        ("waves/3", "training"),
    ]
    assert all(listed.row.before_ledger for listed in ledger.page())
    assert [chain.problem for chain in ledger.verify()] == [""]
    # Once: the second time there is a ledger.
    assert trials_in(None).rows() == 4


def test_what_was_taken_in_is_known_again(old_home):
    """The same choices, made again, are the rows that were taken in."""
    first = backtest("waves/1", APRIL)
    assert first.trial_count.known == 2
    assert trials_in(None).rows() == 4
    assert not any(listed.row.kind == "backtest" and not listed.row.before_ledger for listed in trials_in(None).page())


def test_new_work_is_not_marked(old_home):
    backtest("waves/3", APRIL)
    (new,) = (listed.row for listed in trials_in(None).page() if not listed.row.before_ledger)
    assert (new.model, new.kind) == ("waves/3", "backtest")


@pytest.mark.parametrize(
    ("model", "period", "known"), [("waves/3", APRIL, 3), ("waves/1", MAY, 1), ("waves/3", MAY, 3)]
)
def test_never_fewer_are_counted_than_the_version(old_home, model, period, known):
    """Nobody looked at May before; the version is what was counted then."""
    assert backtest(model, period).trial_count.known == known


def test_an_imported_model_counts_what_it_was_chosen_among_where_it_was_trained(old_home, tmp_path, monkeypatch):
    """Its number here is 1; there it was the third."""
    archive = export_bundle(default_model_store(), "waves/3", tmp_path)
    shutil.copytree(old_home / "data", tmp_path / "fresh" / "data")
    monkeypatch.setenv("KTRDR_HOME", str(tmp_path / "fresh"))
    assert import_bundle(default_model_store(), archive).bundle.ref == "waves/1"
    assert backtest("waves/1", MAY).trial_count.known == 3


def test_a_version_counts_for_a_model_that_kept_nothing_for_validation_and_test(home, write_strategy, tmp_path):
    """Its training is no look, and so no row."""
    elsewhere = TrialLedger(SQLiteDatabase(tmp_path / "elsewhere.sqlite"))
    path = write_strategy("waves")
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("train: 0.7, validation: 0.15, test: 0.15", "train: 1, validation: 0, test: 0"))
    for _ in range(3):
        assert train(path, trials=elsewhere).look is None
    assert elsewhere.rows() == 0
    assert trials_in(None).rows() == 0
    assert [backtest(f"waves/{version}", MAY).trial_count.known for version in (1, 2, 3)] == [1, 2, 3]


def test_a_model_that_is_trained_later_counts_what_is_recorded_and_what_was_before(old_home, write_strategy):
    assert backtest("waves/1", MAY).trial_count.known == 1
    train(write_strategy("waves", threshold=0.37))
    train(write_strategy("ripples", threshold=0.38))
    assert backtest("ripples/1", MAY).trial_count.known == 2
    assert backtest("waves/4", MAY).trial_count.known == 3
    assert backtest("waves/3", MAY).trial_count.known == 4


def test_what_cannot_be_read_is_left_out(old_home):
    (old_home / "models" / "waves" / "3" / "manifest.json").write_text("{", encoding="utf-8")
    (old_home / "runs" / "waves" / "2-1" / "metrics.json").write_text("[]", encoding="utf-8")
    (old_home / "runs" / "waves" / "9-1").mkdir()
    (old_home / "runs" / "waves" / "9-1" / "result.json").write_bytes(b"\xff")
    assert rows_of(trials_in(None)) == [("waves/1", "backtest"), ("waves/1", "training")]
    assert backtest("waves/1", APRIL).trial_count.known == 1


def test_a_home_with_nothing_in_it(tmp_path, monkeypatch):
    monkeypatch.setenv("KTRDR_HOME", str(tmp_path / "new" / "home"))
    assert trials_in(None).rows() == 0
    assert default_database().path == tmp_path / "new" / "home" / "trials.sqlite"
