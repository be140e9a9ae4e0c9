"""A worker says once that it has begun its share of a sweep, prepares once, and comes to what the whole comes to."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from ktrdr.core.jobs.job_settings import SweepSettings
from ktrdr.core.jobs.kinds import parse_job
from ktrdr.core.plugins import manager
from ktrdr.worker import chunks

_EXAMPLE = Path(__file__).parents[3] / "examples" / "ktrdr-ml-example" / "src"
_STRATEGY = """\
name: waves
training_data:
  symbols: {mode: single, symbol: EURUSD}
  timeframes: {mode: single, timeframe: 1h}
  date_range: {start: 2017-01-01, end: 2017-09-30}
indicators: {rsi_14: {type: rsi, period: 14}}
fuzzy_sets:
  rsi: {indicator: rsi_14, low: [0, 25, 45], middle: [30, 50, 70], high: [55, 75, 100]}
nn_inputs: [{fuzzy_set: rsi, timeframes: all}]
model: {type: softmax_regression}
decisions: {confidence_threshold: 0.34}
training:
  labels: {source: direction, horizon: 4, threshold: 0.0005}
  epochs: 3
"""
SWEEP = {
    "model": "waves/1",
    "settings": {"decisions.confidence_threshold": [0.34, 0.4], "risk.stop_loss.atr": [2, 3.5, 5]},
    "commission": 0.0001,
}


@pytest.fixture
def said(monkeypatch):
    """What a worker has said, while it runs chunks that come to their own numbers."""
    heard = []
    worker = SimpleNamespace(address="tcp://127.0.0.1:1", log_event=lambda topic, message: heard.append(message))
    monkeypatch.setattr("distributed.get_worker", lambda: worker)
    monkeypatch.setattr(chunks, "carry_out_chunk", lambda key, job, numbers, resample: (key, job, numbers))
    monkeypatch.setattr(chunks, "_announced", set())
    return heard


def test_it_begins_once_per_attempt(said):
    assert chunks.run_chunk("A", 1, {"model": "m/1"}, [0, 1]) == ("A:1", {"model": "m/1"}, [0, 1])
    chunks.run_chunk("A", 1, {}, [2])
    chunks.run_chunk("A", 2, {}, [0])
    assert [(message["event"], message["attempt"]) for message in said] == [("started", 1), ("started", 2)]
    assert {message["worker"] for message in said} == {"tcp://127.0.0.1:1"}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A ``KTRDR_HOME`` with bars and a model of the example's backend, which needs numpy alone."""
    from ktrdr.core.data.bar_store import default_store
    from ktrdr.core.data.sample import install_sample
    from ktrdr.core.strategy.loader import load_strategy_text
    from ktrdr.core.workflows.run_training import train

    home, site = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("site")
    info = site / "ktrdr_ml_example-1.0.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ktrdr-ml-example\nVersion: 1.0.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[ktrdr.plugins]\nexample = ktrdr_ml_example.hooks\n", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KTRDR_HOME", str(home))
        patch.syspath_prepend(_EXAMPLE)
        patch.syspath_prepend(site)
        plugins = manager.PluginManager(path=[str(site)], environ={})
        patch.setattr(manager, "default_manager", lambda: plugins)
        install_sample(default_store())
        train(load_strategy_text(_STRATEGY, plugins=plugins))
        yield home
    for name in [name for name in sys.modules if name.split(".")[0] == "ktrdr_ml_example"]:
        del sys.modules[name]


@pytest.fixture
def nothing_prepared(home):
    chunks._prepared.clear()


@pytest.mark.usefixtures("nothing_prepared")
def test_chunks_come_to_the_same_and_prepare_once(monkeypatch):
    from ktrdr.core.backtesting.metrics import deflate
    from ktrdr.core.sweeps import grid
    from ktrdr.core.workflows.places import trials_in
    from ktrdr.core.workflows.run_sweep import sweep

    prepared = []
    original = grid.prepare_sweep
    monkeypatch.setattr(grid, "prepare_sweep", lambda *args, **more: prepared.append(1) or original(*args, **more))
    done = [chunks.carry_out_chunk("one", SWEEP, numbers) for numbers in ([0, 1], [2], [3, 4, 5])]
    assert len(prepared) == 1
    assert all(chunk["seconds"] > 0 for chunk in done)
    whole = sweep("waves", parse_job("sweep", SWEEP).to(SweepSettings))
    by_trial = {row["trial"]: row["metrics"] for row in whole.rows}
    cells = [cell for chunk in done for cell in grid.unpack_cells(json.loads(json.dumps(chunk)))]
    counted = [deflate(cell.metrics, whole.trial_count.number, whole.trial_count.spread) for cell in cells]
    shown = chunks.carry_out_chunk("one", SWEEP, range(6), resample=True)["intervals"]
    assert [{**own, **interval} for own, interval in zip(counted, shown, strict=True)] == [
        by_trial[n] for n in range(1, 7)
    ]
    # What a worker tells of is what the sweep in one process has recorded, the operation apart.
    ledger = trials_in(None)
    assert len({cell.look.trial for cell in cells}) == 6
    ledger.record([cell.look for cell in cells])
    assert ledger.count(cells[0].look.span).known == whole.trial_count.known
    assert {cell.look.operation for cell in cells} == {"one"}
    assert all(chunk["facts"]["data_fingerprint"] == whole.facts["data_fingerprint"] for chunk in done)


@pytest.mark.usefixtures("nothing_prepared")
def test_a_worker_keeps_few_sweeps():
    for number in range(5):
        chunks.carry_out_chunk(f"sweep {number}", SWEEP, [0])
    assert list(chunks._prepared) == ["sweep 3", "sweep 4"]


@pytest.mark.usefixtures("nothing_prepared")
def test_a_chunk_says_what_a_person_can_mend():
    error = chunks.carry_out_chunk("broken", {**SWEEP, "model": "nobody_trained_this"}, [0])["error"]
    assert error["type"] == "NotFoundError"
    assert "nobody_trained_this" in error["message"]
