"""The Python face in a real kernel: a bar while it works, short messages for wrong input, and the interrupt."""

from __future__ import annotations

import queue
import re
import time

import pytest
from jupyter_client.manager import start_new_kernel

SET_UP = """
import os, tempfile
os.environ["KTRDR_HOME"] = tempfile.mkdtemp()
import ktrdr.core as kt
kt.data.import_sample()
strategy = kt.example_strategy()
"""


@pytest.fixture(scope="module")
def kernel():
    """A kernel with the sample and a strategy, as a client that :func:`run` speaks to."""
    manager, client = start_new_kernel()
    try:
        run(client, SET_UP)
        yield manager, client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def run(client, code, *, meanwhile=lambda message: None, seconds=120):
    """Execute a cell and return the messages it sent, each as ``(kind, content)``."""
    request = client.execute(code)
    found, until = [], time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            message = client.get_iopub_msg(timeout=1)
        except queue.Empty:
            continue
        if message["parent_header"].get("msg_id") != request:
            continue
        kind, content = message["msg_type"], message["content"]
        if kind == "status" and content["execution_state"] == "idle":
            return found
        found.append((kind, content))
        meanwhile(found[-1])
    raise AssertionError(f"the cell still runs after {seconds} s: {found[-3:]}")


def shown(messages, kind="execute_result", mime="text/plain"):
    return [content["data"][mime] for name, content in messages if name == kind]


@pytest.mark.slow
def test_a_bar_is_shown_while_it_works_and_gone_afterwards(kernel):
    _, client = kernel
    messages = run(client, "training = kt.train(strategy, epochs=3)\ntraining")
    assert shown(messages) == [text for text in shown(messages) if text.startswith("<Training neuro_mean_reversion/")]
    assert "border-radius" in shown(messages, mime="text/html")[0]
    (first,) = shown(messages, "display_data", "text/html")
    updates = shown(messages, "update_display_data", "text/html")
    assert first == updates[-1] == ""
    assert any("<progress" in update and "training" in update for update in updates)
    assert not [content for kind, content in messages if kind == "stream"]
    silent = run(client, "training = kt.train(strategy, epochs=2, progress=False)")
    assert not [kind for kind, _ in silent if "display" in kind]


def test_a_mistake_is_one_sentence_and_no_traceback(kernel):
    _, client = kernel
    messages = run(client, "kt.backtest('no_such_model')")
    (error,) = [content for kind, content in messages if kind == "error"]
    assert error["ename"] == "NotFoundError"
    assert len(error["traceback"]) == 1
    assert error["traceback"][0].startswith("NotFoundError: ")
    messages = run(client, "strategy.replace({'training.epochs': 0})")
    (error,) = [content for kind, content in messages if kind == "error"]
    assert "training.epochs: `epochs` must be at least 1" in error["traceback"][0]


@pytest.mark.slow
def test_the_interrupt_of_the_kernel_leaves_a_checkpoint_that_resume_goes_on_from(kernel):
    manager, client = kernel
    interrupted = []

    def interrupt(message):
        kind, content = message
        # Not at 0/60: an interrupt before the first batch leaves nothing to resume.
        trained = kind == "update_display_data" and re.search(r"\b[1-9]\d*/60 epochs", content["data"]["text/html"])
        if trained and not interrupted:
            interrupted.append(message)
            manager.interrupt_kernel()

    cell = "training = kt.train(strategy.replace({'training.early_stopping': None}), epochs=60, seed=5%s)"
    messages = run(client, cell % "", meanwhile=interrupt)
    (error,) = [content for kind, content in messages if kind == "error"]
    assert error["ename"] == "CancelledError"
    assert "call train with the same arguments and resume=True" in error["evalue"]
    run(client, cell % ", resume=True")
    (resumed,) = shown(run(client, "training.to_dict()['resumed'], training.epochs"))
    assert resumed == "(True, 60)"
