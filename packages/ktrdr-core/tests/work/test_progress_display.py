"""Progress as plain lines, and what stands beside a bar. The bar itself is looked at, not tested."""

from __future__ import annotations

import os
import pty
import select

import pytest

from ktrdr.core.work import ProgressEvent
from ktrdr.core.work import progress_display as module
from ktrdr.core.work.progress_display import describe_metrics, progress_display


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test sets."""

    class Clock:
        now = 100.0

    monkeypatch.setattr(module.time, "monotonic", lambda: Clock.now)
    return Clock


def test_a_line_when_a_step_is_done_and_every_two_seconds(capsys, clock):
    with progress_display() as receive:
        receive(ProgressEvent("data"))
        receive(ProgressEvent("data", fraction=1.0, message="10 bars"))
        receive(ProgressEvent("data", fraction=1.0, message="again"))
        receive(ProgressEvent("training", 0, 50, "epochs"))
        clock.now += 1.9
        receive(ProgressEvent("training", 4, 50, "epochs", 0.08))
        clock.now += 0.1
        receive(ProgressEvent("training", 5, 50, "epochs", 0.1, "", {"train_loss": 1.25, "val_loss": 1.5}))
        clock.now += 58
        receive(ProgressEvent("training", 25, 50, "epochs", 0.5))
        receive(ProgressEvent("training", 26, 50, "epochs", 1.0, "stopped early"))
    assert capsys.readouterr().err.splitlines() == [
        "data: 10 bars",
        "training: 5/50 epochs  loss 1.250/1.500  about 18 s left",
        "training: 25/50 epochs  about 1 min 0 s left",
        "training: 26/50 epochs  stopped early",
    ]


def test_quiet_says_nothing(capsys):
    with progress_display(quiet=True) as receive:
        receive(ProgressEvent("data", fraction=1.0))
    assert capsys.readouterr() == ("", "")


def test_metrics_of_training_and_validation_stand_side_by_side():
    metrics = {"train_loss": 1.0, "train_accuracy": 0.5, "val_loss": 1.2, "val_accuracy": 0.4, "learning_rate": 0.0005}
    assert describe_metrics(metrics) == "loss 1.000/1.200  accuracy 0.500/0.400  rate 0.0005"
    assert describe_metrics({"train_loss": 0.00001, "equity": 12345.0}) == "loss 1e-05  equity 12,345"
    assert describe_metrics({}) == ""


def test_on_a_terminal_there_is_a_bar_with_loss_and_accuracy(monkeypatch):
    """On a real pseudo-terminal: what a user's terminal would get."""
    ours, theirs = pty.openpty()
    shown = ""

    def wait_for(text):
        nonlocal shown
        while text not in shown:
            ready, _, _ = select.select([ours], [], [], 60)
            assert ready, f"{text!r} was not shown: {shown!r}"
            shown += os.read(ours, 65536).decode(errors="replace")

    with os.fdopen(theirs, "w", encoding="utf-8") as terminal:
        monkeypatch.setattr("sys.stderr", terminal)
        monkeypatch.setenv("COLUMNS", "120")
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.delenv("NO_COLOR", raising=False)
        with progress_display() as receive:
            receive(ProgressEvent("data", fraction=1.0, message="10 bars"))
            wait_for("10 bars")
            receive(ProgressEvent("training", 0, 4, "epochs"))
            metrics = {"train_loss": 1.0, "val_loss": 1.2, "train_accuracy": 0.5, "val_accuracy": 0.4}
            receive(ProgressEvent("training", 2, 4, "epochs", 0.5, "", metrics))
            wait_for("loss 1.000/1.200  accuracy 0.500/0.400")
            assert "━" in shown
            assert "2/4 epochs" in shown
            receive(ProgressEvent("training", 4, 4, "epochs", 1.0, "", metrics))
            wait_for("4/4 epochs")
    os.close(ours)
