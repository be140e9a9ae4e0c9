"""The hooks of the plugin, named by its entry point. torch is imported only by hooks that need it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ktrdr.core.plugins import Device, PluginInfo, hookimpl
from ktrdr.ml.torch.declaration import INFO

if TYPE_CHECKING:
    from ktrdr.core.plugins import ModelLoader, ModelStorage, ModelTrainer

__all__ = [
    "ktrdr_list_devices",
    "ktrdr_model_loader",
    "ktrdr_model_storage",
    "ktrdr_model_trainer",
    "ktrdr_plugin_info",
    "ktrdr_validate_environment",
]


@hookimpl
def ktrdr_plugin_info() -> PluginInfo:
    """Return the model types of this backend."""
    return INFO


@hookimpl
def ktrdr_validate_environment() -> None:
    """Import torch and safetensors and compute with torch; raise ``PluginError`` if that fails."""
    from ktrdr.ml.torch.environment import validate_environment

    validate_environment()


@hookimpl
def ktrdr_list_devices() -> list[Device]:
    """Return the devices: GPUs first, the CPU last."""
    from ktrdr.ml.torch.devices import list_devices

    return list_devices()


@hookimpl
def ktrdr_model_trainer() -> ModelTrainer:
    """Return the trainer."""
    from ktrdr.ml.torch.torch_trainer import TorchTrainer

    return TorchTrainer()


@hookimpl
def ktrdr_model_storage() -> ModelStorage:
    """Return the storage."""
    from ktrdr.ml.torch.torch_storage import TorchStorage

    return TorchStorage()


@hookimpl
def ktrdr_model_loader() -> ModelLoader:
    """Return the loader."""
    from ktrdr.ml.torch.torch_loader import TorchLoader

    return TorchLoader()
