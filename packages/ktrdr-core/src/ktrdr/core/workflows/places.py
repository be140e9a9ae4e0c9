"""Stores and plugins of a workflow that is given none: those below `KTRDR_HOME`, and all that are installed."""

from __future__ import annotations

from ktrdr.core.data import bar_store as bar_stores
from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.models import model_store as model_stores
from ktrdr.core.models.bundle import Bundle
from ktrdr.core.models.model_store import ModelStore
from ktrdr.core.plugins import manager
from ktrdr.core.plugins.manager import PluginManager

__all__ = ["bars_in", "bundle_of", "models_in", "plugins_or_all"]


def bars_in(store: BarStore | None) -> BarStore:
    """Return ``store``, or the one below ``KTRDR_HOME``."""
    return bar_stores.default_store() if store is None else store


def models_in(store: ModelStore | None) -> ModelStore:
    """Return ``store``, or the one below ``KTRDR_HOME``."""
    return model_stores.default_model_store() if store is None else store


def plugins_or_all(plugins: PluginManager | None) -> PluginManager:
    """Return ``plugins``, or all that are installed."""
    return manager.default_manager() if plugins is None else plugins


def bundle_of(model: Bundle | str, store: ModelStore | None) -> Bundle:
    """Return a model that may be given by its reference.

    Raises:
        NotFoundError: there is none of that name or version.
    """
    return model if isinstance(model, Bundle) else models_in(store).get(model)
