"""All checks together: always the same ones in the same order, with progress, and stopped on request."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ktrdr.core.data.bars import Bars
from ktrdr.core.errors import CancelledError
from ktrdr.core.verdicts.validity import check_validity
from ktrdr.core.verdicts.verdict_result import ValidityFinding
from ktrdr.core.work.cancellation import Cancellation
from ktrdr.core.work.progress import ProgressEvent

Market = Callable[..., Bars]
Findings = Callable[..., dict[str, ValidityFinding]]


@pytest.mark.parametrize("process", ["walk", "garch", "regime_volatility", "mean_reversion", "momentum"])
def test_synthetic_markets_are_clean(validity_on: Findings, market: Market, process: str):
    found = validity_on(market(process), market(process, symbol="GBPUSD", seed=8))
    assert [finding.sentence for finding in found.values() if not finding.clean] == []
    assert all(finding.sentence for finding in found.values())


def test_progress_and_cancellation(set_up_on: Callable[..., object], market: Market):
    setup, store = set_up_on(market())
    events: list[ProgressEvent] = []
    found = check_validity(setup, bar_store=store, progress=events.append)
    assert events[-1].fraction == 1
    assert len({event.step for event in events}) > 2
    assert len({finding.check for finding in found}) == len(found)
    stopped = Cancellation()
    stopped.cancel()
    with pytest.raises(CancelledError):
        check_validity(setup, bar_store=store, cancellation=stopped)
