"""Load strategies as far as they can be checked here."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from ktrdr.api.services import Services

if TYPE_CHECKING:
    from ktrdr.core.strategy.loader import LoadedStrategy

__all__ = ["load", "offered"]


async def offered(opened: Services) -> frozenset[str]:
    """Return what the workers that are there now can do."""
    return frozenset(name for worker in await opened.operations.workers() for name in worker.capabilities)


def load(text: str, name: str, offered: Collection[str] = ()) -> LoadedStrategy:
    """Return the strategy in ``text``. What its plugin declares is checked where that is installed.

    A plugin of KTRDR's own may be missing here, and so may any that the strategy names and a worker offers: the worker
    checks the rest.

    Raises:
        StrategyError: it is no strategy, or nobody is known to train its model.
    """
    from ktrdr.core.plugins.manager import default_manager
    from ktrdr.core.strategy.diagnostics import StrategyError
    from ktrdr.core.strategy.loader import load_strategy_text

    try:
        return load_strategy_text(text, name=name, plugins=default_manager(), plugin_may_be_missing=True)
    except StrategyError:
        loaded = load_strategy_text(text, name=name)
        backend = loaded.strategy.model.backend
        if backend is None or f"ml-{backend}" not in offered or _installed(backend):
            raise
        return loaded


def _installed(backend: str) -> bool:
    from ktrdr.core.plugins.manager import default_manager

    return any(record.name == backend for record in default_manager().records())
