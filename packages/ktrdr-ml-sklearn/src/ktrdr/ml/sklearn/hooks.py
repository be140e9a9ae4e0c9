"""The hooks of the plugin, named by its entry point. scikit-learn is imported only by hooks that need it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ktrdr.core.plugins import Device, PluginInfo, hookimpl
from ktrdr.ml.sklearn.declaration import INFO, NAME

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
    """Import scikit-learn and skops; if that fails, raise ``PluginError`` with the command that installs them."""
    from ktrdr.core.errors import PluginError

    try:
        from ktrdr.ml.sklearn.skops_io import skops_io

        skops_io()
        import sklearn.ensemble  # noqa: F401
    except (ImportError, OSError) as error:
        raise PluginError(
            f"plugin `{NAME}` cannot import scikit-learn and skops ({error}); "
            "install them again with `pip install --force-reinstall scikit-learn skops`"
        ) from error


@hookimpl
def ktrdr_list_devices() -> list[Device]:
    """Return the CPU, the only device of scikit-learn's trees and solvers."""
    return [Device("cpu", "cpu", "scikit-learn on the CPU")]


@hookimpl
def ktrdr_model_trainer() -> ModelTrainer:
    """Return the trainer."""
    from ktrdr.ml.sklearn.sklearn_trainer import SklearnTrainer

    return SklearnTrainer()


@hookimpl
def ktrdr_model_storage() -> ModelStorage:
    """Return the storage."""
    from ktrdr.ml.sklearn.sklearn_storage import SklearnStorage

    return SklearnStorage()


@hookimpl
def ktrdr_model_loader() -> ModelLoader:
    """Return the loader."""
    from ktrdr.ml.sklearn.sklearn_loader import SklearnLoader

    return SklearnLoader()
