"""The hooks of the plugin, named by its entry point. Other modules are imported only by the hooks that need them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ktrdr.core.plugins import Device, ModelType, Parameter, PluginInfo, hookimpl
from ktrdr_ml_example import __version__

if TYPE_CHECKING:
    from ktrdr.core.plugins import ModelLoader, ModelStorage, ModelTrainer


@hookimpl
def ktrdr_plugin_info() -> PluginInfo:
    """Declare the model types with their parameters; core refuses parameters that are not declared."""
    return PluginInfo(
        name="example",
        version=__version__,
        contract="2.2",
        model_types=(
            ModelType(
                name="softmax_regression",
                description="Softmax regression, trained by gradient descent with momentum.",
                outputs=("classification",),
                architecture=(Parameter("l2", "float", 0.001, minimum=0, description="L2 penalty on the weights."),),
                training_keys=frozenset({"epochs", "batch_size", "learning_rate", "momentum"}),
            ),
        ),
    )


@hookimpl
def ktrdr_validate_environment() -> None:
    """Check nothing: core requires numpy. Import a framework here, and raise ``PluginError`` if it is missing."""


@hookimpl
def ktrdr_list_devices() -> list[Device]:
    """Return the CPU."""
    return [Device("cpu", "cpu", "numpy")]


@hookimpl
def ktrdr_model_trainer() -> ModelTrainer:
    """Return the trainer."""
    from ktrdr_ml_example.training import Trainer

    return Trainer()


@hookimpl
def ktrdr_model_storage() -> ModelStorage:
    """Return the storage."""
    from ktrdr_ml_example.storage import Storage

    return Storage()


@hookimpl
def ktrdr_model_loader() -> ModelLoader:
    """Return the loader."""
    from ktrdr_ml_example.storage import Loader

    return Loader()
