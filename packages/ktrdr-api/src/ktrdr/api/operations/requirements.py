"""The capabilities that a worker needs for a job."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ktrdr.core.models.manifest import Manifest
    from ktrdr.core.strategy.model import Strategy

__all__ = ["backtest_needs", "training_needs"]


def training_needs(strategy: Strategy) -> list[str]:
    """Return the capabilities a worker needs to train ``strategy``, whose plugin need not be installed here.

    Raises:
        PluginError: no known plugin trains such a model, or several do and the strategy does not name one.
    """
    from ktrdr.core.errors import MissingPluginError
    from ktrdr.core.plugins.manager import default_manager, known_backend

    model = strategy.model.learner
    if model.backend is not None:
        return [f"ml-{model.backend}"]
    try:
        return [f"ml-{default_manager().backend_for(model.type)[0].name}"]
    except MissingPluginError:
        known = known_backend(model.type)
        if known is None:
            raise
        return [f"ml-{known}"]


def backtest_needs(manifest: Manifest) -> list[str]:
    """Return the capabilities a worker needs to backtest a model."""
    return ["backtest", f"ml-{manifest.plugin.name}"]
