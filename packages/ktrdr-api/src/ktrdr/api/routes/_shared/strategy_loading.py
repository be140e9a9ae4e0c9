"""Loading of strategies whose plugin may be missing in the environment of the API."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from ktrdr.api.services import Services

if TYPE_CHECKING:
    from ktrdr.core.strategy.loader import LoadedStrategy

__all__ = ["load", "offered"]


async def offered(opened: Services) -> frozenset[str]:
    """Return the capabilities of all connected workers."""
    return frozenset(name for worker in await opened.operations.workers() for name in worker.capabilities)


def load(text: str, name: str, offered: Collection[str] = ()) -> LoadedStrategy:
    """Return the strategy in ``text``; the declarations of its plugin are checked if the plugin is installed.

    KTRDR's own plugins may be missing here, and also a plugin that the strategy names and a worker offers: the worker
    then checks the rest.

    Raises:
        StrategyError: the text is not a valid strategy, or no known plugin trains its model.
    """
    from ktrdr.core.plugins.manager import default_manager
    from ktrdr.core.strategy.diagnostics import StrategyError
    from ktrdr.core.strategy.loader import load_strategy_text

    try:
        return load_strategy_text(text, name=name, plugins=default_manager(), plugin_may_be_missing=True)
    except StrategyError:
        loaded = load_strategy_text(text, name=name)
        backend = loaded.strategy.model.learner.backend
        if backend is None or f"ml-{backend}" not in offered or _installed(backend):
            raise
        return loaded


def _installed(backend: str) -> bool:
    from ktrdr.core.plugins.manager import default_manager

    return any(record.name == backend for record in default_manager().records())
