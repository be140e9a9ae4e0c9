"""A worker says once that it has begun its share of a sweep, and passes its chunks on."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from ktrdr.worker import chunks


@pytest.fixture
def said(monkeypatch):
    """What a worker has said, while it runs chunks that come to their own numbers."""
    heard = []
    worker = SimpleNamespace(address="tcp://127.0.0.1:1", log_event=lambda topic, message: heard.append(message))
    monkeypatch.setattr("distributed.get_worker", lambda: worker)
    monkeypatch.setattr("ktrdr.core.workflows.run_chunk.run_chunk", lambda key, job, numbers: (key, job, numbers))
    monkeypatch.setattr(chunks, "_announced", set())
    return heard


def test_it_begins_once_per_attempt(said):
    assert chunks.run_chunk("A", 1, {"model": "m/1"}, [0, 1]) == ("A:1", {"model": "m/1"}, [0, 1])
    chunks.run_chunk("A", 1, {}, [2])
    chunks.run_chunk("A", 2, {}, [0])
    assert [(message["event"], message["attempt"]) for message in said] == [("started", 1), ("started", 2)]
    assert {message["worker"] for message in said} == {"tcp://127.0.0.1:1"}
