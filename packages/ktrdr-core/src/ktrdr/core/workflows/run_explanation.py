"""Workflow that explains one decision of a model."""

from __future__ import annotations

import numpy as np

from ktrdr.core.backtesting import explanation
from ktrdr.core.backtesting.explanation import Explanation
from ktrdr.core.cache.array_cache import ArrayCache
from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.jobs.job_settings import Inference
from ktrdr.core.models.bundle import Bundle
from ktrdr.core.models.model_store import ModelStore
from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.workflows.places import bars_in, bundle_of, cache_in, plugins_or_all

__all__ = ["explain"]


def explain(
    model: Bundle | str,
    *,
    symbol: str | None = None,
    at: np.datetime64 | None = None,
    inference: Inference = "auto",
    bar_store: BarStore | None = None,
    model_store: ModelStore | None = None,
    plugins: PluginManager | None = None,
    cache: ArrayCache | None = None,
) -> Explanation:
    """Explain one decision of a model on stored bars.

    Args:
        model: ``name`` for the latest version, ``name/3`` for one, or the bundle itself.
        symbol: symbol of the bars; by default the first that the model was trained on.
        at: a time within the bar, ``datetime64[ns]``, UTC; by default the latest bar with a BUY or SELL of the model.
        inference: what predicts: ``portable``, ``native``, or ``auto``: the twin where there is one.
        bar_store: store of the bars; by default ``$KTRDR_HOME/data``.
        model_store: store of the model; by default ``$KTRDR_HOME/models``.
        plugins: backends to predict with; by default all installed ones.
        cache: cache of indicator values; by default ``$KTRDR_HOME/cache``.
            :data:`~ktrdr.core.cache.array_cache.NO_CACHE` bypasses it.

    Returns:
        Inputs and output of the model at that bar, and the contribution of each input to the output.

    Raises:
        BadInputError: there is no such model or bar, or the bar does not have all features.
    """
    return explanation.explain(
        bundle_of(model, model_store),
        bar_store=bars_in(bar_store),
        plugins=plugins_or_all(plugins),
        cache=cache_in(cache),
        symbol=symbol,
        at=at,
        inference=inference,
    )
