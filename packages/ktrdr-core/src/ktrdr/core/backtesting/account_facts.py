"""The figures of an account that its short representation shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ktrdr.core.backtesting.metrics import format_metric
from ktrdr.core.short_texts import counted

__all__ = ["account_facts"]


def account_facts(metrics: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return total return, Sharpe ratio and number of trades as text."""
    return (
        f"return {format_metric('total_return', metrics.get('total_return'))}",
        f"Sharpe {format_metric('sharpe', metrics.get('sharpe'))}",
        counted(metrics.get("trades") or 0, "trade"),
    )
