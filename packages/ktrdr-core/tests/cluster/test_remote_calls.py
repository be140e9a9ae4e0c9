"""What is sent to a worker is a name from a short list."""

from __future__ import annotations

import asyncio

import pytest

from ktrdr.core.cluster.dask_settings import versions, versions_table
from ktrdr.core.cluster.remote_calls import DRAIN, RUN_OPERATION, await_by_name, call_by_name


@pytest.mark.parametrize(
    "target", ["os:system", "ktrdr.worker.children:_kill", "", "builtins:eval", RUN_OPERATION + "x"]
)
def test_nothing_else_is_called(target):
    with pytest.raises(ValueError, match="is not a function of a worker"):
        call_by_name(target, "true")
    with pytest.raises(ValueError, match="is not a function of a worker"):
        asyncio.run(await_by_name(target, "true"))


def test_the_worker_is_looked_for_only_where_it_runs(monkeypatch):
    import sys
    from types import SimpleNamespace

    async def drain(grace, dask_worker):
        return grace, dask_worker

    monkeypatch.setitem(sys.modules, "ktrdr.worker.drain", SimpleNamespace(drain=drain))
    assert asyncio.run(await_by_name(DRAIN, 3.0, dask_worker="the worker")) == (3.0, "the worker")


def test_versions_side_by_side_mark_what_must_be_the_same():
    lines = versions_table({**versions(), "protocol": "999", "core": "9.9"}, versions()).splitlines()
    assert [line.split()[0] for line in lines] == ["API", "protocol", "core", "contract"]
    assert [line.endswith("must be the same") for line in lines] == [False, True, False, False]
