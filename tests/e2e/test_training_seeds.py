"""A training with several seeds, with the real backends, killed at random moments in a process of its own."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from ktrdr.core.models.model_store import ModelStore
from ktrdr.core.training.population import default_resources

TRAIN = """
import sys
from pathlib import Path
from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.jobs.job_settings import TrainingSettings
from ktrdr.core.models.model_store import ModelStore
from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.strategy.loader import load_strategy_text
from ktrdr.core.training import population
from ktrdr.core.training.run_checkpoint import NothingToResumeError
from ktrdr.core.workflows.run_training import train
from ktrdr.ml.torch import population_keeper, reporting

population.SECONDS_BETWEEN_CHECKPOINTS = 0.0
population_keeper._SECONDS_BETWEEN_CHECKPOINTS = reporting._SECONDS_BETWEEN = 0.0
text, data, home, seeds = sys.argv[1:]
plugins = PluginManager()
loaded = load_strategy_text(text, plugins=plugins)

def run(resume):
    train(
        loaded, TrainingSettings(seeds=int(seeds)), resume=resume, plugins=plugins,
        bar_store=BarStore(Path(data)), model_store=ModelStore(Path(home) / "models"),
        checkpoint_root=Path(home) / "checkpoints",
        progress=lambda event: print(event.fraction, flush=True) if event.step == "training" else None,
    )

try:
    run(True)
except NothingToResumeError:
    run(False)
"""

SHORT = {"date_range": {"start": "2017-01-01", "end": "2017-02-28"}}
NEURAL_KEYS = ("batch_size", "learning_rate", "optimizer", "weight_decay", "gradient_clip", "lr_scheduler",
               "early_stopping", "epochs")  # fmt: skip
FOREST = {
    "model": {"replace": {"type": "random_forest", "architecture": {"n_estimators": 5}}},
    "training": dict.fromkeys(NEURAL_KEYS),
}
# So many epochs that ten attempts are less than the whole.
NETWORK = {"training": {"epochs": 400, "early_stopping": None}}


def run(text, shared_home, home, seeds, *, kill_after=None):
    """Train in a process of its own, which resumes what an earlier one left.

    Args:
        text: of the strategy.
        shared_home: home with the data.
        home: for models and checkpoints.
        seeds: their number.
        kill_after: share of the training that is done before the process is killed; ``None`` lets it end.
    """
    child = subprocess.Popen(
        [sys.executable, "-c", TRAIN, text, shared_home / "data", home, str(seeds)],
        env={**os.environ, "KTRDR_HOME": str(home)},
        stdout=subprocess.PIPE,
        text=True,
    )
    fractions = []
    try:
        for line in child.stdout:
            fractions.append(float(line))
            # The first report is of the finished members alone, the second of the resumed one, too.
            if kill_after is not None and len(fractions) > 1 and fractions[-1] - fractions[1] >= kill_after:
                break
        if kill_after is not None:
            time.sleep(random.uniform(0, 0.05))
            child.kill()
    finally:
        child.communicate()
    assert child.returncode == (0 if kill_after is None else -signal.SIGKILL)


# Of the networks epochs are checkpoints; of the forests only whole chunks are kept, here a tenth of the members.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "seeds", "most"),
    [(NETWORK, 8, 0.06), (FOREST, 20 * default_resources().cores, 0.15)],
    ids=["mlp of torch", "random forest of sklearn"],
)
def test_killed_at_ten_random_moments_it_ends_with_the_same_hashes(
    variant, train_text, shared_home, tmp_path, changes, seeds, most
):
    text = variant(training_data=SHORT, **changes)
    whole = train_text(text, tmp_path / "whole", seeds=seeds).bundle.manifest
    # Together less than the whole, so that no killed process finishes the training.
    moments = [random.uniform(0, most) for _ in range(10)]
    for share in moments:
        run(text, shared_home, tmp_path, seeds, kill_after=share)
    assert not (tmp_path / "models").exists()
    assert list((tmp_path / "checkpoints").glob("neuro*/*/*")), moments
    run(text, shared_home, tmp_path, seeds)
    manifest = ModelStore(tmp_path / "models").verify("neuro_mean_reversion/1").manifest
    assert manifest.files == whole.files, moments
    assert manifest.members == whole.members, moments
    assert manifest.seed == whole.seed
    assert not list((tmp_path / "checkpoints").glob("neuro*"))


def test_the_kept_network_is_byte_for_byte_that_of_its_seed_alone(variant, train_text, tmp_path):
    text = variant(training_data=SHORT, training={"epochs": 2})
    several = train_text(text, tmp_path, seeds=3).bundle
    alone = train_text(text, tmp_path, seed=several.manifest.seed).bundle
    assert several.manifest.files == alone.manifest.files
    assert several.manifest.metrics == alone.manifest.metrics
    assert several.manifest.importance == alone.manifest.importance
    assert several.manifest.facts == alone.manifest.facts
