"""The code of the user indicators of a strategy, which the strategy itself does not hold."""

from __future__ import annotations

from ktrdr.core.indicators.indicator_code import IndicatorCode
from ktrdr.core.indicators.registry import default_registry
from ktrdr.core.strategy.model import Strategy

__all__ = ["unread_code_warnings", "used_code"]


def used_code(strategy: Strategy) -> dict[str, IndicatorCode]:
    """Return the installed code of the user indicators of a strategy by the name of the type.

    A stored model computes its features with the installed code too, whatever code it was trained with.

    Args:
        strategy: the strategy; one whose indicators are built in, or not installed any more, has no such code.
    """
    registry = default_registry()
    names = sorted({indicator.type for indicator in strategy.indicators.values()})
    return {name: registry.code(name) for name in names if registry.is_foreign(name)}


def unread_code_warnings(strategy: Strategy) -> tuple[str, ...]:
    """Return a sentence for each user indicator whose changes only its version can tell.

    Args:
        strategy: the strategy.
    """
    return tuple(
        f"the source of indicator `{name}` of {code.distribution} {code.version} cannot be read, so that other code"
        f" with the same version counts as the same trial; raise the version of {code.distribution} with every change"
        for name, code in used_code(strategy).items()
        if code.digest is None
    )
