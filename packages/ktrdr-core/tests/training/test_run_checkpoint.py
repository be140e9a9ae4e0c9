"""A checkpoint is used by the run it belongs to, and by one process at a time."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ktrdr.core.jobs.job_settings import TrainingSettings
from ktrdr.core.plugins.contract import Device, PluginInfo
from ktrdr.core.training.overrides import override
from ktrdr.core.training.run_checkpoint import (
    NothingToResumeError,
    default_checkpoint_root,
    reserve_checkpoint,
    run_key,
)

PLUGIN = PluginInfo(name="torch", version="1.0", contract="2.0", model_types=())
NEWER = PluginInfo(name="torch", version="1.1", contract="2.0", model_types=())
OTHER = PluginInfo(name="other", version="1.0", contract="2.0", model_types=())
CUDA, CPU = Device("cuda:0", "cuda"), Device("cpu", "cpu")


def put(text):
    return lambda directory: (directory / "state.txt").write_text(text)


def state(checkpoint):
    return (checkpoint.latest() / "state.txt").read_text()


def leave(root, key="k" * 24, text="state"):
    """Leave a checkpoint, as a run that was cancelled."""
    with reserve_checkpoint(root, "waves", key, resume=False) as checkpoint:
        checkpoint.save(1, put(text))


def test_everything_that_affects_the_weights_is_in_the_key(load):
    strategy = load().strategy
    keys = {
        "plain": run_key(strategy, "f" * 64, PLUGIN, CPU),
        "data": run_key(strategy, "e" * 64, PLUGIN, CPU),
        "seed": run_key(override(strategy, TrainingSettings(seed=4)), "f" * 64, PLUGIN, CPU),
        "epochs": run_key(override(strategy, TrainingSettings(epochs=7)), "f" * 64, PLUGIN, CPU),
        "fuzzy set": run_key(load("[0, 25, 45]", "[0, 25, 46]").strategy, "f" * 64, PLUGIN, CPU),
        "labels": run_key(load("horizon: 4", "horizon: 5").strategy, "f" * 64, PLUGIN, CPU),
        "device": run_key(strategy, "f" * 64, PLUGIN, CUDA),
        "backend": run_key(strategy, "f" * 64, OTHER, CPU),
        "version": run_key(strategy, "f" * 64, NEWER, CPU),
    }
    assert len(set(keys.values())) == len(keys)
    assert all(len(key) == 24 for key in keys.values())


def test_the_code_of_a_user_indicator_is_in_the_key(load, own_indicator):
    keys = []
    for arguments in ({}, {"code": "2"}, {"version": "1.3"}, {}):
        own_indicator(**arguments)
        strategy = load("{type: roc, period: 5}", "{type: own_share}").strategy
        keys.append(run_key(strategy, "f" * 64, PLUGIN, CPU))
    assert len(set(keys)) == 3
    assert keys[0] == keys[3]


def test_a_run_without_a_user_indicator_has_its_old_key(load, own_indicator):
    """Key by the version before code was part of it: what was interrupted then can be resumed."""
    own_indicator()
    assert run_key(load().strategy, "f" * 64, PLUGIN, CPU) == "de02d10d73fac85326ef79b9"


def test_other_sections_are_not_in_the_key(load):
    strategy = load().strategy
    key = run_key(strategy, "f" * 64, PLUGIN, CUDA)
    assert run_key(strategy, "f" * 64, PLUGIN, Device("cuda:1", "cuda")) == key
    assert (
        run_key(load("confidence_threshold: 0.4", "confidence_threshold: 0.6").strategy, "f" * 64, PLUGIN, CUDA) == key
    )
    # Said on the command line or in the file: the same run.
    written = load("epochs: 6\n", "epochs: 8\n").strategy
    assert run_key(written, "f" * 64, PLUGIN, CPU) == run_key(
        override(strategy, TrainingSettings(epochs=8)), "f" * 64, PLUGIN, CPU
    )


def test_the_default_place_is_below_home(home):
    assert default_checkpoint_root() == home / "checkpoints"


def test_a_run_resumes_from_its_own_checkpoint(tmp_path):
    leave(tmp_path)
    with reserve_checkpoint(tmp_path, "waves", "k" * 24, resume=True) as checkpoint:
        assert state(checkpoint) == "state"
        checkpoint.clear()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock"]


def test_resuming_without_a_checkpoint_is_refused(tmp_path):
    with (
        pytest.raises(NothingToResumeError, match=r"there is nothing to resume.*leave out --resume") as caught,
        reserve_checkpoint(tmp_path, "waves", "k" * 24, resume=True),
    ):
        pass
    assert "only of runs with another" not in str(caught.value)


def test_a_checkpoint_of_another_run_is_not_used_and_not_touched(tmp_path):
    leave(tmp_path)
    with (
        pytest.raises(
            NothingToResumeError, match="with another strategy, data, seed, number of seeds, backend, kind of device or"
        ),
        reserve_checkpoint(tmp_path, "waves", "x" * 24, resume=True),
    ):
        pass
    with reserve_checkpoint(tmp_path, "waves", "x" * 24, resume=False) as checkpoint:
        assert checkpoint.latest() is None
    with reserve_checkpoint(tmp_path, "waves", "k" * 24, resume=True) as checkpoint:
        assert state(checkpoint) == "state"


def test_a_fresh_run_gets_the_same_directory(tmp_path):
    leave(tmp_path)
    with reserve_checkpoint(tmp_path, "waves", "k" * 24, resume=False) as checkpoint:
        assert state(checkpoint) == "state"  # to discard, or not


def test_two_equal_runs_at_the_same_time_get_a_directory_each(tmp_path):
    key = "k" * 24
    with reserve_checkpoint(tmp_path, "waves", key, resume=False) as one:
        one.save(1, put("one"))
        with reserve_checkpoint(tmp_path, "waves", key, resume=False) as other:
            assert other.latest() is None
            other.save(1, put("other"))
            assert state(one) == "one"
        # The first is still at work: what can be resumed is the other's.
        with reserve_checkpoint(tmp_path, "waves", key, resume=True) as resumed:
            assert state(resumed) == "other"
    with reserve_checkpoint(tmp_path, "waves", key, resume=True) as resumed:
        assert state(resumed) == "one"


HOLD = """
import sys
from pathlib import Path
from ktrdr.core.training.run_checkpoint import reserve_checkpoint
with reserve_checkpoint(Path(sys.argv[1]), "waves", "k" * 24, resume=False) as checkpoint:
    checkpoint.save(1, lambda directory: (directory / "state.txt").write_text("killed"))
    print("saved", flush=True)
    sys.stdin.read()
"""


def test_a_killed_process_releases_its_lock(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "saved\n"
        with (
            pytest.raises(NothingToResumeError),
            reserve_checkpoint(tmp_path, "waves", "k" * 24, resume=True),
        ):
            pass
    finally:
        holder.kill()
        holder.communicate()
    with reserve_checkpoint(tmp_path, "waves", "k" * 24, resume=True) as checkpoint:
        assert state(checkpoint) == "killed"
