"""Default stores and plugins of a workflow: the stores below `KTRDR_HOME`, and all installed plugins."""

from __future__ import annotations

from collections.abc import Iterable

from ktrdr.core.cache import default_cache as caches
from ktrdr.core.cache.array_cache import ArrayCache
from ktrdr.core.data import bar_store as bar_stores
from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.home import home_directory
from ktrdr.core.models import model_store as model_stores
from ktrdr.core.models.bundle import Bundle
from ktrdr.core.models.model_store import ModelStore
from ktrdr.core.plugins import manager
from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.trials import trial_database
from ktrdr.core.trials.look import Look
from ktrdr.core.trials.trial_ledger import TrialLedger
from ktrdr.core.work.progress import NO_PROGRESS, Progress, ProgressEvent

__all__ = ["bars_in", "bundle_of", "cache_in", "models_in", "plugins_or_all", "trials_in"]


def bars_in(store: BarStore | None) -> BarStore:
    """Return ``store``, or by default the one below ``KTRDR_HOME``."""
    return bar_stores.default_store() if store is None else store


def models_in(store: ModelStore | None) -> ModelStore:
    """Return ``store``, or by default the one below ``KTRDR_HOME``."""
    return model_stores.default_model_store() if store is None else store


def trials_in(ledger: TrialLedger | None) -> TrialLedger:
    """Return ``ledger``, or by default the one below ``KTRDR_HOME``.

    A new ledger starts with the trials of the models and runs that are stored there.

    Raises:
        TrialStoreError: the ledger cannot be used.
    """
    if ledger is not None:
        return ledger
    return TrialLedger(trial_database.default_database(), _looks_before, _versions_before)


# Existing models and runs are read only when a ledger is created, so the code for that is imported only then.


def _looks_before() -> Iterable[Look]:
    from ktrdr.core.workflows.take_in import looks_before

    return looks_before(home_directory())


def _versions_before() -> dict[str, int]:
    from ktrdr.core.workflows.take_in import versions_before

    return versions_before(home_directory())


def cache_in(cache: ArrayCache | None, progress: Progress = NO_PROGRESS) -> ArrayCache:
    """Return ``cache``, or by default the one below ``KTRDR_HOME``; its notes become events of progress.

    Raises:
        BadInputError: the limit of the cache in the environment is not a size.
    """
    used = caches.default_cache() if cache is None else cache
    return used.noting(lambda note: progress(ProgressEvent("cache", fraction=1.0, message=note)))


def plugins_or_all(plugins: PluginManager | None) -> PluginManager:
    """Return ``plugins``, or by default all installed plugins."""
    return manager.default_manager() if plugins is None else plugins


def bundle_of(model: Bundle | str, store: ModelStore | None) -> Bundle:
    """Return the bundle of a model that is given as a bundle or by its reference.

    Raises:
        NotFoundError: there is no model of that name or version.
    """
    return model if isinstance(model, Bundle) else models_in(store).get(model)
