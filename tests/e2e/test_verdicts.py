"""The verdict on the demo's two markets, on a copy without an edge, after many trials, and on any number of threads."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from importlib.resources import as_file, files

import pytest

from ktrdr.core.cache.array_cache import NO_CACHE
from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.data.sample import install_sample
from ktrdr.core.jobs.job_settings import VerdictSettings
from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.strategy.loader import load_strategy
from ktrdr.core.synthetic.known_edge import KNOWN_EDGE_SYMBOL, install_known_edge
from ktrdr.core.trials.trial_database import SQLiteDatabase
from ktrdr.core.trials.trial_ledger import TrialLedger
from ktrdr.core.verdicts.world_maker import WorldMaker
from ktrdr.core.workflows.run_verdict import judge

pytestmark = pytest.mark.slow

COSTS = {"commission": 0.00002, "slippage": 0.00002}
FLIPPED = "FLIPPED"
ORDER = ["INVALID", "NONE", "NOT PROVEN", "EDGE"]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """The shipped sample, the market with a known edge, and a copy of that in which signs are random."""
    store = BarStore(tmp_path_factory.mktemp("markets"))
    install_sample(store)
    bars = install_known_edge(store)
    (flipped,) = WorldMaker({KNOWN_EDGE_SYMBOL: bars}, 20_261_201).bars("sign_flips", 0).values()
    store.write(dataclasses.replace(flipped, symbol=FLIPPED, world=""))
    return store


@pytest.fixture
def verdict_on(store, tmp_path):
    """Return ``verdict_on(symbol)``: the quick verdict on the strategy of the demo."""
    ledger = TrialLedger(SQLiteDatabase(tmp_path / "trials.sqlite"))
    plugins = PluginManager()
    with as_file(files("ktrdr.core.samples").joinpath("neuro_mean_reversion.yaml")) as path:
        loaded = load_strategy(path, plugins=plugins)

    def make(symbol):
        return judge(
            loaded,
            VerdictSettings(symbols=(symbol,), quick=True, **COSTS),
            bar_store=store,
            plugins=plugins,
            trials=ledger,
            checkpoint_root=tmp_path / "checkpoints",
            cache=NO_CACHE,
        )

    make.ledger = ledger
    return make


def test_the_market_with_a_known_edge_is_an_edge_and_200_trials_before_it_do_not_improve_it(verdict_on):
    first = verdict_on(KNOWN_EDGE_SYMBOL)
    assert first.facts.word == "EDGE", first.facts.reasons
    assert [worlds.p for worlds in first.facts.nulls] == [1 / 21, 1 / 21]
    (look,) = first.looks
    verdict_on.ledger.record([dataclasses.replace(look, strategy=f"{number:064x}") for number in range(200)])
    after = verdict_on(KNOWN_EDGE_SYMBOL).facts
    assert after.deflation.other_trials == 200
    assert after.deflation.probability <= first.facts.deflation.probability
    assert after.deflation.expected_best > first.facts.deflation.expected_best
    assert ORDER.index(after.word) <= ORDER.index(first.facts.word)
    assert after.nulls == first.facts.nulls
    assert after.hash != first.facts.hash


@pytest.mark.parametrize("symbol", ["EURUSD", FLIPPED])
def test_the_shipped_sample_and_a_copy_with_random_signs_are_no_edge(verdict_on, symbol):
    facts = verdict_on(symbol).facts
    assert facts.word in ("NOT PROVEN", "NONE")
    assert max(worlds.p for worlds in facts.nulls) > 0.05


PROGRAM = """
import json, sys
from ktrdr.core.jobs.job_settings import VerdictSettings
from ktrdr.core.workflows.run_verdict import judge
settings = VerdictSettings(symbols=("MEANREV",), end="2017-03-31", epochs=3, quick=True, commission=0.0001)
facts = judge(sys.argv[1], settings).facts
print(json.dumps([facts.hash, facts.evidence_hash, facts.word]))
"""


def test_the_same_question_has_the_same_hash_with_one_thread_and_with_two(store, tmp_path):
    with as_file(files("ktrdr.core.samples").joinpath("neuro_mean_reversion.yaml")) as path:
        found = set()
        for threads in ("1", "2"):
            home = tmp_path / threads
            install_known_edge(BarStore(home / "data"))
            environment = {**os.environ, "KTRDR_HOME": str(home), "OMP_NUM_THREADS": threads}
            done = subprocess.run(
                [sys.executable, "-c", PROGRAM, str(path)],
                env=environment,
                capture_output=True,
                text=True,
                timeout=500,
                check=True,
            )
            found.add(done.stdout)
    assert len(found) == 1, found
