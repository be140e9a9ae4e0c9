"""The capabilities that a worker needs for a job."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ktrdr.core.jobs.job_settings import TradingSettings
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


def backtest_needs(manifest: Manifest, settings: TradingSettings) -> list[str]:
    """Return the capabilities a worker needs for a backtest or a sweep of a model.

    No plugin is needed if its twin predicts, or if the predictions of its evaluation are traded.

    Raises:
        BadInputError: the settings ask for a portable twin that the model does not have, or for a twin on a GPU; or
            they name a device or what predicts, and stored predictions are traded.
    """
    from ktrdr.core.models.inference_choice import choose_inference, trades_out_of_sample

    if (
        trades_out_of_sample(manifest, settings)
        or choose_inference(manifest, settings.inference, settings.device) == "portable"
    ):
        return ["backtest"]
    return ["backtest", f"ml-{manifest.plugin.name}"]
