"""The newest complete checkpoint counts, whenever the process was killed."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys

import pytest

from ktrdr.core.errors import StoreError
from ktrdr.core.plugins import CheckpointWriter
from ktrdr.core.training.checkpoint import DirectoryCheckpoint


@pytest.fixture
def checkpoint(tmp_path):
    return DirectoryCheckpoint(tmp_path / "run" / "checkpoints")


def put(text):
    return lambda directory: (directory / "state.txt").write_text(text)


def test_it_implements_the_protocol_of_the_contract(checkpoint):
    assert isinstance(checkpoint, CheckpointWriter)


def test_the_newest_replaces_the_one_before(checkpoint):
    assert checkpoint.latest() is None
    for epoch in range(1, 13):
        checkpoint.save(epoch, put(f"epoch {epoch}"))
        assert (checkpoint.latest() / "state.txt").read_text() == f"epoch {epoch}"
    assert len(list(checkpoint.directory.iterdir())) == 1


def test_another_process_finds_the_checkpoint_and_continues(checkpoint):
    checkpoint.save(1, put("one"))
    resumed = DirectoryCheckpoint(checkpoint.directory)
    assert (resumed.latest() / "state.txt").read_text() == "one"
    resumed.save(2, put("two"))
    assert (checkpoint.latest() / "state.txt").read_text() == "two"


def test_a_write_that_fails_leaves_the_one_before(checkpoint):
    checkpoint.save(1, put("one"))

    def fail(directory):
        (directory / "half").write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(StoreError, match="the disk is full; nothing was written"):
        checkpoint.save(2, fail)
    assert (checkpoint.latest() / "state.txt").read_text() == "one"
    assert len(list(checkpoint.directory.iterdir())) == 1


CHILD = """
import os, signal, sys
from pathlib import Path
from ktrdr.core.files import durable
from ktrdr.core.training.checkpoint import DirectoryCheckpoint

def die(*arguments):
    os.kill(os.getpid(), signal.SIGKILL)

checkpoint = DirectoryCheckpoint(Path(sys.argv[1]))
checkpoint.save(1, lambda directory: (directory / "state.txt").write_text("one"))
if sys.argv[2] == "writing":
    checkpoint.save(2, lambda directory: ((directory / "state.txt").write_text("tw"), die()))
if sys.argv[2] == "before the rename":
    durable.sync_tree = die
if sys.argv[2] == "after the rename":
    rename = Path.rename
    Path.rename = lambda *paths: (rename(*paths), die())
if sys.argv[2] == "clearing":
    durable.shutil.rmtree = die
    checkpoint.clear()
checkpoint.save(2, lambda directory: (directory / "state.txt").write_text("two"))
"""


@pytest.mark.parametrize(
    ("stop", "expected"),
    [("writing", "one"), ("before the rename", "one"), ("after the rename", "two"), ("clearing", None)],
)
def test_a_kill_leaves_a_complete_checkpoint(checkpoint, stop, expected):
    child = subprocess.run([sys.executable, "-c", CHILD, str(checkpoint.directory), stop], timeout=60, check=False)
    assert child.returncode == -signal.SIGKILL
    found = checkpoint.latest()
    assert (found and (found / "state.txt").read_text()) == expected
    checkpoint.save(3, put("three"))
    assert (checkpoint.latest() / "state.txt").read_text() == "three"
    assert len(list(checkpoint.directory.iterdir())) == 1


def test_clear_removes_everything(checkpoint):
    checkpoint.clear()
    checkpoint.save(1, put("one"))
    checkpoint.clear()
    assert checkpoint.latest() is None
    assert not checkpoint.directory.exists()


def test_due_after_every_so_many_epochs(tmp_path):
    every = DirectoryCheckpoint(tmp_path / "a")
    third = DirectoryCheckpoint(tmp_path / "b", every_epochs=3)
    asked = {"every": [], "third": []}
    for epoch in range(1, 8):
        for name, checkpoint in (("every", every), ("third", third)):
            if checkpoint.due(epoch):
                asked[name].append(epoch)
                checkpoint.save(epoch, put("x"))
    assert asked == {"every": [1, 2, 3, 4, 5, 6, 7], "third": [3, 6]}


def test_due_after_an_epoch_of_another_chunk_that_counts_from_the_beginning(tmp_path):
    checkpoint = DirectoryCheckpoint(tmp_path)
    assert checkpoint.due(1)
    checkpoint.save(700, lambda directory: None)
    assert not checkpoint.due(700)
    assert checkpoint.due(1)
    checkpoint.save(1, lambda directory: None)
    assert not checkpoint.due(1)
    assert checkpoint.due(2)


def test_due_within_a_long_epoch(tmp_path, monkeypatch):
    from ktrdr.core.training import checkpoint as module

    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    checkpoint = DirectoryCheckpoint(tmp_path / "a", every_seconds=60)
    assert not checkpoint.due(0)
    now[0] += 59
    assert not checkpoint.due(0)
    now[0] += 1
    assert checkpoint.due(0)
    checkpoint.save(0, put("x"))
    assert not checkpoint.due(0)
    assert checkpoint.due(1)


@pytest.mark.parametrize("wrong", [{"every_epochs": 0}, {"every_seconds": 0}])
def test_invalid_intervals_are_refused(tmp_path, wrong):
    with pytest.raises(ValueError, match="every_"):
        DirectoryCheckpoint(tmp_path, **wrong)
