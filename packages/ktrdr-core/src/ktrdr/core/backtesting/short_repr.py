"""Short representations of objects that hold arrays: one line of at most 120 characters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ktrdr.core.backtesting.metrics import format_metric

__all__ = ["account_facts", "counted", "few", "short_repr"]

_MOST = 120
_MOST_OF_A_FACT = 48


def short_repr(shown: object, *facts: str) -> str:
    """Return ``<Class fact, fact>``; long facts are cut."""
    text = ", ".join(_cut(fact, _MOST_OF_A_FACT) for fact in facts if fact)
    name = type(shown).__name__
    return f"<{name} {_cut(text, _MOST - len(name) - 3)}>"


def account_facts(metrics: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return total return, Sharpe ratio and number of trades as text."""
    return (
        f"return {format_metric('total_return', metrics.get('total_return'))}",
        f"Sharpe {format_metric('sharpe', metrics.get('sharpe'))}",
        counted(metrics.get("trades") or 0, "trade"),
    )


def counted(number: int, noun: str) -> str:
    """Return a number and its noun, such as ``1 trade`` or ``1,545 bars``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def few(names: Sequence[str]) -> str:
    """Return up to two names, and how many more there are."""
    more = f" and {len(names) - 2:,} more" if len(names) > 2 else ""
    return " ".join(names[:2]) + more


def _cut(text: str, most: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 3]}..."
