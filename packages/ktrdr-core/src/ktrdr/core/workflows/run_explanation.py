"""Explain one decision of a model."""

from __future__ import annotations

import numpy as np

from ktrdr.core.backtesting import explanation
from ktrdr.core.backtesting.explanation import Explanation
from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.models.bundle import Bundle
from ktrdr.core.models.model_store import ModelStore
from ktrdr.core.plugins.manager import PluginManager
from ktrdr.core.workflows.places import bars_in, bundle_of, plugins_or_all

__all__ = ["explain"]


def explain(
    model: Bundle | str,
    *,
    symbol: str | None = None,
    at: np.datetime64 | None = None,
    bar_store: BarStore | None = None,
    model_store: ModelStore | None = None,
    plugins: PluginManager | None = None,
) -> Explanation:
    """Explain one decision of a model on stored bars.

    Args:
        model: ``name`` for the latest version, ``name/3`` for one, or the bundle itself.
        symbol: whose bars; by default the first the model was trained on.
        at: a time within the bar, ``datetime64[ns]``, UTC; by default the latest bar on which the model buys or sells.
        bar_store: holds the bars; by default ``$KTRDR_HOME/data``.
        model_store: holds the model; by default ``$KTRDR_HOME/models``.
        plugins: backends to predict with; by default all that are installed.

    Returns:
        What the model saw at that bar, what each input added to its answer, and the answer.

    Raises:
        BadInputError: there is no such model or bar, or the bar does not have all features.
    """
    return explanation.explain(
        bundle_of(model, model_store),
        bar_store=bars_in(bar_store),
        plugins=plugins_or_all(plugins),
        symbol=symbol,
        at=at,
    )
