"""Label source ``forward_return``: the return over a fixed number of bars, for regression."""

from __future__ import annotations

from ktrdr.core.data.bars import Bars
from ktrdr.core.labels.horizon import forward_returns, horizon_end
from ktrdr.core.labels.label_set import LabelSet

__all__ = ["forward_return_labels"]


def forward_return_labels(bars: Bars, *, horizon: int) -> LabelSet:
    """Label each bar with the simple return from its close to the close ``horizon`` bars later.

    The last ``horizon`` bars have no label.
    """
    return LabelSet(forward_returns(bars.close, horizon), horizon_end(len(bars), horizon), horizon, ())
