"""Hook specifications of an ML backend. The manager calls the hooks of one plugin at a time."""

from __future__ import annotations

from ktrdr.core.plugins.contract import Device, ModelLoader, ModelStorage, ModelTrainer, PluginInfo
from ktrdr.core.plugins.markers import hookspec

__all__ = [
    "ktrdr_list_devices",
    "ktrdr_model_loader",
    "ktrdr_model_storage",
    "ktrdr_model_trainer",
    "ktrdr_plugin_info",
    "ktrdr_validate_environment",
]


@hookspec(firstresult=True)
def ktrdr_plugin_info() -> PluginInfo:  # type: ignore[empty-body]
    """Return name, version, contract and model types of the plugin. Must not import the framework."""


@hookspec(firstresult=True)
def ktrdr_validate_environment() -> None:
    """Raise :class:`~ktrdr.core.errors.PluginError` with the exact remedy if the framework is missing or broken."""


@hookspec(firstresult=True)
def ktrdr_list_devices() -> list[Device]:  # type: ignore[empty-body]
    """Return the devices that the framework can use here, best first; the CPU is always included."""


@hookspec(firstresult=True)
def ktrdr_model_trainer() -> ModelTrainer:  # type: ignore[empty-body]
    """Return the object that trains models."""


@hookspec(firstresult=True)
def ktrdr_model_storage() -> ModelStorage:  # type: ignore[empty-body]
    """Return the object that writes a trained model into a bundle."""


@hookspec(firstresult=True)
def ktrdr_model_loader() -> ModelLoader:  # type: ignore[empty-body]
    """Return the object that reads a model from a bundle and predicts with it."""
