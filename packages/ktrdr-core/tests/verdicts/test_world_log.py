"""Finished worlds survive a kill at any byte."""

from __future__ import annotations

import numpy as np
import pytest

from ktrdr.core.verdicts.world_log import WORLDS_FILE, WorldLog, left_by_verdict
from ktrdr.core.verdicts.world_trainings import WorldAccount

ACCOUNTS = {
    ("sign_flips", 0): WorldAccount(0.1 + 0.2, np.array([1.0, 1 / 3])),
    ("garch", 0): WorldAccount(None, np.zeros(0)),
    ("garch", 12): WorldAccount(-1e-17, np.array([1.0, 2.5e-300])),
}


def of(accounts):
    return {world: (own.sharpe, own.equity.tobytes()) for world, own in accounts.items()}


def test_worlds_are_read_as_they_were_written(tmp_path):
    log = WorldLog(tmp_path / "run")
    assert log.read() == {}
    assert left_by_verdict(tmp_path / "run") is None
    first = dict(list(ACCOUNTS.items())[:1])
    log.add(first)
    assert of(log.read()) == of(first)
    log.add(dict(list(ACCOUNTS.items())[1:]))
    assert of(WorldLog(tmp_path / "run").read()) == of(ACCOUNTS)
    assert left_by_verdict(tmp_path / "run") == tmp_path / "run" / WORLDS_FILE


@pytest.mark.parametrize("lost", [1, 2, 10, 40])
def test_a_torn_last_line_is_not_read_and_swallows_no_other(tmp_path, lost):
    log = WorldLog(tmp_path)
    log.add(ACCOUNTS)
    path = tmp_path / WORLDS_FILE
    path.write_bytes(path.read_bytes()[:-lost])
    kept = of(log.read())
    # Without its line end alone the last line is whole.
    assert kept == of(dict(list(ACCOUNTS.items())[: 3 if lost == 1 else 2]))
    again = {("sign_flips", 7): WorldAccount(2.0, np.array([1.0]))}
    log.add(again)
    assert of(log.read()) == kept | of(again)
